"""A release: complete, in the Hub's form, without secrets, and sent only when told so."""

import json
from pathlib import Path

import pytest
import yaml

from yoriai import artifact, hub_licences, release
from yoriai.ancestry import ancestry
from yoriai.errors import Altered, UsageError
from yoriai.testing import run_cli

from .hub_server import TOKEN, HubServer

SOURCES = [
    {"name": "manuals", "licence": "GPL-2.0-or-later", "languages": ["ja"], "url": "",
     "version": "7.2", "note": ""},
    {"name": "<script>evil|name</script>", "licence": "", "languages": ["en"], "url": "",
     "version": "", "note": ""},
]  # fmt: skip
SCORE = {
    "metric": "accuracy", "score": 0.51, "interval": [0.42, 0.6], "floors": {"chance": 0.5},
    "samples": 120,
}  # fmt: skip


def seal(folder: Path, name: str, kind: str, files: dict[str, str], **more) -> artifact.Artifact:
    out = folder / f".{name}"
    for path, text in files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text)
    inputs = more.pop("inputs", [])
    identity = {
        "kind": kind, "name": f"tour/{name}@1", "step": more.pop("step", "x/y"), "config": {},
        "code": [], "seed": 0, "outside": {}, "sources": [], "licence": "Apache-2.0",
        "facts": {"headline": [f"{name} was made"], **more.pop("facts", {})},
        "inputs": [{"name": a.name, "digest": a.digest} for a in inputs],
        **more,
    }  # fmt: skip
    told = {"folders": [a.path.name for a in inputs], "run": "r1", "made": "2026-11-29"}
    return artifact.seal(out, folder / f"{name}@1", identity=identity, circumstances=told)


@pytest.fixture
def made(tmp_path: Path) -> dict[str, artifact.Artifact]:
    """A corpus, a model of it, the same model smaller, and scores of both."""
    corpus = seal(
        tmp_path, "text", "corpus",
        {"documents/0.parquet": "kept", "heldout/0.parquet": "held", "dropped/0.parquet": "gone",
         "ledger.json": "{}", "croissant.json": json.dumps({
             "distribution": [
                 {"@type": "cr:FileSet", "@id": f"{name}-files", "includes": f"{name}/*.parquet"}
                 for name in ("documents", "dropped")
             ],
             "recordSet": [
                 {"@id": name, "field": [{"source": {"fileSet": {"@id": f"{name}-files"}}}]}
                 for name in ("documents", "dropped")
             ]})},
        sources=SOURCES,
        facts={"by_language": {"ja": {"documents": 12_000, "bytes": 5}},
               "dropped_by_rule": {"corpus/kana": 7},
               "contamination": {"eval/ja-forms": {"texts": 240, "too_short": 5}}},
    )  # fmt: skip
    base = seal(
        tmp_path, "base", "model",
        {"config.json": json.dumps({"_name_or_path": "/home/somebody/base", "hidden_size": 8}),
         "model.safetensors": "w" * 100, "tokenizer.json": "{}"},
        inputs=[corpus], sources=SOURCES, step="train/pretrain",
        facts={"gate_not_asked": "the model is too large"},
    )  # fmt: skip
    small = seal(
        tmp_path, "small", "model", {"config.json": "{}", "model.safetensors": "v" * 10},
        inputs=[base], sources=SOURCES, step="domain-adapt/quantise",
        facts={
            "gate": {"logits": {"found": 0.031, "tolerance": 0.1, "kept": True}},
            "gained_and_lost": [
                {"task": "heldout", "group": "text.ja", "before": 1.4, "after": 1.5,
                 "interval_of_difference": [0.08, 0.12], "samples": 9, "verdict": "lost"}],
        },
    )  # fmt: skip
    seal(
        tmp_path, "scores", "scores", {"scores.json": "{}"}, inputs=[base, small],
        facts={
            "protocol": "yoriai",
            "floors": {"gzip": {"text": {"ja": 2.7}}},
            "models": {
                name: {"tasks": {"ja-forms": SCORE}, "bits_per_byte": {"text": {"ja": 1.45}},
                       "bits_per_byte_interval": {"text": {"ja": [1.3, 1.7]}}}
                for name in ("base", "small")
            },
        },
    )  # fmt: skip
    return {"text": corpus, "base": base, "small": small}


