"""Weights made one tensor at a time: the numbers of a whole build, and never a whole model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from yoriai import UsageError  # noqa: E402
from yoriai_train.job import loop  # noqa: E402
from yoriai_train.job.ranks import command  # noqa: E402
from yoriai_train.model import weights  # noqa: E402
from yoriai_train.model.export import export  # noqa: E402
from yoriai_train.model.initial import initialise  # noqa: E402
from yoriai_train.settings import spec as job  # noqa: E402
from yoriai_train.settings.shapes import GPT2, GPTNeoX, Llama  # noqa: E402
from yoriai_train.settings.strategies import DDP, FSDP2, DeepSpeed3, Single  # noqa: E402

RANKS = Path(__file__).with_name("building.py")
VOCABULARY = 261  # odd, as the other sizes below: shards of unequal length
TINY = {"width": 16, "heads": 2, "context": 16}
SHAPES = {
    "llama": Llama(**TINY, layers=6, key_value_heads=1, feed_forward=33, initial_deviation=0.3),
    "untied": Llama(**TINY, layers=2, key_value_heads=1, feed_forward=33, tied=False),
    "gpt2": GPT2(**TINY, layers=2),
    "neox": GPTNeoX(**TINY, layers=2, rotary_share=0.5),
    # Whose output layer is stored under another name.
    "untied-neox": GPTNeoX(**TINY, layers=2, rotary_share=0.5, tied=False),
}
# Those whose largest tensor is a small part: three quarters of a tied tiny Llama are embeddings.
DEEP = Llama(width=64, heads=2, key_value_heads=1, feed_forward=129, layers=12, context=16)


def build_whole(shape, seed=7):
    """The model as ``transformers`` builds it, drawn in place on one process."""
    from transformers import AutoConfig, AutoModelForCausalLM

    body = shape.transformers_config(VOCABULARY)
    config = AutoConfig.for_model(body.pop("model_type"), **body)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    initialise(model, shape, seed)
    return model


def tensors_of(model):
    pairs = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in pairs}


@pytest.fixture
def make_spec(shards, pieces, tmp_path):
    def make_spec(shape, strategy, **changes):
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        start = {} if "start" in changes else {"initial": shape.initial()}
        told = {
            **job.describe_strategy(strategy), **start,
            "model": {} if "start" in changes else shape.transformers_config(VOCABULARY),
            "tokens": str(shards.path), "tokenizer": str(pieces.path),
            "out": str(tmp_path / "out"), "scratch": str(scratch), "steps": 1, "batch": 2,
            "context": 16, "schedule": {"warmup_steps": 1}, "seed": 7,
        }  # fmt: skip
        return job.Spec(**(told | changes))

    return make_spec


def run_ranks(spec, strategy, expected, folder):
    """Build in processes of their own; what each rank told, or what went wrong."""
    from safetensors.torch import save_file

    save_file(expected, folder / "expected.safetensors")
    (folder / "spec.json").write_text(spec.model_dump_json())
    words = [str(RANKS), str(folder / "spec.json"), str(folder / "expected.safetensors")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command(strategy, words), capture_output=True, text=True, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith('[{"differ"')]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[0])


@pytest.mark.parametrize("name", SHAPES)
def test_an_outline_that_is_filled_is_the_model_built_whole(name, make_spec):
    spec = make_spec(SHAPES[name], Single())
    model = loop.load_model(spec)
    assert all(parameter.is_meta for parameter in model.parameters())
    weights.fill(model, spec)
    expected, found = tensors_of(build_whole(SHAPES[name])), tensors_of(model)
    assert list(found) == list(expected)
    assert all(torch.equal(found[n], t) for n, t in expected.items())
    with torch.inference_mode():
        ids = torch.arange(16)[None]
        assert torch.equal(model(ids).logits, build_whole(SHAPES[name])(ids).logits)


def test_parameters_and_buffers_go_where_the_strategy_wants_a_model(make_spec):
    """DeepSpeed says so by the device and dtype of new tensors, and moves nothing afterwards."""
    spec = make_spec(SHAPES["llama"], Single())
    model = loop.load_model(spec)
    assert {t.device.type for t in model.buffers()} == {"cpu"}
    with torch.device("meta"):
        weights.fill(model, spec)
    assert {t.device.type for t in [*model.parameters(), *model.buffers()]} == {"meta"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="names the loopback as Linux does")
@pytest.mark.parametrize("strategy", [FSDP2, DeepSpeed3], ids=["fsdp2", "deepspeed-3"])
class TestTwoRanks:
    @pytest.mark.parametrize("shape", ["llama", "gpt2", "neox"])
    def test_have_the_numbers_of_one_to_the_last_bit(self, strategy, shape, make_spec, tmp_path):
        strategy = strategy(processes=2)
        spec = make_spec(SHAPES[shape], strategy, precision="bf16-mixed")
        told = run_ranks(spec, strategy, tensors_of(build_whole(SHAPES[shape])), tmp_path)
        assert [rank["differ"] for rank in told] == [[], []]
        assert [rank["tied"] for rank in told] == [True, True]
        shadow = isinstance(strategy, DeepSpeed3)
        assert told[0]["dtypes"] == ["torch.bfloat16" if shadow else "torch.float32"]

    @pytest.mark.parametrize("start", [False, True], ids=["drawn", "from-a-folder"])
    def test_hold_half_of_the_model_and_its_largest_tensor(
        self, strategy, start, make_spec, tmp_path
    ):
        strategy, model = strategy(processes=2), build_whole(DEEP)
        changes = {}
        if start:
            folder = tmp_path / "start"
            model.save_pretrained(folder, max_shard_size="200KB")
            assert len(list(folder.glob("*.safetensors"))) > 2
            changes = {"start": str(folder)}
        sizes = [p.numel() * 4 for p in model.parameters()]
        spec = make_spec(DEEP, strategy, **changes)
        told = run_ranks(spec, strategy, tensors_of(model), tmp_path)
        for rank in told:
            assert rank["differ"] == []
            assert rank["dtypes"] == ["torch.float32"]
            # A tenth for buffers, uneven shards and what the libraries add.
            assert sum(sizes) / 2 <= rank["most"] < 1.1 * (sum(sizes) / 2 + max(sizes))
        assert max(sizes) < sum(sizes) / 8


def test_only_strategies_that_cut_the_model_read_a_folder_by_the_tensor(make_spec, tmp_path):
    build_whole(SHAPES["llama"]).half().save_pretrained(tmp_path / "start")
    for strategy, later in ((Single(), False), (DDP(), False), (FSDP2(), True)):
        spec = make_spec(SHAPES["llama"], strategy, start=str(tmp_path / "start"))
        model = loop.load_model(spec)
        assert all(p.is_meta == later for p in model.parameters())
        weights.fill(model, spec)
        assert {str(p.dtype) for p in model.parameters()} == {"torch.float32"}
        expected = tensors_of(build_whole(SHAPES["llama"]).half().float())
        assert all(torch.equal(t, expected[n]) for n, t in model.named_parameters())


@pytest.mark.parametrize("name", SHAPES)
def test_a_folder_gives_what_from_pretrained_gives(name, make_spec, tmp_path):
    from transformers import AutoModelForCausalLM

    model = build_whole(SHAPES[name])
    model.generation_config.max_new_tokens = 7
    model.save_pretrained(tmp_path / "start")
    spec = make_spec(SHAPES[name], FSDP2(), start=str(tmp_path / "start"))
    model = loop.load_model(spec)
    weights.fill(model, spec)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "start", dtype=torch.float32)
    expected, found = tensors_of(theirs), tensors_of(model)
    assert list(found) == list(expected)
    assert all(torch.equal(found[n], t) for n, t in expected.items())
    assert model.generation_config.to_dict() == theirs.generation_config.to_dict()
    export(model, tmp_path / "again", None)
    files = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("start", "again")]
    assert files[0] == files[1]


def test_experts_of_a_mixture_are_refused_where_no_rank_holds_the_model(make_spec, tmp_path):
    from transformers import AutoModelForCausalLM, MixtralConfig

    config = MixtralConfig(
        hidden_size=16, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1,
        num_hidden_layers=1, num_local_experts=2, vocab_size=32,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "start")
    spec = make_spec(SHAPES["llama"], FSDP2(), start=str(tmp_path / "start"))
    with pytest.raises(UsageError, match=r"experts.* in another form than a mixtral"):
        weights.fill(loop.load_model(spec), spec)


def change_folder(folder, change):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


NORM = "model.layers.1.input_layernorm.weight"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: {n: v for n, v in t.items() if n != NORM}, f"lacks {NORM}"),
        (lambda t: t | {"model.gate": torch.ones(2)}, "has what the model has not: model.gate"),
        (lambda t: t | {NORM: torch.ones(3)}, rf"{NORM} has the shape \[3\], by config.json"),
        (
            lambda t: t | {"lm_head.weight": torch.ones(261, 16)},
            r"embed_tokens\.weight and lm_head\.weight, which are one tensor",
        ),
    ],
    ids=["missing", "unexpected", "mismatched", "untied"],
)
def test_a_folder_that_does_not_fit_is_refused_by_name(change, told, make_spec, tmp_path):
    build_whole(SHAPES["llama"]).save_pretrained(tmp_path / "start")
    change_folder(tmp_path / "start", change)
    spec = make_spec(SHAPES["llama"], FSDP2(), start=str(tmp_path / "start"))
    with pytest.raises(UsageError, match=told):
        weights.fill(loop.load_model(spec), spec)


def test_names_without_the_prefix_and_stored_frequencies_are_no_obstacle(make_spec, tmp_path):
    """As in the first GPT-2 on the Hub, and in Llamas of 2023."""
    for name, extra in (("gpt2", {}), ("llama", {"layers.0.self_attn.rotary_emb.inv_freq": 1})):
        folder = tmp_path / name
        model = build_whole(SHAPES[name])
        model.save_pretrained(folder)
        prefix = model.base_model_prefix + "."
        spare = {key: torch.ones(4) for key in extra}
        change_folder(
            folder, lambda t, p=prefix, s=spare: {n.removeprefix(p): v for n, v in t.items()} | s
        )
        spec = make_spec(SHAPES[name], FSDP2(), start=str(folder))
        filled = loop.load_model(spec)
        weights.fill(filled, spec)
        assert all(torch.equal(t, tensors_of(model)[n]) for n, t in tensors_of(filled).items())


def test_a_folder_without_safetensors_is_refused(make_spec, tmp_path):
    model = build_whole(SHAPES["llama"])
    model.save_pretrained(tmp_path / "start")
    (tmp_path / "start" / "model.safetensors").unlink()
    spec = make_spec(SHAPES["llama"], FSDP2(), start=str(tmp_path / "start"))
    with pytest.raises(UsageError, match=r"has no model\.safetensors"):
        weights.fill(loop.load_model(spec), spec)


def test_a_shape_that_does_not_say_how_it_begins_is_drawn_by_transformers(make_spec):
    spec = make_spec(SHAPES["llama"], FSDP2(), initial={})
    model = loop.load_model(spec)
    assert not any(parameter.is_meta for parameter in model.parameters())
    before = tensors_of(model)
    weights.fill(model, spec)
    assert all(torch.equal(t, before[n]) for n, t in tensors_of(model).items())


def test_a_run_that_goes_on_draws_nothing_before_it_reads_its_checkpoint(
    make_spec, monkeypatch, tmp_path
):
    spec = make_spec(SHAPES["llama"], Single(), steps=2, checkpoint={"every_steps": 1})
    loop.run(spec)
    whole = tmp_path / "out" / "model.safetensors"
    expected = whole.read_bytes()
    whole.unlink()
    monkeypatch.setattr(weights.Drawn, "rows", None)
    checkpoint = tmp_path / "scratch" / "step-0000001"
    resumed = {"resume": str(checkpoint), "resume_state": str(checkpoint / "state")}
    loop.run(spec.model_copy(update=resumed))
    assert whole.read_bytes() == expected


def test_the_row_of_the_pad_mark_is_empty_wherever_it_is_drawn():
    model = build_whole(SHAPES["untied"])
    model.model.embed_tokens.padding_idx = 3
    shape = SimpleNamespace(layers=2, initial_deviation=0.02, scaled_outputs=False)
    rows = weights.Drawn(model, shape, 7).rows("model.embed_tokens.weight", (9, 4), slice(2, 5))
    assert [bool(row.any()) for row in rows] == [True, False, True]
