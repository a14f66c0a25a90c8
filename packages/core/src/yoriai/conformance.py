"""Whether a plugin keeps its promises: it is read, and then it is run.

Every entry is imported, built with the keys that were given for it (else its defaults), and asked
what Yoriai would ask: a source is read twice and compared, a filter judges documents, a task is
answered with its own right answers. What cannot be run here (a key without a default, data or a
library that is not here) is told as such; it is no broken promise.
"""

from __future__ import annotations

import functools
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from yoriai import blame, foreign_code
from yoriai.errors import NotFound, UsageError, YoriaiError
from yoriai.plugins import Found, Plugin, Registry, singular

# What the module of an entry point must not pull in: it is imported for every listing.
HEAVY = (
    "torch",
    "lightning",
    "numpy",
    "deepspeed",
    "transformers",
    "sentencepiece",
    "pyarrow",
    "pydantic",
    "matplotlib",
)
# What a plan asks without training: these take seconds to import.
TRAINING = ("torch", "lightning", "deepspeed", "transformers")
MOST_CHARACTERS = 90  # of a summary: a line of a terminal, with the name before it
SECONDS = 300.0  # for running one entry
MOST_ITEMS = 200  # read of each partition
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)?")

Keys = Mapping[str, Mapping[str, Any] | None]


@dataclass(slots=True)
class Report:
    """What came of it. ``broken``: promises in words. ``not_run``: what could not be, and why."""

    plugin: str
    broken: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)


class _CannotRun(Exception):
    """Why an entry cannot be run here."""


def check(registry: Registry, plugin: str, keys: Keys | None = None) -> Report:
    """Check an installed plugin, and run what it offers.

    ``keys``: those of an entry, by ``acme/name``; None there: the entry is read, but not run.
    """
    report = Report(plugin)
    row = next((p for p in registry.plugins if p.name == plugin), None)
    if row is None:
        report.broken.append(f"no plugin {plugin!r} is installed")
        return report
    if row.status != "ok":
        report.broken.append(f"{plugin} is {row.status}: {row.reason}")
        return report
    report.broken += _imports(row.module, HEAVY, "it is listed")
    for kind, entries in row.entries.items():
        for entry in entries:
            found = registry.get(kind, f"{plugin}/{entry.name}")
            _check_entry(found, row, registry, report, (keys or {}).get(found.name, {}))
    plans = [e.target for kind in ("models", "strategies") for e in row.entries.get(kind, ())]
    for module in dict.fromkeys(target.partition(":")[0] for target in plans):
        report.broken += _imports(module, TRAINING, "a training is planned")
    _check_moments(registry, row, report)
    return report


