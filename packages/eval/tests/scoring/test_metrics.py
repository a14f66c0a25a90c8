"""Metrics against hand cases, plain reimplementations and scipy."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai_eval.scoring import metrics
from yoriai_eval.scoring.metrics import METRICS

# Values of fuzzywuzzy 0.18.0 with python-Levenshtein.
HAND = [
    ("聖武天皇", "聖武", 67),
    ("1,000円", "1000 円", 67),
    ("Étude", "etude", 89),
    ("豊臣 秀吉", "秀吉 豊臣", 100),
    ("YES", "yes", 100),
    ("", "x", 0),
    ("x", "", 0),
    ("", "", 100),
    ("、。", "！", 100),
    ("新宿駅 - 新原町田駅(現・町田駅)", "新原町田駅", 50),
    ("グッド・バイ", "グッドバイ", 91),
    ("a_b", "a b", 67),
]
LETTERS = st.text("abAB 12,.\néßñ²ªあいアｱ漢字・（）Ⅳ①İſΣς_ー　\u0307", max_size=24)


def longest_common_subsequence(one: str, other: str) -> int:
    row = [0] * (len(other) + 1)
    for a in one:
        diagonal = 0
        for j, b in enumerate(other, 1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]


def plain_char_f1(one: str, other: str) -> float:
    """fuzzywuzzy's rule once more, with a table in place of a library."""
    texts = []
    for text in (one, other):
        kept = "".join(c for c in text if not 128 <= ord(c) <= 255)
        kept = "".join(c if re.match(r"\w", c) else " " for c in kept).lower()
        texts.append(" ".join(sorted(kept.split())))
    a, b = texts
    if a == b:
        return 1.0
    if not a or not b:
        return 0.0
    total = len(a) + len(b)
    ratio = 1 - (total - 2 * longest_common_subsequence(a, b)) / total
    return round(100 * ratio) / 100


@pytest.mark.parametrize(("prediction", "gold", "expected"), HAND)
def test_char_f1_has_the_values_of_fuzzywuzzy(prediction, gold, expected):
    assert metrics.char_f1(prediction, [gold]) == expected / 100
    assert metrics.char_f1_pairs([prediction], [gold]) == [expected / 100]
    assert plain_char_f1(prediction, gold) == expected / 100


@given(LETTERS, LETTERS)
@settings(deadline=None)  # the first case imports
def test_char_f1_agrees_with_a_plain_reimplementation(one, other):
    expected = plain_char_f1(one, other)
    assert metrics.char_f1(one, [other]) == expected
    assert metrics.char_f1(other, [one]) == expected
    assert METRICS["char_f1"].each([one, other], [other, one]) == [expected] * 2


def test_halves_of_a_percent_go_to_the_even_neighbour():
    # One letter in common of sixteen: 12.5 percent; three: 37.5; five: 62.5.
    for common, expected in ((1, 12), (3, 38), (5, 62), (7, 88)):
        one, other = "x" * common + "a" * (8 - common), "x" * common + "b" * (8 - common)
        assert metrics.percent(one, other) == expected
        assert metrics.percent_table([one], [other]).tolist() == [[expected]]


def test_the_table_of_all_pairs_holds_what_each_pair_has_alone():
    texts = [metrics.comparable(text) for pair in HAND for text in pair[:2]]
    table = metrics.percent_table(texts, texts)
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            assert table[i, j] == (100 if one == other else metrics.percent(one, other))


def test_several_golds_count_by_the_best():
    assert metrics.char_f1("聖武", ["桓武", "聖武天皇"]) == 0.67
    assert metrics.exact_match("b", ["a", "b"]) == 1.0
    assert metrics.set_f1("b", ["a", "b\na"]) == pytest.approx(2 / 3)


def test_no_answers_score_nothing_and_lists_of_two_lengths_are_refused():
    assert METRICS["char_f1"].whole([], []) == METRICS["exact_match"].whole([], []) == 0.0
    for metric in METRICS.values():
        if metric.form == "generation":
            with pytest.raises(ValueError, match=r"1|shorter"):
                metric.whole(["a"], [])


