"""Questions with and without an answer: pairs, examples, and what counts as right."""

import pytest

from yoriai_eval.backends.mock import Mock
from yoriai_eval.scoring.abstention import manner
from yoriai_eval.tasks import invention
from yoriai_eval.tasks.unanswerable import UNKNOWN, Answerable, Invented

BOTH = pytest.mark.parametrize("make_task", [Answerable, Invented])


def named(task, name):
    task._entry = f"eval/{name}"
    return task


@BOTH
def test_a_seed_gives_the_same_samples_and_another_seed_others(make_task):
    first = list(make_task().samples(()))
    assert first == list(make_task().samples(()))
    assert len({sample.id for sample in first}) == len(first)
    other = list(make_task(seed=1).samples(()))
    assert [s.text for s in other] != [s.text for s in first]
    assert make_task().fingerprint() != make_task(seed=1).fingerprint()


@BOTH
def test_every_question_with_an_answer_stands_beside_one_without(make_task):
    samples = list(make_task().samples(()))
    for one, other in zip(samples[::2], samples[1::2], strict=True):
        assert one.cluster == other.cluster
        assert one.answer != UNKNOWN == other.answer
        assert one.instruction == other.instruction


def test_a_passage_holds_the_answer_of_one_question_and_not_of_the_other():
    pairs = list(Answerable(pairs=40).samples(()))
    kinds = set()
    for one, other in zip(pairs[::2], pairs[1::2], strict=True):
        passage, question = one.text.split("\n質問：")
        assert one.answer in passage
        assert other.text.startswith(passage)
        kinds.add(other.group)
        place = question.split("村")[0]
        asked = other.text.split("\n質問：")[1]
        if other.group == "other":
            assert not asked.startswith(f"{place}村")
            assert asked.split("村")[0] not in passage
        else:
            said = [told for told, ask, _ in invention.FACTS.values()
                    if ask.format(place=place) == asked]  # fmt: skip
            assert said[0].partition("{value}")[0] not in passage
    assert kinds == {"absent", "other"}


@BOTH
def test_examples_are_half_without_an_answer_and_never_asked(make_task):
    task = make_task()
    asked = {sample.text for sample in task.samples(())}
    shots = task.shots(8)
    assert len({s.text for s in shots}) == 8
    assert not asked & {s.text for s in shots}
    assert [s.answer == UNKNOWN for s in shots] == [False, True] * 4


@BOTH
def test_the_right_answer_is_right_and_others_are_made_up_or_none(make_task):
    task = make_task()
    for sample in task.samples(()):
        told = task.scores(sample, f" {sample.answer}。\nそのほか")
        none = sample.answer == UNKNOWN
        assert told == {"accuracy": 1.0, "abstained": float(none), "made_up": 0.0}
        told = task.scores(sample, "ピヨピヨ")
        assert told == {"accuracy": 0.0, "abstained": 0.0, "made_up": 1.0}
        for words in ("申し訳ありませんが、お答えできません。", "I don't know."):
            told = task.scores(sample, words)
            assert told == {"accuracy": float(none), "abstained": 1.0, "made_up": 0.0}
        assert task.scores(sample, "") == dict.fromkeys(("accuracy", "abstained", "made_up"), 0.0)


def test_numbers_count_whole_and_in_any_width():
    task = Answerable()
    year = next(s for s in task.samples(()) if str(s.answer).endswith("年"))
    number = str(year.answer)[:-1]
    wide = number.translate({ord("0") + n: ord("０") + n for n in range(10)})
    assert task.score(year, f"{wide}年です") == task.score(year, number) == 1.0
    assert task.score(year, f"{number}5年") == 0.0
    people = next(
        s for s in task.samples(()) if str(s.answer).endswith("人") and len(s.answer) == 5
    )
    assert task.score(people, f"約{people.answer[0]},{people.answer[1:]}") == 1.0


def test_a_symbol_counts_as_a_word():
    task = Invented()
    carbon = next(s for s in task.samples(()) if s.answer == "C")
    assert task.score(carbon, "炭素はCです") == 1.0
    assert task.score(carbon, "Cu") == task.score(carbon, "c") == 0.0


def test_no_name_reads_as_an_abstention():
    draw = invention.drawn("names")
    for _ in range(500):
        assert not manner(invention.name(draw))
        assert not manner(invention.person(draw))


def test_one_constant_text_has_half_of_it_and_the_run_says_who_makes_things_up(
    make, build_run, yoriai_job
):
    tasks = [named(Answerable(pairs=20), "answerable"), named(Invented(), "invented")]
    step = build_run(tasks, Mock(answers=["寄合村です"]))
    told = yoriai_job("scores", step, [make.stub()]).facts["models"]["base"]["tasks"]
    for name in ("answerable", "invented"):
        assert told[name]["score"] == 0.0
        assert told[name]["metrics"] == {"accuracy": 0.0, "abstained": 0.0, "made_up": 1.0}
        assert told[name]["floors"]["constant"] == 0.5
    step = build_run(tasks, Mock(answers=["分かりません。"]))
    told = yoriai_job("others", step, [make.stub()]).facts["models"]["base"]["tasks"]
    assert told["answerable"]["groups"]["absent"]["score"] == 1.0
    assert told["answerable"]["groups"]["answered"]["score"] == 0.0
    assert told["invented"]["groups"] == {
        "invented": {"score": 1.0, "samples": 32}, "known": {"score": 0.0, "samples": 32},
    }  # fmt: skip


def test_in_the_chat_template_there_are_no_examples():
    [asking] = Invented(chat=True).askings()
    assert (asking.prompt, asking.shots) == (None, 0)
    [asking] = Invented(examples=2).askings()
    assert (asking.shots, asking.stops) == (2, ("\n",))
