"""Attention of rows that hold several documents, a document at a time.

``transformers`` gives such a row one mask of S x S, and computes all of it: most of that is between
documents that may not see one another. Here every document is a call of its own, causal and without
a mask, so that the cost is the sum of the squares of their lengths.

Shapes: B rows, N heads, S sequence, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

NAME = "yoriai_segments"


def lengths_of(position_ids_BS: torch.Tensor) -> list[int]:
    """How long the documents of all rows are, row after row: a new one begins at position 0."""
    starts = position_ids_BS == 0
    starts[:, 0] = True  # whatever a row begins with, it does not go on from the row before
    places = starts.flatten().nonzero().flatten()
    ends = torch.cat([places[1:], places.new_tensor([position_ids_BS.numel()])])
    lengths: list[int] = (ends - places).tolist()
    return lengths


def attend(
    module: Any,  # noqa: ARG001
    query_BNSD: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    *,
    position_ids: torch.Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """(B, S, N, D), as the attention functions of ``transformers`` return it.

    ``key`` and ``value`` may have fewer heads than the query.
    """
    rows, heads, length, size = query_BNSD.shape
    if position_ids.shape[0] != rows:
        position_ids = position_ids.expand(rows, -1)
    options: dict[str, Any] = {"dropout_p": dropout, "scale": scaling, "is_causal": True}
    repeated = heads // key.shape[1]
    if repeated > 1:
        key, value = (x.repeat_interleave(repeated, dim=1) for x in (key, value))
    lengths = lengths_of(position_ids)
    if len(lengths) == rows:  # nothing is packed
        made = functional.scaled_dot_product_attention(query_BNSD, key, value, **options)
        return made.transpose(1, 2).contiguous(), None
    # A row after the other, 1 x N x (B S) x D.
    query, key, value = (
        x.transpose(1, 2).reshape(1, rows * length, x.shape[1], size).transpose(1, 2)
        for x in (query_BNSD, key, value)
    )
    parts = zip(*(x.split(lengths, dim=2) for x in (query, key, value)), strict=True)
    made = torch.cat(
        [functional.scaled_dot_product_attention(q, k, v, **options) for q, k, v in parts], dim=2
    )
    return made.transpose(1, 2).reshape(rows, length, heads, size), None


def _no_mask(*_: Any, attention_mask: torch.Tensor | None = None, **__: Any) -> None:
    if attention_mask is not None:
        raise ValueError("documents are kept apart by their positions; a mask is not looked at")


def keep_apart(model: Any) -> None:
    """Let a model keep the documents of a row apart in this way; it must pass on its positions.

    Called with an ``attention_mask`` it raises ``ValueError`` from then on.
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, _no_mask)
    model.config._attn_implementation = NAME
