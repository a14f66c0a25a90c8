"""The chains of LLM-jp-13B v1 decide and edit as the published code does.

The published way is written out here with ``re``, ``regex`` and ``zlib``, one document at a time,
after ``llm-jp-corpus:scripts/filters.py`` and HojiChar's filters that it calls.
"""

from __future__ import annotations

import io
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from urllib.parse import urlparse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yoriai import Document, Verdict
from yoriai.registry import Registry
from yoriai_corpus.rules.base import Chain, expand
from yoriai_corpus.rules.llm_jp import (
    Domain,
    EmptyParentheses,
    Footnotes,
    IdPrefix,
    JapaneseLines,
    JapaneseWeb,
    LlmJpWikipedia,
    Pile,
    Stack,
)
from yoriai_corpus.rules.words import find_list, read_words
from yoriai_corpus.sources.jsonl import JsonlFiles
from yoriai_corpus.text.batch import Batch

KATAKANA = "[ァ-ヴー]"
HEADINGS = (
    "脚注|関連項目|日本国内の関連項目|出典|出典・脚注|参照|外部リンク|参考文献|その他関連事項"
    "|Footnotes|See also|Further reading|Bibliography|References|Notes|Citations|Sources"
    "|External links"
)


@pytest.fixture(scope="module")
def regex() -> ModuleType:
    module: ModuleType = pytest.importorskip("regex", reason="regex is not installed")
    return module


# --- the published way --------------------------------------------------------------------


def ng_pattern(words: Sequence[str]) -> re.Pattern[str]:
    """HojiChar's ``NgWordsFilterJa(ignore_confused=True)``."""
    katakana = [re.escape(w) for w in words if re.fullmatch(f"{KATAKANA}+", w)]
    others = [re.escape(w) for w in words if not re.fullmatch(f"{KATAKANA}+", w)]
    guarded = f"(?<!{KATAKANA})({'|'.join(katakana)})(?!{KATAKANA})"
    return re.compile("|".join(others) + "|" + guarded if katakana else "|".join(others))


def published_web(
    lists: dict[str, str], strict: bool = False
) -> list[tuple[str, Callable[[str, str], bool]]]:
    """Which documents ``filter_data.py`` keeps: (name, question of address and text) in order."""
    hits, sentence, ratio = (2, 80, 0.375) if strict else (3, 250, 0.30)
    words = {name: read_words(find_list(path)) for name, path in lists.items()}
    ads = re.compile("|".join(map(re.escape, words["advertising"])))
    patterns = {
        name: ng_pattern(words[name]) for name in ("adult", "discrimination", "violence")
    }  # fmt: skip

    def domain(url: str, _: str) -> bool:
        known = {"jp", "com", "net", "org", "work", "info", "xyz", "biz", "me", "tv", "site"}
        if url.startswith("https://ja.wikipedia.org/"):
            return False
        return (urlparse(url).hostname or "").split(".")[-1] in known | {"tokyo", "cc"}

    def deflate(_: str, text: str) -> bool:
        encoded = text.encode()
        return ratio <= len(zlib.compress(encoded, level=9)) / len(encoded) <= 0.7

    def counts(name: str) -> Callable[[str, str], bool]:
        return lambda _, text: len(patterns[name].findall(text)) <= hits

    return [
        ("domain", domain),
        ("empty", lambda _, text: text.strip() != ""),
        ("kana", lambda _, text: bool(re.search("[ぁ-んァ-ン]", text[:50]))),
        ("advertising", lambda _, text: len(ads.findall(text)) <= 10),
        *((name, counts(name)) for name in patterns),
        ("kuten", lambda _, text: len(re.findall("。", text)) >= len(text) / sentence),
        ("compression", deflate),
    ]


def published_lines(regex: ModuleType, text: str) -> str:
    kana = regex.compile(r"[\p{Script=Hiragana}\p{Script=Katakana}ー]+")
    ascii_run = regex.compile(r"[\u0000-\u007F]{100,}")
    url = regex.compile(r"https?://[\w/:%#\$&\?\(\)~\.=\+\-]+")
    lines = [line for line in text.split("\n") if kana.search(line)]
    return "".join(ascii_run.sub("", url.sub("", line)) for line in lines)


