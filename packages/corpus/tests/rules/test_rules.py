"""Each rule at its limit, just below and just above."""

from __future__ import annotations

import random
import re
import string
import zlib
from pydoc_data.topics import topics
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from yoriai import Document, Filter, Verdict
from yoriai_corpus.rules.code import CodeShape
from yoriai_corpus.rules.english import Latin
from yoriai_corpus.rules.general import Compression, Letters, MaskEmail, MinLength
from yoriai_corpus.rules.japanese import Kana


def ask(rule: Filter, text: str, language: str = "") -> Verdict:
    return rule.judge(Document("mine", "1", text, language))


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("あ" * 9, "drop"),
        ("あ" * 10, "keep"),
        ("あ" * 11, "keep"),
        (" \n" + "a" * 9 + "　", "drop"),
    ],
)
def test_min_length_counts_characters_without_the_space_around(text: str, action: str) -> None:
    verdict = ask(MinLength(characters=10), text)
    assert verdict.action == action
    if action == "drop":
        assert (verdict.value, verdict.threshold) == (9, 10)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("aaaa" + "1" * 6, "keep"),
        ("aaaa" + "1" * 7, "drop"),
        ("aaaaa" + "1" * 6, "keep"),
        ("日本語あ------", "keep"),
        ("a a a a      ......", "keep"),
        ("", "drop"),
        (" \n", "drop"),
    ],
)
def test_letters_asks_for_four_visible_characters_in_ten(text: str, action: str) -> None:
    assert ask(Letters(), text).action == action


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("a" * 9 + "é", "keep"),
        ("a" * 89 + "é" * 10, "drop"),
        ("a" * 91 + "é" * 10, "keep"),
        ("123 …", "keep"),
        ("Привет", "drop"),
    ],
)
def test_latin_allows_one_letter_in_ten_beyond_ascii(text: str, action: str) -> None:
    assert ask(Latin(), text).action == action


def test_compression_drops_repetition_and_noise_and_reports_the_ratio() -> None:
    noise = "".join(random.Random(1).choices([chr(c) for c in range(33, 127)], k=3000))
    for text, limit in (("ab" * 2000, 0.15), (noise, 0.7)):
        verdict = ask(Compression(max_ratio=0.7), text)
        data = text.encode()
        assert verdict.action == "drop"
        assert verdict.value == len(zlib.compress(data, 9)) / len(data)
        assert verdict.threshold == limit
    assert ask(Compression(), topics["for"] + topics["if"]).action == "keep"


def test_compression_keeps_a_ratio_that_is_just_the_limit() -> None:
    text = "".join(random.Random(3).choices("abcdefgh", k=4000))
    ratio = len(zlib.compress(text.encode(), 9)) / len(text)
    for low, high, action in (
        (ratio, ratio, "keep"), (ratio + 1e-9, 1, "drop"), (0, ratio - 1e-9, "drop")
    ):  # fmt: skip
        assert ask(Compression(min_ratio=low, max_ratio=high), text).action == action


def test_compression_does_not_judge_short_texts() -> None:
    assert ask(Compression(), "a" * 999).action == "keep"
    assert ask(Compression(), "a" * 1000).action == "drop"


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("漢" * 49 + "あ", "keep"),
        ("漢" * 50 + "あ", "drop"),
        ("アメリカ", "keep"),
        ("中文没有假名。", "drop"),
        ("plain English", "drop"),
        ("", "drop"),
    ],
)
def test_kana_looks_for_one_in_the_first_fifty_characters(text: str, action: str) -> None:
    assert ask(Kana(), text).action == action


def redpajama(text: str) -> bool:
    """Whether RedPajama keeps a file, by its published limits, computed as plainly as can be."""
    lengths = [len(line) for line in text.splitlines()] or [0]
    alphanumeric = len([c for c in text if c.isalnum()])
    return (
        max(lengths) <= 1000
        and sum(lengths) <= 100 * len(lengths)
        and alphanumeric >= 0.25 * max(1, len(text))
    )


