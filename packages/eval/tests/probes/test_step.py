"""The step eval/probe: what runs, what cannot, what raises, and that nothing of it is silent."""

import json
from typing import ClassVar

import pytest

from yoriai import Figure, Measured, Probe, ProbeResult, UsageError, Validation, YoriaiError
from yoriai_eval.probes import sections
from yoriai_eval.probes.step import ProbeStep, early_weights, rows_of

RIGHT = Validation(how="planted", holds=True, says="all 10 of 10 were found")


class Counting(Probe):
    """Counts the files of a model."""

    needs = ("model",)
    limits: ClassVar[dict[str, str]] = {"en": "It counts files only.", "ja": "数えるだけです。"}
    source: ClassVar[str] = "Tally 1900"

    def run(self, given):
        names = sorted(path.name for path in given.the_model().folder.iterdir())
        return ProbeResult(
            measures=[Measured.share("json", sum(n.endswith("json") for n in names), len(names))],
            validation=RIGHT,
            rows=({"name": name, "third": 1 / 3} for name in names),
            figures=[
                Figure(kind="bar", title="Files", x_label="", y_label="", series={"n": [("a", 1)]})
            ],
        )


class Raising(Probe):
    """Raises."""

    def run(self, given):
        raise ZeroDivisionError("a\nb")


class Wanting(Probe):
    """Needs what nobody gave."""

    needs = ("checkpoints",)


def named(probe, name):
    probe._entry = f"test/{name}"
    return probe


@pytest.fixture
def build():
    def step(*probes, **options):
        named_probes = [named(p, type(p).__name__.lower()) for p in probes]
        return ProbeStep(probes=named_probes, **options)

    return step


def test_what_cannot_run_or_raises_is_told_and_the_others_go_on(build, make, yoriai_job, capsys):
    step = build(Raising(), Wanting(), Counting())
    made = yoriai_job("looks", step, [make.stub("base"), make.stub("tuned")])
    found = made.facts["probes"]
    assert found["test/raising"] == {"": {"state": "raised", "reasons": ["ZeroDivisionError: a b"]}}
    for name in ("base", "tuned"):
        told = found["test/wanting"][name]
        assert told["state"] == "not run"
        assert "checkpoint: {early: true}" in told["reasons"][0]
        assert found["test/counting"][name]["state"] == "ran"
        assert [row["third"] for row in rows_of(made, "test/counting", name)] == [0.333333] * 2
    err = capsys.readouterr().err
    # What cannot run is said before anything runs.
    assert err.index("test/wanting of base is not run") < err.index("test/raising raised")
    measure = found["test/counting"]["base"]["measures"]["json"]
    assert (measure["value"], measure["interval"]) == (1.0, None)
    assert measure["note"] == "2 items are too few for an interval"
    assert json.loads((made.path / "probes.json").read_bytes())["probes"] == found


def test_nothing_is_begun_where_no_probe_can_run(build, make, yoriai_job):
    with pytest.raises(UsageError, match="earlier checkpoints are needed"):
        yoriai_job("looks", build(Wanting()), [make.stub()])
    with pytest.raises(UsageError, match="named twice"):
        yoriai_job("again", build(Counting(), Counting()), [make.stub()])
    with pytest.raises(YoriaiError, match="ZeroDivisionError"):
        yoriai_job("more", build(Raising()), [make.stub()])


def test_what_was_found_before_an_interruption_is_not_looked_for_again(
    build, make, yoriai_job, monkeypatch, tmp_path
):
    model = make.stub()

    def killed(self, given):
        raise KeyboardInterrupt

    monkeypatch.setattr(Raising, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        yoriai_job("looks", build(Counting(), Raising()), [model])
    (tmp_path / "looks.out").rename(tmp_path / "first.out")
    scratch = tmp_path / "looks.work"
    assert (scratch / "test.counting.base" / "told.json").is_file()
    scratch.rename(tmp_path / "kept")

    from yoriai.testing import make_artifact

    whole = yoriai_job("whole", build(Counting()), [model])
    monkeypatch.setattr(Counting, "run", killed)
    monkeypatch.setattr("pathlib.Path.mkdir", _mkdir_over(tmp_path))
    resumed = make_artifact(build(Counting()), tmp_path / "resumed", [model], None)
    assert resumed.facts["probes"] == whole.facts["probes"]
    files = {n: f["sha256"] for n, f in resumed.manifest["files"].items()}
    assert files == {n: f["sha256"] for n, f in whole.manifest["files"].items()}


def _mkdir_over(tmp_path):
    """The scratch folder of the second run is that of the first."""
    from pathlib import Path

    real = Path.mkdir

    def mkdir(self, *words, **options):
        if self.name == "resumed.work" and (tmp_path / "kept").is_dir():
            return (tmp_path / "kept").rename(self)
        return real(self, *words, **options)

    return mkdir


def test_the_page_has_a_section_with_the_verdict_the_limits_and_a_plot(build, make, yoriai_job):
    made = yoriai_job("looks", build(Counting(), Raising()), [make.stub()])
    shown, absent = sections.describe(made)
    assert shown.title == "test/counting: base"
    assert "Its validation holds." in shown.text
    assert "all 10 of 10 were found" in shown.text
    assert "It counts files only. 数えるだけです。" in shown.text
    assert "Tally 1900" in shown.text
    assert shown.tables[0].rows[0][0] == "json"
    assert list(shown.figures[0].series["n"]) == [("a", 1)]
    assert absent.tables[0].rows == [("test/raising", "", "raised", "ZeroDivisionError: a b")]


def test_earlier_weights_are_found_in_order_of_step(tmp_path):
    for name in ("step-0000010", "step-0000002", "part-0000003", "step-x"):
        (tmp_path / "checkpoints" / name / "model").mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "model" / "config.json").write_text("{}")
    (tmp_path / "checkpoints" / "step-0000001").mkdir()
    assert [step for step, _ in early_weights(tmp_path)] == [2, 10]
    assert early_weights(tmp_path / "nowhere") == []


def test_a_model_from_elsewhere_is_looked_into_by_its_folder(build, make, yoriai_job):
    folder = make.stub("x").path
    step = build(Counting(), models={"mine": str(folder)})
    told = yoriai_job("looks", step, []).facts["probes"]["test/counting"]["mine"]
    assert told["state"] == "ran"
    assert len(told["model"]) == 64
    with pytest.raises(UsageError, match="no folder"):
        build(Counting(), models={"mine": "nowhere"}).expect([])
