"""The page of the architecture and the tree say the same."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "en" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("corpus", "train", "eval", "domain_adapt")


def told(package):
    table = PAGE.partition(f"| room of {package.replace('_', '-')} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_on_the_page_in_the_order_that_imports_keep(package):
    source = ROOT / "packages" / package / "src" / f"yoriai_{package}"
    there = {path.parent.name for path in source.glob("*/__init__.py")}
    assert set(told(package)) == there
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [
        c["layers"]
        for c in contracts["contracts"]
        if c["type"] == "layers" and c["containers"] == [f"yoriai_{package}"]
    ]
    rooms = [name for name in layers if name in there]
    assert told(package) == rooms[::-1]


def test_every_file_that_the_page_names_is_there():
    rows = PAGE.partition("The way of four things")[2].partition("\n## ")[0].splitlines()
    names = {"a document": "corpus", "a batch": "train", "a sample": "eval", "a plugin": "core"}
    for row in rows:
        owner = next((p for what, p in names.items() if row.startswith(f"| {what} |")), None)
        if owner is None:
            continue
        module = "yoriai" if owner == "core" else f"yoriai_{owner}"
        base = ROOT / "packages" / owner / "src" / module
        for name in re.findall(r"`([\w/.]+)`", row):
            path = name.removeprefix(f"{owner}/").removeprefix("yoriai/")
            assert (base / path).exists(), name
