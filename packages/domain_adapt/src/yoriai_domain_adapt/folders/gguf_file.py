"""Writing a Hugging Face folder as one GGUF file, a tensor at a time.

The writer is llama.cpp's own (package ``gguf``). Names of tensors and keys are those of its
``convert_hf_to_gguf.py``. Integers of a quantised folder are packed again and not rounded again:
4 bits by groups of 32, 64 or 128 are ``Q4_0``, 8 bits a row ``Q8_0``; only their scales become
fp16, as the format has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from yoriai import UsageError, files
from yoriai_domain_adapt.folders.gguf_vocabulary import Vocabulary, read_vocabulary
from yoriai_domain_adapt.folders.layers import outline
from yoriai_domain_adapt.folders.tensors import Weights, vocabulary_size

if TYPE_CHECKING:
    import torch

Kind = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
BLOCK = 32  # weights that share a scale in Q4_0 and Q8_0
LLAMA = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
GPT2 = {
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down", "ln_1": "attn_norm", "ln_2": "ffn_norm",
}  # fmt: skip
TOP = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Planned:
    """One tensor to be: its name and shape there, its form, and how to make it."""

    name: str
    shape: tuple[int, ...]
    form: str
    make: Callable[[], Any]


def write_gguf(folder: Path, target: Path, kind: Kind, *, name: str = "") -> dict[str, Any]:
    """Write the model of ``folder`` to the file ``target``; what was written.

    ``kind`` counts for matrices that are not integers already; vectors are f32. Raises
    :class:`yoriai.UsageError` for what llama.cpp has no place for, before anything is written.
    """
    import gguf

    weights = Weights(folder, quantised=True)
    architecture = str(weights.config.get("model_type"))
    if architecture not in ("llama", "gpt2"):
        raise UsageError(
            f"{folder.name} is a {architecture}: llama and gpt2 can be written as GGUF",
            hint="llama.cpp's own convert_hf_to_gguf.py knows more kinds",
        )
    # What the file leaves out has a default in transformers, which looks at types, too.
    weights.config |= outline(folder).config.to_dict()
    vocabulary = read_vocabulary(folder, vocabulary_size(weights))
    plan = _plan(weights, architecture, kind)
    part = target.with_name(f".{target.name}.part")
    writer = gguf.GGUFWriter(str(part), architecture)
    writer.add_name(name or folder.name)
    _add_keys(writer, weights.config, architecture)
    _add_vocabulary(writer, vocabulary)
    forms = {
        form: getattr(gguf.GGMLQuantizationType, form.upper()) for form in {p.form for p in plan}
    }
    file_type = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}  # llama.cpp's LLAMA_FTYPE
    main = max(file_type, key=lambda form: sum(_numel(p.shape) for p in plan if p.form == form))
    writer.add_file_type(file_type[main])
    if forms.keys() & {"q8_0", "q4_0"}:
        writer.add_quantization_version(2)  # GGML_QNT_VERSION
    import numpy as np

    for planned in plan:
        size = gguf.GGML_QUANT_SIZES[forms[planned.form]]
        bytes_ = _numel(planned.shape) // size[0] * size[1]
        dtype = np.dtype(np.float32 if planned.form == "f32" else np.float16)
        writer.add_tensor_info(
            planned.name, planned.shape, dtype, bytes_, raw_dtype=forms[planned.form]
        )
    try:
        writer.write_header_to_file(part)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for planned in plan:
            writer.write_tensor_data(planned.make())
        writer.close()
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise files.disk_error(target, error) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    counted: dict[str, int] = {}
    for planned in plan:
        counted[planned.form] = counted.get(planned.form, 0) + _numel(planned.shape)
    return {
        "bytes_before": weights.bytes,
        "bytes_after": target.stat().st_size,
        "architecture": architecture,
        "tokenizer_kind": vocabulary.model,
        "pre_tokenizer": vocabulary.pre,
        "weights_by_form": dict(sorted(counted.items())),
    }


def _numel(shape: tuple[int, ...]) -> int:
    import math

    return math.prod(shape)


def _add_keys(writer: Any, config: dict[str, Any], architecture: str) -> None:
    if architecture == "gpt2":
        writer.add_context_length(config["n_positions"])
        writer.add_embedding_length(config["n_embd"])
        writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
        writer.add_block_count(config["n_layer"])
        writer.add_head_count(config["n_head"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        return
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise UsageError(f"rotary embeddings of the kind {kind!r} are not written as GGUF")
    if config.get("hidden_act", "silu") != "silu":
        raise UsageError(f"llama.cpp's llama has silu, config.json says {config['hidden_act']!r}")
    heads = config["num_attention_heads"]
    dimension = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(dimension)
    writer.add_value_length(dimension)
    writer.add_rope_dimension_count(dimension)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _add_vocabulary(writer: Any, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.charsmap:
        writer.add_precompiled_charsmap(vocabulary.charsmap)
    for mark, place in vocabulary.marks.items():
        getattr(writer, f"add_{mark}_token_id")(place)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    writer.add_add_space_prefix(False)
    writer.add_remove_extra_whitespaces(False)
    if vocabulary.template:
        writer.add_chat_template(vocabulary.template)


def _plan(weights: Weights, architecture: str, kind: Kind) -> list[Planned]:
    plan = []
    packed = {n.removesuffix("_packed") for n in weights.outlines if n.endswith("weight_packed")}
    quantised = weights.config.get("quantization_config") or {}
    if quantised and not packed:
        raise UsageError(
            f"{weights.folder.name} is {quantised.get('format')}: pack-quantized can be written",
            hint="quantise with method rtn, gptq or awq",
        )
    names = sorted({_stem(n, packed) for n in weights.outlines})
    for name in names:
        base, _, suffix = name.rpartition(".")
        there = _rename(base, architecture)
        if there is None or suffix not in ("weight", "bias"):
            if "rotary_emb" in name or name.endswith((".attn.bias", ".attn.masked_bias")):
                continue  # buffers that old versions of transformers stored
            raise UsageError(f"{weights.folder.name}: GGUF has no place for {name}")
        plan.append(
            _planned(weights, name, f"{there}.{suffix}", architecture, kind, name in packed)
        )
    return plan


def _stem(name: str, packed: set[str]) -> str:
    for suffix in ("_packed", "_scale", "_shape"):
        if name.removesuffix(suffix) in packed:
            return name.removesuffix(suffix)
    return name


def _rename(base: str, architecture: str) -> str | None:
    short = base.removeprefix("transformer.")
    if short in TOP:
        return TOP[short]
    prefix, table = ("model.layers.", LLAMA) if architecture == "llama" else ("h.", GPT2)
    if not short.startswith(prefix):
        return None
    number, _, rest = short.removeprefix(prefix).partition(".")
    return f"blk.{number}.{table[rest]}" if rest in table and number.isdigit() else None


def _planned(
    weights: Weights, name: str, there: str, architecture: str, kind: Kind, is_packed: bool
) -> Planned:
    heads = _heads(weights.config, there) if architecture == "llama" else 0
    if is_packed:
        bits = _bits(weights)
        shape = tuple(int(n) for n in weights.read(f"{name}_shape"))
        if shape[1] % BLOCK:
            raise UsageError(f"{name} has rows of {shape[1]}, no multiple of {BLOCK}")
        integers = "q4_0" if bits == 4 else "q8_0"
        return Planned(there, shape, integers, lambda: _repacked(weights, name, bits, shape, heads))
    outline = weights.outlines[name]
    transposed = (architecture == "gpt2" and len(outline.shape) == 2 and ".attn." in name) or (
        architecture == "gpt2" and ".mlp.c_" in name and len(outline.shape) == 2
    )
    shape = tuple(reversed(outline.shape)) if transposed else outline.shape
    form: str = kind if len(shape) == 2 and not there.startswith("position") else "f32"
    if form in ("q8_0", "q4_0") and shape[1] % BLOCK:
        raise UsageError(f"{name} has rows of {shape[1]}, no multiple of {BLOCK}", hint="kind: f16")
    return Planned(
        there, shape, form, lambda: _converted(weights.read(name), form, heads, transposed)
    )


def _heads(config: dict[str, Any], there: str) -> int:
    """Heads whose rows llama.cpp wants in pairs; 0 for other tensors."""
    if ".attn_q." in there:
        return int(config["num_attention_heads"])
    if ".attn_k." in there:
        return int(config.get("num_key_value_heads") or config["num_attention_heads"])
    return 0


def _paired(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from (first halves, second halves) to pairs, as llama.cpp rotates them."""
    if not heads:
        return tensor
    rows = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return rows.swapaxes(1, 2).reshape(tensor.shape).contiguous()


