"""Answers as today's models write them, and the two readings of llm-jp-eval v1.3."""

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from yoriai import Answer, NotFound, UsageError
from yoriai_eval.scoring import protocol
from yoriai_eval.scoring.answers import cleaned, normalised
from yoriai_eval.scoring.metrics import METRICS, last_number, number, number_match

HERE = Path(__file__).parent
_PLACE = importlib.util.spec_from_file_location("perturbed", HERE / "perturbed_answers.py")
perturbed_answers = importlib.util.module_from_spec(_PLACE)
_PLACE.loader.exec_module(perturbed_answers)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2,125", "2125"), ("18個", "18"), ("18.0", "18.0"), ("１８", "18"), ("１，２３４", "1234"),
        ("16-7=9", "9"), ("答えは-3.5です", "-3.5"), ("x = −4", "-4"), ("1,2", "2"), ("なし", ""),
        ("", ""), ("3つと5つ", "5"), (".5", ".5"), ("1,234,567円", "1234567"), ("2-1", "1"),
    ],
)  # fmt: skip
def test_the_last_number_of_a_text(text, number):
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("said", "gold", "right"),
    [
        ("2,125", "2125", 1), ("18個", "18", 1), ("18.0", "18", 1), ("１８", "18", 1),
        ("18", "18.0", 1), ("0.1", "0.10", 1), ("-18", "18", 0), ("181", "18", 0), ("", "18", 0),
        ("18", "", 0), ("9007199254740993", "9007199254740992", 0),
    ],
)  # fmt: skip
def test_numbers_are_compared_as_numbers(said, gold, right):
    assert number_match(said, [gold]) == right


@pytest.mark.parametrize(
    ("answer", "text", "read"),
    [
        (Answer(strip_first=True, cut="\n"), "\n含意\nそして", "含意"),
        (Answer(cut="\n"), "\n含意", ""),
        (Answer(drop_thoughts=True, strip=True), "<think>\n16-7=9\n</think>\n18", "18"),
        (Answer(drop_thoughts=True, strip=True), "16-7\n</think>\n18", "18"),
        (Answer(drop_thoughts=True, strip=True), "<think>16-7", ""),
        (Answer(drop_thoughts=True, strip=True), "<think>a</think>b<think>c</think>d", "d"),
        (Answer(take="last-number"), "16-7=9、答えは1,800円", "1800"),
        (Answer(pattern=r"答え：(.+?)。"), "答え：一。答え：二。", "二"),
        (Answer(pattern=r"[A-D]"), "B ではなく C", "C"),
        (Answer(pattern=r"[A-D]"), "none", ""),
    ],
)
def test_an_answer_is_read_as_the_protocol_says(answer, text, read):
    assert cleaned(answer, text) == read


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no regular expression"):
        Answer(pattern="(")


EXPECTED = json.loads((HERE / "expected_scores.json").read_text())


@pytest.mark.parametrize("task", perturbed_answers.GOLDS)
@pytest.mark.parametrize("name", ["v1.3", "v1.3.0"])
def test_two_hundred_perturbed_answers_a_set_score_as_the_libraries_of_llm_jp_eval_do(name, task):
    """The expected numbers are fuzzywuzzy's own: see make_expected_scores.py beside this file."""
    pairs = perturbed_answers.perturbed(task)
    told = json.dumps(pairs, ensure_ascii=False).encode()
    assert hashlib.sha256(told).hexdigest() == EXPECTED["answers_sha256"][task]
    rules = protocol.load(name)
    asked = rules.tasks[task]
    answer, metric = asked.answer or rules.answer, METRICS[asked.metrics[0]]
    found = []
    for gold, text in pairs:
        read = cleaned(answer, text)
        if metric.sample is None:  # JSTS: the number that is read
            found.append(number(read))
        else:
            found.append(round(100 * metric(read, [normalised(answer, gold)])))
    assert found == EXPECTED[name][task]


def test_the_two_readings_differ_on_answers_with_white_space():
    differ = {
        task: sum(a != b for a, b in zip(scores, EXPECTED["v1.3.0"][task], strict=True))
        for task, scores in EXPECTED["v1.3"].items()
    }
    assert sum(differ.values()) > 50
    assert differ["jsquad"] == 0  # fuzzywuzzy compares no white space


def test_a_protocol_of_ones_own_file_stands_on_one_that_ships(tmp_path):
    place = tmp_path / "mine.yaml"
    told = {"base": "yoriai", "name": "mine", "answer": {"drop_thoughts": True, "cut": "\n"}}
    place.write_text(yaml.safe_dump(told))
    made = protocol.load(str(place))
    assert made.name == "mine"
    assert made.answer.drop_thoughts
    assert made.tasks == protocol.load("yoriai").tasks
    place.write_text(yaml.safe_dump({**told, "name": "yoriai"}))
    with pytest.raises(UsageError, match="as one that ships"):
        protocol.load(str(place))
    place.write_text(yaml.safe_dump({**told, "anwser": {}}))
    with pytest.raises(UsageError, match="anwser"):
        protocol.load(str(place))
    with pytest.raises(NotFound, match="cannot be read"):
        protocol.load(str(tmp_path / "none.yaml"))


def test_writing_stops_early_only_where_nothing_is_dropped_before_the_cut():
    from yoriai_eval.scoring.protocol import Exam
    from yoriai_eval.tasks.own import JaLanguage

    def stop(**keys):
        answer = Answer(cut="\n", **keys)
        return Exam(task=JaLanguage(), form="generation", metrics=(), answer=answer).stop

    assert stop() == stop(strip=True) == ("\n",)
    assert stop(strip_first=True) == stop(drop_thoughts=True) == ()
