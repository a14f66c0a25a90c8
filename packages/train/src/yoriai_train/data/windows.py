"""Token windows, gathered from memory maps, and what the model sees at each step.

A shard's files are read as one text and cut into windows of ``context + 1`` tokens, each of which
begins with the last token of the one before: every token but the first is predicted once an
epoch. Shapes: B rows, T = context + 1 columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from yoriai import UsageError
from yoriai.errors import Altered
from yoriai.mixture import Mixture, read_mixture
from yoriai.shards import Shard
from yoriai_train.data.order import Int64s, Order

Int32s = npt.NDArray[np.int32]


def _kernel(function: Any) -> Any:
    return numba.njit(cache=True, nogil=True)(function)


@_kernel
def _copy(tokens, starts, counts, rows, columns, out):  # type: ignore[no-untyped-def]
    for part in range(len(starts)):
        start, row, column = starts[part], rows[part], columns[part]
        for offset in range(counts[part]):
            out[row, column + offset] = tokens[start + offset]


@_kernel
def _mark(  # type: ignore[no-untyped-def]
    offsets, total, width, starts, counts, rows, columns, documents, positions
):
    """Number the documents of each row, and the tokens of each document, from zero."""
    for part in range(len(starts)):
        start, row, column = starts[part], rows[part], columns[part]
        low, high = 0, len(offsets)
        while low < high:  # the first document that begins after the part's first token
            middle = (low + high) // 2
            if offsets[middle] // width <= start:
                low = middle + 1
            else:
                high = middle
        number = documents[row, column - 1] + 1 if column else 0
        position = 0
        following = offsets[low] // width if low < len(offsets) else total
        for offset in range(counts[part]):
            if start + offset == following:
                number, position = number + 1, 0
                low += 1
                following = offsets[low] // width if low < len(offsets) else total
            documents[row, column + offset] = number
            positions[row, column + offset] = position
            position += 1


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens ``first`` to ``stop`` of a document, which stand in a window from ``column`` on.

    ``document`` is the number of the document in the file, ``length`` how many tokens it has.
    """

    file: str
    document: int
    first: int
    stop: int
    length: int
    column: int


class Text:
    """The files of one shard as one run of tokens. Nothing is mapped before it is read."""

    def __init__(self, folder: Path, name: str, mixture: Mixture) -> None:
        facts = mixture.shards[name]
        self.name = name
        self.files = tuple(facts.files)
        self.shards = [Shard(folder / stem) for stem in facts.files]
        for shard in self.shards:
            shard.check_index()
            if shard.dtype == "uint16" and mixture.vocabulary_size > 2**16:
                raise UsageError(
                    f"{shard.stem} holds 16-bit tokens, too narrow for the vocabulary of"
                    f" {mixture.vocabulary_size:,}",
                    hint="write the shards again with the tokenizer that mixture.yaml names",
                )
        ends = np.cumsum([0, *(shard.total for shard in self.shards)], dtype=np.int64)
        self.starts: Int64s = ends  # of each file, and the end
        found = (int(ends[-1]), sum(map(len, self.shards)))
        if found != (facts.tokens, facts.documents):
            raise Altered(
                f"{folder}: mixture.yaml gives {name!r} {facts.tokens:,} tokens in"
                f" {facts.documents:,} documents, its files hold {found[0]:,} in {found[1]:,}",
                hint="the files are of another recipe; copy the whole artifact again",
            )
        self._tokens: dict[int, npt.NDArray[Any]] = {}
        self._offsets: dict[int, npt.NDArray[Any]] = {}

    def tokens(self, file: int) -> npt.NDArray[Any]:
        if file not in self._tokens:
            shard = self.shards[file]
            self._tokens[file] = np.frombuffer(shard.tokens, dtype=shard.dtype)
        return self._tokens[file]

    def offsets(self, file: int) -> npt.NDArray[Any]:
        """Byte offset of each document, mapped (their place in the index is not aligned)."""
        if file not in self._offsets:
            first, stop = self.shards[file].offsets_at
            self._offsets[file] = np.frombuffer(self.shards[file].index[first:stop], dtype=np.int64)
        return self._offsets[file]

    def parts(self, starts: Int64s, width: int) -> Iterator[tuple[int, list[Int64s]]]:
        """Runs of ``width`` tokens by the files that hold them, files in order.

        Yields the number of a file and, for each part in it, its first token there, its number of
        tokens, and its row and column.
        """
        rows = np.arange(len(starts))
        columns = np.zeros(len(starts), dtype=np.int64)
        if len(self.shards) == 1:
            yield 0, [starts, np.full(len(starts), width), rows, columns]
            return
        files = np.searchsorted(self.starts, starts, side="right") - 1
        left = np.full(len(starts), width)
        # A row goes on in the next file until it is full; nearly all end in the first round.
        found: dict[int, list[list[Int64s]]] = {}
        while len(rows):
            for file in np.unique(files):
                here = files == file
                count = np.minimum(left[here], self.starts[file + 1] - starts[here])
                part = [starts[here] - self.starts[file], count, rows[here], columns[here]]
                found.setdefault(int(file), []).append(part)
            taken = np.minimum(left, self.starts[files + 1] - starts)
            more = left > taken
            starts, columns, left = (starts + taken)[more], (columns + taken)[more], left - taken
            left, rows, files = left[more], rows[more], files[more] + 1
        for file in sorted(found):
            if self.shards[file].total:
                yield file, [np.concatenate(column) for column in zip(*found[file], strict=True)]

    def pieces(self, start: int, width: int) -> Iterator[Piece]:
        """The documents, or parts of them, in a run of ``width`` tokens."""
        for file, part in self.parts(np.array([start]), width):
            first, count, _, column = (int(values[0]) for values in part)
            offsets, size = self.offsets(file), self.shards[file].width
            lengths = self.shards[file].lengths
            low, high = 0, len(offsets)
            while low + 1 < high:
                middle = (low + high) // 2
                low, high = (middle, high) if offsets[middle] // size <= first else (low, middle)
            end = first + count
            for document in range(low, len(offsets)):
                begin = int(offsets[document]) // size
                if begin >= end:
                    break
                inside, stop = max(first, begin), min(end, begin + lengths[document])
                if inside < stop:
                    yield Piece(
                        self.files[file],
                        document,
                        inside - begin,
                        stop - begin,
                        lengths[document],
                        column + inside - first,
                    )

    def place_of(self, file: str, document: int) -> tuple[int, int]:
        """First token and end of a document in the whole shard."""
        number = self.files.index(file)
        shard = self.shards[number]
        begin = int(self.starts[number]) + int(self.offsets(number)[document]) // shard.width
        return begin, begin + shard.lengths[document]


