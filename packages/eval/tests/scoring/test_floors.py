"""Floors against counting by hand, brute force, and the published trivial scores."""

import functools
import os
from collections import Counter
from typing import ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import Answer, Sample, Task
from yoriai_eval.scoring import answers, protocol
from yoriai_eval.scoring.floors import floors
from yoriai_eval.scoring.metrics import METRICS, char_f1
from yoriai_eval.scoring.protocol import Exam
from yoriai_eval.sets import store
from yoriai_eval.tasks import datasets

DATA = os.environ.get("YORIAI_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="YORIAI_DATA names no folder with the data sets")


class Exact(Task):
    """Right is the gold in any case."""

    form: ClassVar[Literal["generation"]] = "generation"

    def score(self, sample, output):
        return float(output.lower() == sample.gold.lower())


def exam(metric="exact_match", form="generation", **more) -> Exam:
    settings_ = {"answer": Answer(cut="\n", strip=True), **more}
    return Exam(task=Exact(), form=form, metrics=(metric,), **settings_)


def samples(*golds: str, **more) -> list[Sample]:
    return [Sample(id=str(n), text="", answer=gold, **more) for n, gold in enumerate(golds)]


def test_the_commonest_gold_is_a_model():
    known = floors(exam(), samples("b", "a", "b", "c"))
    assert known == {"majority": 0.5, "constant": 0.5}


def test_of_equally_common_golds_the_order_of_samples_chooses_none():
    one = floors(exam("char_f1"), samples("ab", "abcd", "x"))
    other = floors(exam("char_f1"), samples("x", "abcd", "ab"))
    assert one == other
    assert one["majority"] == pytest.approx((1.0 + 0.67) / 3)


def test_the_best_constant_is_none_of_the_commonest_golds_where_another_is_nearer_to_all():
    golds = ["zz", "zz", "ab", "abc", "abcd", "bcd"]
    known = floors(exam("char_f1"), samples(*golds))
    assert known["majority"] == pytest.approx(2 / 6)
    assert known["constant"] == pytest.approx(sum(char_f1("abcd", [g]) for g in golds) / 6)


@given(st.lists(st.text("abcあい 12・", max_size=6), min_size=1, max_size=12))
@settings(deadline=None)  # the first case imports
def test_the_best_constant_is_that_of_brute_force(golds):
    found = floors(exam("char_f1"), samples(*golds))["constant"]
    expected = max(sum(char_f1(text, [g]) for g in golds) / len(golds) for text in golds)
    assert found == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.sampled_from("aAbＢc"), min_size=1, max_size=12))
@settings(deadline=None)  # the first case imports
def test_no_answer_of_the_set_beats_the_constant(golds):
    asked = exam(labels=("q",))
    rows = samples(*golds)
    best = floors(asked, rows)["constant"]
    for text in {*golds, "q"}:
        said = answers.cleaned(asked.answer, text)
        kept = [answers.normalised(asked.answer, g) for g in golds]
        assert METRICS["exact_match"].whole([said] * len(golds), kept) <= best + 1e-12


def test_further_golds_count_for_floors_as_for_models():
    rows = [
        Sample(id="1", text="", answer="a", answers=("z",)),
        Sample(id="2", text="", answer="b", answers=("z",)),
        Sample(id="3", text="", answer="z"),
    ]
    assert floors(exam(), rows)["constant"] == 1.0
    assert floors(exam("char_f1"), rows)["constant"] == pytest.approx(1.0)
    assert floors(exam("set_f1"), rows)["constant"] == pytest.approx(1.0)


def test_a_constant_that_no_model_may_write_is_no_floor():
    rows = samples("とても長い答え", "とても長い答え", "短い")
    assert floors(exam(max_characters=4), rows)["constant"] == pytest.approx(1 / 3)


def test_chance_is_the_mean_over_samples_of_other_numbers_of_choices():
    rows = [
        Sample(id="1", text="", choices=("a", "b"), answer=0),
        Sample(id="2", text="", choices=("c", "d", "e", "f"), answer=0),
    ]
    known = floors(exam("accuracy", form="ranked"), rows)
    assert known == {"chance": 0.375, "majority": 1.0}  # always the first place


def test_choices_as_text_and_as_place_have_the_same_floors():
    choices = ("含意", "矛盾")
    by_text = samples("含意", "含意", "矛盾", choices=choices)
    by_place = [
        Sample(id=s.id, text="", choices=choices, answer=n)
        for s, n in zip(by_text, (0, 0, 1), strict=True)
    ]
    ranked = exam("accuracy", form="ranked")
    assert floors(ranked, by_text) == floors(ranked, by_place)
    assert floors(ranked, by_text) == {"majority": pytest.approx(2 / 3), "chance": 0.5}


def test_a_constant_correlates_with_nothing():
    assert floors(exam("pearson"), samples("1.0", "2.0", "3.0")) == {"constant": 0.0}


