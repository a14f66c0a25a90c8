"""The gate of artifacts: foreign manifests, foreign names, links, and other bytes of equal size."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from yoriai import artifact as artifacts
from yoriai import files
from yoriai.artifact import Artifact, check_bytes, check_folder, open_artifact, seal, verify
from yoriai.errors import Altered

IDENTITY: dict[str, Any] = {
    "kind": "text", "name": "lab/text@1", "step": "lab/join", "config": {}, "code": [],
    "seed": 0, "outside": {}, "inputs": [], "sources": [], "licence": "MIT", "facts": {},
}  # fmt: skip


def _make(folder: Path) -> Artifact:
    out = folder.with_name("out")
    (out / "deep").mkdir(parents=True)
    (out / "deep" / "b.bin").write_bytes(bytes(range(1, 100)))
    (out / "a.txt").write_text("one")
    return seal(out, folder, identity=IDENTITY, circumstances={})


def _reseal(folder: Path, change: Any) -> None:
    value = json.loads((folder / "artifact.json").read_bytes())
    change(value)
    if all(key in value for key in artifacts.IDENTITY):
        value["digest"] = files.digest_json({key: value[key] for key in artifacts.IDENTITY})
    value.pop("seal", None)
    value["seal"] = files.digest_json(value)
    (folder / "artifact.json").write_bytes(files.canonical_json(value))


@pytest.mark.parametrize(
    "name",
    ["/etc/hostname", "../x", "deep/../../x", "deep/../a.txt", "./a.txt", "deep//b.bin", "deep/",
     "..", "", "C:/x", "deep\\b.bin", "a\x1b[2J", "a\nb", "a\x00", "artifact.json",
     "A.txt", "Deep/b.bin", "DEEP/c", "a\u202etxt.b", "a\x9b2J", "a\u2028b"],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused_when_the_artifact_is_opened(tmp_path, name):
    _make(tmp_path / "x")
    _reseal(tmp_path / "x", lambda v: v["files"].update({name: {"sha256": "0" * 64, "bytes": 1}}))
    with pytest.raises(Altered):
        open_artifact(tmp_path / "x")
    found, findings = verify(tmp_path / "x")
    assert found is None
    assert [f.file for f in findings] == ["artifact.json"]


def test_names_that_differ_in_the_spelling_of_an_accent_only_are_refused(tmp_path):
    _make(tmp_path / "x")
    fact = {"sha256": "0" * 64, "bytes": 1}
    two = {"ガ.txt": fact, "\u30ab\u3099.txt": fact}
    _reseal(tmp_path / "x", lambda v: v["files"].update(two))
    with pytest.raises(Altered, match="differ in case or accents only"):
        open_artifact(tmp_path / "x")


SHAPES = {
    **{
        f"without {key}": (lambda v, k=key: v.pop(k))
        for key in artifacts.IDENTITY
        if key != "schema"
    },
    **{
        f"{key} holds {other!r}": (lambda v, k=key, o=other: v.update({k: o}))
        for key in ("files", "facts", "config", "inputs", "sources", "circumstances", "name")
        for other in (7, None, True)
    },
    "lists for mappings": lambda v: v.update(files=[], facts=[]),
    "mappings for lists": lambda v: v.update(inputs={}, sources={}),
    "a file without a digest": lambda v: v["files"]["a.txt"].pop("sha256"),
    "a file of true bytes": lambda v: v["files"]["a.txt"].update(bytes=True),
    "a file of minus one byte": lambda v: v["files"]["a.txt"].update(bytes=-1),
    "an input of text": lambda v: v.update(inputs=["x"]),
    "a source of text": lambda v: v.update(sources=["x"]),
    "folders of numbers": lambda v: v["circumstances"].update(folders=[1]),
}


@pytest.mark.parametrize("change", SHAPES.values(), ids=SHAPES.keys())
def test_a_manifest_of_another_shape_is_a_finding(tmp_path, change):
    _make(tmp_path / "x")
    _reseal(tmp_path / "x", change)
    found, findings = verify(tmp_path / "x")
    assert found is None
    assert len(findings) == 1


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"", b"7", b"NaN"])
def test_a_manifest_that_is_none_is_a_finding(tmp_path, data):
    _make(tmp_path / "x")
    (tmp_path / "x" / "artifact.json").write_bytes(data)
    assert verify(tmp_path / "x")[0] is None


def _zero(path: Path) -> None:
    info = path.stat()
    path.write_bytes(bytes(info.st_size))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _link_out(path: Path) -> None:
    path.rename(path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")


def _link_above(path: Path) -> None:
    path.parent.rename(path.parents[2] / "elsewhere")
    path.parent.symlink_to(path.parents[2] / "elsewhere")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("attack", [_zero, _link_out, _link_above, _fifo, Path.unlink])
def test_a_file_of_other_bytes_or_kind_is_not_handed_out(tmp_path, attack):
    made = _make(tmp_path / "x")
    check_bytes(made)
    attack(tmp_path / "x" / "deep" / "b.bin")
    for use in (
        lambda: made.file("deep/b.bin"),
        lambda: made.files_under("deep"),
        lambda: check_bytes(made),
        lambda: check_folder(tmp_path / "x" / "deep"),
    ):
        with pytest.raises(Altered, match="deep"):
            use()
    assert verify(tmp_path / "x")[1]


def test_what_was_added_is_named_and_refused_where_a_folder_is_read(tmp_path):
    made = _make(tmp_path / "x")
    (tmp_path / "x" / "empty").mkdir()
    (tmp_path / "x" / "link").symlink_to("/etc")
    os.mkfifo(tmp_path / "x" / "pipe")
    (tmp_path / "x" / "deep" / "c").write_text("more")
    assert [(f.file, f.problem) for f in verify(tmp_path / "x")[1]] == [
        ("deep/c", "was added after sealing"),
        ("empty", "is a folder that was added after sealing"),
        ("link", "is a symbolic link and was added after sealing"),
        ("pipe", "is a named pipe and was added after sealing"),
    ]
    with pytest.raises(Altered):
        check_bytes(made)


def test_a_settled_file_is_read_once(tmp_path, monkeypatch):
    made = _make(tmp_path / "x")
    monkeypatch.setattr(artifacts, "SETTLED_NS", -1)
    read: list[Path] = []
    digest = files.digest_file
    monkeypatch.setattr(files, "digest_file", lambda path: (read.append(path), digest(path))[1])
    for _ in range(3):
        made.file("a.txt")
    assert len(read) == 1


def test_empty_folders_are_not_sealed(tmp_path):
    (tmp_path / "out" / "a" / "b").mkdir(parents=True)
    seal(tmp_path / "out", tmp_path / "x", identity=IDENTITY, circumstances={})
    assert verify(tmp_path / "x")[1] == []
