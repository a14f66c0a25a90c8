"""Running a model over some text, block by block, to learn what its layers are fed.

The text is that of a ``tokens`` artifact: windows of the model's context, drawn over its shards by
their weights, always the same for one seed. Blocks are run in order, each on the outputs of the
ones before as they then are, so that a layer is changed in view of what was changed below it
(as GPTQ, SparseGPT and Wanda do).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yoriai import Artifact, Refused, UsageError
from yoriai.mixture import read_mixture
from yoriai.shards import Shard
from yoriai_domain_adapt.folders.layers import blocks_of

if TYPE_CHECKING:
    import torch

BATCH = 4  # windows at once


def windows(tokens: Artifact, count: int, length: int, seed: int, rows: int) -> torch.Tensor:
    """``count`` windows of ``length`` ids: count x length, int64. The same for the same seed.

    ``rows`` is the vocabulary of the model that reads them: shards of a larger one are refused.

    Raises :class:`yoriai.UsageError` where the shards are too small to give so many that do not
    overlap, with the number that they can give.
    """
    import numpy as np
    import torch

    mixture = read_mixture(tokens.path)
    if mixture.vocabulary_size > rows:
        raise UsageError(
            f"{tokens.name} was written with {mixture.vocabulary_size:,} pieces, the model has"
            f" {rows:,} rows: its tokenizer is another",
            hint="encode text with the model's own tokenizer: domain-adapt/pieces with count: 0,"
            " then corpus/tokens",
        )
    weights = mixture.weights()
    random = np.random.default_rng(seed)
    found: list[Any] = []
    names = [name for name in mixture.shards if weights[name] > 0]
    for place, name in enumerate(names):
        stems = mixture.shards[name].files
        parts = [Shard(tokens.path / stem) for stem in stems]
        for part in parts:
            part.check_index()
        arrays = [np.frombuffer(part.tokens, dtype=part.dtype) for part in parts]
        slots = [(i, s) for i, a in enumerate(arrays) for s in range(len(a) // length)]
        wanted = round(count * weights[name] / sum(weights.values()))
        if place == len(names) - 1:
            wanted = count - len(found)
        if wanted > len(slots):
            whole = sum(shard.tokens for shard in mixture.shards.values()) // length
            raise UsageError(
                f"{tokens.name} is too small: {name!r} holds {len(slots)} windows of {length}"
                f" tokens, {wanted} are asked for",
                hint=f"samples: {max(1, min(whole, count * len(slots) // max(1, wanted)))}"
                ", or more text",
            )
        for slot in random.permutation(len(slots))[:wanted]:
            file, start = slots[slot]
            row = arrays[file][start * length : (start + 1) * length].astype(np.int64)
            size = mixture.vocabulary_size
            for column in np.flatnonzero((row < 0) | (row >= size))[:1]:
                place, token = start * length + int(column), int(row[column])
                raise parts[file].outside(place, token, size)
            found.append(row)
    return torch.from_numpy(np.stack(found))


@dataclass(slots=True)
class Inputs:
    """What a layer was fed: of each input the sum of squares, the mean and the largest absolute
    value; and X^T X (``moment``), where products were asked for.
    """

    squares: torch.Tensor
    magnitude: torch.Tensor
    largest: torch.Tensor
    products: torch.Tensor | None = None
    rows: int = 0

    @property
    def moment(self) -> torch.Tensor:
        assert self.products is not None, "block_by_block was not asked for products"
        return self.products


class _Caught(Exception):
    """The first block was reached: nothing behind it has to run."""


def block_by_block(
    model: Any,
    ids: torch.Tensor,
    change: Callable[[str, Any, dict[str, Inputs]], None],
    *,
    products: bool = True,
) -> Iterator[int]:
    """Run the blocks in order; yields the number of each when it is done.

    ``change`` gets a block's name, the block and the inputs of its linear layers (by their full
    names); what it changes in the block is in force for the blocks after it. Without ``products``
    X^T X of the inputs is not computed, which costs more than half as much as running the model.
    """
    import torch

    name, blocks = blocks_of(model)
    with torch.inference_mode():
        states = _first_inputs(model, blocks[0], ids)
        for number, block in enumerate(blocks):
            place = f"{name}.{number}"
            found = _watch(block, place, states, products)
            change(place, block, found)
            states = [((_first(block(*a, **k)), *a[1:]), k) for a, k in states]
            yield number


def _first_inputs(model: Any, block: Any, ids: torch.Tensor) -> list[tuple[tuple[Any, ...], Any]]:
    states: list[tuple[tuple[Any, ...], Any]] = []

    def catch(_module: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        states.append((arguments, {**options, "past_key_values": None, "use_cache": False}))
        raise _Caught

    handle = block.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        for start in range(0, len(ids), BATCH):
            with suppress(_Caught):
                model(input_ids=ids[start : start + BATCH], use_cache=False)
    finally:
        handle.remove()
    return states


def _watch(block: Any, place: str, states: list[Any], products: bool) -> dict[str, Inputs]:
    import torch
    from transformers.pytorch_utils import Conv1D

    found: dict[str, Inputs] = {}
    handles, last = [], _Last()
    for name, module in block.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D):
            count = _counter(found, f"{place}.{name}", last, products)
            handles.append(module.register_forward_pre_hook(count))
    try:
        for arguments, options in states:
            block(*arguments, **options)
    finally:
        for handle in handles:
            handle.remove()
    for inputs in {id(one): one for one in found.values()}.values():
        inputs.magnitude /= inputs.rows
    for layer, inputs in found.items():
        if not torch.isfinite(inputs.squares).all():
            raise Refused(
                f"{layer} is fed numbers that are not finite: the model computes none",
                hint="look at its config.json (norms, rotary embeddings), or use another model",
            )
    return found


@dataclass(slots=True)
class _Last:
    """What was counted last: layers that are fed the same (query, key, value) are counted once."""

    fed: Any = None
    inputs: Inputs | None = None


def _counter(
    found: dict[str, Inputs], name: str, last: _Last, products: bool
) -> Callable[[Any, tuple[Any, ...]], None]:
    def count(_module: Any, arguments: tuple[Any, ...]) -> None:
        told = found.get(name)
        if (
            last.inputs is not None
            and last.fed is arguments[0]
            and (told is None or told is last.inputs)
        ):
            found[name] = last.inputs
            return
        rows = arguments[0].detach().float().reshape(-1, arguments[0].shape[-1])
        size = rows.abs()
        last.fed = arguments[0]
        if told is None:
            made = rows.t() @ rows if products else None
            told = Inputs(rows.square().sum(0), size.sum(0), size.amax(0), made, len(rows))
            found[name] = last.inputs = told
            return
        last.inputs = told
        told.squares += rows.square().sum(0)
        if products:
            told.moment.add_(rows.t() @ rows)
        told.magnitude += size.sum(0)
        told.largest = told.largest.maximum(size.amax(0))
        told.rows += len(rows)

    return count


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output
