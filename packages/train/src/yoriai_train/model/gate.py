"""Whether our loss of a model is its own: asked of a small model of its kind, before training.

Output layers of ``transformers`` are called by forward code of many kinds: some cap or scale the
logits afterwards, some add a loss of their own. So one small batch goes through ``model(labels=)``
and through :class:`.loss.Head`, and the losses and all gradients are compared. No list of
families is kept.

Shapes: B batch, S sequence.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch

from yoriai import UsageError
from yoriai.model_folder import AS_DATA
from yoriai_train.model.loss import Head
from yoriai_train.model.weights import set_to_training

SMALL = 3_000_000  # parameters up to which the model itself is asked, and not a smaller one
LARGEST = 400_000_000  # of two layers of the model's own width, where a narrower one is refused
LENGTH = 16
TOLERANCE = 1e-3  # of the largest gradient; both are fp32 sums in another order
# Sizes of a smaller model, where a configuration has such a key: what any kind can do with, and
# widths, which some kinds tie to keys that are not known here (lists of rotary factors, say).
_COUNTS = {"vocab_size": 256, "num_local_experts": 4, "num_experts": 4}
_WIDTHS = {
    "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "head_dim": 16,
    "rotary_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32, "q_lora_rank": 32, "kv_lora_rank": 32,
    "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "qk_head_dim": 32, "v_head_dim": 16,
    "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
}  # fmt: skip


def choose_head(
    body: Mapping[str, Any], *, boundaries: bool, change: Callable[[Any], object] = lambda _m: None
) -> Literal["chunked", "logits"]:
    """How the loss of a model with the configuration ``body`` is to be computed.

    ``change`` is what training does to the model's parts. Raises ``UsageError`` where neither way
    gives the loss and gradients of ``transformers``, where dropout cannot be turned off, or where
    documents that are packed into one sequence see one another and must not.
    """
    kind = str(body["model_type"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _any_small_model(body)
        ids_BS = torch.randint(4, int(model.config.vocab_size), (2, LENGTH))
        if not _same(_logits(model, ids_BS), _logits(model, ids_BS)):
            raise UsageError(
                f"the dropout of a {kind} cannot be turned off, so a run could not be resumed",
                hint="set the dropout of its config.json to 0",
            )
        if boundaries:
            _check_boundaries(model, kind)
        try:
            expected = _own_gradients(model, ids_BS)
        except Exception as error:  # forward code that takes no such labels
            raise UsageError(
                f"a {kind} gives no loss of its own to compare with: {_first_line(error)}",
                hint="train it by transformers' Trainer, or start from a model of another kind",
            ) from error
        change(model)
        if boundaries:
            _check_boundaries(model, kind)
        for way in ("chunked", "logits"):
            if _agree(_our_gradients(model, ids_BS, way), expected):
                return way
    raise UsageError(
        f"a {kind} computes its loss in a way that training does not know: loss or gradients"
        " differ from those of transformers",
        hint="train it by transformers' Trainer, or start from a model of another kind",
    )


def _any_small_model(body: Mapping[str, Any]) -> Any:
    """The first small model of a kind that can be made and runs, the smallest ways first."""
    failed: Exception | None = None
    for layers, narrow in ((2, True), (0, True), (2, False)):
        try:
            return _small_model(body, layers, narrow)
        except Exception as error:  # its sizes are told in keys that are not known here
            failed = failed or error
    assert failed is not None
    raise UsageError(
        f"no small {body['model_type']} could be made of its config.json, so its loss cannot be"
        f" checked: {_first_line(failed)}",
        hint="train it by transformers' Trainer, or start from a model of another kind",
    ) from failed


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _small_model(body: Mapping[str, Any], layers: int, narrow: bool) -> Any:
    """The model itself with random numbers, if it is small; else a smaller one of its kind.

    ``layers`` that one has (0: as many as the model), and its own width or a ``narrow`` one; it
    has run once, without dropout.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    keys = {k: v for k, v in body.items() if k not in ("model_type", "context")}
    config = AutoConfig.for_model(body["model_type"], **copy.deepcopy(keys))
    if _parameters(config) > SMALL:
        _shrink(config, layers, {**_COUNTS, **_WIDTHS} if narrow else _COUNTS)
        if (size := _parameters(config)) > LARGEST:
            raise ValueError(f"its layers have {size:,} parameters")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **AS_DATA)
    with torch.no_grad():  # large enough that caps and scales of logits show
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0.0, 0.2)
    set_to_training(model)
    _logits(model, torch.zeros((2, LENGTH), dtype=torch.int64))
    return model


