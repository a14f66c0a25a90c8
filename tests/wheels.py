"""Each package as a user installs it: its wheel in a fresh environment, with size and time.

``python tests/wheels.py core eval`` (or ``nox -s wheels -- core eval``) builds wheels, installs
each with what it needs and nothing else, checks that its command works, and prints a table. It
needs the package index; versions are those of ``constraints.txt``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "corpus", "train", "eval", "domain_adapt")


def build(names: Sequence[str], folder: Path) -> dict[str, Path]:
    """The wheels of the named packages and of core."""
    made = {}
    for name in dict.fromkeys(("core", *names)):
        source = ROOT / "packages" / name
        pip("wheel", "-q", "--no-deps", "-w", str(folder), str(source))
        [made[name]] = folder.glob(f"yoriai_{name}-*.whl")
    return made


def pip(*words: str, python: str = sys.executable) -> None:
    subprocess.run([python, "-m", "pip", *words], check=True)


def install(name: str, wheels: dict[str, Path], place: Path) -> tuple[float, float]:
    """Install one package in an environment of its own; returns its size in MB and the seconds."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    python = str(place / "bin" / "python")
    before = size_mb(place)
    start = time.perf_counter()
    needed = [str(wheels[one]) for one in dict.fromkeys(("core", name))]
    pip("install", "-q", "-c", str(ROOT / "constraints.txt"), *needed, python=python)
    seconds = time.perf_counter() - start
    check(name, place)
    return size_mb(place) - before, seconds


def check(name: str, place: Path) -> None:
    """Its command works, it lists itself and no sibling, and it says whose it is."""
    program = str(place / "bin" / "yoriai")
    words = [program, "--strict", "plugins", "--json"]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found = {plugin["name"] for plugin in json.loads(told)["plugins"]}
    assert found == ({name.replace("_", "-")} if name != "core" else set()), found
    subprocess.run([program, "--help"], check=True, capture_output=True)


def size_mb(place: Path) -> float:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) / 1e6


def main(names: Sequence[str]) -> None:
    unknown = set(names) - set(PACKAGES)
    if unknown:
        raise SystemExit(
            f"there is no package {', '.join(unknown)}; there are {', '.join(PACKAGES)}"
        )
    with tempfile.TemporaryDirectory() as folder:
        wheels = build(names, Path(folder) / "wheels")
        print("| package, with what it needs | installed | time |\n|---|---|---|", flush=True)
        for name in names:
            place = Path(folder) / name
            megabytes, seconds = install(name, wheels, place)
            shown = f"`yoriai-{name.replace('_', '-')}`"
            print(f"| {shown} | {megabytes:,.0f} MB | {seconds:.0f} s |", flush=True)
            shutil.rmtree(place)


if __name__ == "__main__":
    main(sys.argv[1:] or PACKAGES)
