"""Nothing that a record says runs in the browser of its reader."""

from __future__ import annotations

import functools
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import browse, find_browser, serve
from hostile_records import HEADINGS, STORIES, STRINGS, fill, write_hostile_records
from hypothesis import given
from hypothesis import strategies as st

from yoriai.plain_markdown import CONTROL, escape, find_markup, is_safe_link, neutralise
from yoriai.plugins import load_registry

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
try:
    import generate
    import protect
    from sitemaker import allowed
finally:
    sys.path.remove(str(ROOT / "docs"))

PIECES = [
    "<img src=x onerror=alert(1)>", "<script>", "</script>", "<!--", "-->", "<", ">", "`", "``",
    "```", "~~~", "```py", "``` {.py}", "\n", "\n\n", " ", "    ", "> ", "* ", "1. ", "# ", "[x]",
    "](", ")", "(", "]:", "javascript:alert(1)", "&#106;avascript:1", "<javascript:1>", "{: ", "}",
    "onclick=x", "!!! note", "| a |\n|---|\n| ", "\\", "\\`", "&lt;img&gt;", "a", "\x02", "\x03",
    "![", "https://example.org/", '"', "'", "<https://x.org>", "\t", "=", "---", "```\n", "\n```",
    "~~~\n", "`<b>`", "{o}", "[a](b", "[x](javascript:a)", "\\]", "<https://a)[x](javascript:a)>",
    '!!! note "', "\r", "    \n", "[x](http://a)", "**", "](http://a", "<textarea>", "<p>",
]  # fmt: skip


# Texts of an audit: Markdown sees fences, code and links elsewhere than a reader expects.
READ_OTHERWISE = [
    "[a](b[click](javascript:alert(1))",
    "[a](b[click](data:text/html,<b>x</b>)",
    "]([](a:)",
    "    \n```\n```<img src=x onerror=alert(1)>\n```",
    "    \n```\n```<script>alert(1)</script>\n```",
    "```\n```<script>alert(1)</script>\n```",
    "    \n~~~\n<script>\n~~~",
    "    {o=\n```\n```{on}\n```",
    "    \n```\n```<div n='' on>\n```\n~~~",
    "    code\n```\n<script>alert(1)</script>\n```",
    "```]([click](javascript:alert(1))```",
    "1. ```\n   <script>alert(1)</script>\n   ```\n",
    "``\n`<b onclick=a>`",
    "`\n```\n```\n`<b onclick=a>`",
    "> `\n>     >\n> `<b onclick=a>`",
    "`x\n# h` `<script>alert(1)</script>` y",
    "`code`{onclick=alert(1)}",
    "text\n{onclick}",
    "[a\\]: javascript:alert(1)\n\n[a\\]",
    "<https://a)[x](javascript:alert(1)>",
]


@functools.cache
def settings() -> dict[str, Any]:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    return allowed.extensions(ROOT / "mkdocs.yml")


def rendered(text: str) -> str:
    """The HTML that the site's own configuration of Markdown makes."""
    markdown = pytest.importorskip("markdown", reason="Python-Markdown is not installed")
    return str(markdown.markdown(text, **settings()))


def faults(text: str) -> list[str]:
    return allowed.Reader(rendered(text)).faults


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_no_markdown_of_a_stranger_makes_a_tag_or_an_attribute_of_its_own(text):
    assert faults(neutralise(text)) == []
    if not list(find_markup(text)):
        assert faults(text) == [], "what the check lets pass is as harmless as it stands"


@pytest.mark.parametrize("text", READ_OTHERWISE)
def test_what_markdown_reads_otherwise_is_refused_and_made_text(text):
    assert list(find_markup(text))
    assert faults(neutralise(text)) == []
    assert faults(f"before\n\n{neutralise(text).strip()}\n\nafter") == []


def test_an_address_cannot_end_its_own_link():
    assert not is_safe_link("https://a)[x](javascript:alert(1)")
    assert not is_safe_link("https://a&quot;onclick=a")
    assert is_safe_link("https://ja.wikipedia.org/wiki/日本語_(曖昧さ回避)?a=1&b=2#c")


def test_a_page_that_holds_markup_stops_the_build_with_its_place(tmp_path):
    settings()
    (tmp_path / "records").mkdir()
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference/plugins.md").write_text("# Plugins\n\n`code` and <https://x.org/>\n")
    assert allowed.refuse_active(tmp_path, ROOT / "mkdocs.yml") == 1
    page = tmp_path / "records" / "0001-evil.md"
    page.write_text("---\ntitle: x\n---\n# A\n\nwords\n\n[x](javascript:alert(1))\n\nmore\n")
    with pytest.raises(SystemExit, match=r"0001-evil\.md:8: 'a' with href='javascript:alert\(1\)'"):
        allowed.refuse_active(tmp_path, ROOT / "mkdocs.yml")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<script>", "the tag 'script'"),
        ("<p onclick=a>", "'p' with onclick='a'"),
        ("<p style='color: red'>", "'p' with style='color: red'"),
        ("# __config", "'h1' with id='__config'"),
        ("![x](data:image/png,a)", "'img' with src='data:image/png,a'"),
        ("a <!-- b --> c", "the comment ' b '"),
    ],
)
def test_the_reader_of_pages_names_what_is_not_allowed(text, fault):
    assert faults(text) == [fault]


