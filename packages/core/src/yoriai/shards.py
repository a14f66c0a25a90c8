"""Token shards in Megatron's indexed format, read by memory map.

``NAME.bin`` holds the token ids of all documents, one after the other, little-endian u16 or
i32. ``NAME.idx`` says where each begins. The layout is that of Megatron-LM's
``megatron/core/datasets/indexed_dataset.py`` (``_IndexWriter``)::

    9 bytes   "MMIDIDX\\0\\0"
    u64       version, 1
    u8        code of the token type: 8 = uint16, 4 = int32
    u64       number of sequences
    u64       number of document boundaries (documents + 1)
    i32[]     length of each sequence in tokens
    i64[]     byte offset of each sequence in the .bin
    i64[]     index of the first sequence of each document, and the end

It lives in core because it is the one binary format that packages which never import one
another must share. No numpy: readers wrap :attr:`Shard.tokens` as they like.
"""

from __future__ import annotations

import array
import errno
import itertools
import mmap
import os
import resource
import struct
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Literal

from yoriai.errors import Altered, NotFound, UsageError, YoriaiError

MAGIC = b"MMIDIDX\x00\x00"
_HEAD = struct.Struct("<9sQBQQ")
_BLOCK = 2**16  # documents that are compared at once
_CODES: dict[int, Literal["H", "i"]] = {8: "H", 4: "i"}


def token_code(vocabulary_size: int) -> int:
    """8 (two bytes a token) where every id fits, else 4."""
    return 8 if vocabulary_size <= 2**16 else 4


def _pair(stem: Path) -> tuple[Path, Path]:
    # Not with_suffix, which would take the ".0" of "v1.0" for a suffix.
    return stem.with_name(f"{stem.name}.bin"), stem.with_name(f"{stem.name}.idx")


class ShardWriter:
    """Writes one ``.bin/.idx`` pair, one sequence a document."""

    def __init__(self, stem: Path, vocabulary_size: int) -> None:
        self.stem = stem
        self.vocabulary_size = vocabulary_size
        self.code = token_code(vocabulary_size)
        self._lengths = array.array("i")
        self._stream = _pair(stem)[0].open("wb")

    def add(self, tokens: Iterable[int]) -> int:
        """Append a document; returns its number of tokens. Empty documents are refused."""
        try:
            values = array.array(_CODES[self.code], tokens)
        except OverflowError as error:
            raise UsageError(f"a token id does not fit the vocabulary: {error}") from error
        if not values:
            raise UsageError("an empty document cannot be written to a shard")
        wrong = next(
            (v for v in (min(values), max(values)) if not 0 <= v < self.vocabulary_size), None
        )
        if wrong is not None:
            raise UsageError(
                f"token id {wrong} is outside the vocabulary of {self.vocabulary_size}",
                hint="the shards and the tokenizer must be of one recipe",
            )
        if sys.byteorder == "big":
            values.byteswap()
        self._stream.write(values.tobytes())
        self._lengths.append(len(values))
        return len(values)

    def close(self) -> None:
        """Write the index. The pair is readable only after this."""
        self._stream.close()
        width = array.array(_CODES[self.code]).itemsize
        offsets, place = array.array("q"), 0
        for length in self._lengths:
            offsets.append(place)
            place += length * width
        documents = array.array("q", range(len(self._lengths) + 1))
        with _pair(self.stem)[1].open("wb") as index:
            count = len(self._lengths)
            index.write(_HEAD.pack(MAGIC, 1, self.code, count, count + 1))
            for part in (self._lengths, offsets, documents):
                if sys.byteorder == "big":
                    part.byteswap()
                index.write(part.tobytes())