def test_forms_that_count_bits_and_empty_sets_have_no_floors_here():
    assert floors(exam("gold_bits_per_byte", form="gold"), samples("a")) == {}
    assert floors(exam(), []) == {}


def test_a_task_asked_in_its_own_way_scores_its_own_floors():
    own = exam("accuracy", own=True)
    assert floors(own, samples("a", "A", "A", "b")) == {"majority": 0.75, "constant": 0.75}


def test_a_passage_offers_its_title_and_its_beginning():
    rows = [
        Sample(
            id=str(n),
            text=f"文章：題名{n} [SEP] 本文はこう始まり\n続く。\n質問：何？",
            answer=answer,
        )
        for n, answer in enumerate(("題名0", "本文は"))
    ]
    known = floors(exam("char_f1", max_characters=4), rows)
    # The title is the first answer and nothing of the second; four characters of the text are
    # 2 x 3 of 3 + 4 characters of the second.
    assert known["copy_title"] == 0.5
    assert known["copy_start"] == pytest.approx(0.86 / 2)
    assert "copy_title" not in floors(exam("char_f1", max_characters=4), [*rows, *samples("x")])


_rows = functools.cache(datasets.rows)  # some files take seconds to read


@pytest.fixture
def made(yoriai_registry, monkeypatch, tmp_path):
    """(exam, samples) of a data set under a protocol, from the collected files only."""

    def refuse(dataset, path):
        raise AssertionError(f"{dataset}: {path} is not here")

    monkeypatch.setenv("YORIAI_MIRROR", f"{DATA}/eval{os.pathsep}{DATA}/tuning")
    monkeypatch.setenv("YORIAI_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "_download", refuse)
    monkeypatch.setattr(datasets, "rows", _rows)

    def build(name: str, short: str):
        loaded = protocol.load(name)
        task = yoriai_registry.load(yoriai_registry.get("tasks", f"eval/{short}"))()
        task._entry = f"eval/{short}"
        asked = loaded.tasks[short].model_copy(update={"shot_count": 0})
        bare = loaded.model_copy(update={"tasks": {short: asked}})
        first = protocol.exams(bare, task)[0]
        return first, [first.put(s) for s in task.samples([])]

    return build


# The scores without a model on the full test sets, as they were measured for the published table.
TRIVIAL = {
    "jamp": ("majority", 0.339),
    "janli": ("majority", 0.500),
    "jnli": ("majority", 0.553),
    "jsem": ("majority", 0.672),
    "jsick": ("majority", 0.617),
    "jemhopqa": ("constant", 0.196),
    "jsquad": ("copy_title", 0.173),
    "jcommonsenseqa": ("majority", 0.214),
}


@needs_data
@pytest.mark.parametrize("short", TRIVIAL)
@pytest.mark.parametrize("name", ["oct2023", "v1.3"])
def test_trivial_scores_are_the_published_ones(name, short, made):
    floor, expected = TRIVIAL[short]
    assert round(floors(*made(name, short))[floor], 3) == expected


@needs_data
def test_the_best_constant_of_niilc_is_above_the_published_one(made):
    """The table's .066 is the best of the 50 commonest golds; the best of all has .080."""
    asked, rows = made("v1.3", "niilc")
    golds = [answers.normalised(asked.answer, s.gold) for s in rows]
    commonest = [text for text, _ in Counter(golds).most_common(50)]
    score = {
        text: sum(METRICS["char_f1"].each([text] * len(golds), golds)) / len(golds)
        for text in set(golds)
    }
    assert round(max(score[text] for text in commonest), 3) == 0.066
    assert round(floors(asked, rows)["constant"], 3) == 0.080
    assert floors(asked, rows)["constant"] == pytest.approx(max(score.values()))


@needs_data
def test_our_ranked_sets_have_the_same_majority_and_a_chance(made):
    for short, chance in (("jamp", 1 / 3), ("janli", 1 / 2), ("jsem", 1 / 4)):
        known = floors(*made("yoriai", short))
        assert round(known["majority"], 3) == TRIVIAL[short][1]
        assert known["chance"] == pytest.approx(chance)
    known = floors(*made("yoriai", "jcommonsenseqa"))
    assert known == {"majority": pytest.approx(0.2145, abs=1e-4), "chance": pytest.approx(0.2)}


@needs_data
def test_floors_are_scores_of_models_that_answer_so(made):
    """A model that always says "NO" gets the constant floor of JEMHopQA, sample by sample."""
    from yoriai import Generated

    asked, rows = made("v1.3", "jemhopqa")
    readings = [answers.read(asked, s, Generated("NO\n\n")) for s in rows]
    values = [reading.scores["char_f1"] for reading in readings]
    assert sum(values) / len(values) == pytest.approx(floors(asked, rows)["constant"])
    reasons = Counter(reading.reason for reading in readings)
    assert reasons["correct"] == sum(s.gold == "NO" for s in rows)
