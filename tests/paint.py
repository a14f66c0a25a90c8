"""How soon pages of the built site are painted, and how heavy they are, in headless Chromium.

``python tests/paint.py`` after ``nox -s docs``. The site is served from the loopback interface, the
cache is off; sizes are those after unpacking.
"""

from __future__ import annotations

from pathlib import Path

from browser import browse, serve

SITE = Path(__file__).resolve().parent.parent / "build" / "site"
PAGES = (
    "", "ja/", "en/corpus/", "ja/contracts/filter/", "records/", "records/leaderboard/",
    "records/side-by-side/", "reference/filters/", "reference/commands/",
)  # fmt: skip
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
PAGE = "performance.getEntriesByType('navigation')[0].decodedBodySize"
REST = "performance.getEntriesByType('resource').reduce((sum, e) => sum + e.decodedBodySize, 0)"


def main() -> None:
    print("| page | first contentful paint | page | with all it loads |\n|---|---|---|---|")
    with serve(SITE) as address, browse() as tab:
        tab.size(1280, 900)
        tab.call("Network.setCacheDisabled", cacheDisabled=True)
        for page in PAGES:
            tab.open(address + page)
            paint, size, rest = (tab.evaluate(script) for script in (PAINT, PAGE, REST))
            cells = (f"{paint:.0f} ms", f"{size / 1000:.0f} kB", f"{(size + rest) / 1000:.0f} kB")
            print(f"| {page or 'home'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
