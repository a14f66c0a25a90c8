"""A character n-gram model: how surprising a text is, in perplexity per character.

Interpolated Kneser-Ney smoothing with one discount an order (Chen and Goodman 1998, *An Empirical
Study of Smoothing Techniques for Language Modeling*, section 4.1.6), D = n1 / (n1 + 2 n2); the
lowest order is mixed with a uniform distribution over ``CHARACTERS``. Characters need no
word splitter, which would cost a hundred times what the rest of a filter does.

What the model sees is the folded text (``folding.fold_table``: NFKC and case), with any run of
space as one symbol. N-grams are found by 64-bit hashes; the model is four arrays in
a ``.npz`` file with a digest of them, so that loading runs no code and notices damage.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from yoriai import UsageError, YoriaiError
from yoriai.artifact import check_folder
from yoriai_corpus.text.batch import F64, I64, U32, Batch, codes_of
from yoriai_corpus.text.folding import SPACE, fold_table

U64 = npt.NDArray[np.uint64]
F32 = npt.NDArray[np.float32]

CHARACTERS = 150_000  # about as many as Unicode has assigned
FORMAT = 1
_MIX = np.uint64(0x9E3779B97F4A7C15)
_START = np.uint64(0x243F6A8885A308D3)
_SHIFT = np.uint64(31)


class NgramTable(NamedTuple):
    """Open addressing over 64-bit keys (0: free); a power of two of slots, at most half used."""

    keys: U64
    values: F32


class CharacterModel(NamedTuple):
    """``grams``: natural-log probability of an n-gram's last character after the others.
    ``contexts``: natural log of the share that a context leaves to shorter ones."""

    order: int
    grams: NgramTable
    contexts: NgramTable

    @property
    def size(self) -> int:
        """Number of n-grams."""
        return int(np.count_nonzero(self.grams.keys))


def train(texts: Iterable[str], order: int = 5, min_count: int = 2) -> CharacterModel:
    """Count and smooth. Raises :class:`UsageError` if there is no character to learn from.

    N-grams of three and more characters that occur less than ``min_count`` times (below the
    highest order: after fewer different characters) are left out, and their share goes to the
    shorter ones. Memory: about 60 bytes a character of text.
    """
    if not 1 <= order <= 8:
        raise UsageError(f"a character model has order 1 to 8, not {order}")
    codes = codes_of(texts)
    stream, real = _stream(*codes, fold_table(), order - 1)
    if not real.any():
        raise UsageError("there is no text to learn characters from")
    # Types of the highest order, then, by their suffixes, of each lower one.
    places = np.flatnonzero(real)
    levels = []
    for n in range(order, 0, -1):
        keys, first, occurrences = np.unique(
            _hashes(stream, places, n), return_index=True, return_counts=True
        )
        places = places[first]
        levels.append((n, keys, places, occurrences))
    grams: list[tuple[U64, F64]] = []
    contexts: list[tuple[U64, F64]] = []
    below_keys = np.zeros(0, dtype=np.uint64)
    below = np.zeros(0)
    for n, keys, places, occurrences in reversed(levels):
        ones, twos = (int(np.count_nonzero(occurrences == times)) for times in (1, 2))
        discount = min(0.9, max(0.1, ones / (ones + 2 * twos))) if ones else 0.5
        before, group = np.unique(_hashes(stream, places - 1, n - 1), return_inverse=True)
        totals = np.bincount(group, weights=occurrences)
        kept = (occurrences >= min_count) | (n < 3)
        direct = np.where(kept, (occurrences - discount) / totals[group], 0.0)
        left = 1 - np.bincount(group, weights=direct)
        if n == 1:
            lower = np.full(len(keys), 1 / CHARACTERS)
        else:
            lower = below[np.searchsorted(below_keys, _hashes(stream, places, n - 1))]
        probability = direct + left[group] * lower
        grams.append((keys[kept], np.log(probability[kept])))
        used = np.bincount(group, weights=kept) > 0
        contexts.append((before[used], np.log(left[used])))
        below_keys, below = keys, probability
    return CharacterModel(order, _table(grams), _table(contexts))


def log_probabilities(model: CharacterModel, text: str) -> F64:
    """Natural-log probability of each character of the folded text."""
    points, starts = codes_of([text])
    stream, real = _stream(points, starts, fold_table(), model.order - 1)
    return _score(stream, real, model.order, *model.grams, *model.contexts)


def perplexities(model: CharacterModel, batch: Batch, outliers: float = 0.0) -> F64:
    """Perplexity per character of each document; NaN where it has no character.

    The ``outliers`` share of the least likely characters is left out of the mean, as Uzushio
    does with words (``KenLMDocAvgPerplexity``, 0.1): a few rare names make no bad text.
    """
    return _perplexities(
        *batch.codes, fold_table(), outliers, model.order, *model.grams, *model.contexts
    )


def save(model: CharacterModel, path: Path) -> None:
    """Write a model; the same model gives the same bytes."""
    arrays = _arrays(model)
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, digest=_digest(arrays), **arrays)


def find(model: str) -> Path:
    """The file of a model: itself, or ``model.npz`` in the folder of an artifact.

    Raises :class:`UsageError` if there is none.
    """
    path = Path(model)
    path = path / "model.npz" if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"there is no model {model!r}", hint="corpus/character-model makes one")
    return path


def load(path: Path) -> CharacterModel:
    """Read a model, from the process's memory if the file is what it was.

    Raises :class:`YoriaiError` if the file is none, is damaged, or is not what its artifact sealed.
    """
    stat = path.stat()
    return _loaded(str(path), (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=8)
def _loaded(path: str, _stamp: tuple[int, int]) -> CharacterModel:
    check_folder(Path(path))
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        digest = arrays.pop("digest")
        model = CharacterModel(
            int(arrays["order"][1]),
            NgramTable(arrays["gram_keys"], arrays["gram_values"]),
            NgramTable(arrays["context_keys"], arrays["context_values"]),
        )
        sound = int(arrays["order"][0]) == FORMAT and np.array_equal(digest, _digest(arrays))
    except Exception as error:  # zipfile and numpy raise a dozen kinds on damaged files
        raise YoriaiError(f"{path} is no character model: {error}") from error
    if not sound:
        raise YoriaiError(f"{path} is damaged: its digest does not fit what it holds")
    return model


def _arrays(model: CharacterModel) -> dict[str, npt.NDArray[np.generic]]:
    return {
        "order": np.array([FORMAT, model.order]),
        "gram_keys": model.grams.keys,
        "gram_values": model.grams.values,
        "context_keys": model.contexts.keys,
        "context_values": model.contexts.values,
    }


def _digest(arrays: dict[str, npt.NDArray[np.generic]]) -> npt.NDArray[np.uint8]:
    sha256 = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha256.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        sha256.update(np.ascontiguousarray(array).tobytes())
    return np.frombuffer(sha256.digest(), dtype=np.uint8)


def _table(parts: list[tuple[U64, F64]]) -> NgramTable:
    keys = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts]).astype(np.float32)
    size = 1 << max(3, math.ceil(math.log2(2 * max(1, len(keys)))))
    return NgramTable(*_fill(keys, values, size))


# --- kernels ------------------------------------------------------------------------------


@njit(cache=True, nogil=True, inline="always")
def _lengthen(value: np.uint64, symbol: np.uint32) -> np.uint64:
    """The hash of a gram with one more symbol on its left; never 0 but by one chance in 2**64."""
    value = (value ^ np.uint64(symbol)) * _MIX
    return value ^ (value >> _SHIFT)


@njit(cache=True, nogil=True)
def _fill(keys: U64, values: F32, size: int) -> tuple[U64, F32]:
    table = np.zeros(size, dtype=np.uint64)
    kept = np.zeros(size, dtype=np.float32)
    for index in range(len(keys)):
        slot = np.int64(keys[index] >> np.uint64(1)) & (size - 1)
        while table[slot] != 0:
            slot = (slot + 1) & (size - 1)
        table[slot] = keys[index]
        kept[slot] = values[index]
    return table, kept


@njit(cache=True, nogil=True, inline="always")
def _look_up(keys: U64, key: np.uint64) -> int:
    mask = len(keys) - 1
    slot = np.int64(key >> np.uint64(1)) & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    return int(slot) if keys[slot] == key else -1


@njit(cache=True, nogil=True)
def _stream(points: U32, starts: I64, table: U32, pad: int) -> tuple[U32, npt.NDArray[np.bool_]]:
    """All texts folded, each after ``pad`` zeros that only serve as context; and what is real."""
    stream = np.zeros(len(points) + pad * (len(starts) - 1), dtype=np.uint32)
    real = np.zeros(len(stream), dtype=np.bool_)
    size = 0
    for document in range(len(starts) - 1):
        size += pad
        last = np.uint32(SPACE)
        for index in range(starts[document], starts[document + 1]):
            symbol = table[points[index]]
            if symbol != SPACE or last != SPACE:  # a run of space is one; at the start it is none
                stream[size] = symbol
                real[size] = True
                size += 1
            last = symbol
    return stream[:size], real[:size]


@njit(cache=True, nogil=True)
def _hashes(stream: U32, places: I64, n: int) -> U64:
    """The hash of the ``n`` symbols that end at each place."""
    found = np.empty(len(places), dtype=np.uint64)
    for index in range(len(places)):
        value = _START
        for back in range(n):
            value = _lengthen(value, stream[places[index] - back])
        found[index] = value
    return found


@njit(cache=True, nogil=True)
def _score(
    stream: U32,
    real: npt.NDArray[np.bool_],
    order: int,
    gram_keys: U64,
    gram_values: F32,
    context_keys: U64,
    context_values: F32,
) -> F64:
    found = np.empty(len(stream), dtype=np.float64)
    number = 0
    here = np.empty(order + 1, dtype=np.uint64)
    before = np.empty(order + 1, dtype=np.uint64)
    for place in range(len(stream)):
        if not real[place]:
            continue
        here[0] = before[0] = _START
        for n in range(1, order + 1):
            here[n] = _lengthen(here[n - 1], stream[place - n + 1])
            if n < order:
                before[n] = _lengthen(before[n - 1], stream[place - n])
        # From the longest context down to the first n-gram that is known.
        total = 0.0
        n = order
        while n > 0:
            slot = _look_up(gram_keys, here[n])
            if slot >= 0:
                total += gram_values[slot]
                break
            slot = _look_up(context_keys, before[n - 1])
            if slot >= 0:
                total += context_values[slot]
            n -= 1
        if n == 0:
            total -= math.log(CHARACTERS)
        found[number] = total
        number += 1
    return found[:number]


@njit(cache=True, nogil=True)
def _perplexities(
    points: U32,
    starts: I64,
    table: U32,
    outliers: float,
    order: int,
    gram_keys: U64,
    gram_values: F32,
    context_keys: U64,
    context_values: F32,
) -> F64:
    found = np.full(len(starts) - 1, np.nan)
    for document in range(len(starts) - 1):
        part = starts[document : document + 2]
        stream, real = _stream(points, part, table, order - 1)
        scores = _score(stream, real, order, gram_keys, gram_values, context_keys, context_values)
        trimmed = int(outliers * len(scores))
        if len(scores) == 0:
            continue
        if trimmed > 0:
            scores = np.partition(scores, trimmed)[trimmed:]
        found[document] = math.exp(-scores.mean())
    return found
