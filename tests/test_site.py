"""The built site in a real browser: languages, search, tables, phone, dark, keyboard, quiet."""

# ruff: noqa: E501  (selectors)

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from browser import browse, serve

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
try:
    import languages
    import lighten
finally:
    sys.path.remove(str(ROOT / "docs"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WALK = (
    "", "ja/", "en/contracts/source/", "ja/contracts/source/", "records/", "reference/plugins/",
    "records/leaderboard/", "records/cards/tour-base/", "records/what-did-not-work/", "en/words/",
    "ja/working-groups/", "records/compare/", "records/timeline/", "records/side-by-side/",
)  # fmt: skip


@pytest.fixture(scope="module")
def tab(site):
    with serve(site) as address, browse() as tab:
        tab.address = address
        yield tab


def quiet(tab):
    """What the walk so far has left: messages, requests to elsewhere, dialogs."""
    elsewhere = [r for r in tab.requests if not r.startswith((tab.address, "data:"))]
    return [*tab.messages, *elsewhere, *tab.dialogs]


def test_no_page_says_anything_on_the_console_or_asks_another_site(tab):
    for width, dark in ((1280, False), (390, True)):
        tab.size(width, 844, dark=dark)
        for page in WALK:
            tab.open(tab.address + page)
    assert quiet(tab) == []


@pytest.mark.parametrize("page", WALK)
def test_on_a_phone_nothing_is_wider_than_the_screen(tab, page):
    tab.size(390, 844)
    tab.open(tab.address + page)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_on_a_phone_the_verdict_of_a_record_is_seen_and_a_table_stays_a_table(tab):
    tab.size(390, 844)
    tab.open(tab.address + "records/")
    cell = "[...document.querySelectorAll('.sortable tbody tr')].find(r => r.cells[0].textContent === '0006').cells[4]"
    box = f"(b => [b.left, b.right])({cell}.getBoundingClientRect())"
    left, right = tab.evaluate(box)
    assert 0 <= left < right <= 390
    assert tab.evaluate(f"{cell}.dataset.label") == "was the idea right"
    tree = tab.call("Accessibility.getFullAXTree")["nodes"]
    roles = [node.get("role", {}).get("value") for node in tree if not node.get("ignored")]
    assert roles.count("table") == 1
    assert roles.count("cell") > 100
    assert roles.count("columnheader") == 5


def test_a_japanese_page_is_japanese_in_all_its_frame(site, tab):
    tab.size(1280, 900)
    tab.open(tab.address + "ja/corpus/")
    assert tab.evaluate("document.documentElement.lang") == "ja"
    assert tab.evaluate("document.querySelector('[name=query]').placeholder") == "検索"
    page = (site / "ja/corpus/index.html").read_text(encoding="utf-8")
    frame = " ".join(languages._ARTICLE.split(page)[::2])
    left = [w for w in languages.theme_words() if f'"{w}"' in frame or f">{w}<" in frame]
    assert [word for word in left if word != "en"] == []
    tab.evaluate("document.querySelector('a.twin').click()")
    tab.until("document.readyState === 'complete' && document.documentElement.lang === 'en'")


def test_the_sitemap_names_both_languages_of_a_page(site):
    text = (site / "sitemap.xml").read_text(encoding="utf-8")
    part = re.search(r"<loc>[^<]*/en/corpus/</loc>.*?</url>", text, re.DOTALL)[0]
    assert 'hreflang="ja" href="https://yoriai.github.io/yoriai/ja/corpus/"' in part
    assert 'hreflang="x-default"' in part
    assert "/records/leaderboard/</loc><xhtml" not in text


@pytest.mark.parametrize(
    ("words", "found"),
    [("評価", "ja/evaluation/"), ("deduplication", "en/words/"), ("重複除去", "ja/words/"),
     ("leaderboard", "records/leaderboard/")],
)  # fmt: skip
def test_the_search_finds_what_people_call_it(tab, words, found):
    tab.size(1280, 900)
    tab.open(tab.address)
    tab.evaluate("document.querySelector('[name=query]').focus()")
    tab.type(words)
    links = "[...document.querySelectorAll('.md-search-result__link')].map(a => a.pathname)"
    tab.until(f"{links}.some(p => p.endsWith('/{found}'))")


def test_the_leaderboard_is_sorted_and_filtered(tab):
    tab.size(1280, 900)
    tab.open(tab.address + "records/leaderboard/")
    names = "[...document.querySelector('.sortable').querySelectorAll('tbody tr:not([hidden])')].map(r => r.cells[0].textContent)"
    assert tab.evaluate(f"{names}.length") >= 4
    button = "[...document.querySelector('.sortable').querySelectorAll('th button')].find(b => b.textContent === 'MB')"
    tab.evaluate(f"{button}.click()")
    assert tab.evaluate(f"{names}[0]") == "small"
    assert tab.evaluate(f"{button}.parentElement.ariaSort") == "ascending"
    tab.evaluate("document.querySelector('.filter').focus()")
    tab.type("float32")
    assert "small" not in tab.until(names)


def test_the_leaderboard_is_narrowed_by_a_choice(tab):
    tab.size(1280, 900)
    tab.open(tab.address + "records/leaderboard/")
    tab.evaluate(
        "(s => {s.value = '8 bits'; s.dispatchEvent(new Event('input'))})(document.querySelector('[aria-label=precision]'))"
    )
    names = "[...document.querySelector('.sortable').querySelectorAll('tbody tr:not([hidden])')].map(r => r.cells[0].textContent)"
    assert tab.evaluate(names) == ["small"]


def test_two_models_are_compared_on_one_question(tab):
    tab.size(1280, 900)
    tab.open(tab.address + "records/side-by-side/")
    rows = "document.querySelectorAll('.answers tbody tr')"
    tab.until(f"{rows}.length === 120")
    choose = "(l, v) => (s => {s.value = v; s.dispatchEvent(new Event('change'))})(document.querySelector(`[aria-label='${l}']`))"
    for label, value in (("first model", "base"), ("second model", "tuned"), ("questions", "left")):
        tab.evaluate(f"({choose})('{label}', '{value}')")
    marks = (
        "[...document.querySelectorAll('.answers .right, .answers .wrong')].map(e => e.className)"
    )
    found = tab.evaluate(marks)
    assert 0 < len(found) < 240
    assert set(found[::2]) == {"right"}
    assert set(found[1::2]) == {"wrong"}
    assert "CC-BY-4.0" in tab.evaluate("document.querySelector('.answers').innerText")


def test_two_records_are_compared_as_text(tab):
    tab.size(1280, 900)
    tab.open(tab.address + "records/compare/#0006,0014")
    tab.until("document.querySelectorAll('.compare td').length > 10")
    heads = tab.evaluate(
        "[...document.querySelectorAll('.compare thead th')].map(t => t.textContent)"
    )
    assert heads == ["what", "0006", "0014"]
    assert quiet(tab) == []


def test_the_keyboard_alone_reaches_the_text_and_a_record_is_left_again(tab):
    tab.size(1280, 900)
    tab.open(tab.address + "records/0014-threads-that-spin-for-one-another/")
    tab.press("Tab")
    assert "md-skip" in tab.evaluate("document.activeElement.className")
    assert (
        tab.evaluate("document.querySelectorAll('.md-nav--primary a[href*=\"0015\"]').length") >= 1
    )
    tab.press("Enter")  # over the sidebar, however many records it holds
    tab.press("Tab")
    assert tab.evaluate("!!document.activeElement.closest('article')")


def test_dark_is_dark_in_figures_too(tab):
    tab.size(1280, 900, dark=True)
    tab.open(tab.address)
    tab.evaluate("localStorage.clear()")
    tab.open(tab.address)
    scheme = tab.evaluate("document.body.dataset.mdColorScheme")
    assert scheme == "slate"
    assert (
        tab.evaluate("getComputedStyle(document.querySelector('article img')).colorScheme")
        == "dark"
    )


def test_no_page_loads_more_than_half_a_megabyte_before_its_reader_does_something(site):
    """The page itself and all it fetches at once, unpacked; the index of the search is not in it."""
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("index.html"))
    assert len(pages) > 100
    sent: dict[str, bytes] = {}
    heavy, searched = {}, []
    with serve(site, sent) as address, browse() as tab:
        for page in pages:
            sent.clear()
            tab.open(address + page)
            tab.until("document.readyState === 'complete'")
            assert f"/{page}" in sent
            assert any(name.endswith(".css") for name in sent)
            weight = sum(map(len, sent.values()))
            if weight > 500_000:
                heavy[page] = weight
            searched += [page for name in sent if "search_index" in name]
    assert heavy == {}
    assert searched == []


def test_nothing_moves_when_figures_and_tables_arrive(site):
    """Cumulative layout shift: below 0.1 is good (web.dev/articles/cls)."""
    moved = {}
    watch = """
      window.moved = 0;
      new PerformanceObserver(list => { for (const one of list.getEntries()) window.moved += one.value; })
        .observe({type: "layout-shift", buffered: true});
    """
    with serve(site) as address, browse() as tab:
        tab.size(1280, 900)
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=watch)
        for page in WALK:
            tab.open(address + page)
            tab.until("[...document.images].every(image => image.complete)")
            if "compare" in page or "side-by-side" in page:
                tab.until("document.querySelectorAll('article td').length > 10")
            moved[page] = tab.evaluate("window.moved")
            small = tab.evaluate(
                "[...document.querySelectorAll('article img')].filter(i => !i.width || !i.getAttribute('height')).length"
            )
            assert (page, small) == (page, 0)
    assert {page: much for page, much in moved.items() if much > 0.1} == {}