def published_parentheses(regex: ModuleType, text: str) -> str:
    for pattern, by in (
        (r"（[\s,，、;；]*", "（"), (r"[\s,，、;；]*）", "）"), (r"（\s*）", ""),
        (r"\([\s,;]*", "("), (r"[\s,;]*\)", ")"), (r"\s?\(\s*\)", ""),
    ):  # fmt: skip
        text = regex.sub(pattern, by, text)
    return text


def published_footnotes(regex: ModuleType, text: str) -> str:
    found = regex.search(rf"\n({HEADINGS})\s*\n", text)
    return text[: found.start()] if found else text


# --- our way ------------------------------------------------------------------------------

Outcome = tuple[str, str]
"""The rule that dropped a document ("": none) and its text at the end ("": dropped)."""


def outcomes(chain: Chain, documents: Sequence[Document]) -> list[Outcome]:
    """What becomes of each document, one batch a rule as the pipeline asks."""
    found: dict[int, Outcome] = {}
    current = dict(enumerate(documents))
    for rule in expand([chain]):
        verdicts = rule.judge_batch(Batch(current.values()))
        for (place, document), verdict in zip(list(current.items()), verdicts, strict=True):
            if verdict.action == "drop":
                found[place] = (rule.entry.partition(".")[2], "")
                del current[place]
            elif verdict.action == "edit":
                current[place] = Document(document.source, document.id, verdict.text, "ja")
    found |= {place: ("", document.text) for place, document in current.items()}
    return [found[place] for place in range(len(documents))]


def check_web(regex: ModuleType, rows: Iterable[tuple[str, str]], strict: bool) -> Counter[str]:
    """Compare both ways on (address, text); returns how often each rule dropped."""
    rows = list(rows)
    lists = {name: name for name in ("advertising", "adult", "discrimination", "violence")}
    published = published_web(lists, strict)
    expected = []
    for url, text in rows:
        fault = next((name for name, keeps in published if not keeps(url, text)), "")
        left = "" if fault else published_lines(regex, text)
        expected.append((fault or ("" if left.strip() else "rest"), left if left.strip() else ""))
    documents = [Document("m", str(n), text, "ja", url) for n, (url, text) in enumerate(rows)]
    assert outcomes(JapaneseWeb(strict=strict), documents) == expected
    return Counter(name for name, _ in expected)


def edited(verdict: Verdict, text: str) -> str:
    assert verdict.action != "drop"
    if verdict.action == "edit":
        assert verdict.text != text  # an edit changes something
        return verdict.text
    return text


# --- Japanese pages -----------------------------------------------------------------------

PIECES = [
    "送料無料", "営業時間", "アダルト動画", "セフレ", "無修正動画", "ガイジ", "殺すぞ", "死ねよ",
    "セフレア", "。", "。\n", "\n", "\n\n", " ", "　", "\r\n", "ー", "ヶ", "。。。", "漢字が続く",
    "今日は雨が", "静かに降っていたので、", "家で本を読んだ。", "ｱｲｳ", "中文没有", "１２３", "①②",
    "https://a.jp/b?c=(d)", "http://x.jp/をみる ", "https://", "https:/a", "a b c d " * 11,
    "-" * 50, "!" * 101, "\x1c", "か\u3099", "\u200d", "ⓐ",
]  # fmt: skip
PAGES = st.builds(
    lambda head, pieces, times: head + "".join(pieces) * times,
    st.sampled_from(["", "", "", "あ", "漢" * 50]),
    st.lists(st.sampled_from(PIECES), max_size=40),
    st.sampled_from([1, 1, 1, 2, 5]),
)
ADDRESSES = st.sampled_from(
    [
        *["https://a.example.jp/"] * 9, "http://B.EXAMPLE.COM:80/x", "https://ja.wikipedia.org/w",
        "http://ja.wikipedia.org/w", "https://a.de/", "https://jp/", "http://a.jp./", "http://10.0.0.1/",
    ]
)  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
@given(rows=st.lists(st.tuples(ADDRESSES, PAGES), min_size=1, max_size=6))
@example(rows=[("https://a.jp/", "あ" + "漢" * 248 + "。")])
@example(rows=[("https://a.jp/", "あ" + "漢" * 249 + "。")])
@example(rows=[("https://a.jp/", "あ。" + "殺すぞ" * n) for n in (2, 3, 4)])
@example(rows=[("https://a.jp/", "あ。" + "送料無料" * n) for n in (10, 11)])
def test_pages_meet_the_same_end_as_in_the_published_code(
    regex: ModuleType, strict: bool, rows: list[tuple[str, str]]
) -> None:
    check_web(regex, rows, strict)


