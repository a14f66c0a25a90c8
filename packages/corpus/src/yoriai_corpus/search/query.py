"""What is looked for in an index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from yoriai import NotFound, UsageError

MOST_CHARACTERS = 10_000  # of a query
Check = Callable[[], None]


def unchecked() -> None:
    """For whoever sets no limit of time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """What to look for. A document is found if it holds ``text`` or any of ``either``, all of
    ``also`` and none of ``without``, and its columns are as the filters say (empty: any). Places
    are those of ``text`` and of ``either``. ``since`` and ``until`` are compared as text with the
    document's date (ISO 8601), the latter included."""

    text: str
    either: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    exact: bool = False
    names: bool = False
    state: str = ""
    source: str = ""
    language: str = ""
    licence: str = ""
    rule: str = ""
    corpus: str = ""
    since: str = ""
    until: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """What places are looked for, each once."""
        return tuple(dict.fromkeys((self.text, *self.either)))

    @property
    def is_plain(self) -> bool:
        """Whether counts by group answer it."""
        joined = self.also or self.without or len(self.texts) > 1
        return not (joined or self.since or self.until)

    def check(self) -> None:
        """Raises :class:`UsageError` or :class:`NotFound` for what cannot be looked for."""
        for text in (self.text, *self.either, *self.also, *self.without):
            if not text.strip():
                raise NotFound("an empty query finds nothing", hint="give a piece of text")
            if len(text) > MOST_CHARACTERS:
                raise UsageError(
                    f"a query of {len(text):,} characters", hint=f"at most {MOST_CHARACTERS:,}"
                )
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise UsageError("the query is no UTF-8", hint="type it as text") from error
