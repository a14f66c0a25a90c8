"""Calibration and abstention on the page of a report, from the rows of scores alone."""

import json
import math

import numpy as np
import pytest

from yoriai import artifact
from yoriai_eval.report import reliability, write


def ranked(number, likelihoods, right, *, model="base", task="eval/jamp", split="test", **more):
    return {
        "model": model, "task": task, "form": "ranked", "id": f"{split}/{number}", "group": "",
        "prompt_sha256": "0" * 64, "shots": 4, "likelihoods": likelihoods, "output": "含意",
        "picked": {"sum": 0}, "reason": "correct" if right else "wrong",
        "scores": {"accuracy": float(right)}, "score": float(right), **more,
    }  # fmt: skip


def written(number, answer, reason):
    return {
        "model": "base", "task": "eval/jamp", "form": "generation", "id": f"test/{number}",
        "group": "", "prompt_sha256": "0" * 64, "output": answer, "ended": "end",
        "answer": answer, "reason": reason, "scores": {"exact_match": float(reason == "correct")},
        "score": float(reason == "correct"),
    }  # fmt: skip


def two_choices(seed, count, sharpened=1.0, **more):
    """Rows of a model whose probabilities are true, but for being sharpened."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        sure = draw.uniform(0.5, 0.99)
        odds = sharpened * math.log(sure / (1 - sure))
        rows.append(ranked(number, [-1.0, -1.0 - odds], draw.random() < sure, **more))
    return rows


@pytest.fixture
def sealed(tmp_path):
    numbers = iter(range(99))

    def make(rows, split="test"):
        out = tmp_path / f"out{next(numbers)}"
        out.mkdir()
        (out / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        task = {"metric": "accuracy", "score": 0.5, "interval": [0.4, 0.6], "samples": len(rows),
                "reasons": {}, "metrics": {"accuracy": 0.5}, "floors": {"chance": 0.5}}  # fmt: skip
        models = sorted({row["model"] for row in rows})
        identity = {
            "kind": "scores", "name": f"t/scores{split}@1", "step": "", "config": {}, "code": [],
            "seed": 0, "outside": {}, "inputs": [], "sources": [], "licence": "",
            "facts": {"protocol": "v1.3", "split": split, "limit": 0, "floors": {},
                      "models": {m: {"tasks": {"jamp": task}} for m in models}},
        }  # fmt: skip
        target = tmp_path / "made" / f"scores{next(numbers)}@1"
        return artifact.seal(out, target, identity=identity, circumstances={})

    return make


def test_a_model_that_is_too_sure_is_shown_with_its_temperature(sealed, tmp_path):
    rows = two_choices(0, 600) + two_choices(1, 600, 3.0, model="loud")
    told = write.write([sealed(rows)], tmp_path / "report")
    base, loud = sorted(told["tables"][0]["calibration"], key=lambda one: one["model"])
    assert (base["model"], loud["model"]) == ("base", "loud")
    assert base["ece"] < base["ece_if_calibrated"]["below"]
    assert base["temperature"] == pytest.approx(1, abs=0.25)
    assert loud["ece"] > 0.1 > 2 * loud["ece_after"]
    assert loud["temperature"] == pytest.approx(3, rel=0.25)
    assert loud["ece_if_calibrated"]["p"] < 0.01
    assert loud["temperature_from"] == "halves"
    assert base["aurc"] < base["aurc_chance"]
    assert base["aurc_interval"][0] < base["aurc"] < base["aurc_interval"][1]
    for name, word in (("en.html", "Confidence and calibration"), ("index.html", "確信度と較正")):
        page = (tmp_path / "report" / name).read_text("utf-8")
        assert word in page
        assert f'<td class="n">{100 * loud["confidence"]:.1f}</td>' in page


def test_the_temperature_comes_from_dev_rows_where_they_are_given(sealed, tmp_path):
    test, dev = two_choices(0, 300, 2.0), two_choices(5, 300, 2.0, split="dev")
    told = write.write([sealed(test), sealed(dev, "dev")], tmp_path / "report")
    of = {table["split"]: table["calibration"][0] for table in told["tables"]}
    assert of["test"]["temperature_from"] == "dev"
    assert of["dev"]["temperature_from"] == "halves"
    # Rows that are the test's own are no dev rows, whatever the artifact calls them.
    told = write.write([sealed(test), sealed(test, "dev")], tmp_path / "report")
    assert told["tables"][0]["calibration"][0]["temperature_from"] == "halves"


def test_rows_without_likelihoods_are_left_out_and_counted(sealed, tmp_path):
    rows = two_choices(0, 40)
    rows += [ranked(100, [], False, reason="errored"), ranked(101, [-1.0], True)]
    rows += [ranked(102, [-1.0, "x"], True), ranked(103, None, True)]
    rows += [ranked(104, [-1.0, -2.0], True, scores={})]
    rows += [ranked(105, [float("nan"), -2.0], True)]
    [told] = write.write([sealed(rows)], tmp_path / "report")["tables"][0]["calibration"]
    assert (told["samples"], told["left_out"]) == (40, 6)


def test_of_few_questions_nothing_is_said(sealed, tmp_path):
    told = write.write([sealed(two_choices(0, 9))], tmp_path / "report")
    assert told["tables"][0]["calibration"] == []


def test_answers_that_are_none_are_counted_apart_from_wrong_ones(sealed, tmp_path):
    rows = [
        written(0, "東京", "correct"),
        written(1, "京都", "wrong"),
        written(2, "分かりません", "wrong"),
        written(3, "お答えできません", "wrong"),
        written(4, "", "refused"),
        written(5, "", "unparsed"),
    ]
    told = write.write([sealed(rows)], tmp_path / "report")
    assert told["tables"][0]["written"] == [
        {"model": "base", "task": "jamp", "right": 1, "wrong": 1, "abstained": 1, "declined": 1,
         "refused": 1, "no answer": 1}
    ]  # fmt: skip
    assert "abstained" in (tmp_path / "report/en.html").read_text("utf-8")


def test_the_table_of_likelihoods_is_what_the_rows_say():
    rows = [ranked(0, [-1.0, -2.0], True), ranked(1, [-1.0, -2.0, -3.0], False)]
    sure = reliability.read(rows).ranked["base", "jamp"]
    assert sure.logits().tolist() == [[-1.0, -2.0, -math.inf], [-1.0, -2.0, -3.0]]
