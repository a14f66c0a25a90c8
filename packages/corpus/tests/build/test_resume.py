"""The same bytes for any number of workers, and after ``kill -9`` in the middle."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PLUGIN = '''
import os
import signal
from yoriai import Document, Entry, Filter, Source, SourceCard, Verdict, hookimpl

class Parts(Source):
    """Six parts; the fourth waits at a barrier if there is one."""

    def card(self):
        return SourceCard(name="parts", licence="CC0-1.0", languages=("en",))

    def partitions(self):
        return [str(n) for n in range(6)]

    def read(self, partition):
        with open(os.environ["PARTS_LOG"], "a") as log:
            log.write(partition)
        barrier = os.environ.get("PARTS_BARRIER")
        if barrier and partition == "3":
            held = os.open(barrier + ".reached", os.O_WRONLY)
            os.write(held, b"x")
            os.open(barrier + ".never", os.O_RDONLY)  # until somebody writes: nobody does
        for n in range(300):
            # The same text turns up in several parts, so that deduplication has work.
            yield Document("parts", f"{partition}/{n}", f"part text number {n % 97 * 31}" * 5, "en")

class Picky(Filter):
    """Drops one document in ten, and kills the process at some, if told so."""

    def judge(self, document):
        deadly = os.environ.get("PARTS_DEADLY", "").split()
        once = os.environ.get("PARTS_ONCE", "")
        if document.id in deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if once and document.id == "2/150":
            try:
                os.close(os.open(once, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        if document.id.endswith("7"):
            return Verdict("drop", value=7, threshold=6)
        return self.KEEP

@hookimpl
def yoriai_filters():
    return [Entry(name="picky", target="parts_plugin:Picky", summary="Picky.", since="0.1.0")]

@hookimpl
def yoriai_sources():
    return [Entry(name="parts", target="parts_plugin:Parts", summary="Six parts.", since="0.1.0")]
'''
RECIPE = """
name: parts
licence: CC0-1.0
steps:
  text: {uses: corpus/build, sources: [parts/parts], rules: [parts/picky], heldout: 0.1}
"""


class Bench:
    """A folder with a plugin, a recipe and a barrier, and runs of that recipe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "read.log"
        info = folder / "site" / "parts-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parts\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[yoriai]\nparts = parts_plugin\n")
        (folder / "site" / "parts_plugin.py").write_text(PLUGIN)
        (folder / "recipe.yaml").write_text(RECIPE)
        for name in ("reached", "never"):
            os.mkfifo(folder / f"barrier.{name}")

    def start(
        self, out: str, workers: int, *, barrier: bool = False, engine: str = "", **more: str
    ) -> subprocess.Popen[str]:
        former = os.environ.get("PYTHONPATH", "")
        environment = {
            **os.environ,
            **more,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self.folder / "site"), former))),
            "YORIAI_WORKERS": str(workers),
            "PARTS_LOG": str(self.log),
            **({"PARTS_BARRIER": str(self.folder / "barrier")} if barrier else {}),
        }
        command = [sys.executable, "-m", "yoriai", "run", "recipe.yaml", "--out", out]
        command += ["--set", f"engine={engine}"] if engine else []
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def manifest(self, out: str, workers: int, **more: str) -> dict[str, Any]:
        process = self.start(out, workers, **more)  # type: ignore[arg-type]
        said, complained = process.communicate()
        assert process.returncode == 0, said + complained
        (path,) = (self.folder / out).glob("*/artifact.json")
        value: dict[str, Any] = json.loads(path.read_bytes())
        return value

    def digest(self, out: str, workers: int, **more: str) -> str:
        return str(self.manifest(out, workers, **more)["digest"])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("resume"))


@pytest.fixture(scope="module")
def undisturbed(bench: Bench) -> str:
    return bench.digest("whole", 1)


@pytest.fixture
def reached(bench: Bench) -> Iterator[int]:
    """The reading end of the barrier: says when it is reached, and when who waited is gone."""
    handle = os.open(bench.folder / "barrier.reached", os.O_RDONLY | os.O_NONBLOCK)
    yield handle
    os.close(handle)


