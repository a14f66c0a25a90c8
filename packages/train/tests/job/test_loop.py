"""The loop of one rank, in this process."""

import errno
import itertools
import json
import shutil

import pytest

torch = pytest.importorskip("torch")

from yoriai import YoriaiError  # noqa: E402
from yoriai_train.job import loop  # noqa: E402
from yoriai_train.model import weights  # noqa: E402
from yoriai_train.model.export import export  # noqa: E402
from yoriai_train.settings import checkpoints  # noqa: E402
from yoriai_train.settings import spec as specs  # noqa: E402
from yoriai_train.settings.shapes import Llama  # noqa: E402
from yoriai_train.settings.strategies import FSDP2, Single  # noqa: E402

SHAPE = Llama(layers=2, width=16, heads=2, key_value_heads=1, feed_forward=32, context=16)


@pytest.fixture
def spec(shards, pieces, tmp_path):
    def make(**changes):
        folder = tmp_path / "scratch"
        folder.mkdir(exist_ok=True)
        told = {
            **specs.describe_strategy(Single()),
            "model": SHAPE.transformers_config(260),
            "tokens": str(shards.path), "tokenizer": str(pieces.path),
            "out": str(tmp_path / "out"), "scratch": str(folder), "steps": 5, "batch": 2,
            "context": 16, "schedule": {"warmup_steps": 1}, "checkpoint": {"every_steps": 2},
            "seed": 1,
        }  # fmt: skip
        return specs.Spec(**(told | changes))

    return make


def test_a_checkpoint_is_a_model_with_the_logits_of_the_trainer(spec, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loop.run(spec())
    whole = tmp_path / "scratch" / "step-0000004"
    exported = AutoModelForCausalLM.from_pretrained(whole / "model")
    held = torch.load(whole / "state", weights_only=True)["state_dict"]
    trained = loop.load_model(spec())
    trained.load_state_dict(
        {n.removeprefix("model."): t for n, t in held.items() if n.startswith("model.")}
    )
    ids = torch.arange(32).view(2, 16)
    with torch.inference_mode():
        assert torch.equal(exported(ids).logits, trained(ids).logits)
    assert AutoTokenizer.from_pretrained(whole / "model").eos_token == "</s>"


def test_the_folder_is_asked_what_the_model_in_training_was_asked(spec, tmp_path):
    loop.run(spec())
    found = json.loads((tmp_path / "scratch" / "parity.json").read_bytes())
    assert set(found) == {"logits", "divergence", "bits_per_token"}
    assert found["logits"]["tolerance"] == 1e-3
    assert 0 <= found["logits"]["found"] < 1e-4
    assert abs(found["bits_per_token"]["found"]) < 1e-4


def test_a_folder_that_is_not_the_model_in_training_ends_the_run(spec, tmp_path, monkeypatch):
    def write(given, model, folder, tokenizer):
        with torch.no_grad():
            model.get_output_embeddings().weight[5] += 0.01
        written(given, model, folder, tokenizer)

    written = loop.write_model
    monkeypatch.setattr(loop, "write_model", write)
    with pytest.raises(YoriaiError, match="is not the model in training: its log-prob"):
        loop.run(spec(checkpoint=checkpoints.Policy(every_steps=100)))
    assert not (tmp_path / "scratch" / "parity.json").exists()


@pytest.mark.parametrize("norm", [0.0, float("nan")])
def test_a_gradient_of_nothing_ends_the_run_as_failed_and_is_never_kept(
    spec, tmp_path, monkeypatch, norm
):
    monkeypatch.setattr(loop.CausalModule, "take_grad_norm", lambda module: norm)
    with pytest.raises(YoriaiError, match=f"norm of the gradient is {norm} at step 1: "):
        loop.run(spec())
    assert not list((tmp_path / "scratch").glob("step-*"))


def test_early_weights_are_kept_and_states_are_not(spec, tmp_path):
    policy = checkpoints.Policy(every_steps=100, keep_last=1, early=True)
    loop.run(spec(steps=9, checkpoint=policy))
    kept = checkpoints.kept(tmp_path / "scratch", policy)
    assert [step for step, _ in kept] == [1, 2, 4, 8]
    assert len(list((tmp_path / "scratch").glob("step-*"))) == 1
    assert all((folder / "model.safetensors").is_file() for _, folder in kept)


def test_a_disk_that_fills_up_in_a_checkpoint_harms_no_other(spec, tmp_path, monkeypatch):
    real = checkpoints.seal

    def seal(folder, step, about):
        if step == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(folder, step, about)

    monkeypatch.setattr(checkpoints, "seal", seal)
    with pytest.raises(OSError, match="No space left"):
        loop.run(spec())
    found, problems = checkpoints.newest(tmp_path / "scratch")
    assert (found.step, problems) == (2, [])
    assert (tmp_path / "scratch" / "part-0000004").is_dir()


def test_documents_do_not_see_one_another_where_boundaries_are_on(spec):
    """The loss of a window of two documents is that of the two apart."""
    from yoriai_train.job import batches
    from yoriai_train.model.loss import IGNORED, Head

    made = batches.maker(spec(boundaries=True, context=64, batch=8), 0, 1)(0)
    model = loop.load_model(spec(model=SHAPE.transformers_config(260)))
    head = Head(model)
    ids, y, positions = made["input_ids"], made["targets"], made["position_ids"]
    head.loss(model, y, input_ids=ids, position_ids=positions)
    together = head.losses_N.view_as(y)
    starts = positions == 0
    assert (starts.sum(1) > 1).any(), "the windows of this test should hold several documents"
    for r in range(len(ids)):
        edges = [*starts[r].nonzero().flatten().tolist(), ids.shape[1]]
        for begin, end in itertools.pairwise(edges):
            part = slice(begin, end)
            head.loss(model, y[r : r + 1, part].contiguous(), input_ids=ids[r : r + 1, part])
            torch.testing.assert_close(head.losses_N, together[r, part], rtol=1e-4, atol=1e-4)
        # Nobody is asked to foretell the first token of the next document.
        assert all(y[r, edge - 1] == IGNORED for edge in edges[1:-1])


def test_the_mean_is_over_all_tokens_of_a_step_however_they_are_spread(spec, tmp_path):
    """One step of eight sequences, in one micro-batch and in four, with unequal counts."""
    rows = []
    for name, batch, accumulate in (("one", 8, 1), ("four", 2, 4)):
        folder = tmp_path / name
        folder.mkdir()
        loop.run(
            spec(
                batch=batch,
                accumulate=accumulate,
                boundaries=True,
                steps=3,
                scratch=str(folder),
                out=str(folder / "out"),
            )
        )
        text = (folder / "training.jsonl").read_text().splitlines()
        rows.append([json.loads(line) for line in text])
    assert min(one["tokens"] for one in rows[0]) < 8 * 16, "some targets must not count"
    for one, four in zip(*rows, strict=True):
        assert one["tokens"] == four["tokens"]
        assert one["loss"] == pytest.approx(four["loss"], abs=1e-6)
        assert one["grad_norm"] == pytest.approx(four["grad_norm"], rel=1e-4)
        assert one["losses"] == pytest.approx(four["losses"], abs=1e-6)


def test_liger_is_refused_where_there_is_no_gpu(spec):
    with pytest.raises(YoriaiError, match="run on GPUs only"):
        loop.run(spec(liger=True))


def test_liger_is_asked_for_everything_but_the_loss(spec, monkeypatch):
    from transformers.integrations import liger

    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(liger, "apply_liger_kernel", lambda model, told: asked.append(told))
    loop.apply_liger(object())
    assert asked == [{"cross_entropy": False, "fused_linear_cross_entropy": False}]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="inductor compiles with a C++ compiler")
