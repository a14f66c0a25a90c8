"""Records of a corpus under one root: proved, checked, and named when they were altered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoriai import Altered, Artifact, NotFound, UsageError, merkle
from yoriai.artifact import open_artifact
from yoriai_corpus import tables
from yoriai_corpus.build import records

Make = Callable[..., Artifact]


@pytest.fixture(scope="module")
def corpus(make_corpus: Make) -> Artifact:
    rows = [{"id": f"d/{n}", "text": f"text number {n}"} for n in range(21)]
    return make_corpus(rows, rules=[{"use": "corpus/min-length", "characters": 3}])


def test_the_root_in_the_manifest_is_that_of_the_kept_records(corpus: Artifact) -> None:
    rows = list(tables.read_rows(corpus.files_under("documents")))
    items = [bytes.fromhex(row["record_sha256"]) for row in rows]
    assert corpus.facts["records"] == {"count": 21, "root": merkle.root_of(items).hex()}


def test_a_proof_of_each_document_leads_to_the_root(corpus: Artifact) -> None:
    for n in range(21):
        proof = records.prove(corpus, f"mine/d/{n}")
        records.check(proof, corpus.facts["records"]["root"], f"text number {n}")
        with pytest.raises(Altered, match="another text"):
            records.check(proof, corpus.facts["records"]["root"], "another")
        with pytest.raises(Altered, match="not in this corpus"):
            records.check({**proof, "index": (n + 1) % 21}, corpus.facts["records"]["root"])
    with pytest.raises(NotFound, match="kept no document"):
        records.prove(corpus, "mine/nobody")


def test_the_altered_record_is_named(
    corpus: Artifact, tmp_path: Path, yoriai_cli: Callable[..., Any]
) -> None:
    folder = tmp_path / "text@1"
    shutil.copytree(corpus.path, folder)
    path = folder / "documents/00000.parquet"
    rows = list(tables.read_rows(path))
    rows[13]["text"] = "text number 99"
    tables.write_table(path, tables.DOCUMENTS, rows)
    named = list(records.altered(open_artifact(folder), "documents/00000.parquet"))
    name = f"mine/{rows[13]['id']}"
    assert named == [f"record 13 of documents/00000.parquet, {name}, was altered"]
    assert yoriai_cli("corpus", "altered", str(corpus.path)).code == 0
    shown = yoriai_cli("corpus", "altered", str(folder))
    assert shown.code == Altered.exit_code
    assert name in shown.err
    rows[13]["record_sha256"] = records.record_digest("mine", rows[13]["id"], "text number 99")
    tables.write_table(path, tables.DOCUMENTS, rows)
    assert (
        name in yoriai_cli("corpus", "altered", str(folder)).err
    )  # its own digest changed with it
    path.write_bytes(b"no table")
    assert "cannot be read" in yoriai_cli("corpus", "altered", str(folder)).err


def test_the_commands_prove_and_check(
    corpus: Artifact, tmp_path: Path, yoriai_cli: Callable[..., Any]
) -> None:
    path = tmp_path / "proof.json"
    made = yoriai_cli("corpus", "prove", str(corpus.path), "mine/d/7", "--out", str(path))
    assert made.code == 0
    root = corpus.facts["records"]["root"]
    (tmp_path / "text").write_text("text number 7")
    asked = ("corpus", "check-proof", str(path))
    good = yoriai_cli(*asked, "--root", root, "--text", str(tmp_path / "text"))
    assert (good.code, "mine/d/7" in good.out) == (0, True)
    assert yoriai_cli(*asked, "--corpus", str(corpus.path)).code == 0
    assert yoriai_cli(*asked, "--root", "00" * 32).code == Altered.exit_code


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"corpus": 1}', b"[" * 100_000, b"\xff"])
def test_what_is_no_proof_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    path.write_bytes(data)
    with pytest.raises(UsageError, match="no proof"):
        records.read_proof(path)
    with pytest.raises(NotFound):
        records.read_proof(tmp_path / "nowhere")
    assert json.dumps(1)