@pytest.mark.parametrize("start", ["focus", "?q=評価", "ja/evaluation/?h=評価"])
def test_whoever_searches_loads_the_index(site, start):
    sent: dict[str, bytes] = {}
    with serve(site, sent) as address, browse() as tab:
        tab.open(address + ("" if start == "focus" else start))
        if start == "focus":
            assert "/search/search_index.json" not in sent
            tab.evaluate("document.querySelector('[name=query]').focus()")
            tab.type("評価")
        if "h=" in start:
            tab.until("document.querySelectorAll('article mark').length > 0")
        else:
            tab.until("document.querySelectorAll('.md-search-result__link').length > 0")
    assert "\\u" not in sent["/search/search_index.json"].decode()[:5000]


def test_a_theme_that_fetches_its_index_in_another_way_is_noticed(tmp_path):
    with pytest.raises(SystemExit, match="0 scripts"):
        lighten.load_on_demand(tmp_path)
    script = tmp_path / "assets" / "javascripts" / "bundle.12.min.js"
    script.parent.mkdir(parents=True)
    script.write_text('L($(location.protocol!=="file:"),fetchIndex())')
    with pytest.raises(SystemExit, match="found 0 times"):
        lighten.load_on_demand(tmp_path)
    script.write_text(
        'L($(location.protocol!=="file:"),Q("search"));V("search.highlight")?a:b\n'
        "//# sourceMappingURL=bundle.12.min.js.map\n"
    )
    lighten.load_on_demand(tmp_path)
    once = script.read_text()
    assert "location.protocol" not in once
    assert "sourceMappingURL" not in once
    assert '("search.highlight")&&new URL(location.href).searchParams.has("h")?a:b' in once
    lighten.load_on_demand(tmp_path)
    assert script.read_text() == once