def _parameters(config: Any) -> int:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        outline = AutoModelForCausalLM.from_config(config, **AS_DATA)
    return sum(p.numel() for p in outline.parameters())


def _shrink(config: Any, layers: int, sizes: Mapping[str, int]) -> None:
    heads = int(config.num_attention_heads) if hasattr(config, "num_attention_heads") else 1
    shared = getattr(config, "num_key_value_heads", None)
    for name, size in sizes.items():
        now = getattr(config, name, None)
        if isinstance(now, int) and now > size:
            setattr(config, name, size)
    if isinstance(shared, int) and "num_attention_heads" in sizes:
        config.num_key_value_heads = 4 if shared == heads else 1 if shared == 1 else 2
    if layers:
        config.num_hidden_layers = layers
    for name, value in list(vars(config).items()):
        if layers and isinstance(value, list) and len(value) > 2 and "layer" in name:
            # Both kinds of layer, where there are two.
            setattr(config, name, [value[0], next((v for v in value if v != value[0]), value[0])])
        if name.endswith("token_id") and isinstance(value, int) and value >= sizes["vocab_size"]:
            setattr(config, name, 0)


def _logits(model: Any, ids_BS: torch.Tensor, **inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids_BS, use_cache=False, **inputs).logits
        return logits


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= TOLERANCE * b.abs().max())


def _check_boundaries(model: Any, kind: str) -> None:
    """Two rows that hold two documents each, of unlike lengths, against each document alone."""
    ids = torch.randint(4, int(model.config.vocab_size), (2, LENGTH))
    cuts = (5, 11)
    places = torch.stack(
        [torch.cat([torch.arange(cut), torch.arange(LENGTH - cut)]) for cut in cuts]
    )
    why = "documents in one sequence see one another"
    try:
        packed = _logits(model, ids, position_ids=places)
    except TypeError:
        why = "it takes no positions"
        leaks = True
    else:
        alone = [
            torch.cat([_logits(model, part)[0] for part in (row[None, :cut], row[None, cut:])])
            for row, cut in zip(ids, cuts, strict=True)
        ]
        leaks = not _same(packed, torch.stack(alone))
    if leaks:
        raise UsageError(
            f"boundaries: a {kind} cannot keep documents apart: {why}", hint="leave boundaries out"
        )


def _take(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    taken = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return {**taken, "": loss.detach()}


def _own_gradients(model: Any, ids_BS: torch.Tensor) -> dict[str, torch.Tensor]:
    return _take(model, model(input_ids=ids_BS, labels=ids_BS, use_cache=False).loss)


def _our_gradients(model: Any, ids_BS: torch.Tensor, way: str) -> dict[str, torch.Tensor]:
    """Over all positions, as the model's own loss; the last has no target."""
    targets = torch.cat([ids_BS[:, 1:], torch.full_like(ids_BS[:, :1], -100)], dim=1)
    head = Head(model, chunked=way == "chunked")
    try:
        total = head.loss(model, targets, input_ids=ids_BS)
        return _take(model, total / (targets != -100).sum())
    except (RuntimeError, IndexError):  # forward code that asks for more than one number
        return {}
    finally:
        head.remove()


def _agree(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> bool:
    if found.keys() != expected.keys():
        return False
    largest = max(float(g.abs().max()) for n, g in expected.items() if n)
    if not largest > 0:
        return False
    near = abs(float(found[""]) - float(expected[""])) <= TOLERANCE * abs(float(expected[""]))
    return near and all(
        float((found[n] - g).abs().max()) <= TOLERANCE * largest for n, g in expected.items() if n
    )
