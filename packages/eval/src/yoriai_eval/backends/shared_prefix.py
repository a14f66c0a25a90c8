"""A causal language model run on rows of ids that begin alike: what they share is run once.

The keys and values of the shared ids are held once and not once a row. Attention to them is one
product for the queries of all rows; its result is joined with that of attention to a row's own
ids by their log-sum-exps, which is exact but for rounding (Juravsky et al. 2024, "Hydragen",
arXiv 2402.05099, section 3.1).

This module imports torch and transformers; import it only to run a model.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "yoriai_shared"
# Numbers of fp32 in one block of logits: 128 MB.
LOGITS = 2**25
# How far logits may be from those of the plain way, relative to the largest one, for a model to
# count as one that can go on from shared keys and values. A wrong way is off by about 1.
AGREEMENT = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """The attention of ``transformers`` models, to shared keys as well where a row has them.

    ``query`` is (rows, heads, length, size), ``key`` and ``value`` hold a row's own ids, perhaps
    with fewer heads; what is shared hangs on ``key``. Gives (rows, length, heads, size).
    """
    shared: tuple[Tensor, Tensor] | None = getattr(key, "shared", None)
    if shared is None:
        made: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return made
    if any(options.get(name) is not None for name in ("softcap", "position_bias", "s_aux")):
        raise ValueError("attention with more than a mask has no shared form")
    rows, heads, length, size = query.shape
    kept = key.shape[1]
    repeats = heads // kept
    scale = size**-0.5 if scaling is None else scaling
    flat = query.reshape(rows, kept, repeats * length, size).transpose(0, 1)
    first, first_sum = weigh(flat.reshape(1, kept, -1, size), *shared, scale)
    first = first.view(kept, rows, repeats, length, -1).transpose(0, 1)
    first_sum = first_sum.view(kept, rows, repeats, length).transpose(0, 1)
    bias = None
    if attention_mask is not None:
        # Not minus infinity: a padded row sees nothing of its own, and must not become NaN.
        low = torch.finfo(query.dtype).min / 2
        bias = torch.zeros_like(attention_mask, dtype=query.dtype)
        bias = bias.masked_fill_(~attention_mask, low)
    elif length > 1:
        order = torch.arange(length, device=query.device)
        bias = torch.zeros(1, 1, length, length, dtype=query.dtype, device=query.device)
        bias.masked_fill_(order[:, None] < order, torch.finfo(query.dtype).min / 2)
    if repeats > 1:
        key, value = (t.repeat_interleave(repeats, dim=1) for t in (key, value))
    second, second_sum = weigh(query, key, value, scale, bias)
    share = torch.sigmoid(second_sum - first_sum.reshape(second_sum.shape))[..., None]
    joined = torch.lerp(first.reshape(second.shape).float(), second.float(), share)
    return joined.to(query.dtype).transpose(1, 2).contiguous(), None


def weigh(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attention and the log of the sum it was divided by, (…, queries, size) and (…, queries)."""
    kernel = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if kernel is not None and query.device.type == "cpu" and key.shape[-1] == value.shape[-1]:
        out, total = kernel(query, key, value, attn_mask=bias, scale=scale)
        return out, total
    return weigh_plainly(query, key, value, scale, bias)


