"""``corpus/union``: several corpora as one, without copying them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from yoriai import Artifact, Job, Made, Step, UsageError, files
from yoriai_corpus import tables
from yoriai_corpus.account import datasheet
from yoriai_corpus.build import ledger, records


class Union(Step):
    """Join corpora whose sources were filtered by rules of their own.

    Every table of every corpus gets a second name here (a hard link, where the disk can do that),
    in the order of ``from``, and the accounts are added up. Documents are not compared: give a
    corpus under ``from`` of a later ``corpus/build`` to drop what is in both.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "corpus"
    measures: ClassVar[tuple[str, ...]] = ledger.NUMBERS
    takes: ClassVar[tuple[str, ...]] = ("corpus",)

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        names = ledger.sources_of(inputs)
        return {"corpora": len(inputs), **({"sources": names} if names else {})}

    def run(self, job: Job) -> Made:
        corpora = job.all_of("corpus")
        _check_sources(corpora)
        number = 0
        for corpus in corpora:
            parts = corpus.files_under("documents")
            for table in tables.SCHEMAS:
                for offset, path in enumerate(corpus.files_under(table)):
                    place = job.out / table / f"{number + offset:05d}.parquet"
                    place.parent.mkdir(exist_ok=True)
                    files.link(path, place)
            number += len(parts)
        account = add([_account(corpus) for corpus in corpora])
        files.write_atomically(job.out / "ledger.json", files.canonical_json(account))
        facts = {key: value for key, value in account.items() if key != "partitions"}
        headline = ledger.headline(account)
        cards = [card for corpus in corpora for card in corpus.manifest["sources"]]
        facts["records"] = records.write(job.out)
        told = {**facts, "headline": headline}
        rules = [
            {**rule, "corpus": corpus.step}
            for corpus in corpora
            for rule in corpus.config.get("rules", [])
        ]
        datasheet.write(job.out, told, cards, {"rules": rules}, name=job.name, seed=job.seed)
        return Made(facts=facts, headline=headline, sources=cards)


def add(accounts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One ledger for several: numbers are added, ``partitions`` follow one another.

    A partition's ``source`` counts on over all corpora. Of ``contamination`` (what was looked for,
    not what was found) the largest number stays.
    """
    whole: dict[str, Any] = {"partitions": []}
    sources = 0
    for account in accounts:
        rows = account["partitions"]
        whole["partitions"] += [{**row, "source": row["source"] + sources} for row in rows]
        sources += 1 + max((row["source"] for row in rows), default=-1)
        looked_for = _joined(whole.pop("contamination", {}), account["contamination"], max)
        others = {k: v for k, v in account.items() if k not in ("partitions", "contamination")}
        whole = {**whole, **_joined(whole, others), "contamination": looked_for}
    return whole


def _joined(old: Mapping[str, Any], new: Mapping[str, Any], both: Any = None) -> dict[str, Any]:
    found = dict(old)
    for key, value in new.items():
        if isinstance(value, Mapping):
            found[key] = _joined(found.get(key, {}), value, both)
        elif key in found:
            found[key] = both(found[key], value) if both else found[key] + value
        else:
            found[key] = value
    return dict(sorted(found.items()))


def _account(corpus: Artifact) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(corpus.file("ledger.json").read_bytes())
    return value


def _check_sources(corpora: Sequence[Artifact]) -> None:
    """A document's name is its source and id: a source in two corpora might name two documents."""
    seen: dict[str, str] = {}
    for corpus in corpora:
        for source in corpus.facts["by_source"]:
            if source in seen:
                raise UsageError(
                    f"{seen[source]} and {corpus.name} both have documents of source {source!r}",
                    hint="give each source its own name",
                )
        seen |= dict.fromkeys(corpus.facts["by_source"], corpus.name)
