"""From what a model wrote to the documents that hold it, compared with the corpus itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoriai import Altered, Artifact
from yoriai.artifact import open_artifact
from yoriai.explaining import Point
from yoriai_corpus.search import hops as hopping

Make = Callable[..., Artifact]
TEXTS = ["吾輩は猫である。名前はまだ無い。", "吾輩は犬である。名前はもうある。"]


@pytest.fixture(scope="module")
def corpus(make_corpus: Make) -> Artifact:
    rows = [{"id": str(n), "text": text, "licence": "CC0-1.0"} for n, text in enumerate(TEXTS)]
    return make_corpus(rows)


@pytest.fixture(scope="module")
def index(corpus: Artifact, run_step: Make) -> Artifact:
    return run_step("corpus/index", [corpus])


def walk(index: Artifact, monkeypatch: Any, *inputs: Artifact, text: str) -> list[Any]:
    rows = [(a.name, a.digest, a, "") for a in inputs]
    monkeypatch.setattr(hopping, "parents", lambda _index: iter(rows))
    return list(hopping.hops(Point(kind="text", artifact=index, text=text, of=index)))


def test_a_span_is_followed_to_its_documents_and_their_licences(index, corpus, monkeypatch):
    spans, span, document = walk(index, monkeypatch, corpus, text="そこで吾輩は猫である。と")
    assert spans.facts["spans"] == 1
    assert span.says.startswith("'吾輩は猫である。', 1 times")
    assert (document.facts["id"], document.facts["licence"]) == ("0", "CC0-1.0")
    assert document.state == "checked"
    assert corpus.digest[:12] in document.by
    [point] = document.leads_to
    assert (point.kind, point.name) == ("document", f"{document.facts['source']}/0")


def test_without_the_corpus_nothing_is_claimed_of_its_text(index, monkeypatch):
    *_, document = walk(index, monkeypatch, text="吾輩は猫である。")
    assert (document.state, "is not here" in document.by) == ("unchecked", True)


def test_a_document_that_was_changed_since_is_noticed(index, corpus, monkeypatch, tmp_path: Path):
    place = tmp_path / "copy"
    shutil.copytree(corpus.path, place)
    [path] = (place / "documents").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Altered, match="other bytes than were sealed"):
        walk(index, monkeypatch, open_artifact(place), text="吾輩は猫である。")


def test_other_points_are_none_of_its_business(index):
    assert list(hopping.hops(Point(kind="model", artifact=index))) == []
