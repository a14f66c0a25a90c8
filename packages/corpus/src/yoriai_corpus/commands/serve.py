"""``serve``: search in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from yoriai import UsageError, console, files
from yoriai.cli import Context
from yoriai_corpus.commands import folder, model_option, open_trainings

MOST_TOKEN_BYTES = 2**16


@click.command(epilog="""\b
Examples:
  yoriai corpus serve build/tour/index@1
  yoriai corpus serve build/tour/index@1 --port 0 --per-minute 60
  yoriai corpus serve build/tour/index@1 --model build/tour/base@1
""")  # fmt: skip
@click.argument("indexes", type=folder, nargs=-1, required=True, metavar="INDEX...")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65_535),
    help="The port; 0: a free one.",
)  # fmt: skip
@click.option(
    "--allow-host", multiple=True, metavar="NAME",
    help="A name by which it may be asked, too; *: any.",
)  # fmt: skip
@click.option(
    "--token-file", type=click.Path(path_type=Path, dir_okay=False),
    help="Every request must show the token in this file.",
)  # fmt: skip
@click.option(
    "--per-minute", default=0, type=click.IntRange(min=0), help="Requests of one client; 0: any."
)
@click.option(
    "--seconds", default=10.0, show_default=True, type=console.Finite(0.1, 3600),
    help="Most time of one search.",
)  # fmt: skip
@click.option(
    "--searches", default=4, show_default=True, type=click.IntRange(1, 1000),
    help="Searches at a time.",
)  # fmt: skip
@model_option
@console.json_option
@click.pass_obj
def serve(
    shared: Context, indexes: tuple[Path, ...], host: str, port: int, allow_host: tuple[str, ...],
    token_file: Path | None, per_minute: int, seconds: float, searches: int,
    models: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """Search INDEX in a browser: places, counts, documents, what was dropped, traces, an API.

    It listens on this machine only; for others a token is needed. An index that is replaced, as
    by a removal, is answered from at once.
    """
    try:
        from yoriai_corpus.serve.app import make_app
    except ImportError as error:
        raise UsageError(
            f"{error.name} is not installed", hint="pip install 'yoriai-corpus[serve]'"
        ) from error
    from yoriai_corpus.serve import server
    from yoriai_corpus.serve.limits import ServeLimits
    from yoriai_corpus.serve.served_index import ServedIndex

    token = _token(token_file) if token_file else ""
    server.check_open(host, token)
    limits = ServeLimits(search_seconds=seconds, searches=searches, per_minute=per_minute)
    listening = server.listen(host, port, unread_seconds=limits.unread_seconds)
    with listening:
        served = ServedIndex(indexes)
        app = make_app(
            served, limits=limits, hosts=server.names(host, allow_host), token=token,
            trainings=open_trainings(models, served.get().artifacts, shared),
        )  # fmt: skip
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}/"
        console.emit({"address": address}, as_json=as_json, text=lambda: f"{address}  Ctrl-C ends")
        server.run(app, listening, limits)


def _token(path: Path) -> str:
    try:
        token = files.read_small(path, MOST_TOKEN_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the token file {path.name} cannot be read",
            hint="openssl rand -hex 24 > FILE",
        ) from error
    if len(token) < 16:
        raise UsageError("the token is shorter than 16 characters", hint="openssl rand -hex 24")
    return token
