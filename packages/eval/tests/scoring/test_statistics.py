"""Intervals and floors against published values, simulation and counting by hand."""

import gzip
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai_eval.scoring import statistics
from yoriai_eval.scoring.metrics import pearson

# Wilson's interval without continuity correction. 81/263, 15/148, 0/20, 1/29: Newcombe 1998,
# "Two-sided confidence intervals for the single proportion", table I, method 3.
PUBLISHED = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("successes", "count", "low", "high"), PUBLISHED)
def test_wilson_gives_the_published_intervals(successes, count, low, high):
    assert statistics.wilson(successes, count) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_proportion_and_mirrors_failures(count, data):
    successes = data.draw(st.integers(0, count))
    low, high = statistics.wilson(successes, count)
    assert 0 <= low <= successes / count <= high <= 1
    assert statistics.wilson(count - successes, count) == pytest.approx((1 - high, 1 - low))


def test_nothing_asked_says_nothing():
    assert statistics.wilson(0, 0) == (0.0, 1.0)


def test_the_bootstrap_covers_the_true_ratio_about_nineteen_times_in_twenty():
    random, hits, trials = np.random.Generator(np.random.PCG64(1)), 0, 300
    for trial in range(trials):
        sizes = random.integers(50, 150, 80).astype(float)
        bits = sizes * random.normal(2.0, 0.5, 80)
        low, high = statistics.ratio_interval(bits, sizes, trial, draws=400)
        hits += low <= 2.0 <= high
    assert 0.91 <= hits / trials <= 0.98  # 0.95 less the known small-sample loss; sd 0.013


def test_the_bootstrap_is_as_wide_as_the_standard_error_asks():
    random = np.random.Generator(np.random.PCG64(2))
    values = random.normal(3.0, 1.0, 400)
    low, high = statistics.ratio_interval(values, np.ones(400), 5, draws=4000)
    error = values.std(ddof=1) / math.sqrt(400)
    assert (high - low) / (2 * statistics.Z95) == pytest.approx(error, rel=0.06)


def test_the_bootstrap_depends_on_the_seed_only():
    values, sizes = [1.0, 2.0, 5.0], [1.0, 1.0, 2.0]
    one, same, other = (statistics.ratio_interval(values, sizes, s) for s in (1, 1, 2))
    assert one == same
    assert one != other or one == statistics.ratio_interval(values, sizes, 3)


def test_no_interval_is_without_width():
    """One item, items all alike, and correlations of texts that are all alike."""
    # 9.68: Wall, Boen and Tweedie 2001, table 1, of 95 % from one observation of a normal mean.
    # Alike but for rounding: no draw has a spread to be measured in.
    sizes = [float(n) for n in range(40, 60)]
    rounded = [round(n * 2.885390082, 6) for n in sizes]
    low, high = statistics.ratio_interval(rounded, sizes, 0)
    assert (low, high) == pytest.approx(statistics.ratio_interval([n * 2.885390082 for n in sizes],
                                                                  sizes, 0), rel=1e-6)  # fmt: skip
    assert low < 2.8853 < high
    assert statistics.ratio_interval([100.0], [50.0], 0) == pytest.approx((0.0, 2 * 10.68))
    two = statistics.ratio_interval([100.0, 110.0], [50.0, 40.0], 0)
    assert statistics.ratio_interval([100.0], [50.0], 0)[1] > two[1]
    for numbers in ([2.0] * 9, [0.0], [0.0] * 3, [-1.0] * 4, [3.0, 3.0]):
        low, high = statistics.ratio_interval(numbers, [4.0] * len(numbers), 0)
        assert low < sum(numbers) / (4 * len(numbers)) < high or (low, numbers[0]) == (0.0, 0.0)
        assert high > low
    for count in (1, 2, 9):
        for names in ((), ["c"] * count):
            low, high = statistics.ratio_interval([2.0] * count, [4.0] * count, 0, clusters=names)
            assert high > low
            low, high = statistics.difference_interval([0.5] * count, names, [1.0] * count)
            assert low < 0.5 < high
            low, high = statistics.difference_interval([0.0] * count, names, [1.0] * count)
            assert low < 0 < high
    same = list("123451234")
    for count in (1, 3, 9):
        low, high = statistics.paired_interval(pearson, ["3"] * count, same[:count], 0)
        assert low < 0 < high
    (low, high), _, _ = statistics.compare_wholes(pearson, same, same, same, 0, draws=50)
    assert low < 0 < high


