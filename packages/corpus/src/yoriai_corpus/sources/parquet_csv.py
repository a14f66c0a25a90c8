"""Tables: parquet and CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from yoriai import Document, Unreadable
from yoriai_corpus.sources.checks import fault
from yoriai_corpus.sources.listing import SourceFile
from yoriai_corpus.sources.records import MEGABYTE, FilePart, RecordFault, records
from yoriai_corpus.sources.rows import RowSource, getter, line_end, other_encoding, row_reader

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS = 512  # rows that are held at a time
# More rows than that a footer does not count; a run of equal values may need fewer bits a row.
ROWS_OF_A_BYTE = 8
_PACKED = (".gz", ".zst", ".bz2", ".xz")


class Parquet(RowSource):
    """Parquet files, row group by row group; only the columns asked for are read."""

    version: ClassVar[str] = "2"  # 2: pieces of a file by its rows
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")
    splits: ClassVar[frozenset[str]] = frozenset({""})

    def frames(self, part: FilePart) -> Iterator[tuple[str, Any] | RecordFault]:
        first = part.start == 0  # what is wrong with the file as a whole is said once
        try:
            table = _open_parquet(part.file)
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
            if first or isinstance(error, OSError):
                yield RecordFault(part.name, f"no readable parquet file: {_words(error)}")
            return
        with table:
            problem = text_problem(table.schema_arrow, self.names().text)
            if problem and first and not table.metadata.num_rows:
                yield RecordFault(part.name, problem)
            known = table.schema_arrow.names
            wanted = dict.fromkeys(
                name if name in known else name.partition(".")[0] for name in self.wanted()
            )
            columns = [name for name in wanted if name in known]
            row = 0
            for group, (offset, rows) in enumerate(_row_groups(table, part.file.size())):
                if part.start <= offset < part.end and problem:
                    yield from _faults(part, row, rows, problem)
                elif part.start <= offset < part.end:
                    yield from _group(table, part, group, row, rows, columns)
                row += rows


def _open_parquet(file: SourceFile) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    if file.is_remote:
        return pq.ParquetFile(file.open(), pre_buffer=True)
    file.open().close()  # says in words what is no plain file
    return pq.ParquetFile(file.path)


def _row_groups(table: pq.ParquetFile, size: int) -> Iterator[tuple[int, int]]:
    """(offset, rows) of each row group: where it would begin if all rows were of one size.

    What the footer says of columns is not asked for: where that is false, Arrow ends the process.
    """
    counts = _row_counts(table.metadata)
    whole, before = max(1, sum(counts)), 0
    for rows in counts:
        yield min(size * before // whole, size - 1), rows
        before += rows


def _row_counts(metadata: pq.FileMetaData) -> list[int]:
    """Rows of each row group, as the footer counts them."""
    return [max(0, metadata.row_group(n).num_rows) for n in range(metadata.num_row_groups)]


def _group(
    table: pq.ParquetFile, part: FilePart, group: int, row: int, rows: int, columns: list[str]
) -> Iterator[tuple[str, Any] | RecordFault]:
    """(place, row) of a row group; the place is ``name@number`` of the row in the file.

    Where it is damaged, every row that the footer counts and that is not there is a fault.
    """
    after = row + rows
    try:
        for batch in table.iter_batches(ROWS, row_groups=[group], columns=columns):
            lists = [_values(column) for column in batch.columns]
            names = batch.schema.names
            for values in zip(*lists, strict=True):
                yield f"{part.name}@{row}", dict(zip(names, values, strict=True))
                row += 1
    except (OSError, ValueError) as error:
        reason = f"row group {group} cannot be read from here on: {_words(error)}"
        yield from _faults(part, row, after - row, reason)


def _faults(part: FilePart, row: int, rows: int, reason: str) -> Iterator[RecordFault]:
    """A fault for each row; one for all where a file of this size cannot hold so many."""
    if rows > ROWS_OF_A_BYTE * part.file.size():
        told = f"{reason} (the footer counts {rows:,} rows from here on, too many to be believed)"
        yield RecordFault(f"{part.name}@{row}", told)
        return
    for number in range(row, row + rows):
        yield RecordFault(f"{part.name}@{number}", reason)


def _values(column: pa.Array) -> list[Any]:
    """A column as Python values. What should be text and is not UTF-8 stays bytes."""
    import pyarrow as pa

    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        if isinstance(column, pa.DictionaryArray):
            column = column.dictionary_decode()
        if pa.types.is_nested(column.type):
            return [_value(item) for item in column]
        return [_text_or_bytes(item) for item in column.cast(pa.large_binary()).to_pylist()]


def _value(item: pa.Scalar) -> Any:
    try:
        return item.as_py()
    except UnicodeDecodeError:
        return None


def _text_or_bytes(data: bytes | None) -> str | bytes | None:
    try:
        return data if data is None else data.decode()
    except UnicodeDecodeError:
        return data


def text_problem(schema: pa.Schema, names: tuple[str, ...]) -> str:
    """Why a table with this schema has no text under any of the names; "" if it has."""
    import pyarrow as pa

    for name in names:
        found: Any = schema
        steps = [name] if name in schema.names else name.split(".")
        for step in steps:
            inside = found.names if isinstance(found, pa.Schema) else _inner_names(found)
            if step not in inside:
                found = None
                break
            found = found.field(step).type
        if found is None:
            continue
        kind = found.value_type if pa.types.is_dictionary(found) else found
        texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        if not any(is_text(kind) for is_text in texts):
            return f"column {name!r} holds {kind}, not text"
        return ""
    return f"no column {' or '.join(map(repr, names))}; there are {', '.join(schema.names)}"[:300]


def _inner_names(kind: Any) -> list[str]:
    import pyarrow as pa

    return [field.name for field in kind] if pa.types.is_struct(kind) else []


def _words(error: Exception) -> str:
    """What Arrow says, without the file's path, which its own errors may hold."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0].partition(": '/")[0][:200]


