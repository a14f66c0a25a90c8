"""Which documents a request means: those it names, and those that hold the same text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from yoriai import Artifact, NotFound, UsageError
from yoriai_corpus import tables
from yoriai_corpus.account.audit import paths_of
from yoriai_corpus.account.removals import name_digest

Name = tuple[str, str]  # source, id
Twins = Literal["all", "promote"]
TEXT_TABLES = ("documents", "heldout", "dropped")
MOST_QUERY = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalRequest:
    """What is to be removed, and why.

    ``ids``: ``SOURCE/ID`` each. ``queries``: every document that holds one of these, as it is
    written. ``name_digests``: documents by the digest of their name, as a log keeps them.
    ``twins``: what becomes of a removed document's near duplicates: all go, or one is kept in its
    place. Documents of the very same text always go.
    """

    reason: str
    ids: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    name_digests: frozenset[str] = frozenset()
    by: str = ""
    twins: Twins = "all"

    def check(self) -> None:
        """Raises :class:`UsageError` for a request without a reason or an aim."""
        if not self.reason.strip():
            raise UsageError("a removal needs a reason", hint="--reason TEXT")
        if not (self.ids or self.urls or self.queries or self.name_digests):
            raise UsageError("nothing is named", hint="--id SOURCE/ID, --url URL or --query TEXT")
        if any(not query.strip() or len(query) > MOST_QUERY for query in self.queries):
            raise UsageError(f"a query is a text of at most {MOST_QUERY:,} characters")


@dataclass(slots=True)
class RemovalSelection:
    """Documents by name, the digests of their texts and records, and which are promoted.

    ``promoted`` says for each near duplicate that is kept which removed document it stands for.
    """

    names: set[Name] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    promoted: dict[Name, Name] = field(default_factory=dict)


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def select(corpora: Sequence[Artifact], request: RemovalRequest) -> RemovalSelection:
    """Go through all tables until nothing more belongs to it. Raises :class:`NotFound`."""
    request.check()
    found = RemovalSelection()
    for row in _rows(corpora):
        if _is_named(row, request):
            _take(found, row)
    if not found.names:
        raise NotFound(
            "no document here is meant", hint="yoriai corpus search INDEX TEXT --names finds names"
        )
    size = -1
    while size != len(found.names):
        size = len(found.names)
        for row in _rows(corpora):
            if (row["source"], row["id"]) in found.names or (
                "text" in row and text_digest(row["text"]) in found.texts
            ):
                _take(found, row)
        if request.twins == "all":
            found.names |= {name for names in _clusters(corpora, found.names) for name in names}
    if request.twins == "promote":
        for winner, losers in _near_losers(corpora, found.names):
            left = sorted(losers - found.names)
            if left:
                found.promoted[left[0]] = winner
    return found


def _rows(corpora: Sequence[Artifact]) -> Iterator[dict[str, Any]]:
    columns = ("source", "id", "text", "url", "record_sha256")
    for corpus in corpora:
        for table in TEXT_TABLES:
            yield from tables.read_rows(paths_of(corpus, table), columns)
        yield from tables.read_rows(paths_of(corpus, "unreadable"), ("source", "id"))


def _is_named(row: dict[str, Any], request: RemovalRequest) -> bool:
    name = f"{row['source']}/{row['id']}"
    return bool(
        name in request.ids
        or (row.get("url") and row["url"] in request.urls)
        or any(query in row.get("text", "") for query in request.queries)
        or (request.name_digests and name_digest(row["source"], row["id"]) in request.name_digests)
    )


def _take(found: RemovalSelection, row: dict[str, Any]) -> None:
    found.names.add((row["source"], row["id"]))
    if row.get("text"):
        found.texts.add(text_digest(row["text"]))
        found.records.add(row["record_sha256"])


def _clusters(corpora: Sequence[Artifact], names: set[Name]) -> Iterator[tuple[Name, Name]]:
    for corpus in corpora:
        for row in tables.read_rows(paths_of(corpus, "clusters")):
            winner, own = (row["winner_source"], row["winner_id"]), (row["source"], row["id"])
            if winner in names or own in names:
                yield winner, own


def _near_losers(corpora: Sequence[Artifact], names: set[Name]) -> Iterator[tuple[Name, set[Name]]]:
    losers: dict[Name, set[Name]] = {}
    for corpus in corpora:
        for row in tables.read_rows(paths_of(corpus, "clusters")):
            winner, own = (row["winner_source"], row["winner_id"]), (row["source"], row["id"])
            if winner in names and own != winner:
                losers.setdefault(winner, set()).add(own)
    yield from sorted(losers.items())
