"""Wikipedia: markup goes, text stays, and a dump's pages are each read once."""

from __future__ import annotations

import bz2
import html
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import Artifact, Document, PassedOver, Unreadable
from yoriai_corpus.sources.listing import SourceFile
from yoriai_corpus.sources.records import FilePart
from yoriai_corpus.sources.wikipedia import WikipediaDump, parse_page
from yoriai_corpus.sources.wikitext import MAX_DEPTH, plain_text

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="ja">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <dbname>jawiki</dbname>
    <base>https://ja.wikipedia.org/wiki/%E3%83%A1%E3%82%A4%E3%83%B3%E3%83%9A%E3%83%BC%E3%82%B8</base>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">ノート</namespace>
      <namespace key="6" case="first-letter">絵</namespace>
    </namespaces>
  </siteinfo>
"""
ARTICLE = """{{Infobox 都市|名前={{lang|ja|東京}}|画像=[[File:a.jpg|thumb|説明[[港]]]]}}
'''東京'''（とうきょう、{{lang-en|Tokyo}}{{R|a}}）は、[[日本]]の\
[[首都|みやこ]]<ref name="a">{{cite|t=[[x|y]]}}</ref>である<ref name=b/>。<!-- 秘密 -->
[[ファイル:x.png|thumb|300px|これは[[図]]です。]][[絵:y.png|別の図]]
== 歴史 ==
* 一つ目の[[事柄 (曖昧さ回避)|事柄]]
** 二つ目は[https://example.jp ラベル]です
{| class="wikitable"
|-
! 見出し || セル
|-
| {{x|y}} || [[z]]
|}
=== 空の節 ===
{{reflist}}
== 数式 ==
<math>x^2</math>を解く&nbsp;{{ruby|漢字|かんじ}}と{{仮リンク|外国|en|Foreign}}、{{PAGENAME}}。
<nowiki>[[そのまま]]</nowiki>次（、）の<br />行
== 脚注 ==
{{脚注ヘルプ}}
<references />
{{DEFAULTSORT:とうきよう}}
[[Category:日本]][[en:Tokyo]]
__NOTOC__"""
PLAIN = """東京

東京（とうきょう、Tokyo）は、日本のみやこである。

歴史

一つ目の事柄
二つ目はラベルです

数式

$x^2$を解く 漢字と外国、東京。
[[そのまま]]次の
行"""


def page(
    id_: int, title: str, text: str, namespace: int = 0, more: str = "", model: str = "wikitext"
) -> str:
    return (
        f"  <page>\n    <title>{html.escape(title)}</title>\n    <ns>{namespace}</ns>\n"
        f"    <id>{id_}</id>\n{more}    <revision>\n      <id>{id_}999</id>\n"
        "      <timestamp>2024-02-03T04:05:06Z</timestamp>\n"
        "      <contributor><username>u</username><id>7</id></contributor>\n"
        f"      <model>{model}</model>\n"
        f'      <text bytes="9" xml:space="preserve">{html.escape(text)}</text>\n'
        "    </revision>\n  </page>\n"
    )


PAGES = [
    page(5, "東京", ARTICLE),
    page(6, "江戸", "#転送 [[東京]]", more='    <redirect title="東京" />\n'),
    page(7, "ノート:東京", "議論です。", 1),
    page(8, "A & B/C", "'''A & B'''は二つの文字である。"),
    page(9, "深い", "{{" * 3000 + "底" + "}}" * 3000 + "地上の文。"),
    page(10, "モジュール", "return {}", model="Scribunto"),
    page(11, "最後", "最後の記事です。"),
]


def dump(tmp_path: Path, packing: str, pages: list[str] = PAGES) -> Path:
    """The dump as one XML file, one bzip2 stream, or (as published) several pages a stream."""
    path = tmp_path / f"jawiki-pages-articles.xml{'.bz2' if packing else ''}"
    groups = ["".join(pages[start : start + 2]) for start in range(0, len(pages), 2)]
    parts = [part.encode() for part in [HEAD, *groups, "</mediawiki>\n"]]
    if packing == "multistream":
        path.write_bytes(b"".join(map(bz2.compress, parts)))
    else:
        whole = b"".join(parts)
        path.write_bytes(bz2.compress(whole) if packing == "bz2" else whole)
    return path


def read(path: Path, **keys: object) -> list[Document | Unreadable]:
    source = WikipediaDump(paths=[str(path)], name="jawiki", **keys)  # type: ignore[arg-type]
    return [item for partition in source.partitions() for item in source.read(partition)]


@pytest.mark.parametrize("packing", ["", "bz2", "multistream"])
def test_articles_are_read_and_redirects_and_other_namespaces_are_not(
    tmp_path: Path, packing: str
) -> None:
    found = read(dump(tmp_path, packing))
    items = [item for item in found if not isinstance(item, PassedOver)]
    assert {i.kind for i in found if isinstance(i, PassedOver)} >= {
        "redirect",
        "page of namespace 1",
    }
    assert [item.id for item in items] == ["5", "8", "9", "11"]
    first = items[0]
    assert isinstance(first, Document)
    assert first.text == PLAIN
    assert (first.url, first.date, first.language, first.licence) == (
        "https://ja.wikipedia.org/wiki/%E6%9D%B1%E4%BA%AC",
        "2024-02-03T04:05:06Z",
        "ja",
        "CC-BY-SA-4.0",
    )
    assert getattr(items[1], "url", "") == "https://ja.wikipedia.org/wiki/A_%26_B/C"
    assert getattr(items[1], "text", "") == "A & B/C\n\nA & Bは二つの文字である。"


def test_namespaces_and_the_title_can_be_chosen(tmp_path: Path) -> None:
    items = read(dump(tmp_path, ""), namespaces=(1,), title=False)
    items = [item for item in items if not isinstance(item, PassedOver)]
    assert [(item.id, getattr(item, "text", "")) for item in items] == [("7", "議論です。")]


@pytest.mark.parametrize("packing", ["", "multistream"])
def test_a_broken_page_costs_only_itself(tmp_path: Path, packing: str) -> None:
    bad = [
        page(20, "前", "ここまでは良い。"),
        page(21, "壊", "x").replace("</title>", "</titel>"),
        page(22, "実体", "x").replace("<text", "<text>&lol;<"),
        page(23, "種別", "x").replace("<page>", "<page><!DOCTYPE x [<!ENTITY a 'b'>]>"),
        page(24, "番号", "x").replace("<ns>0", "<ns>zero"),
        page(25, "後", "ここからも良い。"),
    ]
    items = read(dump(tmp_path, packing, bad))
    assert [item.id for item in items if isinstance(item, Document)] == ["20", "25"]
    reasons = [item.reason for item in items if isinstance(item, Unreadable)]
    assert len(reasons) == 4
    assert all("not XML" in reason for reason in reasons)


def test_entities_are_never_expanded() -> None:
    bomb = b"<!DOCTYPE page [<!ENTITY a 'b'>]><page><title>&a;</title></page>"
    with pytest.raises(ValueError, match="document type"):
        parse_page(bomb)


def test_a_dump_that_is_cut_gives_its_pages_and_says_where_it_ends(tmp_path: Path) -> None:
    path = dump(tmp_path, "multistream")
    path.write_bytes(path.read_bytes()[:-60])
    items = read(path)
    assert [item.id for item in items if isinstance(item, Document)][:2] == ["5", "8"]
    assert any(isinstance(item, Unreadable) for item in items)


@settings(max_examples=25)
@given(
    packing=st.sampled_from(["", "multistream"]),
    cuts=st.lists(st.integers(1, 999), max_size=5, unique=True),
)
def test_the_pieces_of_a_dump_have_each_page_once(
    packing: str, cuts: list[int], new_folder: Callable[[], Path]
) -> None:
    pages = [page(n, f"題{n}", f"本文{n}" * (n % 7 * 5)) for n in range(24)]
    path = dump(new_folder(), packing, pages)
    size = path.stat().st_size
    edges = [0, *sorted({max(1, cut * size // 1000) for cut in cuts}), size]
    source = WikipediaDump(paths=[str(path)])
    found = [
        source.document(*frame).id  # type: ignore[union-attr, misc]
        for start, end in pairwise(edges)
        for frame in source.frames(FilePart(SourceFile("d", str(path)), start, end))
        if source.document(*frame) is not None  # type: ignore[misc]
    ]
    assert found == [str(n) for n in range(24)]


# --- wikitext -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("[[日本]]と[[日本国|日本]]", "日本と日本"),
        ("[[:Category:山]]を見る", "Category:山を見る"),
        ("[[w:foo|外の]]語", "外の語"),
        ("[[#節|節へ]]", "節へ"),
        ("'''太'''と''斜''と'''''両方'''''", "太と斜と両方"),
        ("前{{無い|a|b=[[c]]}}後", "前後"),
        ("{{nowrap|切らない}}文", "切らない文"),
        ("{{lang|fr|{{nowrap|été}}}}", "été"),
        ("{{Lang|en|a=b c}}", ""),
        ("{{Quote|text=引いた文}}", "引いた文"),
        ("{{color|red|赤い}}字", "赤い字"),
        ("a{{!}}b", "a|b"),
        ("{{{引数|既定}}}x", "x"),
        ("閉じない{{括弧と[[続く文", "閉じない括弧と続く文"),
        ("閉じる}}だけ]]の文", "閉じるだけの文"),
        ("<ref>注</ref>本文<ref name='a' />です<ref group=x>閉じない", "本文です閉じない"),
        ("<gallery>\nFile:a.jpg\n</gallery>文", "文"),
        ("<pre>{{そのまま}}  [[x]]</pre>", "{{そのまま}}  [[x]]"),
        ("<!-- a -->文<!-- 閉じない", "文"),
        ("#項\n#:続き\n;語\n:説明", "項\n続き\n語\n説明"),
        ("{|\n|a\n{|\n|b\n|}\n|}文", "文"),
        (":{|\n|a\n|}\n文", "文"),
        ("== 節 ==\n文\n=== 空 ===\n== 終 ==", "節\n\n文"),
        ("== 空 ==\n=== 子 ===\n文", "空\n\n子\n\n文"),
        ("&lt;b&gt; &amp;amp;", "<b> &amp;"),
        ("a < b かつ c > d", "a < b かつ c > d"),
        ("__目次非表示__文 __init__", "文 __init__"),
        ("読み（よみ、{{IPA|x}}{{消える}}）と（{{消える}}）", "読み（よみ、x）と"),
        ("[http://example.jp]と[http://example.jp 名]", "と名"),
        ("", ""),
    ],
)
def test_markup_becomes_what_a_reader_sees(markup: str, text: str) -> None:
    assert plain_text(markup) == text


def test_too_deep_brackets_are_dropped_and_text_around_them_stays() -> None:
    deep = "{{lang|en|" * (MAX_DEPTH + 5) + "底" + "}}" * (MAX_DEPTH + 5)
    assert plain_text(f"前{deep}後") == "前後"
    shallow = "{{lang|en|" * 10 + "底" + "}}" * 10
    assert plain_text(f"前{shallow}後") == "前底後"


PIECES = [
    *(
        "{{",
        "}}",
        "[[",
        "]]",
        "|",
        "{|\n",
        "\n|}",
        "日本",
        "lang|",
        "File:",
        "<ref>",
        "</ref>",
    ),
    *("<math>", "==", "\n", "\n*", "'''", "<!--", "-->", "<nowiki>", "</nowiki>", "="),
    *("&lt;", "[http://a ", "]", "（", "）", "{{{", "}}}", "__NOTOC__", "\x00", "\x01", "<br", ">"),
]
pieces = st.lists(st.sampled_from(PIECES), max_size=60)


@given(parts=pieces)
def test_no_markup_raises_or_leaves_half_of_a_template(parts: list[str]) -> None:
    text = plain_text("".join(parts))
    assert "\x00" not in text
    if "<nowiki>" not in parts:
        assert "{{" not in text
        assert "}}" not in text


@pytest.mark.parametrize(
    "piece",
    ["{{", "[[", "{|\n", "<ref>", "<!--", "{{[[", "[http://", "'", "<a ", "= a ", "|", "（、", "、",
     "{{{", "\n", "}}]]|}\n", "&", " ", "{{lang|en|x", "<nowiki>", "=" + " " * 999],
)  # fmt: skip
def test_repetition_takes_no_time_beyond_its_length(piece: str) -> None:
    # Twenty seconds of a quadratic pass would be noticed; the linear one takes a tenth.
    plain_text(piece * (200_000 // len(piece)))


def test_templates_and_links_agree_with_mwparserfromhell() -> None:
    parser = pytest.importorskip("mwparserfromhell")
    markup = ARTICLE.partition("== 歴史")[0].partition("。")[0].partition("}}\n")[2]
    theirs = parser.parse(markup).strip_code(normalize=True, collapse=True)
    ours = plain_text(markup)
    for word in ("東京", "日本のみやこ"):
        assert word in theirs
        assert word in ours


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("全長{{convert|5|km|mi|abbr=on}}である。", "全長5 kmである。"),
        ("{{convert|1300|to|1500|m|ft}}", "1,300–1,500 m"),
        ("気温は{{formatnum:12345.6}}度", "気温は12,345.6度"),
        ("{{val|879.6|0.8|u=s}}", "879.6±0.8 s"),
        ("{{val|1.5|e=3|u=kg}}", "1.5×10^3 kg"),
        ("{{As of|2010|7|lc=y}}, five", "as of July 2010, five"),
        ("水は{{chem|H|2|O}}である", "水はH2Oである"),
        ("{{frac|1|3|4}}と{{分数|1|2}}", "1 3/4と1/2"),
        ("{{和暦|1989}}と{{和暦|2020}}", "平成元年と令和2年"),
        ("{{年月日|2000|1|2}}", "2000年1月2日"),
        ("{{JPY|1000}}と{{US$|5}}", "¥1,000とUS$5"),
        ("{{JPN}}の{{ルビ|東京|とうきょう}}", "日本の東京"),
        ("言語は{{plainlist|\n* 日本語\n* 英語\n}}である", "言語は日本語、英語である"),
        ("前。\n{{{!}} class=x\n{{!}}-\n{{!}} 甲 {{!}}{{!}} 乙\n{{!}}}\n後。", "前。\n\n後。"),
    ],
)
def test_inline_templates_leave_what_a_reader_sees(markup: str, text: str) -> None:
    assert plain_text(markup) == text


def test_a_redirect_without_its_element_is_no_document(tmp_path: Path) -> None:
    pages = [
        page(1, "甲", "#REDIRECT [[乙]]"),
        page(2, "丙", "#転送 [[乙]]"),
        page(3, "丁", "文。"),
    ]
    found = read(dump(tmp_path, "", pages))
    assert [item.id for item in found if isinstance(item, Document)] == ["3"]
    assert [item.kind for item in found if isinstance(item, PassedOver)] == ["redirect"] * 2


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("split_mb", [1, 64])
def test_each_page_of_a_dump_in_utf16_is_a_fault_that_says_what_it_is(
    tmp_path: Path, codec: str, split_mb: int
) -> None:
    pages = [page(n, f"甲《{n}》", "文。" * 20_000) for n in range(20)]
    path = dump(tmp_path, "", pages)
    path.write_bytes(path.read_bytes().decode().encode(codec))
    items = read(path, split_mb=split_mb)
    assert len(items) == 20
    assert all(isinstance(item, Unreadable) and "UTF-16" in item.reason for item in items)
    assert len({item.id for item in items}) == 20


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<math>\\frac{a}{b}</math>は比。", "$\\frac{a}{b}$は比。"),
        ("式<math display='block'>\n a |b|\n < c \n</math>である。", "式$$a |b| < c$$である。"),
        ('和<math display="inline">\\sum_{i=1}^{n} {{x}}</math>', "和$\\sum_{i=1}^{n} {{x}}$"),
        ("<chem>H2O</chem>と<ce>CO2</ce>。", "$\\ce{H2O}$と$\\ce{CO2}$。"),
        ("空<math></math>白<math> </math>。", "空白。"),
        ("実体&lt;<math>a &lt; b</math>", "実体<$a < b$"),
        ("[[円|<math>S^1</math>]]（<math>\\pi</math>）", "$S^1$（$\\pi$）"),
        ("{{math|''n''}}と{{unknown|<math>x</math>}}。", "nと。"),
        ("{|\n| <math>x</math>\n|}\n文", "文"),
        ("脚注<ref><math>x</math></ref>。", "脚注。"),
        ("=={{lang|en|The}} <math>p</math>進数==\n数。", "The $p$進数\n\n数。"),
        ("閉じない<math>x の文", "閉じないx の文"),
    ],
)
def test_formulae_stay_as_tex(markup: str, text: str) -> None:
    assert plain_text(markup) == text


def test_templates_left_out_of_sentences_are_named_and_others_are_not() -> None:
    markup = (
        "{{Infobox|name={{謎|1}}}}\n{{Otheruses}}\n'''甲'''は{{謎の数|5}}人で、{{要出典|date=2020}}"
        "{{Sfn|乙|2000}}{{cite web|url=x}}乙は{{謎の数|6}}{{lang|en|six}}。\n"
        "* {{別の_謎}}は項目。\n{{Navbox}}\n{{謎|{{内}}}}の後に文。\n"
        "== {{見出し}} ==\n[[Category:甲]]{{DEFAULTSORT:かふ}}"
    )
    found: list[str] = []
    plain_text(markup, left_out=found)
    assert found == ["template 謎の数", "template 謎の数", "template 別の 謎", "template 謎"]


def test_what_is_left_out_is_counted_to_the_datasheet(
    tmp_path: Path, run_step: Callable[..., Artifact]
) -> None:
    pages = [page(n, f"題{n}", f"長さは{{{{謎の数|{n}}}}}メートルである。" * 3) for n in range(4)]
    pages.append(page(9, "他", "値は{{別の謎}}である。"))
    path = str(dump(tmp_path, "", pages))
    source = {"use": "corpus/wikipedia", "paths": [path], "name": "jawiki"}
    keys = {"dedup": {"exact": False, "near": None}, "heldout": 0}
    corpus = run_step("corpus/build", sources=[source], **keys)
    assert corpus.facts["by_source"]["jawiki"]["left_out"] == {
        "template 謎の数": 12,
        "template 別の謎": 1,
    }
    assert "| jawiki | template 謎の数 | 12 |" in corpus.file("datasheet.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("{{NumBlk|:|<math>x=1</math>|1}}", "$x=1$"),
        ("約{{nobr|3 km}}、{{gaps|1|000|000}}人", "約3 km、1000000人"),
        ("{{dts|2020|1|2}}に{{Age|1990|5|1|2000|4|30}}歳", "2 January 2020に9歳"),
        ("{{percentage|1|8|1}}と{{percentage|1|0}}", "12.5%と"),
        ("{{ordinal|1}} {{ordinal|12}} {{ord|23}}", "1st 12th 23rd"),
        ("{{val|3}}{{e|5}}は{{10^|6}}と{{π}}", "3×10^5は10^6とπ"),
        ("{{HMS|Victory|1765}}と{{ship|USS|Iowa}}", "HMS VictoryとUSS Iowa"),
        ("{{height|ft=6|in=2}} {{ISBN2|978-4}} {{¥|1000}}", "6 ft 2 in ISBN 978-4 ¥1,000"),
        ("{{圏点|強く}}{{旧字体|國}}{{0}}5", "強く國5"),
    ],
)
def test_further_inline_templates_leave_what_a_reader_sees(markup: str, text: str) -> None:
    assert plain_text(markup) == text


def test_a_number_that_a_template_inside_another_would_have_made_is_counted() -> None:
    found: list[str] = []
    markup = (
        "人口は{{formatnum:{{自治体人口|甲}}}}人、[[乙|{{謎}}]]。\n"
        "{{Infobox|a={{b}}}}\n[[File:a.jpg|{{c}}]]"
    )
    plain_text(markup, left_out=found)
    assert found == ["template 自治体人口", "template 謎"]