class Shard:
    """A ``.bin/.idx`` pair, mapped into memory when it is first read.

    Opening reads the header and the last entry of the index, whatever the number of documents,
    and compares the sizes of both files with them. Raises :class:`NotFound` if one is not there
    and :class:`Altered` if the two do not agree. :attr:`index` is compared with itself when it is
    first read: a length or pointer that leads elsewhere is refused by its number.
    """

    def __init__(self, stem: Path) -> None:
        self.stem = stem
        self._body, self._index = _pair(stem)
        try:
            with self._index.open("rb") as stream:
                self._open(stream)
            size = self._body.stat().st_size
        except FileNotFoundError as error:
            raise NotFound(f"{error.filename} is missing", hint=_COPY) from error
        if size != self.total * self.width:
            raise Altered(
                f"{self._body} has {size} bytes, its index asks for {self.total * self.width}",
                hint=_COPY,
            )

    def _open(self, stream: BinaryIO) -> None:
        head = stream.read(_HEAD.size)
        if len(head) < _HEAD.size or head[:9] != MAGIC:
            raise Altered(f"{self._index} is no Megatron index")
        _, version, code, self.count, boundaries = _HEAD.unpack(head)
        if version != 1 or code not in _CODES:
            raise Altered(f"{self._index}: version {version}, token type {code} is not supported")
        if boundaries != self.count + 1:
            raise Altered(
                f"{self._index} has {self.count:,} sequences and {boundaries - 1:,} documents; only"
                " one sequence a document is read"
            )
        size = os.fstat(stream.fileno()).st_size
        expected = _HEAD.size + self.count * 12 + boundaries * 8
        if size != expected:
            raise Altered(f"{self._index} has {size} bytes, its header asks for {expected}")
        self.width = 2 if code == 8 else 4
        self.dtype: Literal["uint16", "int32"] = "uint16" if code == 8 else "int32"
        self.total = 0  # tokens
        if self.count:
            stream.seek(_HEAD.size + 4 * (self.count - 1))
            [length] = struct.unpack("<i", stream.read(4))
            stream.seek(_HEAD.size + 12 * self.count - 8)
            [offset] = struct.unpack("<q", stream.read(8))
            if length < 0 or offset < 0 or offset % self.width:
                raise Altered(f"{self._index}: its last document ends nowhere", hint=_COPY)
            self.total = offset // self.width + length

    @cached_property
    def tokens(self) -> memoryview:
        """The bytes of all tokens, :attr:`dtype` each. No copy."""
        return _mapped(self._body)

    @cached_property
    def index(self) -> memoryview:
        """The bytes of the index, checked once. No copy. Raises :class:`Altered`."""
        index = _mapped(self._index)
        self._check(index)
        return index

    def check_index(self) -> None:
        """Compare the index with itself where it is not read. Raises :class:`Altered`."""
        self._check(_mapped(self._index))

    def _check(self, index: memoryview) -> None:
        """Each sequence begins where the one before it ends, and is a document of its own."""
        lengths = index[_HEAD.size : _HEAD.size + 4 * self.count].cast("i")
        first = _HEAD.size + 4 * self.count
        place = 0
        for start in range(0, self.count, _BLOCK):
            stop = min(start + _BLOCK, self.count)
            block = lengths[start:stop]
            wanted = array.array(
                "q", itertools.accumulate(map(self.width.__mul__, block), initial=place)
            )
            found = array.array("q")
            found.frombytes(index[first + 8 * start : first + 8 * stop])
            place = wanted.pop()
            if found == wanted and min(block) >= 0:
                continue
            row = next(n for n in range(len(block)) if block[n] < 0 or found[n] != wanted[n])
            raise Altered(
                f"{self._index}: document {start + row:,} has {block[row]:,} tokens from byte"
                f" {found[row]:,} on; the one before it ends at byte {wanted[row]:,}",
                hint=_COPY,
            )
        first += 8 * self.count
        for start in range(0, self.count + 1, _BLOCK):
            stop = min(start + _BLOCK, self.count + 1)
            boundaries = array.array("q")
            boundaries.frombytes(index[first + 8 * start : first + 8 * stop])
            if boundaries != array.array("q", range(start, stop)):
                raise Altered(
                    f"{self._index}: its documents are not one sequence each, in order", hint=_COPY
                )

    def outside(self, place: int, token: int, vocabulary_size: int) -> Altered:
        """The refusal of token number ``place`` of the file, which no vocabulary piece has."""
        return Altered(
            f"{self._body}: token {place:,} is {token}, the vocabulary has {vocabulary_size:,}"
            " pieces (from 0)",
            hint="write the shards again with the tokenizer that mixture.yaml names",
        )

    @property
    def lengths(self) -> memoryview:
        """Tokens of each document, as C ints. No copy."""
        return self.index[_HEAD.size : _HEAD.size + 4 * self.count].cast("i")

    @property
    def offsets_at(self) -> tuple[int, int]:
        """First byte and end of the documents' byte offsets (i64, unaligned) in :attr:`index`."""
        start = _HEAD.size + 4 * self.count
        return start, start + 8 * self.count

    def __len__(self) -> int:
        return int(self.count)


def _mapped(path: Path) -> memoryview:
    if not path.stat().st_size:
        return memoryview(b"")
    try:
        return _map(path)
    except OSError as error:
        # Each mapping keeps a file handle. The soft limit, often 1,024, is there for select(),
        # which nothing here uses; the hard one is the machine's.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if error.errno != errno.EMFILE or soft == hard:
            raise YoriaiError(
                f"{path} cannot be mapped: {error.strerror}", hint="raise ulimit -n, or ulimit -v"
            ) from error
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return _map(path)


def _map(path: Path) -> memoryview:
    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


_COPY = "the file was cut or belongs to another index; copy both again"
