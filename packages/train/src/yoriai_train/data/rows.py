"""Rows of instruction data, in the forms in which they are published, as :class:`Example`.

The form of a row is told by its keys:

========================================  ========================================================
``messages``                              OpenAI's fine-tuning files ("Fine-tuning", chat format)
                                          and TRL ("Dataset formats", conversational)
``conversations``                         ShareGPT: ``from`` (human, gpt, system) and ``value``
``utterances``                            instruction_ja: ``name`` (user, agent) and ``text``
``instruction`` with ``output``           Alpaca, jaster, ichikara; ``input`` may be missing
``instruction`` with ``response``         Dolly; its ``context`` may be missing
``text`` alone                            llm-jp-sft: ``### 指示:`` and ``### 応答:`` in one text
``chosen`` with ``rejected``              preferences: answers after a ``prompt`` or, as LLM-jp's
                                          hh-rlhf-12k-ja, ``conversations``; lists of turns; or
                                          HH-RLHF's ``Human:`` and ``Assistant:`` texts
========================================  ========================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from yoriai import Example, Turn, UsageError

# What the sides are called: OpenAI and TRL; ShareGPT (FastChat); instruction_ja.
_ROLES = {
    "system": "system", "user": "user", "assistant": "assistant", "human": "user",
    "gpt": "assistant", "agent": "assistant", "bot": "assistant", "chatgpt": "assistant",
}  # fmt: skip
# What the assistant says beside its answer in files of reasoning models and of OpenAI.
_BESIDE = ("reasoning_content", "reasoning", "thinking", "refusal", "audio")
# llm-jp-sft: data/example.jsonl (指示, 応答) and data/janli.head.json (full-width, 入力, 回答).
_HEADS = re.compile(r"(?:\A|\n\s*|[ ])### (指示|入力|質問|応答|回答)[:：]\s?")
_ANSWERS = ("応答", "回答")
# HH-RLHF (Anthropic) and its translations: turns in one text.
_HH = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")
_ORDER = "user and assistant by turns, the last turn the assistant's; a system text may come first"
_KNOWN = "instruction and output, messages, conversations, text, or chosen and rejected"


def read_row(row: Mapping[str, Any], place: str) -> Example:
    """One row; raises :class:`UsageError` with ``place`` for what cannot be learned whole."""
    if row.get("tools") or row.get("functions"):
        raise UsageError(f"{place}: conversations with tools are not read")
    if row.get("history"):
        raise UsageError(
            f"{place}: turns under 'history' are not read",
            hint='write "messages": [{"role": "user", "content": "..."}, ...]',
        )
    if "chosen" in row or "rejected" in row:
        return _preference(row, place)
    for key in ("messages", "conversations", "conversation", "utterances"):
        if row.get(key) is not None:
            turns = read_turns(row[key], place, key)
            return Example(_with_system(row, turns, place), place=place)
    if "text" in row and "instruction" not in row:
        return Example(_llm_jp(_text(row, "text", place), place), place=place)
    answer = "response" if "output" not in row and "response" in row else "output"
    more = "context" if "input" not in row and "context" in row else "input"
    for key in ("instruction", answer):
        if not isinstance(row.get(key), str):
            raise UsageError(f"{place}: {key!r} is missing or no text", hint=f"a row has {_KNOWN}")
    text = _text(row, more, place)
    made = Example.of(row["instruction"], text, row[answer])
    return Example(_with_system(row, made.turns, place), place=place)


def read_turns(said: Any, place: str, key: str = "messages") -> tuple[Turn, ...]:
    """The turns of a conversation: user and assistant by turns, a system text may come first."""
    if not isinstance(said, list) or not said:
        raise UsageError(f"{place}: {key!r} is no list of turns")
    turns: list[Turn] = []
    for number, one in enumerate(said, 1):
        turn = _turn(one, f"{place}, turn {number}")
        before = turns[-1].role if turns else ""
        if turn.role == "assistant" and before != "user":
            raise UsageError(
                f"{place}, turn {number}: the assistant answers no user turn", hint=_ORDER
            )
        if turn.role == "system" and before:
            raise UsageError(f"{place}, turn {number}: a system turn stands first", hint=_ORDER)
        if turn.role == "user" and before == "user":
            raise UsageError(
                f"{place}, turn {number}: the user's turn before has no answer", hint=_ORDER
            )
        turns.append(turn)
    if not any(turn.role == "assistant" for turn in turns):
        raise UsageError(f"{place}: no assistant turn to learn", hint=_ORDER)
    if turns[-1].role != "assistant":
        raise UsageError(
            f"{place}: the last turn is the {turns[-1].role}'s, which nobody answers", hint=_ORDER
        )
    return tuple(turns)


def _turn(said: Any, place: str) -> Turn:
    """One turn; its content may be a list of parts that are text."""
    if not isinstance(said, dict):
        raise UsageError(f"{place}: no JSON object, but {type(said).__name__}")
    named = next((said[key] for key in ("role", "from", "name") if key in said), None)
    role = _ROLES.get(named) if isinstance(named, str) else None
    if role is None:
        raise UsageError(f"{place}: role {named!r} is not system, user or assistant")
    if said.get("tool_calls") or said.get("function_call"):
        raise UsageError(f"{place}: calls of tools are not read")
    if beside := next((key for key in _BESIDE if said.get(key)), None):
        raise UsageError(f"{place}: {beside!r} is not read, and would be lost")
    if said.get("weight", 1) not in (0, 1):
        raise UsageError(f"{place}: weight {said['weight']!r} is not 0 or 1")
    content = next((said[key] for key in ("content", "value", "text") if key in said), None)
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts):
            content = "".join(texts)
    if not isinstance(content, str):
        raise UsageError(f"{place}: 'content' is no text")
    return Turn(role, content, said.get("weight", 1) != 0)


def _with_system(row: Mapping[str, Any], turns: tuple[Turn, ...], place: str) -> tuple[Turn, ...]:
    """With the text that stands beside the turns under ``system``."""
    system = _text(row, "system", place)
    if system and turns[0].role == "system":
        raise UsageError(f"{place}: two system texts, under 'system' and as a turn")
    return (Turn("system", system), *turns) if system else turns


def _text(row: Mapping[str, Any], key: str, place: str) -> str:
    text = row.get(key) or ""
    if not isinstance(text, str):
        raise UsageError(f"{place}: {key!r} is no text")
    return text


def _llm_jp(text: str, place: str) -> tuple[Turn, ...]:
    """Turns of one text with the heads of llm-jp-sft; what stands before them is the system's."""
    heads = list(_HEADS.finditer(text))
    turns: list[Turn] = []
    if not heads or heads[-1][1] not in _ANSWERS or heads[0][1] in _ANSWERS:
        raise UsageError(
            f"{place}: 'text' holds no '### 指示:' with '### 応答:' after it",
            hint=f"a row has {_KNOWN}",
        )
    if system := text[: heads[0].start()].strip():
        turns.append(Turn("system", system))
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        said = text[head.end() : following.start() if following else len(text)]
        role = "assistant" if head[1] in _ANSWERS else "user"
        if turns and turns[-1].role == role == "user":  # 指示 and then 入力
            turns[-1] = Turn("user", f"{turns[-1].text}\n\n{said.rstrip()}")
        else:
            turns.append(Turn(role, said if following is None else said.rstrip()))
    return tuple(turns)


