"""corpus/adopt: shards written by hand, after Megatron-LM's layout, become an artifact."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Altered, Artifact, NotFound, UsageError
from yoriai.mixture import read_mixture
from yoriai.shards import Shard
from yoriai_corpus.shards import foreign

Make = Callable[..., Artifact]
# megatron/core/datasets/indexed_dataset.py, DType: the code of each type, and struct's letter.
CODES = {"B": 1, "b": 2, "h": 3, "i": 4, "q": 5, "d": 6, "f": 7, "H": 8}
END = 2


def write(
    stem: Path,
    documents: Sequence[Sequence[Sequence[int]]],
    letter: str = "H",
    *,
    modes: bool = False,
) -> Path:
    """Documents of sequences, as ``_IndexWriter`` and ``IndexedDatasetBuilder`` write them."""
    sequences = [sequence for document in documents for sequence in document]
    width = struct.calcsize(f"<{letter}")
    flat = [token for sequence in sequences for token in sequence]
    stem.with_name(stem.name + ".bin").write_bytes(struct.pack(f"<{len(flat)}{letter}", *flat))
    lengths = [len(sequence) for sequence in sequences]
    offsets = [width * sum(lengths[:n]) for n in range(len(lengths))]
    bounds = [0]
    for document in documents:
        bounds.append(bounds[-1] + len(document))
    index = b"MMIDIDX\x00\x00" + struct.pack("<QB", 1, CODES[letter])
    index += struct.pack("<QQ", len(lengths), len(bounds))
    index += struct.pack(f"<{len(lengths)}i", *lengths)
    index += struct.pack(f"<{len(offsets)}q", *offsets)
    index += struct.pack(f"<{len(bounds)}q", *bounds)
    index += bytes(len(lengths)) if modes else b""
    stem.with_name(stem.name + ".idx").write_bytes(index)
    return stem


PLAIN = [[[5, 6, 7, END]], [[8, END]], [[9, 10, END]]]


def read(made: Artifact, stem: str) -> list[list[int]]:
    shard = Shard(made.file(f"{stem}.idx").with_suffix(""))
    ids = np.frombuffer(shard.tokens, dtype=shard.dtype)
    cuts = np.cumsum(shard.lengths)[:-1]
    return [part.tolist() for part in np.split(ids, cuts)]


@pytest.mark.parametrize("letter", ["B", "b", "h", "i", "q", "H"])
def test_every_integer_type_of_megatron_becomes_the_same_shard(
    tmp_path: Path, tokenizer: Artifact, run_step: Make, letter: str
) -> None:
    stem = write(tmp_path / "web_text_document", PLAIN, letter)
    made = run_step("corpus/adopt", [tokenizer], shards={"web": [str(stem)]})
    assert read(made, "web") == [[5, 6, 7, END], [8, END], [9, 10, END]]
    mixture = read_mixture(made.path)
    assert (mixture.tokenizer, mixture.end_id) == (tokenizer.digest, END)
    assert mixture.vocabulary_size == tokenizer.facts["pieces"]
    [told] = made.facts["adopted"]
    assert told["dtype"] == np.dtype(letter if letter != "q" else "i8").name
    assert (told["documents"], told["tokens"], told["longest"]) == (3, 9, 4)
    for end in ("bin", "idx"):
        whole = stem.with_name(f"{stem.name}.{end}").read_bytes()
        assert told["sha256"][end] == hashlib.sha256(whole).hexdigest()


def test_each_document_is_called_by_its_file_and_number_with_the_digest_of_its_ids(
    tmp_path: Path, tokenizer: Artifact, run_step: Make
) -> None:
    stem = write(tmp_path / "web_text_document", PLAIN)
    made = run_step("corpus/adopt", [tokenizer], shards={"web": [str(stem)]}, licence="CC0-1.0")
    rows = pq.read_table(made.file("web.documents.parquet")).to_pylist()
    assert rows[1] == {
        "source": "web_text_document", "id": "1", "start": 4, "tokens": 2,
        "record_sha256": hashlib.sha256(struct.pack("<2i", 8, END)).hexdigest(),
    }  # fmt: skip
    assert made.manifest["sources"][0]["licence"] == "CC0-1.0"


def test_documents_of_several_sequences_become_one_and_empty_ones_are_left_out_and_counted(
    tmp_path: Path, tokenizer: Artifact, run_step: Make
) -> None:
    documents: list[list[list[int]]] = [[], [[5], [], [6, END]], [[]], [[7, END]], []]
    stem = write(tmp_path / "split", documents)
    made = run_step("corpus/adopt", [tokenizer], shards={"web": [str(stem)]})
    assert read(made, "web") == [[5, 6, END], [7, END]]
    [told] = made.facts["adopted"]
    assert (told["documents"], told["joined"], told["empty"]) == (2, 1, 3)
    assert "3 empty documents were left out" in made.facts["headline"]
    ids = pq.read_table(made.file("web.documents.parquet"))["id"].to_pylist()
    assert ids == ["1", "3"]  # the numbers they have in the file


def test_several_files_are_one_shard_and_a_pattern_names_them(
    tmp_path: Path, tokenizer: Artifact, run_step: Make
) -> None:
    for number in (1, 0):
        write(tmp_path / f"ja_{number}_text_document", [[[5 + number, END]]])
    write(tmp_path / "v1.0", [[[9, END]]])
    stems = {"ja": [str(tmp_path / "ja_*")], "en": [str(tmp_path / "v1.0.bin")]}
    made = run_step("corpus/adopt", [tokenizer], shards=stems)
    assert read_mixture(made.path).shards["ja"].files == ["ja-00000", "ja-00001"]
    assert read(made, "ja-00000") == [[5, END]]
    assert made.facts["tokens"] == {"ja": 4, "en": 2}
    mixed = run_step("corpus/mixture", [made], phases=[{"name": "a", "weights": {"ja": 1}}])
    assert mixed.facts["weights"] == {"ja": 1.0, "en": 0.0}


@pytest.mark.parametrize(("token", "letter"), [(400, "H"), (70_000, "i"), (-1, "i"), (-3, "q")])
def test_a_token_outside_the_vocabulary_is_named_with_file_and_place(
    tmp_path: Path, tokenizer: Artifact, run_step: Make, token: int, letter: str
) -> None:
    documents = [[[5, END]], [[6], [7, token, END]]]
    stem = write(tmp_path / "web", documents, letter)
    size = tokenizer.facts["pieces"]
    assert size == 400
    words = rf"web\.bin: token 4 \(in document 1\) is {token}, the vocabulary has 400 pieces"
    with pytest.raises(Altered, match=words):
        run_step("corpus/adopt", [tokenizer], shards={"web": [str(stem)]})


def test_shards_that_end_their_documents_otherwise_are_refused_unless_told(
    tmp_path: Path, tokenizer: Artifact, run_step: Make
) -> None:
    stem = str(write(tmp_path / "web", [[[5, 6]], [[7, 6]], [[8, END]]]))
    with pytest.raises(UsageError, match="2 of 3 documents do not end with '</s>' \\(2\\)"):
        run_step("corpus/adopt", [tokenizer], shards={"web": [stem]})
    made = run_step("corpus/adopt", [tokenizer], shards={"web": [stem]}, unended=True)
    assert "2 documents do not end with the end mark" in made.facts["headline"]


def test_a_file_in_two_shards_is_refused(
    tmp_path: Path, tokenizer: Artifact, run_step: Make
) -> None:
    stem = str(write(tmp_path / "web", PLAIN))
    with pytest.raises(UsageError, match="would count twice"):
        run_step("corpus/adopt", [tokenizer], shards={"a": [stem], "b": [f"{stem}.idx"]})


def test_what_is_missing_is_named(tmp_path: Path, tokenizer: Artifact, run_step: Make) -> None:
    with pytest.raises(NotFound, match="no file matches"):
        run_step("corpus/adopt", [tokenizer], shards={"web": [str(tmp_path / "gone")]})
    write(tmp_path / "web", PLAIN).with_name("web.bin").unlink()
    with pytest.raises(NotFound, match=r"web\.bin is missing"):
        run_step("corpus/adopt", [tokenizer], shards={"web": [str(tmp_path / "web")]})
    with pytest.raises(UsageError, match="is an address"):
        run_step("corpus/adopt", [tokenizer], shards={"web": ["s3://bucket/web"]})


@pytest.mark.parametrize(
    ("letter", "modes", "what"),
    [("f", False, "float32"), ("d", False, "float64"), ("H", True, "multimodal")],
)
def test_what_is_no_text_is_refused_by_name(
    tmp_path: Path, letter: str, modes: bool, what: str
) -> None:
    stem = write(tmp_path / "web", PLAIN, letter, modes=modes)
    with pytest.raises(Altered, match=what):
        foreign.open_pair(stem)


def place(number: int, sequences: int = 3) -> dict[str, int]:
    """Where the parts of entry ``number`` lie in the index of PLAIN."""
    head = 34
    return {
        "length": head + 4 * number,
        "offset": head + 4 * sequences + 8 * number,
        "bound": head + 12 * sequences + 8 * number,
    }


@pytest.mark.parametrize(
    ("part", "number", "value", "what"),
    [
        ("length", 1, 3, "sequence 2 has 3 tokens from byte 12 on; the one before .* byte 14"),
        ("length", 1, -2, "sequence 1 has -2 tokens"),
        ("offset", 1, 6, "sequence 1 has 2 tokens from byte 6 on; the one before .* byte 8"),
        ("bound", 0, 1, "document 0 begins at sequence 1"),
        ("bound", 1, 9, "document 1 begins at sequence 9; there are 3"),
        ("bound", 2, 0, "document 2 begins at sequence 0"),
        ("bound", 3, 2, "documents end at sequence 2 of 3"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused_by_its_first_wrong_entry(
    tmp_path: Path, part: str, number: int, value: int, what: str
) -> None:
    stem = write(tmp_path / "web", PLAIN)
    index = bytearray((tmp_path / "web.idx").read_bytes())
    struct.pack_into("<i" if part == "length" else "<q", index, place(number)[part], value)
    (tmp_path / "web.idx").write_bytes(index)
    with pytest.raises(Altered, match=what):
        foreign.check_index(foreign.open_pair(stem))


@given(st.data())
def test_a_cut_or_flipped_index_is_refused_or_gives_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    stem = write(tmp_path_factory.mktemp("foreign") / "web", PLAIN)
    path = stem.with_suffix(".idx")
    whole = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        pair = foreign.open_pair(stem)
        foreign.check_index(pair)
    except Altered:
        return
    # What is left is a bit of the token type that keeps the width, or of where a document ends.
    assert np.dtype(pair.dtype).itemsize == 2
    assert int(pair.bounds[-1]) == 3


@given(st.lists(st.lists(st.lists(st.integers(0, 399), max_size=5), max_size=4), max_size=9))
def test_documents_are_those_that_were_written_however_they_are_cut_into_runs(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[list[int]]]
) -> None:
    folder = tmp_path_factory.mktemp("foreign")
    stem = write(folder / "web", documents, "i")
    former = foreign._BLOCK
    foreign._BLOCK = 3
    try:
        task = foreign.AdoptTask(stem, "web", 400, 8, END, folder / "piece")
        told = foreign.adopt(task)
    finally:
        foreign._BLOCK = former
    full = [ids for document in documents if (ids := list(chain(*document)))]
    assert told["documents"] == len(full)
    assert told["empty"] == len(documents) - len(full)
    assert told["joined"] == sum(len(document) > 1 for document in documents)
    body = np.fromfile(folder / "piece.bin", "<u2").tolist()
    assert body == list(chain(*full))
    assert np.fromfile(folder / "piece.lengths", "<i4").tolist() == [len(ids) for ids in full]


def test_a_plan_without_the_files_names_the_shards_and_with_them_their_tokens(
    tmp_path: Path, tokenizer: Artifact, yoriai_registry: Any
) -> None:
    from yoriai.config import build
    from yoriai_corpus.shards.adopt import Adopt

    keys = {"shards": {"web": [str(tmp_path / "web")]}}
    step = build(Adopt, keys, yoriai_registry)
    assert step.expect([{"made": tokenizer}]) == {
        "shards": ["web"], "vocabulary_size": 400, "bytes_per_token": 2,
    }  # fmt: skip
    before = write(tmp_path / "web", PLAIN)
    assert step.expect([])["tokens_held"] == {"web": 9}
    mark = step.fingerprint()
    write(before, [[[5, END]]])
    assert step.fingerprint() != mark
