"""The kernels for repetition against the published definitions, written out with Counters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yoriai import Document
from yoriai_corpus.text import repetition
from yoriai_corpus.text.batch import Batch

# Few letters, so that n-grams of ten repeat.
TEXTS = st.lists(st.text("あいa \n　", max_size=60), max_size=4)


def batch_of(texts: Sequence[str]) -> Batch:
    return Batch([Document("mine", str(number), text) for number, text in enumerate(texts)])


def swallow(text: str, n: int) -> tuple[float, float]:
    """Share of the top n-gram and of repeated distinct n-grams, over characters."""
    grams = Counter(text[i : i + n] for i in range(len(text) - n + 1))
    if not grams:
        return 0, 0
    return (
        max(grams.values()) / grams.total(),
        sum(count > 1 for count in grams.values()) / len(grams),
    )


def gopher(text: str, n: int) -> tuple[float, float]:
    """The same for words as datatrove counts: in characters, over those of the text."""
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0, 0
    top, count = Counter(grams).most_common(1)[0]
    seen, repeated, index = set(), 0, 0
    while index < len(grams):
        if grams[index] in seen:
            repeated += sum(map(len, grams[index]))
            index += n
        else:
            seen.add(grams[index])
            index += 1
    return len(" ".join(top)) * count / len(text), repeated / len(text)


def duplicates(pieces: list[str], text: str) -> tuple[float, float]:
    seen: set[str] = set()
    again = [piece for piece in pieces if piece in seen or seen.add(piece)]  # type: ignore[func-returns-value]
    if not pieces:
        return 0, 0
    return len(again) / len(pieces), sum(map(len, again)) / len(text)


@pytest.mark.parametrize("n", range(2, 11))
@given(TEXTS)
@example(["ab" * 20, "", "a", "aaaaaaaaaaaa"])
def test_character_ngrams_are_counted_as_swallow_does(n: int, texts: list[str]) -> None:
    batch = batch_of(texts)
    expected = [swallow(text, n) for text in texts]
    top = repetition.top_ngram_share(batch, n, "characters")
    assert top.tolist() == pytest.approx([pair[0] for pair in expected])
    repeated = repetition.duplicate_ngram_share(batch, n, "characters")
    assert repeated.tolist() == pytest.approx([pair[1] for pair in expected])


@pytest.mark.parametrize("n", range(2, 11))
@given(
    st.lists(
        st.lists(st.sampled_from(["a", "bb", "c\n", "あ　"]), max_size=40).map(" ".join), max_size=4
    )
)
@example(["a " * 30, "a b c d e " * 9, "", " "])
def test_word_ngrams_are_counted_as_datatrove_does(n: int, texts: list[str]) -> None:
    batch = batch_of(texts)
    expected = [gopher(text, n) for text in texts]
    top = repetition.top_ngram_share(batch, n, "words")
    assert top.tolist() == pytest.approx([pair[0] for pair in expected])
    repeated = repetition.duplicate_ngram_share(batch, n, "words")
    assert repeated.tolist() == pytest.approx([pair[1] for pair in expected])


@given(TEXTS)
@example(["a\n\na\na", "a\n \na", "\n\nab\n\n\nab\n", "a\n\n\n\n\na"])
def test_lines_and_paragraphs_that_occurred_before_are_duplicates(texts: list[str]) -> None:
    batch = batch_of(texts)
    items, characters = repetition.duplicate_line_share(batch)
    for index, text in enumerate(texts):
        lines = [line for line in text.split("\n") if line]
        assert (items[index], characters[index]) == pytest.approx(duplicates(lines, text))
    items, characters = repetition.duplicate_paragraph_share(batch)
    for index, text in enumerate(texts):
        paragraphs = [piece for piece in re.split(r"\n{2,}", text.strip()) if piece]
        assert (items[index], characters[index]) == pytest.approx(duplicates(paragraphs, text))


def test_neighbours_in_a_batch_do_not_count_for_each_other() -> None:
    texts = ["一つの文です。", "一つの文です。"]
    together = repetition.duplicate_ngram_share(batch_of(texts), 5, "characters")
    assert together.tolist() == [0, 0]
    assert repetition.duplicate_line_share(batch_of(texts))[0].tolist() == [0, 0]


def test_texts_that_collide_under_polynomial_hashes_are_told_apart() -> None:
    """Thue-Morse strings have one hash under any polynomial modulo 2**64."""
    line = "a"
    for _ in range(11):
        line += line.translate(str.maketrans("ab", "ba"))
    other = line.translate(str.maketrans("ab", "ba"))
    assert repetition.duplicate_line_share(batch_of([f"{line}\n{other}"]))[0].tolist() == [0]


@pytest.mark.parametrize("n", [1, 11])
def test_other_lengths_of_ngrams_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="2 to 10"):
        repetition.top_ngram_share(batch_of(["a"]), n, "words")
