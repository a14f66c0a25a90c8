"""Yoriai's side of every comparison, one job a process.

``minhash ROWS``, ``chain ROWS LISTS DECISIONS``, ``floor ROWS.zst``, ``extract FILE.warc.gz``,
and ``build RECIPE WORK KEPT`` followed by the input files, where a recipe is ``near``, ``en``,
``ja`` or ``ja-spaces``; ``stages`` in place of ``build`` takes the time of each stage.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timing

BATCH = 256


def minhash(path: str) -> None:
    from yoriai_corpus.text import minhash as kernels
    from yoriai_corpus.text.batch import codes_of

    texts = [row["text"] for row in timing.read_rows(path)]

    def sign(chosen: list[str]) -> None:
        for begin in range(0, len(chosen), BATCH):
            kernels.signatures(kernels.fold(codes_of(chosen[begin : begin + BATCH])), 0)

    sign(texts[:50])
    _, taken = timing.timed(lambda: sign(texts))
    timing.report(documents=len(texts), bytes=timing.bytes_of(texts), **taken)


def chain(path: str, lists: str, out: str) -> None:
    from yoriai import Document
    from yoriai_corpus.build.partition import PartitionTally, apply_rules
    from yoriai_corpus.rules.base import expand
    from yoriai_corpus.rules.llm_jp import JapaneseWeb
    from yoriai_corpus.text.batch import Batch

    rows = timing.read_rows(path)
    names = ("advertising", "adult", "discrimination", "violence")
    rules = expand([JapaneseWeb(**{name: f"{lists}/{name}.txt" for name in names})])

    def run(chosen: list[dict[str, Any]]) -> list[tuple[str, str]]:
        found = [("", "")] * len(chosen)
        for begin in range(0, len(chosen), BATCH):
            some = chosen[begin : begin + BATCH]
            documents = Batch(Document("web", r["id"], r["text"], "ja", r["url"]) for r in some)
            places = list(range(begin, begin + len(some)))
            for _, place, _, rule in apply_rules(documents, places, rules, PartitionTally()):
                found[place] = (rule.entry.rpartition(".")[2], "")
            for place, document in zip(places, documents, strict=True):
                found[place] = ("", document.text)
        return found

    run(rows[:20])
    decisions, taken = timing.timed(lambda: run(rows))
    if out != "-":
        marks = [[d, hashlib.sha256(t.encode()).hexdigest() if not d else ""] for d, t in decisions]
        Path(out).write_text(json.dumps(marks))
    size = timing.bytes_of([row["text"] for row in rows])
    timing.report(documents=len(rows), bytes=size, **taken)


def floor(path: str) -> None:
    """Reading alone: zstd, then orjson, one line after the other."""
    import orjson
    import zstandard

    def read() -> int:
        size = 0
        with zstandard.open(path, "rb") as stream:
            for line in io.BufferedReader(stream, 2**20):
                size += len(orjson.loads(line)["text"])
        return size

    _, taken = timing.timed(read)
    with zstandard.open(path, "rt", encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for line in stream]
    timing.report(documents=len(texts), bytes=timing.bytes_of(texts), **taken)


def extract(path: str) -> None:
    """Read a WARC file as ``corpus/warc`` does: unpack, find records, decode, take the text out."""
    import gzip

    from yoriai import Document
    from yoriai_corpus.sources.warc import Warc

    source = Warc(paths=[path])

    def read(most: int) -> list[str]:
        items = (i for partition in source.partitions() for i in source.read(partition))
        some = (item for _, item in zip(range(most), items, strict=False))
        return [item.text for item in some if isinstance(item, Document)]

    read(20)
    texts, taken = timing.timed(lambda: read(10**9))
    with gzip.open(path) as stream:
        size = sum(len(block) for block in iter(lambda: stream.read(2**20), b""))
    timing.report(documents=len(texts), bytes=timing.bytes_of(texts), html=size, **taken)


# --- the whole build ----------------------------------------------------------------------


def rules_of(recipe: str) -> list[Any]:
    """The same measures that the peer's pipeline takes, as far as both have them."""
    from yoriai_corpus.rules import gopher, language, swallow

    if recipe == "near":
        return []
    if recipe == "en":
        return [
            language.OnlyLanguages(wanted=("en",), languages=()),
            gopher.GopherRepetition(languages=()),
            gopher.GopherQuality(languages=()),
        ]
    if recipe == "ja-spaces":
        return [language.OnlyLanguages(wanted=("ja",)), gopher.GopherRepetition(languages=())]
    top = {2: 0.2, 3: 0.18, 4: 0.16}
    repeated = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}
    return [
        language.OnlyLanguages(wanted=("ja",)),
        gopher.GopherRepetition(languages=(), max_top_ngram={}, max_duplicate_ngrams={}),
        *(swallow.TopNgram(n=n, max_share=most) for n, most in top.items()),
        *(swallow.RepeatedNgrams(n=n, max_share=most) for n, most in repeated.items()),
    ]


