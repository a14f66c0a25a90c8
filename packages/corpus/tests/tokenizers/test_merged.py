"""corpus/merged-tokenizer: LLM-jp's recipe, its order, its types, and none of its empty pieces."""

from __future__ import annotations

import bisect
import importlib.util
import inspect
import statistics
import textwrap
from collections.abc import Callable
from pydoc_data.topics import topics
from typing import Any

import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from yoriai import Artifact, NotFound, UsageError, YoriaiError
from yoriai.config import build
from yoriai.registry import Registry
from yoriai_corpus.tokenizers import splitting
from yoriai_corpus.tokenizers.merged import SPECIALS, MergedTokenizer
from yoriai_corpus.tokenizers.pieces import (
    BYTE,
    BYTES,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    read_model,
)

Make = Callable[..., Artifact]
PARTS = [
    {"language": "ja", "size": 363, "max_piece_length": 4, "presplit": "scripts", "strip": "all"},
    {"language": "en", "size": 500},
    {"language": "code", "size": 450},
]


WHO = (
    "私たちは",
    "東京大学の先生が",
    "友だちは",
    "研究所の人々が",
    "コンピュータの会社は",
    "新しい駅の店で",
)
WHAT = (
    "日本語の文章をゆっくり読んでいる。",
    "言語モデルの学習を始めました。",
    "カメラとデータベースを買った。",
    "夕方まで待つつもりだと言った。",
    "自然言語処理について説明します。",
    "それはとても静かなところです。",
)


@pytest.fixture(scope="module")
def texts(make_corpus: Make) -> Artifact:
    japanese = ["\n".join(who + what + f"{n}回" for what in WHAT) for n, who in enumerate(WHO * 4)]
    english = [topics[name] for name in ("for", "if", "class", "import", "with", "lambda")]
    code = [inspect.getsource(module) for module in (textwrap, bisect, statistics)]
    rows = [
        {"id": f"{language}/{number}", "text": text, "lang": language}
        for language, found in (("ja", japanese), ("en", english), ("code", code))
        for number, text in enumerate(found)
    ]
    return make_corpus(rows, heldout=0.1)


@pytest.fixture(scope="module")
def merged(texts: Artifact, run_step: Make) -> Artifact:
    return run_step("corpus/merged-tokenizer", [texts], name="pieces", parts=PARTS)


@pytest.fixture(scope="module")
def proto(merged: Artifact) -> Any:
    return read_model(merged.file("tokenizer.model"))


def test_the_defaults_are_those_of_llm_jp_v2_1(yoriai_registry: Registry) -> None:
    step = build(MergedTokenizer, {}, yoriai_registry)
    found = [(part.language, part.size, part.max_piece_length, part.strip) for part in step.parts]
    assert found == [
        ("ja", 30_000, 8, "all"),
        ("en", 20_000, 16, "symbols"),
        ("code", 10_000, 16, "symbols"),
    ]
    assert (step.epochs, step.space_runs, step.space_score) == (2, 24, -1.0)
    assert len(step.specials) == 8


def test_the_first_289_pieces_are_those_published_with_their_types_and_scores(proto: Any) -> None:
    """models/ver2.1/specialTokens.vocab, then the bytes; 289 in howToCreateModel_ver2.md."""
    first = [(p.piece, p.type, p.score) for p in proto.pieces[:289]]
    specials = [(name, CONTROL, 0.0) for name in SPECIALS]
    specials[0] = ("<unk>", UNKNOWN, 0.0)
    runs = [("▁" * length, NORMAL, -1.0) for length in range(24, 0, -1)]
    data = [(name, BYTE, 0.0) for name in BYTES]
    assert first == [*specials, *runs, ("\n", USER_DEFINED, 0.0), *data]
    assert {p.type for p in proto.pieces[289:]} == {NORMAL}


