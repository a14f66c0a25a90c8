"""Requests as data: their fields are known, of the right form and no larger than allowed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from yoriai import NotFound, UsageError
from yoriai_corpus.search.part import FILTERS
from yoriai_corpus.search.query import SearchQuery
from yoriai_corpus.serve.limits import ServeLimits

MOST_FIELDS = 64
TEXTS = {"or": "either", "and": "also", "not": "without"}
SWITCHES = ("exact", "names")
SEARCH_FIELDS = ("q", *TEXTS, *SWITCHES, *FILTERS, "since", "until", "offset", "limit", "ui")


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a query string or a form, each with all its values."""

    values: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, data: bytes, known: Iterable[str]) -> Fields:
        """Raises :class:`UsageError` for what is no UTF-8, unknown or too many."""
        try:
            pairs = parse_qsl(
                data.decode("ascii"), keep_blank_values=True, errors="strict",
                max_num_fields=MOST_FIELDS,
            )  # fmt: skip
        except UnicodeDecodeError as error:
            raise UsageError("the query is no UTF-8", hint="encode it as UTF-8") from error
        except ValueError as error:
            raise UsageError(f"more than {MOST_FIELDS} fields") from error
        values: dict[str, list[str]] = {}
        names = list(known)
        for name, value in pairs:
            if name not in names:
                raise UsageError(
                    f"unknown field {name[:40]!r}", hint=f"known are {', '.join(names)}"
                )
            values.setdefault(name, []).append(value)
        return cls(values)

    def one(self, name: str) -> str:
        found = [value for value in self.values.get(name, ()) if value]
        return found[-1] if found else ""

    def all(self, name: str) -> tuple[str, ...]:
        """Values that are more than space."""
        return tuple(value for value in self.values.get(name, ()) if value.strip())

    def number(self, name: str, default: int, most: int) -> int:
        text = self.one(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 16) or int(text) > most:
            raise UsageError(f"{name} is no number from 0 to {most:,}")
        return int(text)

    def switch(self, name: str) -> bool:
        """Raises :class:`UsageError` for what is neither 1 nor 0; what is not given is 0."""
        if self.one(name) not in ("", "0", "1"):
            raise UsageError(f"{name} is 1 or 0")
        return self.one(name) == "1"

    def link(self, path: str, **changes: str | None) -> str:
        """An address with some fields changed; None leaves one out."""
        values = {name: list(found) for name, found in self.values.items()}
        for name, value in changes.items():
            values.pop(name, None)
            if value:
                values[name] = [value]
        pairs = [(n, v) for n, found in values.items() for v in found if v]
        query = urlencode(pairs, errors="replace")
        return f"{path}?{query}" if query else path


def search_query(fields: Fields, limits: ServeLimits) -> SearchQuery:
    """The query of a request. Raises :class:`UsageError` or :class:`NotFound`."""
    texts = {word: fields.all(name) for name, word in TEXTS.items()}
    everything = [fields.one("q"), *(text for found in texts.values() for text in found)]
    if len(everything) > limits.texts:
        raise UsageError(f"{len(everything)} texts in one query", hint=f"at most {limits.texts}")
    longest = max(map(len, everything))
    if longest > limits.query_characters:
        raise UsageError(
            f"a query of {longest:,} characters", hint=f"at most {limits.query_characters:,}"
        )
    switches = {name: fields.switch(name) for name in SWITCHES}
    query = SearchQuery(
        text=fields.one("q"),
        either=texts["either"],
        also=texts["also"],
        without=texts["without"],
        **switches,
        state=fields.one("state"),
        source=fields.one("source"),
        language=fields.one("language"),
        licence=fields.one("licence"),
        rule=fields.one("rule"),
        corpus=fields.one("corpus"),
        since=fields.one("since"),
        until=fields.one("until"),
    )
    query.check()
    return query


def body_text(data: bytes, content_type: str, limits: ServeLimits) -> str:
    """The field ``text`` of a form or of a JSON object."""
    if content_type.partition(";")[0].strip().lower() == "application/json":
        try:
            value: Any = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UsageError("the body is no JSON", hint='send {"text": "…"}') from error
        text = value.get("text") if isinstance(value, dict) and set(value) == {"text"} else None
        if not isinstance(text, str):
            raise UsageError("the body is not as it should be", hint='send {"text": "…"}')
    else:
        text = Fields.of(data, ("text", "ui")).one("text")
    text = text.replace("\r\n", "\n")
    if not text.strip():
        raise NotFound("an empty text has no spans", hint="paste what a model wrote")
    if len(text) > limits.traced_characters:
        raise UsageError(
            f"{len(text):,} characters to trace", hint=f"at most {limits.traced_characters:,}"
        )
    return text
