"""The layers of a decoder in a Hugging Face folder, and what comes out when a part is replaced.

Parts are found by their places in the modules, not by the name of a model: a list of blocks, in
each an attention with the projection of its heads and a feed-forward network. Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from yoriai import UsageError
from yoriai_eval.probes.reading import batches

ATTENTIONS = ("self_attn", "attn", "attention", "self_attention")
OUTPUTS = ("o_proj", "c_proj", "dense", "out_proj", "wo")
NETWORKS = ("mlp", "feed_forward", "block_sparse_moe", "ffn")
NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """A block; ``output`` is the projection whose input are the heads, one after the other."""

    number: int
    output: Any
    network: Any


@dataclass(frozen=True, slots=True)
class Decoder:
    """The blocks of a model, its last norm, and the layer that gives logits."""

    model: Any
    layers: tuple[DecoderLayer, ...]
    norm: Any
    unembedding: Any
    heads: int
    head_size: int


def decoder_of(model: Any) -> Decoder:
    """Find the parts; raises :class:`yoriai.UsageError` where one is not where it is looked for."""
    config = model.config.get_text_config(decoder=True)
    count, heads = int(config.num_hidden_layers), int(config.num_attention_heads)
    inside = getattr(model, "model", model.base_model)
    blocks = next(
        (
            (owner, child)
            for owner in inside.modules()
            for child in owner.children()
            if isinstance(child, torch.nn.ModuleList) and len(child) == count
        ),
        None,
    )
    if blocks is None:
        raise _unknown(model, f"a list of {count} blocks")
    layers = []
    for number, block in enumerate(blocks[1]):
        attention = _child(block, ATTENTIONS)
        output = None if attention is None else _child(attention, OUTPUTS)
        if output is None:
            raise _unknown(model, f"the heads of block {number}")
        layers.append(DecoderLayer(number, output, _child(block, NETWORKS)))
    norm, unembedding = _child(blocks[0], NORMS), model.get_output_embeddings()
    if norm is None or unembedding is None:
        raise _unknown(model, "the last norm and the layer of the logits")
    width = _input_width(layers[0].output)
    if width % heads:
        raise _unknown(model, f"{heads} heads in {width} numbers")
    return Decoder(model, tuple(layers), norm, unembedding, heads, width // heads)


def _child(module: Any, names: Sequence[str]) -> Any:
    return next((child for name, child in module.named_children() if name in names), None)


def _input_width(projection: Any) -> int:
    if isinstance(projection, torch.nn.Linear):
        return int(projection.in_features)
    return int(projection.weight.shape[0])  # GPT-2 keeps its weights turned


def _unknown(model: Any, what: str) -> UsageError:
    return UsageError(
        f"{type(model).__name__} has not {what} where a decoder has it",
        hint="models that are built as Llama, GPT-2 or GPT-NeoX can be looked into",
    )


@dataclass(frozen=True, slots=True)
class LayerPart:
    """What is replaced: a head, the whole attention (``head`` is None), or the network."""

    layer: DecoderLayer
    kind: str  # "attention" or "mlp"
    head: int | None = None

    @property
    def name(self) -> str:
        if self.head is not None:
            return f"head {self.layer.number}.{self.head}"
        return f"{self.kind} {self.layer.number}"


def parts_of(decoder: Decoder, *, heads: bool = True) -> Iterator[LayerPart]:
    """The attention, the network and each head of each layer, in this order."""
    for layer in decoder.layers:
        yield LayerPart(layer, "attention")
        if layer.network is not None:
            yield LayerPart(layer, "mlp")
        for head in range(decoder.heads) if heads else ():
            yield LayerPart(layer, "attention", head)


@contextmanager
def replaced(decoder: Decoder, part: LayerPart, value: torch.Tensor) -> Iterator[None]:
    """The model with a part's output replaced everywhere by ``value``.

    Of an attention that is what its output projection is given: (heads * head size), of a head its
    share of that, of a network (width of the model).
    """

    def heads(_module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        numbers = given[0].clone()
        if part.head is None:
            numbers[...] = value.to(numbers)
        else:
            at = part.head * decoder.head_size
            numbers[..., at : at + decoder.head_size] = value.to(numbers)
        return (numbers, *given[1:])

    def network(_module: Any, _given: Any, made: Any) -> Any:
        first = made[0] if isinstance(made, tuple) else made
        new = value.to(first).expand_as(first)
        return (new, *made[1:]) if isinstance(made, tuple) else new

    if part.kind == "mlp":
        handle = part.layer.network.register_forward_hook(network)
    else:
        handle = part.layer.output.register_forward_pre_hook(heads)
    try:
        yield
    finally:
        handle.remove()


@dataclass(slots=True)
class _Sum:
    total: Any = 0.0


def mean_outputs(decoder: Decoder, sequences: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """The mean output of each attention and network over all ids of the sequences, by name."""
    sums = {part.name: _Sum() for part in parts_of(decoder, heads=False)}
    real: list[torch.Tensor] = []

    def add(name: str, numbers: torch.Tensor) -> None:
        sums[name].total = sums[name].total + numbers[real[-1]].double().sum(0)

    with ExitStack() as stack, torch.inference_mode():
        for part in parts_of(decoder, heads=False):
            stack.callback(_listen(part, add).remove)
        for ids, mask in padded_batches(decoder.model, sequences):
            real.append(mask)
            decoder.model(input_ids=ids, use_cache=False)
            real.pop()
    count = sum(map(len, sequences))
    return {name: (told.total / max(1, count)).float() for name, told in sums.items()}


def _listen(part: LayerPart, add: Any) -> Any:
    def network(_module: Any, _given: Any, made: Any) -> None:
        add(part.name, made[0] if isinstance(made, tuple) else made)

    def heads(_module: Any, given: tuple[Any, ...]) -> None:
        add(part.name, given[0])

    if part.kind == "mlp":
        return part.layer.network.register_forward_hook(network)
    return part.layer.output.register_forward_pre_hook(heads)


def padded_batches(
    model: Any, sequences: Sequence[Sequence[int]]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Ids padded on the right, where a causal model does not see it, and which of them are real."""
    vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
    for chosen in batches(sequences, vocabulary):
        longest = max(len(sequences[i]) for i in chosen)
        rows = [[*sequences[i], *[0] * (longest - len(sequences[i]))] for i in chosen]
        lengths = torch.tensor([[len(sequences[i])] for i in chosen])
        mask = torch.arange(longest) < lengths
        yield torch.tensor(rows, device=model.device), mask.to(model.device)
