"""``yoriai doctor``: is this machine ready, and if not, what to do."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import click

from yoriai import console, environment
from yoriai.cli import Context
from yoriai.entry import KINDS
from yoriai.registry import Registry
from yoriai.runner import MINIMUM_FREE_MB


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report."""

    name: str
    state: Literal["good", "note", "bad"]
    found: str
    remedy: str = ""


@click.command(epilog="""\b
Examples:
  yoriai doctor
  yoriai doctor --json
""")  # fmt: skip
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build"),
    show_default=True,
    help="Where runs would be written.",
)
@console.json_option
@click.pass_obj
def doctor(shared: Context, out: Path, as_json: bool) -> None:
    """Check Python, packages, plugins, compilers, disk and GPUs, and say what to do."""
    checks = list(examine(shared.registry, out))
    ready = not any(c.state == "bad" for c in checks)
    value = {"ready": ready, "checks": [dataclasses.asdict(c) for c in checks]}

    def text() -> str:
        rows: list[tuple[Any, ...]] = []
        for c in checks:
            rows.append((c.state, c.name, c.found))
            if c.remedy:
                rows.append(("", "", f"try: {c.remedy}"))
        return console.table(("", "check", "found"), rows)

    console.emit(value, as_json=as_json, text=text)
    if not ready:
        raise SystemExit(1)


def examine(registry: Registry, out: Path) -> Iterator[Check]:
    """All checks, cheap ones first; nothing heavy is imported."""
    yield Check("python", "good", ".".join(map(str, sys.version_info[:3])))
    yield from _packages(registry)
    yield from _plugins(registry)
    yield _compiler()
    yield _disk(out)
    yield _memory()
    yield _gpus()


def _packages(registry: Registry) -> Iterator[Check]:
    offered = [found for kind in KINDS for found in registry.found(kind)]
    for name in sorted({need for found in offered for need in found.entry.requires}):
        users = ", ".join(f.name for f in offered if name in f.entry.requires)
        try:
            yield Check(name, "good", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, "note", f"missing; needed by {users}", f"pip install {name}")


def _plugins(registry: Registry) -> Iterator[Check]:
    if not registry.plugins:
        yield Check("plugins", "bad", "none installed", "pip install yoriai")
    for plugin in registry.plugins:
        if plugin.refused:
            found = f"{len(plugin.refused):,} of its entries are refused (yoriai plugins)"
            yield Check(f"plugin {plugin.name}", "bad", found, plugin.remedy)
        elif plugin.status in ("ok", "disabled"):
            yield Check(f"plugin {plugin.name}", "good", f"{plugin.version} {plugin.status}")
        else:
            found = f"{plugin.status}: {plugin.reason}"
            yield Check(f"plugin {plugin.name}", "bad", found, plugin.remedy)


def _compiler() -> Check:
    for name in (os.environ.get("CXX", ""), "g++", "clang++"):
        if name and shutil.which(name):
            return Check("C++ compiler", "good", name)
    return Check(
        "C++ compiler",
        "note",
        "none; only torch.compile and DeepSpeed's own operators need one",
        "apt-get install g++ (or your system's way)",
    )


def _disk(out: Path) -> Check:
    where = next(p for p in (out.resolve(), *out.resolve().parents) if p.is_dir())
    free_mb = shutil.disk_usage(where).free // 2**20
    found = f"{free_mb:,} MB free"
    if not os.access(where, os.W_OK):
        return Check("disk", "bad", f"{out} cannot be written", "choose another --out DIR")
    if free_mb < MINIMUM_FREE_MB:
        return Check("disk", "bad", found, f"free at least {MINIMUM_FREE_MB} MB")
    return Check("disk", "good", found)


def _memory() -> Check:
    memory_mb = environment.memory_mb()
    if 0 < memory_mb < 3500:
        return Check("memory", "note", f"{memory_mb:,} MB; the tour wants about 4 GB", "")
    return Check("memory", "good", f"{memory_mb:,} MB, {os.cpu_count()} CPUs")


def _gpus() -> Check:
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    names = [
        line.partition(":")[2].strip()
        for card in cards
        for line in card.read_text(errors="replace").splitlines()
        if line.startswith("Model")
    ]
    if not names:
        return Check("GPU", "note", "none found; training runs on the CPU")
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = ""
    if torch.endswith("+cpu"):
        return Check(
            "GPU", "note", f"{', '.join(names)}, but torch {torch} has no CUDA",
            "install a CUDA build of torch",
        )  # fmt: skip
    return Check("GPU", "good", ", ".join(names))
