"""``yoriai train merge``."""

from __future__ import annotations

from pathlib import Path

import click

from yoriai import UsageError, console
from yoriai.artifact import check_folder

folder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(
    epilog="""\b
Examples:
  yoriai train merge build/mine/base@1 build/mine/tuned@1/adapter merged
"""
)
@click.argument("base", type=folder)
@click.argument("adapter", type=folder)
@click.argument("out", type=click.Path(path_type=Path))
@console.json_option
def merge(base: Path, adapter: Path, out: Path, as_json: bool) -> None:
    """Add ADAPTER to the weights of BASE, as a plain model folder OUT.

    An adapter that was made for other weights is refused.
    """
    if out.exists():
        raise UsageError(f"{out} is there already", hint="name a folder that is not there")
    for place in (base, adapter):
        check_folder(place)
    from yoriai_train.model.adapter import merge as merge_adapter

    merge_adapter(base, adapter, out)
    console.emit({"out": str(out)}, as_json=as_json, text=lambda: str(out))
