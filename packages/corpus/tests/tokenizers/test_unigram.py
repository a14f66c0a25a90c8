"""tokenizers/unigram.py: expected counts are those of every way to cut a line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import YoriaiError
from yoriai_corpus.tokenizers import unigram
from yoriai_corpus.tokenizers.unigram import build_trie, estimate, expected_counts

LETTERS = "abc▁𠮷"
vocabularies = st.lists(
    st.text(LETTERS, min_size=1, max_size=4), min_size=1, max_size=14, unique=True
)
lines = st.lists(st.text(LETTERS + " é", max_size=9), max_size=4)


def cuts(line: str, pieces: dict[str, float], unknown: float) -> Iterator[tuple[list[str], float]]:
    """Every way to cut a line, with its log-probability; unknown characters are pieces ""."""
    if not line:
        yield [], 0.0
        return
    for end in range(1, len(line) + 1):
        if (piece := line[:end]) in pieces:
            for rest, score in cuts(line[end:], pieces, unknown):
                yield [piece, *rest], score + pieces[piece]
    if line[0] not in pieces:
        for rest, score in cuts(line[1:], pieces, unknown):
            yield ["", *rest], score + unknown


def brute_force(
    pieces: list[str], scores: Any, text: str, per_line: bool
) -> tuple[Counter[str], float]:
    known = dict(zip(pieces, scores, strict=True))
    expected: Counter[str] = Counter()
    likelihood = 0.0
    for line in filter(None, text.replace(" ", "▁").split("\n")):
        ways = list(cuts(line, known, min(scores) - 10))
        whole = sum(math.exp(score) for _, score in ways)
        likelihood += math.log(whole)
        here: Counter[str] = Counter()
        for way, score in ways:
            for piece in way:
                here[piece] += math.exp(score) / whole  # type: ignore[assignment]
        total = sum(here.values()) if per_line else 1.0
        for piece, count in here.items():
            expected[piece] += count / total  # type: ignore[assignment]
    return expected, likelihood


@given(pieces=vocabularies, text=lines, seed=st.integers(0, 99), per_line=st.booleans())
def test_expected_counts_are_those_of_all_ways_to_cut(
    pieces: list[str], text: list[str], seed: int, per_line: bool
) -> None:
    scores = np.log(np.random.default_rng(seed).dirichlet(np.full(len(pieces), 0.5)) + 1e-9)
    joined = "\n".join(text)
    weigh = "lines" if per_line else "tokens"
    counts, likelihood, tokens = expected_counts(build_trie(pieces), scores, [joined], weigh=weigh)
    wanted, wanted_likelihood = brute_force(pieces, scores, joined, per_line)
    assert counts == pytest.approx([wanted[piece] for piece in [*pieces, ""]], abs=1e-9)
    assert likelihood == pytest.approx(wanted_likelihood, rel=1e-9, abs=1e-9)
    if not per_line:
        assert tokens == pytest.approx(sum(wanted.values()))


def test_a_long_line_of_unlikely_characters_neither_overflows_nor_vanishes() -> None:
    pieces = ["a", "aa", "b"]
    scores = np.array([-20.0, -25.0, -1.0])
    text = "a" * 30_000 + "é" * 30_000 + "b" * 30_000 + "aab" * 10_000
    counts, likelihood, _ = expected_counts(build_trie(pieces), scores, [text])
    assert math.isfinite(likelihood)
    assert counts[0] + 2 * counts[1] == pytest.approx(50_000)
    assert counts[2:] == pytest.approx([40_000, 30_000])


def test_every_piece_is_found_in_the_trie_and_nothing_else() -> None:
    random = np.random.default_rng(1)
    pool = [chr(0x4E00 + n) for n in range(300)] + list("abcdef")
    pieces = sorted({"".join(random.choice(pool, random.integers(1, 6))) for _ in range(3000)})
    trie = build_trie(pieces)
    codes = trie.codes()

    def look_up(text: str) -> int:
        cell = 0
        for character in text:
            child = trie.cells[cell, 0] + codes[ord(character)]
            if child <= 0 or trie.cells[child, 1] != cell:
                return -1
            cell = child
        return int(trie.cells[cell, 2])

    assert [look_up(piece) for piece in pieces] == list(range(len(pieces)))
    known = set(pieces)
    others = {"".join(random.choice(pool, random.integers(1, 7))) for _ in range(3000)} - known
    assert {look_up(text) for text in others} == {-1}
    assert trie.longest == max(map(len, pieces))


@pytest.mark.parametrize("pieces", [[], ["a", ""], ["a", "a"]])
def test_a_trie_of_nothing_or_of_equal_pieces_is_refused(pieces: list[str]) -> None:
    with pytest.raises(ValueError, match="distinct"):
        build_trie(pieces)


def files(folder: Path, *texts: str) -> list[Path]:
    paths = [folder / f"{index}.txt" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def backwards(work: Any, tasks: Any) -> Any:
    """What an engine with many workers may do: the last task is done first."""
    return reversed([work(task) for task in tasks])


TEXTS = ("the cat sat\non the mat\n", "that hat that sat", "猫が座った。")
PIECES = [*"acehmnost▁", "▁the", "▁that", "at", "th", "猫", "が", "座った。"]


def test_the_likelihood_never_falls_and_probabilities_sum_to_one(tmp_path: Path) -> None:
    found = estimate(PIECES, files(tmp_path, *TEXTS), scratch=tmp_path / "em", run=map, epochs=8)
    gains = [row["log_likelihood_per_character"] for row in found.log]
    assert len(gains) == 8
    assert gains == sorted(gains)
    assert gains[-1] > gains[0]
    assert np.exp(found.scores).sum() == pytest.approx(1, abs=1e-8)
    unseen = estimate(["a", "zz"], files(tmp_path, "aaa"), scratch=tmp_path / "em", run=map)
    assert unseen.scores.tolist() == [0.0, unigram.FLOOR]


def test_the_order_in_which_chunks_are_done_changes_no_bit(tmp_path: Path) -> None:
    paths = files(tmp_path, *TEXTS)
    one = estimate(PIECES, paths, scratch=tmp_path / "a", run=map)
    other = estimate(PIECES, paths, scratch=tmp_path / "b", run=backwards)
    assert one.scores.tobytes() == other.scores.tobytes()
    assert one.log == other.log


def test_estimation_ends_once_nothing_is_gained(tmp_path: Path) -> None:
    paths = files(tmp_path, *TEXTS)
    found = estimate(PIECES, paths, scratch=tmp_path / "em", run=map, epochs=50, tolerance=1e-3)
    assert 2 <= len(found.log) < 50


@pytest.mark.parametrize(("text", "words"), [("\n\n", "no text"), ("é", "no piece")])
def test_a_text_that_teaches_nothing_is_a_clear_error(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(YoriaiError, match=words):
        estimate(["a"], files(tmp_path, text), scratch=tmp_path / "em", run=map)


def test_scores_come_near_those_sentencepiece_gives_its_own_pieces(tmp_path: Path) -> None:
    """SentencePiece ends on two epochs of the same EM, with a digamma for the logarithm."""
    import pydoc_data.topics

    import sentencepiece

    lines = "\n".join(pydoc_data.topics.topics.values()).split("\n")
    lines = [line.strip() for line in lines if line.strip() and len(line) < 200][:4000]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(tmp_path / "m"), vocab_size=800,
        normalization_rule_name="identity", add_dummy_prefix=False, character_coverage=1.0,
        num_threads=1, minloglevel=2, split_by_whitespace=False, remove_extra_whitespaces=False,
    )  # fmt: skip
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    pieces = [model.id_to_piece(index) for index in range(3, len(model))]
    theirs = np.array([model.get_score(index) for index in range(3, len(model))])
    path = files(tmp_path, "\n".join(lines))
    found = estimate(pieces, path, scratch=tmp_path / "em", run=map, epochs=6)
    often = theirs > -7.5
    assert often.sum() > 300
    assert np.corrcoef(found.scores[often], theirs[often])[0, 1] > 0.95
    assert abs(found.scores[often] - theirs[often]).mean() < 0.25
