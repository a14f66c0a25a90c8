"""Gopher's, C4's and FineWeb's rules against what their papers say, in plain Python."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Document, Filter
from yoriai_corpus.rules.base import Chain, expand
from yoriai_corpus.rules.c4 import C4, POLICY, BadWords, Sentences
from yoriai_corpus.rules.english import Latin
from yoriai_corpus.rules.fineweb import FineWebQuality
from yoriai_corpus.rules.gopher import STOP_WORDS, GopherQuality, GopherRepetition
from yoriai_corpus.text.batch import Batch

PIECES = [
    "the", "to", "of", "and", "cats", "run", "Cats.", "ok!", "#", "...", "…", "•", "-", "--",
    "wait...",
    "x", "internationalisation", "1234", "(a)", "[1]", "[edit]", "[citation needed]", "javascript",
    "{", "Lorem ipsum", "cookie policy", '"so?"', "é", "日本",
]  # fmt: skip
texts = st.lists(
    st.tuples(
        st.sampled_from(PIECES),
        st.sampled_from(
            [" "] * 6 + ["\n", "\n\n", "\n ", " \n", "\r\n", "\t", "\u2028", "　", "\x85"]
        ),
    ),
    max_size=90,
).map(lambda pairs: "".join(a + b for a, b in pairs))


def failing(chain: Chain, text: str) -> list[str]:
    """The names of the chain's rules that would drop the text, each asked by itself."""
    document = Document("s", "1", text, "en")
    return [name for name, rule in chain.chain() if rule.judge(document).action == "drop"]


def first_to_drop(rule: Filter, text: str) -> tuple[str, str]:
    """The name of the rule of a chain that drops a text ("" if none) and what is left of it."""
    for one in expand([rule]):
        verdict = one.judge_batch(Batch([Document("s", "1", text, "en")]))[0]
        if verdict.action == "drop":
            return one.entry.removeprefix("."), text
        if verdict.action == "edit":
            text = verdict.text
    return "", text


# --- Gopher: quality ----------------------------------------------------------------------


def plain(word: str) -> bool:
    return any(c.isalnum() for c in word)


def gopher_quality(text: str) -> list[str]:
    """Which limits of arXiv 2112.11446, A1.1 a text is outside of."""
    words, lines = text.split(), text.splitlines()
    lengths = [len(word) for word in words if plain(word)]
    mean = sum(lengths) / len(lengths) if lengths else 0
    ellipses = text.count("...") + text.count("…")
    broken = {
        "words": not 50 <= len(lengths) <= 100_000,
        "word-length": not 3 <= mean <= 10,
        "hashes": text.count("#") > 0.1 * len(words),
        "ellipses": ellipses > 0.1 * len(words),
        "bullet-lines": sum(x.lstrip().startswith(("•", "-")) for x in lines) > 0.9 * len(lines),
        "ellipsis-lines": sum(x.rstrip().endswith(("...", "…")) for x in lines) > 0.3 * len(lines),
        "letter-words": sum(any(c.isalpha() for c in w) for w in words) < 0.8 * len(words),
        "stop-words": len(set(STOP_WORDS) & set(words)) < 2,
    }
    if not words:
        broken |= {"hashes": False, "ellipses": False, "letter-words": True}
    return [name for name, is_broken in broken.items() if is_broken]


@given(text=texts)
def test_gopher_quality_has_the_limits_of_the_paper(text: str) -> None:
    assert failing(GopherQuality(), text) == gopher_quality(text)


GOOD = "the cat and the dog of Rome have to be here with that friend " * 5


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (GOOD, ""),
        ("the cats to " * 16 + "the", "words"),
        ("the cats to " * 16 + "the cats", ""),
        ("to of " * 50, "word-length"),
        ("the incomprehensibility of internationalisation " * 20, "word-length"),
        (GOOD + "# " * 7, ""),
        (GOOD + "# " * 8, "hashes"),
        (GOOD + "wait... " * 12, "ellipses"),
        ("".join(f"- {GOOD}\n" for _ in range(10)), "bullet-lines"),
        ("".join(f"- {GOOD}\n" for _ in range(9)) + GOOD, ""),
        (GOOD + "\n" + f"{GOOD}…\n" * 2 + GOOD, "ellipsis-lines"),
        (GOOD + "12 " * 18, "letter-words"),
        ("dog barks loudly " * 20 + "the", "stop-words"),
        ("dog barks loudly " * 20 + "the of", ""),
    ],
)
def test_each_limit_of_gopher_drops_by_its_own_name(text: str, rule: str) -> None:
    assert first_to_drop(GopherQuality(), text)[0] == rule