def test_pieces_are_distinct_and_never_empty_and_come_in_the_order_of_the_parts(
    merged: Artifact, proto: Any
) -> None:
    names = [p.piece for p in proto.pieces]
    assert len(set(names)) == len(names) == merged.facts["pieces"]
    assert "" not in names
    counts = [row["added"] for row in merged.facts["parts"]]
    assert 289 + sum(counts) == len(names)
    japanese = names[289 : 289 + counts[0]]
    assert not any(name.startswith("▁") for name in japanese)
    assert max(map(len, japanese)) <= 4
    assert any(name.startswith("▁") for name in names[289 + counts[0] :])
    assert {"は", "。"} <= set(japanese)


def test_no_piece_spans_a_symbol_or_two_scripts_of_japanese(proto: Any) -> None:
    for piece in proto.pieces[289:]:
        bare = piece.piece.lstrip("▁")
        if len(bare) > 1:
            assert splitting.part(bare, scripts=False, symbols=True) == bare
            assert splitting.part(bare, scripts=True, symbols=False) == bare


def test_sentencepiece_and_hugging_face_agree_and_text_comes_back(merged: Artifact) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(merged.file("tokenizer.model")))
    fast = tokenizers.Tokenizer.from_file(str(merged.file("tokenizer.json")))
    fast.encode_special_tokens = True
    parts = st.sampled_from(
        ["<s>", "<EOD>", "\n", "  ", " " * 30, "私は", "def f(", "\0", "<0x41>", "é"]
    )

    @given(text=st.text() | st.lists(parts, max_size=10).map("".join))
    def same(text: str) -> None:
        ids = model.encode(text)
        assert fast.encode(text, add_special_tokens=False).ids == ids
        assert model.decode(ids) == fast.decode(ids) == text.replace("▁", " ")

    same()
    assert merged.facts["documents_that_differ"] == 0
    assert model.encode("a" + " " * 24 + "\n", out_type=str)[1:] == ["▁" * 24, "\n"]


def test_scores_are_estimated_on_text_that_nobody_cut(merged: Artifact, proto: Any) -> None:
    gains = [row["log_likelihood_per_character"] for row in merged.facts["estimation"]]
    assert len(gains) == 2
    assert gains[1] > gains[0]
    normal = list(proto.pieces[289:])
    assert all(-25 <= p.score < 0 and (p.score * 64).is_integer() for p in normal)
    assert len({p.score for p in normal}) > 50


