"""What a YAML task refuses to guess."""

import json

import pytest

from yoriai import Generated, Sample, UsageError, YoriaiError
from yoriai_eval.scoring import answers, protocol
from yoriai_eval.scoring.profile import profile
from yoriai_eval.tasks.own import JaForms
from yoriai_eval.tasks.yaml_file import YamlTask

HEAD = {"name": "t", "licence": "CC0-1.0", "source": "synthetic", "text": "{q}"}
RANKED = {"form": "ranked", "choices": "{ends}", "answer": "{label}"}


@pytest.fixture
def task(tmp_path):
    def build(rows, *, data="t.jsonl", **keys):
        text = rows
        if not isinstance(rows, str):
            text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (tmp_path / data).write_text(text, encoding="utf-8")
        (tmp_path / "t.yaml").write_text(json.dumps({**HEAD, "data": data, **keys}))
        made = YamlTask(path=str(tmp_path / "t.yaml"))
        made._entry = "eval/yaml"
        return made

    return build


def test_a_number_that_is_a_text_and_a_place_of_another_choice_is_refused_unless_told(task):
    rows = [{"q": "1+0は？", "ends": ["1", "0", "2"], "label": 0}]
    with pytest.raises(UsageError, match="text of choice 1 and the number of choice 0") as told:
        list(task(rows, **RANKED).samples([]))
    assert "answer_is: position" in told.value.hint
    for how, place in (("position", 0), ("text", 1)):
        [sample] = task(rows, **RANKED, answer_is=how).samples([])
        assert sample.answer == place
    [both] = task([{"q": "?", "ends": ["0", "1"], "label": 1}], **RANKED).samples([])
    assert both.answer == 1


@pytest.mark.parametrize(
    ("ends", "what"),
    [(["同じ", "同じ", "違う"], "equal"), (["", "a"], "empty"), ([" ", "a"], "empty")],
)
def test_choices_that_are_equal_or_empty_are_refused(task, ends, what):
    with pytest.raises(UsageError, match=f"row 0 has .*{what}"):
        list(task([{"q": "?", "ends": ends, "label": 1}], **RANKED).samples([]))


def test_a_list_is_no_answer_but_may_be_answers(task):
    rows = [{"q": "?", "a": ["京都", "京都市"]}]
    with pytest.raises(UsageError, match="is a list") as told:
        list(task(rows, form="generation", answer="{a}").samples([]))
    assert 'answers: "{a}"' in told.value.hint
    made = task(rows, form="generation", answers="{a}")
    [sample] = made.samples([])
    assert (sample.answer, sample.answers) == ("京都", ("京都市",))
    [exam] = protocol.exams(protocol.load("yoriai"), made)
    assert answers.read(exam, sample, Generated("京都市\n")).reason == "correct"
    assert made.score(sample, "京都市") == 1.0
    with pytest.raises(UsageError, match="no answer that counts"):
        list(task([{"q": "?", "a": []}], form="generation", answers="{a}").samples([]))


def test_a_row_that_is_shown_and_asked_again_is_refused(task):
    rows = [{"q": "猿も木から", "ends": ["落ちる", "降りる"], "label": 0}] * 2
    with pytest.raises(UsageError, match="row 1 asks what the example 0 shows"):
        list(task(rows, **RANKED, shots=[0]).samples([]))


def test_json_and_tables_without_a_header_are_read(task):
    wanted = [("0", "一", "1"), ("1", "二", "2")]
    for data, text in (
        ("t.json", json.dumps([{"q": "一", "a": 1}, {"q": "二", "a": "2"}])),
        ("t.csv", "一,1\n二,2\n"),
        ("t.tsv", "一\t1\n二\t2\n"),
    ):
        keys = {} if data == "t.json" else {"fields": ["q", "a"]}
        made = task(text, data=data, form="generation", answer="{a}", **keys)
        assert [(s.id, s.text, s.answer) for s in made.samples([])] == wanted
    with pytest.raises(YoriaiError, match=r"row 0 .* has no fields"):
        list(task("一\n", data="t.csv", form="generation", answer="{a}",
                  fields=["q", "a"]).samples([]))  # fmt: skip
    with pytest.raises(UsageError, match="no list of rows"):
        list(task("{}", data="t.json", form="generation", answer="{a}").samples([]))


def test_the_profile_of_an_exam_counts_each_oddness():
    exam = protocol.Exam(
        task=JaForms(), form="ranked", metrics=("accuracy",),
        shots=(Sample(id="s", text="shown  once", answer="a"),),
    )  # fmt: skip
    samples = [
        Sample(id="a", text="x", choices=(" a", "b"), answer=0),
        Sample(id="b", text="shown once", choices=("a", "a"), answer=1),
        Sample(id="c", text="y", choices=("", "b"), answer="z"),
    ]
    told = " ".join(profile(exam, samples))
    for what in ("white space", "empty", "equal", "none of the choices", "examples (b)"):
        assert what in told
    written = protocol.Exam(task=JaForms(), form="generation", metrics=("char_f1",))
    assert "signs alone" in profile(written, [Sample(id="a", text="x", answer="×")])[0]
    assert profile(written, [Sample(id="a", text="x", answer="正")]) == []
    exact = protocol.Exam(task=JaForms(), form="generation", metrics=("exact_match",))
    for gold, odd in (("2,125", 1), ("１，２００円", 1), ("1,2", 0), ("18個", 0), ("京都,奈良", 0)):
        assert len(profile(exact, [Sample(id="a", text="x", answer=gold)])) == odd


@pytest.mark.parametrize("ends", [[["a"], "b"], [{"text": "a"}, "b"], ["a", None]])
def test_a_choice_that_is_no_text_is_refused(task, ends):
    with pytest.raises(UsageError, match="row 0 holds what is neither text nor a number"):
        list(task([{"q": "?", "ends": ends, "label": 1}], **RANKED).samples([]))
