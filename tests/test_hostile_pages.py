"""Nothing that a record says runs in the browser of its reader."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

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
finally:
    sys.path.remove(str(ROOT / "docs"))

EXTENSIONS = [
    "admonition", "attr_list", "md_in_html", "tables", "toc",
    "pymdownx.highlight", "pymdownx.inlinehilite", "pymdownx.superfences",
]  # fmt: skip
# What Markdown itself makes, with the attributes it gives.
TAGS = {
    *("p", "a", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "em", "strong", "code"),
    *("pre", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "br", "hr", "div"),
    *("span", "img"),
}
ATTRIBUTES = {"class", "id", "href", "src", "alt", "title", "start", "style"}
PIECES = [
    "<img src=x onerror=alert(1)>", "<script>", "</script>", "<!--", "-->", "<", ">", "`", "``",
    "```", "~~~", "```py", "``` {.py}", "\n", "\n\n", " ", "    ", "> ", "* ", "1. ", "# ", "[x]",
    "](", ")", "(", "]:", "javascript:alert(1)", "&#106;avascript:1", "<javascript:1>", "{: ", "}",
    "onclick=x", "!!! note", "| a |\n|---|\n| ", "\\", "\\`", "&lt;img&gt;", "a", "\x02", "\x03",
    "![", "https://example.org/", '"', "'", "<https://x.org>", "\t", "=", "---",
]  # fmt: skip


class Read(HTMLParser):
    """Collects what may not be there."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.bad.append(tag)
        for name, value in attrs:
            goal = name in ("href", "src") and not is_safe_link(value or "")
            if name not in ATTRIBUTES or (goal and not (value or "").startswith("#")):
                self.bad.append(f"{tag} {name}={value}")


def rendered(text: str) -> str:
    markdown = pytest.importorskip("markdown", reason="Python-Markdown is not installed")
    return str(markdown.markdown(text, extensions=EXTENSIONS))


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_no_markdown_of_a_stranger_makes_a_tag_or_an_attribute_of_its_own(text):
    assert Read(rendered(neutralise(text))).bad == []


@given(st.lists(st.sampled_from(PIECES), max_size=10).map("".join) | st.text(max_size=40))
def test_an_escaped_string_is_shown_as_it_is(text):
    page = rendered(f"a {escape(text)} z")
    assert Read(page).bad == []
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