def front(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def test_a_model_card_has_scores_with_floors_data_gates_losses_and_failures(made, tmp_path):
    out = tmp_path / "release"
    release.assemble(made["small"], out)
    card = (out / "README.md").read_text()
    for words in (
        "| ja-forms | accuracy | 0.51 | 0.42 to 0.6 | chance 0.5 | 120 | yoriai |",
        "| text ja | 1.45 | 1.3 to 1.7 | gzip 2.7 |",
        "| small | logits | 0.031 | 0.1 |",
        "Not asked of base: the model is too large.",
        "| small | heldout | text.ja | 1.4 | 1.5 | 0.08 to 0.12 | lost |",
        "ja-forms: 0.51 is not surely above its floor 0.5",
        "small: lost on heldout text.ja",
        "| text | eval/ja-forms | 240 | 5 |",
        "GPL-2.0-or-later",
    ):
        assert words in card, words
    assert "<script>" not in card
    assert front(out)["license"] == "apache-2.0"
    assert front(out)["language"] == ["en", "ja"]


def test_a_form_that_was_not_asked_shows_the_scores_of_the_model_it_was_made_of(made, tmp_path):
    file = seal(
        tmp_path, "file", "model", {"model.gguf": "g"}, inputs=[made["small"]],
        step="domain-adapt/gguf",
    )  # fmt: skip
    release.assemble(file, tmp_path / "release")
    card = (tmp_path / "release/README.md").read_text()
    assert "Of small, which this was made of." in card
    assert "| ja-forms | accuracy | 0.51 |" in card
    assert "model-index" not in front(tmp_path / "release")
    assert front(tmp_path / "release")["tags"] == ["yoriai", "gguf"]
    steps = [line.split(" | ")[0] for line in card.splitlines() if "| x/y |" in line or "/" in line]
    order = [name for name in ("text", "base", "small", "file") if f"| {name}" in steps]
    assert [step.removeprefix("| ") for step in steps if step.startswith("| ")][:4] == order


def test_the_hubs_own_reader_finds_the_scores_in_the_card(made, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    release.assemble(made["base"], tmp_path / "release")
    card = hub.ModelCard((tmp_path / "release/README.md").read_text())
    [result] = card.data.eval_results
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "transformers")
    assert (result.metric_value, result.dataset_name) == (0.51, "ja-forms")


def test_a_corpus_is_released_without_what_was_dropped_unless_told(made, tmp_path):
    told = release.assemble(made["text"], tmp_path / "without")
    assert told["left_out"] == 1
    assert not (tmp_path / "without/dropped").exists()
    described = json.loads((tmp_path / "without/croissant.json").read_text())
    assert [item["@id"] for item in described["distribution"]] == ["documents-files"]
    assert [item["@id"] for item in described["recordSet"]] == ["documents"]
    release.assemble(made["text"], tmp_path / "with", with_dropped=True)
    assert (tmp_path / "with/dropped/0.parquet").read_text() == "gone"
    described = json.loads((tmp_path / "with/croissant.json").read_text())
    assert len(described["recordSet"]) == 2


def test_a_data_card_names_the_licences_of_the_texts_and_not_that_of_the_recipe(made, tmp_path):
    release.assemble(made["text"], tmp_path / "release")
    told = front(tmp_path / "release")
    assert told["license"] == ["gpl-2.0", "unknown"]
    assert told["size_categories"] == ["10K<n<100K"]
    splits = told["configs"][0]["data_files"]
    assert {row["split"]: row["path"] for row in splits} == {
        "train": "documents/*.parquet",
        "test": "heldout/*.parquet",
    }
    licences = (tmp_path / "release/LICENCES.md").read_text()
    assert "## GPL-2.0-or-later" in licences
    assert "## not stated" in licences


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("GPL-2.0-or-later", {"license": "gpl-2.0"}),
        ("PSF-2.0", {"license": "other", "license_name": "psf-2.0"}),
        ("", {"license": "unknown"}),
    ],
)
def test_licences_are_written_as_the_hub_names_them(stated, expected):
    assert hub_licences.of_whole(stated) == expected


