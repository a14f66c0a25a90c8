"""Web archives: every record is counted once, and a broken one costs only itself."""

from __future__ import annotations

import contextlib
import gzip
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import Document, PassedOver, Unreadable
from yoriai_corpus.sources.http_answers import body_of
from yoriai_corpus.sources.listing import SourceFile
from yoriai_corpus.sources.records import FilePart, RecordFault
from yoriai_corpus.sources.warc import Warc, Wet, warc_records

MIB = 1 << 20
TEXT = "これは{}番目の文書です。とても短い文章が続きます。"


def record(
    number: int, block: bytes, kind: str = "response", length: int | None = None, more: str = ""
) -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:0-{number}>\r\n"
        f"WARC-Target-URI: http://example.jp/{number}\r\nWARC-Date: 2024-01-02T03:04:05Z\r\n{more}"
        f"Content-Type: application/http; msgtype={kind}\r\n"
        f"Content-Length: {len(block) if length is None else length}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def answer(body: bytes, type_: str = "text/html; charset=utf-8", more: str = "",
           status: str = "200 OK") -> bytes:  # fmt: skip
    type_ = f"Content-Type: {type_}\r\n" if type_ else ""
    return f"HTTP/1.1 {status}\r\n{type_}{more}\r\n".encode() + body


def page(number: int) -> bytes:
    return f"<html><body><main><p>{TEXT.format(number)}</p></main></body></html>".encode()


def good(number: int) -> bytes:
    return record(number, answer(page(number)))


def pack(records: list[bytes], packing: str) -> bytes:
    if packing == "gz":
        return b"".join(gzip.compress(one, mtime=0) for one in records)
    if packing == "zst":
        compressor = zstandard.ZstdCompressor()
        return b"".join(compressor.compress(one) for one in records)
    if packing == "one-gz":
        return gzip.compress(b"".join(records), mtime=0)
    return b"".join(records)


def read(path: Path, kind: type[Warc] | type[Wet] = Warc, **keys: object) -> list[object]:
    source = kind(paths=[str(path)], name="n", **keys)  # type: ignore[arg-type]
    return [item for partition in source.partitions() for item in source.read(partition)]


def numbers(items: list[object]) -> list[int]:
    return [int(item.id.removeprefix("0-")) for item in items if isinstance(item, Document)]


def passed_over(items: list[object]) -> Counter[str]:
    return Counter(item.kind for item in items if isinstance(item, PassedOver))


def reasons(items: list[object]) -> list[str]:
    return [item.reason for item in items if isinstance(item, Unreadable)]


MIXED = [
    record(100, b"software: x\r\n", "warcinfo"),
    record(101, b"GET / HTTP/1.1\r\n\r\n", "request"),
    good(1),
    record(102, b"fetchTimeMs: 3\r\n", "metadata"),
    record(103, answer(b"\x89PNG\r\n\x1a\n", "image/png")),
    record(104, answer(b"moved", status="301 Moved Permanently")),
    record(2, answer(TEXT.format(2).encode("cp932"), "text/plain; charset=Shift_JIS")),
    record(105, answer(b"<html><body></body></html>")),
    record(106, answer(bytes(range(128, 256)) * 9, "text/plain")),
    record(107, b"no header at all"),
    good(3),
]


@pytest.mark.parametrize("packing", ["", "gz", "zst", "one-gz"])
def test_pages_become_documents_and_the_rest_is_accounted_for(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "x.warc"
    path.write_bytes(pack(MIXED, packing))
    items = read(path)
    assert next(item for item in items if isinstance(item, Document)) == Document(
        "n", "0-1", TEXT.format(1), "", "http://example.jp/1", "", "2024-01-02T03:04:05Z"
    )
    assert numbers(items) == [1, 2, 3]
    assert reasons(items)[0] == "no text in the page"
    assert "broken" in reasons(items)[1]
    assert reasons(items)[2] == "an answer without an HTTP header"
    assert passed_over(items) == {
        "metadata": 1, "request": 1, "warcinfo": 1,
        "response 301": 1, "response image/png": 1,
    }  # fmt: skip
    assert len(items) == len(MIXED)


CHUNKED = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (page(1)[:16], page(1)[16:], b""))


