"""Gettext catalogues, checked against the standard library's own reader."""

from __future__ import annotations

import contextlib
import gettext
import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Document, NotFound, Unreadable
from yoriai_corpus.sources.gettext import Gettext, read_catalogue, unwrap

HEADER = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=n!=1;\n"
ORDERS = {"<": "little-endian", ">": "big-endian"}


def msgfmt(pairs: Sequence[tuple[bytes, bytes]], order: str = "<") -> bytes:
    """A .mo file as the GNU manual describes it, without the optional hash table."""
    tables: list[list[tuple[int, int]]] = [[], []]
    body = b""
    start = 28 + 16 * len(pairs)
    for side in (0, 1):
        for pair in pairs:
            tables[side].append((len(pair[side]), start + len(body)))
            body += pair[side] + b"\0"
    head = struct.pack(f"{order}7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    rows = b"".join(struct.pack(f"{order}2I", *row) for table in tables for row in table)
    return head + rows + body


def catalogue(messages: dict[str, str], order: str = "<", header: str = HEADER) -> bytes:
    everything = sorted({"": header, **messages}.items())
    return msgfmt([(key.encode(), value.encode()) for key, value in everything], order)


words = st.text(st.characters(exclude_characters="\0\x04", codec="utf-8"), min_size=1)


@pytest.mark.parametrize("order", ORDERS, ids=ORDERS.values())
@given(messages=st.dictionaries(words, words, max_size=20))
def test_any_catalogue_reads_as_the_standard_library_reads_it(
    order: str, messages: dict[str, str]
) -> None:
    data = catalogue(messages, order)
    theirs = gettext.GNUTranslations(io.BytesIO(data))
    ours = read_catalogue(data)
    assert dict(ours[1:]) == messages  # type: ignore[arg-type]
    assert {key: theirs.gettext(key) for key in messages} == messages
    assert ours[0] == ("", HEADER)


def test_of_plural_forms_the_first_is_taken_and_a_context_is_no_part_of_the_original() -> None:
    data = catalogue({"menu\x04one file\0many files": "ファイル一つ\0ファイル複数"})
    theirs = gettext.GNUTranslations(io.BytesIO(data))
    assert theirs.npgettext("menu", "one file", "many files", 1) == "ファイル一つ"
    assert read_catalogue(data)[1] == ("one file", "ファイル一つ")


def test_the_character_set_of_the_header_is_used() -> None:
    header = b"Content-Type: text/plain; charset=EUC-JP\n"
    data = msgfmt([(b"", header), (b"open", "開く".encode("euc-jp"))])
    assert gettext.GNUTranslations(io.BytesIO(data)).gettext("open") == "開く"
    assert read_catalogue(data)[1] == ("open", "開く")


@given(
    data=st.binary(max_size=60), magic=st.sampled_from([b"\xde\x12\x04\x95", b"\x95\x04\x12\xde"])
)
def test_bytes_that_are_no_catalogue_raise_value_error_and_nothing_else(
    data: bytes, magic: bytes
) -> None:
    for candidate in (data, magic + data):
        with contextlib.suppress(ValueError):
            read_catalogue(candidate)


def test_a_catalogue_cut_anywhere_loses_what_was_cut_and_says_so() -> None:
    data = catalogue({"a": "あ", "b": "い"})
    whole = read_catalogue(data)
    for length in range(len(data) - 1):
        try:
            found = read_catalogue(data[:length])
        except ValueError:
            continue
        assert len(found) == len(whole)
        assert any(isinstance(pair, ValueError) for pair in found)
        assert all(p == w or isinstance(p, ValueError) for p, w in zip(found, whole, strict=True))


@given(messages=st.dictionaries(words, words, min_size=1, max_size=8), data=st.data())
def test_one_bad_message_does_not_take_the_others_with_it(
    messages: dict[str, str], data: Any
) -> None:
    pairs = sorted({"": HEADER, **messages}.items())
    bad = data.draw(st.integers(1, len(pairs) - 1))
    rows = [(key.encode(), value.encode()) for key, value in pairs]
    rows[bad] = (rows[bad][0], b"\xff\xfe")
    found = read_catalogue(msgfmt(rows))
    assert isinstance(found[bad], ValueError)
    assert found[:bad] + found[bad + 1 :] == pairs[:bad] + pairs[bad + 1 :]


def test_an_unknown_character_set_raises_value_error() -> None:
    with pytest.raises(ValueError, match="martian"):
        read_catalogue(catalogue({"a": "b"}, header="charset=martian\n"))


@pytest.mark.parametrize(
    ("wrapped", "joined"),
    [
        ("one\ntwo", "one two"),
        ("日本\n語", "日本語"),
        ("first paragraph\n\nsecond", "first paragraph\n\nsecond"),
        ("- item\n- item", "- item\n- item"),
        ("1. item\n2. item", "1. item\n2. item"),
        ("see::\ncode", "see::\ncode"),
        ("    code\n    code", "code\n    code"),
        ("one\r\ntwo  \n", "one two"),
        ("", ""),
    ],
)
def test_only_lines_broken_for_width_are_joined(wrapped: str, joined: str) -> None:
    assert unwrap(wrapped) == joined


@given(text=st.text())
def test_joining_lines_loses_no_visible_character(text: str) -> None:
    assert "".join(unwrap(text).split()) == "".join(text.split())


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], None]:
    """Put a distribution called ``signs`` with these files on the path."""

    def make(files: dict[str, bytes]) -> None:
        info = tmp_path / "signs-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: signs\nVersion: 1.0\nLicense-Expression: MIT\n")
        for name, data in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
        (info / "RECORD").write_text("".join(f"{name},,\n" for name in files))
        monkeypatch.syspath_prepend(tmp_path)

    return make


