"""``eval/vllm``: vLLM's offline engine.

Written for vLLM 0.33 from its published sources (vllm-project/vllm:vllm/entrypoints/llm.py,
vllm/sampling_params.py, vllm/outputs.py). It needs a machine that vLLM runs on, so its own tests
use a stand-in with the same signatures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from yoriai import Backend, Generated, LanguageModel, YoriaiError
from yoriai.model_folder import render
from yoriai_eval.backends.rules import (
    Conversation,
    Ended,
    Marks,
    ScoredSpan,
    added,
    cut,
    in_template,
    messages,
    no_number,
    too_long,
)


class Vllm(Backend):
    """Hugging Face folders in vLLM: for models and machines that are large.

    All prompts go to the engine at once; it makes its own batches and encodes what prompts begin
    with in common once (``enable_prefix_caching``). Which batches it makes may move a likelihood
    in its last digits, and in half precision a greedy text where two tokens are near a tie.
    """

    version: ClassVar[str] = "1"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the weights in memory; auto: as stored, but never float32"
    )
    gpus: int = Field(1, ge=1, le=10**5, description="that share a model (tensor parallelism)")
    gpu_memory_share: float = Field(0.9, gt=0, le=1, description="of each GPU's memory to take")
    context: int = Field(
        0, ge=0, le=10**8, description="longest sequence in tokens; 0: the model's own"
    )
    seed: int = Field(0, ge=0, description="of the engine; greedy answers do not depend on it")

    def open(self, folder: Path) -> LanguageModel:
        return _VllmModel(self, folder)


class _VllmModel:
    def __init__(self, backend: Vllm, folder: Path) -> None:
        import vllm

        self._vllm: Any = vllm
        self.backend = backend
        self._name = str(folder)
        options: dict[str, Any] = {"max_model_len": backend.context} if backend.context else {}
        self._engine: Any = vllm.LLM(
            model=str(folder),
            dtype=backend.precision,
            tensor_parallel_size=backend.gpus,
            gpu_memory_utilization=backend.gpu_memory_share,
            seed=backend.seed,
            enable_prefix_caching=True,
            **options,
        )
        self._tokenizer: Any = self._engine.get_tokenizer()
        config: Any = self._engine.llm_engine.model_config
        self._longest = int(config.max_model_len)
        # Of a text whose likelihood is asked, two places are the engine's: for the start mark, and
        # for the token that it has to write.
        self.context = max(1, self._longest - 2)
        self._precision = str(config.dtype).removeprefix("torch.")
        known = (self._tokenizer.eos_token_id, self._tokenizer.bos_token_id)
        self._marks = Marks.of(added(self._tokenizer), *known)

    def describe(self) -> dict[str, Any]:
        return {
            "backend": "vllm",
            "vllm": str(self._vllm.__version__),
            "precision": self._precision,
            "start": self._tokenizer.decode(list(self._marks.lead)),
            "likelihood_start": self._tokenizer.decode(list(self._marks.first)),
            "context": self._longest,
        }

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(self._marks.prompt(self._ids(text))) for text in texts]

    def loglikelihood(self, pairs: Sequence[tuple[str, str]], *, prefix: str = "") -> list[float]:  # noqa: ARG002
        # The engine writes at least one token, and it has to fit as well.
        return self._score(self._marks.spans(self._ids, pairs, self._longest - 1))

    def rolling_loglikelihood(self, texts: Sequence[str]) -> list[float]:
        read = [self._marks.windows(self._ids(text), self._longest - 1) for text in texts]
        scores = iter(self._score([span for found in read for span in found]))
        return [sum((next(scores) for _ in found), 0.0) for found in read]

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        max_characters: int = 0,
        stop: Sequence[str] = (),
        prefix: str = "",  # noqa: ARG002
    ) -> list[Generated]:
        limit = min(max_new_tokens, self._longest - 1)
        room = self._longest - limit
        limits = self._vllm.SamplingParams(
            temperature=0.0, max_tokens=limit, stop=list(stop), logprobs=0
        )
        ids = [self._marks.prompt(self._ids(text)) for text in prompts]
        requests = iter(self._ask([row for row in ids if len(row) <= room], limits))
        made = []
        for row in ids:
            if len(row) > room:
                made.append(too_long(len(row), room))
                continue
            output = next(requests).outputs[0]
            told = output.cumulative_logprob  # of what it wrote; NaN where its logits are
            if told is not None and not math.isfinite(told):
                raise no_number(self._name)
            ended = _ended(output)
            if ended == "error":
                note = f"finish_reason {output.finish_reason!r}"
                made.append(Generated(output.text or "", ended, note))
            else:
                made.append(cut(output.text, ended, stop=stop, max_characters=max_characters))
        return made

    def render(self, instruction: str, text: str) -> str:
        content = f"{instruction}\n{text}" if text else instruction
        if not self._tokenizer.chat_template:
            return content + "\n"
        return self._apply(messages([("user", content)]))

    def chat(self, conversations: Sequence[Conversation]) -> list[str]:
        if not self._tokenizer.chat_template:
            return []
        return [in_template(self._apply, turns) for turns in conversations]

    def _apply(self, told: list[dict[str, str]]) -> str:
        def made() -> str:
            text: str = self._tokenizer.apply_chat_template(
                told, tokenize=False, add_generation_prompt=True
            )
            return text

        return str(render(made, self._name))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _ask(self, ids: Sequence[Sequence[int]], limits: Any) -> list[Any]:
        if not ids:
            return []
        prompts = [{"prompt_token_ids": list(row)} for row in ids]
        requests: list[Any] = self._engine.generate(prompts, limits, use_tqdm=False)
        if len(requests) != len(prompts):
            raise YoriaiError(f"vLLM answered {len(requests)} of {len(prompts)} prompts")
        return requests

    def _score(self, read: Sequence[ScoredSpan]) -> list[float]:
        """vLLM reads a prompt whose likelihoods are asked for without its prefix cache
        (``skip_reading_prefix_cache``), so each choice pays for its whole context.
        """
        limits = self._vllm.SamplingParams(
            temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False
        )
        scores = []
        for span, request in zip(read, self._ask([s.ids for s in read], limits), strict=True):
            told = request.prompt_logprobs  # one mapping of ids a place; None for the first
            if told is None or len(told) != len(span.ids):
                raise YoriaiError("vLLM gave no likelihoods of a prompt")
            places = range(max(span.first, 1), len(span.ids))
            scores.append(math.fsum(told[place][span.ids[place]].logprob for place in places))
        return scores


def _ended(output: Any) -> Ended:
    """``stop_reason`` is the stop text, None for the end mark, or an id that counts as one."""
    if output.finish_reason == "stop":
        return "stop" if isinstance(output.stop_reason, str) else "end"
    return "length" if output.finish_reason == "length" else "error"
