"""Signatures, candidates and clusters, checked against brute force and against datasketch."""

from __future__ import annotations

import itertools
import math
import random
import string
import unicodedata
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import Artifact
from yoriai_corpus.build import components, sorted_keys
from yoriai_corpus.build.duplicates import ALL_PAIRS_UP_TO
from yoriai_corpus.text import minhash
from yoriai_corpus.text.batch import codes_of
from yoriai_corpus.text.folding import fold_table

ALPHABET = string.ascii_lowercase + "あいうえおかきくけこ日本語東京 "


def normalise(text: str) -> str:
    """The promised form, character by character."""
    folded = []
    for character in text:
        form = unicodedata.normalize("NFKC", character).casefold()
        if character.isspace() or form == " ":
            folded.append(" ")
        else:
            folded.append(form if len(form) == 1 else character)
    return " ".join(piece for piece in "".join(folded).split(" ") if piece)


def shingles(text: str, n: int = 5) -> set[str]:
    """What the module promises, written as plainly as possible."""
    return {text[i : i + n] for i in range(max(1, len(text) - n + 1))} if text else set()


def similarity(a: str, b: str) -> float:
    one, two = shingles(normalise(a)), shingles(normalise(b))
    return len(one & two) / len(one | two) if one | two else 1.0


def some_text(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(ALPHABET, k=length))


def with_edits(rng: random.Random, text: str, count: int) -> str:
    """``count`` characters, far from one another, replaced by ones that stand nowhere else."""
    places = range(10, len(text) - 10, max(1, (len(text) - 20) // max(1, count)))
    edited = list(text)
    for place in list(places)[:count]:
        edited[place] = rng.choice("ΑΒΓΔΕ")
    return "".join(edited)


def least_reachable(size: int, edges: list[tuple[int, int]]) -> list[int]:
    """Smallest reachable node of each node, by walking the graph."""
    neighbours: dict[int, set[int]] = {node: {node} for node in range(size)}
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    least = []
    for node in range(size):
        seen, todo = {node}, [node]
        while todo:
            new = neighbours[todo.pop()] - seen
            seen |= new
            todo += new
        least.append(min(seen))
    return least


def as_text(codes: Any) -> list[str]:
    points, starts = codes
    return [points[a:b].tobytes().decode("utf-32-le") for a, b in itertools.pairwise(starts)]


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=6))
def test_folding_is_nfkc_case_and_space_for_each_character(texts: list[str]) -> None:
    assert as_text(minhash.fold(codes_of(texts))) == [normalise(text) for text in texts]


def test_the_folding_table_is_right_for_every_character_there_is() -> None:
    table = fold_table()
    for code in [*range(0xD800), *range(0xE000, 0x30000, 7), *range(0x2F800, 0x2FA20)]:
        expected = normalise(chr(code))
        assert table[code] == (ord(expected) if expected else 32), hex(code)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_there_are_as_many_hashes_as_distinct_shingles(text: str) -> None:
    assert len(minhash.shingles(text)) == len(shingles(normalise(text)))


@given(a=st.text(alphabet="ab日", max_size=60), b=st.text(alphabet="ab日", max_size=60))
def test_jaccard_is_that_of_the_sets(a: str, b: str) -> None:
    expected = similarity(a, b)
    found = minhash.jaccard(minhash.shingles(a), minhash.shingles(b))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("edits", [0, 2, 8, 20, 40])
def test_estimates_are_as_close_to_the_truth_as_those_of_datasketch(edits: int) -> None:
    datasketch = pytest.importorskip("datasketch")
    rng = random.Random(edits)
    ours, theirs = [], []
    for seed in range(20):
        a = some_text(rng, 600)
        b = with_edits(rng, a, edits)
        truth = similarity(a, b)
        rows = minhash.signatures(minhash.fold(codes_of([a, b])), seed)
        ours.append(abs(float(np.mean(rows[0] == rows[1])) - truth))
        sketches = []
        for text in (a, b):
            sketch = datasketch.MinHash(num_perm=minhash.HASHES, seed=seed)
            sketch.update_batch([piece.encode() for piece in shingles(normalise(text))])
            sketches.append(sketch)
        theirs.append(abs(sketches[0].jaccard(sketches[1]) - truth))
    # The standard error of one estimate is at most 0.044, of the mean of 20 a quarter of it.
    assert np.mean(ours) <= np.mean(theirs) + 0.025
    assert max(ours) < 5 * 0.0442


