"""``yoriai eval compare`` and ``rescore`` on runs whose answers are known."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from yoriai import Altered
from yoriai_eval.commands.compare import compare
from yoriai_eval.commands.rescore import rescore
from yoriai_eval.tasks.own import JaForms, JaLanguage

KINDS = {s.text: str(s.answer) for s in JaLanguage().samples([])}
FORMS = {s.text + s.choices[int(s.answer)] for s in JaForms().samples([])}


def knows(prompt):
    return KINDS[prompt.partition("|")[2]]


def half_knows(prompt):
    return knows(prompt) if len(prompt) % 2 else "日本語"


def likes(context, continuation):
    return -1.5 - len(continuation) if context + continuation in FORMS else -2.0 * len(continuation)


@pytest.fixture
def scored(make, scripted, build_run, yoriai_job):
    """Two runs of the same tasks: one model knows the answers, the other some."""
    made = []
    for name, answer in (("strong", knows), ("weak", half_knows)):
        backend = scripted(answer=answer, likelihood=likes)
        step = build_run(["eval/ja-language", "eval/ja-forms"], backend)
        made.append(yoriai_job(name, step, [make.stub(name)]))
    return made


def run(command, *words, code=0):
    done = CliRunner().invoke(command, [str(w) for w in words])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def test_models_of_two_runs_are_compared_task_by_task(scored):
    told = json.loads(run(compare, scored[0].path, f"{scored[1].path}:weak", "--json"))
    found = {c["task"]: c for c in told["comparisons"]}
    assert (told["tests"], told["correction"]) == (2, "holm")
    language = found["ja-language"]
    assert language["better"] == "strong"
    assert language["scores"][0] == 1.0
    wrong = [s for s in JaLanguage().samples([]) if half_knows(f"|{s.text}") != s.answer]
    # What the scripted models render is the instruction, a bar and the text.
    assert len(language["only_first"]) == round((1 - language["scores"][1]) * 90)
    assert language["only_second"] == []
    assert wrong
    forms = found["ja-forms"]
    assert (forms["better"], forms["difference"], forms["p"]) == ("", 0.0, 1.0)
    assert "not separated" in forms["verdict"]


def test_the_table_says_who_is_better_and_how_many_tests_were_made(scored):
    text = run(compare, *(s.path for s in scored))
    assert "strong is better" in text
    assert "2 tests; p corrected by Holm" in text
    text = run(compare, *(s.path for s in scored), "--task", "eval/ja-forms")
    assert "strong is better" not in text
    assert "tests;" not in text
    chosen = run(compare, *(s.path for s in scored), "--metric", "accuracy_pmi", "--json")
    assert [c["task"] for c in json.loads(chosen)["comparisons"]] == ["ja-forms"]


def test_comparing_what_is_in_common_is_offered_only_where_it_helps(
    scored, build_run, make, scripted, yoriai_job
):
    some = build_run(["eval/ja-language"], scripted(answer=knows), limit=30)
    part = yoriai_job("part", some, [make.stub("part")])
    assert "--common" in run(compare, scored[0].path, part.path)
    gold = run(compare, scored[0].path, part.path, "--task", "ja-language", "--common")
    assert "all the same: --common" not in gold


def test_the_picture_is_the_same_each_time_and_shows_every_task(scored, tmp_path):
    pytest.importorskip("matplotlib")
    paths = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in paths:
        run(compare, *(s.path for s in scored), "--plot", path)
    one, two = (path.read_text() for path in paths)
    assert one == two
    assert "ja-language (accuracy)" in one
    assert "strong a" in one
    run(compare, *(s.path for s in scored), "--plot", tmp_path / "one.txt", code=1)


def test_sealed_scores_are_what_their_answers_give(scored):
    told = json.loads(run(rescore, scored[1].path, "--json"))
    assert told == {"as_sealed": True, "files": [], "notes": [], "differences": []}
    assert "is as it was sealed" in run(rescore, scored[0].path)


def edit(scores, change):
    path = scores.path / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    Path(path).write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    return rows


def test_a_score_that_was_edited_is_found_and_the_file_named_first(scored):
    def better(rows):
        wrong = next(r for r in rows if r["reason"] != "correct")
        wrong.update(reason="correct", score=1.0, scores={"accuracy": 1.0})
        better.id = wrong["id"]

    edit(scored[1], better)
    text = run(rescore, scored[1].path, code=1)
    assert text.startswith("samples.jsonl has ")
    told = json.loads(run(rescore, scored[1].path, "--json", code=1))
    fields = {(d["id"], d["field"]) for d in told["differences"]}
    assert {(better.id, "reason"), (better.id, "score"), (better.id, "scores")} <= fields
    assert ("", "sealed score") in fields


def test_an_answer_that_was_edited_with_its_score_is_found_in_the_sealed_total(scored):
    def better(rows):
        wrong = next(r for r in rows if r["reason"] != "correct")
        gold = next(str(s.answer) for s in JaLanguage().samples([]) if s.id == wrong["id"])
        wrong.update(
            output=gold, answer=gold, reason="correct", score=1.0, scores={"accuracy": 1.0}
        )

    edit(scored[1], better)
    told = json.loads(run(rescore, scored[1].path, "--json", code=1))
    assert all(d["id"] == "" for d in told["differences"])
    found = {d["field"]: d for d in told["differences"]}["sealed score"]
    assert found["expected"] == pytest.approx(found["found"] + 1 / 90, abs=1e-4)


def test_answers_that_were_edited_are_neither_compared_nor_shown_without_a_word(scored, yoriai_cli):
    strong, weak = scored

    def better(rows):
        for row in rows:
            row["score"] = row["scores"]["accuracy"] = 1.0

    edit(weak, better)
    done = CliRunner().invoke(compare, [str(strong.path), str(weak.path)])
    assert isinstance(done.exception, Altered)
    assert "other bytes than were sealed" in done.exception.message
    assert f"yoriai eval rescore {weak.path}" in done.exception.hint
    told = yoriai_cli("eval", "samples", str(weak.path), "--limit", "1")
    assert told.code == 0
    assert "was changed since it was sealed" in told.err
    path = weak.path / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    told = yoriai_cli("eval", "samples", str(weak.path), "--task", "ja-forms", "--limit", "9999")
    assert told.code == 4
    assert "is no sample" in told.err


def test_likelihoods_rows_and_junk_that_were_edited_are_found(scored):
    def swap(rows):
        ranked = next(r for r in rows if r["form"] == "ranked")
        ranked["likelihoods"].reverse()

    edit(scored[0], swap)
    fields = [d["field"] for d in json.loads(run(rescore, scored[0].path, "--json", code=1))[
        "differences"]]  # fmt: skip
    assert {"picked", "score", "output"} <= set(fields)
    rows = edit(scored[0], lambda rows: rows.pop(3))
    told = json.loads(run(rescore, scored[0].path, "--json", code=1))
    assert {d["field"] for d in told["differences"]} >= {"rows"}
    edit(scored[0], lambda rows: rows[0].update(task="acme/other"))
    told = json.loads(run(rescore, scored[0].path, "--json", code=1))
    assert "no such exam" in [d["expected"] for d in told["differences"]]
    path = scored[0].path / "samples.jsonl"
    path.write_bytes(path.read_bytes() + b"{junk\n")
    done = CliRunner().invoke(rescore, [str(scored[0].path)])
    assert done.exception is not None
    assert "samples.jsonl has" in str(done.exception)
    assert f":{len(rows) + 1} is no sample" in str(done.exception)
