"""Pages to text: nothing Japanese is lost or torn, and no page stops the work."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Document, Unreadable
from yoriai_corpus.sources.html import HtmlFiles, depth_of, is_in, text_of, title_of, without_tags

PAGE = """<!DOCTYPE html><html lang="ja"><head><title>題名 &amp; 副題</title>
<style>p { color: red }</style><script>var x = "スクリプト";</script></head><body>
<nav><ul><li><a href="/">ホーム</a></li><li><a href="/m">メニュー</a></li></ul></nav>
<main><h1>見出し</h1>
<p>これは日本語の
  文章です。折り返し
されています。English words
and more.</p>
<ul><li>りんごは赤い</li><li>みかんは甘い</li></ul>
<table><tr><th>名前</th><th>年</th></tr><tr><td>太郎</td><td>三</td></tr></table>
<pre>def f():
    return 1
日本
語</pre>
</main><footer>著作権</footer></body></html>"""


def test_the_main_content_comes_as_lines() -> None:
    assert text_of(PAGE).split("\n") == [
        "見出し", "", "これは日本語の文章です。折り返しされています。English words and more.", "",
        "  りんごは赤い", "  みかんは甘い", "名前\t年", "太郎\t三", "def f():", "    return 1",
        "日本", "語",
    ]  # fmt: skip


def test_everything_also_gives_what_stands_around_the_content() -> None:
    text = text_of(PAGE, "everything")
    assert "ホーム" in text
    assert "著作権" in text
    assert "スクリプト" not in text


@pytest.mark.skipif(not importlib.util.find_spec("trafilatura"), reason="trafilatura is missing")
def test_trafilatura_finds_the_same_content() -> None:
    text = text_of(PAGE, "trafilatura")
    assert "これは日本語の文章です。折り返しされています。English words and more." in text
    assert "スクリプト" not in text


@pytest.mark.parametrize("element", ["b", "a", "span", "em", "td", "li", "p", "div"])
def test_an_element_of_one_character_is_not_lost(element: str) -> None:
    html = f"<main><p>今日は、</p><{element}>雨</{element}><p>でした。</p></main>"
    assert "雨" in text_of(html)


def test_readings_and_their_parentheses_go() -> None:
    html = "<main><p><ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>字を読む。</p></main>"
    assert text_of(html) == "漢字を読む。"


def test_lists_right_below_the_body_are_text_unless_they_are_links() -> None:
    html = (
        "<body><p>果物の話です。</p><ul><li>りんごは赤い<ul><li>青もある</li></ul></li></ul>"
        "<ul><li><a href=a>前へ戻る</a></li><li><a href=b>次へ進む</a></li></ul></body>"
    )
    assert [line.strip() for line in text_of(html).split("\n") if line] == [
        "果物の話です。", "りんごは赤い", "青もある",
    ]  # fmt: skip


def test_the_title_is_found_and_cleaned() -> None:
    assert title_of(PAGE) == "題名 & 副題"
    assert title_of("<p>no title</p>") == ""
    assert title_of("<title>\n a\n  b <b>") == "a b"


@pytest.mark.parametrize(
    ("html", "is_japanese"),
    [
        ('<html lang="ja"><title>x</title>', True),
        ("<html class=a lang=ja-JP>", True),
        ("<html><title>ようこそ</title>", True),
        ('<html lang="en"><title>Hello</title>', False),
        ('<html lang="en"><title>ようこそ</title>', True),
        ("<html><title>中文网站</title>", False),
        ("", False),
    ],
)
def test_a_page_says_what_language_it_is_in(html: str, is_japanese: bool) -> None:
    assert is_in(html, "ja") is is_japanese


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000 + "底にある文",
        "<div><b>" * 50_000 + "底にある文",
        "<b>" * 100_000 + "底にある文",
        "<div></span>" * 30_000 + "底にある文",
        "<div " + " ".join(f"a{n}=1" for n in range(100_000)) + ">底にある文</div>",
        '<div class="' + "x" * 5_000_000 + '">底にある文</div>',
        "<table><tr><td>" * 20_000 + "底にある文",
        "<p>底にある文" + "<!--" * 100_000,
    ],
    ids=["div", "div-b", "b", "wrong-end", "attributes", "attribute", "table", "comments"],
)
def test_no_page_is_too_deep_or_too_odd(html: str) -> None:
    for extractor in ("resiliparse", "everything"):
        assert len(text_of(html, extractor)) < 100  # type: ignore[arg-type]
    assert depth_of("<div></div>" * 10_000) == 1


@pytest.mark.parametrize("html", ["", " ", "<", "<html></html>", "<!--", "<script>x", "\0", "<p>"])
def test_pages_without_text_give_none(html: str) -> None:
    assert text_of(html).strip() in ("", "<")


def test_tags_alone_give_the_text_too() -> None:
    text = without_tags(PAGE)
    assert "スクリプト" not in text
    assert "りんごは赤い\n" in text
    assert "<" not in text


markup = st.lists(
    st.sampled_from(
        [
            "<div>", "</div>", "<p>", "<ul>", "<li>", "</ul>", "<table>", "<td>", "<b>", "</b>",
            "<a href", ">", "<", "&amp;", "&#x3042;", "日本", "\n", " text ", "<!--", "-->", "'",
            "<script>", "</script>", "<pre>", "\0", "<title>", "<svg>", '"',
        ]
    ),
    max_size=40,
)  # fmt: skip


@given(pieces=markup)
def test_broken_pages_do_no_harm(pieces: list[str]) -> None:
    assert isinstance(text_of("".join(pieces)), str)


def test_files_are_read_in_their_encoding_and_named_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    sjis = PAGE.replace("<head>", '<head><meta charset="Shift_JIS">').encode("cp932")
    (tmp_path / "a" / "x.html").write_bytes(sjis)
    (tmp_path / "b.htm").write_bytes(PAGE.encode())
    (tmp_path / "empty.html").write_bytes(b"<html></html>")
    (tmp_path / "noise.html").write_bytes(bytes(range(128, 256)) * 9)
    source = HtmlFiles(paths=[str(tmp_path)], name="n", title=True, language="ja")
    items = [item for partition in source.partitions() for item in source.read(partition)]
    texts = {item.id: item.text for item in items if isinstance(item, Document)}
    reasons = {item.id: item.reason for item in items if isinstance(item, Unreadable)}
    assert sorted(texts) == ["a/x.html", "b.htm"]
    assert texts["a/x.html"] == texts["b.htm"]
    assert texts["b.htm"].startswith("題名 & 副題\n\n見出し\n")
    assert reasons["empty.html"] == "no text in the page"
    assert "broken" in reasons["noise.html"]
