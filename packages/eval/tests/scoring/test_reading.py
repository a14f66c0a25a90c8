"""Answers as today's models write them, and the two readings of llm-jp-eval v1.3."""

import random
import unicodedata

import pytest
import yaml
from rapidfuzz.distance import Indel

from yoriai import Answer, NotFound, UsageError
from yoriai_eval.scoring import protocol
from yoriai_eval.scoring.answers import cleaned
from yoriai_eval.scoring.metrics import METRICS, last_number, number_match


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


def reference(strip, metric, text, gold):
    """The reading of swallow-evaluation at 78de0db (no strip) and f0c0310 (strip), apart."""
    text = text.split("\n\n")[0]
    text = unicodedata.normalize("NFKC", text.strip() if strip else text)
    gold = unicodedata.normalize("NFKC", gold)
    if metric == "exact_match":
        return float(text == gold)
    a, b = (
        " ".join(sorted("".join(
            c if c.isalnum() or c == "_" else " " for c in s if not 128 <= ord(c) < 256
        ).lower().split()))
        for s in (text, gold)
    )  # fmt: skip
    if a == b:
        return 1.0
    return round(100 * (1 - Indel.distance(a, b) / (len(a) + len(b)))) / 100 if a and b else 0.0


NOISE = ("\n", " ", "\r\n", "\u3000", "\n\n", "。", "\nそして", "\n\n### 入力:", "\t", "1", "")


@pytest.mark.parametrize(("name", "strip"), [("v1.3", True), ("v1.3.0", False)])
def test_two_hundred_perturbed_answers_a_set_score_as_their_reading_does(name, strip):
    known = protocol.load(name)
    golds = {
        "jnli": ["neutral", "entailment"], "janli": ["non-entailment"], "jsem": ["yes", "undef"],
        "jcommonsenseqa": ["0", "4"], "jemhopqa": ["YES", "京都府"], "niilc": ["一,二", "Étude"],
        "jsquad": ["平成２年", "ﾊﾝｶｸ"], "jamp": ["contradiction"], "jsick": ["neutral"],
    }  # fmt: skip
    differ = 0
    for task, wanted in golds.items():
        metric = known.tasks[task].metrics[0]
        draw = random.Random(task)
        for _ in range(200):
            gold = draw.choice(wanted)
            text = draw.choice(NOISE) + gold + draw.choice(NOISE) + draw.choice(NOISE)
            read = cleaned(known.answer, text)
            normal = unicodedata.normalize("NFKC", gold)
            score = METRICS[metric](read, [normal])
            assert score == reference(strip, metric, text, gold), (task, text)
            differ += score != reference(not strip, metric, text, gold)
    assert differ > 200


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