def _imports(module: str, heavy: Sequence[str], when: str) -> list[str]:
    module = module.partition(":")[0]
    code = (
        f"import sys, {module}\n"
        f"print(*sorted({{m.partition('.')[0] for m in sys.modules}} & set({tuple(heavy)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"{module} cannot be imported by itself: {done.stderr.strip()[-200:]}"]
    names = done.stdout.splitlines()[-1].split()  # the module may have printed before
    return [f"{module} imports {name} while {when}" for name in names]


def _check_entry(
    found: Found, plugin: Plugin, registry: Registry, report: Report, keys: Mapping[str, Any] | None
) -> None:
    entry, name = found.entry, f"{found.kind} {found.name}"
    told: list[str] = []
    if not _NAME.fullmatch(entry.name):
        told.append("its name is not small letters, digits, '-' and '_'")
    if len(entry.summary) > MOST_CHARACTERS:
        told.append(f"the summary is longer than {MOST_CHARACTERS} characters")
    if not entry.licence:
        told.append("has no licence")
    if found.missing:
        report.not_run[name] = f"needs {', '.join(found.missing)}"
    else:
        try:
            target = registry.load(found)
            told += _check_target(target, found, registry, keys)
            if not told:
                report.ran.append(name)
        except _CannotRun as why:
            report.not_run[name] = str(why)
        except YoriaiError as error:
            told.append(_placed(error.message, error.__cause__ or error, plugin))
        except Exception as error:
            told.append(_placed(f"raised {type(error).__name__}: {error}", error, plugin))
    report.broken += [f"{name}: {text}" for text in told]


def _placed(text: str, error: BaseException, plugin: Plugin) -> str:
    place = blame.line_in(error, plugin.module)
    return f"{text} ({place})" if place else text


def contract_of(kind: str) -> type | None:
    """The class that an entry of a kind fulfils, by its hook's docstring; None for commands."""
    import yoriai
    from yoriai import hookspecs

    text = getattr(hookspecs, f"yoriai_{kind}").__doc__ or ""
    named = re.search(r"target is an? :class:`yoriai\.(\w+)`", text)
    return getattr(yoriai, named[1]) if named else None


def _check_target(
    target: Any, found: Found, registry: Registry, keys: Mapping[str, Any] | None
) -> list[str]:
    base = contract_of(found.kind)
    if base is None:
        return _check_command(target, found.plugin)
    if not (isinstance(target, type) and issubclass(target, base)):
        return [f"the target is no yoriai.{base.__name__}"]
    told = []
    if not (target.__doc__ or "").strip():
        told.append("the target has no docstring")
    own = target.__mro__[: target.__mro__.index(base)]
    if not any("version" in vars(one) for one in own) and found.kind != "engines":
        told.append('has no version: say version: ClassVar[str] = "1"')
    silent = [
        name
        for name, info in target.model_fields.items()  # type: ignore[attr-defined]
        if not (info.description or "").strip()
    ]
    told += [f"its key {name!r} has no description" for name in silent]
    told += [f"does not write {method}()" for method in unwritten(target, base)]
    if found.kind == "steps" and not str(getattr(target, "makes", "")):
        told.append('does not say what it makes: makes: ClassVar[str] = "..."')
    if told:
        return told
    if keys is None:
        raise _CannotRun("it was left out")
    built = _build(target, registry, keys)
    run = _RUNS.get(found.kind)
    if run is None:
        raise _CannotRun(f"no way to run a {singular(found.kind)} is known here")
    came = foreign_code.call(lambda: list(run(built)), SECONDS)
    if isinstance(came.error, Exception):
        raise came.error
    if came.error is not None:
        raise UsageError(f"{type(came.error).__name__}: {came.error}")
    return list(came.value)


def unwritten(target: type, base: type) -> list[str]:
    """Methods of a contract that only raise NotImplementedError, and are as they were."""
    names = []
    for name, function in vars(base).items():
        code = getattr(function, "__code__", None)
        raises = code is not None and "NotImplementedError" in code.co_names
        if raises and getattr(target, name, None) is function:
            names.append(name)
    if getattr(target, "form", "") != "generation" or _is_own(target, base, "scores"):
        names = [name for name in names if name != "score"] if base.__name__ == "Task" else names
    if base.__name__ == "Filter" and _is_own(target, base, "judge_batch"):
        names.remove("judge") if "judge" in names else None
    return names


def _is_own(target: type, base: type, name: str) -> bool:
    return getattr(target, name, None) is not getattr(base, name, None)


def _build(target: Any, registry: Registry, keys: Mapping[str, Any]) -> Any:
    import pydantic

    missing = [n for n, i in target.model_fields.items() if i.is_required() and n not in keys]
    if missing:
        raise _CannotRun(f"needs a value of {', '.join(missing)}")
    try:
        return target.model_validate(dict(keys), context={"registry": registry})
    except pydantic.ValidationError as error:
        from yoriai.config import dotted, explain

        faults = "; ".join(f"{dotted(f.place)}: {f.message}" for f in explain(error, target))
        if keys:
            raise _CannotRun(f"the keys given for it are refused: {faults}") from error
        raise UsageError(f"cannot be built from its own defaults: {faults}") from error


# --- each kind, run ------------------------------------------------------------------------


def _check_command(target: Any, plugin: str) -> list[str]:
    import click

    if not isinstance(target, click.Command):
        return ["is no click.Command"]
    told = []
    for words, command in _commands(target, target.name or ""):
        if not (command.help or "").strip():
            told.append(f"{words} has no help")
        if not any("--json" in parameter.opts for parameter in command.params):
            told.append(f"{words} has no --json: use @yoriai.console.json_option")
        if f"yoriai {plugin}" not in (command.epilog or "") and "yoriai " not in (
            command.epilog or ""
        ):
            told.append(f"{words} has no example in its epilog")
    return told


def _commands(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
    for name, one in (inner or {}).items():
        yield from _commands(one, f"{words} {name}")


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
        raise _CannotRun(f"its data is not here: {error.message}") from error


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
        raise _CannotRun(f"it wants a corpus: {error.message}") from error
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


def _run_task(task: Any) -> Iterator[str]:
    from yoriai.evaluation_contracts import Sample

    if absent := _absent(task.absent):
        raise _CannotRun(f"its data is not here: {', '.join(list(absent)[:3])}")
    try:
        samples = _absent(
            lambda: _twice("sample", lambda: list(islice(task.samples(()), MOST_ITEMS)))
        )
    except UsageError as error:
        raise _CannotRun(f"it takes its texts from artifacts: {error.message}") from error
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
        raise _CannotRun(f"expect() refuses to plan it alone: {error.message}") from error
    if not isinstance(told, dict):
        yield f"expect() gives a {type(told).__name__}, no mapping"


def _run_backend(_backend: Any) -> Iterator[str]:
    raise _CannotRun("it needs a model to open")
    yield


def _run_probe(probe: Any) -> Iterator[str]:
    if not str(probe.limits.get("en", "")).strip():
        yield "does not say under limits what its results cannot show"
        return
    raise _CannotRun("it needs what eval/probe gives it")


_RUNS: dict[str, Callable[[Any], Iterator[str]]] = {
    "sources": _run_source,
    "filters": _run_filter,
    "engines": _run_engine,
    "instructions": _run_instructions,
    "models": _run_shape,
    "strategies": _run_strategy,
    "backends": _run_backend,
    "tasks": _run_task,
    "scorers": _run_scorer,
    "probes": _run_probe,
    "steps": _run_step,
}


def _check_moments(registry: Registry, plugin: Plugin, report: Report) -> None:
    from yoriai.artifact import Artifact
    from yoriai.run_file import RunView

    about: dict[str, Any] = {
        "kind": "of-somebody-else", "name": "conformance/thing@1", "step": "somebody/else",
        "digest": "0" * 64, "config": {}, "seed": 0, "licence": "", "circumstances": {},
        "facts": {"headline": []}, "sources": [], "inputs": [], "code": [], "outside": {},
        "files": {},
    }  # fmt: skip
    stranger = Artifact(Path("nowhere"), about)
    view = RunView("conformance", "conformance", ())
    given: dict[str, dict[str, Any]] = {
        "yoriai_sections": {"artifact": stranger},
        "yoriai_run_started": {"run": view},
    }
    for hook, arguments in given.items():
        for name, call in registry.moments(hook):
            if name != plugin.name:
                continue
            try:
                answer = call(**arguments)
                told = list(answer or ()) if hook == "yoriai_sections" else []
                if told:
                    report.broken.append(f"{hook}: describes an artifact of somebody else's kind")
                if hook == "yoriai_run_started":
                    json.dumps(dict(answer or {}))
                report.ran.append(hook)
            except Exception as error:
                text = f"{hook}: raised {type(error).__name__}: {error}"
                report.broken.append(_placed(text, error, plugin))