def _preference(row: Mapping[str, Any], place: str) -> Example:
    """A pair; both sides must be one conversation but for the last turn."""
    prompt = row.get("prompt", row.get("conversations"))
    sides = []
    for key in ("chosen", "rejected"):
        said = row.get(key)
        if isinstance(said, str):
            turns = _hh(said) if prompt is None else (Turn("assistant", said),)
        elif isinstance(said, list) and said:
            turns = tuple(_turn(one, f"{place}, {key}") for one in said)
        else:
            raise UsageError(f"{place}: {key!r} is missing, or neither text nor turns")
        sides.append(turns)
    before: tuple[Turn, ...] = ()
    if isinstance(prompt, str):
        before = _hh(prompt) or (Turn("user", prompt),)
    elif isinstance(prompt, list):
        before = tuple(_turn(one, f"{place}, prompt") for one in prompt)
    elif prompt is not None:
        raise UsageError(f"{place}: 'prompt' is neither text nor turns")
    chosen, rejected = ([*before, *side] for side in sides)
    if not chosen or not rejected or chosen[:-1] != rejected[:-1]:
        raise UsageError(f"{place}: chosen and rejected are not one conversation but for the end")
    if chosen[-1] == rejected[-1]:
        raise UsageError(f"{place}: chosen and rejected are equal, so nothing is preferred")
    pair = [read_turns(_as_rows(side), place) for side in (chosen, rejected)]
    return Example(_with_system(row, pair[0], place), _with_system(row, pair[1], place), place)


def _as_rows(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.text} for turn in turns]


def _hh(text: str) -> tuple[Turn, ...]:
    """Turns of a text in HH-RLHF's form; none if it is of another."""
    heads = list(_HH.finditer(text))
    if not heads or heads[0].start():
        return ()
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return tuple(
        Turn("user" if head[1] == "Human" else "assistant", text[head.end() : end].strip())
        for head, end in zip(heads, ends, strict=True)
    )
