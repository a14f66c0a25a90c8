"""Reading a server's replies: pure functions that take any JSON object and trust nothing in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from yoriai import Generated, UsageError, YoriaiError
from yoriai_eval.backends.client import Failed
from yoriai_eval.backends.rules import Ended, cut

LONGEST_MARKS = 64  # characters of start marks that a server may show before a text
NEAR = 0.5  # in natural log: far more than half precision moves a likely token
REFUSALS = frozenset({"content_filter", "content_policy_violation"})
# "eos_token" and "stop_sequence" are what text-generation-inference calls them.
ENDS: dict[str, Ended] = {
    "stop": "end",
    "eos_token": "end",
    "stop_sequence": "stop",
    "length": "length",
    "content_filter": "refused",
}
OTHERS = "backend: eval/hf, eval/vllm or eval/llama-cpp opens the model itself"


def written(reply: dict[str, Any] | Failed, stop: Sequence[str], max_characters: int) -> Generated:
    """What a reply says; anything that is no answer is one that ended by error, with a note."""
    if isinstance(reply, Failed):
        return Generated("", "refused" if reply.code in REFUSALS else "error", reply.note)
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Generated("", "error", "a reply without choices")
    choice = choices[0]
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    if isinstance(message, dict) and isinstance(message.get("refusal"), str) and message["refusal"]:
        return Generated("", "refused", message["refusal"][:300])
    reason = choice.get("finish_reason")
    ended = ENDS.get(reason) if isinstance(reason, str) else None
    if ended == "refused":
        return Generated(text if isinstance(text, str) else "", "refused", "content filter")
    if text is None and ended == "length":
        text = ""  # all of it went into thinking that the server keeps to itself
    if not isinstance(text, str):
        return Generated("", "error", "a reply without text")
    if ended is None:
        return Generated(text, "error", f"finish_reason {reason!r:.80}")
    if ended == "end" and isinstance(choice.get("stop_reason"), str):
        ended = "stop"  # vLLM says which stop text it was
    return cut(text, ended, stop=stop, max_characters=max_characters)


def echoes(reply: dict[str, Any], prompt: str) -> bool:
    """Whether a reply says a prompt back, with a likelihood for each of its pieces."""
    found, text = logprobs(reply), told_text(reply)
    usage = reply.get("usage")
    pieces = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if found is None or text is None or prompt not in text:
        return False
    return len(found[0]) >= (pieces if isinstance(pieces, int) else 2)


def told_text(reply: dict[str, Any] | Failed) -> str | None:
    """The text of a completion with likelihoods; None if it has no text or none of them."""
    if isinstance(reply, Failed) or logprobs(reply) is None:
        return None
    text = reply["choices"][0].get("text")
    return text if isinstance(text, str) else None


def logprobs(reply: dict[str, Any]) -> tuple[list[float | None], list[str]] | None:
    """Likelihoods and pieces of a completion with ``logprobs``; None if it has none."""
    try:
        told = reply["choices"][0]["logprobs"]
        values, pieces = told["token_logprobs"], told["tokens"]
    except (KeyError, TypeError, IndexError):
        return None
    if not isinstance(values, list) or not isinstance(pieces, list):
        return None
    return values, pieces


def spelled(reply: dict[str, Any], text: str) -> tuple[list[float | None], list[int]]:
    """Likelihoods of a prompt's pieces, and how many characters of its text each one completes.

    Marks before the text, which may be shown or not, complete none. Raises where the pieces do
    not spell the text, which happens where a character is made of several: then nothing says
    where a context ends and what follows it begins.
    """
    values, pieces = logprobs(reply) or ([], [])
    for count in (len(pieces) - 1, len(pieces)):  # one token was written after it, or none
        shown = [str(piece) for piece in pieces[: max(count, 0)]]
        place = len(text) - sum(map(len, shown))
        if not "".join(shown).endswith(text) or place < -LONGEST_MARKS:
            continue
        ends = [place := place + len(piece) for piece in shown]
        return values[: len(shown)], ends
    raise YoriaiError(
        "the server's pieces do not spell the prompt, so its border cannot be found",
        hint=f"a server with /tokenize (vLLM), or {OTHERS}",
    )


def agree(written: dict[str, Any], echoed: dict[str, Any], prompt: str) -> bool | None:
    """Whether a server's likelihoods of a prompt are those of its own writing; None: not known.

    ``written`` is one token after ``prompt``, ``echoed`` the same text as a prompt. They differ
    in llama-cpp-python's server (0.3.36), which gives each piece what belongs to the next one.
    """
    found, added = logprobs(written), told_text(written)
    first = found[0][0] if found and len(found[0]) == 1 else None
    if not added or not isinstance(first, (int, float)):
        return None
    try:
        values, ends = spelled(echoed, prompt + added)
    except YoriaiError:
        return None
    if len(prompt) not in ends or any(value is None for value in values[1:]):
        return None
    second = total([v for v, end in zip(values, ends, strict=True) if end > len(prompt)])
    return abs(first - second) <= NEAR


def total(values: Sequence[float | None]) -> float:
    if any(value is None for value in values):
        raise no_start()
    if not all(isinstance(value, (int, float)) for value in values):
        raise YoriaiError("the server gave a likelihood that is no number")
    return math.fsum(value for value in values if value is not None)


def token_ids(reply: dict[str, Any] | Failed) -> list[int] | None:
    found = reply.get("tokens") if isinstance(reply, dict) else None
    if not isinstance(found, list) or not all(type(item) is int for item in found):
        return None
    return found


def no_start() -> UsageError:
    return UsageError(
        "the server's tokenizer adds no start mark, so a first piece has no likelihood",
        hint="name the mark in the backend, e.g. start_mark: <|endoftext|>",
    )
