"""Whether a plugin keeps its promises: it is read, and then it is run.

Every entry is imported, built with the keys that were given for it (else its defaults), and asked
what Yoriai would ask: a source is read twice and compared, a filter judges documents, a task is
answered with its own right answers. What cannot be run here (a key without a default, data or a
library that is not here) is told as such; it is no broken promise.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoriai import Filter, Task, blame, foreign_code
from yoriai.conformance_runs import RUNS, CannotRun
from yoriai.errors import UsageError, YoriaiError
from yoriai.registry import Found, Plugin, Registry, singular

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
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)?")

Keys = Mapping[str, Mapping[str, Any] | None]


@dataclass(slots=True)
class Report:
    """What came of it. ``broken``: promises in words. ``not_run``: what could not be, and why."""

    plugin: str
    broken: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)


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
    report.broken += [f"{bad.kind} {plugin}/{bad.name}: {bad.reason}" for bad in row.refused]
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
        except CannotRun as why:
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
        raise CannotRun("it was left out")
    built = _build(target, registry, keys)
    run = RUNS.get(found.kind)
    if run is None:
        raise CannotRun(f"no way to run a {singular(found.kind)} is known here")
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
        names = [name for name in names if base is not Task or name != "score"]
    if _is_own(target, base, "judge_batch"):
        names = [name for name in names if base is not Filter or name != "judge"]
    return names


def _is_own(target: type, base: type, name: str) -> bool:
    return getattr(target, name, None) is not getattr(base, name, None)


def _build(target: Any, registry: Registry, keys: Mapping[str, Any]) -> Any:
    import pydantic

    missing = [n for n, i in target.model_fields.items() if i.is_required() and n not in keys]
    if missing:
        raise CannotRun(f"needs a value of {', '.join(missing)}")
    try:
        return target.model_validate(dict(keys), context={"registry": registry})
    except pydantic.ValidationError as error:
        from yoriai.config import dotted, explain

        faults = "; ".join(f"{dotted(f.place)}: {f.message}" for f in explain(error, target))
        if keys:
            raise CannotRun(f"the keys given for it are refused: {faults}") from error
        raise UsageError(f"cannot be built from its own defaults: {faults}") from error


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