def test_the_interval_from_one_observation_covers_nineteen_in_twenty():
    """Of normal means at any distance from 0, in units of the spread: never less than 95 %."""
    random = np.random.Generator(np.random.PCG64(7))
    for mean in (0.0, 0.1, 0.5, 1.0, 3.0, 10.0):
        seen = random.normal(mean, 1.0, 40_000)
        covered = np.abs(seen - mean) <= statistics.ONE * np.abs(seen)
        assert covered.mean() > 0.947


def test_gzip_counts_the_bytes_of_the_compressed_texts():
    texts = ["ファイルを開く。" * 20, "abc"]
    data = "\n".join(texts).encode()
    assert gzip.decompress(gzip.compress(data, 9, mtime=0)) == data
    expected = 8 * len(gzip.compress(data, 9, mtime=0)) / len(data)
    assert statistics.gzip_bits_per_byte(texts) == expected
    assert statistics.gzip_bits_per_byte(["a" * 10_000]) < 0.05


@given(
    st.lists(st.text("abcあい", max_size=12), max_size=4),
    st.lists(st.text("abcあいう漢", max_size=12), min_size=1, max_size=4),
)
def test_the_unigram_floor_is_the_sum_over_characters(training, texts):
    seen = "".join(training)
    classes = len(set(seen)) + 1
    bits = size = 0.0
    for character in "".join(texts):
        probability = (seen.count(character) + 1) / (len(seen) + classes)
        if character not in seen:
            probability *= 2.0 ** (-8 * len(character.encode()))
        bits -= math.log2(probability)
        size += len(character.encode())
    expected = bits / max(1, size)
    assert statistics.unigram_bits_per_byte(training, texts) == pytest.approx(expected)


def test_the_unigram_probabilities_sum_to_one():
    training = ["abracadabra"]
    cost = {c: statistics.unigram_bits_per_byte(training, [c]) for c in "abrcd"}
    unseen = statistics.unigram_bits_per_byte(training, ["z"]) - 8
    assert sum(2.0**-bits for bits in [*cost.values(), unseen]) == pytest.approx(1.0)


# --- what intervals promise ---------------------------------------------------------------

TRIALS = 400


def covered(truth, draw, trials=TRIALS):
    """In how many trials of a hundred an interval holds the truth."""
    random = np.random.Generator(np.random.PCG64(20))
    intervals = [draw(random, trial) for trial in range(trials)]
    return 100 * sum(low - 1e-12 <= truth <= high + 1e-12 for low, high in intervals) / trials


def drawn_clusters(random, count, mean, correlation):
    """Right answers whose chance varies by cluster: beta-binomial, of that correlation."""
    strength = (1 - correlation) / correlation
    sizes = random.integers(1, 9, count)
    chances = random.beta(mean * strength, (1 - mean) * strength, count)
    places = np.repeat(np.arange(count), sizes)
    return (random.random(len(places)) < chances[places]).astype(float), places


@pytest.mark.parametrize(
    ("count", "mean", "correlation"),
    [(10, 0.5, 0.3), (10, 0.9, 0.3), (30, 0.6, 0.1), (60, 0.25, 0.5), (60, 0.8, 0.02)],
)
def test_the_interval_of_clustered_answers_covers_the_truth(count, mean, correlation):
    def draw(random, trial):
        values, places = drawn_clusters(random, count, mean, correlation)
        return statistics.mean_interval(values.tolist(), [f"c{p}" for p in places], trial)

    assert 92 <= covered(mean, draw) <= 98.5


def test_taking_clustered_answers_as_independent_would_not_cover():
    def draw(random, trial):
        values, _ = drawn_clusters(random, 30, 0.5, 0.5)
        return statistics.mean_interval(values.tolist(), [""] * len(values), trial)

    assert covered(0.5, draw) < 85  # so the test above can fail


