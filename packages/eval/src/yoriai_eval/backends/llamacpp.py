"""``eval/llama-cpp``: a GGUF file in llama.cpp, on a machine of any size.

Tried with llama-cpp-python 0.3.36 and a quantised SmolLM2-135M-Instruct. The functions of
llama.cpp are used directly, as the wrapper's own keep the likelihoods of a whole vocabulary for
each place of the context.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Backend, Generated, LanguageModel, NotFound, UsageError, YoriaiError
from yoriai.model_folder import render
from yoriai_eval.backends.rules import (
    Conversation,
    Ended,
    Marks,
    ScoredSpan,
    common_of_all,
    cut,
    in_template,
    messages,
    no_number,
    too_long,
)


class LlamaCpp(Backend):
    """A ``.gguf`` file, or a folder with one.

    What all sequences of a call begin with is encoded once and stays in llama.cpp's cache; a
    context is encoded once for all of its choices. What a sequence gets depends on the other
    sequences of its call only in the last digits, and never on earlier calls.
    """

    version: ClassVar[str] = "1"
    context: int = Field(
        4096, ge=8, le=10**8, description="longest sequence in tokens, if the model's is"
    )
    batch: int = Field(512, ge=1, le=10**6, description="tokens at once")
    threads: int = Field(
        0, ge=0, le=10**4, description="processor threads; 0: as llama.cpp chooses"
    )
    gpu_layers: int = Field(0, ge=-1, description="layers on the GPU; -1: all")

    def open(self, folder: Path) -> LanguageModel:
        return _GgufModel(self, find(folder))


def find(place: Path) -> Path:
    """The GGUF file at a place; of a file in parts, the first, which leads to the others."""
    if place.is_file():
        return place
    found = sorted(place.glob("*.gguf")) if place.is_dir() else []
    whole = [p for p in found if "-of-" not in p.stem or "-00001-of-" in p.stem]
    if not whole:
        raise NotFound(f"{place.name} holds no .gguf file", hint="eval/hf opens other folders")
    if len(whole) > 1:
        names = ", ".join(path.name for path in whole)
        raise UsageError(f"{place.name} holds more than one model: {names}", hint="name the file")
    return whole[0]


class _GgufModel:
    def __init__(self, backend: LlamaCpp, path: Path) -> None:
        import llama_cpp

        self._c: Any = llama_cpp
        self._name = str(path)
        threads = {"n_threads": backend.threads, "n_threads_batch": backend.threads}
        try:
            self._llama: Any = llama_cpp.Llama(
                model_path=str(path),
                n_ctx=backend.context,
                n_batch=backend.batch,
                n_ubatch=backend.batch,
                n_gpu_layers=backend.gpu_layers,
                verbose=False,
                **(threads if backend.threads else {}),
            )
        except (ValueError, OSError) as error:
            raise YoriaiError(
                f"llama.cpp cannot open {path.name}: {error}",
                hint="the file may be cut short, or its kind of model newer than llama-cpp-python",
            ) from error
        told = self._llama.metadata
        own = int(told.get(f"{told.get('general.architecture')}.context_length", 0))
        self.context = min(own or backend.context, backend.context)
        self._size = int(self._llama.n_vocab())
        self._memory = llama_cpp.llama_get_memory(self._llama.ctx)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)
        self._width = backend.batch
        self._batch = llama_cpp.llama_batch_init(backend.batch, 0, 1)
        bos, eos = int(self._llama.token_bos()), int(self._llama.token_eos())
        adds = llama_cpp.llama_vocab_get_add_bos(self._vocabulary) and bos >= 0
        self._marks = Marks.of([bos] if adds else [], eos, bos)
        self._base: tuple[int, ...] = ()
        self._held: list[int] = []  # the tokens in llama.cpp's cache

    def __del__(self) -> None:
        if hasattr(self, "_batch"):
            self._c.llama_batch_free(self._batch)

    def describe(self) -> dict[str, Any]:
        told = self._llama.metadata
        return {
            "backend": "llama-cpp",
            "llama_cpp_python": str(self._c.__version__),
            "model": told.get("general.name", ""),
            "file_type": told.get("general.file_type", ""),
            "start": self._named(self._marks.lead),
            "likelihood_start": self._named(self._marks.first),
            "context": self.context,
        }

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(self._marks.prompt(self._ids(text))) for text in texts]

    # The last id of a text is scored and not read, so there is room for one more.
    def loglikelihood(self, pairs: Sequence[tuple[str, str]], *, prefix: str = "") -> list[float]:  # noqa: ARG002
        return self._score(self._marks.spans(self._ids, pairs, self.context + 1))

    def rolling_loglikelihood(self, texts: Sequence[str]) -> list[float]:
        read = [self._marks.windows(self._ids(text), self.context) for text in texts]
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
        limit = min(max_new_tokens, self.context - 1)
        room = self.context - limit
        rows = [self._marks.prompt(self._ids(text)) for text in prompts]
        self._keep([row for row in rows if len(row) <= room])
        return [
            self._write(row, limit, max_characters, stop)
            if len(row) <= room
            else too_long(len(row), room)
            for row in rows
        ]

    def render(self, instruction: str, text: str) -> str:
        content = f"{instruction}\n{text}" if text else instruction
        if not self._template:
            return content + "\n"
        return self._apply(messages([("user", content)]))

    def chat(self, conversations: Sequence[Conversation]) -> list[str]:
        if not self._template:
            return []
        return [in_template(self._apply, turns) for turns in conversations]

    @property
    def _template(self) -> str:
        return str(self._llama.metadata.get("tokenizer.chat_template") or "")

    def _apply(self, told: list[dict[str, str]]) -> str:
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        marks = (self._llama.token_eos(), self._llama.token_bos())
        eos, bos = (self._named([mark]) if mark >= 0 else "" for mark in marks)

        def made() -> str:
            formatter = Jinja2ChatFormatter(template=self._template, eos_token=eos, bos_token=bos)
            text: str = formatter(messages=told).prompt
            return text

        return str(render(made, self._name))

    # --- text and ids -------------------------------------------------------------------

    def _ids(self, text: str) -> list[int]:
        data = text.encode("utf-8", "replace")
        ids: list[int] = self._llama.tokenize(data, add_bos=False, special=True)
        return ids

    def _named(self, ids: Sequence[int]) -> str:
        return b"".join(self._piece(i, special=True) for i in ids).decode("utf-8", "replace")

    def _piece(self, token: int, *, special: bool = False) -> bytes:
        piece: bytes = self._llama.detokenize([token], special=special)
        return piece

    # --- llama.cpp's cache: one sequence, which is cut back and read on -------------------

    def _keep(self, rows: Sequence[Sequence[int]]) -> None:
        """Leave in the cache what all rows begin with; the last id of a row is always read.

        A base that is there already was read from nothing in the same way, so it is the same.
        """
        shortest = min(map(len, rows), default=1)
        base = tuple(rows[0][: min(common_of_all(rows), shortest - 1)]) if rows else ()
        if base != self._base:
            self._back(0)
            self._read(base)
            self._base = base

    def _back(self, length: int) -> None:
        """Forget all but the first tokens of the cache."""
        if length >= len(self._held):
            return
        kept, self._held = self._held[:length], self._held[:length]
        if not self._c.llama_memory_seq_rm(self._memory, 0, length, -1):
            # A recurrent model keeps one state, not one a token: read them again.
            self._c.llama_memory_seq_rm(self._memory, 0, 0, -1)
            self._held = []
            self._read(kept)

    def _read(self, ids: Sequence[int], wanted: int | None = None) -> Any:
        """Read on; the logits after each of ``ids[wanted:]``, (places, vocabulary) in fp32."""
        import numpy as np

        wanted = len(ids) if wanted is None else wanted
        rows = [np.empty((0, self._size), np.float32)]
        for place in range(0, len(ids), self._width):
            chosen = ids[place : place + self._width]
            batch, count = self._batch, 0
            batch.n_tokens = len(chosen)
            for i, token in enumerate(chosen):
                batch.token[i] = token
                batch.pos[i] = len(self._held) + i
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = 0
                batch.logits[i] = place + i >= wanted
                count += place + i >= wanted
            code = self._c.llama_decode(self._llama.ctx, batch)
            if code:
                # What is in the cache now is not known: the next call begins from nothing.
                self._c.llama_memory_seq_rm(self._memory, 0, 0, -1)
                self._base, self._held = (), []
                raise YoriaiError(f"llama.cpp could not read {len(ids)} tokens (code {code})")
            self._held += chosen
            if count:
                logits = self._c.llama_get_logits(self._llama.ctx)
                rows.append(np.ctypeslib.as_array(logits, shape=(count, self._size)).copy())
        return np.concatenate(rows)

    def _score(self, read: Sequence[ScoredSpan]) -> list[float]:
        """Natural-log probability of each span from its first place on.

        Spans with the same context follow one another, so a context is read once.
        """
        self._keep([span.ids[: max(span.first, 1)] for span in read])
        scores = []
        last: tuple[int, ...] | None = None
        for span in read:
            before = max(span.first, 1) - 1
            context = span.ids[:before]
            if context != last:
                self._back(len(self._base))
                self._read(context[len(self._base) :])
                last = context
            self._back(before)
            total = 0.0
            for place in range(before, len(span.ids) - 1, self._width):
                wanted = span.ids[place + 1 : place + 1 + self._width]
                logits = self._read(span.ids[place : place + len(wanted)], 0)
                total += sum(map(_log_probability, logits, wanted))
            scores.append(total)
        self._back(len(self._base))
        return scores

    def _write(
        self, ids: Sequence[int], limit: int, max_characters: int, stop: Sequence[str]
    ) -> Generated:
        self._back(len(self._base))
        rest = ids[len(self._base) :]
        logits = self._read(rest, len(rest) - 1)
        data = b""
        ended: Ended = "length"
        for left in range(limit - 1, -1, -1):
            token = int(logits[-1].argmax())
            if logits[-1][token] != logits[-1][token]:  # of NaN and numbers, argmax takes NaN
                raise no_number(self._name)
            if self._c.llama_vocab_is_eog(self._vocabulary, token):
                ended = "end"
                break
            data += self._piece(token)
            text = data.decode("utf-8", "ignore")
            if any(mark in text for mark in stop) or 0 < max_characters < len(text):
                break
            if left:
                logits = self._read([token], 0)
        self._back(len(self._base))
        text = data.decode("utf-8", "replace")
        return cut(text, ended, stop=stop, max_characters=max_characters)


def _log_probability(logits: Any, token: int) -> float:
    """Of a token, in double precision, from the logits of a vocabulary."""
    import numpy as np

    wide = logits.astype(np.float64)
    top = wide.max()
    return float(wide[token] - top - np.log(np.exp(wide - top).sum()))
