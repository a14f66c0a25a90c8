"""One loader, timed in a process of its own: ``python loaders.py WHO FOLDER SAMPLES``.

WHO is ``ours``, ``megatron`` or ``litdata``; the last line says what was measured. Each gives the
same thing: int64 batches of 16 windows of 2,049 tokens in an order shuffled over all the data, in
one process. The files are read once before the clock starts, so that all come from the page cache.
"""

from __future__ import annotations

import itertools
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

CONTEXT, BATCH, SEED = 2048, 16, 1


def ours(folder: Path) -> Iterator[Any]:
    from yoriai_train.data.windows import Samples

    samples = Samples(folder, CONTEXT, SEED)
    for first in range(0, 2**40, BATCH):
        yield samples.batch(range(first, first + BATCH))


class Megatron:
    """Reading as Megatron-LM's GPTDataset does (``megatron/core/datasets/gpt_dataset.py``).

    A document index (shuffled), a sample index (document and offset where each sample begins)
    and a shuffle index are built for the whole run; a sample is put together from the parts of
    its documents. Written for this comparison from the published behaviour.
    """

    def __init__(self, stem: Path) -> None:
        blob = stem.with_suffix(".idx").read_bytes()
        count = int(np.frombuffer(blob, "<u8", 1, 18)[0])
        self.sizes = np.frombuffer(blob, "<i4", count, 34)
        self.pointers = np.frombuffer(blob, "<i8", count, 34 + 4 * count)
        self.body = np.memmap(stem.with_suffix(".bin"), dtype=np.uint8, mode="r")
        chooser = np.random.RandomState(SEED)
        self.documents = np.arange(count, dtype=np.int32)
        chooser.shuffle(self.documents)
        ends = np.cumsum(self.sizes[self.documents], dtype=np.int64)
        starts = np.arange(0, ends[-1] - 1, CONTEXT, dtype=np.int64)
        place = np.searchsorted(ends, starts, side="right")
        offset = starts - np.where(place > 0, ends[place - 1], 0)
        self.samples = np.stack([place, offset], axis=1).astype(np.int32)
        self.shuffled = np.arange(len(starts) - 1, dtype=np.uint32)
        chooser.shuffle(self.shuffled)

    def __getitem__(self, index: int) -> Any:
        number = self.shuffled[index % len(self.shuffled)]
        (first, begin), (last, end) = self.samples[number], self.samples[number + 1]
        if first == last:
            return self._read(first, begin, end - begin + 1)
        parts = [self._read(first, begin, None)]
        parts += [self._read(middle, 0, None) for middle in range(first + 1, last)]
        return np.concatenate([*parts, self._read(last, 0, end + 1)])

    def _read(self, place: int, begin: int, length: int | None) -> Any:
        document = self.documents[place]
        length = self.sizes[document] - begin if length is None else length
        start = int(self.pointers[document]) + 2 * int(begin)
        return np.frombuffer(self.body, dtype=np.uint16, count=int(length), offset=start)


def megatron(folder: Path) -> Iterator[Any]:
    dataset = Megatron(folder / "ja")
    for first in range(0, 2**40, BATCH):
        rows = [dataset[index].astype(np.int64) for index in range(first, first + BATCH)]
        yield np.stack(rows)


def litdata(folder: Path) -> Iterator[Any]:
    import torch
    from litdata import StreamingDataset, TokensLoader

    dataset = StreamingDataset(
        str(folder / "litdata"),
        item_loader=TokensLoader(block_size=CONTEXT + 1),
        shuffle=True,
        seed=SEED,
    )
    while True:
        rows = []
        for row in dataset:
            rows.append(row)
            if len(rows) == BATCH:
                yield torch.stack(rows).to(torch.int64).numpy()
                rows = []


def _part(place: tuple[str, int, int]) -> Iterator[Any]:
    import torch

    path, start, stop = place
    tokens = np.fromfile(path, dtype=np.uint16, count=stop - start, offset=2 * start)
    yield torch.from_numpy(tokens.astype(np.int32))


def write_litdata(folder: Path) -> None:
    """The same tokens, in litdata's own chunks, by litdata itself."""
    from litdata import TokensLoader, optimize

    size = (folder / "ja.bin").stat().st_size // 2
    ends = [size * n // 64 for n in range(65)]
    optimize(
        fn=_part,
        inputs=[(str(folder / "ja.bin"), a, b) for a, b in itertools.pairwise(ends)],
        output_dir=str(folder / "litdata"),
        chunk_size=(CONTEXT + 1) * 4096,
        item_loader=TokensLoader(block_size=CONTEXT + 1),
        num_workers=1,
    )


def private_mb() -> float:
    """Memory that is the process's own, without pages of mapped files (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    who, folder = sys.argv[1], Path(sys.argv[2])
    if who == "write-litdata":
        write_litdata(folder)
        return
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb", buffering=0) as stream:
                while stream.read(2**16):
                    pass
    loader = {"ours": ours, "megatron": megatron, "litdata": litdata}[who](folder)
    for _ in range(3):
        assert next(loader).shape == (BATCH, CONTEXT + 1)
    wall, cpu, seen = time.perf_counter(), time.process_time(), 0
    before = private_mb()
    for _ in range(int(sys.argv[3]) // BATCH):
        seen += next(loader).size
    told = {
        "tokens": seen,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "private_mb": private_mb(),
        "grown_mb": private_mb() - before,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