@pytest.mark.parametrize(
    "block",
    [
        answer(CHUNKED, more="Transfer-Encoding: chunked\r\n"),
        answer(gzip.compress(page(1)), more="Content-Encoding: gzip\r\n"),
        answer(zlib.compress(page(1)), more="Content-Encoding: deflate\r\n"),
        answer(page(1), more="Content-Encoding: gzip\r\n"),
        answer(page(1), more="Transfer-Encoding: chunked\r\n"),
        answer(page(1), more="Content-Encoding: UTF-8\r\n"),
        answer(page(1).decode().encode("euc_jp"), "text/html; charset=EUC-JP"),
        answer(page(1).decode().encode("euc_jp"), "text/html; charset=iso-8859-1"),
        answer(b"<meta charset=x-sjis>" + page(1).decode().encode("cp932"), "text/html"),
        answer(page(1), "application/xhtml+xml"),
        answer(page(1), "TEXT/HTML"),
        answer(page(1)).replace(b" OK", b""),
        answer(page(1)).replace(b"\r\n", b"\n"),
    ],
)  # fmt: skip
def test_bodies_are_decoded_whatever_the_header_says(tmp_path: Path, block: bytes) -> None:
    path = tmp_path / "x.warc.gz"
    path.write_bytes(pack([record(1, block)], "gz"))
    assert [getattr(item, "text", item) for item in read(path)] == [TEXT.format(1)]


def test_a_body_that_cannot_be_unpacked_is_unreadable_and_a_bomb_is_too(tmp_path: Path) -> None:
    path = tmp_path / "x.warc.gz"
    head = "Content-Encoding: gzip\r\n"
    bomb = gzip.compress(b"<p>" + b"a" * (3 * MIB))
    bad = [
        record(1, answer(b"\x1f\x8b\x08junk" * 9, more=head)),
        record(2, answer(bomb, more=head)),
    ]
    path.write_bytes(pack([*bad, good(3)], "gz"))
    items = read(path, max_mb=1)
    assert numbers(items) == [3]
    assert "cannot be decoded" in reasons(items)[0]
    assert "longer than" in reasons(items)[1]


def test_the_type_that_the_crawler_found_counts_where_the_server_says_none(tmp_path: Path) -> None:
    path = tmp_path / "x.warc"
    more = "WARC-Identified-Payload-Type: text/html\r\n"
    other = "WARC-Identified-Payload-Type: image/png\r\n"
    path.write_bytes(
        record(1, answer(page(1), ""), more=more)
        + record(2, answer(page(2), "image/png"), more=more)
        + record(3, answer(page(3)), more=other)
    )
    items = read(path)
    assert numbers(items) == [1, 2]
    assert passed_over(items) == {"response image/png": 1}


@pytest.mark.parametrize(
    ("type_", "body", "reads"),
    [
        ("", page(1), True),
        ("x-unknown/x-unknown", page(1), True),
        ("application/octet-stream", b"\n<!-- a -->\n" + page(1), True),
        ("text/html, text/html", page(1), True),
        ("image/png", page(1), False),
        ("application/json", page(1), False),
        ("text/css", page(1), False),
        ("application/octet-stream", b"\x7fELF" + page(1), False),
    ],
)
def test_without_a_known_type_the_first_bytes_decide(
    tmp_path: Path, type_: str, body: bytes, reads: bool
) -> None:
    path = tmp_path / "x.warc"
    path.write_bytes(record(1, answer(body, type_)))
    items = read(path)
    assert numbers(items) == [1] * reads
    assert len(items) == 1


