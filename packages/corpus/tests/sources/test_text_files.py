"""Plain text files: one document each, in the encodings that Japanese text comes in."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from yoriai import Document, NotFound, Unreadable
from yoriai_corpus.sources.text_files import TextFiles

JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"


def read(source: TextFiles) -> list[Document | Unreadable]:
    return [item for name in source.partitions() for item in source.read(name)]


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.txt").write_text(folder)
    items = read(TextFiles(paths=[str(tmp_path / "*/t.txt")], name="n"))
    assert [(item.id, getattr(item, "text", "")) for item in items] == [
        ("t.txt", "a"),
        ("t.txt#2", "b"),
    ]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\r\nb", "a\nb"),
        (b"\xef\xbb\xbfmark", "mark"),
        (gzip.compress(b"packed", mtime=0), "packed"),
    ],
)
def test_a_file_is_read_without_mark_carriage_returns_and_packing(
    data: bytes, text: str, tmp_path: Path
) -> None:
    (tmp_path / "f.txt").write_bytes(data)
    keys = {"language": "ja", "licence": "CC0-1.0", "name": "n"}
    assert read(TextFiles(paths=[str(tmp_path)], **keys)) == [
        Document("n", "f.txt", text, "ja", "", "CC0-1.0")
    ]


@pytest.mark.parametrize("codec", ["utf-8", "cp932", "euc_jp", "iso2022_jp"])
def test_the_encoding_is_found_when_asked_for(codec: str, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_bytes(JAPANESE.encode(codec))
    (item,) = read(TextFiles(paths=[str(tmp_path / "f.txt")], encoding="detect"))
    assert isinstance(item, Document)
    assert item.text == JAPANESE


def test_a_file_in_another_encoding_or_too_long_or_cut_off_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"ok " + "日本".encode("euc-jp"))
    (tmp_path / "b.txt").write_bytes(b"x" * ((1 << 20) + 1))
    (tmp_path / "c.txt").write_bytes(gzip.compress(b"cut off" * 100)[:-12])
    (tmp_path / "d.txt").write_bytes(b"good")
    items = read(TextFiles(paths=[str(tmp_path)], max_record_mb=1))
    reasons = [getattr(item, "reason", "") for item in items]
    assert "not UTF-8 at byte 3" in reasons[0]
    assert "longer than" in reasons[1]
    assert "ends too early" in reasons[2]
    assert isinstance(items[3], Document)


def test_many_small_files_share_a_partition(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number:02d}.txt").write_text(str(number))
    source = TextFiles(paths=[str(tmp_path)])
    assert source.partitions() == ["00.txt..49.txt"]
    assert [getattr(d, "text", "") for d in read(source)] == [str(n) for n in range(50)]


def test_a_pattern_that_matches_nothing_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file matches"):
        TextFiles(paths=[str(tmp_path / "*.txt")]).partitions()