@pytest.mark.parametrize("count", [30, 200])
def test_the_interval_of_independent_scores_covers_the_truth_if_they_are_skewed_too(count):
    def right(random, trial):
        values = (random.random(count) < 0.7).astype(float)
        return statistics.mean_interval(values.tolist(), [""] * count, trial)

    def part(random, trial):
        values = np.where(random.random(count) < 0.6, 0.0, random.beta(2, 1, count))
        return statistics.mean_interval(values.tolist(), [""] * count, trial)

    def rare(random, trial):
        return statistics.mean_interval(random.beta(0.2, 2, count).tolist(), [""] * count, trial)

    assert 92 <= covered(0.7, right) <= 98
    assert 92 <= covered(0.4 * 2 / 3, part) <= 98
    assert 92 <= covered(0.2 / 2.2, rare) <= 98


def test_bits_per_byte_of_skewed_texts_are_covered_alone_and_in_clusters():
    def alone(random, trial):
        sizes = random.lognormal(5, 0.7, 60)
        bits = sizes * random.gamma(9, 2 / 9, 60)
        return statistics.ratio_interval(bits.tolist(), sizes.tolist(), trial, draws=500)

    def together(random, trial):
        places = np.repeat(np.arange(30), 4)
        sizes = random.lognormal(5, 0.7, 120)
        bits = sizes * random.gamma(9, 2 / 9, 30)[places] * random.gamma(20, 0.05, 120)
        names = [f"c{p}" for p in places]
        return statistics.ratio_interval(bits.tolist(), sizes.tolist(), trial, 500, names)

    def few(random, trial):
        sizes = random.lognormal(5, 0.3, 6)
        return statistics.ratio_interval(sizes * random.gamma(9, 2 / 9, 6), sizes, trial)

    assert 92 <= covered(2.0, alone) <= 98
    assert 92 <= covered(2.0, together) <= 98
    assert 92 <= covered(2.0, few) <= 98


@pytest.mark.parametrize(("count", "first", "second"), [(100, 0.15, 0.05), (400, 0.05, 0.05)])
def test_the_interval_of_a_difference_covers_the_truth(count, first, second):
    def draw(random, trial):
        where = random.random(count)
        values = (where < first).astype(float) - (where > 1 - second)
        return statistics.difference_interval(values.tolist())

    assert 92 <= covered(first - second, draw) <= 98


def test_the_interval_of_a_difference_covers_the_truth_in_clusters():
    def draw(random, trial):
        sizes = random.integers(1, 8, 12)
        chance = np.repeat(random.uniform(0.2, 0.7, 12), sizes)
        gain = np.repeat(random.uniform(0.0, 0.2, 12), sizes)
        one = random.random(len(chance)) < chance + gain
        values = one.astype(float) - (random.random(len(chance)) < chance)
        names = [f"c{p}" for p in np.repeat(np.arange(12), sizes)]
        return statistics.difference_interval(values.tolist(), names)

    assert 92 <= covered(0.1, draw) <= 98


def test_the_bootstrap_of_a_correlation_covers_the_truth():
    def pearson(one, other):
        return float(np.corrcoef(one, other)[0, 1])

    def draw(random, trial):
        x = random.normal(size=100)
        y = 0.7 * x + math.sqrt(0.51) * random.normal(size=100)
        return statistics.paired_interval(pearson, x.tolist(), y.tolist(), trial, draws=100)

    assert 90 <= covered(0.7, draw, 150) <= 98  # percentiles of 100 draws fall a little short


def test_the_spread_of_bootstrapped_means_is_the_standard_error():
    # An estimate divided by the square root of the draws once more would be 30 times too small.
    random = np.random.Generator(np.random.PCG64(4))
    values = random.normal(3.0, 1.0, 300).tolist()
    low, high = statistics.paired_interval(
        lambda chosen, _: sum(chosen) / len(chosen), values, values, 1, draws=2000
    )
    error = np.std(values, ddof=1) / math.sqrt(300)
    assert statistics.standard_error(values) == pytest.approx(error)
    assert (high - low) / (2 * statistics.Z95) == pytest.approx(error, rel=0.07)


