"""HojiChar's filters: the plain way beside the kernels, and HojiChar itself where installed."""

from __future__ import annotations

import importlib
import importlib.util
import math
import re
import string
import sys
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yoriai import Document, UsageError
from yoriai_corpus.rules import hojichar
from yoriai_corpus.rules.base import Limit
from yoriai_corpus.rules.hojichar import (
    CharacterRepetition,
    CharacterRun,
    Comments,
    EndingEllipsis,
    HeaderFooter,
    Kuten,
    NounShare,
    ShortLines,
    SpecialCharacters,
    WordRepetition,
    special_table,
)
from yoriai_corpus.rules.japanese import Kana
from yoriai_corpus.text.batch import Batch


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


BBS = re.compile(
    r"\d{4}[年.\-/][ ]*\d{1,2}[月.\-/][ ]*\d{1,2}[日]*|コメント|SOLD OUT|レビュー|投稿|ページ"
    r"|\([月火水木金土日]\)|質問|\d+話|楽天市場|-"
)


def bbs(text: str) -> float:
    return len(BBS.findall(text))


def character_repetition(text: str) -> float:
    counts = sorted(Counter(text[i : i + 5] for i in range(len(text) - 4)).values(), reverse=True)
    if not counts:
        return 0.0
    top = min(int(math.sqrt(len(counts))), sum(count > 1 for count in counts))
    return sum(counts[:top]) / sum(counts)


def special(text: str) -> float:
    table = special_table()
    return sum(int(table[ord(c)]) for c in text) / len(text) if text else 0.0


def short_lines(text: str) -> float:
    lines = [len(line) for line in text.split("\n")]
    return sum(length <= 10 for length in lines) / len(lines)


# The rule, what it measures in plain Python, and the name of HojiChar's class.
RULES: list[tuple[Limit, Callable[[str], float], str]] = [
    (Kuten(), lambda t: t.count("。") / len(t) if t else math.nan, "DiscardRareKuten"),
    (Comments(), bbs, "DiscardBBSComments"),
    (CharacterRepetition(), character_repetition, "CharRepetitionRatioFilter"),
    (
        CharacterRun(),
        lambda t: max((len(list(run)) for _, run in groupby(t)), default=0),
        "SingleCharacterRepetitionFilter",
    ),
    (SpecialCharacters(), special, "DiscardTooManySpecialToken"),
    (
        EndingEllipsis(),
        lambda t: len(re.findall(r"(?:\.{3}|…)\n", t)) / max(t.count("\n"), 1),
        "DiscardTooManyEndingEllipsis",
    ),
    (ShortLines(), short_lines, "DiscardTooShortLines"),
    (Kana(), lambda t: len(re.findall(r"[ぁ-んァ-ン]", t[:50])), "AcceptJapanese"),
]
NAMES = [name for _, _, name in RULES]

PIECES = [
    *"あァヴー漢。.…\n 　-/年月日話１2٣3(木)😀☆士é",
    *(
        "2020年1月",
        "2020-01-02日日",
        "2020/ 1/ 12",
        "202年1月2日",
        "2020. 1月 123",
        "12話",
        "コメント",
        "SOLD OUT",
        "ページ",
    ),
    *("...\n", "…\n", "あいうえお", "あいうえおかきくけこ\n", "---", "20200-1-1話", "(月)"),
]
TEXT = st.builds(
    lambda pieces, times: "".join(pieces) * times,
    st.lists(st.sampled_from(PIECES), max_size=30),
    st.sampled_from([1, 1, 1, 2, 10]),
)
HARD = [
    "",
    "あ" * 200,
    "あ" * 199,
    "。" + "あ" * 99,
    "。" + "あ" * 100,
    "漢" * 49 + "ン",
    "\n" * 30,
]


@pytest.mark.parametrize(("rule", "plain"), [row[:2] for row in RULES], ids=NAMES)
@given(texts=st.lists(TEXT, min_size=1, max_size=4))
@example(texts=HARD)
def test_a_rule_measures_what_plain_python_measures(
    rule: Limit, plain: Callable[[str], float], texts: list[str]
) -> None:
    values = rule.measure(Batch(Document("mine", str(n), text) for n, text in enumerate(texts)))
    assert values.tolist() == pytest.approx([plain(text) for text in texts], nan_ok=True, rel=1e-12)


@needs("hojichar", "emoji")
@pytest.mark.parametrize(("rule", "name"), [(row[0], row[2]) for row in RULES], ids=NAMES)
@given(text=TEXT)
@example(text="あ" * 200)
@example(text="あ" * 199)
@example(text="...\n" * 7 + "\n" * 3)
@example(text="あいうえおかきくけこさ\n" * 2 + "\n")
def test_decisions_are_hojichars(rule: Limit, name: str, text: str) -> None:
    assert keeps(rule, text) is not rejected(name, text)


