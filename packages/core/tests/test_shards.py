"""Token shards, against the layout that Megatron-LM publishes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai.errors import Altered, NotFound, UsageError
from yoriai.shards import Shard, ShardWriter, token_code


def write(stem, vocabulary_size, documents):
    writer = ShardWriter(stem, vocabulary_size)
    for document in documents:
        writer.add(document)
    writer.close()


def by_hand(vocabulary_size, documents):
    """The two files, byte by byte, after ``_IndexWriter`` in indexed_dataset.py."""
    wide = vocabulary_size > 2**16
    letter, width, code = ("i", 4, 4) if wide else ("H", 2, 8)
    body = b"".join(struct.pack(f"<{len(d)}{letter}", *d) for d in documents)
    index = b"MMIDIDX\x00\x00" + struct.pack("<Q", 1) + struct.pack("<B", code)
    index += struct.pack("<Q", len(documents)) + struct.pack("<Q", len(documents) + 1)
    for document in documents:
        index += struct.pack("<i", len(document))
    place = 0
    for document in documents:
        index += struct.pack("<q", place)
        place += len(document) * width
    for number in range(len(documents) + 1):
        index += struct.pack("<q", number)
    return body, index


SHARDS = st.sampled_from([300, 2**16, 2**16 + 1, 250_000]).flatmap(
    lambda size: st.tuples(
        st.just(size), st.lists(st.lists(st.integers(0, size - 1), min_size=1, max_size=9))
    )
)


@given(SHARDS)
def test_the_bytes_are_those_of_megatron(tmp_path_factory, shard):
    stem = tmp_path_factory.mktemp("shard") / "ja"
    write(stem, *shard)
    body, index = by_hand(*shard)
    assert stem.with_suffix(".bin").read_bytes() == body
    assert stem.with_suffix(".idx").read_bytes() == index


@given(SHARDS)
def test_what_was_written_is_read(tmp_path_factory, shard):
    stem = tmp_path_factory.mktemp("shard") / "ja"
    write(stem, *shard)
    read = Shard(stem)
    tokens = list(read.tokens.cast("H" if read.dtype == "uint16" else "i")) if read.tokens else []
    assert tokens == [token for document in shard[1] for token in document]
    assert list(read.lengths) == [len(document) for document in shard[1]]
    assert len(read) == len(shard[1])


def test_a_shard_made_by_hand_is_read(tmp_path):
    body, index = by_hand(100, [[1, 2, 3], [99]])
    (tmp_path / "x.bin").write_bytes(body)
    (tmp_path / "x.idx").write_bytes(index)
    assert list(Shard(tmp_path / "x").tokens.cast("H")) == [1, 2, 3, 99]


@pytest.mark.parametrize(("size", "code"), [(1, 8), (2**16, 8), (2**16 + 1, 4)])
def test_two_bytes_are_used_where_every_id_fits(size, code):
    assert token_code(size) == code


@pytest.mark.parametrize("size", [10, 70_000])
@pytest.mark.parametrize("document", [[], [-1], [70_000], [2**40]])
def test_what_the_vocabulary_does_not_hold_is_refused(tmp_path, size, document):
    writer = ShardWriter(tmp_path / "x", size)
    with pytest.raises(UsageError):
        writer.add(document)
    writer.add([1, 2])
    writer.close()
    assert list(Shard(tmp_path / "x").lengths) == [2]


@given(st.data())
def test_a_cut_file_is_noticed(tmp_path_factory, data):
    stem = tmp_path_factory.mktemp("shard") / "ja"
    write(stem, 100, [[1, 2, 3], [4]])
    path = stem.with_suffix(data.draw(st.sampled_from([".bin", ".idx"])))
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(Altered):
        Shard(stem)


@pytest.mark.parametrize(
    ("place", "byte", "what"), [(0, 0, "no Megatron"), (9, 2, "version 2"), (17, 6, "token type 6")]
)
def test_another_format_is_refused_by_name(tmp_path, place, byte, what):
    write(tmp_path / "x", 100, [[1]])
    data = bytearray((tmp_path / "x.idx").read_bytes())
    data[place] = byte
    (tmp_path / "x.idx").write_bytes(data)
    with pytest.raises(Altered, match=what):
        Shard(tmp_path / "x")


@given(SHARDS)
def test_what_the_index_says_is_there_without_a_copy(tmp_path_factory, shard):
    stem = tmp_path_factory.mktemp("shard") / "ja"
    write(stem, *shard)
    read = Shard(stem)
    assert read.total == sum(map(len, shard[1]))
    first, stop = read.offsets_at
    offsets = struct.unpack(f"<{len(shard[1])}q", read.index[first:stop])
    assert [o // read.width for o in offsets] == [
        sum(map(len, shard[1][:n])) for n in range(len(shard[1]))
    ]
    assert read.lengths.obj is read.index.obj  # a view of the map
    assert read.tokens is read.tokens


def test_opening_maps_nothing_and_reads_the_same_few_bytes_however_long_the_index_is(tmp_path):
    write(tmp_path / "x", 100, [[1]] * 5000)
    shard = Shard(tmp_path / "x")
    assert not {"tokens", "index"} & set(vars(shard))
    assert (len(shard), shard.total) == (5000, 5000)


@pytest.mark.parametrize("suffix", [".bin", ".idx"])
def test_a_file_that_is_missing_is_named(tmp_path, suffix):
    write(tmp_path / "x", 100, [[1]])
    (tmp_path / f"x{suffix}").unlink()
    with pytest.raises(NotFound, match=rf"x\{suffix} is missing"):
        Shard(tmp_path / "x")


def test_an_index_that_ends_nowhere_is_refused(tmp_path):
    write(tmp_path / "x", 100, [[1], [2]])
    data = bytearray((tmp_path / "x.idx").read_bytes())
    data[34 + 4 + 3] ^= 0x80  # the sign of the last length
    (tmp_path / "x.idx").write_bytes(data)
    with pytest.raises(Altered, match="ends nowhere"):
        Shard(tmp_path / "x")


def test_an_empty_shard_is_a_shard(tmp_path):
    write(tmp_path / "x", 100, [])
    assert len(Shard(tmp_path / "x")) == 0


def test_a_dot_in_the_name_is_part_of_the_name(tmp_path):
    write(tmp_path / "v1.0", 100, [[1]])
    write(tmp_path / "v1.1", 100, [[2, 3]])
    assert len(Shard(tmp_path / "v1.0").tokens) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "v1.0.bin", "v1.0.idx", "v1.1.bin", "v1.1.idx",
    ]  # fmt: skip


@given(st.data())
def test_a_false_length_or_pointer_in_an_index_is_refused_when_it_is_read(tmp_path_factory, data):
    stem = tmp_path_factory.mktemp("shard") / "ja"
    write(stem, 100, [[1, 2, 3], [4], [5, 6]])
    path = stem.with_suffix(".idx")
    index = bytearray(path.read_bytes())
    place = data.draw(st.integers(34, len(index) - 1))
    index[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(index)
    with pytest.raises(Altered):
        _ = Shard(stem).lengths


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_any_bytes_as_an_index_are_refused_or_agree_with_themselves(tmp_path_factory, tail, body):
    stem = tmp_path_factory.mktemp("shard") / "ja"
    count = len(tail) // 20
    head = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, 8, count, (len(tail) - 12 * count) // 8)
    stem.with_suffix(".idx").write_bytes(head + tail)
    stem.with_suffix(".bin").write_bytes(body)
    try:
        shard = Shard(stem)
        assert sum(shard.lengths) * shard.width == len(shard.tokens)
    except Altered:
        pass


def test_the_place_in_an_index_that_leads_elsewhere_is_named_beyond_the_first_block(tmp_path):
    count = 70_000
    write(tmp_path / "x", 100, [[1]] * count)
    path = tmp_path / "x.idx"
    data = bytearray(path.read_bytes())
    struct.pack_into("<q", data, 34 + 4 * count + 8 * 69_999 - 8, 4)
    path.write_bytes(data)
    with pytest.raises(Altered, match="document 69,998 has 1 tokens from byte 4 on"):
        _ = Shard(tmp_path / "x").lengths
