"""Which trainings saw a document, asked of plugins that are played here."""

from __future__ import annotations

from typing import Any

import pytest

from yoriai import Artifact
from yoriai.explaining import Hop
from yoriai_corpus.search import seen
from yoriai_corpus.search.seen import SeenBy, Trainings, in_words


class Played:
    """A registry with one plugin, which knows ``s/known``; it remembers what it was asked."""

    def __init__(self, answer: Any = None) -> None:
        self.asked: list[list[str]] = []
        self.answer = answer

    def moments(self, _hook: str) -> Any:
        def told(point: Any) -> Any:
            self.asked.append(list(point.names))
            if self.answer:
                return self.answer(point)
            return [
                Hop(kind="steps", says="", state="checked", by="a digest",
                    facts={"name": "s/known", "model": f"m@{n}", "of": 10, "steps": [n]})
                for n in (2, 1)
            ]  # fmt: skip

        yield "told", told


@pytest.fixture
def model(make_corpus: Any) -> Artifact:
    made: Artifact = make_corpus(["a document, in the place of a model"])
    return made


def test_every_training_of_a_line_is_named_and_what_nobody_knows_is_said(model: Any) -> None:
    registry: Any = Played()
    told = Trainings([model], [], registry).saw([("s/known", "kept"), ("s/other", "kept")])
    assert [(one.model, one.steps) for one in told["s/known"]] == [("m@2", [2]), ("m@1", [1])]
    [other] = told["s/other"]
    assert (other.model, other.count, other.state) == (model.name, None, "broken")
    assert registry.asked == [["s/known", "s/other"]]


def test_what_was_not_kept_is_not_asked_for(model: Any) -> None:
    registry: Any = Played()
    told = Trainings([model], [], registry).saw([("s/known", "dropped")])
    assert (told["s/known"][0].count, registry.asked) == (0, [])


def test_documents_beyond_the_most_are_said_not_to_be_asked(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "MOST_DOCUMENTS", 1)
    registry: Any = Played()
    told = Trainings([model], [], registry).saw([("s/known", "kept"), ("s/x", "kept")])
    assert (told["s/x"][0].state, told["s/x"][0].by[:9]) == ("unchecked", "not asked")
    assert registry.asked == [["s/known"]]


def test_a_plugin_that_fails_is_the_reason_given(model: Any) -> None:
    def fail(_point: Any) -> Any:
        raise ValueError("no shards")

    registry: Any = Played(fail)
    [one] = Trainings([model], [], registry).saw([("s/x", "kept")])["s/x"]
    assert (one.count, one.state, "no shards" in one.by) == (None, "broken", True)


def test_a_model_of_another_corpus_is_noted(model: Any, make_corpus: Any) -> None:
    registry: Any = Played()
    assert "compared by name" in Trainings([model], [make_corpus(["x"])], registry).notes[0]


def test_in_words_the_first_steps_are_named() -> None:
    many = SeenBy("m@1", list(range(1, 51)), 60, 480, "checked", "")
    assert in_words(many, steps=2) == "m@1: 60 of 480 steps (1, 2 …)"
    assert in_words(SeenBy("m@1", [], 0, 480, "checked", "")) == "m@1: 0 of 480 steps"
    counted = SeenBy("m@1", [3], 1, 480, "checked", "", tokens=1200)
    assert in_words(counted) == "m@1: 1 of 480 steps (3), 1,200 tokens"
    assert in_words(SeenBy("m@1", [], None, 480, "broken", "it is gone")) == "m@1: it is gone"