def test_a_signature_is_the_least_of_each_hash_over_all_shingles() -> None:
    rng = random.Random(1)
    texts = [some_text(rng, n) for n in (3, 5, 511, 516, 517, 3000)]
    folded = minhash.fold(codes_of(texts))
    multipliers, addends = (column.astype(np.uint64) for column in minhash.permutations(3))
    rows = minhash.signatures(folded, 3)
    for number, row in enumerate(rows):
        span = folded.points[folded.starts[number] : folded.starts[number + 1]]
        hashes = minhash.ngram_hashes(span, minhash.NGRAM) >> np.uint64(32)
        every = (multipliers[:, None] * hashes[None, :] + addends[:, None]) & np.uint64(0xFFFFFFFF)
        assert (row == every.min(axis=1)).all()


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.36, 0.37, 0.5, 0.7, 0.71, 0.8, 1.0])
def test_a_pair_at_the_threshold_is_missed_at_most_once_in_ten_thousand(threshold: float) -> None:
    rows, least = minhash.rows_for(threshold), minhash.least_bands(threshold)
    bands = minhash.HASHES // rows
    assert minhash.HASHES % rows == 0

    def missed(needed: int) -> float:
        one = threshold**rows
        return sum(math.comb(bands, k) * one**k * (1 - one) ** (bands - k) for k in range(needed))

    assert missed(least) <= 1.01e-4 or (rows == least == 1 and threshold < 0.07)
    assert least == bands or missed(least + 1) > 1.01e-4
    assert threshold != 0.8 or (rows, least) == (4, 4)


# --- clusters ---------------------------------------------------------------------------


def run(work: Callable[[Any], Any], tasks: list[Any]) -> list[Any]:
    return [work(task) for task in reversed(tasks)]


@given(data=st.data(), size=st.integers(1, 30))
@settings(max_examples=12)  # each writes some hundred files, flushed to the disk
@pytest.mark.parametrize("ranges", [1, 3])
def test_components_are_those_of_walking_the_graph_in_one_range_or_in_several(
    ranges: int, size: int, data: st.DataObject, new_folder: Callable[[], Path]
) -> None:
    nodes = st.integers(0, size - 1)
    edges = data.draw(st.lists(st.tuples(nodes, nodes), max_size=40))
    folder = new_folder()
    pairs = np.array([(a, b) for a, b in edges if a != b], dtype=np.uint64).reshape(-1, 2)
    paths = [folder / f"edges{n}.npy" for n in range(2)]
    for number, path in enumerate(paths):
        sorted_keys.save(path, pairs[number::2])
    found = [np.load(p) for p in components.join(paths, folder, ranges, run)]
    rows = {(int(row["doc"]), int(row["root"])) for table in found for row in table}
    least = least_reachable(size, edges)
    assert rows == {(node, root) for node, root in enumerate(least) if node != root}