@given(st.lists(st.sampled_from(PIECES), max_size=10).map("".join) | st.text(max_size=40))
def test_an_escaped_string_is_shown_as_it_is(text):
    page = rendered(f"a {escape(text)} z")
    assert allowed.Reader(page).faults == []
    shown: list[str] = []
    reader = HTMLParser()
    reader.handle_data = shown.append  # type: ignore[method-assign]
    reader.feed(page)
    assert "".join(shown).split() == f"a {' '.join(without_control(text).split())} z".split()


def without_control(text: str) -> str:
    return CONTROL.sub("\ufffd", text)


@pytest.mark.parametrize("attack", STORIES)
def test_every_attack_of_a_story_is_found_with_its_line(attack):
    assert list(find_markup("# Title\n\n" + fill(attack, "here")))


def test_an_honest_story_is_left_as_it_is():
    story = (
        "# A < B and C > D\n\n`x < y`, *so*, [there](../a.md#b), <https://x.org/?a=1>, 3 < 4\n\n"
        "| a | b |\n|---|---|\n| 1 | `c` |\n\n```html\n<b>shown</b>\n```\n\n> quoted\n"
    )
    assert list(find_markup(story)) == []
    assert neutralise(story).replace(
        "[https://x.org/?a&#61;1](https://x.org/?a=1)", "<https://x.org/?a=1>"
    ) == story  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of an attacker as a built site, without its policy."""
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    find_browser()
    out = tmp_path_factory.mktemp("hostile")
    (out / "repository" / "docs" / "en").mkdir(parents=True)
    (out / "repository/docs/index.md").write_text("# Home\n")
    (out / "repository/docs/en/records.md").write_text("# Records\n")
    write_hostile_records(out / "repository" / "records")
    generate.write_site(out / "docs", load_registry(), out / "repository")
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[0]
    text = text.replace("build/docs", str(out / "docs")).replace("build/site", str(out / "site"))
    (out / "mkdocs.yml").write_text(text, encoding="utf-8")
    words = [sys.executable, "-m", "mkdocs", "build", "-q", "-f", str(out / "mkdocs.yml")]
    subprocess.run(words, check=True, capture_output=True)
    return out / "site"


def test_the_policy_names_scripts_of_the_theme_and_no_others(tmp_path):
    head = '<html><head><meta charset="utf-8"><script>a=new URL("{}",b)</script>'
    (tmp_path / "404.html").write_text(head.format("/yoriai/"))
    (tmp_path / "page.html").write_text(head.format("..") + "<script>alert(1)</script>")
    assert protect.protect(tmp_path) == 2
    assert (tmp_path / "page.html").read_text().count("'sha256-") == 1


PROVOKE = """
for (const a of document.querySelectorAll('article a[href]'))
  if (!/^(https?:|[#./])/.test(a.getAttribute('href'))) a.click();
for (const e of document.querySelectorAll('article *'))
  if (!['A', 'BUTTON', 'LABEL', 'INPUT'].includes(e.tagName))
    for (const kind of ['mouseover', 'click', 'focus', 'toggle']) e.dispatchEvent(new Event(kind));
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_dialog_opens_and_nothing_is_fetched_from_elsewhere(site):
    """The pages alone hold, without their policy; with it they hold, and still work."""
    assert len(HEADINGS) == 5
    assert len(STRINGS) + len(STORIES) > 50
    pages = [p.relative_to(site).as_posix() for p in sorted(site.glob("records/**/index.html"))]
    for guarded in (False, True):
        if guarded:
            protect.protect(site)
        with serve(site) as address, browse() as tab:
            for page in pages:
                tab.open(address + page)
                tab.evaluate(PROVOKE)
            tab.settle()
            assert tab.dialogs == []
            assert [r for r in tab.requests if not r.startswith((address, "data:"))] == []
            refused = [m for m in tab.messages if "Content Security Policy" in m]
            assert refused == [], "the theme's own scripts must run under the policy"
            if guarded:
                tab.evaluate("document.querySelector('[name=query]').focus()")
                tab.type("onerror")
                tab.until("document.querySelectorAll('.md-search-result__link').length > 1")
                assert tab.dialogs == []