def answer(handle: int) -> bytes:
    ready, _, _ = select.select([handle], [], [], 60)
    assert ready, "nothing came to the barrier"
    return os.read(handle, 1)


def test_two_workers_make_the_bytes_of_one(bench: Bench, undisturbed: str) -> None:
    assert bench.digest("two", 2) == undisturbed


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_build_that_was_killed_goes_on_and_ends_with_the_same_digest(
    before: int, after: int, bench: Bench, undisturbed: str, reached: int
) -> None:
    bench.log.write_text("")
    process = bench.start(f"killed{before}", before, barrier=True)
    assert answer(reached) == b"x"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # Nobody waits at the barrier any more: no worker outlives the run it worked for.
    assert answer(reached) == b""
    done = bench.log.read_text()
    assert not list((bench.folder / f"killed{before}").rglob("artifact.json"))
    bench.log.write_text("")
    assert bench.digest(f"killed{before}", after) == undisturbed
    again = bench.log.read_text()
    assert "3" in again
    if before == 1:
        assert (done, "".join(sorted(again))) == ("0123", "345")


def test_a_worker_killed_in_the_middle_changes_no_byte(
    bench: Bench, undisturbed: str, tmp_path: Path
) -> None:
    once = tmp_path / "struck"
    assert bench.digest("struck", 2, PARTS_ONCE=str(once)) == undisturbed
    assert once.exists()


@pytest.mark.slow
def test_documents_that_kill_every_worker_are_quarantined_and_nothing_else_is(
    bench: Bench,
) -> None:
    made = bench.manifest("deadly", 2, PARTS_DEADLY="1/40 4/299")
    facts = made["facts"]
    assert facts["unreadable"] == 2
    assert facts["in"] == 1800 == facts["kept"] + facts["heldout"] + facts["dropped"] + 2
    paths = sorted((bench.folder / "deadly" / "text@1" / "unreadable").glob("*.parquet"))
    from yoriai_corpus import tables
    from yoriai_corpus.engines.deaths import KILLED

    rows = [(row["id"], row["reason"]) for row in tables.read_rows(paths)]
    assert rows == [("1/40", KILLED), ("4/299", KILLED)]


@pytest.mark.slow
def test_a_cluster_makes_the_bytes_of_one_process(bench: Bench, undisturbed: str) -> None:
    pytest.importorskip("distributed")
    engine = "{use: corpus/dask, cluster: local, workers: 2}"
    assert bench.digest("dask", 1, engine=engine) == undisturbed


@pytest.mark.slow
def test_a_cluster_killed_with_its_driver_leaves_receipts_that_one_process_goes_on_from(
    bench: Bench, undisturbed: str, reached: int
) -> None:
    pytest.importorskip("distributed")
    bench.log.write_text("")
    engine = "{use: corpus/dask, cluster: local, workers: 2}"
    process = bench.start("dask-killed", 1, barrier=True, engine=engine)
    assert answer(reached) == b"x"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert answer(reached) == b""
    assert bench.digest("dask-killed", 1) == undisturbed


def test_a_rule_that_was_edited_while_a_build_lay_unfinished_is_applied_to_everything(
    bench: Bench, undisturbed: str, reached: int
) -> None:
    process = bench.start("edited", 1, barrier=True)
    assert answer(reached) == b"x"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert answer(reached) == b""
    plugin = bench.folder / "site" / "parts_plugin.py"
    try:
        plugin.write_text(PLUGIN.replace('endswith("7")', 'endswith("8")'))
        bench.log.write_text("")
        made = bench.manifest("edited", 1)
    finally:
        plugin.write_text(PLUGIN)
    assert sorted(bench.log.read_text()) == list("012345")
    assert made["digest"] != undisturbed
    paths = sorted((bench.folder / "edited" / "text@1" / "dropped").glob("*.parquet"))
    from yoriai_corpus import tables

    rows = list(tables.read_rows(paths))
    assert {row["id"][-1] for row in rows if row["rule"] == "parts/picky"} == {"8"}
