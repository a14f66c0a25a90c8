"""What the package offers to the registry, the page and the command line."""

import pytest

from yoriai import NotFound
from yoriai_eval.backends.mock import Mock
from yoriai_eval.scoring import rescoring
from yoriai_eval.scoring.rows import rows_of
from yoriai_eval.scoring.sections import describe
from yoriai_eval.tasks.own import JaForms, JaLanguage


@pytest.fixture
def scores(make, scripted, build_run, yoriai_job):
    corpus = make.corpus("text", [("あい", "ja")], [("あい\u2028う", "ja")])
    backend = scripted(likelihood=lambda a, b: -5.0, answer=lambda prompt: "日本語\u2028")
    tasks = ["eval/heldout", "eval/ja-forms", "eval/ja-language"]
    return yoriai_job("scores", build_run(tasks, backend), [make.stub(), corpus])


def test_the_plugin_keeps_every_promise(yoriai_registry, yoriai_conformance):
    # The data of jhumaneval would be fetched.
    assert yoriai_conformance(yoriai_registry, "eval", {"eval/jhumaneval": None}) == []


def test_the_page_shows_every_score_beside_its_floor(scores, make):
    [section] = describe(scores)
    rows = {row[1]: row for row in section.tables[0].rows}
    assert rows["ja-forms"][3] == 0.5
    assert "chance 0.500" in rows["ja-forms"][5]
    assert "majority 0.333" in rows["ja-language"][5]
    outcomes = {row[1]: row[2:] for row in section.tables[1].rows}
    assert sum(outcomes["ja-language"]) == 90
    assert set(section.figures[0].series) == {"base", "gzip", "unigram"}
    assert list(describe(make.stub())) == []


def test_samples_shows_single_answers(scores, yoriai_cli):
    place = str(scores.path)
    told = yoriai_cli("eval", "samples", place, "--task", "ja-forms", "--limit", "500", "--json")
    assert told.code == 0, told.err
    assert len(told.json["samples"]) == 120
    told = yoriai_cli("eval", "samples", place, "--task", "eval/ja-forms", "--wrong", "--json")
    assert {row["score"] for row in told.json["samples"]} == {0.0}
    assert len(told.json["samples"]) == 20
    told = yoriai_cli("eval", "samples", place, "--model", "base")
    assert "b/B" in told.out
    assert "text/s/0" in told.out


def test_samples_shows_the_question_and_the_right_answer_beside_each(scores, yoriai_cli):
    right = {s.text: s.answer for s in JaLanguage().samples([])}
    told = yoriai_cli("eval", "samples", str(scores.path), "--task", "ja-language", "--json")
    assert told.code == 0, told.err
    for row in told.json["samples"]:
        assert row["gold"] == right[row["question"]]
    forms = yoriai_cli("eval", "samples", str(scores.path), "--task", "ja-forms", "--json").json
    golds = {(s.text, s.choices[int(s.answer)]) for s in JaForms().samples([])}
    assert {(row["question"], row["gold"]) for row in forms["samples"]} <= golds
    # Beside what the model said, which is what is looked at.
    told = yoriai_cli("eval", "samples", str(scores.path), "--task", "ja-language", "--wrong")
    assert "right answer  output" in told.out
    assert "英語" in told.out
    # The run itself hands on neither.
    assert "gold" not in (scores.path / "samples.jsonl").read_text()


def test_samples_shows_why_an_answer_is_an_error(make, build_run, yoriai_job, yoriai_cli):
    step = build_run(["eval/ja-language"], Mock(context=20))
    place = yoriai_job("scores", step, [make.stub()]).path
    told = yoriai_cli("eval", "samples", str(place), "--reason", "errored", "--limit", "1")
    assert "fit into the context)" in told.out


def test_without_the_data_answers_are_shown_and_what_is_missing_is_said(
    scores, yoriai_registry, monkeypatch
):
    def missing(task, artifacts):
        raise NotFound("ja-language: the file is not here")

    monkeypatch.setattr(JaLanguage, "samples", missing)
    rows = list(rows_of(scores))
    notes = rescoring.add_questions(scores, yoriai_registry, rows)
    assert notes == ["ja-language: the file is not here"]
    with_gold = {row["task"] for row in rows if "gold" in row}
    assert with_gold == {"eval/ja-forms"}
    # Of a run that was asked in a way unknown here nothing can be built again.
    scores.manifest["config"]["tasks"] = ["eval/ja-gone"]
    rows = list(rows_of(scores))
    [note] = rescoring.add_questions(scores, yoriai_registry, rows)
    assert "unknown here" in note
    assert not any("gold" in row for row in rows)


def test_samples_says_what_it_cannot_show(scores, make, yoriai_cli):
    told = yoriai_cli("eval", "samples", str(scores.path), "--model", "nobody")
    assert told.code == 3
    assert "no such answer" in told.err
    told = yoriai_cli("eval", "samples", str(make.stub().path))
    assert told.code == 3
    assert "is a model, this command reads scores" in told.err
