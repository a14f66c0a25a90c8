"""Uzushio's levels against its filters, written out."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yoriai import Artifact, Document
from yoriai_corpus import tables
from yoriai_corpus.rules.base import expand
from yoriai_corpus.rules.uzushio import (
    Hiragana,
    ParagraphLength,
    UzushioLevels,
    WordTypes,
    lz4_rate,
)
from yoriai_corpus.text import character_model
from yoriai_corpus.text.batch import Batch


def batch_of(texts: list[str]) -> Batch:
    return Batch([Document("mine", str(n), text, "ja") for n, text in enumerate(texts)])


@given(st.lists(st.text("あん゛ア漢a \n", max_size=40), max_size=4))
def test_length_and_hiragana_do_not_count_newlines(texts: list[str]) -> None:
    batch = batch_of(texts)
    lengths = ParagraphLength().measure(batch).tolist()
    shares = Hiragana().measure(batch).tolist()
    for text, length, share in zip(texts, lengths, shares, strict=True):
        rest = text.replace("\n", "")
        assert length == len(rest)
        hiragana = sum("\u3040" <= c <= "\u309f" for c in rest)
        assert share == pytest.approx(hiragana / len(rest)) if rest else share != share


@given(
    st.lists(st.text("abcア", min_size=1, max_size=4), min_size=1, max_size=8),
    st.lists(st.text("abcア\n", max_size=40), max_size=4),
)
@example(["a", "abc", "ab", "ア"], ["abab\nabcア", "", "アア"])
def test_word_types_takes_the_longest_word_at_each_place(
    new_folder: Callable[[], Path], words: list[str], texts: list[str]
) -> None:
    path = new_folder() / "words.txt"
    path.write_text("\n".join(words), "utf-8")
    expected = []
    for text in texts:
        found, at = set(), 0
        while at < len(text):
            fitting = [word for word in words if text.startswith(word, at)]
            longest = max(fitting, key=len, default="")
            found.add(longest)
            at += max(1, len(longest))
        expected.append(len(found - {""}))
    assert WordTypes(words=str(path)).measure(batch_of(texts)).tolist() == expected


def test_word_types_drops_from_its_threshold_on(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("甲\n乙\n丙\n", "utf-8")
    rule = WordTypes(words=str(path), max_types=1)
    verdicts = rule.judge_batch(batch_of(["甲甲甲", "甲と乙"]))
    assert [verdict.action for verdict in verdicts] == ["keep", "drop"]
    before = rule.fingerprint()
    path.write_text("甲\n", "utf-8")
    assert rule.fingerprint() != before


def test_lz4_rates_are_those_of_an_lz4_block() -> None:
    assert lz4_rate("\n") != lz4_rate("\n")  # not a number
    # A block of incompressible bytes is its literals, a token, and a byte for each further 255.
    text = "".join(map(chr, random.Random(0).sample(range(0x4E00, 0x9FFF), 5)))
    assert lz4_rate(text) == 17 / 15
    # A run: one literal, one match (token, offset, lengths), five last literals.
    assert lz4_rate("a" * 1000) == pytest.approx((1 + 1 + 2 + 4 + 1 + 5) / 1000, abs=0.001)
    assert lz4_rate("ab\nab\n" * 50) == lz4_rate("abab" * 50)


def lz4_block_bytes(data: bytes) -> int:
    """The size of the block that ``LZ4_compress_default`` writes, for less than 64 KiB.

    Greedy search with one table of 2**13 last positions and steps that grow by one for each 64
    tries; a sequence is a token, literals, two bytes of offset, and a byte for each
    further 255 of either length. The last 12 bytes begin no match, the last 5 are in none.
    """
    size = anchor = at = 0
    table: dict[int, int] = {}
    limit, stop = len(data) - 11, len(data) - 5

    def slot(place: int) -> int:
        return int.from_bytes(data[place : place + 4], "little") * 2654435761 % 2**32 >> 19

    def extra(length: int) -> int:
        return (length - 15) // 255 + 1 if length >= 15 else 0

    tries, again = 64, False
    at = 1 if len(data) >= 13 else len(data)
    step = 1
    while at < limit and (again or at + step <= limit):
        match = table.get(slot(at), 0)
        table[slot(at)] = at
        if data[match : match + 4] != data[at : at + 4]:
            if again:  # the search begins anew behind the last match
                tries, step, again = 64, 1, False
                at += 1
            else:
                at, step, tries = at + step, tries >> 6, tries + 1
            continue
        while not again and at > anchor and match > 0 and data[at - 1] == data[match - 1]:
            at, match = at - 1, match - 1
        literals = at - anchor
        length = 4
        while at + length < stop and data[at + length] == data[match + length]:
            length += 1
        size += 1 + literals + extra(literals) + 2 + extra(length - 4)
        at = anchor = at + length
        if at < limit:
            table[slot(at - 2)] = at - 2
        again = True
    return size + 1 + len(data) - anchor + extra(len(data) - anchor)


@given(
    st.one_of(
        st.text("ab", min_size=1, max_size=300),
        st.text("あいう漢字a", min_size=1, max_size=200),
        st.lists(st.text(max_size=30), min_size=1).map(lambda parts: "".join(parts * 3) or "a"),
    )
)
@example("".join(map(chr, range(0x4E00, 0x4E00 + 2000))) * 2)
def test_lz4_rates_are_those_of_the_greedy_search(text: str) -> None:
    data = text.replace("\n", "").encode()
    if data:
        assert lz4_rate(text) == lz4_block_bytes(data) / len(data)


LEVELS = [
    "length-50",
    "hiragana-10",
    "hiragana-15",
    "compression-25",
    "compression-40",
    "compression-50",
    "adult-9",
    "adult-6",
    "discrimination-9",
    "length-200",
]


def test_levels_follow_the_order_of_the_published_pipeline() -> None:
    assert [name for name, _ in UzushioLevels().chain()] == LEVELS
    assert len(UzushioLevels().fingerprint()) == 64


def test_levels_of_perplexity_come_with_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    character_model.save(character_model.train(["日本語の文です。"]), path)
    chain = UzushioLevels(model=str(path), max_perplexity=(1000, 100))
    names = [name for name, _ in chain.chain()]
    assert names == [*LEVELS[:6], "perplexity-1000", "perplexity-100", *LEVELS[6:]]
    assert chain.fingerprint() != UzushioLevels().fingerprint()


def some_text(characters: int, words: int = 40, hiragana: float = 0.5) -> str:
    """Text of the wanted length that neither repeats itself nor is noise."""
    chance = random.Random(0)
    kana = ["".join(chance.choices("いろはにほへとちりぬるをわか", k=3)) for _ in range(words)]
    kanji = ["".join(map(chr, chance.sample(range(0x4E00, 0x9FFF), 2))) for _ in range(words)]
    text = ""
    while len(text) < characters:
        text += chance.choice(kana if chance.random() < hiragana else kanji)
    return text[:characters]


def test_the_account_names_the_first_level_that_removed_a_document(
    make_corpus: Callable[..., Artifact],
) -> None:
    texts = {
        "kept": some_text(400),
        "length-50": "短い。" * 10,
        "hiragana-10": some_text(300, hiragana=0),
        "compression-25": "あいうえお漢字" * 100,
        "length-200": some_text(199, words=20),
    }
    rules = expand([UzushioLevels()])
    for name, text in texts.items():
        verdicts = [rule.judge_batch(batch_of([text]))[0].action for rule in rules]
        assert dict(zip([*LEVELS, "kept"], [*verdicts, "drop"], strict=True))[name] == "drop"
        assert "drop" not in verdicts[: [*LEVELS, "kept"].index(name)], name
    corpus = make_corpus(
        [{"id": name, "text": text, "lang": "ja"} for name, text in texts.items()],
        rules=["corpus/uzushio-levels"],
    )
    dropped = tables.read_rows(corpus.files_under("dropped"))
    assert {row["id"]: row["rule"] for row in dropped} == {
        name: f"corpus/uzushio-levels.{name}" for name in texts if name != "kept"
    }
