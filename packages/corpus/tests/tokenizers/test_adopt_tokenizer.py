"""corpus/adopt-tokenizer: a tokenizer from elsewhere gives the ids that it gave there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece

from yoriai import Altered, Artifact, NotFound, Refused

Make = Callable[..., Artifact]
TEXT = "東京で本を読む。 The old clock waits.\n\t<tag> 🙂"


def test_a_bare_model_keeps_its_ids_also_as_a_hugging_face_tokenizer(
    tokenizer: Artifact, tmp_path: Path, run_step: Make
) -> None:
    from tokenizers import Tokenizer

    shutil.copyfile(tokenizer.file("tokenizer.model"), tmp_path / "theirs.model")
    made = run_step("corpus/adopt-tokenizer", path=str(tmp_path / "theirs.model"))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "theirs.model"))
    fast = Tokenizer.from_file(str(made.file("tokenizer.json")))
    assert fast.encode(TEXT, add_special_tokens=False).ids == pieces.encode(TEXT)
    assert made.facts["pieces"] == len(pieces) == 400
    assert made.facts["marks"] == tokenizer.facts["marks"]


def test_a_folder_is_copied_without_the_code_that_it_names_and_shards_can_be_written_with_it(
    tokenizer: Artifact, three_languages: Artifact, tmp_path: Path, run_step: Make
) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(tokenizer.path, folder, ignore=shutil.ignore_patterns("artifact.json"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["auto_map"] = {"AutoTokenizer": ["code.Tokenizer", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit")
    made = run_step("corpus/adopt-tokenizer", path=str(folder))
    assert "code.py" not in made.manifest["files"]
    assert "auto_map" not in json.loads(made.file("tokenizer_config.json").read_text())
    assert any("auto_map" in line for line in made.facts["headline"])
    ours, theirs = (run_step("corpus/tokens", [three_languages, t]) for t in (tokenizer, made))
    assert ours.file("ja.bin").read_bytes() == theirs.file("ja.bin").read_bytes()


def test_a_model_of_another_size_than_tokenizer_json_is_left_out_and_said(
    tokenizer: Artifact, tmp_path: Path, run_step: Make
) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(tokenizer.path, folder, ignore=shutil.ignore_patterns("artifact.json"))
    told = json.loads((folder / "tokenizer.json").read_text())
    told["added_tokens"].append({**told["added_tokens"][0], "id": 400, "content": "<new>"})
    (folder / "tokenizer.json").write_text(json.dumps(told))
    made = run_step("corpus/adopt-tokenizer", path=str(folder))
    assert made.facts["pieces"] == 401
    assert "tokenizer.model" not in made.manifest["files"]
    assert any("400 pieces" in line for line in made.facts["headline"])


def test_what_is_no_tokenizer_is_refused_by_name(tmp_path: Path, run_step: Make) -> None:
    with pytest.raises(NotFound, match=r"no folder with tokenizer\.json"):
        run_step("corpus/adopt-tokenizer", path=str(tmp_path))
    (tmp_path / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(Altered, match="is no tokenizer"):
        run_step("corpus/adopt-tokenizer", path=str(tmp_path))
    (tmp_path / "x.model").write_bytes(b"no")
    with pytest.raises(Refused, match="no SentencePiece model"):
        run_step("corpus/adopt-tokenizer", path=str(tmp_path / "x.model"))
