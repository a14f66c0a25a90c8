"""A GGUF file in real llama.cpp: token ids, log-probabilities, and a greedy continuation.

Through ``xllamacpp``, whose server answers on the loopback address only and ends with the object.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoriai import NotFound, YoriaiError

SECONDS = 300  # that one answer may take


class LlamaCppServer:
    """An opened file. Raises :class:`yoriai.NotFound` where ``xllamacpp`` is not installed."""

    def __init__(self, path: Path, *, context: int = 512) -> None:
        try:
            import xllamacpp
        except ImportError as error:
            raise NotFound(
                "llama.cpp is not here to check the file with", hint="pip install xllamacpp"
            ) from error
        parameters: Any = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = context
        # Keys and values in f32 and plain attention: the defaults of llama.cpp round both to f16.
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        disabled = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.flash_attn_type = disabled
        parameters.n_parallel = 1
        parameters.n_gpu_layers = 0
        parameters.warmup = False
        parameters.verbosity = -1
        parameters.cache_prompt = False
        try:
            self._server: Any = xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise YoriaiError(f"llama.cpp cannot open {path.name}: {error}") from error

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, special tokens in it taken for plain text."""
        return [
            self._ask("tokenize", {"content": t, "parse_special": False})["tokens"] for t in texts
        ]

    def next_logprobs(self, ids: Sequence[int], vocabulary: int) -> dict[int, float]:
        """Natural-log probability of every token after ``ids``.

        The probabilities are those before the bias, which makes the server sample a letter: it
        tells none beside a token that ends in half a character, or that ends the text.
        """
        letter = self.encode(["a"])[0][-1]
        told = self._ask(
            "completion",
            {
                "prompt": list(ids), "n_predict": 1, "n_probs": vocabulary, "temperature": -1.0,
                "cache_prompt": False, "post_sampling_probs": False, "samplers": [],
                "logit_bias": [[letter, 1000.0]],
            },
        )  # fmt: skip
        return {
            int(row["id"]): float(row["logprob"])
            for row in told["completion_probabilities"][0]["top_logprobs"]
        }

    def continue_greedily(self, ids: Sequence[int], count: int) -> list[int]:
        """The most likely token, ``count`` times."""
        told = self._ask(
            "completion",
            {
                "prompt": list(ids), "n_predict": count, "temperature": 0.0, "top_k": 1,
                "return_tokens": True, "cache_prompt": False, "ignore_eos": False,
            },
        )  # fmt: skip
        return [int(i) for i in told["tokens"]]

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self._server.listening_address}/{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.loads(answer.read())
