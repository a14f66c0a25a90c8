"""Tables and data sets: the same rows come out as went in, and nothing that is wrong raises."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import Document, NotFound, Source, Unreadable, UsageError
from yoriai_corpus import tables
from yoriai_corpus.sources import huggingface
from yoriai_corpus.sources.huggingface import HuggingFaceRows
from yoriai_corpus.sources.listing import SourceFile
from yoriai_corpus.sources.parquet_csv import Csv, Parquet
from yoriai_corpus.sources.records import FilePart, RecordFault


def read(source: Source) -> list[Document | Unreadable]:
    return [item for name in source.partitions() for item in source.read(name)]


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., str]:
    def write(columns: Any, name: str = "a.parquet", **keys: Any) -> str:
        whole = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pq.write_table(whole, tmp_path / name, **keys)
        return str(tmp_path / name)

    return write


# --- parquet ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_text_of_every_kind_is_read(kind: pa.DataType, table: Callable[..., str]) -> None:
    texts = ["日本", None, "a", "", "a" * 70_000]
    path = table({"text": pa.array(texts).cast(kind), "n": [1, 2, 3, 4, 5]})
    items = read(Parquet(paths=[path], language="ja"))
    assert [getattr(item, "text", None) for item in items] == [
        "日本",
        None,
        "a",
        None,
        "a" * 70_000,
    ]
    assert [item.id for item in items] == [f"a.parquet@{n}" for n in range(5)]
    assert getattr(items[1], "reason", "") == "no text under 'text'"


def test_columns_are_named_by_keys_also_inside_a_struct(table: Callable[..., str]) -> None:
    meta = [{"url": "u1", "when": datetime.date(2024, 5, 1)}, None]
    path = table({"body": ["one", "two"], "meta": meta, "key": [7, 8]})
    keys = {"text_field": "body", "id_field": "key", "date_field": "meta.when"}
    items = read(Parquet(paths=[path], url_field="meta.url", **keys))
    assert items[0] == Document("local", "7", "one", "", "u1", "", "2024-05-01")
    assert items[1] == Document("local", "8", "two", "", "", "", "")
    path = table({"row": [{"text": "inside"}]}, "b.parquet")
    assert read(Parquet(paths=[path], text_field="row.text"))[0].text == "inside"  # type: ignore[union-attr]


def test_the_stack_is_read_from_parquet_too(table: Callable[..., str]) -> None:
    path = table(
        {
            "content": ["int a;"],
            "max_stars_repo_name": ["w/x"],
            "max_stars_repo_path": ["a.c"],
            "max_stars_repo_licenses": [["MIT"]],
            "unused": ["never read"],
        }
    )
    (item,) = read(Parquet(paths=[path], layout="stack"))
    assert item == Document("local", "w/x/a.c", "int a;", "code", "", "MIT", "")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"body": ["t"]}, "no column 'text'; there are body"),
        ({"text": [1]}, "column 'text' holds int64, not text"),
        ({"text": [{"a": "b"}]}, "column 'text' holds struct"),
    ],
)
def test_a_schema_without_text_is_a_fault_of_each_row(
    columns: dict[str, Any], reason: str, table: Callable[..., str]
) -> None:
    (item,) = read(Parquet(paths=[table(columns)]))
    assert isinstance(item, Unreadable)
    assert item.id == "a.parquet@0"
    assert reason in item.reason


def test_what_is_no_parquet_file_is_one_record(tmp_path: Path, table: Callable[..., str]) -> None:
    whole = Path(table({"text": ["x"] * 100})).read_bytes()
    for data in (b"", b"text", whole[:50], whole[:-1], b"PAR1" + b"\0" * 40 + b"PAR1"):
        (tmp_path / "bad.parquet").write_bytes(data)
        (item,) = read(Parquet(paths=[str(tmp_path / "bad.parquet")]))
        assert isinstance(item, Unreadable)
        assert str(tmp_path) not in item.reason


def test_a_damaged_row_group_costs_itself_and_no_other(table: Callable[..., str]) -> None:
    path = Path(
        table(
            {"text": [f"{n:06d}" for n in range(3000)]},
            row_group_size=1000,
            use_dictionary=False,
            compression="zstd",
        )
    )
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(1).column(0)
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(bytes(data))
    items = read(Parquet(paths=[str(path)]))
    good = [item.text for item in items if isinstance(item, Document)]
    assert good == [f"{n:06d}" for n in [*range(1000), *range(2000, 3000)]]
    bad = [item for item in items if isinstance(item, Unreadable)]
    assert [item.id for item in bad] == [f"a.parquet@{n}" for n in range(1000, 2000)]
    assert all("row group 1" in item.reason for item in bad)


def with_footer(path: Path, old: bytes, new: bytes) -> None:
    """Change every ``old`` of the footer; its length is told anew."""
    data = path.read_bytes()
    at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[at:-8]
    assert old in footer
    footer = footer.replace(old, new)
    path.write_bytes(data[:at] + footer + len(footer).to_bytes(4, "little") + b"PAR1")


# In the compact protocol of Thrift a field is a byte, its distance from the last and its type, and
# an i64 a zigzag varint: 3000 rows are 0x16 f0 2e. https://parquet.apache.org/docs/file-format
ROWS_3000, ROWS_10_12 = b"\x16\xf0\x2e", b"\x16\x80\xc0\xa8\xca\x9a\x3a"


@pytest.mark.parametrize("text", [True, False])
def test_rows_that_a_file_cannot_hold_are_one_fault(table: Callable[..., str], text: bool) -> None:
    path = Path(table({"text" if text else "other": [f"{n}" for n in range(3000)]}))
    with_footer(path, ROWS_3000, ROWS_10_12)
    assert pq.read_metadata(path).num_rows in (3000, 10**12)
    items = read(Parquet(paths=[str(path)]))
    good = [item.text for item in items if isinstance(item, Document)]
    assert good == ([f"{n}" for n in range(3000)] if text else [])
    bad = [item for item in items if isinstance(item, Unreadable)]
    assert len(bad) <= 1
    assert all("too many to be believed" in item.reason for item in bad)
    assert bad or text


def test_a_false_footer_of_a_column_does_not_end_the_process(table: Callable[..., str]) -> None:
    path = Path(table({"row": [{"text": f"{n}"} for n in range(20)]}, row_group_size=10))
    # two lists, the histograms of repetition (none) and definition levels (three numbers): without
    # the first, the second is taken for it
    with_footer(path, b"\x19\x06\x19\x36", b"\x19\x36")
    items = read(Parquet(paths=[str(path)], text_field="row.text"))
    assert [item.id for item in items] == [f"a.parquet@{n}" for n in range(20)]
    assert all(isinstance(item, Unreadable) and "histogram" in item.reason for item in items)
    with pq.ParquetFile(path) as file:
        assert len(tables.group_bytes(file)) == 2


def test_text_that_is_not_utf8_costs_one_row(table: Callable[..., str]) -> None:
    raw = pa.array([b"good", b"\xff", None, "日本".encode()], pa.binary())
    bad = pa.StringArray.from_buffers(4, *raw.buffers()[1:], raw.buffers()[0])
    items = read(Parquet(paths=[table(pa.table({"text": bad}))]))
    assert [getattr(item, "text", None) for item in items] == ["good", None, None, "日本"]


@settings(max_examples=25)
@given(
    rows=st.integers(0, 300),
    group=st.integers(1, 80),
    cuts=st.sets(st.integers(1, 9000), max_size=5),
)
def test_the_pieces_hold_each_row_group_once_in_order(
    rows: int, group: int, cuts: set[int], new_folder: Callable[[], Path]
) -> None:
    path = new_folder() / "a.parquet"
    texts = [f"{n} {'x' * (n % 50)}" for n in range(rows)]
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path, row_group_size=group)
    file = SourceFile("a", str(path))
    source = Parquet(paths=[str(path)])
    inside = [0, *sorted(cut for cut in cuts if cut < file.size())]
    found = []
    for start, end in zip(inside, [*inside[1:], file.size()], strict=True):
        found += source.frames(FilePart(file, start, end))
    assert [f[1]["text"] for f in found if not isinstance(f, RecordFault)] == texts
    assert [f[0] for f in found if not isinstance(f, RecordFault)] == [
        f"a@{n}" for n in range(rows)
    ]


# --- csv ----------------------------------------------------------------------------------


def written(rows: list[list[str]], **keys: Any) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, **keys).writerows(rows)
    return out.getvalue().encode()


cell = st.text(st.sampled_from('ab",\n\t\r 日'), max_size=6)


@given(
    rows=st.lists(st.lists(cell, min_size=2, max_size=2), max_size=12),
    end=st.sampled_from(["\r\n", "\n"]),
    delimiter=st.sampled_from([",", "\t"]),
)
def test_what_the_standard_library_writes_is_read_back(
    rows: list[list[str]], end: str, delimiter: str, new_folder: Callable[[], Path]
) -> None:
    path = new_folder() / ("a.csv" if delimiter == "," else "a.tsv")
    data = [["text", "url"], *rows]
    path.write_bytes(written(data, lineterminator=end, delimiter=delimiter, quoting=csv.QUOTE_ALL))
    items = read(Csv(paths=[str(path)]))
    assert len(items) == len(rows)
    for item, (text, url) in zip(items, rows, strict=True):
        if text.strip():
            assert isinstance(item, Document)
            assert (item.text, item.url) == (text, url)
        else:
            assert isinstance(item, Unreadable)


def test_rows_that_do_not_fit_the_header_are_set_aside_one_by_one(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbftext,n\r\n"two\nlines",1\r\na,b,c\r\n\r\nx\r\n\xff,2\r\nlast,3'
    (tmp_path / "a.csv").write_bytes(data)
    items = read(Csv(paths=[str(tmp_path / "a.csv")]))
    assert [getattr(item, "text", getattr(item, "reason", "")) for item in items] == [
        "two\nlines",
        "3 fields where the header has 2",
        "empty line",
        "1 fields where the header has 2",
        "not UTF-8",
        "last",
    ]
    assert items[0].id == "a.csv@11"
    assert data[int(items[-1].id.partition("@")[2]) :] == b"last,3"


def test_a_header_without_text_is_one_record_and_columns_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")
    (item,) = read(Csv(paths=[str(tmp_path / "a.csv")]))
    assert isinstance(item, Unreadable)
    assert "no column 'text'; there are a, b" in item.reason
    items = read(Csv(paths=[str(tmp_path / "a.csv")], columns=["text", "id"]))
    assert [(item.id, getattr(item, "text", "")) for item in items] == [("b", "a"), ("2", "1")]


def test_japanese_encodings_and_packed_tables_are_read(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress("text\tid\n表\t一\n".encode("cp932")))
    (item,) = read(Csv(paths=[str(tmp_path)], encoding="cp932"))
    assert isinstance(item, Document)
    assert (item.text, item.id) == ("表", "一")


def test_a_quotation_that_never_ends_does_not_take_the_file_with_it(tmp_path: Path) -> None:
    rows = b"".join(b"row %d,1\n" % n for n in range(200_000))
    (tmp_path / "a.csv").write_bytes(b'text,n\n"open,1\n' + rows)
    items = read(Csv(paths=[str(tmp_path / "a.csv")], max_record_mb=1))
    good = [item.text for item in items if isinstance(item, Document)]
    assert good[-1] == "row 199999"
    assert len(good) > 100_000
    assert any("field larger than" in getattr(item, "reason", "") for item in items)


def test_quotes_can_be_turned_off(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b'text\tn\n"open\t1\nnext\t2\n')
    items = read(Csv(paths=[str(tmp_path / "a.tsv")], quote=""))
    assert [getattr(item, "text", "") for item in items] == ['"open', "next"]


# --- Hugging Face -------------------------------------------------------------------------


def test_a_saved_data_set_and_a_folder_of_parquet_are_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"text": [f"text {n}" for n in range(10)] + [""], "id": [str(n) for n in range(11)]}
    whole = datasets.Dataset.from_dict(rows)
    whole.save_to_disk(str(tmp_path / "plain"))
    datasets.DatasetDict({"train": whole, "test": whole.select([3])}).save_to_disk(
        str(tmp_path / "both")
    )
    (tmp_path / "tables").mkdir()
    whole.to_parquet(str(tmp_path / "tables/train.parquet"))
    for name in ("plain", "both", "tables"):
        source = HuggingFaceRows(path=str(tmp_path / name), language="en")
        items = read(source)
        assert [d.text for d in items if isinstance(d, Document)] == rows["text"][:10]
        assert [d.id for d in items if isinstance(d, Document)] == rows["id"][:10]
        assert isinstance(items[10], Unreadable)
        assert source.card().name == name
        assert source.fingerprint() == source.fingerprint()
    (item,) = read(HuggingFaceRows(path=str(tmp_path / "both"), split="test"))
    assert item.id == "3"
    with pytest.raises(NotFound, match="cannot be opened in the folder"):
        HuggingFaceRows(path=str(tmp_path / "both"), split="no").partitions()


def test_a_folder_that_is_no_data_set_is_refused_before_its_bytes_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr(huggingface.files, "digest_file", lambda _: pytest.fail("it was read"))
    (tmp_path / "film.xyz").touch()
    with pytest.raises(NotFound, match="cannot be opened in the folder"):
        HuggingFaceRows(path=str(tmp_path)).fingerprint()
    monkeypatch.setattr(huggingface, "MOST_FILES", 1)
    (tmp_path / "rows.csv").write_text("text\na\n")
    for ask in (HuggingFaceRows.fingerprint, HuggingFaceRows.partitions):
        with pytest.raises(UsageError, match="more than 1 files") as caught:
            ask(HuggingFaceRows(path=str(tmp_path)))
        assert "the folder of one data set" in str(caught.value.hint)


def test_a_data_set_of_the_hub_must_be_pinned() -> None:
    for revision in ("", "main", "v1.0", "abc"):
        with pytest.raises(ValueError, match="revision"):
            HuggingFaceRows(path="user/data", revision=revision)
    source = HuggingFaceRows(path="user/data", revision="a" * 40, subset="ja")
    assert source.card().url == "https://huggingface.co/datasets/user/data"
    assert source.card().version == "a" * 40


def test_a_machine_that_is_offline_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(*args: Any, **keys: Any) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(NotFound, match="on the Hub") as caught:
        HuggingFaceRows(path="user/data", revision="a" * 40).partitions()
    assert "hf download user/data" in caught.value.hint


@pytest.mark.parametrize("tail", ["3,b\n4,c\n", '3,"b"\n4,c\n'])
def test_a_quote_that_is_never_closed_is_a_fault_of_every_line_it_takes(
    tmp_path: Path, tail: str
) -> None:
    (tmp_path / "a.csv").write_text(f'id,text\n1,a\n2,"never closed\n{tail}')
    items = read(Csv(paths=[str(tmp_path / "a.csv")]))
    texts = [item.text for item in items if isinstance(item, Document)]
    bad = [item for item in items if isinstance(item, Unreadable)]
    assert len(texts) + len(bad) == 4
    assert texts[0] == "a"
    assert not any("never closed" in text for text in texts)


@pytest.mark.parametrize(
    ("data", "documents", "word", "faults"),
    [
        ("id,text\ra,一\rb,二\r".encode(), 2, "", 0),
        ("id,text\na,一\nb,二\n".encode("utf-16"), 0, "UTF-16", 3),
        ("text,text\na,一\nb,二\n".encode(), 0, "two columns are called 'text'", 2),
    ],
)
def test_a_table_of_another_kind_is_read_or_says_what_it_is(
    tmp_path: Path, data: bytes, documents: int, word: str, faults: int
) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    items = list(Csv(paths=[str(tmp_path / "a.csv")]).read("a.csv"))
    assert sum(isinstance(item, Document) for item in items) == documents
    told = [item.reason for item in items if isinstance(item, Unreadable) and word in item.reason]
    assert len(told) == faults
