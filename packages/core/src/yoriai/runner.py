"""Running a recipe: one step after the other, each sealed before the next begins.

Interrupt it wherever you like, also with ``kill -9``: started again it keeps every sealed
step, resumes the unfinished one from its scratch folder, and ends with the same digests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoriai import artifact as artifacts
from yoriai import environment, files, stopping
from yoriai import run_file as run
from yoriai.artifact import Artifact, open_artifact
from yoriai.code_places import shorten_places
from yoriai.config import nested
from yoriai.errors import Refused, TimedOut, YoriaiError
from yoriai.recipe import Loaded, PlannedStep
from yoriai.redaction import Redactor, count_hidden, say_hidden
from yoriai.registry import Registry
from yoriai.run_file import Run, RunView
from yoriai.step import Job, Made
from yoriai.workspace import Decision, Workspace

MINIMUM_FREE_MB = 300

Watch = Callable[[Iterable[Any], str, int | None], Iterator[Any]]


@dataclass(slots=True)
class Outcome:
    """What a run of a recipe came to."""

    run: Mapping[str, Any]
    workspace: Workspace
    artifacts: dict[str, Artifact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run, as opposed to what to run (which is the recipe's business)."""

    allow_drift: str = ""
    until: str = ""
    only: str = ""  # make this step alone; others may make other steps at the same time
    time_limit_minutes: float = 0.0
    argv: Sequence[str] = ()
    watch: Watch
    announce: Callable[[str], None]


def run_recipe(loaded: Loaded, registry: Registry, root: Path, options: Options) -> Outcome:
    """Run every step that is not sealed yet. Raises what stopped it, after writing it down."""
    redactor = Redactor()
    workspace = Workspace(root, loaded, redactor)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.disk_error(root, error) from error
    busy = f"another run works in {root}"
    with (
        stopping.orderly_end(),
        files.hold(workspace.lock, busy=busy, shared=bool(options.only)),
        contextlib.ExitStack() as stack,
    ):
        if options.only:
            busy = f"another run makes {options.only} in {root}"
            stack.enter_context(files.hold(workspace.lock_of(options.only), busy=busy))
        else:  # what ends while it is looked at would be taken for dead; here nothing else runs
            for dead in run.sweep(workspace.runs):
                options.announce(f"run {dead} had died without a word; marked as failed")
        facts = {
            "recipe": loaded.recipe.name,
            "version": loaded.recipe.version,
            "argv": list(options.argv),
            "resolved": loaded.resolved(),
            "git": environment.git_state(loaded.path.resolve().parent),
            "environment": environment.describe_environment(registry),
        }
        # From here on the run file says "running"; whatever ends the run is written into it.
        with stopping.deferred():
            current = stack.enter_context(run.start_run(workspace.runs, facts, redactor))
            outcome = Outcome(current.value, workspace)
            try:
                with stopping.undeferred(), stopping.time_limit(options.time_limit_minutes):
                    _run_steps(current, registry, outcome, options)
            except BaseException as raised:
                shown = _in_words(raised, root)
                try:
                    current.end(*_ending(shown, redactor))
                except YoriaiError as error:  # the disk: what stopped the run is still what is told
                    options.announce(f"the run file says no end: {error.message}")
                _tell_hidden(current, redactor, options)
                raise shown from shown.__cause__
            current.end("completed")
            _tell_hidden(current, redactor, options)
        stopping.heed()
        return outcome


def _tell_hidden(current: Run, redactor: Redactor, options: Options) -> None:
    if told := say_hidden(count_hidden(redactor.value(current.value)), "the run file"):
        options.announce(told)


def _run_steps(current: Run, registry: Registry, outcome: Outcome, options: Options) -> None:
    loaded = outcome.workspace.loaded
    stopping.heed()
    _require_disk(outcome.workspace.root)
    _ask_plugins(current, registry, loaded)
    loaded.expectations()  # refuses, before anything is read, what cannot end well
    wanted = loaded.needed_by(options.only) if options.only else None
    for planned in loaded.steps:
        stopping.heed()
        if wanted is not None and planned.name not in wanted:
            continue
        _do_step(planned, current, registry, outcome, options)
        if planned.name in (options.until, options.only):
            break