def test_the_standard_error_between_clusters_is_that_of_their_means_if_they_are_alike_in_size():
    random = np.random.Generator(np.random.PCG64(5))
    values = random.normal(size=(20, 6)) + random.normal(size=(20, 1))
    names = [f"c{n}" for n in range(20) for _ in range(6)]
    expected = values.mean(axis=1).std(ddof=1) / math.sqrt(20)
    assert statistics.standard_error(values.ravel().tolist(), names) == pytest.approx(expected)


def test_an_interval_of_scores_that_are_all_alike_has_a_width():
    low, high = statistics.mean_interval([1.0] * 12, [f"c{n // 4}" for n in range(12)], 0)
    assert high == 1.0
    assert low < statistics.wilson(12, 12)[0]  # three clusters know less than twelve questions
    low, high = statistics.mean_interval([0.5] * 9, [""] * 9, 0)
    assert 0 < low < 0.5 < high < 1
    assert statistics.difference_interval([0.0] * 50)[0] < 0
    assert statistics.mean_interval([], [], 0) == (0.0, 1.0)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=30), st.data())
def test_the_interval_of_a_mean_holds_it_and_stays_between_0_and_1(values, data):
    names = data.draw(
        st.lists(st.sampled_from(["", "x", "y"]), min_size=len(values), max_size=len(values))
    )
    low, high = statistics.mean_interval(values, names, 0)
    assert 0 <= low <= sum(values) / len(values) <= high <= 1


def test_students_t_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for freedom in [*range(1, 13), 40, 1000]:
        expected = stats.t.ppf(0.975, freedom)
        assert statistics.student_t(freedom) == pytest.approx(expected, rel=1e-5)


# --- paired tests -------------------------------------------------------------------------


def pairs_of(both, first, second, neither):
    ones = [1.0] * both + [1.0] * first + [0.0] * second + [0.0] * neither
    others = [1.0] * both + [0.0] * first + [1.0] * second + [0.0] * neither
    return ones, others


def test_mcnemar_sees_what_a_test_of_two_separate_scores_does_not():
    # EleutherAI/lm-evaluation-harness, pull request 3868: n = 220, unpaired p .080, McNemar .008.
    ones, others = pairs_of(110, 30, 12, 68)
    error = math.hypot(statistics.standard_error(ones), statistics.standard_error(others))
    z = (np.mean(ones) - np.mean(others)) / error
    assert math.erfc(z / math.sqrt(2)) == pytest.approx(0.080, abs=5e-4)
    assert statistics.mcnemar(ones, others) == pytest.approx(0.008, abs=5e-4)


@pytest.mark.parametrize(
    ("table", "p"),
    [  # statsmodels 0.15.0, mcnemar(exact=True); the second table is Agresti's, 1990, p. 350
        ((10, 12, 2, 20), 0.012939453125),
        ((101, 121, 59, 33), 4.4344492637551645e-06),
        ((5, 0, 0, 5), 1.0),
        ((0, 6, 0, 0), 0.03125),
    ],
)
def test_mcnemar_gives_the_values_of_statsmodels(table, p):
    assert statistics.mcnemar(*pairs_of(*table)) == pytest.approx(p, rel=1e-12)


def test_mcnemar_is_of_right_and_wrong_only():
    with pytest.raises(ValueError, match="0 or 1"):
        statistics.mcnemar([0.5], [1.0])


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_sign_test_is_the_binomial_test_and_the_permutation_of_single_signs(above, below):
    stats = pytest.importorskip("scipy.stats")
    differences = [0.3] * above + [-0.7] * below + [0.0] * 5
    expected = stats.binomtest(above, above + below).pvalue if above + below else 1.0
    assert statistics.sign_test(differences) == pytest.approx(expected)
    alike = [1.0] * above + [-1.0] * below + [0.0] * 5
    assert statistics.permutation_test(alike) == pytest.approx(expected)


def by_enumeration(differences, clusters):
    places = statistics.cluster_places(clusters) if any(clusters) else range(len(differences))
    sums = {}
    for place, difference in zip(places, differences, strict=True):
        sums[int(place)] = sums.get(int(place), 0.0) + difference
    seen = abs(sum(sums.values()))
    flips = np.array(np.meshgrid(*[[-1, 1]] * len(sums))).reshape(len(sums), -1)
    return float(np.mean(np.abs(np.array(list(sums.values())) @ flips) >= seen - 1e-9))