class Csv(RowSource):
    """Comma- or tab-separated values with a header (RFC 4180; a row may go over lines)."""

    version: ClassVar[str] = "1"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    delimiter: str = Field(
        "", max_length=1, description="what parts fields; empty: a tab in .tsv, else a comma"
    )
    quote: str = Field('"', max_length=1, description="the quotation mark; empty: there is none")
    columns: list[str] = Field([], description="names of the columns, if the file has no header")
    encoding: Literal["utf-8", "cp932", "euc_jp"] = Field("utf-8", description="of the files")
    max_record_mb: int = Field(64, ge=1, description="longest field, and longest line")

    def frames(self, part: FilePart) -> Iterator[tuple[str, Any] | RecordFault]:
        most = self.max_record_mb * MEGABYTE
        codec, end = line_end(part)
        if codec:
            yield from other_encoding(part, end, most)
            return
        csv.field_size_limit(most)  # for the whole process: the module has no other way
        faults: list[RecordFault] = []
        starts: list[str] = []  # places of the lines of the row that is being read
        held: list[str] = []  # and these lines
        ended = False

        def lines() -> Iterator[str]:
            nonlocal ended
            for frame in records(part, delimiter=end, max_bytes=most):
                if isinstance(frame, RecordFault):
                    faults.append(frame)
                    continue
                place, line = frame
                if not starts and place == part.place(-1, 0):
                    line = line.removeprefix(b"\xef\xbb\xbf")
                starts.append(place)
                held.append(line.decode(self.encoding, "surrogateescape") + "\n")
                yield held[-1]
            ended = True

        delimiter = self.delimiter or ("\t" if _plain_name(part.name).endswith(".tsv") else ",")
        form: dict[str, Any] = {
            "delimiter": delimiter,
            "quotechar": self.quote or None,
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
        }
        rows = csv.reader(lines(), **form)
        problem, empty = "", False
        header = self.columns
        while True:
            starts.clear()
            held.clear()
            try:
                row = next(rows, None)
                if row is not None and ended:
                    raise csv.Error("a quotation mark is opened here and never closed")
                if len(held) > 1:  # text behind a closing mark: it was opened by mistake
                    next(csv.reader(held, strict=True, **form))
            except csv.Error as error:
                for place in starts:  # a fault does not stand for many rows
                    told = "" if place == starts[0] else f" (of the row that begins at {starts[0]})"
                    yield RecordFault(place, f"no row of a table: {error}{told}")
                continue
            yield from faults
            faults.clear()
            if row is None:
                if problem and empty:
                    yield RecordFault(part.name, problem)
                return
            if not header:
                header = row
            elif problem:
                empty = False
                yield RecordFault(starts[0], problem)
                continue
            elif len(row) == len(header):
                yield starts[0], dict(zip(header, row, strict=True))
                continue
            elif not row:
                yield RecordFault(starts[0], "empty line")
                continue
            else:
                reason = f"{len(row)} fields where the header has {len(header)}"
                yield RecordFault(starts[0], reason)
                continue
            if getter(self.names().text)(dict.fromkeys(header, "x")) is None:
                names = " or ".join(map(repr, self.names().text))
                problem = f"no column {names}; there are {', '.join(header)}"[:300]
                problem = problem.encode("utf-8", "backslashreplace").decode()
                empty = True
            elif twice := [name for name in self.names().text if header.count(name) > 1]:
                problem, empty = f"two columns are called {twice[0]!r}: name them by columns", True

    def parser(self) -> Callable[[str, Any], Document | Unreadable | None]:
        document = row_reader(self, self.name, self.language, self.licence)

        def parse(place: str, row: dict[str, str]) -> Document | Unreadable:
            item = document(place, row)
            if isinstance(item, Document) and (reason := fault(item)):
                if reason.startswith("holds half"):  # how surrogateescape leaves its mark
                    reason = f"not {self.encoding.upper()}"
                return Unreadable(self.name, place, reason)
            return item

        return parse


def _plain_name(name: str) -> str:
    name = name.lower()
    for suffix in _PACKED:
        name = name.removesuffix(suffix)
    return name