def test_home_paths_and_secrets_do_not_reach_a_release(made, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    failures = tmp_path / "failures.md"
    failures.write_text(f"It fails with {TOKEN}. <img src=x onerror=alert(1)>\n")
    out = tmp_path / "release"
    done = run_cli(
        "release", str(made["base"].path), "--out", str(out), "--failures", str(failures)
    )
    assert done.code == 0, done.err
    assert "config.json: a secret, a home path or a name hidden in 1 lines" in done.err
    for path in out.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert TOKEN not in text, path
            assert "/home/somebody" not in text, path
            assert str(tmp_path) not in text, path
            assert "<img" not in text, path


def test_every_file_is_digested_and_a_changed_one_is_named(made, tmp_path):
    out = tmp_path / "release"
    told = release.assemble(made["base"], out)
    assert set(told["files"]) == {p.relative_to(out).as_posix() for p in out.rglob("*")} - {
        release.MANIFEST
    }
    assert release.check(out) == told
    (out / "config.json").write_text("{}")
    with pytest.raises(Altered, match=r"config\.json is not as it was released"):
        release.check(out)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd"])
def test_a_manifest_that_names_files_outside_is_refused(made, tmp_path, name):
    out = tmp_path / "release"
    told = release.assemble(made["base"], out)
    told["files"][name] = {"sha256": "0" * 64, "bytes": 0}
    (out / release.MANIFEST).write_text(json.dumps(told))
    with pytest.raises(Altered, match=r"absolute or foreign name|leads outside"):
        release.check(out)


def test_an_altered_artifact_is_not_released_and_nothing_is_left_behind(made, tmp_path):
    (made["base"].path / "model.safetensors").write_text("x" * 100)
    with pytest.raises(Altered, match=r"model\.safetensors"):
        release.assemble(artifact.open_artifact(made["base"].path), tmp_path / "release")
    assert not (tmp_path / "release").exists()
    assert not (tmp_path / ".release.part").exists()


def test_scores_and_a_folder_that_exists_are_refused_with_what_to_do(made, tmp_path):
    scores = artifact.open_artifact(tmp_path / "scores@1")
    with pytest.raises(UsageError, match="model, corpus, tokenizer can be released"):
        release.assemble(scores, tmp_path / "release")
    with pytest.raises(UsageError, match="exists already"):
        release.assemble(made["base"], made["text"].path)


def test_what_an_artifact_was_made_of_is_walked_once_and_what_is_gone_is_named(made, tmp_path):
    found = ancestry(made["small"])
    assert [one.step for one in found.artifacts] == ["small", "base", "text"]
    assert [one.step for one in found.line()] == ["base", "small"]
    made["text"].path.rename(tmp_path / "elsewhere")
    assert ancestry(made["small"]).missing == ["tour/text@1"]


@pytest.fixture
def hub(monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # the test's server knows git-lfs
    with HubServer() as server:
        yield server


def push(folder: Path, server: HubServer, **environment: str):
    return run_cli(
        "release", str(folder), "--push", "lab/tour-base", "--endpoint", server.address,
        HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HOME=str(folder.parent),
        HF_HUB_OFFLINE="0",
        **environment,
    )  # fmt: skip


def test_a_push_sends_every_file_in_one_commit(made, tmp_path, hub):
    out = tmp_path / "release"
    release.assemble(made["base"], out)
    done = push(out, hub, HF_TOKEN=TOKEN)
    assert done.code == 0, done.err
    assert hub.names() == {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert TOKEN not in done.out + done.err


def test_a_push_without_a_token_sends_nothing_and_says_what_to_set(made, tmp_path, hub):
    out = tmp_path / "release"
    release.assemble(made["base"], out)
    done = push(out, hub, HF_TOKEN="")
    assert done.code == 2
    assert "no token" in done.err
    assert "export HF_TOKEN=" in done.err
    assert not hub.created
    assert not hub.commits


def test_a_wrong_token_is_an_error_with_the_servers_words_and_not_the_token(made, tmp_path, hub):
    out = tmp_path / "release"
    release.assemble(made["base"], out)
    wrong = "hf_" + "b" * 30
    done = push(out, hub, HF_TOKEN=wrong)
    assert done.code == 1
    assert "refused lab/tour-base" in done.err
    assert wrong not in done.err


def test_a_push_that_broke_goes_on_without_sending_twice_what_arrived(made, tmp_path, hub):
    (made["base"].path.parent / "more").mkdir()
    model = seal(
        tmp_path / "more", "two", "model",
        {"config.json": "{}", "model-1.safetensors": "a" * 40, "model-2.safetensors": "b" * 400},
    )  # fmt: skip
    out = tmp_path / "release"
    release.assemble(model, out)
    hub.largest = 100
    broken = push(out, hub, HF_TOKEN=TOKEN)
    assert broken.code == 1
    assert not hub.commits  # nothing half is published
    assert len(hub.uploads) == 1
    hub.largest = None
    assert push(out, hub, HF_TOKEN=TOKEN).code == 0
    assert len(hub.uploads) == 2
    assert len(set(hub.uploads)) == 2
    assert "model-2.safetensors" in hub.names()


def test_a_model_card_quotes_probes_with_intervals_validation_and_what_was_not_run(made, tmp_path):
    measure = {"value": 0.62, "items": 437, "interval": [0.56, 0.67], "chance": 0.5, "note": ""}
    bare = {"value": 0.5, "items": 2, "interval": None, "chance": None, "note": "2 are too few"}
    seal(
        tmp_path, "probes", "probes", {"probes.json": "{}"}, inputs=[made["base"]],
        facts={"probes": {
            "eval/membership": {"base": {
                "state": "ran", "order": ["AUC mink", "few"],
                "measures": {"AUC mink": measure, "few": bare},
                "validation": {"holds": False, "how": "planted", "says": "no", "measures": {}},
                "notes": [], "limits": {"en": "No proof of <b>cause</b>.", "ja": "証明ではない。"},
                "source": "", "figures": [], "rows": 0,
            }},
            "eval/attribution": {
                "base": {"state": "not run", "reasons": ["earlier checkpoints are needed"]},
                "other": {"state": "raised", "reasons": ["of another model"]},
            },
        }},
    )  # fmt: skip
    release.assemble(made["base"], tmp_path / "release")
    card = (tmp_path / "release" / "README.md").read_text()
    for words in (
        "| eval/membership | AUC mink | 0.62 | 0.56 to 0.67 | 0.5 | 437 | does not hold |",
        "| eval/membership | few | 0.5 | 2 are too few |  | 2 | does not hold |",
        "eval/attribution: not measured",
        "earlier checkpoints are needed",
        "No proof of",
    ):
        assert words in card, words
    assert "of another model" not in card
    assert "<b>" not in card
    release.assemble(made["small"], tmp_path / "of-small")
    card = (tmp_path / "of-small" / "README.md").read_text()
    _, _, after = card.partition("## Transparency")
    assert after.lstrip().startswith("Of base, which this was made of.")
