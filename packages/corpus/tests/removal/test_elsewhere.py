"""An index in another folder than its corpus, which a removal cannot reach."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from yoriai import Artifact, Refused
from yoriai.artifact import open_artifact
from yoriai_corpus.removal import folder
from yoriai_corpus.removal.selection import RemovalRequest
from yoriai_corpus.search.search import open_index
from yoriai_corpus.serve.served_index import ServedIndex

Make = Callable[..., Artifact]
REQUEST = RemovalRequest(reason="asked by its author", ids=("mine/a",))


@pytest.fixture
def elsewhere(make_corpus: Make, run_step: Make, tmp_path: Path) -> tuple[Path, Path, Artifact]:
    """The corpus's folder, the index's, and the index as it was made."""
    corpus = make_corpus([
        {"id": "a", "text": "a text of somebody"},
        {"id": "b", "text": "another text of the same corpus"},
    ])  # fmt: skip
    place, other = tmp_path / "rd/text@1", tmp_path / "other/index@1"
    shutil.copytree(corpus.path, place)
    index = run_step("corpus/index", [open_artifact(place)])
    shutil.copytree(index.path, other)
    manifest = dict(index.manifest) | {"circumstances": {"folders": ["../rd/text@1"]}}
    return place, other, Artifact(other, manifest)


def test_an_index_that_holds_what_was_removed_is_not_opened(
    elsewhere: tuple[Path, Path, Artifact],
) -> None:
    place, _, index = elsewhere
    assert open_index(index).count("somebody") == 1
    folder.apply(folder.plan(place.parent, REQUEST))
    with pytest.raises(Refused, match=r"holds documents that were removed from test/\w+@1 on 20"):
        open_index(index)
    # A build that brings the same corpus back does not make the index one of today's.
    assert open_artifact(place).digest != index.manifest["inputs"][0]["digest"]


def test_a_server_answers_no_more_from_the_moment_of_the_removal(
    elsewhere: tuple[Path, Path, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, other, index = elsewhere
    monkeypatch.setattr("yoriai_corpus.serve.served_index.open_artifact", lambda _: index)
    served = ServedIndex([other])
    before = served.state()
    assert served.get().count("somebody") == 1
    folder.apply(folder.plan(place.parent, REQUEST))
    for ask in (served.get, served.state, served.newer, served.get):
        with pytest.raises(Refused, match="removed from"):
            ask()
    assert before[0] != served._now()


def test_an_index_made_after_a_removal_is_opened(
    elsewhere: tuple[Path, Path, Artifact], run_step: Make
) -> None:
    place, _, _ = elsewhere
    folder.apply(folder.plan(place.parent, REQUEST))
    index = run_step("corpus/index", [open_artifact(place)])
    assert open_index(index).count("somebody") == 0
