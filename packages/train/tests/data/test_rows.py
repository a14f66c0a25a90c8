"""Rows of instruction data: the forms in which they are published, and what is refused."""

import pytest

from yoriai import UsageError
from yoriai_train.data.rows import read_row

NAMES = {"s": "system", "u": "user", "a": "assistant"}


def turns(*texts, **more):
    return {"messages": [{"role": NAMES[t[0]], "content": t[1:]} for t in texts], **more}


def said(found):
    return [f"{t.role[0]}{'' if t.learned else '*'}:{t.text}" for t in found]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (turns("sBrief.", "uOne?", "a1", "uTwo?", "a2"), "s:Brief. u:One? a:1 u:Two? a:2"),
        ({"instruction": "One?", "output": "1", "system": "Brief."}, "s:Brief. u:One? a:1"),
        (
            {"conversations": [{"from": "human", "value": "One?"}, {"from": "gpt", "value": "1"}]},
            "u:One? a:1",
        ),
        (
            {
                "system": "Brief.",
                "conversations": [
                    {"from": "human", "value": "One?"},
                    {"from": "gpt", "value": "1"},
                ],
            },
            "s:Brief. u:One? a:1",
        ),
        (
            {"utterances": [{"name": "user", "text": "One?"}, {"name": "agent", "text": "1"}]},
            "u:One? a:1",
        ),
        ({"instruction": "One?", "context": "", "response": "1", "category": "x"}, "u:One? a:1"),
        # jaster and janli.head.json of llm-jp-sft: 'text' repeats the fields.
        (
            {"ID": "janli-0", "instruction": "One?", "input": "x", "output": "1", "text": "..."},
            "u:One?\nx a:1",
        ),
        # data/example.jsonl of llm-jp-sft.
        (
            {"text": "指示です。\n\n### 指示:\n山は？\n\n### 応答:\n富士山"},
            "s:指示です。 u:山は？ a:富士山",
        ),
        # Its README.
        (
            {"text": "### 指示：答えなさい。 ### 質問：山は？ ### 回答：富士山"},
            "u:答えなさい。\n\n山は？ a:富士山",
        ),
        # Full width and with an input.
        (
            {"text": "次。\n### 指示：\n分類\n\n### 入力：\n前提\n### 回答：\nはい"},
            "s:次。 u:分類\n\n前提 a:はい",
        ),
        (
            {"text": "### 指示:\na\n\n### 応答:\nb\n\n### 指示:\nc\n\n### 応答:\nd"},
            "u:a a:b u:c a:d",
        ),
    ],
)
def test_a_row_of_each_published_form_gives_its_turns(row, expected):
    assert " ".join(said(read_row(row, "x:1").turns)) == expected


def test_a_turn_of_weight_0_is_read_and_not_learned():
    row = turns("uOne?", "a1", "uTwo?", "a2")
    row["messages"][1]["weight"] = 0
    assert said(read_row(row, "x:1").turns) == ["u:One?", "a*:1", "u:Two?", "a:2"]


def test_content_in_parts_is_put_together():
    parts = [{"type": "text", "text": "One"}, {"type": "text", "text": "?"}]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "1"}]}
    assert said(read_row(row, "x:1").turns) == ["u:One?", "a:1"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "One?", "chosen": "1", "rejected": "2"},
        {"prompt": turns("uOne?")["messages"], "chosen": "1", "rejected": "2"},
        {
            "chosen": turns("uOne?", "a1")["messages"],
            "rejected": turns("uOne?", "a2")["messages"],
        },
        # hh-rlhf-12k-ja, as llm-jp-dpo reads it.
        {
            "conversations": [{"from": "human", "value": "One?"}],
            "chosen": "1",
            "rejected": "2",
        },
        {
            "chosen": "\n\nHuman: One?\n\nAssistant: 1",
            "rejected": "\n\nHuman: One?\n\nAssistant: 2",
        },
    ],
)
def test_a_preference_of_each_published_form_gives_both_sides(row):
    found = read_row(row, "x:1")
    assert said(found.turns) == ["u:One?", "a:1"]
    assert said(found.rejected) == ["u:One?", "a:2"]


def test_a_long_hh_conversation_is_cut_into_turns():
    text = "\n\nHuman: One?\n\nAssistant: 1\n\nHuman: Two?\n\nAssistant: "
    found = read_row({"chosen": text + "yes", "rejected": text + "no"}, "x:1")
    assert said(found.turns) == ["u:One?", "a:1", "u:Two?", "a:yes"]
    assert said(found.rejected)[-1] == "a:no"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"instruction": "a"}, "'output' is missing or no text"),
        ({"instruction": "a", "output": None}, "'output' is missing or no text"),
        ({"instruction": 3, "output": "b"}, "'instruction' is missing or no text"),
        ({"instruction": "a", "input": [1], "output": "b"}, "'input' is no text"),
        (turns("uOne?"), "no assistant turn to learn"),
        (turns("uOne?", "a1", "uTwo?"), "the last turn is the user's"),
        (turns("aHello", "uOne?", "a1"), "turn 1: the assistant answers no user turn"),
        (turns("uOne?", "uTwo?", "a1"), "turn 2: the user's turn before has no answer"),
        (turns("uOne?", "a1", "sBe brief."), "turn 3: a system turn stands first"),
        (turns("uOne?", "a1", tools=[{}]), "conversations with tools"),
        (turns("sBrief.", "uOne?", "a1", system="Long."), "two system texts"),
        ({"messages": "One?"}, "'messages' is no list"),
        ({"messages": []}, "'messages' is no list"),
        ({"messages": [3]}, "turn 1: no JSON object, but int"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role 'tool' is not"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "is not system, user or assistant"),
        ({"messages": [{"role": "user", "content": None}]}, "'content' is no text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "'content' is no"),
        (
            {"messages": [{"role": "user", "content": "a", "weight": 0.5}]},
            "turn 1: weight 0.5 is not 0 or 1",
        ),
        (
            {"messages": [{"role": "user", "content": "a", "reasoning_content": "b"}]},
            "turn 1: 'reasoning_content' is not read",
        ),
        ({"instruction": "a", "output": "b", "history": [["c", "d"]]}, "'history' are not read"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "no assistant turn"),
        ({"text": "no heads"}, "holds no '### 指示:'"),
        ({"text": "### 指示:\na"}, "holds no '### 指示:'"),
        ({"prompt": "a", "chosen": "b"}, "'rejected' is missing"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "nothing is preferred"),
        ({"prompt": 3, "chosen": "b", "rejected": "c"}, "'prompt' is neither"),
        ({"chosen": "b", "rejected": "c"}, "not one conversation"),
        (
            {
                "chosen": turns("uOne?", "a1")["messages"],
                "rejected": turns("uTwo?", "a2")["messages"],
            },
            "not one conversation",
        ),
    ],
)
def test_a_row_that_cannot_be_learned_whole_is_refused_by_place(row, complaint):
    with pytest.raises(UsageError, match=rf"x:1.*{complaint}"):
        read_row(row, "x:1")
