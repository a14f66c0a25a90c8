"""Models from elsewhere: data alone comes in, with its licence."""

import json

import pytest

from yoriai import Altered, NotFound, Refused, UsageError
from yoriai_domain_adapt.steps.outside_model import OutsideModel

pytest.importorskip("torch")


@pytest.fixture
def folder(make, tmp_path):
    import shutil

    made = make.byte_level("base", ["a text of words"], 262, kind="model")
    place = tmp_path / "published"
    shutil.copytree(made.path, place)
    (place / "artifact.json").unlink()
    (place / "modeling_evil.py").write_text("raise SystemExit")
    (place / "pytorch_model.bin").write_bytes(b"\x80\x04")
    (place / "README.md").write_text("# A card")
    return place


def step(folder, **more):
    return OutsideModel(path=str(folder), name="Published-1B", licence="MIT", **more)


def test_weights_and_tokenizer_are_taken_and_code_and_pickles_are_left_and_named(
    folder, yoriai_job
):
    made = yoriai_job("there", step(folder, languages=("en",)))
    assert made.facts["left_behind"] == ["modeling_evil.py", "pytorch_model.bin"]
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(
        made.manifest["files"]
    )
    [source] = made.manifest["sources"]
    assert (source["name"], source["licence"], source["languages"]) == (
        "Published-1B",
        "MIT",
        ["en"],
    )


def test_where_it_lies_is_no_part_of_what_it_is_and_its_bytes_are(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "elsewhere")
    one, other = step(folder), step(tmp_path / "elsewhere")
    assert one.fingerprint() == other.fingerprint()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 7}))
    assert one.fingerprint() != other.fingerprint()


def test_a_folder_that_was_sealed_here_and_altered_is_refused(make, tmp_path, yoriai_job):
    import shutil

    place = tmp_path / "sealed"
    shutil.copytree(make.byte_level("base", ["a text of words"], 262, kind="model").path, place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"rope_theta": 7}))
    with pytest.raises(Altered, match=r"config\.json has"):
        yoriai_job("there", step(place))


def test_a_tokenizer_that_does_not_fit_the_embedding_is_refused(folder, make, yoriai_job):
    larger = make.byte_level("more", ["words of a longer text with many more of them"], 280)
    (folder / "tokenizer.json").write_bytes((larger.path / "tokenizer.json").read_bytes())
    with pytest.raises(UsageError, match="its tokenizer has"):
        yoriai_job("there", step(folder))


def test_weights_that_are_no_numbers_do_not_come_in(folder, yoriai_job):
    from safetensors.torch import load_file, save_file

    held = load_file(folder / "model.safetensors")
    held["model.norm.weight"][0] = float("nan")
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Refused, match="numbers that are not finite"):
        yoriai_job("there", step(folder))


def test_a_model_that_needs_its_own_code_is_refused(folder, yoriai_job):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "modeling_evil.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Refused, match="run code of its own"):
        yoriai_job("there", step(folder))


def test_a_folder_may_be_named_by_a_variable_and_one_that_is_not_set_is_named(
    folder, monkeypatch, yoriai_job
):
    monkeypatch.setenv("PUBLISHED", str(folder))
    assert step("$PUBLISHED").fingerprint() == step(folder).fingerprint()
    made = yoriai_job("there", step("$PUBLISHED"))
    assert str(folder) not in json.dumps(made.manifest["config"])
    monkeypatch.delenv("PUBLISHED")
    with pytest.raises(NotFound, match=r"\$PUBLISHED: the variable is not set") as told:
        step("$PUBLISHED").fingerprint()
    assert told.value.hint == "export PUBLISHED=FOLDER"


def test_its_context_is_known_before_it_is_copied_and_goes_on_through_what_is_made_of_it(
    folder, yoriai_job
):
    from yoriai_domain_adapt.steps.quantise import Quantise
    from yoriai_domain_adapt.steps.vocab import Vocab

    context = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    expected = step(folder).expect([])
    assert expected["context"] == context
    wide = Vocab().expect([expected, {"vocabulary_size": 300}])
    assert wide == Quantise().expect([wide]) == {"context": context}
    # Of what is made the folder itself says it.
    assert Vocab().expect([{"made": yoriai_job("there", step(folder))}]) == wide
    assert step(folder / "nowhere").expect([]) == {}


def test_a_folder_without_a_configuration_is_refused(tmp_path, yoriai_job):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Exception, match=r"no config\.json"):
        yoriai_job("there", step(tmp_path / "empty"))