def _converted(tensor: torch.Tensor, form: str, heads: int, transposed: bool) -> Any:
    import gguf
    import torch

    tensor = _paired(tensor.t().contiguous() if transposed else tensor, heads)
    if form == "f32":
        return tensor.float().numpy()
    if form == "f16":
        half = tensor.to(torch.float16)
        if not torch.isfinite(half).all():
            raise UsageError("a weight is too large for f16", hint="kind: bf16")
        return half.numpy()
    kind = getattr(gguf.GGMLQuantizationType, form.upper())
    return gguf.quants.quantize(tensor.float().numpy(), kind)


def _bits(weights: Weights) -> int:
    groups = weights.config["quantization_config"]["config_groups"]
    return int(next(iter(groups.values()))["weights"]["num_bits"])


def _repacked(weights: Weights, name: str, bits: int, shape: tuple[int, ...], heads: int) -> Any:
    """Blocks of Q4_0 or Q8_0: an fp16 scale and 32 integers each; rows x bytes, uint8."""
    import numpy as np
    import torch

    whole = unpack(weights.read(f"{name}_packed"), bits, shape[1])
    scale = weights.read(f"{name}_scale").float()
    whole, scale = _paired(whole, heads), _paired(scale, heads)
    each = shape[1] // scale.shape[1] // BLOCK
    half = scale.repeat_interleave(each, 1).to(torch.float16)
    if not torch.isfinite(half).all():
        raise UsageError(f"{name} has a scale that fp16 cannot hold")
    scales = half.reshape(-1, 1).numpy().view(np.uint8)
    blocks = whole.reshape(-1, BLOCK)
    if bits == 8:
        body = blocks.to(torch.int8).numpy().view(np.uint8)
    else:
        unsigned = (blocks + 8).to(torch.uint8)
        body = (unsigned[:, :16] | (unsigned[:, 16:] << 4)).numpy()
    return np.concatenate([scales, body], 1).reshape(shape[0], -1)


def unpack(words: torch.Tensor, bits: int, columns: int) -> torch.Tensor:
    """Integers from int32 words, first in the lowest bits: the inverse of ``rounding.pack``."""
    import torch

    shifts = torch.arange(32 // bits, dtype=torch.int32) * bits
    parts = (words.unsqueeze(-1) >> shifts) & (2**bits - 1)
    return (parts.reshape(len(words), -1)[:, :columns] - 2 ** (bits - 1)).to(torch.int16)
