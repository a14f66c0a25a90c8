"""Folders a tensor at a time; the oracle is the safetensors library."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yoriai import NotFound, Refused
from yoriai_domain_adapt.folders import tensors as folders

torch = pytest.importorskip("torch")
DTYPES = [getattr(torch, name) for _, name, _ in folders.DTYPES if name in (
    "bool", "uint8", "int8", "int16", "float16", "bfloat16", "int32", "float32", "float64", "int64"
)]  # fmt: skip

NAMES = st.text("ab.重é_1", min_size=1, max_size=8)
SHAPES = st.lists(st.integers(0, 4), max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAMES, st.tuples(st.sampled_from(DTYPES), SHAPES), max_size=6))
def test_the_bytes_are_those_of_the_safetensors_library(tmp_path, told):
    from safetensors.torch import save_file

    held = {name: torch.ones(shape).to(dtype) for name, (dtype, shape) in told.items()}
    save_file(held, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    outlines = {name: folders.outline_of(tensor) for name, tensor in held.items()}
    (tmp_path / "model.safetensors").unlink(missing_ok=True)
    if held:
        folders.write_weights(tmp_path, outlines, held.__getitem__)
        ours = (tmp_path / "model.safetensors").read_bytes()
        assert ours == (tmp_path / "theirs.safetensors").read_bytes()
    assert folders.read_header(tmp_path / "theirs.safetensors") == outlines


def test_a_large_model_is_several_files_that_transformers_reads(tmp_path, make):
    import transformers

    source = folders.Weights(make.model(num_hidden_layers=2).path)
    folders.write_weights(tmp_path, source.outlines, source.read, file_bytes=40_000)
    folders.write_config(tmp_path, source.config)
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 2
    again = folders.Weights(tmp_path)
    assert again.outlines == source.outlines
    models = [
        transformers.AutoModelForCausalLM.from_pretrained(f) for f in (source.folder, tmp_path)
    ]
    for one, other in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(one, other)


def test_only_one_tensor_is_held_at_a_time(tmp_path):
    import weakref

    outlines = {str(i): folders.Outline("float32", (8,)) for i in range(5)}
    living: list[weakref.ref] = []

    def produce(name):
        assert not [ref for ref in living if ref() is not None]
        tensor = torch.zeros(8)
        living.append(weakref.ref(tensor))
        return tensor

    folders.write_weights(tmp_path, outlines, produce)
    assert len(living) == 5


def test_what_cannot_be_read_is_refused_by_name(tmp_path, make):
    with pytest.raises(NotFound, match=r"no config\.json"):
        folders.Weights(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(Refused, match="no mapping"):
        folders.Weights(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(NotFound, match=r"no model\.safetensors") as told:
        folders.Weights(tmp_path)
    assert "can run code" in told.value.hint
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (tmp_path / folders.INDEX).write_text(json.dumps(index))
    with pytest.raises(Refused, match="no file of the folder"):
        folders.Weights(tmp_path)


def test_a_cut_file_is_told_by_its_size(tmp_path, make):
    path = make.model().path / "model.safetensors"
    (tmp_path / "model.safetensors").write_bytes(path.read_bytes()[:-7])
    with pytest.raises(Refused, match="its header asks for"):
        folders.read_header(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"nonsense and more")
    with pytest.raises(Refused, match="no safetensors file"):
        folders.read_header(tmp_path / "model.safetensors")


def test_a_failure_leaves_nothing_behind(tmp_path):
    def produce(name):
        raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space left on device") as told:
        folders.write_weights(tmp_path, {"a": folders.Outline("float32", (2,))}, produce)
    assert "free some space" in told.value.hint
    assert list(tmp_path.iterdir()) == []
