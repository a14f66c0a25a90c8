"""Sealed directories: every byte counts."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yoriai import artifact as artifacts
from yoriai.artifact import open_artifact, put_aside, seal, verify
from yoriai.errors import Altered, NotFound

FILES = {
    "a.txt": b"one",
    "deep/b.bin": bytes(range(256)),
    "日本.txt": "寄合".encode(),
    "empty": b"",
}


def identity(**changes):
    return {
        "kind": "text", "name": "lab/text@1", "step": "lab/join", "config": {"x": 1.5}, "code": [],
        "seed": 0, "outside": {}, "inputs": [], "sources": [], "licence": "MIT",
        "facts": {"headline": []}, **changes,
    }  # fmt: skip


def make(folder, files=FILES, *, circumstances=None, replace=False, **changes):
    out = folder.with_name(folder.name + ".out")
    for name, data in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)
    out.mkdir(parents=True, exist_ok=True)
    return seal(
        out,
        folder,
        identity=identity(**changes),
        circumstances=circumstances or {},
        replace=replace,
    )


def test_the_manifest_holds_the_sha256_of_every_file(tmp_path):
    made = make(tmp_path / "x")
    assert made.manifest["files"] == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in FILES.items()
    }
    assert verify(tmp_path / "x") == (made, [])


def test_the_digest_does_not_depend_on_when_and_in_which_run_it_was_made(tmp_path):
    one = make(tmp_path / "x", circumstances={"run": "a"})
    two = make(tmp_path / "y", circumstances={"run": "b", "drift": "why not"})
    assert one.digest == two.digest


@pytest.mark.parametrize(
    "change",
    [{"config": {"x": 2}}, {"seed": 1}, {"inputs": [{"name": "a", "digest": "b"}]},
     {"sources": [{"name": "s"}]}, {"facts": {"n": 1}}, {"licence": "x"}, {"code": ["c"]},
     {"outside": {"o": "p"}}, {"files": {"a.txt": b"two"}}, {"files": {"b.txt": b"one"}}],
)  # fmt: skip
def test_the_digest_depends_on_everything_that_identifies_the_artifact(tmp_path, change):
    plain = make(tmp_path / "x", {"a.txt": b"one"})
    assert make(tmp_path / "y", **{"files": {"a.txt": b"one"}, **change}).digest != plain.digest


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_byte_is_found_in_the_file_that_holds_it(tmp_path, data):
    folder = tmp_path / "x"
    if not folder.exists():
        make(folder)
    name = data.draw(st.sampled_from(["a.txt", "deep/b.bin", "日本.txt", "artifact.json"]))
    path = folder / name
    whole = path.read_bytes()
    body = bytearray(whole)
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(body)
    _, findings = verify(folder)
    path.write_bytes(whole)
    assert [f.file for f in findings] == [name]


def test_each_flipped_byte_of_a_manifest_is_found(tmp_path):
    make(tmp_path / "x", {"a": b"1"})
    path = tmp_path / "x" / "artifact.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert verify(tmp_path / "x")[1], f"byte {place}"


def test_a_missing_and_an_added_file_are_named(tmp_path):
    make(tmp_path / "x")
    (tmp_path / "x" / "a.txt").unlink()
    (tmp_path / "x" / "deep" / "new").write_text("")
    findings = verify(tmp_path / "x")[1]
    assert [(f.file, f.problem) for f in findings] == [
        ("a.txt", "is missing"), ("deep/new", "was added after sealing"),
    ]  # fmt: skip


def test_a_manifest_written_anew_without_its_digest_is_found(tmp_path):
    make(tmp_path / "x", {"a": b"1"})
    path = tmp_path / "x" / "artifact.json"
    value = json.loads(path.read_bytes())
    value["licence"] = "mine"
    value.pop("seal")
    value["seal"] = artifacts.files.digest_json(value)
    path.write_bytes(artifacts.files.canonical_json(value))
    assert verify(tmp_path / "x")[1][0].problem.endswith("its digest is not that of its contents")
    # Else it could stand for another artifact, as an input or in a lineage.
    with pytest.raises(Altered, match="its digest is not that of its contents"):
        open_artifact(tmp_path / "x")


def test_links_are_not_sealed(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to("/etc/hostname")
    with pytest.raises(Altered, match="symbolic links"):
        seal(out, tmp_path / "x", identity=identity(), circumstances={})
    assert not (tmp_path / "x").exists()


def test_an_artifact_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def crash(path):
        assert not (tmp_path / "x").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts.files, "fsync_tree", crash)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_former_artifact_stays_until_its_successor_is_whole(tmp_path, monkeypatch):
    old = make(tmp_path / "x")
    with monkeypatch.context() as patch:
        patch.setattr(artifacts.files, "fsync_tree", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(tmp_path / "x", {"new": b"1"}, replace=True)
    assert open_artifact(tmp_path / "x").digest == old.digest
    make(tmp_path / "x", {"new": b"1"}, replace=True)
    assert open_artifact(tmp_path / "superseded" / f"x.{old.digest[:12]}").digest == old.digest


def test_nothing_in_superseded_is_ever_deleted(tmp_path):
    places = set()
    for content in (b"1", b"2", b"2"):
        make(tmp_path / "x", {"a": content})
        (tmp_path / "x" / "artifact.json").write_text("broken")
        places.add(put_aside(tmp_path / "x"))
    assert len(places) == 3
    assert all(place.is_dir() for place in places)


def test_a_folder_without_a_manifest_is_no_artifact(tmp_path):
    with pytest.raises(NotFound):
        open_artifact(tmp_path)


def test_only_sealed_files_are_handed_out(tmp_path):
    made = make(tmp_path / "x")
    assert made.file("deep/b.bin").read_bytes() == FILES["deep/b.bin"]
    with pytest.raises(NotFound):
        made.file("artifact.json")


# --- lineage ----------------------------------------------------------------------------------


def chain(folder):
    source = {"name": "lab", "version": "1", "licence": "MIT"}
    words = make(folder / "words", name="lab/words@1", sources=[source])
    text = make(
        folder / "text",
        inputs=[{"name": words.name, "digest": words.digest}],
        circumstances={"folders": ["words"]},
    )
    return words, text


def test_lineage_walks_back_to_the_sources(tmp_path):
    words, text = chain(tmp_path)
    tree = artifacts.lineage(text)
    assert tree["inputs"][0]["digest"] == words.digest
    assert tree["inputs"][0]["here"] is True
    assert tree["inputs"][0]["sources"][0]["name"] == "lab"


def test_lineage_works_from_inside_the_folder(tmp_path, monkeypatch):
    chain(tmp_path)
    monkeypatch.chdir(tmp_path / "text")
    assert artifacts.lineage(open_artifact(artifacts.Path()))["inputs"][0]["here"] is True


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda words: os.rename(words, f"{words}.gone"), "is no artifact"),
        (lambda words: (words / "artifact.json").write_text("{}"), "was altered"),
        (lambda words: make(words, replace=True, seed=5), "the folder now holds"),
    ],
)
def test_lineage_names_an_input_that_is_no_longer_there(tmp_path, harm, problem):
    words, text = chain(tmp_path)
    harm(words.path)
    [row] = artifacts.lineage(text)["inputs"]
    assert row["here"] is False
    assert row["digest"] == words.digest
    assert problem in row["problem"]


def test_lineage_of_an_artifact_that_does_not_say_where_its_inputs_stood(tmp_path):
    made = make(tmp_path / "x", inputs=[{"name": "lab/words@1", "digest": "0" * 64}])
    assert artifacts.lineage(made)["inputs"][0]["here"] is False