def keeps(rule: Limit, text: str) -> bool:
    return rule.judge(Document("mine", "1", text)).action == "keep"


def rejected(name: str, text: str) -> bool:
    """What HojiChar says (0.18.1 was asked)."""
    module = importlib.import_module("hojichar.filters.document_filters")
    if name not in _filters:
        _filters[name] = getattr(module, name)()
    answer: bool = _filters[name].apply(module.Document(text)).is_rejected
    return answer


_filters: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("rule", "kept", "dropped"),
    [
        (Kuten(), "あ" * 99 + "。", "あ" * 100 + "。"),
        (Comments(), "-" * 14, "-" * 15),
        (Comments(max_hits=1), "12話", "2020-01-0112話"),
        (CharacterRun(), "あ" * 199 + "い" * 199, "い" + "あ" * 200),
        (CharacterRepetition(threshold=1), "あ" * 4, "あ" * 6),
        (SpecialCharacters(), "、" * 4 + "あ" * 6, "、" * 5 + "あ" * 6),
        (EndingEllipsis(), "あ...\n" * 7 + "い\n" * 3, "あ…\n" * 8 + "い\n" * 3),
        (ShortLines(), "あ" * 11 + "\n", "あ" * 10 + "\n"),
    ],
)
def test_the_limit_itself_is_on_the_published_side(rule: Limit, kept: str, dropped: str) -> None:
    assert keeps(rule, kept)
    assert not keeps(rule, dropped)


def test_a_share_at_the_threshold_is_dropped() -> None:
    text = "abcdeabcde" + "".join(map(chr, range(0x4E00, 0x4E00 + 20)))
    share = character_repetition(text)
    assert 0 < share < 1
    verdict = CharacterRepetition(threshold=share).judge(Document("mine", "1", text))
    assert verdict.action == "drop"
    assert verdict.value == share
    assert keeps(CharacterRepetition(threshold=math.nextafter(share, 1)), text)


def test_special_characters_are_ascii_punctuation_space_emoji_and_odd_signs() -> None:
    table = special_table()
    assert all(table[ord(c)] for c in string.punctuation + string.whitespace + "。「」　😀✨☆…士１")
    assert not any(table[ord(c)] for c in string.ascii_letters + string.digits + "あア漢２Д")


def test_long_runs_of_digits_do_not_take_for_ever() -> None:
    text = "1" * 500_000
    assert Comments(max_hits=0).measure(Batch([Document("mine", "1", text)])).tolist() == [0]
    assert Comments(max_hits=0).measure(Batch([Document("mine", "1", text + "話")])).tolist() == [1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ホーム > 店\n本文です。", "本文です。"),
        ("本文です。\n関連記事\n", "本文です。\n関連記事\n"),  # of three lines, one at each end
        ("a\n\n本文です。\n二行目。\n関連記事\nログイン", "a\n\n本文です。\n二行目。"),
        ("一\n二\nメニュー\nホーム\n三\n四\n五", "一\n二\nホーム\n三\n四\n五"),
        ("ホーム", ""),
        ("いまホーム\n本文です。", "いまホーム\n本文です。"),
        ("", ""),
    ],
)
def test_lines_of_navigation_go_from_both_ends(before: str, after: str) -> None:
    verdict = HeaderFooter().judge(Document("mine", "1", before))
    assert (verdict.text if verdict.action == "edit" else before) == after
    assert (verdict.action == "edit") == (before != after)


# --- with a morphological analyser ----------------------------------------------------------

SENTENCES = [
    "リンゴ・オレンジ・ミカン・バナナ セール中",
    "今日の仙台朝市ではリンゴがセール中",
    "自然言語処理大好き！",
    "価格,在庫,送料,商品,税込,店舗 " * 8,
    "猫が庭で静かに眠っていたので、私はそっと窓を閉めた。" * 2,
    "",
    "・・・",
]


@needs("hojichar", "emoji", "fugashi", "unidic_lite")
@pytest.mark.parametrize(
    ("rule", "name"),
    [(NounShare(), "DiscardTooManyNouns"), (WordRepetition(), "WordRepetitionRatioFilter")],
    ids=["nouns", "words"],
)
def test_words_are_counted_as_hojichar_counts_them(rule: Limit, name: str) -> None:
    decisions = [not keeps(rule, text) for text in SENTENCES]
    assert decisions == [rejected(name, text) for text in SENTENCES]
    assert len(set(decisions)) == 2


def test_without_the_analyser_the_rule_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fugashi", None)
    hojichar._tagger.cache_clear()
    with pytest.raises(UsageError, match="fugashi"):
        keeps(NounShare(), "猫")
    hojichar._tagger.cache_clear()
