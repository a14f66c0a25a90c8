"""Running one entry of each kind as Yoriai would, and telling what is wrong with its answers.

Each function takes a built entry and yields what is wrong, in words. What it raises is the
entry's own; :class:`CannotRun` says that nothing can be said here, and why.
"""

from __future__ import annotations

import functools
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import islice
from typing import Any

from yoriai.errors import NotFound, UsageError

MOST_ITEMS = 200  # read of each partition


class CannotRun(Exception):
    """Why an entry cannot be run here."""


def _twice(kind: str, make: Callable[[], list[Any]]) -> list[Any]:
    first, second = make(), make()
    if first != second:
        place = next(
            (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
            min(len(first), len(second)),
        )
        raise UsageError(f"gives another {kind} when it is asked again, first at {place}")
    return first


def _absent(make: Callable[[], Any]) -> Any:
    """What a method gives; where its data is not here, that it cannot be run."""
    try:
        return make()
    except NotFound as error:
        raise CannotRun(f"its data is not here: {error.message}") from error


def _copied(built: Any) -> Any:
    """As a worker gets it."""
    try:
        return pickle.loads(pickle.dumps(built))
    except Exception as error:
        raise UsageError(f"cannot be handed to a worker process: {error}") from error


def _run_source(source: Any) -> Iterator[str]:
    from yoriai.contracts import Document, PassedOver, SourceCard, Unreadable

    card = _absent(source.card)
    if not isinstance(card, SourceCard):
        yield f"card() gives a {type(card).__name__}, no yoriai.SourceCard"
    elif not card.name or not card.licence:
        yield "its card has no name or no licence"
    parts = _absent(lambda: _twice("partition", lambda: list(source.partitions())))
    if len(set(parts)) != len(parts) or not all(isinstance(part, str) for part in parts):
        yield "its partitions are no different names"
        return
    ids: set[tuple[str, str]] = set()
    for part in parts[:3]:
        items = _absent(functools.partial(_twice, "document", _reader(source, part)))
        for item in items:
            if not isinstance(item, (Document, Unreadable, PassedOver)):
                yield f"read() gives a {type(item).__name__}, no yoriai.Document"
                return
            if isinstance(item, PassedOver):
                continue
            if (item.source, item.id) in ids:
                yield f"gives two documents called {item.id!r}"
                return
            ids.add((item.source, item.id))


def _reader(source: Any, part: str) -> Callable[[], list[Any]]:
    return lambda: list(islice(_copied(source).read(part), MOST_ITEMS))


# Japanese, English, code, what rules look for, next to nothing, and one text again and again.
TEXTS = (
    ("ja", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n何でも薄暗い。"),
    ("en", "It was the best of times, it was the worst of times.\n\nIt was the age of wisdom."),
    ("code", "def add(a, b):\n    return a + b\n"),
    ("", "STOP!! | a | b | 0120-000-000 ｶﾞ ① 𩸽"),
    ("en", "x"),
    ("ja", "繰り返し。" * 400),
)


def _run_filter(rule: Any) -> Iterator[str]:
    from yoriai.contracts import Document, Verdict

    def documents() -> list[Document]:
        return [
            Document("conformance", str(n), text, language=language)
            for n, (language, text) in enumerate(TEXTS)
            if not rule.languages or language in rule.languages
        ]

    rule = _copied(rule)
    asked = documents()
    verdicts = _absent(lambda: _twice("verdict", lambda: [rule.judge(copy(d)) for d in asked]))
    for document, verdict in zip(asked, verdicts, strict=True):
        if not isinstance(verdict, Verdict):
            yield f"judge() gives a {type(verdict).__name__}, no yoriai.Verdict"
            return
        if verdict.action not in ("keep", "edit", "drop"):
            yield f"judge() gives the action {verdict.action!r}"
        rule.judge(document)
    if asked != documents():
        yield 'judge() changes the document; an edit is Verdict("edit", text=...)'
    together = rule.judge_batch(documents())
    if list(together) != verdicts:
        yield "judge_batch() says otherwise than judge()"


def _run_engine(engine: Any) -> Iterator[str]:
    from concurrent.futures import Executor

    with engine.open() as executor:
        if not isinstance(executor, Executor):
            yield f"open() gives a {type(executor).__name__}, no concurrent.futures.Executor"
            return
        done = [executor.submit(abs, -n) for n in range(3)]
        if [one.result(timeout=120) for one in done] != [0, 1, 2]:
            yield "its futures give other results than the tasks"
        failed = executor.submit(int, "no number").exception(timeout=120)
        if not isinstance(failed, ValueError):
            yield f"a task that raised ValueError came back as {type(failed).__name__}"


def _run_instructions(data: Any) -> Iterator[str]:
    from yoriai.contracts import Example

    try:
        examples = _absent(
            lambda: _twice("example", lambda: list(islice(data.examples((), 1), MOST_ITEMS)))
        )
    except UsageError as error:
        raise CannotRun(f"it wants a corpus: {error.message}") from error
    for example in examples:
        if not isinstance(example, Example):
            yield f"examples() gives a {type(example).__name__}, no yoriai.Example"
            return


def _run_shape(shape: Any) -> Iterator[str]:
    marks = {"bos": 1, "eos": 2, "pad": 3}
    told = shape.transformers_config(1000, marks)
    try:
        json.dumps(told)
    except (TypeError, ValueError) as error:
        yield f"transformers_config() is no JSON: {error}"
        return
    if not told.get("model_type") or int(told.get("vocab_size", 0)) < 1000:
        yield "transformers_config() lacks model_type, or a vocab_size that holds the vocabulary"
    if any(told.get(f"{name}_token_id") != number for name, number in marks.items()):
        yield "transformers_config() does not carry the marks (bos, eos, pad)"
    count = shape.parameters(1000)
    if not isinstance(count, int) or not 0 < count < shape.parameters(2000):
        yield "parameters() is no count that grows with the vocabulary"


def _run_strategy(strategy: Any) -> Iterator[str]:
    again = type(strategy)(**strategy.model_dump())
    if again != strategy:
        yield "built again from its keys, as each rank does, it is another"
    if strategy.engine not in ("torch", "deepspeed"):
        yield f"its engine is {strategy.engine!r}; it is 'torch' or 'deepspeed'"
    if not set(strategy.cuts) <= {"optimizer", "gradients", "parameters"}:
        yield f"it cuts {sorted(strategy.cuts)}"
    if strategy.processes % strategy.sequence_parts:
        yield "its processes cannot be shared by its sequence_parts"
    if not strategy.checkpoint_form():
        yield "checkpoint_form() is empty"
    try:
        built = strategy.build(num_nodes=1)
    except UsageError as error:
        raise CannotRun(f"build() refuses this machine: {error.message}") from error
    if built is None:
        yield "build() gives nothing that a trainer takes"


def _run_task(task: Any) -> Iterator[str]:
    from yoriai.evaluation_contracts import Sample

    if absent := _absent(task.absent):
        raise CannotRun(f"its data is not here: {', '.join(list(absent)[:3])}")
    try:
        samples = _absent(
            lambda: _twice("sample", lambda: list(islice(task.samples(()), MOST_ITEMS)))
        )
    except UsageError as error:
        raise CannotRun(f"it takes its texts from artifacts: {error.message}") from error
    if any(not isinstance(sample, Sample) for sample in samples):
        yield "samples() gives what is no yoriai.Sample"
        return
    if len({sample.id for sample in samples}) != len(samples):
        yield "two samples have one id"
    for sample in samples[:3]:
        if sample.choices and not (
            isinstance(sample.answer, int) and 0 <= sample.answer < len(sample.choices)
        ):
            yield f"the answer of sample {sample.id!r} is none of its choices"
            return
    shown = {sample.text for sample in task.shots(2)}
    if shown & {sample.text for sample in samples}:
        yield "an example of shots() is a sample, too"
    yield from _score(task, samples)


def _score(task: Any, samples: Sequence[Any]) -> Iterator[str]:
    if not samples:
        return
    sample = samples[0]
    if task.form == "generation" and task.has_floors:
        scores = dict(task.scores(sample, sample.gold))
        if not all(isinstance(value, (int, float)) for value in scores.values()):
            yield "scores() gives what are no numbers"
        elif not 0 <= next(iter(scores.values()), 0.0) <= 1:
            yield "its first score of a right answer is not between 0 and 1"
    if sample.choices:
        dict(task.rank(sample, [-1.0 - n for n in range(len(sample.choices))]))


class _NoModel:
    """A model that answers nothing, for a scorer that is asked about no task."""

    context = 0

    def describe(self) -> dict[str, Any]:
        return {}


def _run_scorer(scorer: Any) -> Iterator[str]:
    answer = scorer.score(_NoModel(), [], [])
    if answer != {}:
        yield f"score() of no task gives {answer!r}, not {{}}"


def _run_step(step: Any) -> Iterator[str]:
    try:
        told = step.expect([{} for _ in step.takes])
    except UsageError as error:
        raise CannotRun(f"expect() refuses to plan it alone: {error.message}") from error
    if not isinstance(told, dict):
        yield f"expect() gives a {type(told).__name__}, no mapping"


def _run_backend(_backend: Any) -> Iterator[str]:
    raise CannotRun("it needs a model to open")
    yield


def _run_probe(probe: Any) -> Iterator[str]:
    if not str(probe.limits.get("en", "")).strip():
        yield "does not say under limits what its results cannot show"
        return
    raise CannotRun("it needs what eval/probe gives it")


def _run_method(method: Any) -> Iterator[str]:
    from yoriai.contracts import Method

    if type(method)(**method.model_dump()) != method:
        yield "built again from its keys, as each rank does, it is another"
        return
    own = [name for name in ("adapter", "write")
           if getattr(type(method), name) is not getattr(Method, name)]  # fmt: skip
    if own == ["adapter"]:
        yield "gives an adapter and does not write it: write write()"
        return
    raise CannotRun("it needs a model to tune")


RUNS: dict[str, Callable[[Any], Iterator[str]]] = {
    "sources": _run_source,
    "filters": _run_filter,
    "engines": _run_engine,
    "instructions": _run_instructions,
    "methods": _run_method,
    "models": _run_shape,
    "strategies": _run_strategy,
    "backends": _run_backend,
    "tasks": _run_task,
    "scorers": _run_scorer,
    "probes": _run_probe,
    "steps": _run_step,
}
