"""Evaluation texts in the corpus: found exactly, nearly, and never by what they share with all."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from yoriai import Artifact, Document, NotFound, Sample, Task, UsageError
from yoriai.same_text import EvaluationText
from yoriai_corpus.build import contamination
from yoriai_corpus.build.contamination import Finder
from yoriai_corpus.build.step import Decontaminate
from yoriai_corpus.text.batch import Batch

Make = Callable[..., Artifact]


class Exam(Task):
    """Two questions of an examination."""

    form: ClassVar[Literal["ranked"]] = "ranked"

    def samples(self, artifacts: Sequence[Artifact]) -> Iterable[Sample]:
        choices = ("富士山という山です", "海")
        yield Sample(id="ja1", text="日本でいちばん高い山は", choices=choices, answer=0)
        yield Sample(
            id="en1", text="The highest mountain of all Japan is the one called Mount Fuji."
        )


class FromArtifacts(Exam):
    """Has questions only where a corpus is at hand."""

    def samples(self, artifacts: Sequence[Artifact]) -> Iterable[Sample]:
        raise UsageError("needs a corpus")


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("問い。日本でいちばん高い山は富士山という山ですか。", "ja1"),
        ("日本でいちばん 高い山は\n富士山と", ""),  # fifteen characters in common
        ("日本でいちばん 高い山は\n富士山とい", "ja1"),  # sixteen, across space
        ("ニホンより日本デイチバン高い山ハ富士山トイウ山デス", "ja1"),  # katakana
        ("say: THE HIGHEST MOUNTAIN OF ALL JAPAN IS THE ONE CALLED MOUNT FUJI.", "en1"),
        ("ＴＨＥ ＨＩＧＨＥＳＴ mountain of all Japan is the one called Mount Fuji", "en1"),
        ("The highest mountain of all Japan is Fuji.", ""),
        ("何の関係もない文章です。", ""),
    ],
)
def test_documents_that_share_an_ngram_with_an_evaluation_text_are_dropped(
    text: str, item: str, make_corpus: Make, rows_of: Any
) -> None:
    exam = Exam()
    exam._entry = "acme/exam"
    against = {"against": [exam, FromArtifacts()]}
    corpus = make_corpus([{"id": "x", "text": text}, "a clean document"], decontaminate=against)
    dropped = rows_of(corpus, "dropped")
    assert [row["span"] for row in dropped] == ([f"acme/exam: {item}"] if item else [])
    assert all(row["rule"] == "corpus/contaminated" for row in dropped)
    table = rows_of(corpus, "contamination")
    assert {(r["task"], r["item"], r["source"], r["id"], r["kind"]) for r in table} == (
        {("acme/exam", item, "mine", "x", "exact")} if item else set()
    )
    assert corpus.facts["contamination"]["acme/exam"] == {"texts": 2, "too_short": 0}


def test_a_task_whose_data_is_not_here_is_named(make_corpus: Make) -> None:
    class Absent(Exam):
        def samples(self, artifacts: Any) -> Any:
            raise NotFound("exam.tsv is not here", hint="put it into a folder")

    exam = Absent()
    exam._entry = "acme/exam"
    with pytest.raises(NotFound, match="acme/exam cannot be looked for: exam") as told:
        make_corpus(["a document"], decontaminate={"against": [exam]})
    assert "put it into a folder" in told.value.hint


def test_a_copy_with_a_small_edit_every_few_words_is_found_as_near(
    tmp_path: Path,
) -> None:
    rng = random.Random(3)
    question = "".join(chr(0x4E00 + rng.randrange(3000)) for _ in range(150))
    edited = list(question)
    for place in range(7, 150, 15):  # no sixteen characters stay together
        edited[place] = "＊"
    contamination.write_texts(tmp_path / "i.json", [EvaluationText("t", "q", (question,))], 16, 0.5)
    batch = Batch(
        [Document("s", "1", "前置き" + "".join(edited)), Document("s", "2", "別の文章" * 99)]
    )
    found = Finder(tmp_path / "i.json").find(batch)
    ((hit,),) = found.values()
    assert (list(found), hit.kind, hit.item) == ([0], "near", "q")
    # Each edit takes five of the 146 n-grams.
    assert hit.share == pytest.approx((146 - 50) / 146)
    contamination.write_texts(
        tmp_path / "j.json", [EvaluationText("t", "q", (question,))], 16, None
    )
    assert Finder(tmp_path / "j.json").find(batch) == {}


def test_what_all_questions_of_a_task_share_is_no_sign_of_any(tmp_path: Path) -> None:
    rng = random.Random(4)
    template = "次の前提から仮説が導けるかを答えてください。"
    items = [
        EvaluationText(
            "t",
            str(n),
            (template + "".join(chr(0x4E00 + rng.randrange(3000)) for _ in range(40)),),
        )
        for n in range(40)
    ]
    contamination.write_texts(tmp_path / "i.json", items, 16, None)
    finder = Finder(tmp_path / "i.json")
    assert finder.find(Batch([Document("s", "1", f"演習。{template}以上。")])) == {}
    (hit,) = finder.find(Batch([Document("s", "1", items[7].fields[0])]))[0]
    assert hit.item == "7"


def test_all_means_every_task_that_can_be_built_as_it_stands(yoriai_registry: Any) -> None:
    names = {found.name for found in yoriai_registry.found("tasks")}
    context = {"registry": yoriai_registry}
    asked = Decontaminate.model_validate({"against": "all"}, context=context)
    written = {task.entry for task in asked.against}
    assert written <= names
    if names:
        assert written