def read(source: Gettext) -> list[Document | Unreadable]:
    return [item for name in source.partitions() for item in source.read(name)]


def test_the_source_gives_translations_with_package_licence_and_language(install: Any) -> None:
    install({"signs/locale/ja_JP/LC_MESSAGES/signs.mo": catalogue({"Stop": "止まれ", "New": " "})})
    (only,) = read(Gettext(package="signs", language="ja_JP"))
    assert isinstance(only, Document)
    assert (only.text, only.language, only.licence) == ("止まれ", "ja", "MIT")
    assert only.id == "signs/00002"
    (other,) = read(Gettext(package="signs", language="ja_JP", side="original"))[1:]
    assert isinstance(other, Document)
    assert (other.text, other.language) == ("Stop", "en")


def test_a_language_code_of_three_letters_keeps_them(install: Any) -> None:
    install({"signs/locale/kab/LC_MESSAGES/signs.mo": catalogue({"Stop": "Ḥbes"})})
    assert [d.language for d in read(Gettext(package="signs", language="kab"))] == ["kab"]


def test_catalogues_of_one_name_in_a_package_have_ids_of_their_own(install: Any) -> None:
    data = catalogue({"Stop": "止まれ"})
    install({f"signs/{part}/locale/ja/LC_MESSAGES/django.mo": data for part in ("a", "b")})
    assert len({item.id for item in read(Gettext(package="signs"))}) == 2


def test_a_broken_catalogue_is_one_unreadable_record(install: Any) -> None:
    install({"signs/locale/ja/LC_MESSAGES/signs.mo": b"\xde\x12\x04\x95cut"})
    (only,) = read(Gettext(package="signs"))
    assert isinstance(only, Unreadable)
    assert "no readable catalogue" in only.reason


def test_a_message_that_does_not_decode_is_one_unreadable_record(install: Any) -> None:
    rows = [(b"", HEADER.encode()), (b"Go", b"\xff"), (b"Stop", "止まれ".encode())]
    install({"signs/locale/ja/LC_MESSAGES/signs.mo": msgfmt(rows)})
    bad, good = read(Gettext(package="signs"))
    assert isinstance(bad, Unreadable)
    assert bad.id == "signs/00001"
    assert "no readable message" in bad.reason
    assert isinstance(good, Document)
    assert good.text == "止まれ"


def test_a_missing_package_or_language_is_said_clearly(install: Any) -> None:
    with pytest.raises(NotFound, match="no-such-package is not installed"):
        Gettext(package="no-such-package").partitions()
    install({"signs/locale/ja/LC_MESSAGES/signs.mo": catalogue({})})
    with pytest.raises(NotFound, match="no catalogue for 'fr'"):
        Gettext(package="signs", language="fr").partitions()