@given(text=PAGES)
@example(text="あ" + "a" * 99 + "い" + "a" * 100 + "う")
@example(text="あ" + "a" * 60 + "http://x.jp/" + "　" + "a" * 60 + "\n" + "b" * 100 + "あ")
@example(text="あ" + "a" * 50 + "https://x.jp/を。" + "a" * 50)
@example(text="あ" + "a" * 50 + "https://x.jp/\tい" + "a" * 99)
@example(text="あhttphttp://x")
@example(text="あhttpshttps://https://x")
def test_lines_are_cut_and_joined_as_published(regex: ModuleType, text: str) -> None:
    assert edited(JapaneseLines().judge(Document("m", "1", text)), text) == published_lines(
        regex, text
    )


def test_letters_of_urls_and_kana_are_those_of_the_module_regex(regex: ModuleType) -> None:
    """Every code point that this Python knows, in a URL and as the only kana of a line."""
    known = [chr(c) for c in range(0x110000) if chr(c).isprintable() and chr(c) != "\n"]
    batch = [Document("m", c, f"あhttp://{c}\n{c}") for c in known]
    verdicts = JapaneseLines().judge_batch(batch)
    for document, verdict in zip(batch, verdicts, strict=True):
        assert edited(verdict, document.text) == published_lines(regex, document.text), document.id


def test_lines_can_keep_their_breaks() -> None:
    rule = JapaneseLines(join="\n", max_ascii=3)
    verdict = rule.judge(Document("m", "1", "あabc\n\n漢字\n い abcd う \n"))
    assert verdict.text == "あabc\n いう "
    assert rule.judge(Document("m", "1", "あ\nい")).action == "keep"


def test_real_documents_meet_the_same_end_as_in_the_published_code(regex: ModuleType) -> None:
    folder = os.environ.get("YORIAI_DATA")
    if not folder:
        pytest.skip("YORIAI_DATA names no folder with text/ja.jsonl.zst")
    import zstandard

    path = Path(folder) / "text" / "ja.jsonl.zst"
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8")
        texts = [json.loads(line)["text"] for line in lines]
    rows = [("https://a.example.jp/", text[:1500]) for text in texts[::2]]
    seen = check_web(regex, rows, strict=False) + check_web(regex, rows[:1000], strict=True)
    assert len(rows) > 3000
    assert seen[""] > 1000
    assert {"kana", "kuten", "compression"} <= set(seen)


@pytest.mark.parametrize(
    ("url", "action", "span"),
    [
        ("", "keep", ""),
        ("https://user:pw@shop.example.CO.JP:8080/x", "keep", ""),
        ("https://ja.wikipedia.org/wiki/x", "drop", "https://ja.wikipedia.org/wiki/x"),
        ("http://ja.wikipedia.org/wiki/x", "keep", ""),
        ("https://ja.wikipedia.org.example.de/", "drop", "ja.wikipedia.org.example.de"),
        ("not an address", "drop", "not an address"),
        ("http://[half", "drop", "http://[half"),
    ],
)
def test_pages_are_chosen_by_the_end_of_their_host(url: str, action: str, span: str) -> None:
    verdict = Domain().judge(Document("m", "1", "x", "ja", url))
    assert (verdict.action, verdict.span) == (action, span)


