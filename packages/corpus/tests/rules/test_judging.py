"""Asking every rule about a document: values, limits, verdicts and what edits changed."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, Document, Filter, NotFound, UsageError, Verdict
from yoriai.registry import Registry
from yoriai_corpus.commands.one_document import read_document
from yoriai_corpus.rules.base import Chain, Limit
from yoriai_corpus.rules.judging import (
    build_rules,
    differences,
    dropped_first,
    judge,
    judge_each,
    rules_named,
    rules_of_corpus,
    rules_of_recipe,
)
from yoriai_corpus.text.batch import F64, Batch

Make = Callable[..., Artifact]


class Length(Limit):
    """Drop what has not between ``least`` and ``most`` characters."""

    version: ClassVar[str] = "7"
    least: float = 3
    most: float = 8

    def measure(self, batch: Batch) -> F64:
        return batch.lengths.astype(float)

    def limits(self) -> tuple[float, float]:
        return self.least, self.most

    def span(self, text: str) -> str:
        return text[:2]


class AtLeast(Length):
    """The same without a limit above."""

    most: float = float("inf")


class Double(Filter):
    """Say everything twice."""

    def judge(self, document: Document) -> Verdict:
        return Verdict("edit", text=document.text * 2, value=2)


class Broken(Filter):
    """Fail."""

    def judge(self, document: Document) -> Verdict:
        raise ValueError("no")


class Both(Chain):
    """Length, then twice."""

    def chain(self) -> list[tuple[str, Filter]]:
        return [("length", Length()), ("double", Double())]


class Outside(Filter):
    """A rule of another package: it has the contract alone."""

    def judge(self, document: Document) -> Verdict:
        return Verdict("drop", value=1, threshold=2) if len(document.text) < 2 else self.KEEP

    def measured(self, documents: Sequence[Document]) -> list[float]:
        return [float(len(document.text)) for document in documents]

    def limits(self) -> tuple[float, float]:
        return 2, float("inf")


class OutsideChain(Filter):
    """Rules in order, of another package."""

    def chain(self) -> list[tuple[str, Filter]]:
        return [("outside", Outside()), ("double", Double())]


def document(text: str, language: str = "ja") -> Document:
    return Document("s", "1", text, language)


def test_a_limit_shows_its_value_and_limits_also_when_it_keeps() -> None:
    (answer,) = judge(document("あいうえ"), [Length()])
    assert (answer.verdict, answer.value, answer.least, answer.most) == ("keep", 4, 3, 8)
    assert (answer.version, answer.limits) == ("7", "3 … 8")
    (answer,) = judge(document("あ"), [AtLeast()])
    assert (answer.verdict, answer.span, answer.limits) == ("drop", "あ", "≥ 3")


def test_every_rule_is_asked_after_the_first_drop_on_the_text_as_edited() -> None:
    answers = judge(document("あい"), [Length(), Double(), Length(), Length(least=9, most=99)])
    assert [a.verdict for a in answers] == ["drop", "edit", "keep", "drop"]
    assert [a.value for a in answers] == [2, 2, 4, 4]
    assert dropped_first(answers) == "Length"
    assert dropped_first(answers[1:3]) == ""


def test_a_rule_for_other_languages_is_not_asked_and_says_so() -> None:
    (answer,) = judge(document("あ", ""), [Length(languages=("ja", "en"))])
    assert answer.verdict == "not asked"
    assert answer.reason == "judges ja, en; this document's language is unknown"


def test_a_rule_that_fails_does_not_silence_the_others() -> None:
    answers = judge(document("あ"), [Broken(), Length()])
    assert [a.verdict for a in answers] == ["failed", "drop"]
    assert answers[0].reason == "ValueError: no"


def test_a_chain_is_written_out() -> None:
    chain = Both(languages=("ja",))
    chain._entry = "acme/both"
    answers = judge(document("あいう"), [chain])
    assert [a.rule for a in answers] == ["acme/both.length", "acme/both.double"]


def test_rules_that_have_the_contract_alone_are_shown_and_written_out_like_ours() -> None:
    chain = OutsideChain(languages=("ja",))
    chain._entry = "acme/two"
    answers = judge(document("あいう"), [chain])
    assert [a.rule for a in answers] == ["acme/two.outside", "acme/two.double"]
    assert (answers[0].verdict, answers[0].value, answers[0].limits) == ("keep", 3, "≥ 2")


def test_many_documents_are_judged_as_one_by_one() -> None:
    rules = [Length(languages=("ja",)), Double(), Length()]
    documents = [document("あ" * n, language) for n in range(12) for language in ("ja", "en")]
    together = list(judge_each(documents, rules))
    for index, one in enumerate(documents):
        for whole, alone in zip(together, judge_each([one], rules), strict=True):
            assert whole.verdicts[index] == alone.verdicts[0]
            assert whole.values[index] == alone.values[0]
            assert whole.texts[index] == alone.texts[0]
    assert documents[5].text == "あ" * 2  # what was handed over is not changed


def test_an_edit_shows_line_and_pieces() -> None:
    before = "一行目\n宛先は taro@example.jp です。\n三行目\n" + "あ" * 200 + "B" + "い" * 200
    after = before.replace("taro@example.jp", "xxxx@yyy.tld").replace("B", "")
    changes = differences(before, after)
    assert [change.line for change in changes] == [2, 4]
    assert "宛先は taro@example.jp です" in changes[0].before
    assert "宛先は xxxx@yyy.tld です" in changes[0].after
    assert changes[-1].before == "…" + "あ" * 12 + "B" + "い" * 12 + "…"
    assert changes[-1].after == "…" + "あ" * 12 + "い" * 12 + "…"
    assert differences(before, before) == []


def test_a_long_passage_is_compared_by_its_ends_and_changes_are_limited() -> None:
    (change,) = differences("あ" * 9000 + "X" + "い" * 9000, "あ" * 9000 + "い" * 9000)
    assert change.before == "…" + "あ" * 12 + "X" + "い" * 12 + "…"
    text = "a1\n" * 30
    assert len(differences(text, text.replace("1", "2"), limit=7)) == 7


@given(st.text("ab\nあ", max_size=40), st.text("ab\nあ", max_size=40))
def test_texts_differ_exactly_if_a_change_is_found(one: str, other: str) -> None:
    changes = differences(one, other)
    assert bool(changes) == (one != other)
    assert all(1 <= change.line <= one.count("\n") + 1 for change in changes)


# --- which rules ---------------------------------------------------------------------------


def test_rules_are_named_or_written_as_yaml(yoriai_registry: Registry) -> None:
    names = [rule.entry for rule in rules_named("corpus/min-length, kana", yoriai_registry)]
    assert names == ["corpus/min-length", "corpus/kana"]
    text = "{use: corpus/min-length, characters: 7}"
    for yaml in (text, f"[{text}]"):
        (rule,) = rules_named(yaml, yoriai_registry)
        assert rule.model_dump()["characters"] == 7


@pytest.mark.parametrize(
    ("names", "message", "hint"),
    [
        ("corpus/min-lenght", "no filter", "corpus/min-length"),
        ("{use: corpus/min-length, charakters: 7}", "unknown key", "characters"),
        ("{use: [", "not valid YAML", ""),
    ],
)
def test_rules_that_are_not_there_are_refused_with_the_nearest(
    names: str, message: str, hint: str, yoriai_registry: Registry
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        rules_named(names, yoriai_registry)
    assert hint in caught.value.message + caught.value.hint


def test_the_rules_of_a_corpus_are_those_of_its_recipe(
    make_corpus: Make, yoriai_registry: Registry
) -> None:
    rules = [{"use": "corpus/min-length", "characters": 3}, "corpus/mask-email"]
    corpus = make_corpus(["一つの文章です。", "短い"], rules=rules)
    again = rules_of_corpus(corpus, yoriai_registry)
    assert again == build_rules(rules, yoriai_registry)


def test_replay_names_the_rule_that_the_build_named(
    make_corpus: Make, rows_of: Callable[..., list[dict[str, Any]]], yoriai_registry: Registry
) -> None:
    texts = ["短い", "1234567890 " * 20, "This is English all through. " * 4, "同じこと。" * 400]
    texts += [f"宛先は taro{n}@example.jp です。これは{n}番目の文書でした。" for n in range(5)]
    rows = [{"text": text, "lang": lang} for text in texts for lang in ("ja", "en")]
    names = ("letters", "kana", "compression", "mask-email")
    rules = [{"use": "corpus/min-length", "characters": 5}, *(f"corpus/{name}" for name in names)]
    corpus = make_corpus(rows, rules=rules)
    built = rules_of_corpus(corpus, yoriai_registry)
    dropped = rows_of(corpus, "dropped")
    assert len({row["rule"] for row in dropped}) == 4
    for row in dropped:
        answers = judge(Document(row["source"], row["id"], row["text"], row["language"]), built)
        assert dropped_first(answers) == row["rule"]
        answer = next(a for a in answers if a.rule == row["rule"])
        assert (answer.value, answer.version) == (row["value"], row["rule_version"])
        assert row["threshold"] in (answer.least, answer.most)
    for row in rows_of(corpus, "documents"):
        document_ = Document(row["source"], row["id"], row["text"], row["language"])
        assert dropped_first(judge(document_, built)) == ""


def test_the_rules_of_a_step_are_found(tmp_path: Path, yoriai_registry: Registry) -> None:
    path = tmp_path / "r.yaml"
    source = "sources: [{use: corpus/python-topics}]"
    path.write_text(
        "name: r\nsteps:\n"
        f"  one: {{uses: corpus/build, {source}, rules: [corpus/kana]}}\n"
        f"  two: {{uses: corpus/build, {source}}}\n"
        "  pieces: {uses: corpus/tokenizer, from: one, size: 400}\n"
    )
    (rule,) = rules_of_recipe(path, "one", yoriai_registry)
    assert rule.entry == "corpus/kana"
    assert rules_of_recipe(path, "two", yoriai_registry) == []
    with pytest.raises(UsageError, match="2 steps with rules") as caught:
        rules_of_recipe(path, "", yoriai_registry)
    assert "one, two" in caught.value.hint
    with pytest.raises(NotFound, match="no step 'pieces' with rules"):
        rules_of_recipe(path, "pieces", yoriai_registry)


# --- the document --------------------------------------------------------------------------


def read(name: Path | str, row: int = 1, field: str = "text", data: bytes = b"") -> Document:
    return read_document(str(name), row, field, io.BytesIO(data))


def test_a_document_is_read_from_text_json_lines_and_standard_input(tmp_path: Path) -> None:
    text, lines, packed, whole = (
        tmp_path / n for n in ("a.txt", "b.jsonl", "c.jsonl.gz", "d.json")
    )
    rows: list[dict[str, Any]] = [
        {"text": "一"},
        {"text": "二", "id": "x", "lang": "ja", "url": "u"},
    ]
    text.write_text("\ufeff日本語", encoding="utf-8")
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    whole.write_text(json.dumps(rows, indent=2))
    assert read(text) == Document("file", "a.txt", "日本語")
    assert read("-", data="あ".encode()) == Document("file", "stdin", "あ")
    assert read(lines) == Document("file", "b.jsonl:1", "一")
    for path in (lines, packed, whole):
        assert read(path, 2) == Document("file", "x", "二", "ja", "u")


@pytest.mark.parametrize(
    ("data", "row", "message"),
    [
        (b'{"text": "a"}\n', 2, "no row 2"),
        (b"[1]\n", 1, "no text under 'text'"),
        (b'{"body": "a"}\n', 1, "no text under 'text'"),
        (b"{\n", 1, "not JSON"),
        (b'{"text": "\\ud800"}\n', 1, "surrogate"),
        (b"[" * 100_000, 1, "not JSON"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(
    data: bytes, row: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(data)
    with pytest.raises((UsageError, NotFound), match=message):
        read(path, row)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        read(tmp_path / "none.txt")
    path = tmp_path / "b.txt"
    path.write_bytes(b"abc\xff")
    with pytest.raises(UsageError, match=r"not UTF-8 \(byte 3\)"):
        read(path)
    broken = tmp_path / "b.jsonl.gz"
    broken.write_bytes(gzip.compress(b'{"text": "a"}\n' * 999)[:40])
    with pytest.raises(UsageError, match="cannot be read"):
        read(broken, 999)
