"""From token shards to batches, beside its peers: ``nox -s bench -- tokens``.

Every run is a process of its own, on one thread, in turns (ours, peer, ours, …); figures are
medians of the runs. Speeds are tokens in a second of CPU time: loading from the page cache is all
CPU, and other work on the machine stretches wall time. The runs are in
``build/bench/tokens-runs.json``.

Peers: litdata's ``StreamingDataset`` over a ``TokensLoader``, in an environment of its own under
``build/bench/envs``, and indices as Megatron-LM builds them (see ``token_peers/loaders.py``).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from peers import environment
from tables import BUILD, Row, finish

from yoriai.mixture import build_mixture
from yoriai.shards import Shard, ShardWriter
from yoriai_train.data.windows import Windows

LOADERS = Path(__file__).parent / "token_peers" / "loaders.py"
WORK = BUILD / "tokens-work"
RUNS = 3
# litdata by itself: its own requirements bring a CUDA build of torch.
PEERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "litdata": (
        ("torch==2.13.0", "numpy", "filelock", "requests", "boto3", "lightning-utilities"),
        ("--no-deps", "litdata==0.2.76"),
    ),
}
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "NUMBA", "OPENBLAS", "MKL")}
Facts = dict[str, Any]


def write_tokens(folder: Path, tokens: int) -> Path:
    """A ``tokens`` artifact of one shard: documents of 20 to 2,000 ids, as web pages come."""
    if (folder / "mixture.yaml").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    chooser = np.random.default_rng(1)
    lengths = np.exp(chooser.normal(6, 0.9, size=tokens // 400)).astype(np.int64).clip(20, 2000)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), tokens))]
    writer = ShardWriter(folder / "ja", 50_570)
    for length in lengths:
        writer.add(chooser.integers(0, 50_570, length, dtype=np.uint16).tolist())
    writer.close()
    value = {
        "tokenizer": "",
        "vocabulary_size": 50_570,
        "end_id": 7,
        "shards": {
            "ja": {"files": ["ja"], "tokens": int(lengths.sum()), "documents": len(lengths)}
        },
        "phases": [{"name": "main", "weights": {"ja": 1}}],
    }
    build_mixture(value).save(folder)
    return folder


def measure(python: str | Path, who: str, folder: Path, samples: int) -> Facts:
    command = [str(python), str(LOADERS), who, str(folder), str(samples)]
    done = subprocess.run(
        command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    facts: Facts = json.loads(done.stdout.splitlines()[-1])
    return {**facts, "millions": facts["tokens"] / facts["cpu"] / 1e6}


def loader_rows(runs: list[Facts]) -> list[Row]:
    """Throughput from the page cache, and memory against the size of the corpus."""
    small, large = (write_tokens(WORK / name, n) for name, n in (("10M", 10**7), ("100M", 10**8)))
    peer = environment("litdata", PEERS["litdata"])
    if not (large / "litdata").is_dir():
        subprocess.run([peer, LOADERS, "write-litdata", large], check=True, cwd=WORK)
    whose = {"ours": sys.executable, "megatron": sys.executable, "litdata": peer}
    found: dict[str, list[Facts]] = {who: [] for who in whose}
    for _ in range(RUNS):
        for who, python in whose.items():
            found[who].append(measure(python, who, large, 16_000))
    little = {who: measure(whose[who], who, small, 4_000) for who in ("ours", "megatron")}
    runs += [{"who": who, **facts} for who, rows in found.items() for facts in rows]
    speed = {who: statistics.median(f["millions"] for f in rows) for who, rows in found.items()}
    held = {
        who: statistics.median(f["private_mb"] for f in found[who]) - little[who]["private_mb"]
        for who in little
    }
    unit = "million tokens / CPU s"
    return [
        Row("batches from page cache", unit, speed["ours"], 20, "the goal set", 1, True),
        Row("batches", unit, speed["ours"], speed["litdata"], "litdata 0.2.76", 1, True),
        Row("batches", unit, speed["ours"], speed["megatron"], "Megatron-style index", 1, True),
        # A tenth of a megabyte at least, below which it is noise.
        Row("memory for ten times the corpus", "MB more", max(0.1, held["ours"]),
            max(0.1, held["megatron"]), "Megatron-style index", 1),
    ]  # fmt: skip


def opening_rows() -> list[Row]:
    """1,000 shards of 20,000 documents each, opened; Megatron's reader reads each index."""
    folder = WORK / "thousand"
    if not (folder / "mixture.yaml").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        writer = ShardWriter(folder / "0", 50_570)
        for _ in range(20_000):
            writer.add((1, 2, 3, 7))
        writer.close()
        for number in range(1, 1000):
            for suffix in (".bin", ".idx"):
                os.link(folder / f"0{suffix}", folder / f"{number}{suffix}")
        held = {"files": [str(n) for n in range(1000)], "tokens": 8 * 10**7, "documents": 2 * 10**7}
        value = {"tokenizer": "", "vocabulary_size": 50_570, "end_id": 7, "shards": {"ja": held}}
        build_mixture({**value, "phases": [{"name": "main", "weights": {"ja": 1}}]}).save(folder)

    def megatron() -> None:
        for number in range(1000):
            blob = (folder / f"{number}.idx").read_bytes()
            count = int(np.frombuffer(blob, "<u8", 1, 18)[0])
            np.frombuffer(blob, "<i4", count, 34)
            np.frombuffer(blob, "<i8", count, 34 + 4 * count)
            np.memmap(folder / f"{number}.bin", dtype=np.uint8, mode="r")

    def shards() -> None:
        for number in range(1000):
            Shard(folder / str(number))

    ours, whole, peer = (
        statistics.median(timed(f) for _ in range(RUNS))
        for f in (shards, lambda: Windows(folder, 2048), megatron)
    )
    return [
        Row("opening 1,000 shards", "s", ours, peer, "reading each index", 1),
        Row("opening 1,000 shards, checked against the mixture", "s", whole, 1, "the goal set", 1),
    ]


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    runs: list[Facts] = []
    rows = [*opening_rows(), *loader_rows(runs)]
    (BUILD / "tokens-runs.json").write_text(json.dumps(runs, indent=2) + "\n")
    finish("tokens", rows, "one process, one thread; windows of 2,049 tokens in batches of 16")


if __name__ == "__main__":
    main()
