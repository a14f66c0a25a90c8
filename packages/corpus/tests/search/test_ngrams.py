"""N-grams of token shards, checked against going through every token."""

from __future__ import annotations

import collections
import math
import shutil
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Altered, Artifact, UsageError, YoriaiError
from yoriai.artifact import open_artifact
from yoriai.mixture import read_mixture
from yoriai.shards import Shard
from yoriai_corpus.search import ngrams
from yoriai_corpus.search.ngram_step import SortTokens, sort_tokens
from yoriai_corpus.search.ngrams import NgramIndex, TokenSuffixes

Make = Callable[..., Artifact]


def next_by_hand(ids: list[int], context: list[int]) -> tuple[int, collections.Counter[int]]:
    size = len(context)
    places = [at for at in range(len(ids) - size + 1) if ids[at : at + size] == context]
    return len(places), collections.Counter(ids[at + size] for at in places if at + size < len(ids))


@given(
    ids=st.lists(st.sampled_from([0, 1, 2, 255, 256, 257, 65_535]), max_size=60),
    context=st.lists(st.sampled_from([0, 1, 2, 255, 256, 257, 65_535]), min_size=1, max_size=4),
    wide=st.booleans(),
)
def test_counts_and_next_tokens_are_those_of_going_through_all(
    ids: list[int], context: list[int], wide: bool
) -> None:
    kind: Any = np.int32 if wide else np.uint16
    array = np.array(ids, dtype=kind)
    part = TokenSuffixes("a", array, ngrams.suffix_order(array))
    order = sorted(range(len(ids)), key=lambda at: ids[at:])
    assert part.order.tolist() == order
    times, following = next_by_hand(ids, context)
    low, high = part.range_of(np.array(context, dtype=kind))
    assert high - low == times
    assert part.following(np.array(context, dtype=kind)) == dict(following)


@pytest.fixture(scope="module")
def shards(three_languages: Artifact, tokenizer: Artifact, run_step: Make) -> Artifact:
    return run_step("corpus/tokens", [three_languages, tokenizer])


@pytest.fixture(scope="module")
def index(shards: Artifact, run_step: Make) -> NgramIndex:
    return NgramIndex(run_step("corpus/ngrams", [shards]))


@pytest.fixture(scope="module")
def by_shard(shards: Artifact) -> dict[str, list[int]]:
    found = {}
    for name, shard in read_mixture(shards.path).shards.items():
        (stem,) = shard.files
        opened = Shard(shards.path / stem)
        found[name] = np.frombuffer(opened.tokens, dtype=np.dtype(opened.dtype)).tolist()
    return found


@given(data=st.data())
def test_the_infinite_gram_uses_the_longest_end_that_has_a_next_token(
    index: NgramIndex, by_shard: dict[str, list[int]], data: st.DataObject
) -> None:
    ids = by_shard[data.draw(st.sampled_from(sorted(by_shard)))]
    at = data.draw(st.integers(0, len(ids) - 12))
    strange = data.draw(st.lists(st.integers(0, 50), max_size=3))
    context = strange + ids[at : at + data.draw(st.integers(0, 10))]
    found = index.infinite(context)
    expected: collections.Counter[int] = collections.Counter()
    for length in range(len(context), -1, -1):
        end = context[len(context) - length :]
        counts = {name: next_by_hand(tokens, end) for name, tokens in by_shard.items()}
        expected = sum((c for _, c in counts.values()), collections.Counter())
        if expected:
            break
    assert found.length == length
    assert found.following == dict(expected)
    if length:
        assert found.by_shard == {name: times for name, (times, _) in counts.items()}
    assert math.isclose(math.fsum(map(found.probability, found.following)), 1)
    assert found.entropy_bits >= 0


def test_what_is_no_token_is_refused(index: NgramIndex) -> None:
    for context in ([-1], [index.vocabulary_size], [0] * 5000):
        with pytest.raises(UsageError):
            index.count(context)


@pytest.mark.parametrize(
    ("name", "place", "form", "wrong", "said"),
    [
        ("ja.bin", 14, "<H", 60_000, r"ja\.bin: token 7 is 60000, the vocabulary has"),
        ("ja.idx", 34, "<i", -5, r"ja\.idx: document 0 has -5 tokens"),
    ],
)
def test_shards_that_are_false_are_refused_before_they_are_sorted(
    shards: Artifact, tmp_path: Any, name: str, place: int, form: str, wrong: int, said: str
) -> None:
    size = read_mixture(shards.path).vocabulary_size
    shutil.copytree(shards.path, tmp_path / "shards")
    false = bytearray((tmp_path / "shards" / name).read_bytes())
    struct.pack_into(form, false, place, wrong)
    (tmp_path / "shards" / name).write_bytes(false)
    with pytest.raises(Altered, match=said):
        sort_tokens(SortTokens(tmp_path / "shards/ja", tmp_path / "target", size))
    assert not (tmp_path / "target").exists()


def test_a_damaged_file_is_named(index: NgramIndex, tmp_path: Any) -> None:
    folder = tmp_path / "ngrams"
    shutil.copytree(index.artifact.path, folder)
    path = folder / "00000.ngrams"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(YoriaiError, match="00000"):
        NgramIndex(open_artifact(folder))


def test_the_command_shows_what_comes_next(
    index: NgramIndex, tokenizer: Artifact, yoriai_cli: Callable[..., Any]
) -> None:
    asked = ("corpus", "ngram", str(index.artifact.path), "朝早くから本を")
    answer = yoriai_cli(*asked, "--tokenizer", str(tokenizer.path), "--json").json
    assert answer["occurrences"] == sum(answer["by_shard"].values()) > 0
    assert answer["used"] == len(answer["context"])
    assert math.isclose(sum(row["probability"] for row in answer["next"]), 1)
    assert yoriai_cli(*asked).code == UsageError.exit_code
    assert yoriai_cli(*asked[:3], "1 2", "--ids").code == 0