@given(
    st.lists(st.tuples(st.integers(-100, 100), st.sampled_from("abcdefg")), min_size=1),
    st.sampled_from([1, 100, 7]),
)
def test_the_permutation_test_counts_every_way_to_flip_the_clusters(rows, unit):
    differences, clusters = [n / unit for n, _ in rows], [c for _, c in rows]
    expected = by_enumeration(differences, clusters)
    assert statistics.permutation_test(differences, clusters) == pytest.approx(expected)


def test_the_permutation_test_by_draws_comes_near_the_exact_one_and_is_never_0():
    random = np.random.Generator(np.random.PCG64(8))
    whole = random.integers(-3, 5, 60)
    exact = statistics.permutation_test(whole.astype(float).tolist())
    drawn = statistics.permutation_test((whole * math.pi).tolist(), seed=1)
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 9999) + 1e-4)
    assert statistics.permutation_test([math.pi] * 60, draws=99) == 1 / 100
    assert statistics.permutation_test((whole * math.pi).tolist(), seed=1) == drawn


def test_a_paired_test_is_wrong_as_often_as_it_says():
    random, found = np.random.Generator(np.random.PCG64(9)), 0
    for _ in range(TRIALS):
        places = np.repeat(np.arange(25), 3)
        differences = np.rint(2 * random.normal(size=25)[places] + random.normal(size=75))
        names = [f"c{p}" for p in places]
        found += statistics.permutation_test(differences.tolist(), names) <= 0.05
    assert 2 <= 100 * found / TRIALS <= 8


def test_two_correlations_differ_if_one_model_knows_more():
    random = np.random.Generator(np.random.PCG64(10))

    def pearson(one, other):
        return float(np.corrcoef(one, other)[0, 1])

    gold = random.normal(size=80)
    near, far = gold + 0.3 * random.normal(size=80), gold + 3 * random.normal(size=80)
    (low, high), p, error = statistics.compare_wholes(pearson, near, far, gold, 0, draws=300)
    seen = pearson(near, gold) - pearson(far, gold)
    assert 0 < low < seen < high
    assert p < 0.01
    assert (high - low) / (2 * statistics.Z95) == pytest.approx(error, rel=0.25)
    assert statistics.compare_wholes(pearson, near, near, gold, 0, draws=50)[1] == 1.0


def test_an_effect_that_is_said_to_be_detectable_is_detected_in_four_of_five_cases():
    random, found = np.random.Generator(np.random.PCG64(11)), 0
    deviation, count = 0.6, 200
    effect = statistics.minimum_detectable_effect(deviation / math.sqrt(count))
    assert effect == pytest.approx((1.959964 + 0.841621) * deviation / math.sqrt(count), rel=1e-6)
    for _ in range(TRIALS):
        low, high = statistics.difference_interval(
            random.normal(effect, deviation, count).clip(-1, 1).tolist()
        )
        found += low > 0 or high < 0
    assert 73 <= 100 * found / TRIALS <= 86


def test_corrections_give_the_values_of_statsmodels():
    # The 25 p values of Garcia-Arenzana et al. 2014; statsmodels 0.15.0, multipletests.
    values = [
        0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216, 0.222, 0.251, 0.269,
        0.275, 0.34, 0.341, 0.384, 0.569, 0.594, 0.696, 0.762, 0.94, 0.942, 0.975, 0.986,
    ]  # fmt: skip
    holm = [0.025, 0.192, 0.897, 0.902, 0.902, *[1.0] * 20]
    bh = [
        0.025, 0.1, 0.21, 0.21, 0.21, 0.25, 0.264286, *[0.491071] * 7, 0.532812, 0.532812,
        0.564706, 0.781579, 0.781579, 0.87, 0.907143, *[0.986] * 4,
    ]  # fmt: skip
    assert statistics.holm(values) == pytest.approx(holm, abs=1e-6)
    assert statistics.benjamini_hochberg(values) == pytest.approx(bh, abs=1e-6)
    shuffled = values[::-1]
    assert statistics.holm(shuffled) == pytest.approx(holm[::-1], abs=1e-6)
    assert statistics.benjamini_hochberg(shuffled) == pytest.approx(bh[::-1], abs=1e-6)
    assert statistics.holm([]) == []
