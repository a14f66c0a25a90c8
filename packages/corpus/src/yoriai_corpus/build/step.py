"""``corpus/build``: from sources to a corpus that accounts for every document."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import Field

from yoriai import (
    Filter,
    Job,
    Made,
    NotFound,
    Source,
    Step,
    Task,
    UsageError,
    Uses,
    YoriaiError,
    files,
)
from yoriai.config import plain
from yoriai.redaction import Redactor
from yoriai.same_text import NEAR, NGRAM, evaluation_text
from yoriai.strict import Strict
from yoriai_corpus import tables
from yoriai_corpus.account import datasheet
from yoriai_corpus.build import (
    components,
    contamination,
    duplicates,
    ledger,
    partition,
    records,
    sorted_keys,
)
from yoriai_corpus.build import (
    final_tables as finish,
)
from yoriai_corpus.build import (
    part_writer as part,
)
from yoriai_corpus.build.parts import DocumentPart, PartList, write_parts
from yoriai_corpus.build.sorted_keys import Series
from yoriai_corpus.engines import pool as engine
from yoriai_corpus.rules.base import expand
from yoriai_corpus.sources.files import FileSource
from yoriai_corpus.sources.listing import piece_of
from yoriai_corpus.text import lines


class Dedup(Strict):
    """What counts as the same document, or the same piece of one."""

    exact: bool = Field(True, description="drop equal texts (NFKC, case and space folded)")
    url: bool = Field(False, description="drop documents whose address an earlier source has")
    near: float | None = Field(
        0.8, gt=0, le=1, description="drop texts of at least this Jaccard similarity; null: off"
    )
    repeated: lines.Unit | None = Field(
        None,
        description="remove lines, or paragraphs, of 20 characters or more that stand in an"
        " earlier document too: line or paragraph; null: off",
    )


class Decontaminate(Strict):
    """Which evaluation texts must not be in the corpus."""

    against: list[Annotated[Task, Uses("tasks")]] = Field(
        [], description="tasks whose texts are looked for; all: every task of every plugin"
    )
    ngram: int = Field(
        NGRAM,
        ge=5,
        description="characters in common that count as contamination;"
        " of ASCII alone, three times as many",
    )
    near: float | None = Field(
        NEAR, gt=0, le=1, description="share of an item's 5-grams that counts too; null: off"
    )

    @pydantic.field_validator("against", mode="before")
    @classmethod
    def _all(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Write out what ``all`` means today, so that one more task makes another corpus."""
        if value != "all":
            return value
        registry = (info.context or {})["registry"]
        names = []
        for found in registry.found("tasks"):
            target = registry.load(found)
            if any(f.is_required() for f in target.model_fields.values()):
                continue  # nobody knows which of them is meant
            if found.missing:
                raise ValueError(
                    f"{found.name} cannot be looked for: pip install {' '.join(found.missing)}"
                )
            names.append(found.name)
        return names


