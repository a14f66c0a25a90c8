"""Answers that were given before, as long as the folders that they are from hold the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from starlette.responses import Response

OVERHEAD_BYTES = 2_000  # of one answer's objects beside its body and its key


class AnswerCache:
    """So many bytes of answers; those asked for longest ago are forgotten first.

    All are of one state of the folders. In another state none is given and all are forgotten, so
    a document that was taken down is in no answer. To be used by one thread.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._state: Hashable = None
        self._answers: OrderedDict[tuple[str, ...], Response] = OrderedDict()
        self.held_bytes = 0

    def get(self, state: Hashable, key: tuple[str, ...]) -> Response | None:
        """The answer to a request, if it was given in this state."""
        if state != self._state:
            self.clear()
            self._state = state
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
        return found

    def put(self, state: Hashable, key: tuple[str, ...], answer: Response) -> None:
        """Keep an answer that was made in a state, if it is still the one last asked of."""
        if state != self._state or key in self._answers:
            return
        self._answers[key] = answer
        self.held_bytes += _bytes(key, answer)
        while self.held_bytes > self._most_bytes:
            self.held_bytes -= _bytes(*self._answers.popitem(last=False))

    def clear(self) -> None:
        self._answers.clear()
        self.held_bytes = 0


def _bytes(key: tuple[str, ...], answer: Response) -> int:
    return len(answer.body) + sum(map(len, key)) + OVERHEAD_BYTES
