"""Which sample is seen when: by brute force over small mixtures."""

from collections import Counter
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import UsageError
from yoriai.mixture import build_mixture
from yoriai_train.data import windows as data
from yoriai_train.data.order import Node, Order, _scale, permute, unpermute
from yoriai_train.job import batches
from yoriai_train.settings.strategies import Single

CONTEXT = 8
NAMES = [f"s{n}" for n in range(8)]


def order_of(windows, phases, seed=0):
    shards = {
        name: {"files": [name], "tokens": count * CONTEXT + 1, "documents": 1}
        for name, count in windows.items()
    }
    value = {"tokenizer": "", "vocabulary_size": 9, "end_id": 2, "shards": shards}
    phases = [{"name": f"p{n}", **phase} for n, phase in enumerate(phases)]
    return Order(build_mixture({**value, "phases": phases}), windows, CONTEXT, seed)


WEIGHTS = st.lists(
    st.one_of(st.floats(1e-6, 1.0), st.just(1.0), st.just(0.5)), min_size=1, max_size=8
)
WINDOWS = st.dictionaries(st.sampled_from(NAMES[:4]), st.integers(1, 90), min_size=1)


@st.composite
def orders(draw):
    """Small mixtures of one to three phases, the last with or without an end."""
    windows = draw(WINDOWS)
    phases = []
    for last in [*[False] * draw(st.integers(0, 2)), True]:
        names = draw(st.lists(st.sampled_from(sorted(windows)), min_size=1, unique=True))
        endless = last and draw(st.booleans())
        length = None if endless else draw(st.integers(1, 600 * CONTEXT))
        weights = {name: draw(st.floats(0.01, 1)) for name in names}
        phases.append({"tokens": length, "weights": weights})
    return order_of(windows, phases, draw(st.integers(0, 9)))


# --- permutations and shares --------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**64 - 1))
def test_a_permutation_meets_every_value_once_and_can_be_turned_around(size, key):
    values = [int(permute(np.uint64(v), np.uint64(size), np.uint64(key))) for v in range(size)]
    assert sorted(values) == list(range(size))
    for value, place in enumerate(values):
        assert int(unpermute(np.uint64(place), np.uint64(size), np.uint64(key))) == value


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2**60), st.integers(0, 2**64 - 1), st.data())
def test_a_permutation_of_any_size_can_be_turned_around(size, key, data_of):
    value = data_of.draw(st.integers(0, size - 1))
    place = permute(np.uint64(value), np.uint64(size), np.uint64(key))
    assert 0 <= int(place) < size
    assert int(unpermute(np.uint64(place), np.uint64(size), np.uint64(key))) == value


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**62), st.integers(0, 2**64 - 1))
def test_shares_of_128_bits_are_exact(count, share):
    assert int(_scale(np.uint64(count), np.uint64(share))) == (count * share) >> 64


@settings(max_examples=60, deadline=None)
@given(st.floats(2, 99), st.integers(0, 2**64 - 1), st.integers(1, 60))
def test_a_fork_gives_the_lighter_child_one_place_in_every_cell(length, key, stop):
    node = Node(int(Fraction(length) * 2**64), key, -1, -2)
    light = {node.lot(cell) for cell in range(stop)}
    assert len(light) == stop
    for cell in range(stop):
        assert node.start(cell) <= node.lot(cell) < node.start(cell + 1)
    places = range(node.start(stop))
    heavy = [place for place in places if place not in light]
    assert [node.place_of_heavy(number) for number in range(len(heavy))] == heavy
    before = 0
    for place in places:
        assert node.light_before(place) == before
        before += place in light


# 200 draws of a chi-square with 15 degrees of freedom stay below 55 (p < 4e-6 for each).
@pytest.mark.parametrize("size", [64, 1000, 4096])
def test_a_permutation_is_not_visibly_ordered(size):
    for seed in range(20):
        order = order_of({"s0": size}, [{"weights": {"s0": 1}}], seed)
        _, windows = order.draw(range(size))
        # Where the first and the second half of the windows come, and what follows what.
        cells = np.arange(size) * 4 // size * 4 + windows * 4 // size
        steps = (np.diff(windows, append=windows[0]) % size) * 16 // size
        for seen in (np.bincount(cells, minlength=16), np.bincount(steps, minlength=16)):
            expected = size / 16
            assert ((seen - expected) ** 2 / expected).sum() < 55
        assert (windows == np.arange(size)).sum() < 12  # one is expected to stay in its place


