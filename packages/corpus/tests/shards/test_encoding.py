"""Encoding: the ids of SentencePiece and of the exported tokenizer, whole files, clear refusals."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, NotFound, UsageError, YoriaiError, files
from yoriai_corpus.shards import encoding


@pytest.fixture(scope="module")
def pieces(tokenizer: Artifact) -> Any:
    return encoding.open_pieces(tokenizer)


@pytest.fixture(scope="module")
def fast(tokenizer: Artifact) -> Any:
    found = tokenizers.Tokenizer.from_file(str(tokenizer.file("tokenizer.json")))
    found.encode_special_tokens = True
    return found


TEXT = st.text(
    st.one_of(
        st.sampled_from("私は本を。 読\n\t  <s></s>▁0a"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)


@given(texts=st.lists(TEXT, max_size=5))
def test_ids_are_those_of_the_exported_tokenizer_with_an_end_mark_each(
    texts: list[str], pieces: Any, fast: Any
) -> None:
    found = encoding.encode(pieces, [text.encode() for text in texts], 2, "<u2")
    expected = [[*fast.encode(text, add_special_tokens=False).ids, 2] for text in texts]
    assert found.ids.tolist() == [id_ for ids in expected for id_ in ids]
    assert found.lengths.tolist() == [len(ids) for ids in expected]
    assert found.unknown == 0


def test_a_text_of_a_million_characters_is_encoded_like_its_lines(pieces: Any) -> None:
    # A newline is a piece of its own, over which no other piece reaches.
    lines = [f"朝早くから{n}\n" for n in range(120_000)]
    whole = encoding.encode(pieces, ["".join(lines).encode()], 2, "<i4").ids
    apart = encoding.encode(pieces, [line.encode() for line in lines], 2, "<i4").ids
    assert np.array_equal(whole[:-1], apart[apart != 2])


@given(
    sizes=st.lists(st.lists(st.integers(1, 40), max_size=6), min_size=1, max_size=4),
    most=st.integers(1, 400_000),
)
def test_stretches_hold_every_row_group_once_and_in_order(
    sizes: list[list[int]], most: int, new_folder: Callable[[], Path]
) -> None:
    folder, paths, expected = new_folder(), [], []
    for number, groups in enumerate(sizes):
        paths.append(folder / f"{number}.parquet")
        with pq.ParquetWriter(paths[-1], schema := pa.schema([("text", pa.string())])) as writer:
            for group, thousands in enumerate(groups):
                text = "".join(map(chr, np.random.default_rng(group).integers(97, 122, 1000)))
                writer.write_table(pa.table({"text": [text] * thousands}, schema=schema))
                expected.append((paths[-1], group))
    found = encoding.cut(paths, most)
    assert [(s.path, g) for s in found for g in range(s.first, s.after)] == expected
    assert all(s.after > s.first for s in found)


# --- refusals -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model without an end mark, but with another control piece."""
    folder = tmp_path_factory.mktemp("endless")
    (folder / "text").write_text("\n".join(f"number {n * 7919}" for n in range(500)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"), model_prefix=str(folder / "m"), vocab_size=60, eos_id=-1,
        control_symbols=["<EOD>"], minloglevel=2,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "m.model"))


def test_a_tokenizer_without_an_end_mark_is_refused_with_the_marks_it_has(endless: Any) -> None:
    with pytest.raises(UsageError, match="has no end mark") as caught:
        encoding.find_end(endless, "")
    assert "<s>, <EOD>" in caught.value.hint


def test_another_control_piece_may_end_documents_but_no_piece_of_text(
    endless: Any, pieces: Any
) -> None:
    assert endless.id_to_piece(encoding.find_end(endless, "<EOD>")) == "<EOD>"
    assert encoding.find_end(pieces, "") == encoding.find_end(pieces, "</s>") == 2
    with pytest.raises(UsageError, match="no piece '<EOD>' to end"):
        encoding.find_end(pieces, "<EOD>")
    with pytest.raises(UsageError, match="'<0x0A>' can stand in a text"):
        encoding.find_end(pieces, "<0x0A>")
    with pytest.raises(UsageError, match="'<unk>' can stand in a text"):
        encoding.find_end(pieces, "<unk>")


def test_ids_are_16_bits_wide_where_all_fit_else_32_and_never_more() -> None:
    assert [encoding.check_width(n) for n in (2**16, 2**16 + 1, 2**31)] == [8, 4, 4]
    with pytest.raises(UsageError, match="2,147,483,649 does not fit"):
        encoding.check_width(2**31 + 1)


def test_what_is_no_sentencepiece_model_is_refused(tmp_path: Path) -> None:
    def artifact(files: dict[str, Any]) -> Artifact:
        return Artifact(tmp_path, {"name": "r/pieces@1", "files": files})

    with pytest.raises(NotFound, match=r"r/pieces@1 has neither tokenizer\.model nor"):
        encoding.open_pieces(artifact({}))
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    facts = {"sha256": files.digest_bytes(b"no model"), "bytes": 8}
    with pytest.raises(YoriaiError, match=r"tokenizer\.model is no SentencePiece model"):
        encoding.open_pieces(artifact({"tokenizer.model": facts}))


def test_a_file_gets_its_name_when_it_is_whole_and_leaves_nothing_otherwise(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    with encoding.whole_file(path) as stream:
        stream.write(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    with pytest.raises(TypeError), encoding.whole_file(path) as stream:
        stream.write("no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["a"]
