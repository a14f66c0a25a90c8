"""A text is found in whatever form it stands in a folder, and what is not opened is named."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import urllib.parse
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pyarrow import feather

from yoriai import UsageError
from yoriai_corpus import tables
from yoriai_corpus.removal import absence

SECRETS = "秘密の合言葉はムササビ七七七号である"


def test_a_text_is_found_in_every_form(tmp_path: Path) -> None:
    text = "秘密の「花園」 & <b>"
    (tmp_path / "plain.txt").write_text("x" * 5_000_000 + text)
    (tmp_path / "wide.txt").write_bytes(text.encode("utf-16-le"))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": text}))
    (tmp_path / "page.html").write_text("秘密の「花園」 &amp; &lt;b&gt;")
    (tmp_path / "packed.gz").write_bytes(gzip.compress(text.encode()))
    tables.write_table(tmp_path / "t.parquet", tables.UNREADABLE, [
        {"source": "a", "id": text, "reason": ""}
    ])  # fmt: skip
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden/file").write_text(text)
    (tmp_path / "innocent").write_text("nothing here")
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    (tmp_path / "box.zip").write_bytes(b"PK")
    os.symlink("/etc/passwd", tmp_path / "link")
    report = absence.look(tmp_path, [text])
    assert {place.path for place in report.found} == {
        "plain.txt", "wide.txt", "rows.jsonl", "page.html", "packed.gz", "t.parquet",
        ".hidden/file",
    }  # fmt: skip
    assert {path for path, _ in report.closed} == {"broken.parquet", "box.zip", "link"}
    with pytest.raises(UsageError):
        absence.look(tmp_path, ["猫"])


def tar_of(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        told = tarfile.TarInfo(name)
        told.size = len(data)
        archive.addfile(told, io.BytesIO(data))
    return out.getvalue()


def zip_of(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sheet.xml", data)
    return out.getvalue()


def array_of(text: str) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, a=np.array([text]))
    return out.getvalue()


def table_of(values: pa.Array) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": values}), out, compression="zstd")
    return out.getvalue()


def feather_of(text: str) -> bytes:
    out = io.BytesIO()
    feather.write_feather(pa.table({"a": [text] * 50}), out, compression="zstd")
    return out.getvalue()


UTF_8 = SECRETS.encode()


def name_of(value: object) -> str:
    """Bytes make no name of a test: packed ones hold the time, which differs between processes."""
    return value if isinstance(value, str) else "bytes"


@pytest.mark.parametrize(
    "data",
    [
        table_of(pa.array([SECRETS, None, "x"]).dictionary_encode()),
        table_of(pa.array([[{"content": SECRETS}], None, []])),
        table_of(pa.array([{"b": {"c": [SECRETS]}}])),
        table_of(pa.array([[("k", SECRETS)]], pa.map_(pa.string(), pa.string()))),
        table_of(pa.array([UTF_8], pa.binary())),
        table_of(pa.array([json.dumps(SECRETS)])),
        tar_of("a", UTF_8), zip_of(UTF_8), array_of(SECRETS), gzip.compress(UTF_8),
        bz2.compress(UTF_8), lzma.compress(UTF_8), zstandard.compress(UTF_8),
        json.dumps(SECRETS).upper().replace("\\U", "\\u").encode(),
        SECRETS.encode("cp932"), SECRETS.encode("euc_jp"), SECRETS.encode("utf-32-le"),
        urllib.parse.quote(SECRETS).encode(),
    ],
    ids=name_of,
)  # fmt: skip
def test_what_a_file_is_its_bytes_say_and_not_its_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "cache.bin").write_bytes(data)
    report = absence.look(tmp_path, [SECRETS])
    assert {(place.path, place.text) for place in report.found} == {("cache.bin", 0)}
    assert report.closed == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (feather_of(SECRETS), "Arrow is not opened"),
        (zip_of(gzip.compress(UTF_8)), "packed once more"),
        (b"7z\xbc\xaf\x27\x1c", "7z is not opened"),
        (b"%PDF-1.7", "PDF is not opened"),
        (gzip.compress(UTF_8)[:9] + b"\xff" * 30, ""),
        (b"PK\x03\x04" + b"x" * 40, "not a zip"),
        (b"PAR1" + b"x" * 40, ""),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "zstd"),
    ],
    ids=name_of,
)  # fmt: skip
def test_what_is_not_opened_is_named(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "cache.bin").write_bytes(data)
    report = absence.look(tmp_path, [SECRETS])
    assert (report.found, [name for name, _ in report.closed]) == ([], ["cache.bin"])
    assert why in report.closed[0][1]


def test_links_and_pipes_are_named_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "t.txt").write_text(SECRETS)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "folder").symlink_to(outside)
    (inside / "file").symlink_to(outside / "t.txt")
    os.mkfifo(inside / "pipe")
    report = absence.look(inside, [SECRETS])
    assert report.found == []
    assert [name for name, _ in report.closed] == ["file", "folder", "pipe"]


def test_two_values_beside_each_other_are_no_text(tmp_path: Path) -> None:
    half = len(SECRETS) // 2
    (tmp_path / "t").write_bytes(table_of(pa.array([SECRETS[:half], SECRETS[half:]])))
    assert absence.look(tmp_path, [SECRETS]).found == []