def test_every_arrangement_of_four_windows_comes_up_with_some_seed():
    seen = Counter(
        tuple(order_of({"s0": 4}, [{"weights": {"s0": 1}}], seed).draw(range(4))[1])
        for seed in range(1200)
    )
    assert len(seen) == 24
    assert max(seen.values()) < 3 * min(seen.values())


# --- the mixture ----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(WEIGHTS, st.integers(0, 5), st.integers(1, 800))
def test_after_every_sample_each_shard_has_had_its_share(weights, seed, stop):
    names = NAMES[: len(weights)]
    given_weights = dict(zip(names, weights, strict=True))
    order = order_of(dict.fromkeys(names, 50), [{"weights": given_weights}], seed)
    shard, _ = order.draw(range(stop))
    whole = sum(map(Fraction, weights))
    bound = {1: 0, 2: 1}.get(len(names), 3.4)
    for number, weight in enumerate(weights):
        seen = np.cumsum(shard == number)
        exact = np.arange(1, stop + 1) * float(Fraction(weight) / whole)
        assert np.abs(seen - exact).max() <= bound + 1e-9
    for end in {0, 1, stop // 3, stop}:
        assert np.bincount(shard[:end], minlength=len(names)).tolist() == order.counts(end).tolist()


def test_the_shares_of_llm_jp_are_kept_to_within_two_samples_for_ever():
    # Billions of tokens of LLM-jp-13B v1.0: ja wiki, ja mC4, en wiki, Pile, Stack.
    weights = {"s0": 1.5, "s1": 136, "s2": 5, "s3": 135, "s4": 10}
    order = order_of(dict.fromkeys(weights, 10**9), [{"weights": weights}])
    for stop in [*range(1, 3000), *(k * 10**n + k for n in range(4, 16) for k in (1, 3, 7))]:
        exact = [stop * Fraction(w) / Fraction(287.5) for w in weights.values()]
        for count, share in zip(order.counts(stop), exact, strict=True):
            assert abs(int(count) - share) < 2


def test_no_number_of_ranks_meets_a_pattern():
    order = order_of({"s0": 9, "s1": 9, "s2": 9}, [{"weights": {"s0": 2, "s1": 1, "s2": 1}}])
    shard, _ = order.draw(range(24_000))
    for world in (2, 3, 4, 8):
        for rank in range(world):
            share = (shard[rank::world] == 0).mean()
            assert abs(share - 0.5) < 0.05


def test_a_tiny_shard_is_seen_when_its_time_has_come_and_not_before():
    order = order_of({"s0": 9, "s1": 9}, [{"weights": {"s0": 1, "s1": 1e-5}}])
    shard, _ = order.draw(range(200_000))
    [first, second] = np.flatnonzero(shard == 1)
    assert first < 100_001 <= second  # once in every 100,001 samples


@settings(max_examples=60, deadline=None)
@given(orders())
def test_each_window_is_seen_once_in_every_epoch_whatever_the_phases(order):
    shard, window = order.draw(range(min(order.samples, 1500)))
    for number, size in enumerate(order.windows):
        seen = window[shard == number].tolist()
        for start in range(0, len(seen), size):
            epoch = seen[start : start + size]
            assert len(set(epoch)) == len(epoch)
            assert set(epoch) <= set(range(size))


def test_each_epoch_comes_in_another_order():
    epochs = order_of({"s0": 90}, [{"weights": {"s0": 1}}]).draw(range(450))[1].reshape(5, 90)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_phases_follow_one_another_and_go_on_where_the_last_one_stopped():
    order = order_of(
        {"s0": 100, "s1": 40},
        [
            {"tokens": 60 * CONTEXT, "weights": {"s0": 2, "s1": 1}},
            {"budgets": {"s1": 20 * CONTEXT}},
            {"weights": {"s0": 1}},
        ],
    )
    assert [(span.first, span.samples) for span in order.phases[:2]] == [(0, 60), (60, 20)]
    shard, window = order.draw(range(141))
    assert np.abs(np.bincount(shard[:60]) - [40, 20]).max() <= 1
    assert set(shard[60:80]) == {1}
    assert set(shard[80:]) == {0}
    for number, size in ((0, 100), (1, 40)):  # one epoch of each, over all three phases
        seen = window[shard == number][:size]
        assert len(seen) >= size - 1
        assert len(set(seen)) == len(seen)


@settings(max_examples=40, deadline=None)
@given(orders(), st.data())
def test_find_is_the_inverse_of_draw(order, data_of):
    stop = data_of.draw(st.integers(0, min(order.samples, 900)))
    shard, window = order.draw(range(stop))
    number = data_of.draw(st.integers(0, len(order.names) - 1))
    wanted = data_of.draw(st.integers(0, order.windows[number] - 1))
    seen = np.flatnonzero((shard == number) & (window == wanted)).tolist()
    assert order.find(number, wanted, stop) == seen


@settings(max_examples=40, deadline=None)
@given(orders(), st.data())
def test_a_sample_is_the_same_alone_and_in_any_company(order, data_of):
    limit = min(order.samples, 10**12) - 1
    asked = data_of.draw(st.lists(st.integers(0, limit), max_size=9))
    shard, window = order.draw(asked)
    for index, found in zip(asked, zip(shard, window, strict=True), strict=True):
        assert tuple(values[0] for values in order.draw([index])) == found


def test_a_longer_last_phase_begins_with_every_shorter_one():
    windows, weights = {"s0": 50, "s1": 70, "s2": 30}, {"s0": 2.0, "s1": 1.0, "s2": 0.5}
    endless = order_of(windows, [{"weights": weights}])
    for samples in (1, 255, 1000):
        other = order_of(windows, [{"weights": weights, "tokens": samples * CONTEXT}])
        for one, two in zip(other.draw(range(samples)), endless.draw(range(samples)), strict=True):
            assert (one == two).all()


def test_a_shard_that_joins_leaves_the_order_within_the_others_alone():
    small = order_of({"s1": 60}, [{"weights": {"s1": 1}}])
    large = order_of({"s0": 30, "s1": 60}, [{"weights": {"s0": 0, "s1": 1}}])
    assert (small.draw(range(300))[1] == large.draw(range(300))[1]).all()


def test_another_seed_gives_another_order_of_the_same_windows():
    one, other = (
        order_of({"s0": 90}, [{"weights": {"s0": 1}}], seed).draw(range(90))[1] for seed in (1, 2)
    )
    assert one.tolist() != other.tolist()
    assert sorted(one) == sorted(other)


def test_the_order_is_that_of_the_first_release():
    """Whoever changes it changes what every published model has seen: raise a version."""
    order = order_of({"s0": 1000, "s1": 10}, [{"weights": {"s0": 3, "s1": 1}}], seed=7)
    shard, window = order.draw([0, 1, 2, 3, 255, 256, 10**6, 10**12])
    assert list(zip(shard.tolist(), window.tolist(), strict=True)) == [
        (0, 57),
        (1, 0),
        (0, 717),
        (0, 702),
        (1, 0),
        (0, 365),
        (0, 72),
        (0, 156),
    ]


def test_samples_past_the_end_do_not_exist():
    order = order_of({"s0": 5}, [{"tokens": 10 * CONTEXT, "weights": {"s0": 1}}])
    assert order.samples == 10
    for index in (10, -1):
        with pytest.raises(IndexError, match="samples are numbered 0 to 9"):
            order.draw([index])


def test_a_shard_without_weight_is_left_out_and_one_without_a_window_is_refused():
    order = order_of({"s0": 3, "s1": 0}, [{"weights": {"s0": 1.0, "s1": 0.0}}])
    assert set(order.draw(range(600))[0]) == {0}
    with pytest.raises(UsageError, match="no full window of 8 tokens of text for s1"):
        order_of({"s0": 3, "s1": 0}, [{"weights": {"s0": 1.0, "s1": 1.0}}])


# --- batches ------------------------------------------------------------------------------------


def spec_for(shards, **changes):
    values = {
        "tokens": str(shards.path),
        "examples": "",
        "context": 16,
        "steps": 3,
        "accumulate": 2,
        "batch": 12,
        "seed": 4,
        "boundaries": False,
        "build_strategy": Single,
    }
    return SimpleNamespace(**values | changes)


@pytest.mark.parametrize("world", [2, 3, 4, 6])
def test_the_ranks_together_see_the_batch_of_a_single_process(shards, world):
    spec = spec_for(shards)
    single = batches.maker(spec, 0, 1)
    ranks = [batches.maker(spec, rank, world) for rank in range(world)]
    for number in range(spec.steps * spec.accumulate):
        whole = single(number)
        x, y = whole["input_ids"], whole["targets"]
        parts = [make(number)["input_ids"] for make in ranks]
        together = sorted(row for part in parts for row in part.tolist())
        assert together == sorted(x.tolist())
        assert {len(part) for part in parts} == {spec.batch // world}
        assert (x[:, 1:] == y[:, :-1]).all()


def test_a_batch_depends_on_its_number_alone(shards):
    """What resuming needs, on any number of ranks: no state but one integer."""
    forward, backward = (batches.maker(spec_for(shards, steps=n), 0, 1) for n in (3, 90))
    seen = {number: forward(number)["input_ids"].tolist() for number in range(6)}
    assert {number: backward(number)["input_ids"].tolist() for number in (5, 3, 0, 1, 4, 2)} == seen


def test_a_batch_that_the_ranks_cannot_share_is_refused(shards):
    with pytest.raises(ValueError, match="batch of 12 cannot be shared by 5 processes"):
        batches.maker(spec_for(shards), 0, 5)


def test_a_training_longer_than_the_phases_is_refused_before_it_starts(make, pieces):
    phases = [{"name": "all", "tokens": 1000, "weights": {"ja": 1}}]
    samples = data.Samples(make.tokens(pieces, phases=phases).path, 16, 0)
    samples.check_length(62)
    with pytest.raises(UsageError, match=r"asks for 1,008 tokens.* end after 1,000"):
        samples.check_length(63)


def test_the_order_follows_the_recipe_that_the_file_formats_give():
    """The steps of docs/reference/formats.md, "Order of samples", in plain Python."""
    import hashlib
    import heapq
    from fractions import Fraction

    full, golden = 2**64, 0x9E3779B97F4A7C15
    context, seed = 8, 5
    windows = {"a": 37, "b": 5, "c": 100}
    phases = [
        {"name": "one", "tokens": 400, "weights": {"a": 3, "b": 1, "c": 2}},
        {"name": "two", "weights": {"a": 1, "c": 5}},
    ]

    def key(what):
        return int.from_bytes(hashlib.sha256(f"{seed}/{what}".encode()).digest()[:8], "little")

    def mix(x):
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % full
        x = (x ^ x >> 27) * 0x94D049BB133111EB % full
        return x ^ x >> 31

    def sub(k, n):
        return mix((k + (n + 1) * golden) % full)

    def permutation(value, size, k):
        bits = max(4, (size - 1).bit_length())
        right_bits = bits // 2
        left_mask, right_mask = 2 ** (bits - right_bits) - 1, 2**right_bits - 1
        while True:
            left, right = value >> right_bits, value & right_mask
            for r in range(8):
                salt = (k + r * golden) % full
                if r % 2:
                    right ^= mix(salt ^ left) & right_mask
                else:
                    left ^= mix(salt ^ right) & left_mask
            value = left << right_bits | right
            if value < size:
                return value

    names, forks, roots = list(windows), [], []
    for number, phase in enumerate(phases):
        whole = sum(phase["weights"].values())
        heap = [(Fraction(w, whole), names.index(n), n) for n, w in phase["weights"].items()]
        heapq.heapify(heap)
        while len(heap) > 1:
            (low, one, light), (high, two, heavy) = heapq.heappop(heap), heapq.heappop(heap)
            length = int((low + high) / low * full)
            forks.append((length, sub(key(f"phase/{number}"), len(forks)), light, heavy))
            heapq.heappush(heap, (low + high, min(one, two), len(forks) - 1))
        roots.append(heap[0][2])
    seen, found = dict.fromkeys(names, 0), []
    for index in range(300):
        phase, n = (0, index) if index < 50 else (1, index - 50)
        node = roots[phase]
        while not isinstance(node, str):
            length, k, light, heavy = forks[node]
            cell = next(c for c in range(n + 1) if (c + 1) * length >> 64 > n)
            start, stop = cell * length >> 64, (cell + 1) * length >> 64
            lot = start + (sub(k, cell) * (stop - start) >> 64)
            node, n = (light, cell) if n == lot else (heavy, n - cell - (n > lot))
        epoch, place = divmod(seen[node], windows[node])
        seen[node] += 1
        window = permutation(place, windows[node], sub(key(f"shard/{node}"), epoch))
        found.append((names.index(node), window))
    value = {
        "tokenizer": "", "vocabulary_size": 9, "end_id": 0, "phases": phases,
        "shards": {
            n: {"files": [n], "tokens": w * context + 1, "documents": 1}
            for n, w in windows.items()
        },
    }  # fmt: skip
    drawn = Order(build_mixture(value), windows, context, seed).draw(range(300))
    assert list(zip(*(row.tolist() for row in drawn), strict=True)) == found
