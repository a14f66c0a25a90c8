"""tokenizer compare: the numbers are those of a count by hand, for every format of tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from click.testing import CliRunner

from yoriai import Altered, Artifact, Document, NotFound, UsageError, YoriaiError
from yoriai.cli import cli
from yoriai_corpus.tokenizers import compare as comparing
from yoriai_corpus.tokenizers.compare import open_tokenizer


@pytest.fixture
def byte_level(tmp_path: Path) -> Path:
    """A byte-level BPE tokenizer.json with one merge of each kind."""
    model = tokenizers.models.BPE
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    ga = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str("が")[0][0]
    vocabulary = {letter: index for index, letter in enumerate(sorted(letters))}
    vocabulary |= {"Ġt": 256, ga[:2]: 257, ga: 258}
    merges = [("Ġ", "t"), (ga[0], ga[1]), (ga[:2], ga[2])]
    tokenizer = tokenizers.Tokenizer(model(vocabulary, merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def run(*words: str) -> Any:
    result = CliRunner().invoke(cli, ["tokenizer", "compare", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_counts_are_those_of_sentencepiece_by_language_and_source(
    tokenizer: Artifact, three_languages: Artifact, rows_of: Callable[..., Any]
) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer.file("tokenizer.model")))
    result = run(str(tokenizer.path), "--text", str(three_languages.path), "--json")
    value = json.loads(result.stdout)
    rows = rows_of(three_languages, "heldout")
    for language in ("ja", "en", "code"):
        texts = [row["text"] for row in rows if row["language"] == language]
        found = value["by_language"][language]
        assert found["documents"] == len(texts)
        assert found["bytes"] == sum(len(text.encode()) for text in texts)
        one = found["tokenizers"][str(tokenizer.path)]
        assert one["tokens"] == sum(map(len, model.encode(texts)))
        assert one["characters_per_token"] == pytest.approx(
            sum(map(len, texts)) / one["tokens"], abs=1e-4
        )
    assert {row["source"] for row in value["by_source"]} == {"mine"}


def test_both_formats_of_one_tokenizer_are_equal_and_share_all_pieces(
    tokenizer: Artifact, three_languages: Artifact, tmp_path: Path
) -> None:
    """The only differing names are none: SentencePiece's and tokenizers' vocabularies are one."""
    shutil.copy(tokenizer.file("tokenizer.json"), tmp_path / "tokenizer.json")
    opened = [
        open_tokenizer(path)
        for path in (
            tokenizer.path,
            tokenizer.file("tokenizer.model"),
            tmp_path,
            tmp_path / "tokenizer.json",
        )
    ]
    texts = ["私は東京で本を読んでいます。", "<s> def f(x):\n    return", ""]
    assert [one.count(texts) for one in opened] == [opened[0].count(texts)] * 4
    for row in comparing.overlap(opened):
        assert (row["common"], row["share_of_a"], row["share_of_b"]) == (400, 1.0, 1.0)


def test_byte_level_pieces_are_compared_as_text(byte_level: Path, tokenizer: Artifact) -> None:
    opened = open_tokenizer(byte_level)
    assert {"▁t", "が", "<0xE3><0x81>", "a", "▁"} <= opened.pieces
    assert opened.count(["が t", "a"]) == [2, 1]
    (row,) = comparing.overlap([opened, open_tokenizer(tokenizer.path)])
    assert row["common"] > 100  # letters, and bytes that are no UTF-8 of their own


def test_the_cost_of_a_mixture_is_weighed_by_bytes() -> None:
    counts = comparing.PieceCounts
    found = comparing.TokenizerComparison(
        ["a", "b"],
        {"ja": counts(1, 100, 300, [100, 150]), "en": counts(1, 200, 200, [50, 40])},
    )
    first, second = comparing.cost(found, {"ja": 3, "en": 1})
    assert first["tokens_per_megabyte"] == round(1e6 * (0.75 * 100 / 300 + 0.25 * 50 / 200))
    assert second["by_language"] == {"ja": 375_000, "en": 50_000}
    assert second["relative"] == pytest.approx(425_000 / 312_500)
    with pytest.raises(UsageError, match="names code; there is text in en, ja"):
        comparing.cost(found, {"code": 1})
    with pytest.raises(UsageError, match="all zero"):
        comparing.cost(found, {"en": 0})


def test_rows_of_json_lines_keep_their_source_and_the_text_is_limited(
    tokenizer: Artifact, write_jsonl: Callable[..., Path]
) -> None:
    rows = [{"text": "a b " * 50, "lang": "en", "source": f"s{n % 2}"} for n in range(20)]
    path = write_jsonl([*rows, {"lang": "en"}])
    value = json.loads(run(str(tokenizer.path), "--text", str(path), "--json").stdout)
    assert [(row["source"], row["documents"]) for row in value["by_source"]] == [
        ("s0", 10),
        ("s1", 10),
    ]
    assert value["unreadable"] == 1
    few = run(str(tokenizer.path), "--text", str(path), "--megabytes", "0.001", "--json")
    assert json.loads(few.stdout)["by_language"]["en"]["documents"] == 5


def test_the_page_and_the_tables_show_all_of_it(
    tokenizer: Artifact, byte_level: Path, three_languages: Artifact, tmp_path: Path
) -> None:
    page = tmp_path / "out" / "compare.html"
    words = [str(tokenizer.path), str(byte_level), "--text", str(three_languages.path)]
    result = run(*words, "--mixture", "ja=2,en=1", "--plot", str(page))
    assert "pieces in common" in result.stdout
    assert "tokens for a megabyte of the mixture" in result.stdout
    html = page.read_text("utf-8")
    assert "Characters per token" in html
    assert "What a megabyte of the mixture costs" in html


def test_without_text_only_vocabularies_are_compared(tokenizer: Artifact, byte_level: Path) -> None:
    value = json.loads(run(str(tokenizer.path), str(byte_level), "--json").stdout)
    assert value["by_language"] == {}
    assert len(value["overlap"]) == 1


def test_bad_input_is_a_clear_error(
    tokenizer: Artifact, tmp_path: Path, write_jsonl: Callable[..., Path]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.model").write_bytes(b"no model")
    (tmp_path / "tokenizer.json").write_text("{}")
    for name, kind, words in [
        ("folder", NotFound, "neither tokenizer.json nor a SentencePiece"),
        ("missing", NotFound, "there is no tokenizer"),
        ("x.model", YoriaiError, "is no SentencePiece model"),
        ("tokenizer.json", YoriaiError, "is no tokenizer.json"),
    ]:
        with pytest.raises(kind, match=words):
            open_tokenizer(tmp_path / name)
    empty = write_jsonl([{"lang": "ja"}])
    with pytest.raises(UsageError, match="no text to compare on"):
        run(str(tokenizer.path), "--text", str(empty))
    with pytest.raises(UsageError, match="needs text"):
        run(str(tokenizer.path), "--mixture", "ja=1")
    assert run(str(tokenizer.path), "--mixture", "ja").exit_code == 2
    assert run(str(tokenizer.path), "--mixture", "ja=-1").exit_code == 2
    with pytest.raises(NotFound):
        run(str(tokenizer.path), "--text", str(tokenizer.path))


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json"])
def test_altered_files_of_a_sealed_tokenizer_are_refused(
    name: str, tokenizer: Artifact, tmp_path: Path
) -> None:
    folder = tmp_path / "pieces@1"
    shutil.copytree(tokenizer.path, folder)
    body = bytearray((folder / name).read_bytes())
    body[-1] ^= 1
    (folder / name).write_bytes(body)
    for path in (folder, folder / "tokenizer.model", folder / "tokenizer.json"):
        with pytest.raises(Altered, match=f"{name} has other bytes"):
            run(str(path))


def test_a_model_file_in_a_model_folder_that_is_no_tokenizer_is_passed_over(
    tokenizer: Artifact, tmp_path: Path
) -> None:
    shutil.copy(tokenizer.file("tokenizer.json"), tmp_path / "tokenizer.json")
    (tmp_path / "pytorch.model").write_bytes(b"\x80weights")
    assert len(open_tokenizer(tmp_path).pieces) == 400


def test_documents_without_a_language_are_counted_as_unknown(tokenizer: Artifact) -> None:
    found = comparing.count([open_tokenizer(tokenizer.path)], [Document("s", "1", "abc")])
    assert list(found.by_language) == ["unknown"]


def test_a_tokenizer_that_cannot_encode_says_so_in_our_words(tmp_path: Path) -> None:
    """A vocabulary without the piece that it names as unknown, and a file that says no kind."""
    path = tmp_path / "tokenizer.json"
    model = {"type": "Unigram", "unk_id": None, "vocab": [["a", -1.0]], "byte_fallback": False}
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    with pytest.raises(YoriaiError, match="cannot encode a text"):
        open_tokenizer(path).count(["b"])
    old = {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"], "dropout": None}
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": old}))
    opened = open_tokenizer(path)
    assert (opened.kind, opened.count(["ab"])) == ("unknown", [1])
