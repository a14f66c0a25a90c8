"""Where an answer ends, and its text: a function of the ids of prompt and answer alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yoriai import Generated

# Pieces of a prompt that are decoded before an answer: the first piece of a text may lose its
# space (SentencePiece), a later one may not.
BEFORE = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends an answer: ids of end marks, numbers of tokens and characters (0: none), texts."""

    ends: frozenset[int]
    tokens: int
    characters: int = 0
    stop: tuple[str, ...] = ()


class Ending:
    """Reads the ids of one answer as they come."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int], limits: Limits, context: int) -> None:
        self.tokenizer = tokenizer
        self.limits = limits
        room = context - len(prompt) if context else limits.tokens
        self.tokens = max(1, min(limits.tokens, room))
        self.tail = _tail(prompt, set(tokenizer.all_special_ids))
        self.before = self._decode(self.tail)

    def read(self, new: Sequence[int]) -> Generated | None:
        """The answer that these ids are, or None if it has not ended with the last of them.

        The text is what the ids add to the decoded prompt, without marks. It may have exactly
        ``characters`` characters; it is cut, and has ended by its length, once there are more.
        """
        limits = self.limits
        at_end, full = new[-1] in limits.ends, len(new) >= self.tokens
        if not (at_end or full or limits.stop or limits.characters):
            return None
        ids = new[:-1] if at_end else new
        text = self._decode([*self.tail, *ids])[len(self.before) :]
        # Bytes of a character that is not complete yet are shown as U+FFFD.
        known = text if at_end or full else text.rstrip("\ufffd")
        found = min((p for p in map(known.find, limits.stop) if p >= 0), default=-1)
        if found >= 0 and (not limits.characters or found <= limits.characters):
            return Generated(text[:found], "stop")
        if limits.characters and len(known) > limits.characters:
            return Generated(text[: limits.characters], "length")
        if at_end:
            return Generated(text, "end")
        return Generated(text, "length") if full else None

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text


def _tail(ids: Sequence[int], marks: set[int]) -> list[int]:
    """The end of a prompt with :data:`BEFORE` pieces in it that are not marks."""
    seen = 0
    for place in range(len(ids) - 1, -1, -1):
        seen += ids[place] not in marks
        if seen == BEFORE:
            return list(ids[place:])
    return list(ids)