def test_names_of_header_fields_count_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "x.warc"
    for change in (bytes.lower, bytes.upper, bytes.title):
        path.write_bytes(
            b"".join(
                re.sub(rb"(?m)^[A-Za-z-]+(?=:)", lambda m, c=change: c(m[0]), good(n))
                for n in range(3)
            )
        )
        assert numbers(read(path)) == [0, 1, 2]
        assert [i.url for i in read(path) if isinstance(i, Document)][2] == "http://example.jp/2"


def coded(body: bytes, coding: str) -> bytes:
    return answer(body, more=f"Content-Encoding: {coding}\r\n")


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "deflate-raw"])
def test_packed_bodies_are_read_and_one_that_is_cut_says_so(tmp_path: Path, coding: str) -> None:
    form = {"deflate": 15, "deflate-raw": -15}.get(coding, 31)
    noise = random.Random(1).randbytes(3000).hex().encode()
    packer = zlib.compressobj(wbits=form)
    whole = packer.compress(page(1).replace(b"</body>", noise + b"</body>")) + packer.flush()
    name = coding.partition("-raw")[0]
    path = tmp_path / "x.warc"
    path.write_bytes(record(1, coded(whole, name)) + record(2, coded(whole[:-900], name)))
    first, second = read(path)
    assert isinstance(first, Document)
    assert isinstance(second, Document)
    assert (first.id, second.id) == ("0-1", "0-2#cut")
    assert TEXT.format(1) in first.text
    assert TEXT.format(1) in second.text
    assert len(second.text) < len(first.text)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", "zstd", "x"]))
@settings(deadline=None, max_examples=60)
def test_a_body_of_any_bytes_is_decoded_or_refused(data: bytes, coding: str) -> None:
    fields = {"content-encoding": coding, "transfer-encoding": "chunked"}
    with contextlib.suppress(ValueError):
        assert len(body_of(fields, data, 1000).data) <= 1001


def test_pages_of_another_language_are_passed_over_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.warc"
    english = b"<html lang=en><body><main><p>Some English text.</p></main></body></html>"
    japanese = page(1).replace(b"<html>", b'<html lang="ja">')
    path.write_bytes(record(1, answer(japanese)) + record(2, answer(english)))
    assert numbers(read(path)) == [1, 2]
    assert numbers(read(path, html_lang="ja")) == [1]
    assert passed_over(read(path, html_lang="ja")) == {"response not in ja": 1}


def test_wet_files_give_their_conversions(tmp_path: Path) -> None:
    path = tmp_path / "x.warc.wet.gz"
    one = record(1, TEXT.format(1).encode(), "conversion")
    path.write_bytes(pack([record(0, b"x: y\r\n", "warcinfo"), one], "gz"))
    items = [item for item in read(path, Wet) if isinstance(item, Document)]
    assert [item.text for item in items] == [TEXT.format(1)]


def test_the_language_that_was_identified_is_the_documents(tmp_path: Path) -> None:
    path = tmp_path / "x.warc.wet"
    more = "WARC-Identified-Content-Language: {}\r\n"
    said = ["jpn,eng", "eng", "xho", ""]
    path.write_bytes(
        b"".join(record(n, b"text", "conversion", more=more.format(s)) for n, s in enumerate(said))
    )
    items = [item for item in read(path, Wet, language="de") if isinstance(item, Document)]
    assert [item.language for item in items] == ["ja", "en", "xho", "de"]


