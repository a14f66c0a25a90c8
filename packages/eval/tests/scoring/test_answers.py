"""Reading answers: the order of cut, strip and normalising, and a reason for every sample."""

from typing import ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import Answer, Generated, Sample, Task
from yoriai_eval.scoring import answers, protocol
from yoriai_eval.scoring.protocol import Exam

LABELS = ("entailment", "contradiction", "neutral")
OLD, NEW = (protocol.load(name).answer for name in ("oct2023", "v1.3"))


class Odd(Task):
    """Right is what is as long as the gold."""

    form: ClassVar[Literal["generation"]] = "generation"

    def score(self, sample, output):
        return float(len(output) == len(sample.answer))


def exam(metrics=("exact_match",), answer=NEW, labels=(), **more) -> Exam:
    return Exam(
        task=Odd(), form="generation", metrics=metrics, answer=answer, labels=labels, **more
    )


def read(text, gold="neutral", ended="end", answers_=(), **more) -> answers.Reading:
    sample = Sample(id="x", text="", answer=gold, answers=answers_)
    return answers.read(exam(**more), sample, Generated(text, ended))


@pytest.mark.parametrize(
    ("text", "october", "april"),
    [
        ("neutral", "neutral", "neutral"),
        ("neutral\n\n### 入力:", "neutral", "neutral"),
        ("neutral\nwhy", "neutral", "neutral\nwhy"),
        ("\nneutral", "", "neutral"),
        ("\n\nneutral", "", ""),
        (" neutral ", " neutral ", "neutral"),
        ("\u3000neutral\n", " neutral", "neutral"),
        ("ｎｅｕｔｒａｌ", "neutral", "neutral"),
        ("", "", ""),
    ],
)
def test_each_protocol_reads_the_same_text_in_its_own_way(text, october, april):
    assert answers.cleaned(OLD, text) == october
    assert answers.cleaned(NEW, text) == april


@given(st.text("ab \n\u3000\u0301ｱﾞé", max_size=20))
def test_the_order_of_cutting_and_normalising_does_not_matter(text):
    """Upstream, October 2023 normalises first; here the cut is always first."""
    import unicodedata

    assert answers.cleaned(OLD, text) == unicodedata.normalize("NFKC", text).split("\n")[0]


@pytest.mark.parametrize(
    ("text", "ended", "reason", "score"),
    [
        ("neutral", "end", "correct", 1.0),
        ("neutral", "length", "correct", 1.0),
        ("neutral\n\nmore", "stop", "correct", 1.0),
        ("entailment", "stop", "wrong", 0.0),
        ("contradict", "length", "truncated", 0.0),
        ("contradict\n\nmore", "length", "unparsed", 0.0),  # it was cut, not cut short
        ("どちらでもない", "end", "unparsed", 0.0),
        ("Neutral", "end", "unparsed", 0.0),
        ("", "end", "unparsed", 0.0),
        ("", "length", "truncated", 0.0),
        ("neutral", "refused", "refused", 0.0),
        ("neutral", "error", "errored", 0.0),
    ],
)
def test_every_answer_has_one_reason(text, ended, reason, score):
    reading = read(text, ended=ended, labels=LABELS)
    assert (reading.reason, reading.scores) == (reason, {"exact_match": score})
    assert not (reading.answer and reason in ("refused", "errored"))


@given(
    st.text("neutral\n 中立", max_size=12),
    st.sampled_from(["stop", "end", "length", "refused", "error"]),
    st.sampled_from([(), LABELS]),
    st.sampled_from(["exact_match", "char_f1", "pearson"]),
)
@settings(deadline=None)  # the first case imports
def test_a_reading_is_correct_only_with_the_full_score_and_never_lost(text, ended, labels, metric):
    reading = read(text, ended=ended, labels=labels, metrics=(metric,))
    assert reading.reason in {"correct", "wrong", "unparsed", "truncated", "refused", "errored"}
    if metric != "pearson":
        assert set(reading.scores) == {metric}
        assert (reading.scores[metric] == 1.0) == (reading.reason == "correct")


def test_without_labels_a_text_is_wrong_and_only_an_empty_one_unparsed():
    assert read("富士山", gold="琵琶湖", metrics=("char_f1",)).reason == "wrong"
    assert read(" \n", gold="琵琶湖", metrics=("char_f1",), answer=OLD).reason == "unparsed"


def test_all_metrics_are_taken_and_the_first_decides():
    reading = read("聖武", gold="聖武天皇", metrics=("char_f1", "exact_match"))
    assert reading.scores == {"char_f1": 0.67, "exact_match": 0.0}
    assert read("YES", gold="yes", metrics=("char_f1", "exact_match")).reason == "correct"
    assert read("YES", gold="yes", metrics=("exact_match", "char_f1")).reason == "wrong"


def test_golds_are_normalised_and_any_of_them_will_do():
    assert read("1000円", gold="１０００円").reason == "correct"
    assert read("b", gold="a", answers_=("ｂ",)).reason == "correct"
    raw = Answer(cut="", strip=False, normalise="")
    assert read("1000円", gold="１０００円", answer=raw).reason == "wrong"


@pytest.mark.parametrize(
    ("text", "ended", "reason"),
    [
        ("3.8", "end", "correct"),
        ("3.80 です", "end", "correct"),
        ("4", "end", "wrong"),
        ("近い", "end", "unparsed"),
        ("3.", "length", "truncated"),
        ("3.8", "refused", "refused"),
    ],
)
def test_where_a_number_is_wanted_the_number_counts(text, ended, reason):
    reading = read(text, gold="3.8", ended=ended, metrics=("pearson", "spearman"))
    assert (reading.reason, reading.scores) == (reason, {})


def test_choices_name_the_gold_of_a_generated_answer():
    sample = Sample(id="x", text="", choices=("含意", "矛盾"), answer=1)
    reading = answers.read(exam(), sample, Generated("矛盾"))
    assert reading.reason == "correct"


@pytest.mark.parametrize(
    ("text", "ended", "reason", "score"),
    [
        ("abc", "end", "correct", 1.0),
        ("ab", "end", "wrong", 0.0),
        ("ab", "length", "truncated", 0.0),
        ("  ", "end", "unparsed", 0.0),
        ("abc", "error", "errored", 0.0),
    ],
)
def test_a_task_asked_in_its_own_way_scores_itself(text, ended, reason, score):
    sample = Sample(id="x", text="", answer="xyz")
    own = exam(metrics=("accuracy",), answer=Answer(), own=True)
    reading = answers.read(own, sample, Generated(text, ended))
    assert (reading.reason, reading.scores) == (reason, {"accuracy": score})