def _do_step(
    planned: PlannedStep, current: Run, registry: Registry, outcome: Outcome, options: Options
) -> None:
    workspace = outcome.workspace
    inputs = [outcome.artifacts.get(name) or open_artifact(Path(name)) for name in planned.inputs]
    decision = workspace.decide(planned, inputs)
    if options.only not in ("", planned.name) and decision.action != "reuse":
        if decision.action == "refused":
            raise _drifted(decision, outcome)
        raise Refused(
            f"{options.only} needs {planned.name}, which is not made yet",
            hint=f"make it first: yoriai run {workspace.loaded.path} --until {planned.name}",
        )
    if decision.action == "refused":
        if not options.allow_drift:
            raise _drifted(decision, outcome)
        options.announce(f"{planned.name}: changed; the former result goes to superseded/")
    if decision.action == "reuse":
        made = open_artifact(decision.folder)
        current.step(planned.name, state="reused", artifact=made.name, digest=made.digest)
        options.announce(f"{planned.name}: unchanged, used again ({made.digest[:12]})")
        outcome.artifacts[planned.name] = made
        workspace.forget_unfinished(planned.name, decision.origin or {})
        return
    verb = "resumes" if workspace.work(planned.name, decision.origin or {}).exists() else "starts"
    options.announce(f"{planned.name}: {planned.entry} {verb}")
    current.step(planned.name, state="running", started=run.now(), resumed=verb == "resumes")
    start, before = time.perf_counter(), _processor_seconds()
    try:
        made, headline = _build(planned, decision, inputs, current, registry, workspace, options)
    except BaseException:
        current.step(planned.name, state="stopped", seconds=round(time.perf_counter() - start, 1))
        raise
    current.step(
        planned.name,
        state="sealed",
        seconds=round(time.perf_counter() - start, 1),
        processor_seconds=round(_processor_seconds() - before, 1),
        artifact=made.name,
        digest=made.digest,
        drift=options.allow_drift if decision.action == "refused" else "",
    )
    seconds = current.value["steps"][planned.name]["seconds"]
    options.announce(f"{planned.name}: sealed after {seconds} s; {next(iter(headline), '')}")
    outcome.artifacts[planned.name] = made


def _processor_seconds() -> float:
    """Of this process and of those that it started and that have ended, user and system."""
    return sum(os.times()[:4])


def _build(
    planned: PlannedStep,
    decision: Decision,
    inputs: Sequence[Artifact],
    current: Run,
    registry: Registry,
    workspace: Workspace,
    options: Options,
) -> tuple[Artifact, Sequence[str]]:
    origin = dict(decision.origin or {})
    work = workspace.work(planned.name, origin)
    out, scratch = work / "out", work / "scratch"
    shutil.rmtree(out, ignore_errors=True)
    for folder in (out, scratch):
        folder.mkdir(parents=True, exist_ok=True)
    artifacts.check_bytes(*inputs, watch=_heeding(options.watch))
    job = Job(
        name=planned.name,
        out=out,
        scratch=scratch,
        inputs=tuple(inputs),
        seed=workspace.loaded.recipe.seed,
        registry=registry,
        metric=lambda **values: current.metric(planned.name, values),
        watch=_heeding(options.watch),
        engine=workspace.loaded.engine,
        aside=current.path.with_suffix("") / planned.name,
    )
    stopping.heed()
    made: Made = planned.step.run(job)
    stopping.heed()
    drift = options.allow_drift if decision.action == "refused" else ""
    sources = list(made.sources) or _inherited_sources(inputs)
    identity = {
        **origin,
        "kind": planned.step.makes,
        "name": f"{workspace.loaded.recipe.name}/{decision.folder.name}",
        "sources": workspace.redactor.value(sources),
        "facts": workspace.redactor.value({**made.facts, "headline": list(made.headline)}),
    }
    hidden = count_hidden(identity)
    sealed = artifacts.seal(
        out,
        decision.folder,
        identity=identity,
        circumstances={
            "run": current.id,
            "made": run.now(),
            "folders": [_whereabouts(a, workspace) for a in inputs],
            "drift": workspace.redactor.text(drift),
            **({"hidden": hidden} if hidden else {}),
        },
        replace=decision.action == "refused",
    )
    if told := say_hidden(hidden, f"{decision.folder.name}/{artifacts.MANIFEST}"):
        options.announce(told)
    workspace.forget_work(planned.name)
    return sealed, made.headline


