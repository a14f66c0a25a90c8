"""The page of the architecture and the tree say the same."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {
    language: (ROOT / "docs" / language / "architecture.md").read_text(encoding="utf-8")
    for language in ("en", "ja")
}
LANGUAGES = pytest.mark.parametrize("language", PAGES)
PACKAGES = ("corpus", "train", "eval", "domain_adapt")


HEADS = {"en": "| room of {} |", "ja": "| {} の部屋 |"}
WAYS = {
    "en": ("a document", "a batch", "a sample", "a plugin"),
    "ja": ("文書", "バッチ", "標本", "プラグイン"),
}


def told(package, language):
    head = HEADS[language].format(package.replace("_", "-"))
    table = PAGES[language].partition(head)[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


@LANGUAGES
@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_on_the_page_in_the_order_that_imports_keep(package, language):
    source = ROOT / "packages" / package / "src" / f"yoriai_{package}"
    there = {path.parent.name for path in source.glob("*/__init__.py")}
    assert set(told(package, language)) == there
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [
        c["layers"]
        for c in contracts["contracts"]
        if c["type"] == "layers" and c["containers"] == [f"yoriai_{package}"]
    ]
    rooms = [name for name in layers if name in there]
    assert told(package, language) == rooms[::-1]


@LANGUAGES
def test_every_file_that_the_page_names_is_there(language):
    rows = PAGES[language].splitlines()
    for what, owner in zip(WAYS[language], ("corpus", "train", "eval", "core"), strict=True):
        [row] = [row for row in rows if row.startswith(f"| {what} |")]
        module = "yoriai" if owner == "core" else f"yoriai_{owner}"
        base = ROOT / "packages" / owner / "src" / module
        named = re.findall(r"`([\w/.]+)`", row)
        assert named, row
        for name in named:
            path = name.removeprefix(f"{owner}/").removeprefix("yoriai/")
            assert (base / path).exists(), name
