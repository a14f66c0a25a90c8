"""What the package promises to core: entries that hold, sections of a run's page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yoriai import Artifact
from yoriai_corpus._plugin import yoriai_sections


def test_every_entry_keeps_the_promises_of_a_plugin(
    yoriai_registry: Any, yoriai_conformance: Any
) -> None:
    # Dask's cluster has tests of its own (engines/test_dask.py); it takes seconds to start.
    keys = {"corpus/local": {"workers": 1}, "corpus/dask": None}
    assert yoriai_conformance(yoriai_registry, "corpus", keys) == []


def test_a_corpus_is_shown_with_its_account_and_what_was_dropped(
    make_corpus: Callable[..., Artifact],
) -> None:
    corpus = make_corpus(
        ["a", "long enough"], rules=[{"use": "corpus/min-length", "characters": 5}]
    )
    (section,) = yoriai_sections(corpus)
    assert section.tables[0].rows[-1] == ("all", 2, 1, 0, 1, 0, "50.0%", "–")
    assert [figure.series for figure in section.figures] == [
        {"dropped": [("corpus/min-length", 1)]},
        {"kept": [("unknown", 11 / 1e6)]},
    ]


def test_a_corpus_that_lost_nothing_still_shows_what_was_kept(
    make_corpus: Callable[..., Artifact],
) -> None:
    (section,) = yoriai_sections(make_corpus(["a text"]))
    assert [figure.title for figure in section.figures] == ["What was kept"]


def test_tokenizer_and_tokens_have_sections_and_an_index_has_none(
    three_languages: Artifact, tokenizer: Artifact, run_step: Callable[..., Artifact]
) -> None:
    (section,) = yoriai_sections(tokenizer)
    assert len(section.figures) == 1
    (section,) = yoriai_sections(run_step("corpus/tokens", [three_languages, tokenizer]))
    assert sum(row[2] for row in section.tables[0].rows) == 1
    assert list(yoriai_sections(run_step("corpus/index", [three_languages]))) == []