@pytest.mark.parametrize("packing", ["", "gz", "zst"])
@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (b"some garbage\r\nbetween records\r\n\r\n", "no record begins"),
        (good(9)[:200], "cut"),
        (record(9, answer(page(9)), length=10_000_000), "Content-Length is bad"),
        (record(9, answer(page(9)), length=40), "do not lead to the next record"),
        (good(9).replace(b"Content-Length", b"Content-Width"), "there is no number"),
        (record(9, answer(page(9)), length=10**15), "longer than"),
        (b"WARC/1.0\r\nno end of the header\r\n", "header"),
    ],
    ids=["garbage", "cut", "too-long", "too-short", "no-length", "huge", "header"],
)  # fmt: skip
def test_a_bad_record_costs_only_itself(
    tmp_path: Path, packing: str, bad: bytes, word: str
) -> None:
    path = tmp_path / "x.warc"
    path.write_bytes(pack([good(1), bad, good(2), good(3)], packing))
    items = read(path)
    assert numbers(items) == [1, 2, 3]
    assert len(items) == 4
    assert word in reasons(items)[0]


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_damage_to_one_member_costs_what_is_in_it(tmp_path: Path, packing: str) -> None:
    members = [pack([good(number)], packing) for number in range(4)]
    broken = bytearray(members[1])
    broken[60] ^= 0xFF
    path = tmp_path / "x.warc.gz"
    path.write_bytes(members[0] + bytes(broken) + members[2] + members[3][:-20])
    items = read(path)
    assert set(numbers(items)) >= {0, 2}
    assert 1 not in numbers(items)
    assert any("breaks here" in reason for reason in reasons(items))


