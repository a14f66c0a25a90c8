"""Answers that say that they are none."""

import pytest

from yoriai_eval.scoring.abstention import KINDS, kind, manner


@pytest.mark.parametrize(
    "text",
    [
        "わかりません。",
        "分かりません",
        "申し訳ありませんが、わかりません。",
        "その人物については知りません。",
        "文章には書かれていません。",
        "本文に記載がありません",
        "該当する情報は見つかりませんでした。",
        "この文章からは判断できません。",
        "特定できない。",
        "存じません",
        "不明です。",
        "答えられません。",
        "I don't know.",
        "I do not know the answer",
        "I’m not sure.",
        "It cannot be determined.",
        "The passage does not say; it is not mentioned.",
        "Unknown.",
        "There is no information on it.",
        "わからない\nなぜなら",
        "すみません、分かりかねます。",
    ],
)
def test_answers_that_say_they_do_not_know_abstain(text):
    assert manner(text) == "abstained"


@pytest.mark.parametrize(
    "text",
    [
        "お答えできません。",
        "申し訳ございませんが、その質問にはお答えすることができません。",
        "お手伝いできません",
        "ご要望には対応できかねます。",
        "I'm sorry, but I can't help with that.",
        "I cannot assist with that request.",
        "As an AI language model, I do not answer such things.",
    ],
)
def test_answers_that_will_not_say_are_declined(text):
    assert manner(text) == "declined"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "東京",
        "不明",
        "含意",
        "知床半島",
        "分かれ道",
        "1603年",
        "情報処理推進機構",
        "確かではありませんが、東京です。",
        "わかりませんが、京都だと思います。",
        "I am not sure, but Tokyo.",
        "The unknown soldier",
        "彼は東京を知った。わかりません。",
        "unanswered prayers",
        "ない",
        "見えない大学",
        "書かれた年は1603年",
        "答えは42です",
    ],
)
def test_other_answers_are_answers(text):
    assert manner(text) == ""


def test_what_became_of_an_answer_has_one_name():
    def row(reason, answer=""):
        return kind({"reason": reason, "answer": answer, "output": answer})

    assert [
        row("correct", "わかりません"),
        row("wrong", "東京"),
        row("wrong", "わかりません"),
        row("truncated", "申し訳ありませんが、お答えできません"),
        row("refused"),
        row("unparsed"),
        row("errored"),
    ] == list(KINDS)
    assert row("truncated", "東京で") == "no answer"
    assert kind({"reason": "unparsed", "answer": "", "output": "I don't know"}) == "abstained"
