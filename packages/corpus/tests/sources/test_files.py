"""Files and their records: whatever the bytes and the cuts, each record comes exactly once."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import Document, NotFound, Unreadable, UsageError
from yoriai_corpus.engines.deaths import KILLED
from yoriai_corpus.sources import files
from yoriai_corpus.sources.files import FileSource, cuts_of
from yoriai_corpus.sources.listing import SourceFile, list_files
from yoriai_corpus.sources.packing import BLOCK, Damage, packing_of, unpack, zstd_frames
from yoriai_corpus.sources.records import FilePart, RecordFault, guarded, open_part, records

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": lambda data: gzip.compress(data, 1, mtime=0),
    "bz2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": lambda data: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data),
}


class Words(FileSource):
    """Each line a document, for these tests."""

    splits = frozenset({"", "zst", "bz2"})
    suffixes = (".txt",)

    def frames(self, part: FilePart) -> Iterator[tuple[str, bytes] | RecordFault]:
        return records(part)

    def document(self, place: str, content: bytes) -> Document | None:
        if content == b"skip":
            return None
        return Document(self.name, place, content.decode())


def lines_of(data: bytes, delimiter: bytes = b"\n") -> list[bytes]:
    """What a reader of whole files would say: the oracle."""
    pieces = data.split(delimiter)
    return pieces[:-1] if pieces[-1] == b"" else pieces


@pytest.fixture(scope="session")
def write(new_folder: Callable[[], Path]) -> Callable[[bytes, str], SourceFile]:
    folder = new_folder()

    def write(data: bytes, name: str = "f") -> SourceFile:
        (folder / name).write_bytes(data)
        return SourceFile(name, str(folder / name))

    return write


def pieces(file: SourceFile, cuts: Sequence[int]) -> list[tuple[str, bytes] | RecordFault]:
    ends = [*cuts[1:], file.size()]
    found: list[tuple[str, bytes] | RecordFault] = []
    for start, end in zip(cuts, ends, strict=True):
        found += records(FilePart(file, start, end))
    return found


some_bytes = st.lists(
    st.sampled_from([b"a", b"\n", b"\n\n", b"</p>", b"<", b"/p", b">", b"bc", "日本".encode()]),
    max_size=40,
).map(b"".join)


# --- cutting ------------------------------------------------------------------------------


@given(data=some_bytes | st.binary(), cuts=st.sets(st.integers(1, 120), max_size=6))
def test_the_pieces_of_plain_bytes_hold_each_line_once_in_order(
    data: bytes, cuts: set[int], write: Callable[..., SourceFile]
) -> None:
    file = write(data)
    inside = [0, *sorted(cut for cut in cuts if cut < len(data))]
    got = pieces(file, inside)
    assert [frame[1] for frame in got if not isinstance(frame, RecordFault)] == lines_of(data)
    assert got == list(records(FilePart(file)))


@given(data=some_bytes, cuts=st.sets(st.integers(1, 120), max_size=6), block=st.integers(1, 9))
def test_a_delimiter_of_many_bytes_may_lie_across_blocks_and_cuts(
    data: bytes, cuts: set[int], block: int, write: Callable[..., SourceFile]
) -> None:
    file = write(data)
    inside = [0, *sorted(cut for cut in cuts if cut < len(data))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yoriai_corpus.sources.packing.BLOCK", block)
        got = []
        for start, end in zip(inside, [*inside[1:], len(data)], strict=True):
            got += records(FilePart(file, start, end), delimiter=b"</p>")
    assert [frame[1] for frame in got if not isinstance(frame, RecordFault)] == lines_of(
        data, b"</p>"
    )


@settings(max_examples=40)
@given(
    members=st.lists(some_bytes, min_size=1, max_size=6), packing=st.sampled_from(["zst", "bz2"])
)
def test_the_pieces_of_a_file_of_many_members_hold_each_line_once_in_order(
    members: list[bytes], packing: str, write: Callable[..., SourceFile]
) -> None:
    packed = [PACK[packing](member) for member in members]
    file = write(b"".join(packed), f"f.{packing}")
    starts = [sum(map(len, packed[:i])) for i in range(len(packed))]
    whole = list(records(FilePart(file)))
    assert [frame[1] for frame in whole if not isinstance(frame, RecordFault)] == lines_of(
        b"".join(members)
    )
    assert pieces(file, starts) == whole
    if packing == "zst":
        assert zstd_frames(file) == [*starts, file.size()]
    else:
        assert pieces(file, range(0, file.size(), 17)) == whole


@pytest.mark.parametrize("packing", PACK)
def test_what_was_packed_is_read_as_it_was_whatever_the_suffix(
    packing: str, write: Callable[..., SourceFile]
) -> None:
    data = random.Random(1).randbytes(3 * BLOCK) + b"\n" * BLOCK * 9 + "日本語".encode() * BLOCK
    for name in (f"f.{packing}", "f.data"):
        file = write(PACK[packing](data) + PACK[packing](b"more"), name)
        with open_part(FilePart(file)) as opened:
            assert opened.read() == data + b"more"


def test_a_place_leads_to_the_record(write: Callable[..., SourceFile]) -> None:
    data = b"one\n\xe6\x97\xa5\nthree"
    assert [f[0] for f in records(FilePart(write(data))) if not isinstance(f, RecordFault)] == [
        "f@0",
        "f@4",
        "f@8",
    ]
    first = PACK["zst"](b"one\ntw")
    file = write(first + PACK["zst"](b"o\nthree\n"), "g.zst")
    assert list(records(FilePart(file))) == [
        ("g.zst@0", b"one"),
        ("g.zst@4", b"two"),
        (f"g.zst@{len(first)}+2", b"three"),
    ]


def test_large_files_are_cut_by_their_size_and_zstd_at_its_frames(
    write: Callable[..., SourceFile],
) -> None:
    everything = frozenset({"", "zst", "bz2"})
    file = write(b"x\n" * 500)
    assert cuts_of(file, 1000, 300, everything) == [0, 300, 600]
    assert cuts_of(file, 1000, 300, frozenset()) == [0]
    frames = [PACK["zst"](random.Random(i).randbytes(90)) for i in range(10)]
    file = write(b"".join(frames), "f.zst")
    cuts = cuts_of(file, file.size(), 250, everything)
    assert cuts == [sum(map(len, frames[:i])) for i in (0, 3, 6, 9)]
    assert cuts_of(write(frames[0]), len(frames[0]), 10, everything) == [0]
    assert cuts_of(write(PACK["gz"](b"a")), 100, 10, everything) == [0]


def test_partitions_cut_and_read_what_the_whole_file_holds(tmp_path: Path) -> None:
    lines = [f"{n} {'x' * (n % 3000)}" for n in range(3000)]
    data = "\n".join(lines).encode()
    (tmp_path / "a.txt").write_bytes(data)
    source = Words(paths=[str(tmp_path / "a.txt")], split_mb=1)
    names = source.partitions()
    assert len(names) == 4
    assert names[1] == f"a.txt@{1 << 20}-{2 << 20}"
    got = [item for name in names for item in source.read(name)]
    whole = list(source.read("a.txt"))
    assert got == whole
    assert [d.text for d in whole if isinstance(d, Document)] == lines


# --- damage -------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", [p for p in PACK if p])
@settings(max_examples=30)
@given(share=st.floats(0, 1), seed=st.integers(0, 3))
def test_all_records_before_the_place_where_a_file_is_cut_off_are_read(
    packing: str, share: float, seed: int, write: Callable[..., SourceFile]
) -> None:
    numbers = random.Random(seed)
    data = b"".join(b"%d\n" % numbers.getrandbits(64) for _ in range(40_000))
    whole = PACK[packing](data)
    file = write(whole[: int(share * (len(whole) - 1))], f"f.{packing}")
    got = list(records(FilePart(file)))
    good = [frame[1] for frame in got if not isinstance(frame, RecordFault)]
    assert good == lines_of(data)[: len(good)]
    assert len(got) == len(good) + 1
    assert isinstance(got[-1], RecordFault)
    assert got[-1].place == f"f.{packing}@{sum(len(line) + 1 for line in good)}"
    assert "breaks here" in got[-1].reason


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["gz", "zst", "bz2"])
def test_records_before_a_damaged_byte_are_read_exactly(
    packing: str, write: Callable[..., SourceFile]
) -> None:
    """The oracle is the library itself, fed byte by byte until it complains."""
    numbers = random.Random(5)
    data = b"".join(b"%d\n" % numbers.getrandbits(64) for _ in range(60_000))
    packed = bytearray(PACK[packing](data))
    middle = len(packed) // 2
    packed[middle : middle + 400] = b"\xff" * 400
    file = write(bytes(packed), "f")
    makers = {
        "gz": lambda: __import__("zlib").decompressobj(31),
        "bz2": bz2.BZ2Decompressor,
        "zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
    }
    unpacker, known = makers[packing](), b""
    with contextlib.suppress(Exception):
        for byte in packed:
            known += unpacker.decompress(bytes([byte]))
    got = list(records(FilePart(file)))
    good = [frame[1] for frame in got if not isinstance(frame, RecordFault)]
    sure = known[: known.rfind(b"\n") + 1]
    read = b"\n".join([*good, b""])
    # bzip2 checks a block when it has given all of it, so that some of a bad one may be read.
    assert read.startswith(sure) if packing == "bz2" else read == sure
    assert [type(frame) for frame in got[len(good) :]] == [RecordFault]


@pytest.mark.parametrize("packing", ["zst", "bz2"])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_reading_goes_on_in_the_member_behind_a_damaged_one(
    packing: str, bad: int, write: Callable[..., SourceFile]
) -> None:
    numbers = random.Random(2)
    members = [
        b"".join(b"%d.%d\n" % (m, numbers.getrandbits(60)) for _ in range(500)) for m in range(4)
    ]
    packed = [bytearray(PACK[packing](member)) for member in members]
    packed[bad][len(packed[bad]) // 2] ^= 0xFF
    file = write(b"".join(packed), f"f.{packing}")
    got = list(records(FilePart(file)))
    starts = [sum(map(len, packed[:i])) for i in range(4)]
    assert pieces(file, starts) == got
    good = [frame[1] for frame in got if not isinstance(frame, RecordFault)]
    (fault,) = [frame for frame in got if isinstance(frame, RecordFault)]
    assert fault.place.startswith(f"f.{packing}@{starts[bad] or ''}")
    # A damaged byte may unpack to wrong lines before it is noticed; those around it are sound,
    # but for the first behind, which cannot be told from the end of a damaged one.
    before = lines_of(b"".join(members[:bad]))
    behind = lines_of(b"".join(members[bad + 1 :]))[1:]
    assert good[: len(before)] == before
    assert good[len(good) - len(behind) :] == behind


@pytest.mark.parametrize("end", [b"\0" * 700, b""])
def test_zeros_behind_the_last_member_are_padding_and_other_bytes_are_not(
    end: bytes, write: Callable[..., SourceFile]
) -> None:
    assert list(records(FilePart(write(PACK["gz"](b"one\n") + end)))) == [("f@0", b"one")]
    got = list(records(FilePart(write(PACK["gz"](b"one\n") + end + b"rubbish"))))
    assert got[0] == ("f@0", b"one")
    assert isinstance(got[1], RecordFault)


def test_a_packed_file_with_nothing_in_it_is_a_fault_and_a_plain_one_is_not(
    write: Callable[..., SourceFile],
) -> None:
    assert [type(f) for f in records(FilePart(write(b"", "f.gz")))] == [RecordFault]
    assert list(records(FilePart(write(b"", "f.txt")))) == []
    assert [type(f) for f in records(FilePart(write(b"\0\1\2 no gzip", "f.gz")))] == [RecordFault]
    # What is only called packed is read as it is.
    assert [f[1] for f in records(FilePart(write(b"plain text\n", "f.gz")))] == [b"plain text"]


@given(
    data=st.binary(max_size=200),
    magic=st.sampled_from(
        [b"", b"\x1f\x8b\x08\0", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"]
    ),
    name=st.sampled_from(["f", "f.gz", "f.zst", "f.bz2", "f.xz"]),
)
def test_no_bytes_at_all_raise(
    data: bytes, magic: bytes, name: str, write: Callable[..., SourceFile]
) -> None:
    file = write(magic + data, name)
    list(records(FilePart(file)))
    assert zstd_frames(file)[0] == 0


# --- length -------------------------------------------------------------------------------


@given(data=some_bytes, most=st.integers(1, 12), block=st.integers(1, 9))
def test_a_record_that_is_too_long_is_one_fault_with_its_length(
    data: bytes, most: int, block: int, write: Callable[..., SourceFile]
) -> None:
    file = write(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yoriai_corpus.sources.packing.BLOCK", block)
        got = list(records(FilePart(file), max_bytes=most))
    wanted = lines_of(data)
    assert len(got) == len(wanted)
    for frame, line in zip(got, wanted, strict=True):
        if len(line) > most:
            assert isinstance(frame, RecordFault)
            assert frame.reason == f"longer than {most} bytes: {len(line)} bytes"
        else:
            assert not isinstance(frame, RecordFault)
            assert frame[1] == line


@pytest.mark.parametrize("packing", ["", "zst", "gz"])
def test_a_line_of_a_hundred_megabytes_is_counted_and_not_held(
    packing: str, write: Callable[..., SourceFile]
) -> None:
    data = b"before\n" + b"x" * 100_000_000 + b"\nafter\n"
    file = write(PACK[packing](data))
    del data
    tracemalloc.start()
    first, long, last = records(FilePart(file), max_bytes=8 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(long, RecordFault)
    assert "100000000 bytes" in long.reason
    assert (first, last) == (("f@0", b"before"), ("f@100000008", b"after"))
    assert peak < 24 << 20


# --- guarding -----------------------------------------------------------------------------


def test_what_parsing_raises_becomes_a_record_that_names_it() -> None:
    def parse(place: str, content: int) -> Document:
        return Document("s", place, str(1 // content))

    first, second = guarded("s", [("a", 0), ("b", 1)], parse)
    assert first == Unreadable(
        "s", "a", "could not be parsed: ZeroDivisionError: integer division or modulo by zero"
    )
    assert isinstance(second, Document)


def test_a_record_that_killed_its_process_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\nskip\ntwo\nthree\n")
    source = Words(paths=[str(tmp_path)])
    one, two, three = source.read_without("a.txt", frozenset({2}))
    assert isinstance(one, Document)
    assert isinstance(two, Document)
    assert three == Unreadable("local", "a.txt@13", KILLED)


def test_frames_that_break_off_are_one_record_and_no_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n")

    def broken(self: Words, part: FilePart) -> Iterator[tuple[str, bytes]]:
        yield "a.txt@0", b"one"
        raise RuntimeError("the library gave up")

    monkeypatch.setattr(Words, "frames", broken)
    _, end = Words(paths=[str(tmp_path)]).read("a.txt")
    assert isinstance(end, Unreadable)
    assert end.id == "a.txt@0"
    assert "RuntimeError: the library gave up" in end.reason


# --- finding files ------------------------------------------------------------------------


def make_tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def names(*patterns: str | Path, **keys: object) -> list[str]:
    return [file.name for file in list_files(map(str, patterns), **keys)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["a.txt"]),
        ("*/*.txt", ["b.txt", "c.txt"]),
        ("**/*.txt", ["a.txt", "b.txt", "c.txt", "d.txt"]),
        ("**/deep/*.txt", ["d.txt"]),
        ("x/**", ["b.txt", "d.txt", "n.md"]),
        ("?/[bn].*", ["b.txt", "n.md"]),
        ("?/[!b]*.*", ["c.txt", "n.md"]),
        ("x", ["b.txt", "d.txt"]),
        ("x/b.txt", ["b.txt"]),
    ],
)
def test_patterns_find_files(pattern: str, found: list[str], tmp_path: Path) -> None:
    make_tree(tmp_path, "a.txt", "x/b.txt", "y/c.txt", "x/deep/d.txt", "x/n.md")
    assert names(tmp_path / pattern, suffixes=(".txt",)) == found


def test_a_path_may_begin_with_a_variable_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path, "a.txt", "$x/b.txt")
    monkeypatch.setenv("TEXTS", str(tmp_path))
    assert names("$TEXTS/*.txt") == names("${TEXTS}/*.txt") == ["a.txt"]
    assert names(f"{tmp_path}/$x/*.txt") == ["b.txt"]
    monkeypatch.delenv("TEXTS")
    with pytest.raises(NotFound, match="variable TEXTS is not set"):
        names("$TEXTS/*.txt")


def test_recursive_patterns_agree_with_those_of_the_standard_library(tmp_path: Path) -> None:
    make_tree(tmp_path, "a.txt", "x/b.txt", "x/y/c.txt", "x/y/z/d.txt", "w/a.txt", ".h/e.txt")
    for pattern in ("**/*.txt", "x/**/*.txt", "**/y/**/*.txt", "**/?.txt", "*/**/*.txt"):
        wanted = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob(pattern))
        got = [os.path.relpath(f.path, tmp_path) for f in list_files([str(tmp_path / pattern)])]
        assert sorted(got) == wanted


def test_names_hold_no_folder_outside_the_pattern(tmp_path: Path) -> None:
    make_tree(tmp_path, "home/me/data/x/a.txt", "home/me/data/y/a.txt")
    root = tmp_path / "home/me/data"
    assert names(root / "**/*.txt", tree=True) == ["x/a.txt", "y/a.txt"]
    assert names(root, tree=True, suffixes=("*",)) == ["x/a.txt", "y/a.txt"]
    assert names(root / "*/a.txt") == ["a.txt", "a.txt#2"]
    assert names(root / "x", root / "y", tree=True, suffixes=("*",)) == ["a.txt", "a.txt#2"]


def test_links_that_lead_round_do_not_hang_and_nothing_is_read_twice(tmp_path: Path) -> None:
    make_tree(tmp_path, "x/a.txt", "elsewhere/b.txt")
    (tmp_path / "x/up").symlink_to(tmp_path / "x", target_is_directory=True)
    (tmp_path / "x/side").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "x/z.txt").symlink_to("a.txt")
    assert names(tmp_path / "x/**/*.txt") == ["a.txt", "b.txt"]
    assert names(tmp_path / "x", tmp_path / "x/a.txt", suffixes=(".txt",)) == ["a.txt", "b.txt"]


def test_a_file_called_like_a_piece_is_not_taken_for_one(tmp_path: Path) -> None:
    make_tree(tmp_path, "a.txt", "a.txt@0-3")
    source = Words(paths=[str(tmp_path / "*")])
    assert [item.text for n in source.partitions() for item in source.read(n)] == [  # type: ignore[union-attr]
        "a.txt",
        "a.txt@0-3",
    ]


def test_a_file_that_cannot_be_read_is_one_record(tmp_path: Path) -> None:
    make_tree(tmp_path, "good.txt", "gone.txt")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "broken.txt").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.txt")
    source = Words(paths=[str(tmp_path / "*.txt")])
    listed = source.partitions()
    (tmp_path / "gone.txt").unlink()
    got = {name: list(source.read(name)) for name in listed}
    assert {name: type(items[0]) for name, items in got.items()} == {
        "broken.txt": Unreadable,
        "folder.txt": Unreadable,
        "gone.txt": Unreadable,
        "good.txt": Document,
        "pipe.txt": Unreadable,
    }
    assert all(len(items) == 1 for items in got.values())
    reasons = [getattr(items[0], "reason", "") for items in got.values()]
    assert not any(str(tmp_path) in reason for reason in reasons)
    assert source.fingerprint() == source.fingerprint()


def test_a_folder_is_passed_over_where_a_star_meets_it(tmp_path: Path) -> None:
    make_tree(tmp_path, "a.txt", "x/b.txt")
    assert names(tmp_path / "*") == ["a.txt"]
    with pytest.raises(NotFound):
        names(tmp_path / "nothing/*.txt")


# --- addresses ----------------------------------------------------------------------------


def test_addresses_are_read_by_fsspec_and_a_file_address_is_a_path(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/stream-test/x/a.txt", b"one\ntwo\n")
    memory.pipe("/stream-test/b.txt.gz", PACK["gz"](b"three"))
    for paths in (["memory://stream-test/**/*.txt*"], ["memory://stream-test"]):
        source = Words(paths=paths)
        assert source.partitions() == ["a.txt", "b.txt.gz"]
        assert [d.text for n in source.partitions() for d in source.read(n)] == [  # type: ignore[union-attr]
            "one",
            "two",
            "three",
        ]
    before = source.fingerprint()
    assert before == source.fingerprint()
    memory.pipe("/stream-test/x/a.txt", b"one\ntwo\nthree\n")
    assert source.fingerprint() != before
    memory.rm("/stream-test", recursive=True)
    make_tree(tmp_path, "a.txt")
    assert names(f"file://{tmp_path}/a.txt") == ["a.txt"]
    with pytest.raises(NotFound, match="no file matches"):
        names("memory://stream-test/*.txt")


def test_a_web_server_that_gives_no_parts_of_files_is_read_whole(tmp_path: Path) -> None:
    """Python's own server is such a one; it listens on this machine only."""
    import functools
    import http.server
    import threading

    pytest.importorskip("aiohttp")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    numbers = random.Random(3)
    lines = [b"%d" % numbers.getrandbits(64) for _ in range(300_000)]
    (tmp_path / "a.txt.gz").write_bytes(PACK["gz"](b"\n".join(lines)))
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = Words(paths=[f"http://127.0.0.1:{server.server_port}/a.txt.gz"])
        got = [getattr(item, "text", "") for item in source.read("a.txt.gz")]
        assert source.fingerprint() == source.fingerprint()
        with pytest.raises(NotFound):
            names(f"http://127.0.0.1:{server.server_port}/no.txt")
        server.shutdown()
    assert got == [line.decode() for line in lines]


