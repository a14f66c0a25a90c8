"""One build over everything that can be wrong with input at once: it ends, and counts it all."""

from __future__ import annotations

import bz2
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from yoriai import Artifact
from yoriai.config import build
from yoriai_corpus.tables import SCHEMAS

GOOD = [f"これは{n}番目の、ちゃんと読める文書です。" for n in range(40)]
LINES = b"".join(
    json.dumps({"id": f"g{n}", "text": t}).encode() + b"\n" for n, t in enumerate(GOOD)
)


def write_jsonl(folder: Path) -> None:
    rows = [
        b"\xef\xbb\xbf" + json.dumps({"id": "bom", "text": "しるしのある文書"}).encode(),
        json.dumps({"id": "crlf", "text": "行の終わりがちがう文書"}).encode() + b"\r",
        b'{"id": "bad utf-8", "text": "\xe3\x81"}',
        b'{"id": "half", "text": "\\ud800"}',
        b'{"id": "nul", "text": "a\\u0000b"}',
        b"{not json",
        b"",
        b"[]",
        b'{"id": "no text"}',
        b'{"id": "number", "text": 7}',
        b'{"id": "empty", "text": ""}',
        json.dumps({"id": "twice", "text": "名前が二つある文書その一"}).encode(),
        json.dumps({"id": "twice", "text": "名前が二つある文書その二"}).encode(),
        b'{"id": "deep", "text": ' + b"[" * 100_000,
        b'{"id": "long", "text": "' + b"x" * 3_000_000 + b'"}',
        json.dumps({"id": "last", "text": "終わりに改行のない文書"}).encode(),
    ]
    (folder / "rows.jsonl").write_bytes(b"\n".join(rows))
    half = len(LINES) // 2
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(LINES)[:-200])
    (folder / "cut.jsonl.zst").write_bytes(zstandard.compress(LINES)[:-200])
    (folder / "cut.jsonl.bz2").write_bytes(bz2.compress(LINES[:half]) + bz2.compress(LINES)[:200])
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "folder.jsonl").mkdir()
    os.symlink("nowhere", folder / "gone.jsonl")


def write_others(folder: Path) -> None:
    pages = folder / "pages"
    pages.mkdir()
    deep = b"<html><body>" + b"<div>" * 50_000 + "深いところの文章です。".encode()
    (pages / "deep.html").write_bytes(deep)
    (pages / "empty.html").write_bytes(b"")
    (pages / "fine.html").write_text(
        "<html><body><p>読める文章がここにあります。</p></body></html>"
    )
    (pages / "binary.html").write_bytes(bytes(range(256)) * 10)
    texts = folder / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("ふつうの文章。", encoding="utf-8")
    (texts / "b.txt").write_bytes("ちがう文字コード".encode("euc-jp"))
    os.symlink(texts, texts / "loop")
    pq.write_table(pa.table({"body": ["x"]}), folder / "wrong.parquet")
    pq.write_table(pa.table({"text": ["表の中の文書"], "id": ["p"]}), folder / "right.parquet")
    (folder / "broken.parquet").write_bytes(b"PAR1 this is none PAR1")
    (folder / "rows.csv").write_text('id,text\n1,"二行の\n文書"\n2\n3,三つ目,余り\n')
    (folder / "ja.warc").write_bytes(
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:1>\r\n"
        b"WARC-Target-URI: http://example.org/\r\nContent-Type: application/http; msgtype=response"
        b"\r\nContent-Length: 4000\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, run_step: Callable[..., Artifact]) -> Artifact:
    folder = tmp_path_factory.mktemp("bad")
    write_jsonl(folder)
    write_others(folder)
    sources = [
        {"use": "corpus/jsonl", "paths": [str(folder / "*.jsonl*")], "name": "jsonl",
         "max_record_mb": 1, "language": "ja"},
        {"use": "corpus/html-files", "paths": [str(folder / "pages" / "*.html")], "name": "html"},
        {"use": "corpus/text-files", "paths": [str(folder / "texts" / "**")], "name": "texts"},
        {"use": "corpus/parquet", "paths": [str(folder / "*.parquet")], "name": "parquet"},
        {"use": "corpus/csv", "paths": [str(folder / "rows.csv")], "name": "csv"},
        {"use": "corpus/warc", "paths": [str(folder / "ja.warc")], "name": "warc"},
    ]  # fmt: skip
    off = {"exact": False, "near": None}
    return run_step("corpus/build", sources=sources, dedup=off, heldout=0)


def test_nothing_stops_the_build_and_everything_is_accounted_for(built: Artifact) -> None:
    facts = built.facts
    assert facts["in"] == facts["kept"] + facts["heldout"] + facts["dropped"] + facts["unreadable"]
    for name in ("documents", "unreadable"):
        assert built.files_under(name)
    for row in json.loads(built.file("ledger.json").read_bytes())["partitions"]:
        assert row["in"] == sum(row[key] for key in ("kept", "heldout", "dropped", "unreadable"))
    assert set(SCHEMAS) <= {path.name for path in built.path.iterdir()}


def test_what_can_be_read_is_read(built: Artifact, rows_of: Any) -> None:
    ids = {(row["source"], row["id"]) for row in rows_of(built, "documents")}
    assert {("jsonl", name) for name in ("bom", "crlf", "last", "twice", "nul")} <= ids
    assert {("texts", "a.txt"), ("parquet", "p"), ("html", "fine.html")} <= ids
    assert sum(source == "csv" for source, _ in ids) == 1
    # From before the damage of three truncated files of the same rows: their ids are equal,
    # so each is kept once and the repetitions are quarantined.
    assert {("jsonl", f"g{n}") for n in range(15)} <= ids


def test_what_cannot_be_read_is_named_with_a_reason(built: Artifact, rows_of: Any) -> None:
    found: dict[str, list[str]] = {}
    for row in rows_of(built, "unreadable"):
        found.setdefault(row["source"], []).append(f"{row['id']}: {row['reason']}")
    words = " | ".join(found["jsonl"])
    for reason in ("empty line", "not JSON", "no text", "surrogate", "duplicate id"):
        assert reason in words, (reason, words)
    for file in ("cut.jsonl.gz", "cut.jsonl.zst", "cut.jsonl.bz2", "gone.jsonl"):
        assert file in words, (file, words)
    assert sum("rows.jsonl" in row for row in found["jsonl"]) >= 9
    assert any("b.txt" in row for row in found["texts"])
    assert {"wrong.parquet", "broken.parquet"} <= {
        name for row in found["parquet"] for name in ("wrong.parquet", "broken.parquet")
        if name in row
    }  # fmt: skip
    assert len(found["csv"]) == 2
    assert len(found["warc"]) == 1
    assert len(found["html"]) >= 2


def test_a_misspelt_rule_or_option_is_refused_before_anything_is_read(
    yoriai_registry: Any,
) -> None:
    from yoriai.config import explain
    from yoriai_corpus.build.step import Build

    source = {"use": "corpus/jsonl", "paths": ["nothing.jsonl"]}
    for keys, near in (
        ({"rules": ["corpus/kanna"]}, "corpus/kana"),
        ({"dedup": {"nearr": 0.8}}, "near"),
        ({"rules": [{"use": "corpus/kana", "witin": 3}]}, "within"),
    ):
        with pytest.raises(Exception) as caught:
            build(Build, {"sources": [source], **keys}, yoriai_registry)
        (fault,) = explain(caught.value, Build)  # type: ignore[arg-type]
        assert near in fault.hint + fault.message