def step_of(recipe: str, paths: list[str]) -> Any:
    from yoriai.config import build
    from yoriai.plugins import load_registry
    from yoriai_corpus.build.step import Build

    registry = load_registry()
    rules = rules_of(recipe)
    for rule in rules:
        rule._entry = f"corpus/{type(rule).__name__.lower()}"
    found = build(
        Build,
        {
            "sources": [{"use": "corpus/jsonl", "paths": paths}],
            "rules": rules,
            "dedup": {"exact": False, "near": 0.8},
            "heldout": 0,
        },
        registry,
    )
    found._entry = "corpus/build"
    return found, registry


def make(recipe: str, folder: Path, paths: list[str]) -> Any:
    from yoriai.testing import make_artifact

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    step, registry = step_of(recipe, paths)
    return make_artifact(step, folder / "text", [], registry)


def run_build(
    recipe: str, work: str, out: str, *paths: str, stages: bool = False, warm: bool = True
) -> None:
    """Build once and tell. Warm: after a small build that loads and compiles what there is."""
    from yoriai_corpus import tables

    small = Path(work) / "small.jsonl"
    small.parent.mkdir(parents=True, exist_ok=True)
    with open(paths[0], encoding="utf-8") as stream:
        small.write_text("".join(line for line, _ in zip(stream, range(20), strict=False)))
    if warm:
        make(recipe, Path(work) / "warm", [str(small)])
    clock = Stages() if stages else None
    tasks = time_tasks()
    artifact, taken = timing.timed(lambda: make(recipe, Path(work) / "run", list(paths)))
    kept = list(tables.read_rows(artifact.files_under("documents"), ["id"]))
    if out != "-":
        Path(out).write_text(json.dumps([row["id"] for row in kept]))
    facts: dict[str, Any] = {"kept": len(kept), "tasks": tasks, **taken}
    if clock is not None:
        facts["stages"] = clock.seconds
    size = documents = 0
    for path in paths:
        with open(path, "rb") as lines:
            for line in lines:
                size += len(json.loads(line)["text"].encode())
                documents += 1
    timing.report(documents=documents, bytes=size, **facts)
    shutil.rmtree(work)


def time_tasks() -> list[list[float]]:
    """CPU seconds of each task of each round of tasks to come, if they are done in this process."""
    from yoriai_corpus.build import step as build

    found: list[list[float]] = []
    run = build.Building.run

    def timed_run(self: Any, work: Any, tasks: Any, *args: Any, **keywords: Any) -> Any:
        if os.environ.get("YORIAI_WORKERS") != "1":
            return run(self, work, tasks, *args, **keywords)
        found.append(times := [])

        def timed_work(task: Any) -> Any:
            result, taken = timing.timed(lambda: work(task))
            times.append(taken["cpu"])
            return result

        return run(self, timed_work, tasks, *args, **keywords)

    build.Building.run = timed_run
    return found


FINISH = "finish: read parts, count, write"
STAGES = {
    "partition:apply_rules": "rules",
    "partition:_batches": "read",
    "minhash:fold": "fold",
    "minhash:signatures": "signatures",
    "minhash:band_keys": "signatures",
    "part:KeyWriter.add": "other keys",
    "part:KeyWriter.add_name": "other keys",
    "part:KeyWriter.close": "sort and write keys",
    "part:row_of": "record digests",
    "tables:TableWriter.add": "write tables",
    "tables:TableWriter.__exit__": "write tables",
    "keys:read_range": "shuffle: read key ranges",
    "partition:process": "rest of the partition task",
    "duplicates:find_namesakes": "names",
    "duplicates:find_candidates": "candidates",
    "duplicates:verify_pairs": "verify",
    "duplicates:resolve_clusters": "clusters",
    "finish:finish": FINISH,
    "build:Work.run": "hand out tasks",
}


class Stages:
    """CPU seconds of each stage, taken by wrapping functions of the pipeline from outside.

    A stage inside another one is taken off the outer one. Only what runs in this process is
    seen: YORIAI_WORKERS=1.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = 0.0
        for place, label in STAGES.items():
            module, _, names = place.partition(":")
            owner: Any = importlib.import_module(f"yoriai_corpus.{module}")
            *outer, name = names.split(".")
            for each in outer:
                owner = getattr(owner, each)
            setattr(owner, name, self._wrap(getattr(owner, name), label))

    def _switch(self) -> None:
        now, _ = timing.seconds()
        if self._open:
            name = self._open[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def _wrap(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        def generate(items: Iterator[Any]) -> Iterator[Any]:
            while True:
                self._switch()
                self._open.append(label)
                item = next(items, None)
                self._switch()
                self._open.pop()
                if item is None:
                    return
                yield item

        def call(*args: Any, **keywords: Any) -> Any:
            if label == "read":
                return generate(function(*args, **keywords))
            self._switch()
            self._open.append(FINISH if FINISH in self._open else label)
            try:
                return function(*args, **keywords)
            finally:
                self._switch()
                self._open.pop()

        return call


def main() -> None:
    job, *words = sys.argv[1:]
    if job in ("build", "cold-build", "stages"):
        run_build(*words, stages=job == "stages", warm=job != "cold-build")
    else:
        {"minhash": minhash, "chain": chain, "floor": floor, "extract": extract}[job](*words)


if __name__ == "__main__":  # worker processes of the build import this file again
    main()