def _whereabouts(artifact: Artifact, workspace: Workspace) -> str:
    """Where an input stood: relative to the workspace, or from ``~`` if that would tell whose."""
    place = os.path.relpath(artifact.path.resolve(), workspace.root.resolve())
    if workspace.redactor.text(place) == place:
        return place
    return workspace.redactor.text(str(artifact.path.resolve()))


def _inherited_sources(inputs: Sequence[Artifact]) -> list[dict[str, Any]]:
    rows = {files.digest_json(row): row for a in inputs for row in a.manifest["sources"]}
    return [rows[key] for key in sorted(rows)]


def _drifted(decision: Decision, outcome: Outcome) -> Refused:
    changes = "\n  ".join(decision.reasons[:8])
    version = outcome.workspace.loaded.recipe.version
    return Refused(
        f"{decision.folder.name} was made from something else:\n  {changes}",
        hint=f"--set version={version + 1} to make new things beside the old, "
        'or --allow-drift "REASON" to replace it (the old one is kept in superseded/)',
    )


def _require_disk(root: Path) -> None:
    free_mb = shutil.disk_usage(root).free // 2**20
    if free_mb < MINIMUM_FREE_MB:
        raise YoriaiError(
            f"only {free_mb} MB are free in {root}; a run needs {MINIMUM_FREE_MB} MB to start",
            hint="free some space, or choose another place with --out DIR",
        )


def _ask_plugins(current: Run, registry: Registry, loaded: Loaded) -> None:
    view = RunView(current.id, loaded.recipe.name, tuple(s.name for s in loaded.steps))
    for name, started in registry.moments("yoriai_run_started"):
        try:
            facts = dict(started(run=view) or {})
            files.canonical_json(facts)
        except Exception as error:
            current.value.setdefault("plugin_errors", []).append(
                {"plugin": name, "hook": "yoriai_run_started", "error": repr(error)}
            )
            continue
        if facts:
            current.value["environment"][name] = facts
    versions = {
        obj.entry: obj.version
        for planned in loaded.steps
        for obj in nested(planned.step)
        if obj.entry
    }
    current.write(entries=versions)


def _in_words(error: BaseException, root: Path) -> BaseException:
    """The error a user should see, with the one that was raised as its cause."""
    known: YoriaiError | None = None
    if isinstance(error, stopping.StopRequest):
        known = TimedOut(str(error), hint="start the same command again to go on from here")
    elif isinstance(error, OSError) and files.is_disk_trouble(error):
        known = files.disk_error(Path(error.filename or root), error)
    if known is None:
        return error
    known.__cause__ = error
    return known


def _ending(error: BaseException, redactor: Redactor) -> tuple[run.State, dict[str, Any]]:
    # Redacted before it is cut into lines: a secret may be longer than one.
    told = shorten_places("".join(traceback.format_exception(error)))
    lines = redactor.text(told).splitlines()[-50:]
    facts = {
        "type": type(error).__name__,
        "code": getattr(error, "code", "failed"),
        "message": str(error),
        "traceback": lines,
    }
    if isinstance(error, KeyboardInterrupt):
        return "cancelled", {**facts, "code": "interrupted", "message": "stopped by the user"}
    if isinstance(error, TimedOut):
        return "timed-out", facts
    return "failed", facts


def _heeding(watch: Watch) -> Watch:
    def heed(items: Iterable[Any], label: str, total: int | None) -> Iterator[Any]:
        for item in watch(items, label, total):
            stopping.heed()
            yield item

    return heed
