"""The pages of ``yoriai corpus serve`` in a real browser, from a real server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from browser import Browser, Navigated, browse, find_browser

from yoriai.config import build
from yoriai.plugins import load_registry
from yoriai.testing import make_artifact

pytestmark = pytest.mark.slow
HOSTILE = (
    "<script>alert('text')</script><img src=x onerror=\"alert('image')\">"
    "<svg onload=alert('svg')></svg></pre></bdi></mark><style>body{display:none}</style>"
    "<a href=javascript:alert('link')>link</a> 猫 hostile"
)
ROWS = [
    *({"id": f"{n:04d}", "text": f"吾輩は猫である。名前はまだ無い。（{n}）" * 20,
       "licence": "CC0-1.0", "url": f"https://example.jp/{n}"} for n in range(60)),
    {"id": "evil/<script>alert('id')</script>", "text": HOSTILE,
     "licence": "<img src=x onerror=alert('licence')>", "url": "javascript:alert('url')"},
    {"id": "code", "text": "def f(x):\n    return [x for x in range(10)]\n" * 3, "licence": "MIT"},
    {"id": "wide", "text": "ﾘﾎﾟｼﾞﾄﾘを作ります。The repository is made here."},
    {"id": "short", "text": "猫"},
]  # fmt: skip


def write_index(folder: Path) -> Path:
    registry = load_registry()
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    source = {"use": "corpus/jsonl", "paths": [str(folder / "docs.jsonl")], "name": "mine"}
    asked = {
        "corpus/build": {"sources": [source], "heldout": 0.1, "dedup": {"near": None},
                         "rules": [{"use": "corpus/min-length", "characters": 3}]},
        "corpus/index": {},
    }  # fmt: skip
    made = []
    for entry, keys in asked.items():
        step = build(registry.load(registry.get("steps", entry)), keys, registry)
        step._entry = entry
        made.append(make_artifact(step, folder / entry.partition("/")[2], made[:1], registry))
    return folder / "index"


@contextlib.contextmanager
def running(index: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "yoriai", "corpus", "serve", str(index), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(r"http://\S+?/", line):
                    yield found[0]
                    break
            else:
                raise AssertionError("the server said no address")
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    find_browser()
    pytest.importorskip("starlette")
    with running(write_index(tmp_path_factory.mktemp("served"))) as found:
        yield found


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Browser]:
    with browse() as opened:
        yield opened


def keep(browser: Browser, name: str) -> None:
    """A picture for whoever looks: set YORIAI_PICTURES to a folder."""
    if folder := os.environ.get("YORIAI_PICTURES"):
        browser.picture(Path(folder) / f"{name}.png")


PLACES = {
    "start": ("", ["64", "検索"]),
    "cat": (f"?q={quote('猫')}", ["1,201", "62"]),
    "phrase": (f"?q={quote('吾輩は猫である')}", ["1,200"]),
    "narrow": (f"?q={quote('リポジトリ')}", ["1"]),
    "width": (f"?q={quote('ﾘﾎﾟｼﾞﾄﾘ')}", ["1"]),
    "english": ("?q=repository+is", ["wide"]),
    "code": (f"?q={quote('return [x')}", ["mine/code"]),
    "nothing": ("?q=zzzz", []),
    "long": ("?q=" + "a" * 1001, ["1,001"]),
    "hostile": ("?q=hostile", ["javascript:alert('link')"]),
    "document": ("document?name=" + quote("mine/evil/<script>alert('id')</script>"),
                 ["onerror", "javascript:alert('url')"]),
    "dropped": ("dropped", ["corpus/min-length"]),
    "short": ("dropped?rule=corpus/min-length", ["mine/short", "猫"]),
    "api": ("api", ["/api/search"]),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_a_page_shows_what_it_should_and_runs_nothing(
    browser: Browser, address: str, name: str
) -> None:
    path, wanted = PLACES[name]
    for language in ("en", "ja"):
        browser.size(1100, 800)
        before = len(browser.events)
        browser.open(f"{address}{path}{'&' if '?' in path else '?'}ui={language}")
        text = browser.evaluate("document.body.innerText")
        assert all(word in text for word in wanted if language == "ja" or word != "検索"), text
        assert browser.evaluate("document.scripts.length") == 0
        assert browser.evaluate("document.images.length") == 0
        assert browser.evaluate("getComputedStyle(document.body).display") == "block"
        assert browser.evaluate("document.documentElement.lang") == language
        assert browser.dialogs == []
        fetched = {url for url in browser.requests[-4:] if not url.startswith(address)}
        assert not {url for url in fetched if url != "about:blank"}
        refused = [m for m in browser.messages if "Content Security Policy" in m]
        assert refused == [], browser.events[before:]
        keep(browser, f"{name}-{language}")
        browser.size(360, 740)
        browser.settle()
        assert browser.evaluate("document.documentElement.scrollWidth") <= 360, name
        keep(browser, f"{name}-{language}-phone")


def test_waiting_outlasts_a_page_that_is_left_at_any_moment() -> None:
    """The page may be left while it is asked and while it settles."""
    answers: list[Any] = [Navigated("asked"), None, Navigated("settling"), 20]

    class Leaving(Browser):
        def call(self, method: str, **params: Any) -> dict[str, Any]:
            answer = answers.pop(0)
            if isinstance(answer, Navigated):
                raise answer
            return {"result": {"value": answer}}

    assert Leaving(send_to=-1, read_from=-1).until("rows") == 20
    assert answers == []


def test_a_search_goes_by_keyboard_alone(browser: Browser, address: str) -> None:
    browser.size(1100, 800)
    browser.open(f"{address}?ui=en")
    for _ in range(20):
        browser.press("Tab")
        if browser.evaluate("document.activeElement.id") == "q":
            break
    browser.type("猫")
    with contextlib.suppress(Navigated):  # the key is answered by another page
        browser.press("Enter")
    browser.until("document.querySelectorAll('ol.hits li').length == 20")
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.className") == "skip"
    outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_a_pasted_text_is_traced(browser: Browser, address: str) -> None:
    browser.size(1100, 800)
    browser.open(f"{address}trace?ui=ja")
    browser.evaluate("document.getElementById('text').focus()")
    browser.type("むかし、吾輩は猫である。名前はまだ無いと</textarea><script>alert(9)</script>")
    browser.evaluate("document.querySelector('main button').click()")
    browser.until("document.querySelectorAll('mark').length > 0")
    marked = browser.evaluate("document.querySelector('mark').innerText")
    assert marked == "吾輩は猫である。名前はまだ無い"
    assert browser.dialogs == []
    keep(browser, "trace-ja")
    browser.size(360, 740)
    browser.settle()
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    keep(browser, "trace-ja-phone")


def test_facets_narrow_a_search_and_are_left_again(browser: Browser, address: str) -> None:
    browser.size(1100, 800)
    browser.open(f"{address}?q={quote('猫')}&ui=en")
    state = "[...document.querySelectorAll('a')].find(a => a.innerText == 'dropped' && a.title)"
    browser.evaluate(f"{state}.click()")
    browser.until("document.querySelectorAll('ol.hits li').length == 1")
    keep(browser, "facet-en")
    left = "[...document.querySelectorAll('a')].find(a => a.innerText == 'any state')"
    browser.evaluate(f"{left}.click()")
    browser.until("document.querySelectorAll('ol.hits li').length == 20")


def test_every_field_has_a_name_and_no_id_stands_twice(browser: Browser, address: str) -> None:
    for path in ("", f"?q={quote('猫')}", "trace", "dropped", "api"):
        browser.open(address + path)
        unnamed = browser.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]),textarea')]"
            ".filter(e => !e.labels.length).length"
        )
        twice = browser.evaluate(
            "(ids => ids.length - new Set(ids).size)"
            "([...document.querySelectorAll('[id]')].map(e => e.id))"
        )
        empty = browser.evaluate(
            "[...document.querySelectorAll('a,button')].filter(e => !e.innerText.trim()).length"
        )
        assert (path, unnamed, twice, empty) == (path, 0, 0, 0)
        assert browser.evaluate("document.querySelectorAll('h1').length") >= 1
        assert browser.evaluate("document.querySelectorAll('main').length") == 1


AXE = os.environ.get("YORIAI_AXE", "")
RUN_AXE = """axe.run(document).then(r => r.violations.map(v =>
    `${v.id} (${v.impact}): ` + v.nodes.map(n => n.target + ' ' + n.failureSummary).join(' | ')))"""


def violations(browser: Browser) -> list[str]:
    """What axe-core finds on the page as it stands, in words; all of its rules are asked."""
    browser.evaluate(Path(AXE).read_text(encoding="utf-8") + ";0")
    found: list[str] = browser.evaluate(RUN_AXE)
    return found


@pytest.mark.skipif(not AXE, reason="set YORIAI_AXE to axe.min.js: npm install axe-core")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_violation_on_any_page(browser: Browser, address: str, dark: bool) -> None:
    found = {}
    for name, (path, _) in PLACES.items():
        for language, width in (("en", 1100), ("ja", 360)):
            browser.size(width, 800, dark=dark)
            browser.open(f"{address}{path}{'&' if '?' in path else '?'}ui={language}")
            found[name, language] = violations(browser)
    browser.open(f"{address}trace?ui=ja")
    browser.evaluate("document.getElementById('text').focus()")
    browser.type("むかし、吾輩は猫である。名前はまだ無い。（3）吾輩は猫である。名前はまた無い。と")
    browser.evaluate("document.querySelector('main button[formaction]').click()")
    browser.until("document.querySelectorAll('mark').length > 0")
    found["trace", "ja"] = violations(browser)
    keep(browser, f"trace-near-{'dark' if dark else 'light'}")
    assert {page: told for page, told in found.items() if told} == {}
