"""A training checkpoint is the Hugging Face folder in it, once its bytes are those written."""

import json
import shutil
from pathlib import Path

import pytest

from yoriai import Altered, NotFound, files
from yoriai_eval.backends import checkpoint
from yoriai_eval.backends.checkpoint import TrainingCheckpoint
from yoriai_eval.backends.huggingface import HuggingFace

pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def run(make, tmp_path_factory) -> Path:
    """Three checkpoints of which each is another model; the last with its digests."""
    root = tmp_path_factory.mktemp("run")
    for step in (50, 100, 1000):
        target = root / "checkpoints" / f"step-{step:07d}" / "model"
        shutil.copytree(make.model(seed=step).path, target)
    names = [p for p in sorted(target.iterdir()) if p.is_file()]
    digests = {f"model/{p.name}": files.digest_file(p) for p in names}
    digests["optimizer.bin"] = "0" * 64  # is not opened, so not compared
    (target.parent / "digests.json").write_text(json.dumps(digests))
    (root / "checkpoints" / "step-0002000" / "model").mkdir(parents=True)  # being written
    (root / "checkpoints" / "notes.txt").write_text("no checkpoint")
    return root


TEXTS = ["a text", "日本語"]


@pytest.mark.parametrize(("step", "number"), [("last", 1000), (1000, 1000), (50, 50)])
def test_it_opens_the_model_of_the_step(run, step, number):
    model = TrainingCheckpoint(step=step).open(run)
    plain = HuggingFace().open(run / "checkpoints" / f"step-{number:07d}" / "model")
    assert model.rolling_loglikelihood(TEXTS) == plain.rolling_loglikelihood(TEXTS)
    assert model.describe() == {**plain.describe(), "checkpoint": number}
    assert model.context == plain.context
    assert model.render("a", "b") == plain.render("a", "b")


def test_the_folder_of_checkpoints_can_be_named_itself(run):
    number, place = checkpoint.find(run / "checkpoints", "last")
    assert (number, place.parent.name) == (1000, "step-0001000")


def test_it_has_the_keys_of_the_hugging_face_backend(run):
    assert TrainingCheckpoint(batch=3).batch == 3
    assert set(TrainingCheckpoint.model_fields) == {*HuggingFace.model_fields, "step"}


def test_a_step_that_is_not_there_names_those_that_are(run):
    with pytest.raises(NotFound, match="no checkpoint of step 51") as caught:
        TrainingCheckpoint(step=51).open(run)
    assert caught.value.hint == "steps that it has: 50, 100, 1000"


def test_an_artifact_without_checkpoints_says_what_it_holds(make, tmp_path):
    with pytest.raises(NotFound, match=r"it holds .*config\.json") as caught:
        TrainingCheckpoint().open(make.stub().path)
    assert "eval/hf" in caught.value.hint
    with pytest.raises(NotFound, match="it holds nothing"):
        TrainingCheckpoint().open(tmp_path)
    with pytest.raises(NotFound, match="it holds nothing"):
        TrainingCheckpoint().open(tmp_path / "nowhere")


@pytest.mark.parametrize("home", ["beside", "inside"])
@pytest.mark.parametrize("harm", ["changed", "missing", "unreadable", "no mapping"])
def test_a_checkpoint_that_was_touched_is_refused_by_name(tmp_path, home, harm):
    model = tmp_path / "checkpoints" / "step-0000007" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    listed = {p.name: files.digest_file(p) for p in model.iterdir()}
    place = model / "digests.json"
    if home == "beside":
        place = model.parent / "digests.json"
        listed = {f"model/{name}": digest for name, digest in listed.items()}
    place.write_text(json.dumps(listed))
    checkpoint.verify(model)
    if harm == "changed":
        (model / "model.safetensors").write_bytes(b"weightz")
    elif harm == "missing":
        (model / "model.safetensors").unlink()
    else:
        place.write_text("{" if harm == "unreadable" else "[1]")
    name = "model.safetensors" if harm in ("changed", "missing") else "digests.json"
    with pytest.raises(Altered, match=f"{name} of checkpoint step-0000007"):
        TrainingCheckpoint().open(tmp_path)
