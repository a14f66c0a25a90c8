"""By the pages alone: the example of each contract, in a fresh plugin, with core and no sibling."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from yoriai.plugins import load_registry

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
try:
    from sitemaker import contracts
finally:
    sys.path.remove(str(ROOT / "docs"))

pytestmark = pytest.mark.slow
ALL = [one for one in contracts.list_contracts() if one.name != "fixture"]
SEEN = """
def seen(name):
    try:
        __import__(name)
    except ModuleNotFoundError:
        return False
    return True
"""
NEEDS_A_MODEL = {
    "backend": "it needs a model to open",
    "method": "it needs a model to tune",
    "probe": "it needs what eval/probe gives it",
}
# The siblings lie in the same folders as what core needs; here they cannot be imported.
ALONE = """
import sys

class NoSibling:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"yoriai_corpus", "yoriai_train", "yoriai_eval",
                                      "yoriai_domain_adapt"}:
            raise ModuleNotFoundError(f"{name} is no part of core", name=name)

sys.meta_path.insert(0, NoSibling())
"""


def example(page: str) -> dict[str, str]:
    """The files that the example of a page shows, by name."""
    text = page.partition("\n## Example\n")[2]
    block = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0]
    parts = re.split(r"^# acme/(\w+\.py)$", block, flags=re.MULTILINE)
    assert parts[0] == ""
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def pages():
    return contracts.contract_pages(load_registry(), ROOT)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """What ``yoriai new plugin acme`` writes, installed; gives its modules and its python."""
    pytest.importorskip("hatchling", reason="the build backend is not installed here")
    pytest.importorskip("editables", reason="what installs a folder in place is not here")
    pytest.importorskip("pip", reason="pip is not installed here")
    root = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "env"], check=True)
    python = root / "env" / "bin" / "python"
    here = [p for p in sys.path if p and ("site-packages" in p or p.endswith("/src"))]
    site = next((root / "env" / "lib").glob("python*/site-packages"))
    (site / "alone.py").write_text(ALONE)
    lines = [*here, sysconfig.get_path("purelib"), "import alone"]
    (site / "above.pth").write_text("\n".join(dict.fromkeys(lines)) + "\n")
    run(python, root, "-m", "yoriai", "new", "plugin", "acme")
    words = ("install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-e", "acme")
    line = [sys.executable, "-m", "pip", "--python", str(python), *words]
    subprocess.run(line, cwd=root, check=True, capture_output=True)
    return root / "acme" / "src" / "yoriai_acme", python


def run(python, root, *words):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("YORIAI_", "PYTHONPATH"))}
    done = subprocess.run(
        [python, *words], cwd=root, capture_output=True, text=True, check=False,
        env={**clean, "YORIAI_PLUGINS": "acme"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_no_sibling_can_be_imported_there(plugin):
    folder, python = plugin
    code = (
        "import importlib.util as u; print(u.find_spec('yoriai') is not None, seen('yoriai_train'))"
    )
    told = run(python, folder, "-c", f"{SEEN}\n{code}")
    assert told.split() == ["True", "False"]


@pytest.mark.parametrize("name", [one.name for one in ALL])
def test_the_example_of_a_page_is_a_plugin_that_keeps_its_promises(plugin, pages, name):
    folder, python = plugin
    files = example(pages[f"en/contracts/{name}.md"])
    for old in folder.glob("*.py"):
        if old.name != "__init__.py":
            old.unlink()
    for file, text in files.items():
        assert "yoriai_" not in re.sub(r"def yoriai_\w+", "", text), "it needs more than core"
        (folder / file).write_text(re.sub(r"\bacme\.", "yoriai_acme.", text), encoding="utf-8")
    report = json.loads(
        run(python, folder.parent, "-m", "yoriai", "plugins", "check", "acme", "--json")
    )
    assert report["broken"] == []
    contract = next(one for one in ALL if one.name == name)
    if contract.kind:
        assert len(report["ran"]) + len(report["not_run"]) == 1, "it offers what it shows"
    # A whole run gives them one: tests/test_outside.py.
    expected = [NEEDS_A_MODEL[name]] if name in NEEDS_A_MODEL else []
    assert list(report["not_run"].values()) == expected
