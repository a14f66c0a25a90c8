"""What a corpus says of groups is counted exactly, whatever the words are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, UsageError
from yoriai_corpus.account.co_occurrence import (
    ATTRIBUTE,
    GROUP,
    TermCounts,
    associate,
    count,
    odds_ratio,
)
from yoriai_corpus.account.group_terms import (
    OWN_FILE,
    GroupTerms,
    TermFinder,
    by_terms,
    read_terms,
    sentences,
    swapper,
)
from yoriai_corpus.account.intervals import risk_ratio

Make = Callable[..., Artifact]
TERMS = GroupTerms(
    language="ja",
    groups={"gender": {"women": ["彼女", "母"], "men": ["彼", "父"]}},
    attributes={"work": ["会社"], "home": ["料理"]},
    ignored=["彼岸", "母国"],
    swaps=[("彼女", "彼"), ("母", "父")],
)
NAMES = [GROUP + "gender/women", GROUP + "gender/men", ATTRIBUTE + "work", ATTRIBUTE + "home"]
DOCUMENTS = st.lists(st.lists(st.lists(st.sampled_from(NAMES), max_size=4), max_size=4), max_size=8)


@given(DOCUMENTS)
def test_counts_and_associations_are_those_of_counting_by_hand(
    documents: list[list[list[str]]],
) -> None:
    counts = TermCounts()
    for document in documents:
        counts.add(document)
    for row in associate(counts, TERMS):
        other = "gender/men" if row.group == "gender/women" else "gender/women"

        def naming(group: str) -> int:
            return sum(any(GROUP + group in s for s in d) for d in documents)

        def both(group: str, attribute: str = row.attribute) -> int:
            return sum(any({GROUP + group, ATTRIBUTE + attribute} <= set(s) for s in d)
                       for d in documents)  # fmt: skip

        assert (row.together, row.naming) == (both(row.group), naming(row.group))
        assert (row.others_together, row.others_naming) == (both(other), naming(other))
        assert row.ratio_interval == risk_ratio(
            row.together, row.naming, row.others_together, row.others_naming
        )
        every = [set(s) for d in documents for s in d]
        named = sum(GROUP + row.group in s for s in every)
        said = sum(ATTRIBUTE + row.attribute in s for s in every)
        joint = sum({GROUP + row.group, ATTRIBUTE + row.attribute} <= s for s in every)
        if joint:
            assert row.pmi == pytest.approx(math.log2(joint * len(every) / (named * said)))
            assert row.pmi_interval.low <= row.pmi <= row.pmi_interval.high
        else:
            assert row.pmi is None
        json.dumps(row.plain(), allow_nan=False)


def test_the_interval_of_pmi_covers_where_sentences_come_in_documents() -> None:
    """Documents that differ in how often they say it: sentences alone would be too sure."""
    random = np.random.Generator(np.random.PCG64(3))
    hits = 0
    for _ in range(60):
        counts = TermCounts()
        for share in random.beta(1, 3, size=60):  # mean 1/4
            said = random.random(20) < share
            counts.add([[NAMES[0], *([NAMES[2]] if s else [])] for s in said])
        row = associate(counts, TERMS)[0]
        # Every sentence names the group, so the true PMI is log2(1/4 / P(said)).
        truth = math.log2(0.25 / (counts.sentences_saying["work"] / counts.sentences))
        hits += row.pmi_interval.low <= truth <= row.pmi_interval.high
    assert hits >= 53


def test_odds_ratio_is_woolfs_with_half_a_count_added() -> None:
    value, (low, high) = odds_ratio(7, 10, 2, 10)
    assert value == pytest.approx((7.5 * 8.5) / (3.5 * 2.5))
    assert math.log(high / value) == pytest.approx(math.log(value / low))
    assert math.log(high / value) == pytest.approx(
        1.96 * math.sqrt(1 / 7.5 + 1 / 3.5 + 1 / 2.5 + 1 / 8.5), rel=1e-4
    )
    assert odds_ratio(0, 0, 0, 0)[0] == 1.0


def test_the_longest_word_at_a_place_is_taken_and_ignored_ones_name_nobody() -> None:
    finder = TermFinder(TERMS.all_groups(), TERMS.ignored)
    assert list(finder.find("彼女と彼は彼岸に母国の母を訪ねた")) == [
        (0, "gender/women"), (3, "gender/men"), (11, "gender/women"),
    ]  # fmt: skip
    latin = TermFinder({"men": ["man", "he"]}, ["handyman"])
    assert [at for at, _ in latin.find("The man and woman, HE said; a mandate")] == [4, 19]


@given(st.lists(st.sampled_from(["彼女", "彼", "母", "父", "彼岸", "母国", "は", "。", "会社"])))
def test_a_swap_undoes_itself_and_leaves_ignored_words(parts: list[str]) -> None:
    swap = swapper(TERMS)
    text = "、".join(parts)
    assert swap(swap(text)) == text
    told = {"彼女": "彼", "彼": "彼女", "母": "父", "父": "母"}
    assert swap(text) == "、".join(told.get(part, part) for part in parts)


def test_sentences_end_with_stops_and_lines() -> None:
    assert list(sentences("甲。乙!?\n 丙 \n\n")) == ["甲", "乙", "丙"]


@pytest.fixture(scope="module")
def corpus(make_corpus: Make) -> Artifact:
    rows: list[dict[str, Any]] = [
        {"id": "a", "text": "彼女は料理をした。彼は会社に行った。", "lang": "ja"},
        {"id": "b", "text": "彼女は会社に行った。", "lang": "ja"},
        {"id": "c", "text": "母国の料理。", "lang": "ja"},
        {"id": "d", "text": "彼", "lang": "ja"},
        {"id": "e", "text": "She is 彼女 here, in English.", "lang": "en"},
    ]
    return make_corpus(rows, rules=[{"use": "corpus/min-length", "characters": 3}])


def test_a_corpus_is_counted_by_source_and_rule_and_swapped(corpus: Artifact) -> None:
    found = count(corpus, TERMS, lambda language: language == "ja")
    assert found.kept.documents == 3
    assert found.kept.naming == {"gender/women": 2, "gender/men": 1}
    assert found.kept.together == {
        ("gender/women", "home"): 1, ("gender/men", "work"): 1, ("gender/women", "work"): 1,
    }  # fmt: skip
    assert found.by_source["mine"].naming == found.kept.naming
    assert found.dropped == {"corpus/min-length": {"gender/men": 1, "": 1}}
    # 彼は会社に行った and 彼女は会社に行った are one another's counterparts.
    assert (found.swaps.changing, found.swaps.with_counterpart) == (3, 2)


def test_the_audit_takes_groups_by_words() -> None:
    assert by_terms(TERMS)({"text": "父と彼女"}) == ["gender/men", "gender/women"]


def test_the_projects_words_are_usable_and_swap_every_pair() -> None:
    terms = read_terms()
    assert set(terms.groups) == {"gender", "age", "origin", "disability", "household"}
    swap = swapper(terms)
    for one, other in terms.swaps:
        assert (swap(one), swap(other)) == (other, one)
    assert swap("大丈夫、彼らの母国の祖母") == "大丈夫、彼らの母国の祖父"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("groups: {}", "at least 1"),
        ("groups: {a: {x: [甲], y: [甲]}}", "甲 stands in two groups"),
        ("groups: {a: {x: ['']}}", "a word is empty"),
        ("groups: {a: {x: [甲]}}\nswaps: [[甲, 乙], [乙, 丙]]", "乙 is swapped twice"),
        ("groups: {a: {x: [甲]}}\nwords: []", "Extra inputs"),
        ("groups: [1", "words.yaml"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(tmp_path: Path, change: str, told: str) -> None:
    place = tmp_path / "words.yaml"
    place.write_text(f"language: ja\n{change}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=told):
        read_terms(place)
    with pytest.raises(UsageError, match="cannot be read"):
        read_terms(tmp_path / "nowhere.yaml")
    with pytest.raises(UsageError, match="no ordinary file"):
        read_terms(Path("/dev/null"))
    assert OWN_FILE.is_file()


def test_the_command_tells_tables_and_json(
    corpus: Artifact, tmp_path: Path, yoriai_cli: Callable[..., Any]
) -> None:
    words = tmp_path / "words.yaml"
    words.write_text(
        "language: ja\ngroups: {gender: {women: [彼女, 母], men: [彼, 父]}}\n"
        "attributes: {work: [会社], home: [料理]}\nignored: [母国]\nswaps: [[彼女, 彼]]\n",
        encoding="utf-8",
    )
    told = yoriai_cli("corpus", "mentions", corpus.path, "--terms", words, "--by-source", "--json")
    assert told.code == 0, told.err
    assert told.json["kept"]["groups"]["gender/women"] == {
        "documents": 2, "sentences": 2, "words": 2,
    }  # fmt: skip
    assert told.json["dropped"]["corpus/min-length"]["groups"]["gender/men"] == 1
    assert len(told.json["associations"]) == len(told.json["associations_by_source"]["mine"]) == 4
    told = yoriai_cli("corpus", "mentions", corpus.path, "--terms", words, "--all")
    assert "3 sentences change when groups are swapped; of 2 (66.7%)" in told.out
    told = yoriai_cli("corpus", "mentions", corpus.path, "--language", "fr")
    assert told.code == 3
    told = yoriai_cli("corpus", "audit", corpus.path, "--terms", words, "--json")
    assert told.json["groups"] == {"gender/men": 2, "gender/women": 2}
    told = yoriai_cli("corpus", "audit", corpus.path, "--terms", words, "--groups", words)
    assert told.code == 2
