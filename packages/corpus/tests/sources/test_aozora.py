"""Aozora Bunko: readings, notes and missing characters, against texts of its own manual."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Document, Unreadable
from yoriai_corpus.sources.aozora import Aozora, gaiji, plain, read_work

RULE = "-" * 55
WORK = f"""題名
副題
作者名

{RULE}
【テキスト中に現れる記号について】

《》：ルビ
（例）植物学《しょくぶつがく》

｜：ルビの付いていない漢字とルビの付く漢字の境の記号
（例）大｜経営《けいえい》

［＃］：入力者注　主に外字の説明や、傍点の位置の指定
（例）毛※［＃「※」は「草かんむり」＋「艮」、第4水準2-86-12、5-14］科
{RULE}

［＃８字下げ］一［＃「一」は中見出し］

　植物学《しょくぶつがく》の大｜経営《けいえい》は※［＃「柿」の正字、第3水準1-85-57］の木。
　〔e'tude〕と〔なかに〕、［＃ここから２字下げ］強調［＃「強調」に傍点］する。



底本：「全集　第一巻」出版社
　　　1969（昭和44）年7月20日発行
入力：誰か
"""
TEXT = """一

　植物学の大経営は柹の木。
　étudeと〔なかに〕、強調する。"""


def test_a_work_is_taken_apart() -> None:
    work = read_work(WORK.replace("\n", "\r\n"))
    assert (work.title, work.author, work.missing) == ("題名", "作者名", 0)
    assert work.text == TEXT
    assert work.colophon.startswith("底本：「全集　第一巻」出版社\n")
    assert work.colophon.endswith("入力：誰か")


def test_readings_can_stay_in_parentheses() -> None:
    assert (
        "　植物学（しょくぶつがく）の大経営（けいえい）は"
        in read_work(WORK, ruby="parentheses").text
    )


@pytest.mark.parametrize(
    ("note", "character"),
    [
        ("「柿」の正字、第3水準1-85-57", "柹"),
        ("「言＋墟のつくり」、第4水準2-88-74", "譃"),
        ("始め二重括弧、1-2-54", "⦅"),
        ("二の字点、1-2-22", "〻"),
        ("濁点付き片仮名ワ、1-7-82", "ヷ"),
        ("「目＋蚌のつくり」、U+76FD、54-3", "盽"),
        ("「土＋口」、U+20BB7、10-1", "𠮷"),
        ("小書き片仮名ク、1-6-78", "ㇰ"),
        ("小書き平仮名ん、73-12", "ん"),
        ("小書き平仮名つ、73-12", "っ"),
        ("「土＋母」、102-13", ""),
        ("もんがまえに真の正字。読みは「タン」", ""),
        ("「x」、U+D800", ""),
        ("「x」、第3水準1-99-99", ""),
        ("", ""),
    ],
)
def test_a_note_names_its_character(note: str, character: str) -> None:
    # Characters from the JIS X 0213 plane-row-cell tables of Unicode and of the manual.
    assert gaiji(note) == character


def test_a_character_that_nobody_can_write_is_marked_and_counted() -> None:
    assert plain("これは※［＃「土＋母」、102-13］だ") == ("これは〓だ", 1)


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        ("霧の｜ロンドン警視庁《スコットランドヤード》", "霧のロンドン警視庁"),
        ("※［＃「さんずい＋元」、第3水準1-86-54］《げん》水", "沅水"),
        ("［＃「［＃「五」は縦中横］」は中見出し］五", "五"),
        ("〔cafe'〕〔A^ge〕〔Schu:ler〕", "caféÂgeSchüler"),
        ("〔fac,ade〕〔ae&gis〕〔nin~o〕〔strasse〕", "façadeægisniño〔strasse〕"),
        ("〔以下原稿なし〕", "〔以下原稿なし〕"),
        ("掘ほ》り出す", "掘ほり出す"),
        ("［はがき］※［これは］", "［はがき］※［これは］"),
    ],
)  # fmt: skip
def test_marks_become_text(marked: str, text: str) -> None:
    assert plain(marked)[0] == text


def test_a_text_without_header_and_colophon_is_all_text() -> None:
    work = read_work("ただの文章です。\n二行目です。")
    assert (work.title, work.text, work.colophon) == ("", "ただの文章です。\n二行目です。", "")


@given(raw=st.text(st.sampled_from("《》｜［＃］※〔〕日本\n-底：1a'"), max_size=80))
def test_no_text_raises_and_no_mark_of_readings_stays(raw: str) -> None:
    for ruby in ("drop", "parentheses"):
        text = read_work(raw, ruby=ruby).text  # type: ignore[arg-type]
        assert not set("《》｜") & set(text)


def read(path: Path, **keys: object) -> list[Document | Unreadable]:
    source = Aozora(paths=[str(path)], name="aozora", **keys)  # type: ignore[arg-type]
    return [item for partition in source.partitions() for item in source.read(partition)]


def test_files_and_zip_files_give_the_same_work(tmp_path: Path) -> None:
    data = WORK.replace("\n", "\r\n").encode("cp932")
    (tmp_path / "a.txt").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../../escape.txt", data)
        archive.writestr("fig1.png", b"\x89PNG")
    first, second = read(tmp_path)
    assert first == Document("aozora", "a.txt", TEXT, "ja", "", "public domain")
    assert (second.id, getattr(second, "text", "")) == ("b.zip", TEXT)
    assert not (tmp_path.parent / "escape.txt").exists()
    (whole,) = read(tmp_path / "a.txt", title=True, colophon="keep")
    assert getattr(whole, "text", "").startswith("題名\n作者名\n\n一\n")
    assert getattr(whole, "text", "").endswith("入力：誰か")


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.txt", data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (zipped(a=b"x" * (3 << 20)), "longer than"),
        (zipped(a=b"abc")[:-8], "not a zip file"),
        (zipped(a=b"abc" * 99).replace(b"a.txt", b"a.png"), "no text"),
        (zipped(a=b"abc" * 99).replace(b"\0\0\x08\0", b"\0\0\x63\0"), "unpacked"),
        (bytes(range(128, 256)) * 9, "broken"),
        (b"", "empty"),
    ],
    ids=["bomb", "cut", "no-text", "method", "noise", "empty"],
)  # fmt: skip
def test_what_cannot_be_read_says_why(tmp_path: Path, data: bytes, word: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    (item,) = read(path, max_mb=1)
    if data:  # an empty file is an empty text or an unreadable one, as packing says
        assert word in getattr(item, "reason", "")


def test_a_zip_file_of_several_texts_gives_each(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(a="一つ".encode("cp932"), b="二つ".encode("cp932")))
    assert [(item.id, getattr(item, "text", "")) for item in read(path)] == [
        ("a.zip#0", "一つ"), ("a.zip#1", "二つ"),
    ]  # fmt: skip


@pytest.mark.skipif(not os.environ.get("YORIAI_DATA"), reason="YORIAI_DATA is not set")
def test_no_work_of_three_authors_keeps_a_mark() -> None:
    import zstandard

    path = Path(os.environ["YORIAI_DATA"]) / "text" / "aozora-3-authors.tar.zst"
    stream = zstandard.ZstdDecompressor().stream_reader(path.open("rb"))
    count = missing = 0
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if not member.name.endswith(".txt"):
                continue
            file = archive.extractfile(member)
            assert file is not None
            raw = file.read().decode("cp932")
            work = read_work(raw)
            count += 1
            missing += work.missing
            assert not any(mark in work.text for mark in ("《", "》", "｜", "［＃", "底本：")), (
                member
            )
            assert work.title
            assert len(work.title) < 60
            assert work.colophon.startswith("底本")
            # What goes is the header (about 300), the colophon (about 300) and the marks.
            assert 0.4 * (len(raw) - 1200) < len(work.text) < len(raw) - 100, member.name
    assert count == 802
    assert missing < 200


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("※［＃始め二重山括弧、1-1-52］題名※［＃終わり二重山括弧、1-1-53］を", "《題名》を"),
        ("※［＃縦線、1-1-35］甲《こう》", "｜甲"),
        ("※［＃始め角括弧、1-1-46］＃乙※［＃終わり角括弧、1-1-47］", "［＃乙］"),
        ("いろ／＼と、それ／″＼に", "いろ〳〵と、それ〴〵に"),
    ],
)
def test_a_character_that_a_note_describes_is_no_mark(raw: str, text: str) -> None:
    assert plain(raw)[0] == text
