"""The shape of a decoder as numbers: parameters by part and FLOPs of a token, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from yoriai import UsageError

Family = Literal["llama", "gpt2", "gpt_neox"]
FAMILIES: Mapping[str, Family] = {
    "llama": "llama",
    "mistral": "llama",
    "gpt2": "gpt2",
    "gpt_neox": "gpt_neox",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a decoder. ``query_width`` and ``key_value_width`` are heads times head size."""

    family: Family
    vocabulary_size: int
    layers: int
    width: int
    heads: int
    query_width: int
    key_value_width: int
    feed_forward: int
    context: int
    tied: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """Read a configuration of ``transformers`` (``config.json``).

        Raises :class:`UsageError` for a kind of model whose formulas are not known here.
        """
        kind = str(config.get("model_type", ""))
        if kind not in FAMILIES:
            raise UsageError(
                f"no formulas for models of type {kind or 'unknown'!r}",
                hint=f"known: {', '.join(FAMILIES)}; give the nearest of them as the model",
            )
        if FAMILIES[kind] == "gpt2":
            width = int(config["n_embd"])
            return cls(
                family="gpt2",
                vocabulary_size=int(config["vocab_size"]),
                layers=int(config["n_layer"]),
                width=width,
                heads=int(config["n_head"]),
                query_width=width,
                key_value_width=width,
                feed_forward=int(config.get("n_inner") or 4 * width),
                context=int(config["n_positions"]),
                tied=bool(config.get("tie_word_embeddings", True)),
            )
        width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        head = int(config.get("head_dim") or width // heads)
        return cls(
            family=FAMILIES[kind],
            vocabulary_size=int(config["vocab_size"]),
            layers=int(config["num_hidden_layers"]),
            width=width,
            heads=heads,
            query_width=heads * head,
            key_value_width=int(config.get("num_key_value_heads") or heads) * head,
            feed_forward=int(config["intermediate_size"]),
            context=int(config["max_position_embeddings"]),
            tied=bool(config.get("tie_word_embeddings", False)),
        )

    @property
    def key_value_heads(self) -> int:
        return self.heads * self.key_value_width // self.query_width

    def parameters(self) -> dict[str, int]:
        """Numbers of parameters by part; tied, the head has none of its own."""
        width, inner = self.width, self.feed_forward
        attention = 2 * width * self.query_width + 2 * width * self.key_value_width
        positions = self.context * width if self.family == "gpt2" else 0
        if self.family == "llama":
            feed_forward, norm = 3 * width * inner, width
        else:
            attention += self.query_width + 2 * self.key_value_width + width  # biases
            feed_forward, norm = 2 * width * inner + inner + width, 2 * width
        return {
            "embeddings": self.vocabulary_size * width,
            "positions": positions,
            "attention": self.layers * attention,
            "feed-forward": self.layers * feed_forward,
            "norms": (2 * self.layers + 1) * norm,
            "head": 0 if self.tied else self.vocabulary_size * width,
        }

    @property
    def total_parameters(self) -> int:
        return sum(self.parameters().values())

    @property
    def block_parameters(self) -> int:
        """Parameters of one decoder block."""
        parts = self.parameters()
        norm = parts["norms"] // (2 * self.layers + 1)
        return (parts["attention"] + parts["feed-forward"]) // self.layers + 2 * norm

    @property
    def multiplied_parameters(self) -> int:
        """Parameters that every token is multiplied with: all but the tables of embeddings.

        The head counts also when it is tied: its product is computed.
        """
        return self.total_parameters - self.context_table - (0 if self.tied else self.table)

    @property
    def table(self) -> int:
        """Parameters of one vocabulary-sized matrix."""
        return self.vocabulary_size * self.width

    @property
    def context_table(self) -> int:
        return self.parameters()["positions"]

    def flops_per_token(self, sequence: int, attention_share: float = 1.0) -> float:
        """Training FLOPs of a token, forward and backward, without any recomputation.

        6 for each multiplied parameter, and 12 x layers x query width x sequence for the two
        products of attention (PaLM, arXiv 2204.02311, appendix B; Megatron-LM counts the same).
        ``attention_share`` is the part of the square that is computed: 1 by that convention, 0.5
        if the causal half is left out, less with windows.
        """
        square = 12.0 * self.layers * self.query_width * sequence
        return 6.0 * self.multiplied_parameters + square * attention_share
