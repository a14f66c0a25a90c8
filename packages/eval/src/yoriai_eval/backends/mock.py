"""``eval/mock``: no model at all, for tests, for floors, and to measure what the rest costs."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from yoriai import Backend, Generated, LanguageModel
from yoriai_eval.backends.rules import Conversation, cut

ENOUGH_CHARACTERS = 256
BITS_PER_BYTE = 8.0  # of a model for which all bytes are equally likely


class Mock(Backend):
    """Answers by rule, whatever the folder holds; a token is a character.

    Which answer a prompt gets depends on its length, its end and the seed alone, so order,
    batches and a resumed run change nothing.
    """

    version: ClassVar[str] = "1"
    answers: list[str] = Field([""], min_length=1, description="answers, one of them a prompt")
    likelihood: Literal["length", "uniform", "seeded"] = Field(
        "length",
        description="length: 8 bits a byte; uniform: the same for all texts; seeded: by chance",
    )
    seed: int = Field(0, ge=0, description="another seed deals the answers otherwise")
    context: int = Field(
        0, ge=0, le=10**8, description="longest sequence in characters; 0: not known"
    )

    def open(self, folder: Path) -> LanguageModel:  # noqa: ARG002
        return _MockModel(self)


class _MockModel:
    def __init__(self, backend: Mock) -> None:
        self.backend = backend
        self.context = backend.context

    def describe(self) -> dict[str, Any]:
        keys = self.backend
        return {
            "backend": "mock",
            "answers": list(keys.answers),
            "likelihood": keys.likelihood,
            "seed": keys.seed,
        }

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def loglikelihood(self, pairs: Sequence[tuple[str, str]], *, prefix: str = "") -> list[float]:  # noqa: ARG002
        return [self._likelihood(context, continuation) for context, continuation in pairs]

    def rolling_loglikelihood(self, texts: Sequence[str]) -> list[float]:
        return [self._likelihood("", text) for text in texts]

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        max_characters: int = 0,
        stop: Sequence[str] = (),
        prefix: str = "",  # noqa: ARG002
    ) -> list[Generated]:
        limit = min(max_new_tokens, max_characters or max_new_tokens)
        made = [cut(a, "end", stop=stop, max_characters=limit) for a in self.backend.answers]
        if len(made) == 1:
            return made * len(prompts)
        seed, count = self.backend.seed, len(made)
        return [made[_digest(prompt, seed) % count] for prompt in prompts]

    def render(self, instruction: str, text: str) -> str:
        return f"{instruction}\n{text}\n" if text else f"{instruction}\n"

    def chat(self, conversations: Sequence[Conversation]) -> list[str]:
        return ["".join(f"{role}: {text}\n" for role, text in turns) for turns in conversations]

    def _likelihood(self, context: str, continuation: str) -> float:
        if self.backend.likelihood == "uniform":
            return -1.0
        if self.backend.likelihood == "length":
            return -BITS_PER_BYTE * math.log(2) * len(continuation.encode("utf-8", "replace"))
        # One digest over both, then Knuth's multiplicative hash to spread neighbours (TAOCP 6.4).
        mixed = _digest(continuation, _digest(context, self.backend.seed)) * 2654435761
        return -100.0 * ((mixed & 0xFFFFFFFF) + 1) / 2**32


def _digest(text: str, seed: int) -> int:
    """32 bits of a text's length and end, where the question is.

    CRC-32 of the end alone, as the start of a long prompt would cost more than all the rest.
    """
    seed = (seed ^ len(text)) & 0xFFFFFFFF
    return zlib.crc32(text[-ENOUGH_CHARACTERS:].encode("utf-8", "replace"), seed)
