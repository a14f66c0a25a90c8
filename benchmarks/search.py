"""Searching every substring, beside its peers: ``nox -s bench -- search``.

The first ``--megabytes`` of each language of ``$YORIAI_DATA/text`` are indexed by ``corpus/index``
as its worker does it (parquet in, everything that searching needs out), and by each peer from
texts in memory: SQLite's FTS5 with trigrams, tantivy with pairs of characters, the ``fm-index``
library, a plain suffix array by pydivsufsort with binary search in Python, infini-gram over
bytes. Each runs in a process of its own on one thread. Queries are pieces of the texts, 1 to 40
characters; counts of occurrences must be the same as ours, and ours those of looking through the
text. Times are CPU time of the process; the cold start's is that of a new process, from its
start to the first count. tantivy's n-gram tokens all stand at position 0 (0.27.0), so a phrase of
successive ones finds nothing. Then the server is put under load, see ``search_load.py``. Exit
code 1: a goal is missed. Exit code 3: no texts.
"""

from __future__ import annotations

import os

os.environ.update(RAYON_NUM_THREADS="1", OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import io
import json
import multiprocessing
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import search_load
import zstandard
from peers import environment
from tables import BUILD

from yoriai import console
from yoriai_corpus import tables
from yoriai_corpus.search import part
from yoriai_corpus.search.byte_ngrams import ByteNgrams
from yoriai_corpus.search.query import SearchQuery
from yoriai_corpus.search.search import SearchIndex
from yoriai_corpus.search.trace import trace

PART_BYTES = 64 * 2**20  # as the step's part_mb
SHARED_BYTES = 4 * 2**20  # of a part that processes share out
LANGUAGES = ("ja", "en", "code")
PEERS = {
    "sqlite": [],
    "tantivy": [["tantivy==0.27.0"]],
    "fm_index": [["fm-index==4.0.0"]],
    "suffix_array": [["pydivsufsort==0.0.20"]],
    "infini_gram": [["infini-gram==2.6.0", "numpy", "zstandard", "tqdm"]],
}
COLD = """
import sys, time
from yoriai.artifact import open_artifact
from types import SimpleNamespace
from pathlib import Path
from yoriai_corpus.search.search import SearchIndex
root = Path(sys.argv[1])
index = SearchIndex(SimpleNamespace(facts={"parts": int(sys.argv[2])}, file=lambda n: root / n))
index.count("検索")
print(time.process_time())
"""


def documents(data: Path, language: str, megabytes: float) -> list[str]:
    texts, size = [], 0.0
    with (data / "text" / f"{language}.jsonl.zst").open("rb") as packed:
        stream = zstandard.ZstdDecompressor().stream_reader(packed)
        for line in io.TextIOWrapper(stream, encoding="utf-8", newline="\n"):
            texts.append(json.loads(line)["text"])
            size += len(texts[-1].encode())
            if size > megabytes * 1e6:
                break
    return texts


def again(text: str, turn: int) -> str:
    """A text with its lines in another order, so that more texts are not the same ones."""
    lines = text.splitlines(keepends=True)
    random.Random(f"{turn} {text[:80]}").shuffle(lines)
    return "".join(lines)


def tasks_of(texts: dict[str, list[str]], folder: Path, most_bytes: int) -> list[part.IndexTask]:
    """Parts of at most about so many bytes, and of one language each."""
    (folder / "parts").mkdir(parents=True)
    pieces: list[Any] = []
    for language, found in texts.items():
        path = folder / f"{language}.parquet"
        rows = (dict.fromkeys(tables.COLUMNS, "") | {
            "source": f"some/{language}", "id": str(at), "text": text, "language": language,
            "licence": "CC-BY-SA-4.0", "url": f"https://example.org/{language}/{at}",
            "record_sha256": "",
        } for at, text in enumerate(found))  # fmt: skip
        tables.write_table(path, tables.DOCUMENTS, rows)
        pieces += part.cut([("bench@1", "kept", [path])], most_bytes)
    return [part.IndexTask(n, tuple(found), folder / "parts") for n, found in enumerate(pieces)]


def build(texts: dict[str, list[str]], folder: Path) -> tuple[SearchIndex, float, int]:
    """Our index of the texts, in parts as the step makes them: with CPU seconds and bytes."""
    tasks = tasks_of(texts, folder, PART_BYTES)
    began = time.process_time()
    for task in tasks:
        part.make(task)
    seconds = time.process_time() - began
    size = sum(path.stat().st_size for path in (folder / "parts").iterdir())
    artifact: Any = SimpleNamespace(facts={"parts": len(tasks)}, file=lambda name: folder / name)
    return SearchIndex(artifact), seconds, size


def seconds_of(tasks: list[part.IndexTask], processes: int) -> tuple[float, float]:
    """Wall and CPU time in which so many processes build parts, at work from the first."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_warm, range(4 * processes)))
        began = time.perf_counter()
        cpu = sum(pool.map(_cpu_of, tasks))
        return time.perf_counter() - began, cpu


def _cpu_of(task: part.IndexTask) -> float:
    began = time.process_time()
    part.make(task)
    return time.process_time() - began


def _warm(_: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        for task in tasks_of({"ja": ["短い"]}, Path(name), PART_BYTES):
            part.make(task)


def timed(call: Any, arguments: list[Any]) -> list[float]:
    times = []
    for argument in arguments:
        start = time.process_time()
        call(argument)
        times.append((time.process_time() - start) * 1e3)
    return sorted(times)


def at(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=10, help="of each language")
    parser.add_argument(
        "--times", type=int, default=1, help="take the texts so often, lines in other orders"
    )
    parser.add_argument(
        "--cores", action="store_true", help="build by one and by two processes, too"
    )
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument(
        "--load-seconds", type=float, default=60, help="of each load of the server; 0: none"
    )
    parser.add_argument("--queries", type=int, default=1000)
    options = parser.parse_args()
    data = Path(os.environ.get("YORIAI_DATA", ""))
    if not (data / "text").is_dir():
        print("no texts: set YORIAI_DATA to the folder that holds text/", file=sys.stderr)
        sys.exit(3)
    texts = {language: documents(data, language, options.megabytes) for language in LANGUAGES}
    for found in texts.values():
        first = list(found)
        for turn in range(1, options.times):
            found += [again(text, turn) for text in first]
    flat = [text for found in texts.values() for text in found]
    size = sum(len(text.encode()) for text in flat)
    chance = random.Random(1)
    queries = []
    while len(queries) < options.queries:
        text = chance.choice(flat)
        begin = chance.randrange(len(text))
        piece = text[begin : begin + chance.randint(1, 40)]
        if piece.strip():
            queries.append(piece)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build({"ja": ["短い"], "en": ["a"]}, folder / "compile")  # the kernels, once
        index, seconds, bytes_ = build(texts, folder / "ours")
        trace(index, "検索 of text", shortest=1)
        counts = [index.count(query) for query in queries]
        for query, count in list(zip(queries, counts, strict=True))[:20]:
            assert count == sum(_occurrences(text, query) for text in flat), query
        counting = timed(index.count, queries)
        first_page = timed(
            lambda query: list(index.page(index.find(SearchQuery(text=query)))), queries[:200]
        )
        answers = []
        for _ in range(100):  # what a model might write: verbatim, then somebody else's
            pieces = [chance.choice(flat) for _ in range(4)]
            answers.append("".join(piece[:125] for piece in pieces)[:500])
        tracing = timed(lambda text: trace(index, text), answers)
        cold = [
            float(subprocess.run([sys.executable, "-c", COLD, str(folder / "ours"),
                                 str(len(index.parts))],
                                 capture_output=True, text=True, check=True).stdout)
            for _ in range(3)
        ]  # fmt: skip
        rows = [
            ("build, MB a second of CPU", size / 1e6 / seconds, 5.0, False),
            ("bytes of index a byte of text", bytes_ / size, 1.2, True),
            ("cold start, CPU seconds", statistics.median(cold), 1.0, True),
            ("count, median ms", at(counting, 0.5), 1.0, True),
            ("count, p99 ms", at(counting, 0.99), 5.0, True),
            ("first page, folded, median ms", at(first_page, 0.5), 20.0, True),
            ("first page, folded, p99 ms", at(first_page, 0.99), 20.0, True),
            ("trace of 500 characters, p99 ms", at(tracing, 0.99), 50.0, True),
        ]
        missed = [row for row in rows if (row[1] > row[2]) == row[3]]
        print(f"{size / 1e6:.1f} MB of text, {len(flat):,} documents, {len(index.parts)} parts\n")
        print(console.table(
            ("measured", "value", "goal", "holds"),
            [(row[0], f"{row[1]:.3f}", f"{row[2]:g}", "NO" if row in missed else "yes")
             for row in rows],
        ))  # fmt: skip
        if options.cores:
            one, two = (
                seconds_of(tasks_of(texts, folder / f"by-{n}", SHARED_BYTES), n) for n in (1, 2)
            )
            print(
                f"by one process {one[0]:.1f} s of wall time and {one[1]:.1f} s of CPU, by two"
                f" {two[0]:.1f} s and {two[1]:.1f} s: {one[0] / two[0]:.2f} times as fast"
            )
        contexts = _contexts(flat, chance, 200)
        (folder / "contexts.json").write_text(json.dumps([c.hex() for c in contexts]))
        shown = [_shown("ours", size / 1e6 / seconds, bytes_ / size, counting, "occurrences", 1.0)]
        for peer in options.peers:
            shown.append(_peer(peer, flat, queries, counts, size, folder, index, contexts))
        print(console.table(
            ("engine", "MB/s", "index/text", "median ms", "p99 ms", "same counts", "counts"), shown
        ))  # fmt: skip
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"most memory of ours, building and mapped files included: {memory:.0f} MB")
        holds, loaded = True, []
        if options.load_seconds:
            holds, words, loaded = search_load.measure(
                texts, _new(folder / "served"), options.load_seconds
            )
            print(words)
        BUILD.mkdir(parents=True, exist_ok=True)
        found = {"ours": rows, "engines": shown, "load": loaded}
        (BUILD / "search.json").write_text(json.dumps(found, indent=2))
    sys.exit(1 if missed or not holds else 0)


def _occurrences(text: str, query: str) -> int:
    count, place = 0, text.find(query)
    while place >= 0:
        count, place = count + 1, text.find(query, place + 1)
    return count


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _shown(
    name: str, speed: float, ratio: float, times: list[float], what: str, same: float
) -> tuple[str, ...]:
    return (name, f"{speed:.2f}", f"{ratio:.2f}", f"{at(times, 0.5):.3f}", f"{at(times, 0.99):.3f}",
            f"{same:.1%}", what)  # fmt: skip


def _peer(
    name: str, texts: list[str], queries: list[str], counts: list[int], size: int, root: Path,
    index: SearchIndex, contexts: list[bytes],
) -> tuple[str, ...]:  # fmt: skip
    folder = _new(root / name)
    python = environment(f"search-{name}", PEERS[name])
    (folder / "texts.json").write_text(json.dumps(texts))
    (folder / "queries.json").write_text(json.dumps(queries))
    work = _new(folder / "index")
    script = Path(__file__).parent / "search_peers" / "engines.py"
    words = [
        python,
        script,
        name,
        folder / "texts.json",
        folder / "queries.json",
        root / "contexts.json",
        work,
    ]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        last = ["", *done.stderr.splitlines()][-1]
        return (name, "-", "-", "-", "-", "-", f"ended with {done.returncode}: {last}"[:80])
    value = json.loads(done.stdout)
    if "following" in value:
        _compare_following(name, index, contexts, value["following"])
    same = sum(a == b for a, b in zip(value["counts"], counts, strict=True)) / len(counts)
    return _shown(name, size / 1e6 / value["seconds"], value["bytes"] / size,
                  sorted(value["ms"]), value["what"], same)  # fmt: skip


def _contexts(texts: list[str], chance: random.Random, count: int) -> list[bytes]:
    """Pieces of the texts as bytes, cut anywhere, some behind bytes that do not go with them."""
    found = []
    while len(found) < count:
        data = chance.choice(texts).encode()
        begin = chance.randrange(len(data))
        piece = data[begin : begin + chance.randint(1, 60)]
        found.append(chance.choice((b"", "猫".encode(), b"\x80", b"zq")) + piece)
    return found


def _compare_following(
    name: str, index: SearchIndex, contexts: list[bytes], theirs: list[Any]
) -> None:
    """The ∞-gram of bytes: length of the end that occurs, its count, and what comes next."""
    ngrams = ByteNgrams(index)
    same, times = 0, []
    for context, (length, count, counts, approximate) in zip(contexts, theirs, strict=True):
        start = time.process_time()
        ours = ngrams.infinite(context)
        times.append((time.process_time() - start) * 1e3)
        if approximate:
            continue
        following = {int(byte): number for byte, number in counts.items()}
        same += (ours.length, ours.occurrences, ours.following) == (length, count, following)
    print(
        f"{name}: {same} of {len(contexts)} contexts of bytes have the same end, count and next"
        f" bytes; ours takes {statistics.median(times):.1f} ms, p99 {at(sorted(times), 0.99):.1f}"
    )


if __name__ == "__main__":
    main()
