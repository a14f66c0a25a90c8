"""Make a built site light: what only a search needs is loaded by whoever searches.

``nox -s docs`` runs this after mkdocs. The theme fetches its index, as large as the text of the
whole site, with every page. It has a way to wait (on a page that is a file it waits until the
search is opened); here it always goes that way. The index is written as UTF-8: escaped, a Japanese
character takes twice as many bytes. And figures are given their size in the page, so that nothing
moves when they arrive.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DONE = "/* yoriai: the index is loaded on demand */\n"
# Two places of the theme's script subscribe to the index. Minified names change with each version,
# these words do not: the search, and the words of a search marked on the page it led to (?h=).
PLACES = (
    (re.compile(r'\(location\.protocol!=="file:"\)(?=,\w+\("search"\)\))'), "(!1)"),
    (
        re.compile(r'(?<=\w\("search\.highlight"\))(?=\?)'),
        '&&new URL(location.href).searchParams.has("h")',
    ),
)


def load_on_demand(site: Path) -> Path:
    """Let the theme wait for the reader before it fetches its index; returns the script changed."""
    found = sorted((site / "assets" / "javascripts").glob("bundle.*.min.js"))
    if len(found) != 1:
        raise SystemExit(f"{site}: has {len(found)} scripts of the theme, not one")
    [script] = found
    text = script.read_text(encoding="utf-8")
    if text.startswith(DONE):
        return script
    for place, instead in PLACES:
        text, count = place.subn(instead, text)
        if count != 1:
            raise SystemExit(
                f"{script}: {place.pattern} is found {count} times, not once, so that every page "
                "would load the index of the search: look what the theme does now, and mend "
                "PLACES in docs/lighten.py"
            )
    # Its map is of what it was before.
    text = re.sub(r"^//# sourceMappingURL=.*\n?", "", text, flags=re.MULTILINE)
    script.with_name(f"{script.name}.map").unlink(missing_ok=True)
    script.write_text(DONE + text, encoding="utf-8")
    return script


def pack_index(site: Path) -> int:
    """Write the index without escapes; returns its bytes."""
    path = site / "search" / "search_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")
    return path.stat().st_size


_IMAGE = re.compile(r'<img (?![^>]*\swidth=)([^>]*?)src="((?!data:|https?:)[^"]+\.svg)"([^>]*)>')
_VIEW_BOX = re.compile(r'viewBox="0 0 (\d+) (\d+)"')


def size_figures(site: Path) -> int:
    """Write width and height of the SVG files into the pages that show them; returns how many."""
    count = 0
    for path in sorted(site.rglob("*.html")):
        page = path.read_text(encoding="utf-8")

        def sized(match: re.Match[str], folder: Path = path.parent) -> str:
            figure = (folder / match[2]).resolve()
            if not (figure.is_relative_to(site.resolve()) and figure.is_file()):
                return match[0]
            box = _VIEW_BOX.search(figure.read_text(encoding="utf-8")[:500])
            size = f' width="{box[1]}" height="{box[2]}"' if box else ""
            return f'<img {match[1]}src="{match[2]}"{match[3].rstrip(" /")}{size}>'

        changed, found = _IMAGE.subn(sized, page)
        if found:
            path.write_text(changed, encoding="utf-8")
            count += found
    return count


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("site", type=Path, nargs="?", default=ROOT / "build" / "site")
    site = parser.parse_args(argv).site
    load_on_demand(site)
    print(f"a search loads {pack_index(site):,} bytes; no page loads them before")
    print(f"{size_figures(site)} figures have their size")


if __name__ == "__main__":
    main()
