"""tokenizers/pieces.py and surgery.py: ids keep their meaning, and both libraries agree after."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, NotFound, UsageError, YoriaiError
from yoriai.config import build
from yoriai.registry import Registry
from yoriai_corpus.tokenizers import pieces as vocabularies
from yoriai_corpus.tokenizers.pieces import NORMAL, add, drop, merge, read_model

Make = Callable[..., Artifact]


@pytest.fixture(scope="module")
def proto(tokenizer: Artifact) -> Any:
    return read_model(tokenizer.file("tokenizer.model"))


@pytest.fixture(scope="module")
def bpe(three_languages: Artifact, run_step: Make) -> Artifact:
    return run_step("corpus/tokenizer", [three_languages], name="bpe", kind="bpe", size=420)


def load(proto: Any) -> Any:
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def pieces_of(proto: Any) -> list[str]:
    return list(vocabularies.texts(proto))


def test_added_pieces_go_to_the_end_and_are_used(proto: Any) -> None:
    made, ids = add(proto, ["静かな部屋で本", "by the sea"])
    assert pieces_of(made) == [*pieces_of(proto), "静かな部屋で本", "by▁the▁sea"]
    assert ids == list(range(len(proto.pieces)))
    model = load(made)
    assert model.encode("静かな部屋で本", out_type=str) == ["静かな部屋で本"]
    assert model.encode("by the sea", out_type=str) == ["by▁the▁sea"]


def test_pieces_that_overlap_are_cut_one_way_only_where_each_has_its_own_score(proto: Any) -> None:
    # Found in llama.cpp: 18 of 213 texts had other ids, all of them such ties.
    letters = sorted(p.piece for p in proto.pieces if p.type == NORMAL and len(p.piece) == 1)[-3:]
    one, two = "".join(letters[:2]) * 2, letters[1] + letters[2] + letters[1]
    text = one + letters[2] + letters[1]  # one and the rest, or letters and two

    def sums(made: Any) -> tuple[float, float]:
        score = {p.piece: p.score for p in made.pieces}
        rest = score[letters[2]] + score[letters[1]]
        before = score[letters[0]] + score[letters[1]] + score[letters[0]]
        return score[one] + rest, before + score[two]

    assert text.startswith(one)
    assert text.endswith(two)
    tied = sums(add(proto, [one, two])[0])
    assert tied[0] == tied[1]
    made, _ = add(proto, [one, two], scores={one: -9.0, two: -7.5})
    assert len(set(sums(made))) == 2
    # A share so small that spelling is better counts as none: a piece is always preferred to it.
    low, _ = add(proto, [one], scores={one: -1e6})
    assert low.pieces[-1].score == add(proto, [one])[0].pieces[-1].score


def test_dropped_pieces_are_gone_and_the_others_are_mapped(proto: Any) -> None:
    long = [p.piece for p in proto.pieces if p.type == NORMAL and len(p.piece) > 2][:5]
    made, ids = drop(proto, long)
    assert [i for i, new in enumerate(ids) if new is None] == [
        pieces_of(proto).index(text) for text in sorted(long, key=pieces_of(proto).index)
    ]
    for old, new in enumerate(ids):
        if new is not None:
            assert made.pieces[new] == proto.pieces[old]
    assert load(made).decode(load(made).encode("雨の日に本")) == "雨の日に本"


def test_adding_what_was_dropped_gives_it_back(proto: Any) -> None:
    text = next(p.piece for p in proto.pieces if p.type == NORMAL and len(p.piece) > 3)
    made, _ = add(drop(proto, [text])[0], [text])
    assert sorted(pieces_of(made)) == sorted(pieces_of(proto))


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("", "is empty"),
        ("の", "exists already"),
        ("の\0", "NUL"),
        ("鬱の", "'鬱', which is no piece"),
    ],
)
def test_a_piece_that_cannot_be_added_is_refused_by_name(proto: Any, new: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        add(proto, [new])


@pytest.mark.parametrize(
    ("old", "words"),
    [("鬱", "there is none"), ("<s>", "special or byte"), ("<0x0A>", "special or byte"),
     ("の", "other pieces hold it")],
)  # fmt: skip
def test_a_piece_that_cannot_be_dropped_is_refused_by_name(
    proto: Any, old: str, words: str
) -> None:
    if old == "の":
        proto, _ = add(proto, ["のの"])
    with pytest.raises(UsageError, match=words):
        drop(proto, [old])


def test_a_bpe_model_takes_only_pieces_that_merges_can_make(bpe: Artifact) -> None:
    proto = read_model(bpe.file("tokenizer.model"))
    with pytest.raises(UsageError, match="not the sum of two pieces"):
        add(proto, ["zqzqzqzq"])
    known = [p.piece for p in proto.pieces if p.type == NORMAL and len(p.piece) > 1]
    new = next(a + b for a in known for b in known if a + b not in known)
    made, _ = add(proto, [new])
    assert made.pieces[-1].score == min(p.score for p in made.pieces)


def test_merging_two_keeps_the_first_and_appends_what_is_new(
    proto: Any, make_corpus: Make, run_step: Make
) -> None:
    other = run_step("corpus/tokenizer", [make_corpus(["ёлка и снег, " * 5] * 3)], size=272)
    second = read_model(other.file("tokenizer.model"))
    made, first_ids, second_ids = merge(proto, second)
    assert pieces_of(made)[: len(proto.pieces)] == pieces_of(proto)
    assert len(set(pieces_of(made))) == len(made.pieces)
    assert first_ids == list(range(len(proto.pieces)))
    for old, new in enumerate(second_ids):
        assert new is not None
        assert made.pieces[new].piece == second.pieces[old].piece
    assert load(made).encode("ёлка", out_type=str) != load(proto).encode("ёлка", out_type=str)


def test_models_of_two_kinds_are_not_merged(proto: Any, bpe: Artifact) -> None:
    with pytest.raises(UsageError, match="cannot be merged"):
        merge(proto, read_model(bpe.file("tokenizer.model")))


@pytest.mark.parametrize(
    "symbols", [["aa"], ["<a>", ">b"], ["<a>", "a"], ["a b"], ["\n", "\n\n"], [""]]
)
def test_symbols_that_could_be_cut_in_two_ways_are_refused(symbols: list[str]) -> None:
    with pytest.raises(UsageError):
        vocabularies.check_symbols(symbols)


@given(
    symbols=st.lists(st.text("ab<", min_size=1, max_size=3), min_size=1, max_size=3, unique=True)
)
def test_symbols_that_pass_cannot_overlap_in_any_text(symbols: list[str]) -> None:
    """The oracle places every two of them over each other, at every distance."""

    def clash(a: str, b: str) -> bool:
        for shift in range(-len(b) + 1, len(a)):
            if (a == b and shift == 0) or not (shift < len(a) and shift + len(b) > 0):
                continue
            common = [(i, i - shift) for i in range(len(a)) if 0 <= i - shift < len(b)]
            if common and all(a[i] == b[j] for i, j in common):
                return True
        return False

    expected = any(clash(a, b) for a in symbols for b in symbols)
    if expected:
        with pytest.raises(UsageError):
            vocabularies.check_symbols(symbols)
    else:
        vocabularies.check_symbols(symbols)


def test_runs_of_spaces_take_the_place_of_the_lowest_pieces(proto: Any, bpe: Artifact) -> None:
    for model in (proto, read_model(bpe.file("tokenizer.model"))):
        made = vocabularies.with_space_runs(model, 8)
        assert len(made.pieces) == len(model.pieces)
        for length in range(1, 9):
            text = "a" + " " * length + "\n"
            assert load(made).encode(text, out_type=str)[-2:] == ["▁" * length, "\n"]


@pytest.mark.parametrize("data", [b"", b"no model", b"\x0a\x05hello", None])
def test_a_file_that_is_no_model_is_a_clear_error(data: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(
        YoriaiError if data is not None else NotFound, match="no SentencePiece model"
    ):
        read_model(path)


# --- the step -----------------------------------------------------------------------------


def test_the_step_makes_a_tokenizer_whose_libraries_agree_and_a_map_of_ids(
    tokenizer: Artifact, run_step: Make
) -> None:
    long = next(
        p.piece for p in read_model(tokenizer.file("tokenizer.model")).pieces
        if p.type == NORMAL and len(p.piece) > 3
    )  # fmt: skip
    made = run_step(
        "corpus/tokenizer-surgery", [tokenizer], drop=[long], add=["東京で本を"], symbols=["⟪go⟫"]
    )
    assert (made.facts["added"], made.facts["dropped"]) == (2, 1)
    model = sentencepiece.SentencePieceProcessor(model_file=str(made.file("tokenizer.model")))
    fast = tokenizers.Tokenizer.from_file(str(made.file("tokenizer.json")))
    fast.encode_special_tokens = True
    for text in ["東京で本を読む", "a⟪go⟫b", "⟪go", " ⟪⟪go⟫⟫<s>", long.replace("▁", " ")]:
        ids = model.encode(text)
        assert fast.encode(text, add_special_tokens=False).ids == ids
        assert model.decode(ids) == fast.decode(ids) == text
    assert "⟪go⟫" in model.encode("a⟪go⟫b", out_type=str)
    (row,) = json.loads(made.file("ids.json").read_bytes())["inputs"]
    old = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer.file("tokenizer.model")))
    assert len(row["ids"]) == row["pieces"] == 400
    for before, after in enumerate(row["ids"]):
        name = old.id_to_piece(before)
        assert (after is None) == (name == long)
        assert after is None or model.id_to_piece(after) == name


def test_another_package_can_operate_on_folders_through_the_registry(
    tokenizer: Artifact, yoriai_registry: Registry, tmp_path: Path
) -> None:
    target = yoriai_registry.load(yoriai_registry.get("steps", "corpus/tokenizer-surgery"))
    keys = {"add": ["東京で本を", "の"], "skip_known": True}
    facts = build(target, keys, yoriai_registry).operate([tokenizer.path], tmp_path / "new")
    assert facts["added"] == 1
    config = json.loads((tmp_path / "new/tokenizer_config.json").read_text())
    assert config["model_max_length"] == 64
    template = tokenizer.file("chat_template.jinja").read_bytes()
    assert (tmp_path / "new/chat_template.jinja").read_bytes() == template


def test_surgery_without_a_change_or_with_three_tokenizers_is_refused(
    tokenizer: Artifact, run_step: Make
) -> None:
    with pytest.raises(UsageError, match="nothing to change"):
        run_step("corpus/tokenizer-surgery", [tokenizer])
    with pytest.raises(UsageError, match="one tokenizer or two"):
        run_step("corpus/tokenizer-surgery", [tokenizer] * 3)
