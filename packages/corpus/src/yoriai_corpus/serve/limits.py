"""What a request may ask for and how long it may take."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field

from yoriai import YoriaiError


class TooBusy(YoriaiError):
    """There is no room or no time for a request now; ``retry_seconds`` later there may be."""

    code = "busy"
    status = 503
    retry_seconds = 2


class TooOften(TooBusy):
    """A client asks more often than it may."""

    status = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeLimits:
    """Bounds of every request. Sizes are in characters or bytes as named, times in seconds."""

    query_characters: int = 1_000
    texts: int = 8  # of all in one query
    traced_characters: int = 20_000
    hits: int = 100  # on one page
    shown_characters: int = 20_000  # of one document on one page
    body_bytes: int = 2**18
    search_seconds: float = 10.0
    searches: int = 4  # at a time
    waiting: int = 64  # requests that wait for their turn
    connections: int = 256
    cache_bytes: int = 2**24  # of answers that are kept: some 2,000 pages
    unread_seconds: int = 30  # a client that reads nothing for so long is cut off
    per_minute: int = 0  # requests of one client; 0: any


@dataclass(slots=True)
class Deadline:
    """Called now and then by a search; raises :class:`TooBusy` when its time is over."""

    seconds: float
    end: float = field(init=False)

    def __post_init__(self) -> None:
        self.end = time.monotonic() + self.seconds

    def __call__(self) -> None:
        if time.monotonic() > self.end:
            raise TooBusy(
                f"the search took more than {self.seconds:g} seconds",
                hint="look for something less common, or leave out what joins texts, and dates",
            )


class RequestRate:
    """How often each client asked; a client may save up a minute's worth of requests."""

    MOST_CLIENTS = 10_000  # remembered; those that asked longest ago are forgotten

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> None:
        """Count a request; raises :class:`TooOften`."""
        if not self._per_minute:
            return
        left, before = self._clients.pop(client, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - before) * self._per_minute / 60)
        self._clients[client] = (max(0.0, left - 1), now)
        if len(self._clients) > self.MOST_CLIENTS:
            self._clients.popitem(last=False)
        if left < 1:
            raise TooOften(
                f"more than {self._per_minute} requests a minute", hint="wait some seconds"
            )
