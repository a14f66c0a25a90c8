"""Questions that are the same, whatever template they are put in."""

from yoriai_eval.contamination.same_question import FoldedQuestions


def how(asked: str, other: str) -> str:
    found = list(FoldedQuestions([asked]).same(other))
    return found[0].how if found else ""


def test_the_same_input_is_the_same_question_however_it_is_written():
    assert how("前提：犬が走る。\n仮説：犬がいる。", "前提:犬が走る。 \n仮説:犬がいる。") == "input"
    assert how("ABC は何？", "ａｂｃは何?") == "input"
    assert how("犬が走る。", "犬が歩く。") == ""


def test_the_same_sentences_under_other_labels_are_the_same_in_either_order():
    asked = "前提：犬が走る。\n仮説：犬がいる。"
    assert how(asked, "文1：犬が走る。\n文2：犬がいる。") == "fields"
    assert how(asked, "文1：犬がいる。\n文2：犬が走る。") == "fields"
    assert how(asked, "文1：犬がいる。\n文2：猫が走る。") == ""
    assert how("質問：首都は？", "首都は？") == "fields"


def test_premise_and_hypothesis_exchanged_are_another_question_on_the_same_pair():
    asked = "前提：犬が走る。\n仮説：犬がいる。"
    assert how(asked, "前提：犬がいる。\n仮説：犬が走る。") == "swapped"
    # A pair of equal sentences has no other order.
    assert how("前提：犬。\n仮説：犬。", "前提：犬。\n仮説：犬。") == "input"


def test_empty_questions_are_like_no_other():
    assert how("", "") == ""
    assert how("質問：", "問題：") == ""


def test_every_sample_that_is_the_same_is_named_once():
    questions = FoldedQuestions(["前提：あ\n仮説：い", "前提：あ\n仮説：い", "前提：い\n仮説：あ"])
    assert [(s.item, s.how) for s in questions.same("前提：あ\n仮説：い")] == [
        (0, "input"),
        (1, "input"),
        (2, "swapped"),
    ]
