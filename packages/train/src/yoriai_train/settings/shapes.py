"""Shapes of models, as configurations of ``transformers``; torch is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from yoriai import ModelShape, UsageError

# Ids of the marks where the tokenizer says nothing else: those of this project's first tokenizers.
MARKS: Mapping[str, int] = {"bos": 1, "eos": 2, "pad": 3}


def pad_vocabulary(size: int, multiple: int) -> int:
    """Rows of the embeddings: ``size`` rounded up to a multiple, for even matrices on GPUs.

    Megatron's ``--make-vocab-size-divisible-by``, by default 128, and 128 times the tensor
    parallel size in all (NVIDIA/Megatron-LM: megatron/training/arguments.py). The rows added
    belong to no piece; they are trained down and never drawn.
    """
    return -(-size // multiple) * multiple


def _mark_ids(marks: Mapping[str, int] | None, vocabulary_size: int) -> dict[str, int]:
    for name, value in (marks or {}).items():
        if name not in MARKS:
            raise UsageError(f"there is no mark {name!r}", hint=f"marks: {', '.join(MARKS)}")
        if not 0 <= value < vocabulary_size:
            raise UsageError(
                f"the {name} mark has id {value}, the vocabulary {vocabulary_size} pieces",
                hint="take the marks and the vocabulary from one tokenizer",
            )
    return {f"{name}_token_id": value for name, value in {**MARKS, **(marks or {})}.items()}


class Llama(ModelShape):
    """The dialect of Llama 2 (arXiv 2307.09288), LLM-jp v2 and later; defaults are tiny.

    Initialisation N(0, 0.02) and rotary base 10,000 as there. Embeddings are tied by default
    because in a small model they are half of the parameters.
    """

    version: ClassVar[str] = "1"
    layers: int = Field(4, ge=1, le=10**4, description="decoder blocks")
    width: int = Field(160, ge=8, le=10**6, description="hidden size")
    heads: int = Field(4, ge=1, le=10**6, description="attention heads")
    key_value_heads: int = Field(4, ge=1, le=10**6, description="heads of keys and values")
    feed_forward: int = Field(432, ge=8, le=10**7, description="inner size of the SwiGLU")
    context: int = Field(128, ge=8, le=10**8, description="longest sequence in tokens")
    tied: bool = Field(True, description="input and output embeddings are one matrix")
    rope_theta: float = Field(10_000.0, gt=0, description="base of the rotary embedding")
    initial_deviation: float = Field(0.02, gt=0, description="standard deviation at the start")
    scaled_outputs: bool = Field(
        False, description="smaller start of what is added to the residual stream (Megatron)"
    )
    vocabulary_multiple: int = Field(1, ge=1, description="embeddings padded to a multiple")

    @model_validator(mode="after")
    def _divisible(self) -> Llama:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} must be heads {self.heads} times an even number")
        if self.heads % self.key_value_heads:
            raise ValueError(
                f"heads {self.heads} must be a multiple of key_value_heads {self.key_value_heads}"
                f" (its default is {type(self).model_fields['key_value_heads'].default}):"
                f" give key_value_heads too"
            )
        return self

    def transformers_config(
        self, vocabulary_size: int, marks: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """``marks``: ids under ``bos``, ``eos`` and ``pad``; :data:`MARKS` for those left out."""
        return {
            "model_type": "llama",
            "vocab_size": pad_vocabulary(vocabulary_size, self.vocabulary_multiple),
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "max_position_embeddings": self.context,
            "tie_word_embeddings": self.tied,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "initializer_range": self.initial_deviation,
            "rms_norm_eps": 1e-5,
            **_mark_ids(marks, vocabulary_size),
        }

    def initial(self) -> dict[str, Any]:
        return _initial(self.layers, self.initial_deviation, self.scaled_outputs)

    def parameters(self, vocabulary_size: int) -> int:
        head = self.width // self.heads
        attention = 2 * self.width * self.width + 2 * self.width * head * self.key_value_heads
        block = attention + 3 * self.width * self.feed_forward + 2 * self.width
        rows = pad_vocabulary(vocabulary_size, self.vocabulary_multiple)
        return rows * self.width * (1 if self.tied else 2) + self.layers * block + self.width


class GPT2(ModelShape):
    """The dialect of GPT-2, in which LLM-jp-13B v1 was trained; defaults are tiny.

    Learned positions, LayerNorm, GELU (tanh), biases, tied embeddings, no dropout.
    """

    version: ClassVar[str] = "1"
    layers: int = Field(4, ge=1, le=10**4, description="decoder blocks")
    width: int = Field(160, ge=8, le=10**6, description="hidden size")
    heads: int = Field(4, ge=1, le=10**6, description="attention heads")
    context: int = Field(128, ge=8, le=10**8, description="longest sequence in tokens")
    initial_deviation: float = Field(0.02, gt=0, description="standard deviation at the start")
    scaled_outputs: bool = Field(
        True, description="smaller start of what is added to the residual stream (GPT-2, Megatron)"
    )
    vocabulary_multiple: int = Field(1, ge=1, description="embeddings padded to a multiple")

    @model_validator(mode="after")
    def _divisible(self) -> GPT2:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self

    def transformers_config(
        self, vocabulary_size: int, marks: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """``marks``: ids under ``bos``, ``eos`` and ``pad``; :data:`MARKS` for those left out."""
        return {
            "model_type": "gpt2",
            "vocab_size": pad_vocabulary(vocabulary_size, self.vocabulary_multiple),
            "n_embd": self.width,
            "n_layer": self.layers,
            "n_head": self.heads,
            "n_positions": self.context,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
            "initializer_range": self.initial_deviation,
            **_mark_ids(marks, vocabulary_size),
        }

    def initial(self) -> dict[str, Any]:
        return _initial(self.layers, self.initial_deviation, self.scaled_outputs)

    def parameters(self, vocabulary_size: int) -> int:
        width = self.width
        block = 12 * width * width + 13 * width
        rows = pad_vocabulary(vocabulary_size, self.vocabulary_multiple)
        return (rows + self.context) * width + self.layers * block + 2 * width


class GPTNeoX(ModelShape):
    """GPT-2 with rotary instead of learned positions: Megatron's GPT with ``--rotary-percent``.

    The dialect of GPT-NeoX-20B (arXiv 2204.06745), but with attention and feed-forward one after
    the other as in Megatron, unless ``parallel_blocks``. Only the first ``rotary_share`` of each
    head is rotated. LayerNorm, GELU (tanh), biases, no dropout; defaults are tiny.
    """

    version: ClassVar[str] = "1"
    layers: int = Field(4, ge=1, le=10**4, description="decoder blocks")
    width: int = Field(160, ge=8, le=10**6, description="hidden size")
    heads: int = Field(4, ge=1, le=10**6, description="attention heads")
    context: int = Field(128, ge=8, le=10**8, description="longest sequence in tokens")
    tied: bool = Field(True, description="input and output embeddings are one matrix")
    parallel_blocks: bool = Field(False, description="attention and feed-forward side by side")
    rope_theta: float = Field(10_000.0, gt=0, description="base of the rotary embedding")
    rotary_share: float = Field(0.25, gt=0, le=1, description="part of each head that is rotated")
    initial_deviation: float = Field(0.02, gt=0, description="standard deviation at the start")
    scaled_outputs: bool = Field(
        True, description="smaller start of what is added to the residual stream (Megatron)"
    )
    vocabulary_multiple: int = Field(1, ge=1, description="embeddings padded to a multiple")

    @model_validator(mode="after")
    def _divisible(self) -> GPTNeoX:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        rotated = self.width // self.heads * self.rotary_share
        if rotated != int(rotated) or int(rotated) % 2 or not rotated:
            raise ValueError(
                f"rotary_share {self.rotary_share} of a head of {self.width // self.heads} must be"
                " an even number"
            )
        return self

    def transformers_config(
        self, vocabulary_size: int, marks: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """``marks``: ids under ``bos``, ``eos`` and ``pad``; :data:`MARKS` for those left out."""
        return {
            "model_type": "gpt_neox",
            "vocab_size": pad_vocabulary(vocabulary_size, self.vocabulary_multiple),
            "hidden_size": self.width,
            "intermediate_size": 4 * self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "max_position_embeddings": self.context,
            "hidden_act": "gelu_new",
            "tie_word_embeddings": self.tied,
            "use_parallel_residual": self.parallel_blocks,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": self.rope_theta,
                "partial_rotary_factor": self.rotary_share,
            },
            "initializer_range": self.initial_deviation,
            "layer_norm_eps": 1e-5,
            "attention_dropout": 0.0,
            "hidden_dropout": 0.0,
            **_mark_ids(marks, vocabulary_size),
        }

    def initial(self) -> dict[str, Any]:
        return _initial(self.layers, self.initial_deviation, self.scaled_outputs)

    def parameters(self, vocabulary_size: int) -> int:
        width = self.width
        block = 12 * width * width + 13 * width
        rows = pad_vocabulary(vocabulary_size, self.vocabulary_multiple)
        return rows * width * (1 if self.tied else 2) + self.layers * block + 2 * width


# The shapes by the names under which recipes use them.
SHAPES: Mapping[str, type[ModelShape]] = {
    "train/llama": Llama,
    "train/gpt2": GPT2,
    "train/gpt-neox": GPTNeoX,
}


def _initial(layers: int, deviation: float, scaled_outputs: bool) -> dict[str, Any]:
    return {
        "layers": layers, "initial_deviation": deviation, "scaled_outputs": scaled_outputs
    }  # fmt: skip