# --- Gopher: repetition -------------------------------------------------------------------


def repeated(pieces: list[str]) -> tuple[int, int]:
    seen: set[str] = set()
    number = characters = 0
    for piece in pieces:
        if piece in seen:
            number, characters = number + 1, characters + len(piece)
        seen.add(piece)
    return number, characters


def gopher_repetition(text: str) -> list[str]:
    """Which limits of table A1 a text is outside of, with datatrove's ways of counting."""
    broken = {}
    for name, pieces in (
        ("paragraph", [p for p in re.split(r"\n{2,}", text.strip()) if p]),
        ("line", [line for line in re.split(r"\n+", text) if line]),
    ):
        number, characters = repeated(pieces)
        broken[f"{name}s"] = number > 0.3 * len(pieces)
        broken[f"{name}-characters"] = characters > 0.2 * len(text)
    words = text.split()
    for n, most in ((2, 0.2), (3, 0.18), (4, 0.16)):
        grams = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
        top = max((len(g) * count for g, count in grams.most_common(1)), default=0)
        broken[f"top-{n}-gram"] = top > most * len(text)
    for n, most in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)):
        seen: set[tuple[str, ...]] = set()
        index = characters = 0
        while index <= len(words) - n:
            gram = tuple(words[index : index + n])
            if gram in seen:
                characters += sum(map(len, gram))
                index += n
            else:
                seen.add(gram)
                index += 1
        broken[f"duplicate-{n}-gram"] = characters > most * len(text)
    return [name for name, is_broken in broken.items() if is_broken]


@given(text=texts)
def test_gopher_repetition_has_the_limits_of_table_a1(text: str) -> None:
    assert failing(GopherRepetition(), text) == gopher_repetition(text)


@given(lines=st.lists(st.sampled_from(["one two three", "four five", "six", ""]), max_size=30))
def test_gopher_repetition_sees_lines_and_paragraphs_that_come_again(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert failing(GopherRepetition(), text) == gopher_repetition(text)


# --- FineWeb ------------------------------------------------------------------------------


def fineweb(text: str) -> list[str]:
    """Which limits of arXiv 2406.17557, section 3.6 a text is outside of."""
    lines = [line for line in text.split("\n") if line.strip()]
    words = text.split()
    broken = {
        "ended-lines": sum(x.endswith((".", "!", "?")) for x in lines) < 0.12 * max(1, len(lines)),
        "short-lines": sum(len(line) <= 30 for line in lines) > 0.67 * len(lines),
        "repeated-characters": repeated(lines)[1] > 0.01 * len(text.replace("\n", "")),
        "newlines": text.count("\n") > 0.3 * len(words) and bool(words),
    }
    return [name for name, is_broken in broken.items() if is_broken]


@given(text=texts)
def test_fineweb_quality_has_the_limits_of_the_paper(text: str) -> None:
    assert failing(FineWebQuality(), text) == fineweb(text)


def test_a_japanese_full_stop_ends_a_line_as_well() -> None:
    rule = FineWebQuality(max_short_lines=1, max_newlines=10)
    assert failing(rule, "終わりです。\nThe other line\n" * 1) == []
    assert failing(rule, "終わりです\nThe other line") == ["ended-lines"]


# --- C4 -----------------------------------------------------------------------------------


def c4_lines(text: str) -> tuple[str, str]:
    """The rules of T5's section 2.2 line by line, in one go, without the count of sentences."""
    kept = []
    for line in map(str.strip, text.splitlines()):
        words = line.split()
        line = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", line)
        if any(len(word) > 1000 for word in words) or len(words) < 3:
            continue
        if not line.endswith((".", "?", "!", '"', "'")) or line.endswith("..."):
            continue
        if "lorem ipsum" in line.lower():
            return "lorem-ipsum", ""
        if "javascript" in line.lower():
            continue
        if "{" in line:
            return "curly-bracket", ""
        if any(phrase in line.lower() for phrase in POLICY):
            continue
        kept.append(line)
    return "", "\n".join(kept).strip()


@given(text=texts)
def test_c4_takes_out_the_lines_and_documents_of_the_paper(text: str) -> None:
    """One rule after the other on the whole text gives what one look at each line gives.

    But for one thing: of two documents' reasons the rule that comes first is named, wherever
    in the text it finds its own.
    """
    reason, left = c4_lines(text)
    mine, remaining = first_to_drop(C4(min_sentences=0), text)
    assert bool(mine) == bool(reason)
    if not reason:
        assert remaining == left


CLEAN = "This line is a sentence. " * 5


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("A line that ends well.", True),
        ("A line that does not", False),
        ("A line that trails off...", False),
        ("A line with one mark [1].", True),
        ("A line with a mark at its end.[2]", True),
        ("A line with marks at its end.[2][citation needed]", True),
        ("A line with dots split by a mark.[1]..", False),
        ("Two words.", False),
        ("Please enable JavaScript to go on.", False),
        ("We have a Cookie Policy here.", False),
        ("A word of " + "x" * 1000 + " is kept.", True),
        ("A word of " + "x" * 1001 + " is not.", False),
        ('He said "so be it"', True),
    ],
)
def test_c4_on_one_line(line: str, left: bool) -> None:
    reason, text = first_to_drop(C4(), f"{CLEAN}\n{line}\n{CLEAN}")
    assert reason == ""
    assert len(text.splitlines()) == (3 if left else 2)
    assert "[" not in text


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("Here is Lorem Ipsum dolor.", "lorem-ipsum"),
        ("Lorem Ipsum in a title", ""),
        ("Some code { is here }.", "curly-bracket"),
        ("Some javascript { is here }.", ""),
    ],
)
def test_c4_drops_documents_for_lines_that_were_left(line: str, rule: str) -> None:
    assert first_to_drop(C4(), f"{CLEAN}\n{line}")[0] == rule


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("One. Two! Three? Four", 4),
        ("Version 3.14 is one.", 1),
        ('He said "yes." And left (at last.) Then?', 3),
        ("J. R. R. Tolkien wrote it.", 1),
        ("First line\nSecond line", 2),
        ("What?! Really...", 2),
        (". . .", 0),
        ("日本語。もう一つ。", 1),
    ],
)
def test_sentences_end_at_marks_before_a_space(text: str, number: int) -> None:
    batch = Batch([Document("s", "1", text)])
    assert Sentences().measure(batch).tolist() == [number]


