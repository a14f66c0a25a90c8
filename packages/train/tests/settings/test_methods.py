"""Methods of tuning: adapters are PEFT's, beside frozen weights, and belong to one base."""

import errno
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from yoriai import Altered, Refused, UsageError, YoriaiError, artifact
from yoriai_train.commands.merge import merge as merge_command
from yoriai_train.settings.methods import Full, LoRA

KINDS = {
    "llama": {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 40,
    },
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 40},
    "gpt_neox": {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "vocab_size": 40,
    },
}  # fmt: skip
TARGETS = {
    "llama": {
        "attention": ["self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj"],
        "feed-forward": ["mlp.down_proj", "mlp.gate_proj", "mlp.up_proj"],
    },
    "gpt2": {
        "attention": ["attn.c_attn", "attn.c_proj"],
        "feed-forward": ["mlp.c_fc", "mlp.c_proj"],
    },
    "gpt_neox": {
        "attention": ["attention.dense", "attention.query_key_value"],
        "feed-forward": ["mlp.dense_4h_to_h", "mlp.dense_h_to_4h"],
    },
}


def model_of(kind, seed=0):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **KINDS[kind], bos_token_id=1, eos_token_id=2)
    return AutoModelForCausalLM.from_config(config)


def moved(model):
    """Give the adapter's second matrices, which begin as zeros, some numbers."""
    import torch

    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_roles_name_the_matrices_of_each_kind_and_all_else_is_frozen(kind):
    for targets in (["attention"], ["feed-forward"], ["attention", "feed-forward"]):
        model = model_of(kind)
        method = LoRA(rank=3, targets=targets)
        wanted = sorted(name for role in targets for name in TARGETS[kind][role])
        if kind == "llama" and "attention" in targets:
            wanted = sorted([*wanted, "self_attn.v_proj"])
        assert method._by_role(model) == wanted
        method.adapt(model)
        learned = [n for n, p in model.named_parameters() if p.requires_grad]
        assert all("lora_" in name for name in learned)
        assert len(learned) == 2 * 2 * len(wanted)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("llama", {}),
        ("llama", {"dora": True}),
        ("llama", {"rslora": True, "targets": ["attention"]}),
        ("gpt2", {"modules": ["c_attn", "c_proj", "c_fc"], "alpha": 32}),
        ("gpt_neox", {}),
    ],
)
def test_an_adapter_is_read_by_plain_peft_with_the_same_logits_also_merged(kind, options, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from yoriai_train.model.adapter import BASE, export_adapter, merge, note_base

    base = tmp_path / "base"
    model_of(kind).save_pretrained(base)
    model, method = model_of(kind), LoRA(rank=4, **options)
    method.adapt(model)
    moved(model)
    adapter = tmp_path / "adapter"
    assert export_adapter(method, model, adapter)
    note_base(base, "test/base@1", adapter)
    assert {p.name for p in adapter.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", BASE
    }  # fmt: skip
    assert str(Path.home()) not in (adapter / "adapter_config.json").read_text()
    ids = torch.arange(3, 19).view(2, 8)
    plain = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        wanted = model.eval()(ids).logits
        untuned = plain(ids).logits
        read = PeftModel.from_pretrained(plain, adapter)(ids).logits
        merge(base, adapter, tmp_path / "merged")
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(ids).logits
    assert (wanted - untuned).abs().max() > 1e-3
    torch.testing.assert_close(read, wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(merged, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("altered", ["base", "adapter"])
def test_a_merge_of_a_sealed_folder_that_was_altered_is_refused(altered, tmp_path):
    for name in ("base", "adapter"):
        out = tmp_path / f"{name}.out"
        (out / "adapter").mkdir(parents=True)
        for place in (out, out / "adapter"):
            (place / "config.json").write_text("{}")
        identity = {
            "kind": "model", "name": f"t/{name}@1", "step": "", "config": {}, "code": [], "seed": 0,
            "outside": {}, "inputs": [], "sources": [], "licence": "", "facts": {},
        }  # fmt: skip
        artifact.seal(out, tmp_path / name, identity=identity, circumstances={})
    (tmp_path / altered / "config.json").write_text("[]")
    words = [str(tmp_path / "base"), str(tmp_path / "adapter/adapter"), str(tmp_path / "merged")]
    told = CliRunner().invoke(merge_command, words)
    assert isinstance(told.exception, Altered)
    assert f"{altered}/config.json has other bytes" in str(told.exception)


def test_loss_and_gradients_are_those_of_plain_peft():
    import torch
    from peft import LoraConfig, get_peft_model

    from yoriai_train.model.cpu_llama import use_lean
    from yoriai_train.model.cpu_products import use_products
    from yoriai_train.model.loss import IGNORED, Head

    ids = torch.randint(3, 40, (2, 12), generator=torch.Generator().manual_seed(2))
    labels = ids.clone()
    labels[:, :5] = IGNORED
    config = LoraConfig(r=4, lora_alpha=16, task_type="CAUSAL_LM", target_modules="all-linear")
    theirs = get_peft_model(model_of("llama"), config)
    moved(theirs)
    out = theirs(input_ids=ids, labels=labels)
    out.loss.backward()
    ours = model_of("llama")
    LoRA(rank=4, alpha=16).adapt(ours)
    moved(ours)
    use_products(ours)
    use_lean(ours)
    head = Head(ours.train())
    targets = torch.cat([labels[:, 1:], torch.full((2, 1), IGNORED)], dim=1)
    loss = head.loss(ours, targets, input_ids=ids) / (targets != IGNORED).sum()
    loss.backward()
    assert float(loss) == pytest.approx(float(out.loss), rel=1e-6)
    grads = {n: p.grad for n, p in ours.named_parameters() if p.requires_grad}
    expected = {
        n.removeprefix("base_model.model."): p.grad
        for n, p in theirs.named_parameters()
        if p.requires_grad
    }
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-4, atol=1e-6)
    assert all(p.grad is None for p in ours.parameters() if not p.requires_grad)


def test_an_adapter_on_another_base_is_refused_whatever_files_the_weights_lie_in(tmp_path):
    from yoriai_train.model.adapter import check_base, digest_weights, export_adapter, note_base

    for name, seed in (("base", 0), ("other", 5)):
        model_of("llama", seed).save_pretrained(tmp_path / name)
    model_of("llama").save_pretrained(tmp_path / "cut", max_shard_size="5KB")
    assert len(list((tmp_path / "cut").glob("*.safetensors"))) > 1
    assert digest_weights(tmp_path / "cut") == digest_weights(tmp_path / "base")
    model, method = model_of("llama"), LoRA(rank=2)
    method.adapt(model)
    export_adapter(method, model, tmp_path / "adapter")
    with pytest.raises(UsageError, match="does not say which weights"):
        check_base(tmp_path / "base", tmp_path / "adapter")
    note_base(tmp_path / "base", "test/base@1", tmp_path / "adapter")
    check_base(tmp_path / "cut", tmp_path / "adapter")
    with pytest.raises(UsageError, match=r"was made for test/base@1, .* has other weights"):
        check_base(tmp_path / "other", tmp_path / "adapter")
    with pytest.raises(UsageError, match="is no adapter"):
        check_base(tmp_path / "base", tmp_path / "base")


def test_weights_with_a_false_header_have_no_digest(tmp_path):
    from yoriai_train.model.adapter import digest_weights

    model_of("llama").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(Refused, match=r"model\.safetensors cannot be read: .*its header asks for"):
        digest_weights(tmp_path)


@pytest.mark.parametrize("words", ["OSError", "SafetensorError"])
def test_a_merge_onto_a_full_disk_says_so_and_leaves_nothing(words, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    from yoriai_train.model import adapter, export

    model_of("llama", 0).save_pretrained(tmp_path / "base")
    model, method = model_of("llama", 0), LoRA(rank=2)
    method.adapt(model)
    adapter.export_adapter(method, model, tmp_path / "adapter")
    adapter.note_base(tmp_path / "base", "test/base@1", tmp_path / "adapter")
    full = OSError(errno.ENOSPC, "No space left on device")
    if words == "SafetensorError":
        full = SafetensorError("I/O error: No space left on device (os error 28)")

    def write(model, folder, *_):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"begun")
        raise full

    monkeypatch.setattr(export, "export", write)
    with pytest.raises(YoriaiError, match=r"cannot write merged: .*No space left") as told:
        adapter.merge(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")
    assert "free some space" in told.value.hint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter", "base"]


def test_names_that_the_model_has_not_are_refused():
    with pytest.raises(UsageError, match="a llama has no c_attn, wq"):
        LoRA(modules=["c_attn", "q_proj", "wq"]).adapt(model_of("llama"))


def test_without_peft_the_way_to_get_it_is_told(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError) as caught:
        LoRA().adapt(model_of("llama"))
    assert "peft is not installed" in str(caught.value)
    assert caught.value.hint == "pip install 'yoriai-train[lora]'"


def test_full_tuning_changes_and_stores_nothing_of_its_own():
    model = model_of("llama")
    Full().adapt(model)
    assert all(p.requires_grad for p in model.parameters())
    assert Full().adapter(model) is None


def test_an_adapter_configuration_has_no_path(tmp_path):
    model, method = model_of("llama"), LoRA()
    method.adapt(model)
    method.write(model, {}, tmp_path)
    told = json.loads((tmp_path / "adapter_config.json").read_bytes())
    assert (told["r"], told["lora_alpha"], told["base_model_name_or_path"]) == (8, 16, None)


@pytest.mark.parametrize("method", ["train/qlora", {"use": "train/qlora", "rank": 8}])
def test_qlora_is_refused_by_name_with_the_reason_and_what_to_do(method):
    import pydantic

    from yoriai_train.steps.tune import Tune

    told = {"data": [{"use": "train/jsonl", "path": "a.jsonl"}], "method": method}
    with pytest.raises(pydantic.ValidationError) as caught:
        Tune.model_validate(told)
    [error] = caught.value.errors()
    assert error["msg"].startswith("QLoRA is not offered: its adapter fits weights of four bits")
    assert "train/lora with precision: bf16-true" in error["ctx"]["hint"]
