"""Instruction data: own files and snippets of the corpora."""

import json
from collections import Counter

import pytest

from yoriai import NotFound, UsageError
from yoriai_train.data.instructions import NAMES, QUESTION, Jsonl, LanguageNaming

ROWS = [
    ("これは日本語の文章です。とても短いものですが十分です。", "ja"),
    ("A line of English text that is long enough.", "en"),
    ("def answer(question):\n    return lookup(question)", "code"),
    ("Ein deutscher Satz, der nicht gebraucht wird.", "de"),
]


def read(path):
    return list(Jsonl(path=str(path)).examples([], 0))


def said(example):
    """The turns as role and text, a star at those that are not learned."""
    return [f"{t.role[0]}{'' if t.learned else '*'}:{t.text}" for t in example.turns]


def test_a_file_gives_its_examples_in_order(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"instruction": "a", "output": "b"},
        {"instruction": "c", "input": None, "output": "d"},
        # Marks that str.splitlines() takes for line ends.
        {"instruction": "e", "input": "f\u2028g\x85h", "output": "i"},
    ]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n")
    assert [said(e) for e in read(path)] == [
        ["u:a", "a:b"],
        ["u:c", "a:d"],
        ["u:e\nf\u2028g\x85h", "a:i"],
    ]
    assert [e.place for e in read(path)] == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:3"]


def test_a_limit_takes_the_first_rows_and_a_variable_names_the_folder(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"instruction": "a", "output": "b"}\n' * 5)
    monkeypatch.setenv("MINE", str(tmp_path))
    found = list(Jsonl(path="$MINE/a.jsonl", limit=2).examples([], 0))
    assert [e.place for e in found] == ["a.jsonl:1", "a.jsonl:2"]


def test_a_json_list_is_read_as_its_rows(tmp_path):
    path = tmp_path / "train.json"
    dolly = {"instruction": "a", "context": "x", "response": "b", "category": "other"}
    path.write_text(json.dumps([dolly, {"instruction": "c", "input": "", "output": "d"}], indent=1))
    assert [said(e) for e in read(path)] == [["u:a\nx", "a:b"], ["u:c", "a:d"]]
    path.write_text(json.dumps([dolly, 3]))
    with pytest.raises(UsageError, match=r"train\.json:row 2: no JSON object, but int"):
        read(path)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{not json", "no JSON"),
        ("[1, 2]", "no JSON object, but list"),
    ],
)
def test_a_line_that_is_no_row_is_named_by_file_and_number(tmp_path, line, complaint):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n\n' + line + "\n")
    with pytest.raises(UsageError, match=rf"bad\.jsonl:3: .*{complaint}"):
        read(path)


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
    asked = [e.turns[0].text.partition("\n") for e in examples]
    answers = [e.turns[1].text for e in examples]
    assert Counter(answers) == dict.fromkeys(NAMES.values(), 10)
    assert {question for question, _, _ in asked} == {QUESTION}
    languages = {name: text for text, name in ROWS}
    for (_, _, snippet), answer in zip(asked, answers, strict=True):
        name = next(key for key, value in NAMES.items() if value == answer)
        assert len(snippet) <= 20
        assert snippet in languages[name]


def test_language_naming_depends_on_the_seed_only(make):
    corpora = [make.corpus(ROWS)]
    one, same, other = (
        list(LanguageNaming(count=30).examples(corpora, seed)) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_language_naming_says_which_language_is_missing(make):
    with pytest.raises(UsageError, match="hold no text of en, code"):
        list(LanguageNaming().examples([make.corpus(ROWS[:1])], 0))
