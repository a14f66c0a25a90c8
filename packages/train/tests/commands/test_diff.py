"""``yoriai train diff`` on presets, recipes and models."""

import json
import shutil

import pytest
from click.testing import CliRunner

from yoriai import artifact, files
from yoriai.cli import Context
from yoriai_train.commands.diff import diff


@pytest.fixture(scope="module")
def run():
    shared = Context(None, False)

    def call(*words):
        from yoriai import YoriaiError

        done = CliRunner().invoke(diff, words, obj=shared)
        if isinstance(done.exception, YoriaiError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return call


def test_the_two_172b_runs_are_told_apart_in_words(run):
    text = run("llm-jp-3-172b-exp1", "llm-jp-3-172b")
    assert "Adam's epsilon" in text
    assert "x 0.001" in text
    assert text.count("warning: ") == 1
    assert "warning: llm-jp-3-172b-exp1: optimizer.epsilon 1e-5" in text
    assert "inner size" not in text
    assert "inner size" in run("llm-jp-3-172b-exp1", "llm-jp-3-172b", "--all")


def test_json_holds_every_row_and_both_sides(run):
    value = json.loads(run("llm-jp-13b", "llm-jp-3-13b", "--json"))
    rows = {row["key"]: row for row in value["rows"]}
    assert rows["model.layers"]["same"]
    assert rows["schedule.peak"]["ratio"] == 2.0
    assert (rows["model.use"]["a"], rows["model.use"]["b"]) == ("train/gpt2", "train/llama")
    assert value["b"]["references"][0] == "llm-jp-3-13b"
    assert value["a"]["warnings"] == value["b"]["warnings"] == []


def test_a_training_does_not_differ_from_itself(run):
    text = run("gpt3-175b", "gpt3-175b")
    assert "values are the same" in text
    assert "nothing in either departs" in text


def sealed(make, tmp_path, config, step="train/pretrain"):
    """A model as train/pretrain leaves one, without weights."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text(json.dumps({"vocab_size": 300}))
    made = make.seal(out, tmp_path / "base", "model", step, {"parameters": 12_345})
    manifest = json.loads((made.path / artifact.MANIFEST).read_bytes())
    manifest |= {"config": config}
    manifest["digest"] = files.digest_json({key: manifest[key] for key in artifact.IDENTITY})
    body = {key: value for key, value in manifest.items() if key != "seal"}
    text = files.canonical_json({**body, "seal": files.digest_json(body)})
    (made.path / artifact.MANIFEST).write_bytes(text)
    return str(made.path)


def test_a_model_is_compared_by_the_configuration_sealed_with_it(run, make, tmp_path):
    config = {
        "model": {"use": "train/llama", "layers": 7},
        "steps": 50,
        "clip": 1.0,
        "optimizer": {"epsilon": 1e-5},
        "prompts": ["x"],
    }
    folder = sealed(make, tmp_path, config)
    value = json.loads(run(folder, "llm-jp-3-1.8b-small", "--json"))
    rows = {row["key"]: row for row in value["rows"]}
    assert rows["model.layers"]["a"] == 7
    assert rows["parameters"]["a"] == 12_345
    assert rows["vocabulary_size"]["a"] == 300
    assert value["a"]["warnings"][0].startswith("optimizer.epsilon 1e-5")


def test_a_model_of_another_step_is_refused(run, make, tmp_path):
    from yoriai import UsageError

    folder = sealed(make, tmp_path, {}, step="train/tune")
    with pytest.raises(UsageError, match="made by train/tune"):
        run(folder, "gpt3-13b")


def recipe(folder, *steps):
    """A recipe that pre-trains on a tokens and a tokenizer artifact, once or more."""
    path = folder / "mine.yaml"
    lines = ["name: mine", "steps:"]
    for name, layers in steps:
        told = f"model: {{use: train/llama, layers: {layers}}}"
        source = f"[{folder / 'tokens'}, {folder / 'pieces'}]"
        lines.append(f"  {name}: {{uses: train/pretrain, from: {source}, {told}}}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def folder(shards, pieces, tmp_path):
    shutil.copytree(shards.path, tmp_path / "tokens")
    shutil.copytree(pieces.path, tmp_path / "pieces")
    return tmp_path


def test_a_recipe_is_compared_with_its_defaults_written_out(run, folder):
    path = recipe(folder, ("base", 2))
    rows = {r["key"]: r for r in json.loads(run(path, f"{path}:base", "--json"))["rows"]}
    assert rows["model.layers"]["a"] == 2
    assert all(row["same"] for row in rows.values())


def test_a_recipe_with_two_trainings_wants_one_named(run, folder):
    from yoriai import NotFound, UsageError

    path = recipe(folder, ("one", 1), ("two", 2))
    with pytest.raises(UsageError, match="one, two") as caught:
        run(path, "gpt3-13b")
    assert caught.value.hint == f"name one: {path}:one"
    assert "x 2" in run(f"{path}:one", f"{path}:two")
    with pytest.raises(NotFound, match="no step 'three'"):
        run(f"{path}:three", "gpt3-13b")


def test_what_is_neither_is_told_with_the_nearest_preset(run, tmp_path):
    from yoriai import NotFound

    with pytest.raises(NotFound) as caught:
        run("llm-jp-13", "gpt3-13b")
    assert caught.value.hint == "did you mean 'llm-jp-13b'?"
    with pytest.raises(NotFound, match="is no model of this project"):
        run(str(tmp_path), "gpt3-13b")