def test_a_long_chain_is_one_component(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(5000).astype(np.uint64)
    sorted_keys.save(tmp_path / "edges.npy", np.column_stack([order[:-1], order[1:]]))
    paths = components.join([tmp_path / "edges.npy"], tmp_path, 4, run)
    table = np.concatenate([np.load(path) for path in paths])
    assert len(table) == 4999
    assert set(table["root"].tolist()) == {0}


# --- in a corpus ------------------------------------------------------------------------

Make = Callable[..., Artifact]


@pytest.fixture(scope="session")
def near_duplicates(make_corpus: Make, rows_of: Any) -> Callable[..., dict[int, tuple[int, float]]]:
    """Index of each dropped text: (index of the one that stays, similarity)."""

    def find(texts: list[str], threshold: float) -> dict[int, tuple[int, float]]:
        rows = [{"id": f"{n:05d}", "text": text} for n, text in enumerate(texts)]
        corpus = make_corpus(rows, dedup={"exact": False, "near": threshold})
        return {
            int(row["id"]): (int(row["duplicate_of"].removeprefix("mine/")), row["value"])
            for row in rows_of(corpus, "dropped")
        }

    return find


@pytest.mark.parametrize("threshold", [0.15, 0.5, 0.8, 0.95])
def test_near_duplicates_are_those_of_comparing_all_pairs(
    threshold: float, near_duplicates: Any
) -> None:
    rng = random.Random(7)
    texts = []
    for _ in range(25):
        base = some_text(rng, rng.randint(120, 400))
        texts += [base, *(with_edits(rng, base, rng.randint(0, 30)) for _ in range(3))]
    rng.shuffle(texts)
    pairs = [
        pair
        for pair in combinations(range(len(texts)), 2)
        if similarity(texts[pair[0]], texts[pair[1]]) >= threshold
    ]
    least = least_reachable(len(texts), pairs)
    expected = {index: kept for index, kept in enumerate(least) if kept != index}
    found = near_duplicates(texts, threshold)
    assert {index: kept for index, (kept, _) in found.items()} == expected
    for index, (kept, value) in found.items():
        assert value == pytest.approx(similarity(texts[index], texts[kept]))


def test_pairs_are_found_in_a_crowd_that_shares_a_template(near_duplicates: Any) -> None:
    rng = random.Random(5)
    template = some_text(rng, 300)
    crowd = [template + some_text(rng, 120) for _ in range(60)]
    texts = [*crowd, *(text[:-2] + "!!" for text in crowd)]
    found = near_duplicates(texts, 0.9)
    assert {index: kept for index, (kept, _) in found.items()} == {60 + n: n for n in range(60)}
    assert len(texts) > ALL_PAIRS_UP_TO


def test_texts_shorter_than_a_shingle_are_compared_too(near_duplicates: Any) -> None:
    texts = ["ab", "a", "ab ", "AB", "a b", "b", "ＡＢ", "a  b"]
    found = near_duplicates(texts, 1.0)
    assert {index: kept for index, (kept, _) in found.items()} == {2: 0, 3: 0, 6: 0, 7: 4}


def test_of_equal_documents_the_smallest_id_of_the_earliest_source_stays(
    write_jsonl: Callable[..., Path], run_step: Make, rows_of: Any
) -> None:
    files = {
        "late": [{"id": "a", "text": "the same text"}],
        "early": [{"id": "z", "text": "the same text"}, {"id": "b", "text": "THE SAME  TEXT"}],
    }
    sources = [
        {"use": "corpus/jsonl", "paths": [str(write_jsonl(files[name]))], "name": name}
        for name in ("early", "late")
    ]
    corpus = run_step("corpus/build", sources=sources, heldout=0)
    assert [(r["source"], r["id"]) for r in rows_of(corpus, "documents")] == [("early", "b")]
    assert {(r["id"], r["duplicate_of"]) for r in rows_of(corpus, "dropped")} == {
        ("a", "early/b"), ("z", "early/b")
    }  # fmt: skip
    assert [
        (r["winner_source"], r["winner_id"], r["id"], r["kind"], r["similarity"])
        for r in rows_of(corpus, "clusters")
    ] == [("early", "b", "z", "exact", 1.0), ("early", "b", "a", "exact", 1.0)]


def test_one_address_is_one_document_whatever_its_scheme_host_and_fragment(
    make_corpus: Make, rows_of: Any
) -> None:
    urls = [
        "https://www.Example.org/a/", "http://example.org/a#part", "http://example.org/A",
        "http://example.org/a?x=1", "", "",
    ]  # fmt: skip
    rows = [{"id": str(n), "text": f"text {n}", "url": url} for n, url in enumerate(urls)]
    corpus = make_corpus(rows, dedup={"exact": False, "near": None, "url": True})
    (dropped,) = rows_of(corpus, "dropped")
    assert (dropped["id"], dropped["rule"], dropped["duplicate_of"]) == (
        "1", "corpus/url-duplicate", "mine/0"
    )  # fmt: skip


def test_documents_of_a_corpus_given_under_from_win_and_are_not_copied(
    make_corpus: Make, write_jsonl: Callable[..., Path], run_step: Make, rows_of: Any
) -> None:
    long = "".join(chr(0x4E00 + n) for n in range(300))
    older = make_corpus([{"id": "x", "text": "an old text"}, {"id": "y", "text": long}])
    rows = [
        {"id": "1", "text": "An  Old Text"}, {"id": "2", "text": long[:-1] + "!"},
        {"id": "3", "text": "something new"},
    ]  # fmt: skip
    source = {"use": "corpus/jsonl", "paths": [str(write_jsonl(rows))], "name": "new"}
    corpus = run_step("corpus/build", [older], sources=[source], heldout=0)
    assert [r["id"] for r in rows_of(corpus, "documents")] == ["3"]
    assert {r["id"]: (r["rule"], r["duplicate_of"]) for r in rows_of(corpus, "dropped")} == {
        "1": ("corpus/exact-duplicate", "test/text@1:mine/x"),
        "2": ("corpus/near-duplicate", "test/text@1:mine/y"),
    }
    assert corpus.facts["in"] == 3