def test_an_address_whose_package_is_missing_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import known_implementations

    how = {"class": "no_such_package.Fs", "err": "Install no-such-package to read martian"}
    monkeypatch.setitem(known_implementations, "martian", how)
    with pytest.raises(NotFound, match="martian://") as caught:
        names("martian://rocks/*.txt")
    assert "no-such-package" in caught.value.hint
    with pytest.raises(UsageError, match="gopher"):
        names("gopher://hole/a.txt")


# --- identity -----------------------------------------------------------------------------


def test_a_digest_sees_bytes_and_a_stat_sees_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one")
    os.utime(path, ns=(0, 10**18))
    by_bytes, by_stat = (
        Words(paths=[str(path)], identity=identity)  # type: ignore[arg-type]
        for identity in ("bytes", "stat")
    )
    first = by_bytes.fingerprint(), by_stat.fingerprint()
    os.utime(path, ns=(0, 10**18 + 1))
    second = by_bytes.fingerprint(), by_stat.fingerprint()
    assert first[0] == second[0]
    assert first[1] != second[1]
    path.write_bytes(b"two")
    os.utime(path, ns=(0, 10**18))
    assert by_stat.fingerprint() == first[1]
    assert by_bytes.fingerprint() != first[0]


def test_small_files_that_are_gathered_share_a_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Words, "gathers", True)
    monkeypatch.setattr(files, "MEGABYTE", 10)
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_bytes(name.encode() * 4)
    source = Words(paths=[str(tmp_path)], split_mb=1)
    assert source.partitions() == ["a.txt..b.txt", "c.txt..d.txt"]
    assert [d.text for n in source.partitions() for d in source.read(n)] == [  # type: ignore[union-attr]
        "aaaa",
        "bbbb",
        "cccc",
        "dddd",
    ]
    assert [d.text for d in source.read("c.txt")] == ["cccc"]  # type: ignore[union-attr]


