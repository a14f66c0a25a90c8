"""``eval/contamination``: which samples models may have seen, and what scores are without them.

Samples are looked for in the documents of corpora, exactly and nearly
(:mod:`yoriai.text_index`), and in the train and dev splits of their own and of
other tasks (:mod:`yoriai_eval.contamination.same_question`). A sample that is found anywhere is
dirty, the others are clean; scores under ``from`` are taken of each half.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import Field

from yoriai import Artifact, Job, Made, NotFound, Step, Task, UsageError, Uses, YoriaiError, files
from yoriai.same_text import NEAR, NGRAM, EvaluationText, evaluation_text
from yoriai.text_index import TextIndex
from yoriai_eval.contamination import clean_and_dirty, search
from yoriai_eval.contamination.same_question import ORDER, FoldedQuestions, How
from yoriai_eval.scoring import chunks, protocol
from yoriai_eval.sets.llm_jp import Split

SOURCES: tuple[Split, ...] = ("train", "dev")  # splits that models are tuned on
Facts = dict[str, Any]


class Contamination(Step):
    """Look for the samples of tasks in corpora and in other splits; score what was not found.

    ``items.jsonl`` holds a row for each place of a sample: where it was found, how (``exact``,
    ``near``, ``between``), and the text or the share that was.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "contamination"
    measures: ClassVar[tuple[str, ...]] = (
        "limit",
        "ngram",
        "near",
        "corpora.*.documents",
        "corpora.*.characters",
        "tasks.*.*",
        "tasks.*.between.**",
        "tasks.*.swapped.**",
        "scores.**",
    )
    optional: ClassVar[tuple[str, ...]] = ("corpus", "scores")

    tasks: list[Annotated[Task, Uses("tasks")]] = Field(
        min_length=1, description="whose samples are looked for"
    )
    split: Split = Field("test", description="rows of the data sets that are looked for")
    limit: int | None = Field(
        None, ge=1, description="the first so many samples of each task; null: all"
    )
    ngram: int = Field(
        NGRAM,
        ge=5,
        description="characters in common that count as exact overlap;"
        " in ASCII alone three times as many",
    )
    near: float | None = Field(
        NEAR,
        gt=0,
        le=1,
        description="share of a sample's 5-grams in one document that counts too; null: off",
    )
    between: bool = Field(
        True, description="look in the train and dev splits of these and of the other tasks too"
    )
    others: list[Annotated[Task, Uses("tasks")]] = Field(
        "all",
        validate_default=True,
        description="tasks that samples are looked for in besides; all: every data set there is",
    )

    @pydantic.field_validator("others", mode="before")
    @classmethod
    def _all(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Write out what ``all`` means today, so that one more data set makes another ledger."""
        if value != "all":
            return value
        if not info.data.get("between", True) or not info.context:
            return []
        registry = info.context["registry"]
        names = []
        for found in registry.found("tasks"):
            if not found.missing and (target := registry.load(found)):
                keys = target.model_fields.values()
                if target.splits and not any(key.is_required() for key in keys):
                    names.append(found.name)
        return names

    def fingerprint(self) -> str:
        """The splits that are not here, so that a ledger is made anew once they are.

        Those of files that the samples themselves are read from are left out: they are fetched.
        """
        if not self.between:
            return ""
        fetched = {name for task in self._asked() for name in task.files()}
        absent = [
            f"{_data_set(task)}/{split}"
            for task, split in self._sources()
            if set(task.absent()) - fetched
        ]
        return f"not here: {', '.join(absent)}" if absent else ""

    def run(self, job: Job) -> Made:
        corpora, scores = job.all_of("corpus"), job.all_of("scores")
        tasks = self._asked()
        _refuse_doubles("corpora", [c.step for c in corpora])
        _refuse_doubles("tasks", [protocol.short_name(task) for task in tasks])
        if not corpora and not self.between:
            raise UsageError(
                "there is nothing to look for samples in",
                hint="name a step that makes a corpus under 'from', or leave 'between' on",
            )
        ledger = Ledger([_samples(task, self.limit, job.inputs) for task in tasks])
        facts: Facts = {
            "split": self.split,
            "limit": self.limit or 0,
            "ngram": self.ngram,
            "near": self.near or 0,
            "corpora": {},
        }
        missed: Sequence[int] = ()
        if corpora:
            index = ledger.write(job.scratch / "items.json", self.ngram, self.near)
            missed = index.missed
            facts["corpora"] = ledger.search(corpora, job)
        if self.between:
            compared = job.progress(self._sources(), "other splits")
            facts["not_compared"] = ledger.compare(compared, job.inputs)
        facts["tasks"] = ledger.counts(missed)
        if scores:
            facts["of"] = [artifact.digest for artifact in scores]
            facts["scores"] = clean_and_dirty.take(scores, ledger.standing(), job.seed)
        with (job.out / "items.jsonl").open("wb") as stream:
            stream.writelines(map(chunks.line, ledger.rows()))
        return Made(facts=facts, headline=headline(facts))

    def _asked(self) -> list[Task]:
        return [t if t.split_is_given else t.of_split(self.split) for t in self.tasks]

    def _sources(self) -> list[tuple[Task, Split]]:
        """Every split of every task that samples may be found in, once."""
        found: dict[tuple[str, Split], Task] = {}
        asked = {(protocol.full_name(t), t.chosen_split) for t in self._asked()}
        for task in (*self.tasks, *self.others):
            name = protocol.full_name(task)
            for split in SOURCES:
                if (name, split) not in asked and split in task.splits:
                    found.setdefault((name, split), task.of_split(split))
        return [(task, split) for (_, split), task in found.items()]


def _data_set(task: Task) -> str:
    """What ``yoriai eval data`` calls its files; the task's name where it has none of those."""
    names = {name.partition("/")[0] for name in task.files()}
    return names.pop() if len(names) == 1 else protocol.full_name(task)


def _refuse_doubles(what: str, names: Sequence[str]) -> None:
    doubles = [name for name, count in Counter(names).items() if count > 1]
    if doubles:
        raise UsageError(f"two {what} are called {doubles[0]!r}; it could not tell them apart")


# --- the samples and what is found of them ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Looked:
    """A sample that is looked for. ``text`` is the whole input, ``gold`` the right answer."""

    task: str
    short: str
    split: str
    id: str
    text: str
    gold: str
    item: EvaluationText


def _samples(task: Task, limit: int | None, inputs: Sequence[Artifact]) -> list[Looked]:
    split = task.chosen_split
    found = [
        Looked(
            protocol.full_name(task),
            protocol.short_name(task),
            split,
            sample.id,
            sample.text,
            sample.gold,
            evaluation_text(protocol.full_name(task), sample, ranked=task.form == "ranked"),
        )
        for sample in islice(task.samples(inputs), limit)
    ]
    if not found:
        raise YoriaiError(f"{protocol.full_name(task)} has no samples")
    return found


class Ledger:
    """All samples, and every place where one was found."""

    def __init__(self, tasks: Sequence[Sequence[Looked]]) -> None:
        self.samples = [sample for samples in tasks for sample in samples]
        self.found: dict[int, search.Found] = {}
        self.same: dict[int, dict[tuple[str, str], tuple[How, str, int]]] = {}

    # In corpora.

    def write(self, path: Path, ngram: int, near: float | None) -> TextIndex:
        """Keep the items for workers; returns their index."""
        items = [sample.item for sample in self.samples]
        told = [[i.task, i.id, i.fields, i.cluster] for i in items]
        files.write_atomically(path, json.dumps([told, ngram, near]).encode())
        return search.index_of(path)

    def search(self, corpora: Sequence[Artifact], job: Job) -> Facts:
        """Look in all documents; returns what was read of each corpus.

        What was found in one file of a corpus is kept, so that an interrupted search goes on.
        """
        items, found = job.scratch / "items.json", job.scratch / "found"
        tasks = [
            search.SearchTask(c.step, place, items, found / f"{c.digest}-{n:05d}.json")
            for c in corpora
            for n, place in enumerate(c.files_under("documents"))
        ]
        with ExitStack() as stack:
            pool = stack.enter_context(job.engine.open()) if job.engine else None
            for _ in job.progress(search.run(pool, tasks), "documents", len(tasks)):
                pass
        read = {c.step: {"documents": 0, "characters": 0} for c in corpora}
        for task in tasks:
            told = json.loads(task.out.read_bytes())
            for key, value in told["read"].items():
                read[task.corpus][key] += value
            search.merge(self.found, {int(item): kinds for item, kinds in told["found"].items()})
        return read

    # In other splits.

    def compare(self, sources: Iterable[tuple[Task, Split]], inputs: Sequence[Artifact]) -> Facts:
        """Look in other splits, of what is here; returns, by data set, the splits that are not."""
        questions = FoldedQuestions([sample.text for sample in self.samples])
        absent: dict[str, list[str]] = {}
        for task, split in sources:
            short = protocol.short_name(task)
            try:
                if task.absent():
                    raise NotFound("files are missing")
                rows = [(s.id, s.text) for s in task.samples(inputs)]
            except NotFound:
                absent.setdefault(_data_set(task), []).append(split)
                continue
            for id_, text in rows:
                place = id_ if id_.startswith(f"{split}/") else f"{split}/{id_}"
                for same in questions.same(text):
                    rows_of = self.same.setdefault(same.item, {})
                    how, first, count = rows_of.get((short, split), (same.how, place, 0))
                    if ORDER.index(same.how) < ORDER.index(how):
                        how, first = same.how, place
                    rows_of[short, split] = how, first, count + 1
        return absent

    # What came of it.

    def counts(self, missed: Sequence[int]) -> Facts:
        """By task: how many samples were found, and how; ``missed`` are too short to look for.

        ``between`` counts samples by the split that has the same question, ``swapped`` those whose
        fields stand there in another order only.
        """
        told: Facts = {}
        for sample in self.samples:
            counts = {"samples": 0, "exact": 0, "near": 0, "dirty": 0, "too_short": 0}
            told.setdefault(sample.short, {**counts, "between": {}, "swapped": {}})["samples"] += 1
        for number in missed:
            told[self.samples[number].short]["too_short"] += 1
        for number, sample in enumerate(self.samples):
            task = told[sample.short]
            for kind in self.found.get(number, ()):
                task[kind] += 1
            same = self.same.get(number, {})
            task["dirty"] += bool(same or number in self.found)
            for key, names in (("between", ("input", "fields")), ("swapped", ("swapped",))):
                places = [place for place, (how, _, _) in same.items() if how in names]
                for place in _with_unions(places):
                    task[key][place] = task[key].get(place, 0) + 1
        return told

    def standing(self) -> dict[str, dict[str, clean_and_dirty.Exposure]]:
        """By task and sample: its right answer, and whether it is dirty."""
        told: dict[str, dict[str, clean_and_dirty.Exposure]] = {}
        for number, sample in enumerate(self.samples):
            dirty = number in self.found or number in self.same
            told.setdefault(sample.task, {})[sample.id] = clean_and_dirty.Exposure(
                sample.gold, dirty
            )
        return told

    def rows(self) -> Iterator[Facts]:
        """What ``items.jsonl`` holds, sample by sample."""
        for number, sample in enumerate(self.samples):
            base = {"task": sample.task, "split": sample.split, "id": sample.id}
            for kind, (count, places) in sorted(self.found.get(number, {}).items()):
                for corpus, source, id_, share, span in places:
                    where = {"corpus": corpus, "source": source, "id": id_}
                    told = {"share": share, "span": span, "documents": count}
                    yield {**base, "kind": kind, "where": where, **told}
            for (short, _), (how, first, count) in sorted(self.same.get(number, {}).items()):
                where = {"task": short, "id": first}
                yield {**base, "kind": "between", "where": where, "how": how, "rows": count}


def _with_unions(places: Sequence[tuple[str, str]]) -> Iterator[str]:
    """``jsts/train`` and so on, and for both splits of a task together ``jsts/train+dev``."""
    for short, split in places:
        yield f"{short}/{split}"
    for short in dict.fromkeys(short for short, _ in places):
        yield f"{short}/{'+'.join(SOURCES)}"


# --- in words -----------------------------------------------------------------------------


def headline(facts: Facts) -> list[str]:
    """Readable lines: how much of each task is dirty, and what scores are without it."""
    lines = []
    for short, task in facts["tasks"].items():
        parts = [f"{kind} {task[kind]}" for kind in ("exact", "near") if task[kind]]
        for key, word in (("between", "in"), ("swapped", "swapped in")):
            whole = {place: count for place, count in task[key].items() if "+" in place}
            parts += [f"{word} {place} {count}" for place, count in whole.items()]
        if task["too_short"]:
            parts.append(f"too short to look for {task['too_short']}")
        told = f" ({', '.join(parts)})" if parts else ""
        lines.append(f"{short}: {task['dirty']} of {task['samples']} samples are dirty{told}")
    for model, tasks in facts.get("scores", {}).items():
        for short, told in tasks.items():
            clean, dirty = _half(told["clean"]), _half(told["dirty"])
            lines.append(f"{model}: {short} clean {clean}, dirty {dirty}")
    if absent := facts.get("not_compared"):
        ours = " ".join(name for name in absent if "/" not in name)
        others = ", ".join(name for name in absent if "/" in name)
        remedy = f"yoriai eval data get {ours}" if ours else ""
        lines.append(f"not compared, as not here: {'; '.join(filter(None, (others, remedy)))}")
    return lines


def _half(half: Facts) -> str:
    if not half["samples"]:
        return "no samples"
    low, high = half["interval"]
    few = ", fewer than 10" if half.get("few") else ""
    return f"{half['score']:.4f} ({low:.4f} to {high:.4f}, {half['samples']} samples{few})"
