"""The way of a module: written, installed, checked, used, shown, disabled, removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
try:
    from sitemaker.directory import directory_page
finally:
    sys.path.remove(str(ROOT / "docs"))

NAME = "tohoku-poetry"
RECIPE = """\
name: walk
licence: CC0-1.0
steps:
  text:
    uses: corpus/build
    sources: [{use: corpus/text-files, paths: [texts], language: en, licence: CC0-1.0}]
    rules: [tohoku-poetry/no-shouting]
    heldout: 0
    dedup: {exact: true, near: null}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An environment of its own that sees the libraries of this one."""
    pytest.importorskip("hatchling", reason="the build backend is not installed here")
    pytest.importorskip("pip", reason="pip is not installed here")
    root = tmp_path_factory.mktemp("walk")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "env"], check=True)
    program = root / "env" / "bin" / "python"
    here = [p for p in sys.path if p and ("site-packages" in p or p.endswith("/src"))]
    site = next((root / "env" / "lib").glob("python*/site-packages"))
    lines = [*here, sysconfig.get_path("purelib")]
    (site / "above.pth").write_text("\n".join(dict.fromkeys(lines)) + "\n")
    texts = root / "texts"
    texts.mkdir()
    (texts / "loud.txt").write_text("EVERY WORD OF THIS IS LOUD. IT GOES ON AND ON LIKE THAT.")
    (texts / "quiet.txt").write_text("Here is a quiet text, with some words in it.")
    (root / "walk.yaml").write_text(RECIPE)
    return root, program


def call(world, *words, code=0):
    root, program = world
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("YORIAI_", "PYTHONPATH"))}
    done = subprocess.run(
        [program, "-m", *words], cwd=root, capture_output=True, text=True, check=False,
        env={**clean, "YORIAI_WORKERS": "1"},
    )  # fmt: skip
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def pip(world, *words):
    root, program = world
    line = [sys.executable, "-m", "pip", "--python", str(program), "-q", *words]
    subprocess.run(line, cwd=root, check=True, capture_output=True)


@pytest.mark.slow
def test_a_module_goes_the_whole_way(world):
    root, _ = world
    call(world, "yoriai", "new", "plugin", NAME, "--into", "plugins")
    folder = root / "plugins" / NAME
    pip(world, "install", "--no-deps", "--no-build-isolation", "--no-index", str(folder))

    # Found, checked, tested.
    rows = json.loads(call(world, "yoriai", "--strict", "plugins", "--json"))["plugins"]
    assert NAME in {row["name"] for row in rows if row["status"] == "ok"}
    report = json.loads(call(world, "yoriai", "plugins", "check", NAME, "--json"))
    assert report["broken"] == []
    assert len(report["ran"]) == 2
    words = ("pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder))
    assert "4 passed" in call(world, *words, str(folder / "tests"))

    # Used, and its version kept in the run.
    told = json.loads(call(world, "yoriai", "run", "walk.yaml", "--json"))
    facts = json.loads((root / "build/walk/text@1/artifact.json").read_bytes())["facts"]
    assert facts["dropped_by_rule"] == {f"{NAME}/no-shouting": 1}
    run = json.loads(next((root / "build/walk/runs").glob("*.json")).read_bytes())
    assert f"yoriai-{NAME}" in json.dumps(run["environment"]["plugins"])
    assert told["state"] == "completed"

    # Disabled: the recipe names what is missing. Removed: it is gone.
    call(world, "yoriai", "--plugins", f"-{NAME}", "run", "walk.yaml", code=2)
    pip(world, "uninstall", "-y", f"yoriai-{NAME}")
    rows = json.loads(call(world, "yoriai", "plugins", "--json"))["plugins"]
    assert NAME not in {row["name"] for row in rows}
    call(world, "yoriai", "run", "walk.yaml", code=2)


def test_the_directory_shows_every_plugin_with_owner_licence_and_stability():
    from yoriai.plugins import load_registry

    registry = load_registry()
    page = directory_page(registry, ROOT)
    for plugin in registry.plugins:
        part = page.partition(f"\n## {plugin.name}\n")[2].partition("\n## ")[0]
        assert plugin.distribution in part
        assert "| owners |" in part
        assert "nobody is named" not in part
        assert "experimental" in part or "stable" in part