class Windows:
    """The windows of a ``tokens`` artifact.

    Opening compares its bytes, once a process; ``quick`` reads no tokens, whatever there is
    (:func:`yoriai.mixture.check_sealed`).
    """

    def __init__(self, folder: Path, context: int, *, quick: bool = False) -> None:
        self.folder = folder
        self.mixture = read_mixture(folder, quick=quick)
        self.context = context
        self.texts = [Text(folder, name, self.mixture) for name in self.mixture.shards]
        self.counts = {
            text.name: max(0, (int(text.starts[-1]) - 1) // context) for text in self.texts
        }

    def rows(self, shard: Int64s, window: Int64s) -> Int64s:
        """Windows as an array of shape (B, T); raises :class:`Altered` for ids of no piece."""
        out = np.empty((len(shard), self.context + 1), dtype=np.int64)
        for text, file, (starts, counts, rows, columns) in self._parts(shard, window):
            _copy(text.tokens(file), starts, counts, rows, columns, out)
        size = self.mixture.vocabulary_size
        if out.size and (out.max() >= size or out.min() < 0):
            self._refuse_ids(shard, window)
        return out

    def _refuse_ids(self, shard: Int64s, window: Int64s) -> None:
        size = self.mixture.vocabulary_size
        for text, file, (starts, counts, _, _) in self._parts(shard, window):
            tokens = text.tokens(file)
            for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
                run = tokens[start : start + count].astype(np.int64)
                wrong = np.flatnonzero((run >= size) | (run < 0))
                if len(wrong):
                    first = int(wrong[0])
                    raise text.shards[file].outside(start + first, int(run[first]), size)

    def boundaries(self, shard: Int64s, window: Int64s) -> tuple[Int32s, Int32s]:
        """Which document each token is of, and which token of it, from zero in each row: (B, T).

        A document that began before the window counts from the window's first token.
        """
        shape = (len(shard), self.context + 1)
        documents, positions = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.int32)
        for text, file, part in self._parts(shard, window):
            held = text.shards[file]
            _mark(text.offsets(file), held.total, held.width, *part, documents, positions)
        return documents, positions

    def _parts(self, shard: Int64s, window: Int64s) -> Iterator[tuple[Text, int, list[Int64s]]]:
        for number in np.unique(shard):
            text = self.texts[number]
            chosen = np.flatnonzero(shard == number)
            for file, part in text.parts(window[chosen] * self.context, self.context + 1):
                starts, counts, rows, columns = part
                yield text, file, [starts, counts, chosen[rows], columns]

    def order(self, seed: int) -> Order:
        return Order(self.mixture, self.counts, self.context, seed)


class Samples:
    """What the model sees: sample ``i`` of a ``tokens`` artifact, by context and seed alone."""

    def __init__(self, folder: Path, context: int, seed: int, *, quick: bool = False) -> None:
        self.windows = Windows(folder, context, quick=quick)
        self.order = self.windows.order(seed)

    def batch(self, indices: Sequence[int] | range | Int64s) -> Int64s:
        """Tokens of samples, an array of shape (B, T)."""
        return self.windows.rows(*self.order.draw(indices))

    def boundaries(self, indices: Sequence[int] | range | Int64s) -> tuple[Int32s, Int32s]:
        """Documents and positions of samples; see :meth:`Windows.boundaries`."""
        return self.windows.boundaries(*self.order.draw(indices))

    def check_length(self, samples: int) -> None:
        """Refuse a training that the mixture does not provide for, before it starts."""
        asked, provided = samples * self.windows.context, self.windows.mixture.length
        if provided is not None:
            # Phases end with a whole window, which may be a little before their last token.
            fits = samples <= self.order.samples
            asked = min(asked, provided) if fits else max(asked, provided + 1)
        self.windows.mixture.check_length(asked)

    def epochs(self, samples: int) -> dict[str, float]:
        """How often the windows of each shard that is drawn from are seen."""
        counts = self.order.counts(samples)
        drawn = {name for span in self.order.phases for name in span.shares}
        return {
            name: round(float(count) / self.windows.counts[name], 3)
            for name, count in zip(self.order.names, counts, strict=True)
            if name in drawn
        }


def micro_batch(number: int, batch: int, rank: int, world: int) -> range:
    """Indices of this rank's samples in micro-batch ``number``.

    Rank r takes every world-th, so the samples of a step do not depend on the number of ranks.
    """
    return range(number * batch + rank, (number + 1) * batch, world)