class Build(Step):
    """Read sources, apply rules in order, deduplicate, decontaminate, hold some out.

    Nothing is lost: in = documents + held out + dropped (by rule) + unreadable, checked to
    the document for every partition and for the whole. A corpus given under ``from`` is not
    copied, but its documents win over ours where both are the same.
    """

    version: ClassVar[str] = "3"
    makes: ClassVar[str] = "corpus"
    measures: ClassVar[tuple[str, ...]] = ledger.NUMBERS
    optional: ClassVar[tuple[str, ...]] = ("corpus",)

    sources: list[Annotated[Source, Uses("sources")]] = Field(
        min_length=1, description="where text comes from; earlier sources win over duplicates"
    )
    rules: list[Annotated[Filter, Uses("filters")]] = Field([], description="filters, in order")
    dedup: Dedup = Field(Dedup(), description="duplicates of documents, and of lines in them")
    decontaminate: Decontaminate = Field(Decontaminate(), description="evaluation texts to avoid")
    heldout: float = Field(
        0.03, ge=0, lt=1, description="share of documents kept apart for evaluation"
    )

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        self._check_names()
        expected: dict[str, Any] = {"reads": [_outlook(source) for source in self.sources]}
        if tasks := self.decontaminate.against:
            expected["decontaminates"] = (
                f"against {len(tasks)} evaluation tasks; what is not here of them is downloaded"
            )
        names = [source.source_name for source in self.sources]
        return {**expected, "sources": sorted(set(names))} if all(names) else expected

    def _check_names(self) -> None:
        """Refuse several sources that nobody named: all their documents would be ``local``."""
        unnamed = [
            f"sources[{number}]"
            for number, source in enumerate(self.sources)
            if isinstance(source, FileSource)
            and "name" not in source.model_fields_set
            and source.name == FileSource.model_fields["name"].default
        ]
        if len(unnamed) > 1:
            raise UsageError(
                f"{' and '.join(unnamed)} have no name, and would all be called"
                f" {FileSource.model_fields['name'].default!r}",
                hint="give each source a name, as in {use: corpus/jsonl, name: news, paths: [...]}",
            )

    def run(self, job: Job) -> Made:
        self._check_names()
        with engine.opened(job.engine) as pool:
            work = Building(self, job, pool)
            work.extract()
            work.find_namesakes()
            work.find_duplicates()
            work.find_repeated_lines()
            account = work.finish()
        if not account["kept"]:
            raise _nothing_left(job.name, account, job.scratch)
        facts = {key: value for key, value in account.items() if key != "partitions"}
        facts["records"] = records.write(job.out)
        files.write_atomically(job.out / "ledger.json", files.canonical_json(account))
        headline, cards = ledger.headline(account), list(map(_card, self.sources))
        told = {**facts, "headline": headline}
        config = Redactor().value(plain(self))  # a path may tell whose machine this is
        datasheet.write(job.out, told, cards, config, name=job.name, seed=job.seed)
        return Made(facts=facts, headline=headline, sources=cards)


