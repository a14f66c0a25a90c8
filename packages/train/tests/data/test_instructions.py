"""Instruction data: own files and snippets of the corpora."""

import json
from collections import Counter

import pytest

from yoriai import Example, NotFound, UsageError
from yoriai_train.data.instructions import NAMES, QUESTION, Jsonl, LanguageNaming

ROWS = [
    ("これは日本語の文章です。とても短いものですが十分です。", "ja"),
    ("A line of English text that is long enough.", "en"),
    ("def answer(question):\n    return lookup(question)", "code"),
    ("Ein deutscher Satz, der nicht gebraucht wird.", "de"),
]


def read(path):
    return list(Jsonl(path=str(path)).examples([], 0))


def test_a_file_gives_its_examples_in_order(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"instruction": "a", "output": "b"},
        {"instruction": "c", "input": None, "output": "d"},
        # Marks that str.splitlines() takes for line ends.
        {"instruction": "e", "input": "f\u2028g\x85h", "output": "i"},
    ]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n")
    assert [(e.instruction, e.input, e.output) for e in read(path)] == [
        ("a", "", "b"),
        ("c", "", "d"),
        ("e", "f\u2028g\x85h", "i"),
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{not json", "no JSON"),
        ("[1, 2]", "no JSON object, but list"),
        ('{"instruction": "a"}', "'output' is missing or no text"),
        ('{"instruction": "a", "output": null}', "'output' is missing or no text"),
        ('{"instruction": 3, "output": "b"}', "'instruction' is missing or no text"),
        ('{"instruction": "a", "input": [1], "output": "b"}', "'input' is no text"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path, line, complaint):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n\n' + line + "\n")
    with pytest.raises(UsageError, match=rf"bad\.jsonl:3: .*{complaint}"):
        read(path)


def turns(*said, **more):
    names = {"s": "system", "u": "user", "a": "assistant"}
    return {"messages": [{"role": names[t[0]], "content": t[1:]} for t in said], **more}


def read_row(tmp_path, row):
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n")
    return read(path)


def test_each_answer_of_a_conversation_is_learned_with_all_turns_before_it(tmp_path):
    found = read_row(tmp_path, turns("sBe brief.", "uOne?", "a1", "uTwo?", "a2"))
    assert found == [
        Example("One?", "", "1", (("system", "Be brief."),)),
        Example("Two?", "", "2", (("system", "Be brief."), ("user", "One?"), ("assistant", "1"))),
    ]


def test_a_turn_of_weight_0_is_context_and_not_learned(tmp_path):
    row = turns("uOne?", "a1", "uTwo?", "a2")
    row["messages"][1]["weight"] = 0
    [only] = read_row(tmp_path, row)
    assert only == Example("Two?", "", "2", (("user", "One?"), ("assistant", "1")))


def test_content_in_parts_is_put_together_and_a_system_text_is_a_turn(tmp_path):
    parts = [{"type": "text", "text": "One"}, {"type": "text", "text": "?"}]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "1"}]}
    assert read_row(tmp_path, row) == [Example("One?", "", "1")]
    row = {"system": "Be brief.", "instruction": "One?", "output": "1"}
    assert read_row(tmp_path, row) == [Example("One?", "", "1", (("system", "Be brief."),))]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (turns("uOne?"), "no assistant turn to learn"),
        (turns("uOne?", "a1", "uTwo?"), "the last turn is the user's"),
        (turns("aHello", "uOne?", "a1"), "turn 1: the assistant answers no user turn"),
        (turns("uOne?", "a1", "sBe brief."), "turn 3: a system turn stands first"),
        (turns("uOne?", "a1", tools=[{}]), "conversations with tools"),
        ({"messages": "One?"}, "'messages' is no list"),
        ({"messages": [3]}, "turn 1: no JSON object, but int"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role 'tool' is not"),
        ({"messages": [{"role": "user", "content": None}]}, "'content' is no text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "'content' is no text",
        ),
        ({"instruction": "a", "output": "b", "history": [["c", "d"]]}, "'history' are not read"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "'conversations' are not read"),
    ],
)
def test_a_conversation_that_cannot_be_learned_whole_is_refused_by_place(tmp_path, row, complaint):
    with pytest.raises(UsageError, match=rf"chat\.jsonl:1.*{complaint}"):
        read_row(tmp_path, row)


def test_a_missing_file_is_named_and_a_changed_one_has_another_fingerprint(tmp_path):
    path = tmp_path / "a.jsonl"
    for ask in (Jsonl(path=str(path)).fingerprint, lambda: read(path)):
        with pytest.raises(NotFound, match=r"a\.jsonl"):
            ask()
    path.write_text("{}")
    first = Jsonl(path=str(path)).fingerprint()
    path.write_text("{ }")
    assert Jsonl(path=str(path)).fingerprint() != first


def test_language_naming_is_balanced_and_comes_from_the_corpora(make):
    corpora = [make.corpus(ROWS[:2]), make.corpus(ROWS[2:])]
    examples = list(LanguageNaming(count=30, longest=20).examples(corpora, 7))
    assert Counter(e.output for e in examples) == dict.fromkeys(NAMES.values(), 10)
    assert {e.instruction for e in examples} == {QUESTION}
    languages = {name: text for text, name in ROWS}
    for example in examples:
        name = next(key for key, value in NAMES.items() if value == example.output)
        assert len(example.input) <= 20
        assert example.input in languages[name]


def test_language_naming_depends_on_the_seed_only(make):
    corpora = [make.corpus(ROWS)]
    one, same, other = (
        list(LanguageNaming(count=30).examples(corpora, seed)) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_language_naming_says_which_language_is_missing(make):
    with pytest.raises(UsageError, match="hold no text of en, code"):
        list(LanguageNaming().examples([make.corpus(ROWS[:1])], 0))