def frames(path: Path, cuts: list[int]) -> Iterator[tuple[str, bytes]]:
    size = path.stat().st_size
    edges = [0, *cuts, size]
    for start, end in pairwise(edges):
        part = FilePart(SourceFile("f", str(path)), start, end, b"WARC/")
        for frame in warc_records(part, max_bytes=MIB):
            assert not isinstance(frame, RecordFault)
            yield frame


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    packing=st.sampled_from(["", "gz", "one-gz"]),
    cuts=st.lists(st.integers(1, 9_999), max_size=5, unique=True),
)
def test_the_pieces_of_a_file_have_each_record_once(
    seed: int, packing: str, cuts: list[int], new_folder: object
) -> None:
    chance = random.Random(seed)
    records = [
        record(n, answer(chance.randbytes(chance.randrange(900)), "image/png")) for n in range(9)
    ]
    path = new_folder() / "x.warc"  # type: ignore[operator]
    path.write_bytes(pack(records, packing))
    size = path.stat().st_size
    whole = list(frames(path, []))
    assert [data for _, data in whole] == [one[:-4] for one in records]
    assert list(frames(path, sorted({max(1, cut * size // 10_000) for cut in cuts}))) == whole


def test_a_source_cuts_large_files_itself(tmp_path: Path) -> None:
    chance = random.Random(0)
    noise = [record(n, answer(chance.randbytes(150_000), "image/png")) for n in range(20)]
    rows = [one for n, other in enumerate(noise) for one in (good(n), other)]
    for packing in ("", "gz", "zst"):
        path = tmp_path / f"x{packing}.warc"
        path.write_bytes(pack(rows, packing))
        source = Warc(paths=[str(path)], split_mb=1)
        assert len(source.partitions()) == 3
        assert numbers(read(path, split_mb=1)) == list(range(20))


@settings(max_examples=80)
@given(data=st.data())
def test_changed_bytes_never_raise(data: st.DataObject, new_folder: object) -> None:
    packing = data.draw(st.sampled_from(["", "gz", "zst"]))
    whole = bytearray(pack([good(1), good(2), good(3)], packing))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = new_folder() / "x.warc"  # type: ignore[operator]
    path.write_bytes(bytes(whole[: data.draw(st.integers(1, len(whole)))]))
    assert len(read(path)) < 20


MEMBERS = gzip.compress(page(1)[:40]) + gzip.compress(page(1)[40:])


@pytest.mark.parametrize(
    "block",
    [
        coded(MEMBERS, "gzip"),
        coded(MEMBERS + b"\0\0 no member", "gzip"),
        coded(gzip.compress(MEMBERS), "gzip, gzip"),
        coded(gzip.compress(page(1)), '"gzip"'),
        coded(zlib.compress(page(1)), "gzip"),
        answer(
            gzip.compress(zlib.compress(page(1))),
            more="Content-Encoding: deflate\r\nContent-Encoding: gzip\r\n",
        ),
        answer(CHUNKED, more="Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(page(1)),
        b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        + answer(page(1)),
        answer(page(1)).replace(b"HTTP/1.1", b"http/1.1"),
        answer(page(1)).replace(b"HTTP/1.1", b"ICY"),
        answer(page(1)).replace(b"200 OK", b"200OK"),
        answer(page(1), "text/plain", more="Content-Type: text/html; charset=utf-8\r\n"),
        answer(page(1).decode().encode("cp932"), "text/html;\r\n charset=Shift_JIS"),
    ],
)
def test_an_answer_that_disagrees_with_itself_keeps_all_its_text(
    tmp_path: Path, block: bytes
) -> None:
    path = tmp_path / "x.warc"
    path.write_bytes(record(1, block))
    (item,) = read(path)
    assert isinstance(item, Document)
    assert (item.id, item.text) == ("0-1", TEXT.format(1))


def test_a_record_in_segments_is_marked_as_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.warc"
    whole = answer(page(1))
    first = record(1, whole[:-20], more="WARC-Segment-Number: 1\r\n")
    path.write_bytes(first + record(2, whole[-20:], "continuation"))
    items = read(path)
    assert [item.id for item in items if isinstance(item, Document)] == ["0-1#cut"]
    assert passed_over(items) == {"continuation": 1}


def test_answers_of_other_protocols_are_read_or_passed_over_by_type(tmp_path: Path) -> None:
    def other(number: int, block: bytes, type_: str) -> bytes:
        return record(number, block).replace(b"application/http; msgtype=response", type_.encode())

    path = tmp_path / "x.warc"
    path.write_bytes(
        other(1, b"20200101\ne.jp. 1 IN A 1.2.3.4\n", "text/dns")
        + other(2, page(2), "text/html")
        + other(3, TEXT.format(3).encode("euc_jp"), "text/plain")
        + other(4, b"%PDF", "application/pdf")
    )
    items = read(path)
    assert [item.text for item in items if isinstance(item, Document)] == [
        TEXT.format(2), TEXT.format(3),
    ]  # fmt: skip
    assert passed_over(items) == {"response text/dns": 1, "response application/pdf": 1}


def test_a_plain_file_that_is_called_packed_is_read(tmp_path: Path) -> None:
    for ending in ("gz", "zst"):
        path = tmp_path / f"x.warc.{ending}"
        path.write_bytes(good(1) + good(2))
        assert numbers(read(path)) == [1, 2]


@pytest.mark.parametrize("packed", [False, True])
def test_frames_that_share_a_dictionary_are_read(tmp_path: Path, packed: bool) -> None:
    words = zstandard.train_dictionary(2000, [good(n) for n in range(200)])
    data = words.as_bytes()
    data = zstandard.compress(data) if packed else data
    head = (0x184D2A5D).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data
    compressor = zstandard.ZstdCompressor(dict_data=words)
    path = tmp_path / "x.warc.zst"
    path.write_bytes(head + b"".join(compressor.compress(good(n)) for n in range(5)))
    assert numbers(read(path)) == [0, 1, 2, 3, 4]
    bomb = zstandard.compress(bytes(1 << 25))
    path.write_bytes(
        (0x184D2A5D).to_bytes(4, "little") + len(bomb).to_bytes(4, "little") + bomb + b"x"
    )
    assert "dictionary" in reasons(read(path))[0]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"filedesc://a.arc 0.0.0.0 20200101000000 text/plain 5\n1 0 X\n" + page(1), "an ARC file"),
        (gzip.compress(gzip.compress(good(1))), "packed twice"),
    ],
)
def test_a_file_of_another_kind_says_what_it_is(tmp_path: Path, data: bytes, word: str) -> None:
    path = tmp_path / "x.warc"
    path.write_bytes(data)
    (reason,) = reasons(read(path))
    assert word in reason