class Building:
    """One build under way: the parts, and what is known of their documents so far."""

    def __init__(self, build: Build, job: Job, pool: engine.Pool) -> None:
        self.build, self.job, self.pool = build, job, pool
        self.scratch = job.scratch
        self.parts: list[DocumentPart] = []
        self.list: PartList
        self.records: dict[str, int] = {}
        self.receipts: list[dict[str, Any]] = []
        self.contamination: dict[str, Any] = {}
        self.namesakes: list[Series] = []
        self.renamed: Series
        self.losers: list[finish.Losers] = []
        self.repeated: Series | None = None

    def run(
        self,
        work: Callable[[Any], Any],
        tasks: Sequence[Any],
        label: str = "",
        on_death: Callable[[Any], Any] | None = None,
    ) -> list[Any]:
        """All results, in the order of their tasks' results when sorted by the caller."""
        results: Iterable[Any] = self.pool.run(work, tasks, on_death=on_death)
        return list(self.job.progress(results, label, len(tasks)) if label else results)

    def extract(self) -> None:
        dedup = self.build.dedup
        wanted = part.Wanted(dedup.exact, dedup.url, dedup.repeated, dedup.near, self.job.seed)
        index = self._contamination_index()
        rules = tuple(expand(self.build.rules))
        tasks = [
            partition.PartitionTask(
                i, j, name, source, rules, self.scratch / "parts", wanted, index
            )
            for i, source in enumerate(self.build.sources)
            for j, name in enumerate(source.partitions())
        ]
        receipts = self.run(partition.process, tasks, "read and filter", partition.after_death)
        self.receipts = sorted(receipts, key=lambda r: (r["source_index"], r["partition_index"]))
        self._add_references(wanted)
        for receipt in self.receipts:
            for facts in receipt["parts"]:
                self._add_part(facts, receipt["source_index"], receipt["partition"])
        self.list = write_parts(self.scratch / "parts.json", self.parts)

    def _contamination_index(self) -> Path | None:
        asked = self.build.decontaminate
        if not asked.against:
            return None
        path = self.scratch / "contamination.json"
        label = "evaluation texts, downloaded where they are not here"
        texts = (
            evaluation_text(task.entry, sample, ranked=task.form == "ranked")
            for task in self.job.progress(asked.against, label, len(asked.against))
            for sample in _samples(task)
        )
        self.contamination = contamination.write_texts(path, texts, asked.ngram, asked.near)
        for task in asked.against:  # a task whose texts come from artifacts has none to look for
            self.contamination.setdefault(task.entry, {"texts": 0, "too_short": 0})
        return path

    def _add_references(self, wanted: part.Wanted) -> None:
        """The documents of corpora given under ``from``, as parts that win and stay outside."""
        paths = [
            (artifact.name, path)
            for artifact in self.job.all_of("corpus")
            for path in artifact.files_under("documents")
        ]
        keys_only = dataclasses.replace(wanted, unit=None)
        tasks = [
            part.ReferenceTask(path, self.scratch / "parts", f"reference-{n:05d}", keys_only)
            for n, (_, path) in enumerate(paths)
        ]
        receipts = self.run(part.index_reference, tasks, "read other corpora" if tasks else "")
        for receipt in sorted(receipts, key=lambda r: r["stem"]):
            name, path = paths[int(receipt["stem"].rpartition("-")[2])]
            stem = self.scratch / "parts" / receipt["stem"]
            self.parts.append(DocumentPart(len(self.parts), -1, path, stem, None, f"{name}:"))
            self._count(receipt["keys"])

    def _add_part(self, facts: dict[str, Any], priority: int, partition: str) -> None:
        piece = piece_of(partition)
        stem = self.scratch / "parts" / facts["stem"]
        table = stem.with_name(f"{stem.name}.kept.parquet")
        places = stem.with_name(f"{stem.name}.places.npy")
        self.parts.append(
            DocumentPart(
                len(self.parts),
                priority,
                table,
                stem,
                places,
                file=piece[0] if piece else partition,
            )
        )
        self._count(facts["keys"])

    def _count(self, counts: dict[str, int]) -> None:
        for kind, number in counts.items():
            self.records[kind] = self.records.get(kind, 0) + number

    @property
    def own(self) -> list[DocumentPart]:
        return [part for part in self.parts if not part.is_reference]

    @property
    def gone(self) -> list[Series]:
        """What earlier stages took out; each stage looks only at what they left."""
        return [*self.namesakes, *(losers.found for losers in self.losers)]

    def _ranges(
        self, kind: duplicates.Stage, work: Callable[[Any], Path], label: str = ""
    ) -> Series:
        folder = self.scratch / kind
        tasks = duplicates.range_tasks(
            kind, self.list, self.records.get(kind, 0), folder, self.gone
        )
        self.run(work, tasks, label)
        return Series(folder, kind, len(tasks))

    def find_namesakes(self) -> None:
        """Documents of one name: a fault of the recipe across sources.

        In one source they are called after their files; in one file the later is quarantined.
        """
        found = self._ranges("name", duplicates.find_namesakes)
        for path in found.paths():
            records = sorted_keys.load(path)
            owners = [sorted_keys.part_of(records[name]) for name in ("doc", "first")]
            for later, first in sorted(set(zip(*(o.tolist() for o in owners), strict=True))):
                a, b = self.parts[first].priority, self.parts[later].priority
                if a != b:
                    raise UsageError(
                        f"sources[{a}] and sources[{b}] give documents of the same source and id",
                        hint="give each source its own name, or patterns that do not overlap",
                    )
        numbers: dict[tuple[int, str], int] = {}
        files_of = [numbers.setdefault((p.priority, p.file), len(numbers)) for p in self.parts]
        same, self.renamed = duplicates.part_namesakes(found, files_of)
        self.namesakes = [same]

    def find_duplicates(self) -> None:
        dedup = self.build.dedup
        if dedup.exact:
            self._lose("exact", 1.0, self._ranges("exact", duplicates.find_equal))
        if dedup.url:
            self._lose("url", 1.0, self._ranges("url", duplicates.find_equal))
        if dedup.near is None:
            return
        candidates = self._ranges("near", duplicates.find_candidates, "near duplicates: candidates")
        folder = self.scratch / "near"
        verified = self.run(
            duplicates.verify_pairs,
            [
                duplicates.VerifyTask(p.index, candidates, self.list, dedup.near, folder)
                for p in self.parts
            ],
            "near duplicates: compare",
        )
        edges = sum(len(sorted_keys.load(path)) for path in verified)
        ranges = -(-max(edges, 1) // components.EDGES_PER_RANGE)
        joined = components.join(sorted(verified), folder, ranges, self.run)
        tasks = [
            duplicates.ResolveTask(path, number, self.list, folder)
            for number, path in enumerate(joined)
        ]
        self.run(duplicates.resolve_clusters, tasks)
        self._lose("near", dedup.near, Series(folder, "near-losers", len(joined)))

    def _lose(self, kind: str, threshold: float, found: Series) -> None:
        self.losers.append(finish.Losers(kind, f"corpus/{kind}-duplicate", threshold, found))

    def find_repeated_lines(self) -> None:
        if self.build.dedup.repeated is not None:
            self.repeated = self._ranges("line", duplicates.find_repeated_lines, "repeated lines")

    def finish(self) -> dict[str, Any]:
        """Write the tables into ``out``; returns the account."""
        folder = self.scratch / "tables"
        folder.mkdir(exist_ok=True)
        tasks = [
            finish.FinishTask(
                number, tuple(chosen), self.list, folder, self.namesakes[0], self.renamed,
                tuple(self.losers), self.repeated, self.build.dedup.repeated,
                self.build.heldout, self.job.seed,
            )
            for number, chosen in enumerate(self._shares())
        ]  # fmt: skip
        done = self.run(finish.finish, tasks, "write")
        accounts = sorted((a for d in done for a in d["parts"]), key=lambda a: a["part"])
        for task in tasks:
            for table in tables.SCHEMAS:
                place = self.job.out / table / task.file(table).name
                place.parent.mkdir(exist_ok=True)
                files.link(task.file(table), place)
        beside: dict[str, Counter[str]] = {}
        for source in self.build.sources:
            name = source.source_name
            if name or source.passed_over():
                kinds = beside.setdefault(name or source.card().name, Counter())
                kinds.update(source.passed_over())
        return ledger.account(self.receipts, accounts, self.contamination, beside)

    def _shares(self) -> list[list[DocumentPart]]:
        """Parts for each file of the tables: as many as make up a good size, in order."""
        sizes = [facts["characters"] for receipt in self.receipts for facts in receipt["parts"]]
        shares: list[list[DocumentPart]] = [[]]
        size = 0
        for own, characters in zip(self.own, sizes, strict=True):
            if shares[-1] and size + characters > finish.CHARACTERS_PER_FILE:
                shares.append([])
                size = 0
            shares[-1].append(own)
            size += characters
        return shares


def _samples(task: Task) -> Iterable[Any]:
    """A task's samples; none if it takes its texts from artifacts, such as held-out documents.

    Raises :class:`NotFound` with the task's name if its data is not here and cannot be fetched.
    """
    try:
        return list(task.samples([]))
    except UsageError:
        return []
    except NotFound as error:
        raise NotFound(
            f"decontaminate.against: {task.entry} cannot be looked for: {error.message}",
            hint=f"{error.hint or 'get its data'}; or name under decontaminate.against only tasks"
            " whose data is here",
        ) from error


def _nothing_left(step: str, account: dict[str, Any], scratch: Path) -> YoriaiError:
    """The error for an empty corpus; says what took the documents and how to go on."""
    counts = {
        **account["dropped_by_rule"],
        "held out": account["heldout"],
        "unreadable": account["unreadable"],
    }
    order = sorted(counts.items(), key=lambda pair: -pair[1])
    taken = ", ".join(f"{name} {count:,}" for name, count in order if count)
    if account["heldout"]:
        hint = f"too few documents to hold some out: --set {step}.heldout=0"
    elif account["unreadable"] and not account["dropped"]:
        first = next(tables.read_rows(scratch / "tables" / "unreadable" / "00000.parquet"))
        hint = f"the first unreadable one, {first['source']}/{first['id']}: {first['reason']}"
    else:
        hint = f"loosen or remove a rule under {step}.rules, or name other sources"
    told = "; ".join([taken or "nothing was read", *ledger.warnings(account)])
    return YoriaiError(f"no document is left to train on: {told}", hint=hint)


def _outlook(source: Source) -> str:
    """A source in words: its name, version, and how much of it is here."""
    try:
        card = source.card()
        name = " ".join(filter(None, (card.name, card.version, card.url)))
        if (known := source.to_read()) is None:
            return name
        count, size = known
        return f"{name}: {size / 1e6:,.1f} MB in {count:,} files"
    except NotFound:  # the plan says why, see Workspace.decide_all
        return f"{source.source_name or source.entry}: not here"


def _card(source: Source) -> dict[str, Any]:
    card = dataclasses.asdict(source.card())
    return {**card, "languages": list(card["languages"])}