def test_the_result_is_the_same_with_one_worker_and_two(
    texts: Artifact, run_step: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoriai_corpus.tokenizers.merged.CHUNK_BYTES", 5000)
    digests = set()
    for workers in ("1", "2"):
        monkeypatch.setenv("YORIAI_WORKERS", workers)
        made = run_step("corpus/merged-tokenizer", [texts], name="pieces", parts=PARTS)
        digests.add(made.digest)
    assert len(digests) == 1


def test_the_runs_of_spaces_can_be_estimated_too(texts: Artifact, run_step: Make) -> None:
    keys: dict[str, Any] = {"parts": PARTS, "space_score": None, "space_runs": 4, "epochs": 3}
    made = run_step("corpus/merged-tokenizer", [texts], weigh="lines", **keys)
    model = read_model(made.file("tokenizer.model"))
    scores = {p.piece: p.score for p in model.pieces}
    assert scores["▁"] > scores["▁▁▁▁"] > scores["▁▁▁"]  # code is indented by four
    assert len(made.facts["estimation"]) == 3


def test_transformers_loads_it_with_its_special_tokens(merged: Artifact) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    loaded = transformers.AutoTokenizer.from_pretrained(merged.path)
    names = ("unk", "bos", "eos", "mask", "pad", "cls", "sep")
    assert [getattr(loaded, f"{name}_token_id") for name in names] == list(range(7))
    assert "<EOD>" in loaded.all_special_tokens
    chat = [{"role": "user", "content": "こんにちは"}]
    text = loaded.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "\n\n### 指示:\nこんにちは\n\n### 応答:\n"


# --- bad input ----------------------------------------------------------------------------


def test_a_language_that_the_corpus_lacks_is_named(make_corpus: Make, run_step: Make) -> None:
    corpus = make_corpus([{"text": "only English here", "lang": "en"}])
    with pytest.raises(UsageError, match="no text in ja, code; it has en"):
        run_step("corpus/merged-tokenizer", [corpus])


def test_a_part_that_is_too_large_says_which_and_what_would_do(
    texts: Artifact, run_step: Make
) -> None:
    parts = [PARTS[0], {"language": "en", "size": 20_000}]
    with pytest.raises(YoriaiError, match=r"the part en: .*could not make 20000") as caught:
        run_step("corpus/merged-tokenizer", [texts], parts=parts)
    assert "parts[1].size=" in caught.value.hint


@pytest.mark.parametrize(
    "keys",
    [
        {"parts": [PARTS[1], PARTS[1]]},
        {"parts": []},
        {"specials": ["<s>", "</s>"]},
        {"specials": ["<unk>", "<s>", "</s>", "a\nb"]},
        {"parts": [{"language": "ja", "size": 400, "presplt": "none"}]},
    ],
)
def test_parts_and_specials_that_make_no_sense_are_refused(
    keys: dict[str, Any], yoriai_registry: Registry
) -> None:
    with pytest.raises(ValidationError):
        build(MergedTokenizer, keys, yoriai_registry)


# --- cutting ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "scripts", "both"),
    [
        ("私は東京へ行く", "私 は 東京 へ 行 く", "私 は 東京 へ 行 く"),
        ("らーめんとコーヒー", "らーめんと コーヒー", "らーめんと コーヒー"),
        ("x=10; // café", "x =10; // caf é", "x = 1 0 ; / / caf é"),
        ("a  b\nc", "a  b\nc", "a  b\nc"),
        ("", "", ""),
        ("、", "、", "、"),
    ],
)
def test_text_is_cut_where_the_script_changes_and_around_symbols(
    text: str, scripts: str, both: str
) -> None:
    assert splitting.part(text, scripts=True, symbols=False) == scripts
    assert splitting.part(text, scripts=True, symbols=True) == both


@given(text=st.text(), scripts=st.booleans(), symbols=st.booleans())
def test_cutting_adds_single_spaces_and_nothing_else(
    text: str, scripts: bool, symbols: bool
) -> None:
    cut = splitting.part(text, scripts=scripts, symbols=symbols)
    assert cut.replace(" ", "") == text.replace(" ", "")
    assert splitting.part(cut, scripts=scripts, symbols=symbols) == cut


def test_marks_of_spaces_are_taken_off_as_published() -> None:
    pieces = ["▁", "▁▁", "▁私", "私", "▁。", "▁the", "▁1", "1", "▁a.", "▁\t"]
    japanese = splitting.strip(pieces, "all")
    assert japanese == ["私", "。", "the", "1", "a.", "\t"]
    others = splitting.strip(pieces, "symbols")
    assert others == ["▁", "▁▁", "▁私", "私", "。", "▁the", "1", "▁a.", "▁\t"]
    assert splitting.strip(pieces, "none") == pieces


@pytest.mark.skipif(importlib.util.find_spec("fugashi") is not None, reason="fugashi is installed")
def test_morphemes_without_mecab_say_what_to_install() -> None:
    with pytest.raises(NotFound, match="needs MeCab") as caught:
        splitting.morphemes()
    assert "yoriai-corpus[words]" in caught.value.hint


def test_morphemes_are_words_of_mecab() -> None:
    pytest.importorskip("fugashi", reason="fugashi is not installed")
    words = splitting.morphemes()
    assert words("私は東京へ行く。雨だ。") == "私 は 東京 へ 行く 。\n雨 だ 。"


def test_the_end_of_a_document_is_told_apart_from_the_end_of_a_sequence(merged: Artifact) -> None:
    # models/ver2.1/specialTokens.vocab of llm-jp-tokenizer: </s> is 2, <EOD> is 7.
    marks = merged.facts["marks"]
    assert marks == {"unk": 0, "bos": 1, "eos": 2, "pad": 4, "eod": 7}
