"""What is in packed files and tables: their bytes as somebody who opens them would read them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from yoriai import YoriaiError

if TYPE_CHECKING:
    import pyarrow as pa

# First bytes of a file: https://www.garykessler.net/library/file_sigs.html
KINDS = {
    b"PAR1": "parquet",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",  # .xlsx, .docx and .npz, too
}
CLOSED = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"\x04\x22\x4d\x18": "lz4",
    b"ARROW1": "Arrow",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"\x89HDF": "HDF5",
    b"%PDF": "PDF",
    b"PACK": "a pack of git",
    b"\x78\x01": "zlib", b"\x78\x9c": "zlib", b"\x78\xda": "zlib",
}  # fmt: skip

SUFFIXES = (".parquet", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar", ".feather")


def errors() -> tuple[type[Exception], ...]:
    """What ends the look into one file: it cannot be read, or is not what its first bytes say."""
    import zstandard

    # RuntimeError and NotImplementedError: a member of a zip under a password, or packed otherwise.
    return (
        OSError, ValueError, YoriaiError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
        zstandard.ZstdError, RuntimeError,
    )  # fmt: skip


def kind_of(stream: IO[bytes]) -> str:
    """How a file is packed, by its first bytes; "" if it is not.

    Raises ValueError for a kind that is not opened here. The stream stands where it stood.
    """
    place = stream.tell()
    head = stream.read(8)
    stream.seek(place)
    for first, kind in CLOSED.items():
        if head.startswith(first):
            raise ValueError(f"{kind} is not opened")
    return next((kind for first, kind in KINDS.items() if head.startswith(first)), "")


def streams(stream: IO[bytes], kind: str) -> Iterator[IO[bytes]]:
    """The unpacked contents. Raises ValueError for what is packed once more inside."""
    if kind == "zip":
        with zipfile.ZipFile(stream) as archive:
            for member in archive.infolist():
                with archive.open(member) as inner:
                    yield from _once(inner)
    elif kind == "zstd":
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
        yield reader
    else:
        opener: Any = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}[kind]
        with opener(stream) as inner:
            yield from _once(inner)


def _once(inner: IO[bytes]) -> Iterator[IO[bytes]]:
    yield inner
    inner.seek(0)
    if kind_of(inner):
        raise ValueError("something in it is packed once more, and not opened")


def leaves(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    """The values of a column that are texts or bytes, as ``large_binary``, however nested."""
    for chunk in column.chunks:
        yield from _leaves(chunk)


def data_of(values: pa.Array) -> bytes:
    """The bytes of all values of a ``large_binary`` array in a row."""
    buffer = values.buffers()[2]
    return buffer.to_pybytes() if buffer is not None else b""


def _leaves(array: Any) -> Iterator[pa.Array]:
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(array.dictionary)
    elif pa.types.is_struct(kind):
        for child in array.flatten():
            yield from _leaves(child)
    elif pa.types.is_map(kind):
        yield from _leaves(array.keys)
        yield from _leaves(array.items)
    elif pa.types.is_nested(kind):
        yield from _leaves(array.flatten())
    elif isinstance(array, pa.ExtensionArray):
        yield from _leaves(array.storage)
    elif not (pa.types.is_primitive(kind) or pa.types.is_null(kind)):
        yield array.cast(pa.large_binary())
