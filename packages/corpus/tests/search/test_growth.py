"""An index that grows by corpora, several searched as one, and corpora newer than their index."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from yoriai import Artifact, UsageError
from yoriai.artifact import open_artifact
from yoriai_corpus.account.audit import paths_of
from yoriai_corpus.search import part, step
from yoriai_corpus.search.query import SearchQuery
from yoriai_corpus.search.search import SearchIndex, newer

Make = Callable[..., Artifact]


@pytest.fixture(scope="module")
def corpora(make_corpus: Make) -> list[Artifact]:
    return [
        make_corpus(
            [{"id": f"{name}{n}", "text": f"猫{name}{n} and 犬"} for n in range(3)]
            + [{"id": f"{name}-copy", "text": f"猫{name}0 and 犬"}],
            name=name,
            dedup={"exact": True, "near": None},
        )
        for name in ("one", "two", "three")
    ]


def answers(index: SearchIndex) -> list[tuple[str, str, int]]:
    found = index.find(SearchQuery(text="猫", either=("and",)))
    assert found.documents == 12
    return sorted((hit.corpus, hit.id, hit.offset) for hit in index.page(found, limit=None))


def test_an_index_that_grew_answers_as_one_made_at_once(
    corpora: list[Artifact], run_step: Make
) -> None:
    whole = SearchIndex(run_step("corpus/index", corpora))
    first = run_step("corpus/index", corpora[:1])
    second = run_step("corpus/index", [*corpora[:2], first])
    third = run_step("corpus/index", [corpora[2], second])
    assert first.facts["parts"] == 1
    assert second.facts["parts"] == 2
    assert third.facts["parts"] == 2  # the two small ones were joined
    assert third.facts["documents"] == whole.artifacts[0].facts["documents"]
    assert third.facts["corpora"] == whole.artifacts[0].facts["corpora"]
    assert sum(third.facts["text_bytes"]) == sum(whole.artifacts[0].facts["text_bytes"])
    grown = SearchIndex(third)
    assert answers(grown) == answers(whole)
    for name in ("one0", "two-copy", "three1"):
        assert list(grown.explain(name)) == list(whole.explain(name))
    (told,) = grown.explain("two0")
    assert told["stood_for"] or told["same_as"]


def test_parts_of_other_indexes_are_taken_over_without_being_made_again(
    corpora: list[Artifact], run_step: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_step("corpus/index", corpora[:1])
    monkeypatch.setattr(step, "MEGABYTE", 1)  # no two parts are small enough to be joined
    grown = run_step("corpus/index", [corpora[1], first])
    names = [f"parts/00000{suffix}" for suffix in (".text", ".names", ".documents")]
    assert all(grown.manifest["files"][n] == first.manifest["files"][n] for n in names)


def test_several_indexes_are_searched_as_one(corpora: list[Artifact], run_step: Make) -> None:
    single = [run_step("corpus/index", [corpus]) for corpus in corpora]
    whole = SearchIndex(run_step("corpus/index", corpora))
    together = SearchIndex(*single)
    assert answers(together) == answers(whole)
    assert list(together.explain("two0")) == list(whole.explain("two0"))
    assert together.count("猫") == whole.count("猫") == 12


def test_a_corpus_of_the_same_name_and_other_bytes_is_refused(
    corpora: list[Artifact], make_corpus: Make, run_step: Make
) -> None:
    first = run_step("corpus/index", corpora[:1])
    other = make_corpus(["something else"], name="one")
    with pytest.raises(UsageError, match="holds another test/one@1"):
        run_step("corpus/index", [other, first])
    with pytest.raises(UsageError, match="two indexes"):
        run_step("corpus/index", [corpora[2], first, run_step("corpus/index", corpora[:1])])


def test_a_corpus_newer_than_its_index_is_named(
    corpora: list[Artifact], make_corpus: Make, run_step: Make, tmp_path: Path
) -> None:
    for artifact, name in ((corpora[0], "one"), (run_step("corpus/index", corpora[:1]), "index")):
        shutil.copytree(artifact.path, tmp_path / name)
    manifest = dict(open_artifact(tmp_path / "index").manifest)
    manifest["circumstances"] = {"folders": ["one"]}
    index = Artifact(tmp_path / "index", manifest)
    assert newer(index) == []
    shutil.rmtree(tmp_path / "one")
    assert newer(index) == []
    shutil.copytree(make_corpus(["something else"], name="one").path, tmp_path / "one")
    assert newer(index) == ["test/one@1"]


# In a process of its own: one that is forked from this one waits for locks of its threads.
KILLED = """
import os, signal, sys
from pathlib import Path
from yoriai_corpus.search import part

left, real = iter(range(int(sys.argv[1]))), os.fsync

def fsync(handle):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)

os.fsync = fsync
(pieces,) = part.cut([("one@1", "kept", [Path(path) for path in sys.argv[3:]])], 2**30)
part.make(part.IndexTask(0, tuple(pieces), Path(sys.argv[2])))
"""


@pytest.mark.slow
def test_a_part_that_was_killed_in_the_middle_ends_with_the_same_bytes(
    corpora: list[Artifact], tmp_path: Path
) -> None:
    def task(name: str) -> part.IndexTask:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (pieces,) = part.cut([("one@1", "kept", paths_of(corpora[0], "documents"))], 2**30)
        return part.IndexTask(0, tuple(pieces), folder)

    def contents(name: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    part.make(task("whole"))
    for place in range(3):  # before each of its files is whole
        words = [str(place), task("killed").folder, *paths_of(corpora[0], "documents")]
        done = subprocess.run([sys.executable, "-c", KILLED, *words])
        assert done.returncode == -signal.SIGKILL
    part.make(task("killed"))
    whole = contents("whole")
    assert {name: data for name, data in contents("killed").items() if name in whole} == whole