def test_four_sentences_are_too_few_and_five_are_enough() -> None:
    four = "Here is a sentence. " * 4
    assert first_to_drop(C4(), four)[0] == "sentences"
    assert first_to_drop(C4(), four + "And here.")[0] == ""


def test_bad_words_come_from_the_users_file_and_stand_alone(tmp_path: Path) -> None:
    listed = tmp_path / "words.txt"
    listed.write_text("Damned\n\n  two words \n禁止\n", encoding="utf-8")
    alone, inside = BadWords(words=listed), BadWords(words=listed, anywhere=True)
    for text, standing, anywhere in (
        ("A DAMNED thing", 1, 1),
        ("undamned damnedest _damned", 0, 3),
        ("damned, damned!", 2, 2),
        ("of two words.", 1, 1),
        ("立入禁止区域", 0, 1),
        ("nothing", 0, 0),
    ):
        document = Document("s", "1", text)
        assert alone.measure(Batch([document])).tolist() == [standing], text
        assert inside.measure(Batch([document])).tolist() == [anywhere], text
    verdict = inside.judge(Document("s", "1", "立入禁止区域"))
    assert (verdict.action, verdict.value, verdict.threshold, verdict.span) == (
        "drop",
        1,
        0,
        "禁止",
    )
    before = alone.fingerprint()
    listed.write_text("other\n", encoding="utf-8")
    assert alone.fingerprint() != before
    assert alone.judge(Document("s", "1", "damned")).action == "keep"
    listed.write_text("\n", encoding="utf-8")
    assert alone.judge(Document("s", "1", "damned")).action == "keep"
    rule = C4(bad_words=listed)
    assert rule.fingerprint() == alone.fingerprint()
    assert [name for name, _ in rule.chain()][-1] == "bad-words"


# --- all ----------------------------------------------------------------------------------


@given(many=st.lists(texts, max_size=5))
def test_a_document_is_judged_the_same_alone_and_among_others(many: list[str]) -> None:
    batch = Batch(Document("s", str(i), text, "en") for i, text in enumerate(many))
    for rule in expand([GopherQuality(), GopherRepetition(), FineWebQuality(), C4(), Latin()]):
        together = rule.judge_batch(Batch(batch))
        assert together == [rule.judge(document) for document in batch], rule.entry


def test_latin_reports_the_share_of_other_letters() -> None:
    verdict = Latin().judge(Document("s", "1", "aaa é 12", "en"))
    assert (verdict.action, verdict.value, verdict.threshold) == ("drop", 0.25, 0.1)