@pytest.mark.parametrize("prediction", ["Entailment", " entailment", "entailment.", "entail"])
def test_exact_match_knows_case_and_space(prediction):
    assert metrics.exact_match(prediction, ["entailment"]) == 0.0
    assert metrics.exact_match("entailment", ["entailment"]) == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.8", 3.8),
        ("類似度は4です", 4.0),
        ("-3", 3.0),
        ("1 or 2", 12.0),
        ("3.", 3.0),
        (".5", 0.5),
        ("1.5.2", -2.0),
        (".", -2.0),
        ("", -2.0),
        ("四", -2.0),
        ("４", -2.0),  # full width: digits only after NFKC
        ("1e3", 13.0),
    ],
)
def test_a_number_is_what_is_left_of_digits_and_points(text, expected):
    assert metrics.number(text) == expected


NUMBERS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=40
).filter(lambda rows: len({a for a, _ in rows}) > 1 and len({b for _, b in rows}) > 1)


@given(NUMBERS)
@settings(deadline=None)  # the first case imports
def test_correlations_are_those_of_scipy(rows):
    stats = pytest.importorskip("scipy.stats")
    said, golds = ([f"{row[i] / 10}" for row in rows] for i in (0, 1))
    x, y = ([row[i] / 10 for row in rows] for i in (0, 1))
    assert metrics.pearson(said, golds) == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-9)
    assert metrics.spearman(said, golds) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-9)


def test_an_answer_without_a_number_takes_part_as_minus_two():
    said, golds = ["", "1.0", "2.0", "3.0"], ["4.0", "1.0", "2.0", "3.0"]
    expected = np.corrcoef([-2, 1, 2, 3], [4, 1, 2, 3])[0, 1]
    assert metrics.pearson(said, golds) == pytest.approx(expected)


@pytest.mark.parametrize("correlate", [metrics.pearson, metrics.spearman])
def test_a_correlation_that_does_not_exist_is_zero(correlate):
    assert correlate(["0.1"] * 9, [f"{n}" for n in range(9)]) == 0.0
    assert correlate([f"{n}" for n in range(9)], ["0.1"] * 9) == 0.0
    assert correlate(["1"], ["2"]) == correlate([], []) == 0.0
    assert correlate(["一", "二", "三"], ["1", "2", "3"]) == 0.0


def test_an_endless_number_gives_no_correlation_but_still_a_rank():
    said, golds = ["1", "2", "9" * 400], ["1", "2", "3"]
    assert metrics.pearson(said, golds) == 0.0
    assert metrics.spearman(["1", "2", "9" * 200], golds) == pytest.approx(1.0)
    assert math.isfinite(metrics.pearson(["1", "2", "9" * 200], golds))


def test_correlations_are_no_constants():
    """A metric that always gave 0 would pass for a weak model."""
    random = np.random.Generator(np.random.PCG64(1))
    golds = [f"{value:.1f}" for value in random.uniform(0, 5, 500)]
    noise = [f"{value:.1f}" for value in random.uniform(0, 5, 500)]
    for correlate in (metrics.pearson, metrics.spearman):
        assert correlate(golds, golds) == pytest.approx(1.0)
        assert abs(correlate(noise, golds)) < 0.15


def test_set_f1_compares_lines_whatever_their_order():
    assert metrics.set_f1("a\nb\n", ["b\n a "]) == 1.0
    assert metrics.set_f1("a\na\nc", ["a\nb"]) == 0.5
    assert metrics.set_f1("c", ["a"]) == 0.0
    assert metrics.set_f1("", [""]) == 1.0
    assert metrics.set_f1("", ["a"]) == 0.0
    assert metrics.set_f1("a\nb\nc\nd", ["a"]) == pytest.approx(2 * 0.25 * 1 / 1.25)


def test_every_metric_says_what_it_is():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.source
        assert metric.lowest < metric.highest
        assert metric.higher_is_better == (metric.form not in ("gold", "bits-per-byte"))
        assert (metric.sample is None) or (metric.corpus is None)
    with pytest.raises(TypeError, match="pearson is no metric of single answers"):
        METRICS["pearson"]("1", ["1"])
