"""``corpus/index``: what was kept and what was dropped, searchable by any substring.

SQLite's full-text index with the trigram tokenizer (https://sqlite.org/fts5.html, "The
Trigram Tokenizer") finds substrings in any script without a word splitter; queries of one or
two characters fall back to a scan. Upper and lower case are the same in both.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from yoriai import Artifact, Job, Made, NotFound, Step, UsageError, YoriaiError
from yoriai_corpus import tables
from yoriai_corpus.account.audit import paths_of

_SCHEMA = """
CREATE TABLE document (
  key INTEGER PRIMARY KEY, source TEXT, id TEXT, language TEXT, state TEXT, rule TEXT,
  value REAL, threshold REAL, span TEXT, duplicate_of TEXT, licence TEXT, url TEXT, text TEXT,
  corpus TEXT
);
CREATE INDEX by_name ON document (id, source);
CREATE TABLE cluster (
  winner_source TEXT, winner_id TEXT, source TEXT, id TEXT, kind TEXT, similarity REAL, corpus TEXT
);
CREATE INDEX by_winner ON cluster (winner_id, winner_source);
CREATE INDEX by_member ON cluster (id, source);
CREATE TABLE contamination (
  task TEXT, item TEXT, source TEXT, id TEXT, kind TEXT, share REAL, span TEXT, corpus TEXT
);
CREATE INDEX by_holder ON contamination (id, source);
CREATE VIRTUAL TABLE words USING fts5 (text, content='', tokenize='trigram', detail='full');
"""
State = Literal["kept", "held out", "dropped", "unreadable"]
TABLES: dict[str, State] = {
    "documents": "kept", "heldout": "held out", "dropped": "dropped", "unreadable": "unreadable"
}  # fmt: skip


class IndexStep(Step):
    """Put every document, kept, held out or dropped, into one searchable file.

    Records that could not be read are in it by name and reason. One name may stand there
    several times: in two corpora, or kept once and unreadable as a later duplicate.
    """

    version: ClassVar[str] = "2"
    makes: ClassVar[str] = "index"
    takes: ClassVar[tuple[str, ...]] = ("corpus",)

    def run(self, job: Job) -> Made:
        path = job.out / "index.sqlite"
        counts: dict[str, int] = {}
        with closing(sqlite3.connect(path)) as database:
            try:
                database.executescript(_SCHEMA)
            except sqlite3.OperationalError as error:
                raise YoriaiError(
                    f"this Python's SQLite {sqlite3.sqlite_version} cannot index: {error}",
                    hint="the trigram tokenizer needs SQLite 3.34 or newer",
                ) from error
            key = 0
            for corpus in job.all_of("corpus"):
                for table, state in TABLES.items():
                    stream = tables.read_rows(paths_of(corpus, table))
                    for row in job.progress(stream, f"index {state}"):
                        key += 1
                        counts[state] = counts.get(state, 0) + 1
                        _insert(database, key, corpus, state, row)
                _insert_relations(database, corpus)
            database.execute("INSERT INTO words(words) VALUES('optimize')")
            database.commit()
            database.execute("VACUUM")
        size = path.stat().st_size
        shown = ", ".join(f"{count:,} {state}" for state, count in counts.items())
        return Made(
            facts={"documents": counts, "bytes": size},
            headline=[f"{shown}; {size / 1e6:.1f} MB; try: yoriai corpus search INDEX 検索"],
        )


def _insert(
    database: sqlite3.Connection, key: int, corpus: Artifact, state: State, row: dict[str, Any]
) -> None:
    text = row.get("text", "")
    database.execute(
        "INSERT INTO document VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            key, row["source"], row["id"], row.get("language", ""), state,
            row.get("rule", row.get("reason", "")), row.get("value"), row.get("threshold"),
            row.get("span", ""), row.get("duplicate_of", ""), row.get("licence", ""),
            row.get("url", ""), text, corpus.name,
        ),
    )  # fmt: skip
    # For the tokenizer a text ends at its first NUL.
    database.execute(
        "INSERT INTO words (rowid, text) VALUES (?,?)", (key, text.replace("\0", "\1"))
    )


def _insert_relations(database: sqlite3.Connection, corpus: Artifact) -> None:
    """Which documents are duplicates of which, and which hold evaluation items."""
    for table in ("clusters", "contamination"):
        name = table.removesuffix("s")
        columns = tables.SCHEMAS[table].names
        marks = ",".join("?" * (len(columns) + 1))
        database.executemany(
            f"INSERT INTO {name} VALUES ({marks})",
            (
                [*(row[column] for column in columns), corpus.name]
                for row in tables.read_rows(paths_of(corpus, table))
            ),
        )


@dataclass(frozen=True, slots=True)
class IndexHit:
    """One document found, with the text around the first match."""

    source: str
    id: str
    language: str
    state: str
    rule: str
    licence: str
    around: str


def search(
    path: Path, query: str, *, state: State | Literal[""] = "", limit: int
) -> tuple[int, list[IndexHit]]:
    """How many documents hold ``query``, and the first ``limit`` of them, in order."""
    if not query.strip():
        raise NotFound("an empty query finds nothing", hint="yoriai corpus search INDEX TEXT")
    try:
        query.encode()
    except UnicodeEncodeError:
        raise UsageError("the query is no UTF-8 text", hint="set LANG to a UTF-8 locale") from None
    pattern = re.compile(re.escape(query), re.IGNORECASE)
    values: list[str] = []
    if len(query) >= 3 and "\0" not in query:
        where = "key IN (SELECT rowid FROM words WHERE words MATCH ?)"
        values.append('"' + query.replace('"', '""') + '"')
    else:
        where = "holds(text)"
    if state:
        where += " AND state = ?"
        values.append(state)
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        database.create_function("holds", 1, lambda text: bool(pattern.search(text)))
        total = database.execute(f"SELECT count(*) FROM document WHERE {where}", values).fetchone()
        rows = database.execute(
            "SELECT source, id, language, state, rule, licence, text FROM document "
            f"WHERE {where} ORDER BY key LIMIT ?",
            [*values, limit],
        ).fetchall()
    return total[0], [
        IndexHit(source, id_, language, state_, rule, licence, _around(text, pattern))
        for source, id_, language, state_, rule, licence, text in rows
    ]


def _around(text: str, pattern: re.Pattern[str], margin: int = 40) -> str:
    found = pattern.search(text)
    first, last = found.span() if found else (0, 0)
    start, end = max(0, first - margin), last + margin
    piece = text[start:end].replace("\n", " ")
    return ("…" if start else "") + piece + ("…" if end < len(text) else "")


def explain(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """What became of the documents called ``source/id`` (or just ``id``).

    Besides the columns of ``document`` a row has ``stood_for``, ``same_as`` and
    ``contamination``, as those of :func:`yoriai_corpus.account.lookup.find`.
    """
    # A name may hold several slashes; every way of cutting it is looked up in the index.
    parts = name.split("/")
    ids = ["/".join(parts[cut:]) for cut in range(len(parts))]
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        rows = database.execute(
            f"SELECT * FROM document WHERE id IN ({','.join('?' * len(ids))})"
            " AND (id = ? OR source || '/' || id = ?) ORDER BY key",
            (*ids, name, name),
        ).fetchall()
        for row in rows:
            same = (row["id"], row["source"], row["corpus"])
            related = {
                relation: [dict(other) for other in database.execute(query, same)]
                for relation, query in _RELATIONS.items()
            }
            yield {**dict(row), **related}


_OTHERS = "AND (source, id) <> (winner_source, winner_id) ORDER BY source, id"
_RELATIONS = {
    "stood_for": "SELECT * FROM cluster"
    f" WHERE winner_id = ? AND winner_source = ? AND corpus = ? {_OTHERS}",
    "same_as": f"SELECT * FROM cluster WHERE id = ? AND source = ? AND corpus = ? {_OTHERS}",
    "contamination": "SELECT * FROM contamination"
    " WHERE id = ? AND source = ? AND corpus = ? ORDER BY task, item",
}