def weigh_plainly(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """:func:`weigh` where torch has no kernel that gives both."""
    outs, totals = [], []
    step = max(1, LOGITS // max(1, query.shape[0] * query.shape[1] * key.shape[2]))
    for place in range(0, query.shape[2], step):
        scores = (query[:, :, place : place + step] @ key.transpose(-1, -2)).float() * scale
        if bias is not None:
            scores += bias[:, :, place : place + step]
        total = scores.logsumexp(-1)
        outs.append((scores - total[..., None]).exp().to(value.dtype) @ value)
        totals.append(total)
    return torch.cat(outs, 2), torch.cat(totals, 2)


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


class SharedLayer(DynamicLayer):
    """One layer's keys and values: a row's own, and beside them those that all rows share.

    For the model the shared ones do not exist: lengths and masks are those of a row's own ids.
    """

    def __init__(self, shared: tuple[Tensor, Tensor] | None) -> None:
        super().__init__()
        self.shared = shared

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        keys, values = super().update(key_states, value_states, *args, **kwargs)
        if self.shared is not None:
            keys.shared = self.shared  # type: ignore[attr-defined]  # read by `attend`
        return keys, values


class CachedPrefix:
    """Ids that rows begin with, and each layer's keys and values of them, (1, heads, ids, size)."""

    def __init__(self, ids: Sequence[int], layers: list[tuple[Tensor, Tensor]]) -> None:
        self.ids = list(ids)
        self.layers = layers

    def begins(self, ids: Sequence[int]) -> bool:
        """Whether these ids begin with the encoded ones and go on."""
        return len(ids) > len(self.ids) and list(ids[: len(self.ids)]) == self.ids


class CachedRows:
    """Rows of ids that a model has read so far. ``select`` gives others, ``feed`` reads on."""

    def __init__(self, model: Any, layers: list[SharedLayer], mask: Tensor, places: Tensor) -> None:
        self.model = model
        self.layers = layers
        self.mask = mask  # (rows, own ids): which are no padding
        self.places = places  # (rows,): position of the next id

    def feed(self, rows: Sequence[Sequence[int]], *, keep: int, side: str = "left") -> Tensor:
        """Read a number of ids more in each row, padded on one side to the longest.

        Returns the logits at the last ``keep`` columns, (rows, keep, vocabulary).
        """
        ids, real = padded(rows, side)
        device = self.mask.device
        ids, real = ids.to(device), real.to(device)
        places = (self.places[:, None] + real.cumsum(1) - 1).clamp(min=0)
        self.places = self.places + real.sum(1)
        self.mask = torch.cat([self.mask, real], 1)
        cache = DynamicCache()
        cache.layers, cache.layer_class_to_replicate = list(self.layers), None
        logits: Tensor = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        return logits

    def select(self, rows: Sequence[int]) -> CachedRows:
        """Some of the rows, in any order and number; these are not changed by what they read."""
        chosen = torch.tensor(rows, dtype=torch.long, device=self.mask.device)
        layers = []
        for layer in self.layers:
            other = SharedLayer(layer.shared)
            if layer.keys is not None and layer.values is not None:
                other.lazy_initialization(layer.keys, layer.values)
                other.keys = layer.keys.index_select(0, chosen)
                other.values = layer.values.index_select(0, chosen)
            layers.append(other)
        return CachedRows(self.model, layers, self.mask[chosen], self.places[chosen])


def join(parts: Sequence[CachedRows]) -> CachedRows:
    """All rows of some that share what they begin with, padded on the left to the longest."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.mask.shape[1] for part in parts)
    layers = []
    for number, first in enumerate(parts[0].layers):
        held = [(p.layers[number].keys, p.layers[number].values) for p in parts]
        found = [(k, v) for k, v in held if k is not None and v is not None]
        layer = SharedLayer(first.shared)
        layer.lazy_initialization(*found[0])
        layer.keys, layer.values = (
            torch.cat([pad(t, (0, 0, width - t.shape[2], 0)) for t in side])
            for side in zip(*found, strict=True)
        )
        layers.append(layer)
    mask = torch.cat([pad(part.mask, (width - part.mask.shape[1], 0)) for part in parts])
    return CachedRows(parts[0].model, layers, mask, torch.cat([part.places for part in parts]))


class Reader:
    """Runs one model on rows of ids; see :class:`CachedRows`."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.span = _full_attention(model.config)
        self.attention_only = self.span > 0
        if self.span and not self._prepare():
            self.span = 0

    def fits(self, length: int) -> bool:
        """Whether rows of so many ids, answers included, can be read here.

        Not beyond a sliding window, and not at all where the model keeps something else than
        keys and values (state-space models, static caches) or has an attention of its own kind.
        """
        return length <= self.span

    def encode(self, ids: Sequence[int]) -> CachedPrefix:
        """Run the ids that others begin with."""
        rows = self.begin(None, 1)
        rows.feed([ids], keep=1)
        found = [(layer.keys, layer.values) for layer in rows.layers]
        return CachedPrefix(ids, [(k, v) for k, v in found if k is not None and v is not None])

    def begin(self, encoded: CachedPrefix | None, count: int) -> CachedRows:
        """``count`` rows that have read nothing but what is encoded."""
        device = self.model.device
        if encoded is None:
            number = self.model.config.get_text_config(decoder=True).num_hidden_layers
            layers = [SharedLayer(None) for _ in range(number)]
        else:
            layers = [SharedLayer(shared) for shared in encoded.layers]
        places = torch.full((count,), len(encoded.ids) if encoded else 0, device=device)
        return CachedRows(
            self.model, layers, torch.ones(count, 0, dtype=torch.bool, device=device), places
        )

    def _prepare(self) -> bool:
        """Set the model's attention, and whether it gives the logits of the plain way then."""
        if self.model.config._attn_implementation != "sdpa":
            return False
        size = self.model.config.get_text_config(decoder=True).vocab_size
        common = [(7 * i + 3) % size for i in range(3)]
        tails = [[(5 * i + 1) % size for i in range(n)] for n in (2, 4)]
        with torch.inference_mode():
            plain = [self.model(input_ids=self._row(common + tail)).logits[0] for tail in tails]
            self.model.set_attn_implementation(ATTENTION)
            try:
                rows = self.begin(self.encode(common), 2)
                made = rows.feed([tail[:-1] for tail in tails], keep=1)[:, 0]
                later = rows.select([1, 0]).feed([[tail[-1]] for tail in tails[::-1]], keep=1)[:, 0]
            except Exception:  # whatever a model of an unknown kind objects to
                made = later = torch.full((2, 1), torch.nan)
        expected = torch.stack([p[-2] for p in plain] + [p[-1] for p in plain[::-1]]).float()
        found = torch.cat([made, later]).float()
        allowed = AGREEMENT.get(self.model.dtype, 1e-1) * expected.abs().max()
        if bool(((found - expected).abs() <= allowed).all()):
            return True
        self.model.set_attn_implementation("sdpa")
        return False

    def _row(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor([ids], device=self.model.device)


def padded(rows: Sequence[Sequence[int]], side: str) -> tuple[Tensor, Tensor]:
    """(ids, which are real) of rows filled up with id 0 on the left or on the right."""
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    real = torch.zeros(len(rows), width, dtype=torch.bool)
    for number, row in enumerate(rows):
        place = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        ids[number, place] = torch.tensor(row, dtype=torch.long)
        real[number, place] = True
    return ids, real


def likelihoods(logits: Tensor, wanted: Tensor) -> Tensor:
    """Log-probabilities, in fp32, of ids (…) by logits (…, vocabulary)."""
    picked = logits.gather(-1, wanted[..., None])[..., 0].float()
    return picked - logits.float().logsumexp(-1)


def score_after(rows: CachedRows, wanted: Sequence[Sequence[int]], vocabulary: int) -> list[float]:
    """Log-likelihood of ``wanted[i][1:]`` in row ``i``, whose ids go on with ``wanted[i]``.

    Read in pieces, so that there are never more than :data:`LOGITS` logits (or one column).
    """
    totals = torch.zeros(len(wanted), dtype=torch.float64)
    width = max(map(len, wanted)) - 1
    step = max(1, LOGITS // (len(wanted) * vocabulary))
    for place in range(0, width, step):
        fed = [ids[place : min(place + step, len(ids) - 1)] for ids in wanted]
        logits = rows.feed(fed, keep=min(step, width - place), side="right")
        ids, real = padded([ids[place + 1 : place + 1 + step] for ids in wanted], "right")
        found = likelihoods(logits, ids.to(logits.device)).cpu().double()
        totals += found.masked_fill(~real, 0.0).sum(1)
    return totals.tolist()


def _full_attention(config: Any) -> int:
    """How many ids a model reads with nothing but full attention; 0 if it is another kind."""
    try:
        layers = DynamicCache(config=config).layers
    except Exception:  # a layer of a kind that transformers does not know
        return 0
    kinds = {type(layer) for layer in layers}
    if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        return 0
    return min((getattr(layer, "sliding_window", sys.maxsize) for layer in layers), default=0)