def test_a_part_opened_as_a_file_ends_where_the_part_ends(write: Callable[..., SourceFile]) -> None:
    first, second = PACK["bz2"](b"one"), PACK["bz2"](b"two")
    file = write(first + second, "f.bz2")
    with open_part(FilePart(file, 0, len(first))) as opened:
        assert opened.read() == b"one"
    with open_part(FilePart(file, 3, file.size())) as opened:
        assert opened.read() == b"two"
    with open_part(FilePart(write(b"0123456789"), 2, 5)) as opened:
        assert opened.read() == b"234"
    with (
        open_part(FilePart(write(PACK["gz"](b"x" * 50)[:-9], "g.gz"))) as opened,
        pytest.raises(OSError),
    ):
        opened.read()


def test_gzip_members_with_a_known_beginning_can_be_found_in_the_middle(
    write: Callable[..., SourceFile],
) -> None:
    members = [PACK["gz"](b"WARC/1.0 %d \x1f\x8b\x08" % n * 50) for n in range(5)]
    file = write(b"".join(members), "f.warc.gz")
    starts = [sum(map(len, members[:i])) for i in range(5)]
    found = [[c.member for c in unpack(file, at, b"WARC/") if not isinstance(c, Damage)]
             for at in range(file.size())]  # fmt: skip
    assert found == [[s for s in starts if s >= at] for at in range(file.size())]


def test_packing_is_told_by_the_first_bytes_then_by_the_name() -> None:
    assert packing_of("a.gz", b"\x28\xb5\x2f\xfd") == "zst"
    assert packing_of("a.GZ", b"text") == "gz"
    assert packing_of("a.txt", b"BZh9 is a word") == ""
    assert packing_of("a", io.BytesIO(b"\x50\x2a\x4d\x18").read()) == "zst"
