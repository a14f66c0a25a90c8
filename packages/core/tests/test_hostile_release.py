"""Releases of artifacts that strangers sealed, and release folders that somebody changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from yoriai import artifact, files, release
from yoriai.errors import Altered, Refused, YoriaiError
from yoriai.plain_markdown import find_markup

from .hub_server import TOKEN, HubServer
from .test_release import push, seal

MARKUP = "<script>x</script> [a](javascript:x) {: .b} `c` | d\n\n# e\n<!-- \x1b[31m \u202e"
ROW = {"metric": MARKUP, "score": 0.5, "interval": [0.1, 0.9], "floors": {MARKUP: 0.9},
       "samples": MARKUP}  # fmt: skip


def test_no_text_of_a_stranger_becomes_markup_in_what_is_published(tmp_path: Path) -> None:
    source = dict.fromkeys(("name", "version", "licence", "url", "note"), MARKUP)
    source["languages"] = [MARKUP, "ja"]
    files_ = {"model.safetensors": "w", "config.json": "{}"}
    base = seal(
        tmp_path, "base", "model", files_, sources=[source], licence=MARKUP, step=MARKUP,
        config={MARKUP: MARKUP},
        facts={"headline": [MARKUP], "gate": {MARKUP: {"found": MARKUP, "tolerance": MARKUP}},
               "left_behind": [], "not_measured": MARKUP, "not_checked": MARKUP,
               "texts_with_other_ids": [MARKUP]},
    )  # fmt: skip
    scores = seal(
        tmp_path, "scores", "scores", {"a": "b"}, inputs=[base],
        facts={"protocol": MARKUP, "models": {"base": {
            "tasks": {MARKUP: ROW}, "bits_per_byte": {MARKUP: {MARKUP: 1.0}}}}},
    )  # fmt: skip
    release.assemble(base, tmp_path / "out", scores=[scores])
    for name in ("README.md", "LICENCES.md"):
        text = (tmp_path / "out" / name).read_text()
        if name == "README.md":
            _, front, text = text.split("\n---\n")[0], *text.split("---\n", 2)[1:]
            assert yaml.safe_load(front)["pipeline_tag"] == "text-generation"
        assert list(find_markup(text)) == []


@pytest.mark.parametrize(
    "facts",
    [
        {"models": {"base": {"tasks": {"t": {**ROW, "score": "high"}}}}},
        {"models": {"base": {"tasks": {"t": {**ROW, "interval": [1]}}}}},
        {"models": {"base": {"tasks": ["t"]}}},
        {"models": ["base"]},
        {"models": {"base": {"bits_per_byte": {"c": 3}}}},
    ],
)
def test_facts_of_another_form_are_refused_and_nothing_is_left_behind(
    tmp_path: Path, facts: dict[str, Any]
) -> None:
    base = seal(tmp_path, "base", "model", {"model.safetensors": "w"})
    scores = seal(tmp_path, "scores", "scores", {"a": "b"}, inputs=[base], facts=facts)
    with pytest.raises(Refused, match="no card can be written of tour/base@1"):
        release.assemble(base, tmp_path / "out", scores=[scores])
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / ".out.part").exists()


def test_a_description_that_names_files_elsewhere_tells_nothing_of_them(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of this machine")
    names = [str(secret), "../secret", "../../secret", "documents/0.parquet"]
    objects = [{"@type": "cr:FileObject", "@id": name} for name in names]
    sets = [{"@type": "cr:FileSet", "@id": n, "includes": n} for n in ("/*", "../*", "**/../*")]
    croissant = json.dumps({"distribution": [*objects, *sets]})
    corpus = seal(
        tmp_path, "text", "corpus", {"documents/0.parquet": "a", "croissant.json": croissant}
    )
    release.assemble(corpus, tmp_path / "out")
    written = (tmp_path / "out/croissant.json").read_text()
    assert files.digest_file(secret) not in written
    assert [item["@id"] for item in json.loads(written)["distribution"]] == ["documents/0.parquet"]


@pytest.mark.parametrize(
    "text", ["[]", "[" * 100_000, '{"distribution": 3}', '{"distribution": [3]}', "{", '{"a": NaN}']
)
def test_a_description_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    corpus = seal(tmp_path, "text", "corpus", {"documents/0.parquet": "a", "croissant.json": text})
    with pytest.raises(Refused, match=r"croissant\.json is no description"):
        release.assemble(corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_of_inputs_that_are_no_places_are_passed_by(tmp_path: Path) -> None:
    base = seal(tmp_path, "base", "model", {"model.safetensors": "w"})
    manifest = dict(base.manifest)
    manifest["inputs"] = [{"name": f"x/{n}@1", "digest": str(n) * 64} for n in range(4)]
    manifest["circumstances"] = {"folders": ["~nobody-of-this-name/x", "\0", "x" * 5_000, "/dev"]}
    manifest["digest"] = files.digest_json({key: manifest[key] for key in artifact.IDENTITY})
    manifest.pop("seal")
    manifest["seal"] = files.digest_json(manifest)
    (base.path / "artifact.json").write_bytes(files.canonical_json(manifest))
    release.assemble(artifact.open_artifact(base.path), tmp_path / "out")
    told = json.loads((tmp_path / "out/provenance.json").read_text())
    assert told["missing"] == [f"x/{n}@1" for n in range(4)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    base = seal(tmp_path, "base", "model", {"model.safetensors": "w", "sub/config.json": "{}"})
    release.assemble(base, tmp_path / "out")
    return tmp_path / "out"


def _change(**changes: Any) -> Callable[[Path], None]:
    def change(out: Path) -> None:
        place = out / release.MANIFEST
        told = json.loads(place.read_text())
        for key, value in changes.items():
            told[key] = {**told[key], **value} if isinstance(value, dict) else value
        place.write_text(json.dumps(told))

    return change


def _link(name: str) -> Callable[[Path], None]:
    def change(out: Path) -> None:
        kept = (out / name).rename(out.parent / "kept")
        (out / name).symlink_to(kept)

    return change


def _fifo(out: Path) -> None:
    (out / "model.safetensors").unlink()
    os.mkfifo(out / "model.safetensors")


NOTHING = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}


@pytest.mark.parametrize(
    "change",
    [
        lambda out: (out / release.MANIFEST).write_text("[" * 100_000),
        lambda out: (out / release.MANIFEST).write_text("[]"),
        lambda out: (out / release.MANIFEST).write_text('{"files": {}}'),
        lambda out: (out / release.MANIFEST).write_bytes(b"\xff"),
        _change(kind="scores"),
        _change(kind=["model"]),
        _change(licence=None),
        _change(files={"\0": NOTHING}),
        _change(files={"": NOTHING}),
        _change(files={"sub/../sub/config.json": NOTHING}),
        _change(files={"/dev/null": NOTHING}),
        _change(files={"x" * 5_000: NOTHING}),
        _change(files={"model.safetensors": {"sha256": "0" * 64}}),
        _change(files={"model.safetensors": {"sha256": 3, "bytes": True}}),
        _link("model.safetensors"),
        _link("sub"),
        _link(release.MANIFEST),
        _fifo,
        lambda out: (out / "sub/config.json").write_text("[]"),
        lambda out: (out / "README.md").unlink(),
    ],
)
def test_a_changed_release_is_refused_before_anything_is_sent(
    out: Path, change: Callable[[Path], Any]
) -> None:
    change(out)
    with pytest.raises(Altered) as caught:
        release.check(out)
    assert len(str(caught.value)) < 1_000


def test_a_file_called_like_a_pattern_lets_no_other_file_pass(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    for name in ("*", "a[1].txt", "sub/*"):
        (out / name).write_text("")
        _change(files={name: NOTHING})(out)
    (out / "notes-to-myself.txt").write_text("a file that was added")
    with HubServer() as server:
        done = push(out, server, HF_TOKEN=TOKEN)
        assert done.code == 0, done.err
        told = json.loads((out / release.MANIFEST).read_text())
        assert server.names() == {*told["files"], release.MANIFEST}


@pytest.mark.parametrize("name", ["README.md/x", "release.json/x", "LICENCES.md/a"])
def test_a_name_in_the_place_of_a_card_ends_in_words_and_leaves_nothing(
    tmp_path: Path, name: str
) -> None:
    base = seal(tmp_path, "base", "model", {"model.safetensors": "w", name: "x"})
    with pytest.raises(YoriaiError):
        release.assemble(base, tmp_path / "out")
    assert not (tmp_path / "out").exists()
