"""How soon pages of the built site are painted, and what they load, in headless Chromium.

``python tests/paint.py`` after ``nox -s docs``. Each page is opened from the disk (``file:``) and
from the loopback interface, with nothing kept from before. What a page loads is counted where it is
sent, until the page has loaded: as it lies, and as a server would send it packed (gzip).
``--files PAGE`` names the files of one page.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from browser import browse, serve

SITE = Path(__file__).resolve().parent.parent / "build" / "site"
PAGES = (
    "", "ja/", "en/corpus/", "ja/contracts/filter/", "records/", "records/leaderboard/",
    "records/side-by-side/", "records/compare/", "records/what-did-not-work/",
    "reference/filters/", "reference/commands/", "reference/commands/corpus/",
)  # fmt: skip
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
PACKED = (".html", ".css", ".js", ".json", ".svg", "/")


def packed(name: str, data: bytes) -> int:
    return len(gzip.compress(data, 6)) if name.endswith(PACKED) else len(data)


def main() -> None:
    sent: dict[str, bytes] = {}
    pages = sys.argv[2:] if "--files" in sys.argv else PAGES
    print("| page | paint from disk | paint from a server | page | with all it loads | packed |")
    print("|---|---|---|---|---|---|")
    with serve(SITE, sent) as address, browse() as tab:
        tab.size(1280, 900)
        tab.call("Network.setCacheDisabled", cacheDisabled=True)
        for page in pages:
            tab.open((SITE / page / "index.html").as_uri())
            disk = tab.evaluate(PAINT)
            sent.clear()
            tab.open(address + page)
            paint = tab.evaluate(PAINT)
            sizes = {name: (len(data), packed(name, data)) for name, data in sent.items()}
            weight, small = (sum(column) for column in zip(*sizes.values(), strict=True))
            cells = (f"{disk:.0f} ms", f"{paint:.0f} ms", f"{sizes['/' + page][0] / 1000:.0f} kB",
                     f"{weight / 1000:.0f} kB", f"{small / 1000:.0f} kB")  # fmt: skip
            print(f"| {page or 'home'} | {' | '.join(cells)} |", flush=True)
            if pages is not PAGES:
                for name, (size, less) in sorted(sizes.items(), key=lambda one: -one[1][0]):
                    print(f"{size:>9,} {less:>9,}  {name}")


if __name__ == "__main__":
    main()
