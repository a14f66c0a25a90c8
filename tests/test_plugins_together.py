"""Plugins of all kinds beside one another, as they are really installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yoriai.testing import run_cli

FOUR = {"corpus", "train", "eval", "domain-adapt"}
BROKEN = {
    "import-error": "import a_module_that_nobody_has\n",
    "wrong-signature": (
        "from yoriai import hookimpl\n@hookimpl\ndef yoriai_filters(surprise):\n    return []\n"
    ),
    "raising-hook": (
        "from yoriai import hookimpl\n@hookimpl\ndef yoriai_filters():\n    raise OSError('boom')\n"
    ),
    "unknown-hook": (
        "from yoriai import hookimpl\n@hookimpl\ndef yoriai_filtres():\n    return []\n"
    ),
    "exits": "import sys\nsys.exit(3)\n",
}


def install_by_hand(folder: Path, name: str, code: str, requires: str = "") -> None:
    """What pip leaves behind for a distribution with one module and one entry point."""
    module = "broken_" + name.replace("-", "_")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: yoriai-{name}", "Version: 1.0"]
    lines += [f"Requires-Dist: {requires}"] if requires else []
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "entry_points.txt").write_text(f"[yoriai]\n{name} = {module}\n")
    (folder / f"{module}.py").write_text(code)


@pytest.fixture
def square(tmp_path: Path) -> dict[str, str]:
    """An environment with every kind of broken plugin beside the four good ones."""
    for name, code in BROKEN.items():
        install_by_hand(tmp_path, name, code)
    install_by_hand(tmp_path, "from-the-future", "", requires="yoriai-core>=99")
    return {"PYTHONPATH": str(tmp_path), "YORIAI_STRICT": ""}


def test_six_broken_plugins_leave_the_four_good_ones_working(square: dict[str, str]) -> None:
    rows = {p["name"]: p for p in run_cli("plugins", "--json", **square).json["plugins"]}
    assert {name for name in FOUR if rows[name]["status"] == "ok"} == FOUR
    for name in (*BROKEN, "from-the-future"):
        assert rows[name]["status"] != "ok", name
        assert rows[name]["reason"], name
        assert rows[name]["remedy"], name
    assert "corpus/kana" in run_cli("list", "filters", **square).out


def test_strict_mode_ends_with_five(square: dict[str, str]) -> None:
    assert run_cli("--strict", "list", **square).code == 5
    assert run_cli("list", **{**square, "YORIAI_STRICT": "1"}).code == 5


def test_disabled_plugins_are_neither_loaded_nor_counted_as_broken(square: dict[str, str]) -> None:
    only = ",".join(FOUR)
    assert run_cli("--strict", "--plugins", only, "list", **square).code == 0
    assert run_cli("--strict", "list", **square, YORIAI_PLUGINS=only).code == 0


def test_a_new_plugin_installs_is_found_and_passes_its_own_test(tmp_path: Path) -> None:
    wrote = run_cli("new", "plugin", "tohoku-poetry", "--into", str(tmp_path), "--json")
    assert wrote.code == 0, wrote.err
    folder, site = tmp_path / "tohoku-poetry", tmp_path / "site"
    words = ("install", "-q", "--no-deps", "--no-build-isolation", "--target", site, folder)
    subprocess.run([sys.executable, "-m", "pip", *map(str, words)], check=True, capture_output=True)
    environment = {"PYTHONPATH": str(site)}
    found = run_cli("list", "filters", "--json", **environment).json["filters"]
    assert "tohoku-poetry/no-shouting" in {row["name"] for row in found}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
