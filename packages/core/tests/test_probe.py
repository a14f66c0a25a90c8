"""The contract of probes: what a measure must say, and why a probe cannot run."""

import pytest

from yoriai import Measured, Probe, ProbedModel, ProbeInputs
from yoriai.probe import _REMEDIES, NEEDS, available_bytes, obstacles, trained_on, unproven


def given(tmp_path, model=None, artifacts=(), tasks=()):
    return ProbeInputs(
        model=model, artifacts=artifacts, tasks=tasks, backend=None, registry=None, seed=0,
        scratch=tmp_path,
    )  # fmt: skip


def probed(made):
    return ProbedModel(name="base", folder=made.path, digest=made.digest, artifact=made)


@pytest.fixture
def line(sealed):
    """A corpus, tokens made of it, a model trained on those; and another corpus."""
    text = sealed("text", "corpus")
    shards = sealed("shards", "tokens", [text])
    base = sealed("base", "model", [shards])
    return text, shards, base, sealed("other", "corpus")


# --- measures ---------------------------------------------------------------------------------


def test_a_share_has_wilsons_interval_and_one_of_few_items_says_why_it_has_none():
    many = Measured.share("found", 8, 10, chance=0.1)
    assert many.interval == pytest.approx((0.4902, 0.9433), abs=1e-4)  # R: binom::binom.wilson
    assert many.above_chance is True
    few = Measured.share("found", 2, 9, note="by hand")
    assert (few.interval, few.note) == (None, "by hand; 9 items are too few for an interval")
    assert few.above_chance is None
    assert Measured.share("found", 0, 0).note == "there were no items"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"value": float("nan"), "note": "x"}, "no finite number"),
        ({"value": 0.5}, "no interval and no note"),
        ({"value": 0.5, "interval": (0.6, 0.7)}, "outside"),
    ],
)
def test_a_measure_that_says_too_little_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Measured(name="m", items=20, **wrong)


# --- what stands in the way -------------------------------------------------------------------


@pytest.mark.parametrize("need", NEEDS)
def test_what_is_missing_is_said_with_what_to_do(tmp_path, need):
    class Wants(Probe):
        needs = (need,)

    [told] = obstacles(Wants(), given(tmp_path))
    assert told in _REMEDIES.values()
    assert "needed" in told


def test_data_that_the_model_was_not_trained_on_is_refused_by_digest(tmp_path, sealed, line):
    text, shards, base, other = line

    class Own(Probe):
        needs = ("corpus",)
        own_data = True

    assert obstacles(Own(), given(tmp_path, probed(base), [text])) == []
    [told] = obstacles(Own(), given(tmp_path, probed(base), [other]))
    assert f"{other.name} ({other.digest[:12]}) is not what r/base@1 was trained on" in told
    assert "yoriai lineage" in told
    index = sealed("index", "index", [text])
    assert trained_on(base, index) is True
    assert trained_on(base, shards) is True


def test_where_the_line_is_broken_nothing_is_claimed(tmp_path, sealed, line):
    text, _, _, other = line
    gone = sealed("late", "model", [text], folders=["nowhere"])
    assert trained_on(gone, other) is None
    # Its own manifest names the digest of what it was made from, wherever that is now.
    assert trained_on(gone, text) is True
    [note] = unproven(probed(gone), [other])
    assert note == "it is not known whether late was trained on r/other@1".replace("late", "base")
    elsewhere = sealed("elsewhere", "model")
    assert trained_on(elsewhere, text) is None
    outside = ProbedModel(name="found", folder=tmp_path, digest="")
    assert unproven(outside, [text]) == ["it is not known whether found was trained on r/text@1"]


def test_a_reason_of_its_own_and_a_lack_of_memory_are_told(tmp_path):
    class Large(Probe):
        def memory_bytes(self, given):
            return 10**18

    class Picky(Probe):
        def obstacle(self, given):
            return "not today"

    [told] = obstacles(Large(), given(tmp_path))
    assert "1000000000.0 GB of memory" in told
    assert available_bytes() > 0
    assert obstacles(Picky(), given(tmp_path)) == ["not today"]
