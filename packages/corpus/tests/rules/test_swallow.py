"""Swallow's rules against the published definitions, written out with Counters and regexes."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yoriai import Document, Filter
from yoriai_corpus.rules.base import Limit, expand
from yoriai_corpus.rules.swallow import (
    Ellipsis,
    JapaneseShare,
    RepeatedParagraphs,
    SentenceLength,
    SwallowV1,
)
from yoriai_corpus.rules.swallow_edits import NormalizePunctuation, TrimFooter
from yoriai_corpus.text.batch import Batch

TEXT = st.text(st.sampled_from("あいアー漢々，、．。！!?・… 　a1\n"), min_size=1, max_size=80)


def batch_of(texts: Sequence[str]) -> Batch:
    return Batch([Document("mine", str(n), text, "ja") for n, text in enumerate(texts)])


def repeats(pieces: Sequence[str]) -> tuple[int, int]:
    extra = {piece: count - 1 for piece, count in Counter(pieces).items()}
    return sum(extra.values()), sum(len(piece) * count for piece, count in extra.items())


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def oracle(text: str) -> dict[str, float]:
    """Every number that ``apply_v1`` asks for, named as in the chain."""
    lines = [re.findall("[^。．！？!?]+[。．！？!?]?", line) for line in text.split("\n")]
    paragraphs = ["".join(line) for line in lines]
    found = list(itertools.chain.from_iterable(lines))
    sizes = [len(sentence) for sentence in found]
    values: dict[str, float] = {"length": len(text)}
    again, characters = repeats(paragraphs)
    values["repeated-paragraphs"] = share(again, len(paragraphs))
    values["paragraph-characters"] = share(characters, sum(map(len, paragraphs)))
    again, characters = repeats(found)
    values["repeated-sentences"] = share(again, len(found))
    values["sentence-characters"] = share(characters, sum(sizes))
    for n in range(2, 11):
        grams = Counter(text[i : i + n] for i in range(len(text) - n + 1))
        if n < 5:
            top = max(grams.values(), default=0)
            values[f"top-{n}-gram"] = share(top, grams.total())
        else:
            twice = sum(count > 1 for count in grams.values())
            values[f"repeated-{n}-grams"] = share(twice, len(grams))
    hiragana = sum("ぁ" <= c <= "ゖ" for c in text)
    katakana = sum("ァ" <= c <= "ヺ" for c in text)
    kanji = len(re.findall("[々〇〻\u3400-\u9fff\uf900-\ufaff]", text))
    letters = hiragana + katakana + kanji + sum(c in "、，。．！？" for c in text)
    values["hiragana"] = share(hiragana, letters)
    values["katakana"] = share(katakana, letters)
    values["japanese"] = share(letters, len(text))
    values["japanese-letters"] = letters
    values["mean-sentence"] = share(sum(sizes), len(found))
    values["longest-sentence"] = max(sizes, default=0)
    dots = sum(sentence.strip().endswith(("・", "…")) for sentence in found)
    values["ellipsis"] = share(dots, len(found))
    return values


# Table 2 of the paper and apply_v1; a value outside drops the document.
LIMITS: dict[str, tuple[float, float]] = {
    "length": (400, 1e99),
    "repeated-paragraphs": (0, 0.30),
    "repeated-sentences": (0, 0.30),
    "paragraph-characters": (0, 0.20),
    "sentence-characters": (0, 0.20),
    "top-2-gram": (0, 0.20),
    "top-3-gram": (0, 0.18),
    "top-4-gram": (0, 0.16),
    "repeated-5-grams": (0, 0.15),
    "repeated-6-grams": (0, 0.14),
    "repeated-7-grams": (0, 0.13),
    "repeated-8-grams": (0, 0.12),
    "repeated-9-grams": (0, 0.11),
    "repeated-10-grams": (0, 0.10),
    "hiragana": (0.2, 1),
    "katakana": (0, 0.5),
    "japanese": (0.5, 1),
    "japanese-letters": (400, 1e99),
    "mean-sentence": (20, 90),
    "longest-sentence": (0, 200),
    "ellipsis": (0, 0.2),
}


def first_fault(values: dict[str, float]) -> str:
    for name, (least, most) in LIMITS.items():
        if not least <= values[name] <= most:
            return name
    return ""


def check_values(texts: Sequence[str]) -> None:
    batch = batch_of(texts)
    expected = [oracle(text) for text in texts]
    for name, rule in SwallowV1(clean=False).chain():
        assert isinstance(rule, Limit)
        assert rule.measure(batch).tolist() == [values[name] for values in expected], name


@given(st.lists(TEXT, min_size=1, max_size=3))
@example(["。" * 20, "\n\n", "あ！！い\nあ！い", "あ・ \nい…。\nう… 　", "ＡＢ"])
def test_every_measure_is_that_of_the_published_code(texts: list[str]) -> None:
    check_values(texts)


def test_the_chain_asks_the_published_questions_in_their_order() -> None:
    assert [name for name, _ in SwallowV1(clean=False).chain()] == list(LIMITS)
    for name, rule in SwallowV1(clean=False).chain():
        assert isinstance(rule, Limit)
        for limit, published in zip(rule.limits(), LIMITS[name], strict=True):
            assert limit == published or abs(limit) == float("inf"), name


def real_texts() -> list[str]:
    folder = os.environ.get("YORIAI_DATA")
    if not folder:
        pytest.skip("YORIAI_DATA names no folder with text/ja.jsonl.zst")
    import zstandard

    path = Path(folder) / "text" / "ja.jsonl.zst"
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        return [json.loads(line)["text"] for line in io.TextIOWrapper(stream, encoding="utf-8")]


def drops(rules: Iterable[Filter], texts: Sequence[str]) -> list[str]:
    """The rule that drops each text, "" for none, one batch a rule as the pipeline asks."""
    found = [""] * len(texts)
    for start in range(0, len(texts), 256):
        places = list(range(start, min(start + 256, len(texts))))
        batch = batch_of([texts[place] for place in places])
        for rule in rules:
            verdicts = rule.judge_batch(batch)
            for place, verdict in zip(places, verdicts, strict=True):
                if verdict.action == "drop" and not found[place]:
                    found[place] = rule.entry.partition(".")[2]
    return found


def test_decisions_on_thousands_of_real_documents_are_the_published_ones() -> None:
    texts = [text for text in real_texts() if len(text) < 3000][:3000]
    # Also as trafilatura would give them: without blank lines.
    texts += [re.sub("\n+", "\n", text) for text in texts[:1000]]
    expected = [first_fault(oracle(text)) for text in texts]
    assert drops(expand([SwallowV1(clean=False)]), texts) == expected
    assert len(set(expected)) > 8
    assert expected.count("") > 50


def test_blank_lines_can_be_left_out() -> None:
    text = "\n\n".join(f"{number}番目の段落です。" for number in range(9))
    batch = batch_of([text, "\n\n", "あ\n\nあ"])
    assert RepeatedParagraphs().measure(batch).tolist() == pytest.approx([7 / 17, 2 / 3, 1 / 3])
    measured = RepeatedParagraphs(blank_lines=False).measure(batch)
    assert measured.tolist() == pytest.approx([0, 0, 1 / 2])
    rule = dict(SwallowV1(blank_lines=False).chain())["repeated-paragraphs"]
    assert rule.judge_batch(batch)[0].action == "keep"


def test_a_dropped_document_shows_what_was_wrong() -> None:
    verdict = RepeatedParagraphs().judge(Document("mine", "1", "一\n二\n二\n二"))
    assert (verdict.value, verdict.threshold, verdict.span) == (0.5, 0.3, "二")
    long = "長" * 300
    verdict = SentenceLength(of="longest", max_characters=200).judge(Document("m", "1", long))
    assert (verdict.value, verdict.threshold, verdict.span) == (300, 200, "長" * 40)
    assert Ellipsis().judge(Document("m", "1", "はい…。")).action == "keep"
    verdict = JapaneseShare(of="hiragana", min_share=0.2).judge(Document("m", "1", "漢字"))
    assert (verdict.action, verdict.value, verdict.threshold) == ("drop", 0, 0.2)


def test_limits_are_kept_and_just_beyond_them_is_dropped() -> None:
    rule = JapaneseShare(of="japanese", min_share=0.5)
    verdicts = rule.judge_batch(batch_of(["ああaa", "ああaaa", ""]))
    assert [verdict.action for verdict in verdicts] == ["keep", "drop", "drop"]


# --- edits --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("読点，句点．", "読点、句点。"),
        ("読点、句点．", "読点、句点。"),
        ("読点、読点，", None),  # as many of both: nothing is done
        ("読点，点，点、句点。", "読点、点、点、句点。"),
        ("Ｈｉ，円は３．１４と，習い．", "Ｈｉ，円は３．１４と、習い。"),
        ("待つ．．．", "待つ。。。"),
        ("（括弧），次．", "（括弧）、次。"),
        ("1,000.5 a.b", None),
        ("", None),
    ],
)
def test_the_rarer_wide_marks_become_japanese_ones(before: str, after: str | None) -> None:
    verdict = NormalizePunctuation().judge(Document("mine", "1", before, "ja"))
    assert (verdict.text if verdict.action == "edit" else None) == after


@given(st.text(st.sampled_from("あ漢）３Ａ^，、．。\na"), max_size=30))
def test_punctuation_is_replaced_as_published(text: str) -> None:
    expected = text
    japanese = "([）」』］〕】〉》\u3041-\u3096\u30a1-\u30fa々〇〻\u3400-\u9fff\uf900-\ufaff])"
    for wide, mark in ("，、", "．。"):
        counts = [len(re.findall(f"{japanese}{m}+", expected)) for m in (mark, wide)]
        if counts[0] < counts[1]:
            expected = re.sub(
                f"([^０-９^Ａ-Ｚ^ａ-ｚ])({wide}+)",
                lambda found, mark=mark: found[1] + mark * len(found[2]),
                expected,
            )
    verdict = NormalizePunctuation().judge(Document("mine", "1", text))
    assert (verdict.text if verdict.action == "edit" else text) == expected


def test_a_footer_is_cut_with_all_that_follows_it() -> None:
    body = "\n".join(f"本文の{number}行目です。" for number in range(20))
    footer = "お問い合わせ | サイトマップ | 利用規約"
    verdict = TrimFooter().judge(Document("mine", "1", f"{body}\n{footer}\n住所"))
    assert (verdict.action, verdict.text, verdict.value) == ("edit", body, 2)
    assert verdict.span == footer
    assert TrimFooter().judge(Document("mine", "1", body)).action == "keep"
    above = f"{footer}\n{body}"
    assert TrimFooter().judge(Document("mine", "1", above)).action == "keep"
    assert TrimFooter(words=("行目です",)).judge(Document("m", "1", body)).action == "edit"


def test_a_line_is_a_footer_from_just_over_three_characters_in_ten() -> None:
    rule = TrimFooter(words=("足",))
    assert rule.judge(Document("m", "1", "一\n" + "足" * 3 + "本" * 7)).action == "keep"
    assert rule.judge(Document("m", "1", "一\n" + "足" * 4 + "本" * 6)).text == "一"