SHORT = "x = 1\n"


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("a" * 1000 + "\n" + SHORT * 50, "keep"),
        ("a" * 1001 + "\n" + SHORT * 50, "drop"),
        (("a" * 100 + "\n") * 3, "keep"),
        (("a" * 100 + "\n") * 2 + "a" * 101, "drop"),
        ("a" + "+" * 3, "keep"),
        ("a" + "+" * 4, "drop"),
        ("", "drop"),
    ],
)
def test_code_shape_at_the_limits_of_redpajama(text: str, action: str) -> None:
    assert ask(CodeShape(), text).action == action
    assert redpajama(text) == (action == "keep")


pieces = st.sampled_from(["a" * 90, "+" * 40, "日本", "\n", "a" * 300, "    ", "=", "\r\n"])


@given(text=st.lists(pieces, max_size=40).map("".join))
def test_code_shape_keeps_what_redpajama_keeps(text: str) -> None:
    assert (ask(CodeShape(), text).action == "keep") == redpajama(text)


LOCAL = string.ascii_letters + string.digits + "._%+-"
# What comes right before an address or right behind it, without belonging to it.
AROUND = st.text(st.sampled_from("あ、。 \n<>()[]:;,!?_-.\"'＠/"), max_size=4)
label = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
address = st.builds(
    lambda local, labels, top: f"{local}@{'.'.join(labels)}.{top}",
    st.text(LOCAL, min_size=1, max_size=12),
    st.lists(label, min_size=1, max_size=3),
    st.sampled_from(["jp", "com", "co.jp", "museum", "xn--p1ai", "Tokyo"]),
)


@given(text=st.lists(st.tuples(AROUND, address, AROUND), min_size=1, max_size=3))
@example(text=[("_", "a@b.jp", "_")])
@example(text=[("--", "a@b.jp", "--")])
@example(text=[("...", "a@b.jp", "-")])
def test_mask_email_never_leaves_an_address(text: list[tuple[str, str, str]]) -> None:
    whole = " ".join(map("".join, text))
    masked = ask(MaskEmail(), whole)
    assert masked.action == "edit"
    assert set(re.findall(r"\S+@[A-Za-z0-9.-]+", masked.text)) == set(
        re.findall(r"\S*xxxx@yyy\.tld[.-]*", masked.text)
    )
    for _, planted, _ in text:
        assume(planted not in "xxxx@yyy.tld")
        assert planted not in masked.text


@given(text=st.text(st.sampled_from("a@.jpb- あ"), max_size=30))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = ask(MaskEmail(), text)
    if once.action == "edit":
        assert ask(MaskEmail(), once.text).action == "keep"


@pytest.mark.parametrize(
    "text",
    ["@decorator\ndef f(): ...", "a @ b", "me@localhost", "価格@100円", "@", "a@b.", "x@y.z"],
)
def test_an_at_sign_alone_is_no_address(text: str) -> None:
    assert ask(MaskEmail(), text).action == "keep"


def test_masking_a_long_text_of_word_characters_ends() -> None:
    assert ask(MaskEmail(), "a" * 200_000 + "@").action == "keep"


def test_a_rule_for_a_language_does_not_judge_others(make_corpus: Any, rows_of: Any) -> None:
    rows = [{"text": "no kana here", "lang": "en"}, {"text": "没有假名", "lang": "ja"}]
    corpus = make_corpus(rows, rules=["corpus/kana", "corpus/latin", "corpus/code-shape"])
    (dropped,) = rows_of(corpus, "dropped")
    assert (dropped["language"], dropped["rule"], dropped["rule_version"]) == (
        "ja", "corpus/kana", Kana.version
    )  # fmt: skip
    assert corpus.facts["kept"] == 1


def test_rules_work_in_order_and_a_later_one_sees_the_edits(make_corpus: Any, rows_of: Any) -> None:
    rules = [
        {"use": "corpus/mask-email", "replacement": "x"},
        {"use": "corpus/min-length", "characters": 20},
    ]
    text = "mail somebody@example.org"
    assert make_corpus([text, "a" * 20], rules=rules).facts["dropped"] == 1
    kept = make_corpus([text], rules=rules[::-1])
    assert [row["text"] for row in rows_of(kept, "documents")] == ["mail x"]
    assert kept.facts["edited_by_rule"]["corpus/mask-email"]["documents"] == 1