def test_the_lists_are_part_of_the_chains_identity(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("一語\n", encoding="utf-8")
    before = JapaneseWeb(adult=str(own)).fingerprint()
    own.write_text("一語\n二語\n", encoding="utf-8")
    assert JapaneseWeb(adult=str(own)).fingerprint() != before != JapaneseWeb().fingerprint()


# --- Wikipedia ----------------------------------------------------------------------------

ARTICLES = st.lists(
    st.sampled_from(
        [
            *HEADINGS.split("|"),
            *"（）()、,，;；あa \n　\t\x1c\x85",
            "（）",
            "()",
            "\n出典\n",
            "\n脚注 \n\n",
        ]
    ),
    max_size=30,
).map("".join)


@given(text=ARTICLES)
@example(text="東京（とうきょう、 ）は (; Tokyo ,) 、( ) （（、）） () ()()")
@example(text="本文\n出典・脚注　\n[1]")
@example(text="本文\n関連項目\n出典\n")
def test_articles_are_cut_as_published(regex: ModuleType, text: str) -> None:
    document = Document("m", "1", text)
    assert edited(Footnotes().judge(document), text) == published_footnotes(regex, text)
    assert edited(EmptyParentheses().judge(document), text) == published_parentheses(regex, text)
    left = ""
    if text.strip():
        left = published_parentheses(regex, published_footnotes(regex, text))
    fault = "" if left.strip() else "rest" if text.strip() else "empty"
    assert outcomes(LlmJpWikipedia(), [document]) == [(fault, "" if fault else left)]


def test_long_runs_of_space_do_not_take_for_ever() -> None:
    text = "あ" + " " * 1_000_000 + "（" + "　" * 1_000_000 + "い）"
    verdict = EmptyParentheses().judge(Document("m", "1", text))
    assert verdict.text == "あ" + " " * 1_000_000 + "（い）"


# --- the Pile and the Stack ---------------------------------------------------------------


def test_books3_is_left_out_of_the_pile() -> None:
    documents = [
        Document("pile", f"{name}/00.jsonl@1", text)
        for name, text in (("Books3", "x"), ("Books3 2", "x"), ("ArXiv", "x"), ("ArXiv", " \n"))
    ]
    expected = [("set", ""), ("", "x"), ("", "x"), ("empty", "")]
    assert outcomes(Pile(), documents) == expected
    assert IdPrefix(prefixes=("a", "b")).judge(Document("m", "bc", "x")).span == "b"


def test_sets_and_paths_are_where_our_reader_leaves_them(write_jsonl: Callable[..., Path]) -> None:
    pile = [{"text": "x", "meta": {"pile_set_name": name}} for name in ("Books3", "ArXiv")]
    stack = [
        {"content": "import this\n", "max_stars_repo_name": "u/r", "max_stars_repo_path": path}
        for path in ("a.py", "a.txt")
    ]
    for layout, rows, chain in (("pile", pile, Pile()), ("stack", stack, Stack())):
        source = JsonlFiles.model_validate({"paths": [str(write_jsonl(rows))], "layout": layout})
        documents = [item for part in source.partitions() for item in source.read(part)]
        assert all(isinstance(item, Document) for item in documents)
        faults = [name for name, _ in outcomes(chain, documents)]  # type: ignore[arg-type]
        assert sorted(faults) == ["", "set" if layout == "pile" else "extension"]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("user/repo/a.py", "import this\n", ""),
        ("user/repo/Makefile", "all: this\n", ""),
        ("user/repo/a.json", "{}", "extension"),
        ("user/repo.py/a", "import this\n", "extension"),
        ("user/repo/a.PY", "import this\n", "extension"),
        ("user/repo/vendor/a.go", "package a\n", ""),
        ("user/repo/a.py", "x" * 1000 + "\n" * 10, ""),
        ("user/repo/a.py", "x" * 1001 + "\n" * 11, "shape"),
        ("user/repo/a.py", ("x" * 100 + "\n") * 3, ""),
        ("user/repo/a.py", ("x" * 101 + "\n") * 3, "shape"),
        ("user/repo/a.py", "x" + "-" * 3, ""),
        ("user/repo/a.py", "x" + "-" * 4, "shape"),
        ("user/repo/a.py", "\n\n", "shape"),
    ],
)
def test_code_is_kept_by_its_extension_and_shape(name: str, text: str, fault: str) -> None:
    assert outcomes(Stack(), [Document("stack", name, text, "code")])[0][0] == fault


# --- as entries ---------------------------------------------------------------------------


def test_the_chains_are_found_by_name_and_written_out(yoriai_registry: Registry) -> None:
    for name, steps in (("ja-cc", 11), ("wikipedia", 4), ("pile", 2), ("stack", 3)):
        entry = yoriai_registry.get("filters", f"corpus/llm-jp-{name}")
        chain = yoriai_registry.load(entry)()
        chain._entry = entry.name
        names = [rule.entry for rule in expand([chain])]
        assert len(set(names)) == steps
        assert all(rule.startswith(f"corpus/llm-jp-{name}.") for rule in names)
