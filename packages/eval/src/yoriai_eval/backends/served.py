"""``eval/openai``: a model behind any server that speaks OpenAI's API.

vLLM, SGLang, llama.cpp's and Ollama's servers and OpenAI itself. What differs between them is
asked of the server, never guessed: its models (``GET /models``), its tokenizer (``/tokenize``, as
vLLM and llama.cpp have it) and likelihoods of a prompt (``echo`` with ``logprobs``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field

from yoriai import Backend, Generated, LanguageModel, NotFound, UsageError, YoriaiError
from yoriai_eval.backends.client import Client, Clock, Failed, Request, Turns
from yoriai_eval.backends.replies import (
    OTHERS,
    agree,
    echoes,
    logprobs,
    no_start,
    spelled,
    token_ids,
    told_text,
    total,
    written,
)
from yoriai_eval.backends.rules import (
    Conversation,
    ScoredSpan,
    common,
    messages,
    spans,
    whole,
    windows,
)

PROBE = "a b c d e"
MOST_STOPS = 4  # that the API takes (platform.openai.com/docs/api-reference/completions)


class Served(Backend):
    """Any server that speaks OpenAI's API.

    Nothing that a server does to one request costs the answers to others: what fails for good is
    an answer that ended by error. The key is read from the environment and written nowhere.
    """

    version: ClassVar[str] = "1"
    circumstances: ClassVar[tuple[str, ...]] = (
        "api_key_variable",
        "concurrency",
        "requests_per_minute",
        "tokens_per_minute",
        "timeout_seconds",
        "retries",
    )
    url: str = Field("http://127.0.0.1:8000/v1", description="where the API is")
    model: str = Field("", description="its name at the server; empty: as under models")
    api_key_variable: str = Field("", description="environment variable that holds the key")
    endpoint: Literal["completions", "chat"] = Field(
        "completions", description="completions: the prompt as it is; chat: as messages"
    )
    likelihoods: Literal["auto", "none"] = Field(
        "auto", description="auto: by echo, where the server gives it; none: never ask for them"
    )
    start_mark: str = Field(
        "", description="text before what is scored, where the tokenizer adds no mark"
    )
    extra: dict[str, Any] = Field(
        {}, description="more keys of every request that writes; null leaves a key out"
    )
    concurrency: int = Field(16, ge=1, le=10**5, description="requests under way at once")
    requests_per_minute: float | None = Field(None, gt=0, description="limit; null: none")
    tokens_per_minute: float | None = Field(
        None, gt=0, description="limit, at one token a character and the longest answer"
    )
    timeout_seconds: float = Field(300.0, gt=0, description="for one whole exchange")
    retries: int = Field(5, ge=0, le=1000, description="further tries of a request that failed")

    def open(self, folder: Path) -> LanguageModel:
        return ServedModel(self, folder)


class ServedModel:
    """A model at a server, ready to be asked. Raises at once if it cannot be asked at all."""

    def __init__(self, backend: Served, folder: Path, clock: Clock | None = None) -> None:
        self.backend = backend
        place = urlsplit(backend.url.rstrip("/"))
        if place.scheme not in ("http", "https") or not place.hostname:
            raise UsageError(
                f"{_bare(backend.url)!r} is no address of a server",
                hint="url: http://127.0.0.1:8000/v1",
            )
        self._api = place.path
        # vLLM and llama.cpp have their tokenizers beside /v1, not under it.
        self._beside = place.path.removesuffix("/v1")
        clock = clock or Clock()
        self._client = Client(
            urlunsplit((place.scheme, place.netloc, "", "", "")),
            key=_key(backend.api_key_variable),
            concurrency=backend.concurrency,
            timeout_seconds=backend.timeout_seconds,
            retries=backend.retries,
            turns=Turns(backend.requests_per_minute, backend.tokens_per_minute, clock),
            clock=clock,
        )
        self.context = 0
        self._longest = 0
        self.model = self._meet(folder)
        self._tokenizer: Literal["vllm", "llama.cpp", "none", ""] = ""
        self._ids: dict[str, tuple[int, ...]] = {}
        self._echoes = False

    def describe(self) -> dict[str, Any]:
        keys = self.backend
        told: dict[str, Any] = {"backend": "openai", "url": _bare(keys.url), "model": self.model}
        told.update(endpoint=keys.endpoint, start="as the server adds it")
        if keys.start_mark:
            told["likelihood_start"] = keys.start_mark
        return {**told, "extra": keys.extra} if keys.extra else told

    def count(self, texts: Sequence[str]) -> list[int]:
        if not self._has_tokenizer() or not texts:
            return []
        if self.backend.endpoint == "chat":
            if self._tokenizer != "vllm":
                return []  # the server's template adds tokens that cannot be counted
            bodies = [
                {"model": self.model, "messages": _message(text), "add_generation_prompt": True}
                for text in texts
            ]
        else:
            bodies = [self._tokenize(text) for text in texts]
        replies = self._client.each([Request(f"{self._beside}/tokenize", body) for body in bodies])
        ids = [token_ids(reply) for reply in replies]
        return [len(found) for found in ids if found is not None] if None not in ids else []

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        max_characters: int = 0,
        stop: Sequence[str] = (),
        prefix: str = "",  # noqa: ARG002
    ) -> list[Generated]:
        requests = [self._writing(prompt, max_new_tokens, stop) for prompt in prompts]
        replies = self._client.each(requests)
        made = [written(reply, stop, max_characters) for reply in replies]
        if made and all(isinstance(reply, Failed) for reply in replies):
            self._still_there()
        return made

    def loglikelihood(self, pairs: Sequence[tuple[str, str]], *, prefix: str = "") -> list[float]:  # noqa: ARG002
        if not pairs:
            return []
        self._likelihoods_or_raise()
        if self._has_tokenizer():
            self._encode(text for a, b in pairs for text in (a, a + b))
            # One place stays free for the token that the API makes a server write.
            read = spans(self._ids.__getitem__, pairs, max(self._longest - 1, 0))
            self._ids.clear()
            return self._score(read)
        start = self.backend.start_mark
        replies = self._echo([start + a + b for a, b in pairs])
        pieces = [spelled(r, a + b) for r, (a, b) in zip(replies, pairs, strict=True)]
        firsts: dict[str, int] = {}
        for (context, _), (_, ends) in zip(pairs, pieces, strict=True):
            # The first piece that reaches over the border, as where ids are compared.
            first = sum(end <= len(context) for end in ends)
            firsts[context] = min(first, firsts.get(context, first))
        return [
            total(values[firsts[context] :])
            for (context, _), (values, _) in zip(pairs, pieces, strict=True)
        ]

    def rolling_loglikelihood(self, texts: Sequence[str]) -> list[float]:
        if not texts:
            return []
        self._likelihoods_or_raise()
        start = self.backend.start_mark
        if not self._has_tokenizer():
            chosen = [text for text in texts if text]
            replies = self._echo([start + text for text in chosen])
            pieces = [spelled(r, text) for r, text in zip(replies, chosen, strict=True)]
            made = iter(total(v[sum(end <= 0 for end in ends) :]) for v, ends in pieces)
            return [next(made) if text else 0.0 for text in texts]
        self._encode(["", *texts])
        if not self._ids[""]:
            raise no_start()
        mark, longest = self._ids[""], max(self._longest - 1, 0)
        read = [windows(ids, longest, common(mark, ids)) for ids in (self._ids[t] for t in texts)]
        self._ids.clear()
        scores = iter(self._score([span for found in read for span in found]))
        return [sum((next(scores) for _ in found), 0.0) for found in read]

    def render(self, instruction: str, text: str) -> str:
        content = f"{instruction}\n{text}" if text else instruction
        return content if self.backend.endpoint == "chat" else content + "\n"

    def chat(self, conversations: Sequence[Conversation]) -> list[str]:
        """To a chat endpoint the messages themselves, which the server puts into its template.

        To the other, what the server's ``/apply-template`` makes of them (llama.cpp's has it);
        an empty list where there is no such address.
        """
        if self.backend.endpoint == "chat":
            return [_Messages(turns) for turns in conversations]
        where = f"{self._beside}/apply-template"
        bodies = [{"messages": messages(turns)} for turns in conversations]
        replies = self._client.each([Request(where, body) for body in bodies])
        made = []
        for reply, turns in zip(replies, conversations, strict=True):
            if isinstance(reply, Failed) and reply.status in (404, 405, 501):
                return []
            prompt = reply.get("prompt") if isinstance(reply, dict) else None
            if not isinstance(prompt, str):
                note = reply.note if isinstance(reply, Failed) else "a reply without a prompt"
                raise YoriaiError(f"the server did not put a prompt into its template: {note}")
            made.append(whole(prompt, turns))
        return made

    # --- requests -----------------------------------------------------------------------

    def _meet(self, folder: Path) -> str:
        """The model's name at the server, after one look at what it serves."""
        keys = self.backend
        named = [keys.model] if keys.model else [str(folder), folder.name]
        reply = self._client.one(Request(f"{self._api}/models"), retries=0, timeout_seconds=30)
        if isinstance(reply, Failed) and reply.again and reply.status:
            reply = self._client.one(Request(f"{self._api}/models"))  # it is there, and busy
        if isinstance(reply, Failed):
            if reply.status in (404, 405, 501):
                return named[0] if not Path(named[0]).is_absolute() else named[-1]
            raise _unreachable(keys, reply)
        data = reply.get("data")
        served = [m for m in data if isinstance(m, dict)] if isinstance(data, list) else []
        for name in named:
            for found in served:
                if found.get("id") == name:
                    longest = found.get("max_model_len")  # vLLM and SGLang say it
                    self._longest = longest if isinstance(longest, int) and longest > 0 else 0
                    # Of a text whose likelihood is asked, two places are the server's: for the
                    # start mark, and for the token that the API makes it write.
                    self.context = max(1, self._longest - 2) if self._longest else 0
                    return name
        known = [str(m.get("id")) for m in served]
        raise NotFound(
            f"{_bare(keys.url)} serves no model called {named[-1]!r}",
            hint=f"model: one of {', '.join(known[:8])}" if known else "it serves none at all",
        )

    def _still_there(self) -> None:
        """Where all requests of a call failed: raise if the server is gone, so that the rest of a
        run is not written down as errors. What was asked before is kept, and is not asked again.
        """
        reply = self._client.one(Request(f"{self._api}/models"), retries=0, timeout_seconds=30)
        if isinstance(reply, Failed) and (not reply.status or reply.status in (401, 403)):
            raise _unreachable(self.backend, reply)

    def _writing(self, prompt: str, max_new_tokens: int, stop: Sequence[str]) -> Request:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": max_new_tokens,
            "temperature": 0,
            "seed": 0,
        }
        if stop:
            body["stop"] = list(stop[:MOST_STOPS])
        if self.backend.endpoint == "chat":
            path, body["messages"] = "chat/completions", _message(prompt)
        else:
            path, body["prompt"] = "completions", prompt
        body = {k: v for k, v in {**body, **self.backend.extra}.items() if v is not None}
        return Request(f"{self._api}/{path}", body, len(prompt) + max_new_tokens)

    def _echo(self, prompts: Sequence[str | tuple[int, ...]]) -> list[dict[str, Any]]:
        """Replies that say the prompts back, with likelihoods; raises if any is missing.

        One token is written and left out, as some servers refuse to write none (the same request
        as EleutherAI/lm-evaluation-harness:lm_eval/models/openai_completions.py).
        """
        self._echoes_or_raise()
        made = []
        for reply in self._client.each([self._echoing(prompt) for prompt in prompts]):
            if isinstance(reply, Failed):
                raise YoriaiError(
                    f"{self.model} gave no likelihood: {reply.note}",
                    hint="run it again: what was asked before is kept",
                )
            made.append(reply)
        return made

    def _echoing(self, prompt: str | tuple[int, ...], *, echo: bool = True) -> Request:
        body: dict[str, Any] = {"model": self.model, "max_tokens": 1, "temperature": 0}
        body.update(logprobs=1, prompt=list(prompt) if isinstance(prompt, tuple) else prompt)
        if echo:
            body["echo"] = True
        return Request(f"{self._api}/completions", body, len(prompt) + 1)

    def _echoes_or_raise(self) -> None:
        """Once a model: what the server says of a prompt has to be what it says of its own text."""
        if self._echoes:
            return
        written = self._client.one(self._echoing(PROBE, echo=False))
        added = told_text(written)
        echoed = self._client.one(self._echoing(PROBE + added)) if added is not None else written
        for reply in (written, echoed):
            if isinstance(reply, Failed) and reply.status not in (400, 422):
                raise YoriaiError(f"{self.model} gave no likelihood: {reply.note}")
        where = _bare(self.backend.url)
        if isinstance(written, Failed) or isinstance(echoed, Failed) or not echoes(echoed, PROBE):
            raise UsageError(f"the server at {where} gives no likelihoods of a prompt", hint=OTHERS)
        if agree(written, echoed, PROBE) is False:
            raise UsageError(
                f"the likelihoods of a prompt that the server at {where} gives are not those of"
                " its own writing",
                hint=OTHERS,
            )
        self._echoes = True

    def _score(self, read: Sequence[ScoredSpan]) -> list[float]:
        if any(span.first == 0 and span.ids for span in read):
            raise no_start()
        asked = [span for span in read if span.first < len(span.ids)]
        replies = iter(self._echo([span.ids for span in asked]) if asked else ())
        made = []
        for span in read:
            if span.first >= len(span.ids):
                made.append(0.0)
                continue
            told = logprobs(next(replies))
            values = told[0] if told else []
            if len(values) < len(span.ids):
                raise YoriaiError(f"{self.model} gave {len(values)} of {len(span.ids)} likelihoods")
            made.append(total(values[span.first : len(span.ids)]))
        return made

    def _likelihoods_or_raise(self) -> None:
        if self.backend.endpoint == "chat":
            raise UsageError(
                "a chat endpoint gives no likelihoods of a prompt",
                hint=f"endpoint: completions, if the server has it; or {OTHERS}",
            )
        if self.backend.likelihoods == "none":
            raise UsageError("this task needs likelihoods, and likelihoods: none", hint=OTHERS)

    # --- the server's tokenizer -----------------------------------------------------------

    def _has_tokenizer(self) -> bool:
        if not self._tokenizer:
            self._tokenizer = "none"
            for kind, body in (
                ("vllm", {"model": self.model, "prompt": "a", "add_special_tokens": True}),
                ("llama.cpp", {"content": "a", "add_special": True}),
            ):
                reply = self._client.one(Request(f"{self._beside}/tokenize", body))
                if token_ids(reply):
                    self._tokenizer = "vllm" if kind == "vllm" else "llama.cpp"
                    break
        return self._tokenizer != "none"

    def _tokenize(self, text: str) -> dict[str, Any]:
        if self._tokenizer == "vllm":
            return {"model": self.model, "prompt": text, "add_special_tokens": True}
        return {"content": text, "add_special": True}

    def _encode(self, texts: Iterable[str]) -> None:
        """Fill ``_ids`` with the ids of texts after the start mark, each asked once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._ids]
        bodies = [self._tokenize(self.backend.start_mark + text) for text in new]
        replies = self._client.each([Request(f"{self._beside}/tokenize", body) for body in bodies])
        for text, reply in zip(new, replies, strict=True):
            ids = token_ids(reply)
            if ids is None:
                note = reply.note if isinstance(reply, Failed) else "an answer without ids"
                raise YoriaiError(f"the server could not tokenize a text: {note}")
            self._ids[text] = tuple(ids)


class _Messages(str):
    """A prompt that is a conversation: its text is the JSON of the messages that are sent."""

    told: list[dict[str, str]]

    def __new__(cls, turns: Conversation) -> _Messages:
        made = super().__new__(cls, json.dumps(messages(turns), ensure_ascii=False))
        made.told = messages(turns)
        return made


def _message(prompt: str) -> list[dict[str, str]]:
    return prompt.told if isinstance(prompt, _Messages) else messages([("user", prompt)])


def _key(variable: str) -> str:
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"{variable} is not set", hint=f"export {variable}=...")
    return key


def _bare(url: str) -> str:
    """An address without a login or what follows the path."""
    place = urlsplit(url)
    host = place.netloc.rpartition("@")[2]
    return urlunsplit((place.scheme, host, place.path.rstrip("/"), "", ""))


def _unreachable(backend: Served, reply: Failed) -> YoriaiError:
    where = _bare(backend.url)
    if reply.status in (401, 403):
        hint = (
            f"the key in {backend.api_key_variable} is not accepted"
            if backend.api_key_variable
            else "api_key_variable: NAME, the environment variable that holds the key"
        )
        return YoriaiError(f"{where} refuses access ({reply.note})", hint=hint)
    return YoriaiError(f"no model server at {where}: {reply.note}", hint=f"curl {where}/models")
