"""corpus/tokenizer: equal ids in both libraries, nothing lost, clear ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, YoriaiError
from yoriai_corpus.tokenizers.training import compare, thin, train

Make = Callable[..., Artifact]


@pytest.fixture(scope="module")
def pieces(tokenizer: Artifact) -> Any:
    return sentencepiece.SentencePieceProcessor(model_file=str(tokenizer.file("tokenizer.model")))


@pytest.fixture(scope="module")
def fast(tokenizer: Artifact) -> Any:
    loaded = tokenizers.Tokenizer.from_file(str(tokenizer.file("tokenizer.json")))
    loaded.encode_special_tokens = True
    return loaded


fragments = st.sampled_from(["<s>", "</s>", "<0x41>", "\n", "  ", "私は", "def f(", "\0", "▁", "é"])


@given(text=st.text() | st.lists(fragments, max_size=8).map("".join))
def test_any_text_gets_equal_ids_and_comes_back(pieces: Any, fast: Any, text: str) -> None:
    ids = pieces.encode(text)
    assert fast.encode(text, add_special_tokens=False).ids == ids
    assert pieces.decode(ids) == fast.decode(ids) == text.replace("▁", " ")


def test_held_out_documents_get_equal_ids_and_come_back(
    pieces: Any, fast: Any, three_languages: Artifact, tokenizer: Artifact, rows_of: Any
) -> None:
    rows = rows_of(three_languages, "heldout")
    assert tokenizer.facts["documents_compared"] == len(rows) > 0
    used: dict[str, list[int]] = {}
    for row in rows:
        ids = pieces.encode(row["text"])
        assert fast.encode(row["text"], add_special_tokens=False).ids == ids
        assert pieces.decode(ids) == row["text"]
        sums = used.setdefault(row["language"], [0, 0])
        sums[0] += len(row["text"].encode())
        sums[1] += len(ids)
    expected = {name: pytest.approx(a / b, abs=0.001) for name, (a, b) in used.items()}
    assert tokenizer.facts["bytes_per_token"] == expected


def test_the_size_is_the_one_asked_for_and_the_context_is_announced(
    pieces: Any, tokenizer: Artifact
) -> None:
    assert pieces.get_piece_size() == tokenizer.facts["pieces"] == 400
    config = json.loads(tokenizer.file("tokenizer_config.json").read_text())
    assert config["model_max_length"] == 64
    assert [pieces.unk_id(), pieces.bos_id(), pieces.eos_id(), pieces.pad_id()] == [0, 1, 2, 3]


def test_the_same_corpus_gives_the_same_bytes(
    three_languages: Artifact, tokenizer: Artifact, run_step: Make
) -> None:
    again = run_step("corpus/tokenizer", [three_languages], name="pieces", size=400, context=64)
    assert again.path != tokenizer.path
    assert again.digest == tokenizer.digest
    assert b"/" + again.path.parent.name.encode() not in again.file("tokenizer.model").read_bytes()


def test_an_exported_tokenizer_that_differs_is_refused(
    tokenizer: Artifact, three_languages: Artifact, tmp_path: Path
) -> None:
    value = json.loads(tokenizer.file("tokenizer.json").read_text())
    value["model"]["vocab"] = [
        [piece, -50.0 if len(piece) > 1 else score] for piece, score in value["model"]["vocab"]
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps(value))
    config = tokenizer.file("tokenizer_config.json").read_bytes()
    (tmp_path / "tokenizer_config.json").write_bytes(config)
    with pytest.raises(YoriaiError, match="differs on document"):
        compare(tokenizer.file("tokenizer.model"), tmp_path, three_languages.files_under("heldout"))


def test_more_pieces_than_the_corpus_gives_is_an_error_that_names_the_most(
    make_corpus: Make, run_step: Make
) -> None:
    corpus = make_corpus(["hello hello world"])
    with pytest.raises(YoriaiError, match="could not make 6000 pieces") as caught:
        run_step("corpus/tokenizer", [corpus])
    most = int(caught.value.hint.partition("size=")[2].partition(",")[0])
    assert 260 < most < 300


def test_fewer_pieces_than_frequent_characters_is_an_error_that_says_more_are_needed(
    make_corpus: Make, run_step: Make
) -> None:
    corpus = make_corpus(["".join(chr(0x4E00 + n) for n in range(800))])
    with pytest.raises(YoriaiError, match="could not make 300 pieces") as caught:
        run_step("corpus/tokenizer", [corpus], size=300)
    least = int(caught.value.hint.partition("at least ")[2].partition(",")[0])
    assert 800 < least < 1200
    assert run_step("corpus/tokenizer", [corpus], size=least).facts["pieces"] == least


def test_a_corpus_of_controls_only_is_a_clear_error(make_corpus: Make, run_step: Make) -> None:
    with pytest.raises(YoriaiError, match=r"no document is left to train on: .*no text 1"):
        run_step("corpus/tokenizer", [make_corpus(["\0\0"])])


def test_one_japanese_document_without_a_space_and_nothing_held_out_is_enough(
    make_corpus: Make, run_step: Make
) -> None:
    text = "".join(chr(0x3041 + n) * (n % 5 + 1) for n in range(80)) * 3
    corpus = make_corpus([text])
    with pytest.raises(YoriaiError) as caught:
        run_step("corpus/tokenizer", [corpus], size=6000)
    most = int(caught.value.hint.partition("size=")[2].partition(",")[0])
    made = run_step("corpus/tokenizer", [corpus], size=most)
    assert made.facts["documents_compared"] == 1
    assert made.facts["bytes_per_token"] == {}
    assert "none is held out" in made.facts["headline"][0]


def test_a_comma_in_the_path_parts_no_files(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    (folder / "text").write_text("the quick brown fox\njumps over the lazy dog\n" * 20)
    assert train(folder / "text", folder / "m.model", 289, 1).is_file()


def test_at_most_the_given_megabytes_of_a_language_are_looked_at(
    make_corpus: Make, run_step: Make
) -> None:
    rows = [
        {"text": topics["for"] * 5, "lang": "en"},
        {"text": "短い日本語の文章\n" * 9, "lang": "ja"},
    ]
    made = run_step("corpus/tokenizer", [make_corpus(rows)], size=380, megabytes_per_language=0.005)
    japanese = len("短い日本語の文章".encode()) * 9
    assert 5000 <= made.facts["sample_bytes"] - japanese < 5100


@pytest.mark.parametrize(
    "keys",
    [
        {"kind": "bpe"},
        {"kind": "bpe", "symbols": ["<|user|>"], "space_runs": 8, "split_digits": False},
        {"symbols": ["<|user|>", "⇒go"], "space_runs": 24},
        {"split_digits": False, "split_by_whitespace": False, "split_by_script": False},
        {"max_piece_length": 3, "character_coverage": 1.0, "size": 400},
    ],
)
def test_every_kind_of_model_has_equal_ids_and_comes_back(
    keys: dict[str, Any], three_languages: Artifact, run_step: Make
) -> None:
    made = run_step("corpus/tokenizer", [three_languages], **{"size": 430, **keys})
    assert made.facts["lossless"]
    model = sentencepiece.SentencePieceProcessor(model_file=str(made.file("tokenizer.model")))
    fast = tokenizers.Tokenizer.from_file(str(made.file("tokenizer.json")))
    fast.encode_special_tokens = True
    symbols = keys.get("symbols", [])
    more = [
        "<|user|>",
        "<|",
        "|>",
        "⇒",
        "go",
        "---",
        "aaaa",
        " " * 9,
        "</s>",
        "東京",
        "\U0001f600",
        "e\u0301",
    ]

    @given(text=st.text() | st.lists(fragments | st.sampled_from(more), max_size=12).map("".join))
    def same(text: str) -> None:
        ids = model.encode(text)
        assert fast.encode(text, add_special_tokens=False).ids == ids
        assert model.decode(ids) == fast.decode(ids) == text.replace("▁", " ")

    same()
    for symbol in symbols:
        assert symbol in model.encode(f"東{symbol}京", out_type=str)
        assert model.encode(f"<{symbol}{symbol} ", out_type=str).count(symbol) == 2
    for length in range(1, keys.get("space_runs", 1) + 1):
        assert model.encode("a" + " " * length + "\n", out_type=str)[-2] == "▁" * length
    longest = keys.get("max_piece_length", 16)
    names = [model.id_to_piece(i) for i in range(len(model)) if not model.is_byte(i)]
    assert all(
        len(name) <= longest for name in names[4:] if name not in symbols and name.strip("▁")
    )


def test_a_model_without_bytes_agrees_and_says_that_it_loses(
    three_languages: Artifact, run_step: Make
) -> None:
    for kind in ("unigram", "bpe"):
        keys = {"kind": kind, "byte_fallback": False, "size": 150}
        made = run_step("corpus/tokenizer", [three_languages], **keys)
        assert not made.facts["lossless"]
        model = sentencepiece.SentencePieceProcessor(model_file=str(made.file("tokenizer.model")))
        fast = tokenizers.Tokenizer.from_file(str(made.file("tokenizer.json")))
        fast.encode_special_tokens = True
        for text in ["鬱鬱 a", "the 鬱é\n鬱", "  <s>", "def f(ω)"]:
            assert fast.encode(text, add_special_tokens=False).ids == model.encode(text)


def test_another_normalisation_is_exported_and_its_differences_are_counted(
    make_corpus: Make, run_step: Make
) -> None:
    texts = [topics["for"], topics["if"], "Ａ\u0301 " * 20]
    keys = {"normalisation": "nmt_nfkc", "size": 400, "character_coverage": 1.0}
    made = run_step("corpus/tokenizer", [make_corpus(texts)], **keys)
    assert made.facts["documents_compared"] == 3
    assert made.facts["documents_that_differ"] == 1
    assert "cannot mirror nmt_nfkc" in made.facts["headline"][1]


def test_the_sample_can_be_named_again_and_depends_on_the_seed_only(
    make_corpus: Make, run_step: Make
) -> None:
    rows = [{"id": str(n), "text": f"{n} " + topics["for"], "lang": "en"} for n in range(12)]
    keys = {"size": 380, "megabytes_per_language": 0.01}
    one = run_step("corpus/tokenizer", [make_corpus(rows)], **keys)
    two = run_step("corpus/tokenizer", [make_corpus(rows)], **keys)
    other = run_step("corpus/tokenizer", [make_corpus(rows)], seed=1, **keys)
    assert one.facts["sample"] == two.facts["sample"]
    assert one.facts["sample"]["documents_sha256"] != other.facts["sample"]["documents_sha256"]
    assert one.facts["sample"]["groups"]["en"]["bytes"] == 10_000
    assert (one.facts["kind"], one.facts["threads"]) == ("unigram", 2)


def test_a_larger_sample_holds_the_smaller_one(make_corpus: Make) -> None:
    from yoriai_corpus.tokenizers.text_sample import draw

    corpus = make_corpus([{"id": str(n), "text": "x" * 1000, "lang": "en"} for n in range(30)])
    chosen = [set(draw(corpus, megabytes, seed=3).taken) for megabytes in (0.004, 0.009, 1)]
    assert [len(found) for found in chosen] == [4, 9, 30]
    assert chosen[0] < chosen[1] < chosen[2]


def test_no_more_lines_than_asked_for_are_read_evenly_spaced(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("".join(f"{n}\n" for n in range(10)))
    assert thin(path, 10, 4) == (4, 4)
    assert path.read_text().split() == ["0", "2", "5", "7"]


def test_symbols_that_overlap_are_refused_before_work_starts(run_step: Make) -> None:
    with pytest.raises(ValueError, match="can overlap"):
        run_step("corpus/tokenizer", [], symbols=["\n\n"])


@pytest.mark.skipif("YORIAI_DATA" not in os.environ, reason="YORIAI_DATA is not set")
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_real_documents_get_equal_ids(kind: str, run_step: Make) -> None:
    folder = Path(os.environ["YORIAI_DATA"]) / "text"
    paths = [str(folder / f"{name}.jsonl.zst") for name in ("ja", "en", "code")]
    source = {"use": "corpus/jsonl", "paths": paths, "name": "text"}
    plain = {"dedup": {"exact": False, "near": None}, "heldout": 0.02}
    corpus = run_step("corpus/build", sources=[source], **plain)
    keys = {"kind": kind, "size": 3000, "megabytes_per_language": 0.3}
    made = run_step("corpus/tokenizer", [corpus], **keys)
    assert made.facts["documents_compared"] > 200
    assert made.facts["documents_that_differ"] == 0


def test_facts_give_the_ids_of_the_marks_and_fertility_by_language_and_source(
    tokenizer: Artifact, three_languages: Artifact, rows_of: Any, pieces: Any
) -> None:
    assert tokenizer.facts["marks"] == {"unk": 0, "bos": 1, "eos": 2, "pad": 3}
    assert [pieces.id_to_piece(i) for i in range(4)] == ["<unk>", "<s>", "</s>", "<pad>"]
    rows = {(r["language"], r["source"]): r for r in tokenizer.facts["fertility"]}
    assert set(rows) == {(language, "mine") for language in ("code", "en", "ja")}
    texts = [r["text"] for r in rows_of(three_languages, "heldout") if r["language"] == "ja"]
    tokens = sum(len(pieces.encode(text)) for text in texts)
    row = rows["ja", "mine"]
    assert (row["documents"], row["tokens"]) == (len(texts), tokens)
    assert row["bytes_per_token"] == pytest.approx(
        sum(len(text.encode()) for text in texts) / tokens, abs=0.001
    )
    assert row["characters_per_token"] == pytest.approx(sum(map(len, texts)) / tokens, abs=0.001)


def test_the_page_of_a_run_shows_kind_size_marks_and_fertility_with_a_figure(
    tokenizer: Artifact,
) -> None:
    from yoriai_corpus.account.sections import describe

    [section] = describe(tokenizer)
    about, fertility = section.tables
    told = dict(about.rows)
    assert (told["kind"], told["pieces"]) == ("unigram", 400)
    assert told["ids of the marks"] == "unk 0, bos 1, eos 2, pad 3"
    assert [row[:2] for row in fertility.rows] == [(n, "mine") for n in ("code", "en", "ja")]
    [figure] = section.figures
    assert dict(figure.series["held out"]) == tokenizer.facts["bytes_per_token"]