def test_compiled_blocks_give_the_losses_of_eager_ones(spec, tmp_path, monkeypatch):
    """Within 1e-6 over six steps: kernels that are put together round otherwise."""
    from torch._dynamo.utils import counters

    # What was compiled before, in another run of the tests, would not be compiled again.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    losses = {}
    for compiled in (False, True):
        counters.clear()
        folder = tmp_path / str(compiled)
        folder.mkdir()
        loop.run(spec(compile=compiled, steps=6, scratch=str(folder), out=str(folder / "out")))
        text = (folder / "training.jsonl").read_text().splitlines()
        losses[compiled] = [json.loads(line)["loss"] for line in text]
        assert bool(counters["stats"]["unique_graphs"]) == compiled
    assert losses[True] == pytest.approx(losses[False], abs=1e-6, rel=0)
    assert losses[True][-1] < losses[True][0]


def test_a_model_to_go_on_from_computes_activations_again_if_asked(spec, make):
    """from_pretrained gives evaluation's mode, in which it would keep them."""
    model = loop.load_model(spec(start=str(make.model().path)))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    calls = []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    model(torch.arange(16)[None], use_cache=False).logits.sum().backward()
    assert len(calls) == 2


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "llama"])
@pytest.mark.parametrize("strategy", [Single(), FSDP2()], ids=["whole", "cut"])
def test_a_model_to_go_on_from_has_no_dropout(kind, strategy, spec, tmp_path):
    """Its random numbers would not be those of the uninterrupted run when one goes on."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    drops = {"attention_dropout": 0.5, "hidden_dropout": 0.5}
    drops |= {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5}
    config = AutoConfig.for_model(kind, **sizes, intermediate_size=32, **drops)
    source = AutoModelForCausalLM.from_config(config).eval()
    source.save_pretrained(tmp_path / "start")
    job_spec = spec(start=str(tmp_path / "start"), **specs.describe_strategy(strategy))
    model = loop.load_model(job_spec)
    weights.fill(model, job_spec)
    assert model.training
    ids = torch.arange(16)[None]
    assert torch.equal(model(ids).logits, source(ids).logits)
    export(model, tmp_path / "out", None)
    told = [json.loads((tmp_path / n / "config.json").read_bytes()) for n in ("start", "out")]
    assert {k: v for k, v in told[0].items() if "drop" in k} == {
        k: v for k, v in told[1].items() if "drop" in k
    }
