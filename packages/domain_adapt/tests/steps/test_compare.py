"""Variants side by side: gained and lost, by group and by source, the front, and the curve."""

import json

import pytest

from yoriai import UsageError
from yoriai_domain_adapt.measure import scores
from yoriai_domain_adapt.steps.compare import Compare, replay_curve

from ..conftest import seal

pytest.importorskip("torch")


@pytest.fixture
def asked(make, tmp_path):
    """Base and two variants, and their scores: one gained much and lost much, the other little."""
    corpora = [
        make.corpus(n, ["x"], heldout=[f"{n} {i}" for i in range(8)]) for n in ("sea", "law")
    ]
    models = [make.model(seed=n) for n in range(3)]
    for place, name in zip(models, ("base", "deep", "mild"), strict=True):
        place.manifest["name"] = f"r/{name}@1"
    bits = {"base": (30.0, 20.0), "deep": (20.0, 26.0), "mild": (25.0, 21.0)}
    out = tmp_path / "out"
    out.mkdir()
    with (out / "samples.jsonl").open("w") as stream:
        for model, (sea, law) in bits.items():
            for corpus, value in (("sea", sea), ("law", law)):
                for n in range(8):
                    row = {
                        "model": model, "task": "eval/heldout", "group": f"{corpus}.en",
                        "id": f"{corpus}/{corpus}/heldout-{n}", "bits": value + n % 3, "bytes": 10,
                    }  # fmt: skip
                    stream.write(json.dumps(row) + "\n")
    return [*models, seal(out, tmp_path / "scores", "scores"), *corpora]


def test_what_was_gained_and_lost_is_told_with_its_interval_by_group_and_source(asked, yoriai_job):
    made = yoriai_job("compared", Compare(domain=("sea.en",)), asked)
    deep = made.facts["models"]["deep"]
    assert [(d["group"], d["verdict"]) for d in deep["differences"]] == [
        ("sea.en", "gained"),
        ("law.en", "lost"),
    ]
    # The difference is the same in each document, so the bootstrap has no width.
    assert deep["differences"][0]["interval_of_difference"] == [-1.0, -1.0]
    assert [(d["group"], d["samples"]) for d in deep["by_source"]] == [("law", 8), ("sea", 8)]
    assert made.facts["models"]["mild"]["domain"] == pytest.approx(2.5 + 0.0875, abs=1e-3)


def test_the_first_corpus_is_the_domain_where_none_is_named_and_a_guess_is_told(
    asked, yoriai_job, capsys
):
    *models, scored, sea, law = asked
    made = yoriai_job("one", Compare(), [*models, scored, sea, law])
    assert made.facts["domain"] == ["sea.en"]
    assert "counts as the domain" not in capsys.readouterr().err
    assert yoriai_job("two", Compare(), [*models, scored]).facts["domain"] == ["law.en"]
    assert "law.en counts as the domain" in capsys.readouterr().err


def test_all_three_are_on_the_front_and_a_worse_one_is_not(asked, yoriai_job):
    made = yoriai_job("compared", Compare(domain=("sea.en",)), asked)
    assert made.facts["front_both_ways"] == ["deep", "mild", "base"]
    points = {"a": (1.0, 2.0), "b": (2.0, 1.0), "c": (2.0, 2.0), "d": (1.0, 2.5)}
    assert scores.pareto(points) == ["a", "b"]


def test_a_model_that_was_not_asked_and_a_group_that_is_not_there_are_named(asked, yoriai_job):
    with pytest.raises(UsageError, match="no group 'novels'"):
        yoriai_job("compared", Compare(domain=("novels",)), asked)
    asked[0].manifest["name"] = "r/other@1"
    with pytest.raises(UsageError, match="know no other"):
        yoriai_job("compared2", Compare(), asked)


def test_the_curve_finds_the_bottom_of_a_parabola_and_stays_within_what_was_tried():
    table = {
        f"m{n}": {"domain": 2 + (share - 0.4) ** 2, "general": 1 + (share - 0.4) ** 2}
        for n, share in enumerate((0.0, 0.3, 0.6, 0.9))
    }
    shares = dict(zip(table, (0.0, 0.3, 0.6, 0.9), strict=True))
    told = replay_curve(shares, table, 0.5)
    assert told["fitted_best"] == pytest.approx(0.4, abs=1e-3)
    assert (told["measured_best"], told["predicted_best"]) == (0.3, 0.5)
    rising = {n: {"domain": 2 + s, "general": 1.0} for n, s in shares.items()}
    assert replay_curve(shares, rising, None)["fitted_best"] == 0.0


@pytest.mark.slow
def test_models_are_timed_in_processes_of_their_own(make, tmp_path):
    from yoriai_domain_adapt.measure.speed import measure_speed

    model = make.byte_level("base", ["a text of words"], 262, kind="model")
    told = measure_speed(model.path, ["a text of words"])
    assert set(told) == {"tokens_per_second", "bytes_per_second", "peak_memory_mb"}
    assert all(value > 0 for value in told.values())


@pytest.mark.parametrize(
    ("samples", "verdict"), [(2, "too few samples"), (5, "too few samples"), (6, "lost")]
)
def test_of_a_few_samples_nothing_is_said_however_alike_their_differences_are(samples, verdict):
    def rows(bits):
        return [
            scores.ScoredAnswer("heldout", "a.en", str(n), bits, 10.0, lower_is_better=True)
            for n in range(samples)
        ]

    [found] = scores.compare(rows(20.0), rows(20.001))
    assert found.plain()["verdict"] == verdict
    assert found.plain()["interval_of_difference"] == [0.0001, 0.0001]
