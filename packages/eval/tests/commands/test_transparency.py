"""One page of what was measured of a model, what was not and why, and what the card quotes."""

import json
import shutil

import pytest
from click.testing import CliRunner

from yoriai import NotFound, UsageError, Validation
from yoriai_eval.commands import transparency as command
from yoriai_eval.report import transparency as report

pytest.importorskip("torch")
SENTENCES = [
    (f"これは{n}番目の文書で、{n * 7 % 31}という数が書いてあります。" * 4, "ja") for n in range(30)
]


@pytest.fixture
def context(yoriai_registry):
    class Shared:
        registry = yoriai_registry

    return Shared()


@pytest.fixture
def quick(monkeypatch):
    """Validations that train tiny models are left out."""
    from yoriai_eval.probes.membership import Membership

    left_out = Validation(how="a tiny model", holds=None, says="left out here")
    monkeypatch.setattr(Membership, "_validation", lambda self, seed: left_out)


def ask(context, *words):
    done = CliRunner().invoke(command.transparency, [str(w) for w in words], obj=context)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.mark.slow
def test_what_fits_is_measured_what_raises_is_told_and_the_rest_says_why(
    make, context, quick, tmp_path, monkeypatch
):
    from yoriai_eval.probes.extraction import Extraction

    def broken(self, given):
        raise ZeroDivisionError("a broken probe")

    monkeypatch.setattr(Extraction, "run", broken)
    monkeypatch.setattr(Extraction, "obstacle", lambda self, given: "")
    model, corpus = make.model(), make.corpus("text", SENTENCES, SENTENCES[:12])
    out = tmp_path / "out"
    names = ("extraction", "membership", "attribution")
    probes = [word for name in names for word in ("--probe", f"eval/{name}")]
    done = ask(context, model.path, "--with", corpus.path, "--out", out, *probes, "--json")
    told = json.loads(done.stdout)
    assert told == json.loads((out / "transparency.json").read_text())
    assert [row["probe"] for row in told["measured"]] == ["eval/membership"]
    (row,) = told["measured"]
    auc = next(m for m in row["measures"] if m["name"] == "AUC loss")
    assert auc["interval"][0] <= auc["value"] <= auc["interval"][1]
    assert (auc["floor"], auc["items"]) == (0.5, 42)
    assert row["limits"]["ja"]
    assert row["limits"]["en"]
    assert any("not known whether" in note for note in row["notes"])
    why = {row["probe"]: (row["state"], row["why"][0]) for row in told["not_measured"]}
    assert why["eval/extraction"] == ("raised", "ZeroDivisionError: a broken probe")
    assert why["eval/attribution"][0] == "not run"
    assert "checkpoint: {early: true}" in why["eval/attribution"][1]
    assert why["eval/poison-drill"][0] == "not asked"
    # What cannot run, and what lessens a result, is said before anything starts.
    err = done.stderr
    assert err.index("eval/attribution of base is not run") < err.index("eval/extraction of base r")
    assert err.index("it is not known whether base was trained") < err.index("extraction of base r")
    page = (out / "index.html").read_text()
    for words in ("Not measured, and why · 測らなかったものと理由", "a broken probe", "手法の限界",
                  "eval/membership: base", "beside the floor"):  # fmt: skip
        assert words in page, words


def test_data_is_found_by_the_line_of_the_model_and_a_folder_has_none(
    make, context, quick, tmp_path
):
    model = make.model()
    folder = tmp_path / "Mine"
    shutil.copytree(model.path, folder)
    (folder / "artifact.json").unlink()
    with pytest.raises(UsageError, match="a corpus is needed"):
        ask(context, folder, "--out", tmp_path / "out", "--probe", "eval/membership")


def test_what_is_no_model_or_no_probe_is_refused_with_a_remedy(make, context, tmp_path):
    corpus = make.corpus("text", SENTENCES, SENTENCES)
    with pytest.raises(UsageError, match="is a corpus, not a model"):
        ask(context, corpus.path, "--out", tmp_path / "out")
    with pytest.raises(NotFound, match="no folder"):
        ask(context, tmp_path / "nowhere", "--out", tmp_path / "out")
    with pytest.raises(NotFound, match="no probe eval/nonsense"):
        ask(context, make.stub().path, "--probe", "eval/nonsense", "--out", tmp_path / "out")


def test_an_interval_is_above_below_or_not_told_apart_from_its_floor():
    assert report.beside_floor((0.6, 0.7), 0.5) == "above"
    assert report.beside_floor((0.3, 0.4), 0.5) == "below"
    assert report.beside_floor((0.4, 0.6), 0.5) == "not told apart"
    assert report.beside_floor((0.5, 0.6), 0.5) == "not told apart"
    assert report.beside_floor(None, 0.5) == report.beside_floor((0.1, 0.2), None) == ""


def test_markup_in_what_a_probe_says_is_text_on_the_page():
    measure = {"name": "<i>x</i>", "value": 0.5, "interval": None, "floor": None,
               "beside_floor": "", "items": 1, "note": "<b>few</b>"}  # fmt: skip
    told = {
        "models": ["<script>alert(1)</script>"],
        "measured": [{"probe": "a/b", "model": "m", "measures": [measure] * 14,
                      "validation": {"holds": None, "how": "", "says": ""}, "limits": {}}],
        "scores": [],
        "not_measured": [{"probe": "c/d", "model": "", "state": "raised", "why": ["<img src=x>"]}],
    }  # fmt: skip
    from yoriai import page

    text = page.render("t", list(report.summary(told)))
    assert not any(mark in text for mark in ("<script>", "<i>x", "<b>few", "<img"))
    assert "6 more below" in text
    assert "No validation failed." in text
    told["measured"][0]["validation"]["holds"] = False
    text = page.render("t", list(report.summary(told)))
    assert "The validation of a/b does not hold" in text
