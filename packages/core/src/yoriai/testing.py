"""A pytest plugin for authors of Yoriai plugins (loaded by itself once core is installed).

Fixtures: ``yoriai_registry`` (the installed plugins), ``yoriai_cli`` (run a command and read
its answer), ``yoriai_conformance`` (a list of broken promises, empty if all is well), and
``yoriai_job`` (run one step outside a recipe).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from yoriai.errors import YoriaiError

if TYPE_CHECKING:
    from yoriai.artifact import Artifact
    from yoriai.plugins import Registry
    from yoriai.step import Step

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


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_cli(*words: str, cwd: Path | None = None, **environment: str) -> CommandResult:
    """Run ``yoriai`` in a process of its own, as a user would."""
    done = subprocess.run(
        [sys.executable, "-m", "yoriai", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def conformance(registry: Registry, plugin: str) -> list[str]:
    """Every promise that an installed plugin breaks, in words; empty if none."""
    row = next((p for p in registry.plugins if p.name == plugin), None)
    if row is None:
        return [f"no plugin {plugin!r} is installed"]
    if row.status != "ok":
        return [f"{plugin} is {row.status}: {row.reason}"]
    problems = _heavy_imports(row.module)
    for kind, entries in row.entries.items():
        for entry in entries:
            name = f"{kind} {plugin}/{entry.name}"
            if len(entry.summary) > 90:
                problems.append(f"{name}: the summary is longer than 90 characters")
            if not entry.licence:
                problems.append(f"{name}: has no licence")
            found = registry.get(kind, f"{plugin}/{entry.name}")
            if found.missing:
                continue
            try:
                problems += _check_target(registry.load(found), kind, name)
            except YoriaiError as error:
                problems.append(f"{name}: {error.message}")
    return problems


def _heavy_imports(module: str) -> list[str]:
    module = module.partition(":")[0]
    code = (
        f"import sys, {module}\n"
        f"print(*sorted({{m.partition('.')[0] for m in sys.modules}} & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"{module} cannot be imported by itself: {done.stderr.strip()[-200:]}"]
    names = done.stdout.splitlines()[-1].split()  # the module may have printed before
    return [f"{module} imports {name} while it is listed" for name in names]


def _check_target(target: Any, kind: str, name: str) -> list[str]:
    import click

    from yoriai import contracts, probe, step

    wanted: dict[str, type] = {
        "steps": step.Step,
        "sources": contracts.Source,
        "filters": contracts.Filter,
        "engines": contracts.Engine,
        "instructions": contracts.Instructions,
        "models": contracts.ModelShape,
        "strategies": contracts.Strategy,
        "backends": contracts.Backend,
        "tasks": contracts.Task,
        "scorers": contracts.Scorer,
        "probes": probe.Probe,
    }
    if kind == "commands":
        return [] if isinstance(target, click.Command) else [f"{name}: is no click.Command"]
    base = wanted[kind]
    if not (isinstance(target, type) and issubclass(target, base)):
        return [f"{name}: the target is no yoriai.{base.__name__}"]
    if not (target.__doc__ or "").strip():
        return [f"{name}: the target has no docstring"]
    return []


@pytest.fixture(scope="session")
def yoriai_registry() -> Registry:
    """The installed plugins."""
    from yoriai.plugins import load_registry

    return load_registry()


@pytest.fixture
def yoriai_cli() -> Callable[..., CommandResult]:
    """Call as ``yoriai_cli("list", "filters", "--json").json``."""
    return run_cli


@pytest.fixture
def yoriai_conformance() -> Callable[[Registry, str], list[str]]:
    """Call as ``yoriai_conformance(yoriai_registry, "acme") == []``."""
    return conformance


def make_artifact(
    step: Step, folder: Path, inputs: Sequence[Artifact], registry: Registry, *, seed: int = 0
) -> Artifact:
    """Run one step outside a recipe and seal what it makes in ``folder``."""
    from yoriai import artifact
    from yoriai.config import plain
    from yoriai.step import Job

    def watch(items: Iterable[Any], _label: str, _total: int | None) -> Iterator[Any]:
        return iter(items)

    out, scratch = folder.with_name(folder.name + ".out"), folder.with_name(folder.name + ".work")
    for place in (out, scratch):
        place.mkdir(parents=True)
    job = Job(
        name=folder.name,
        out=out,
        scratch=scratch,
        inputs=tuple(inputs),
        seed=seed,
        registry=registry,
        metric=lambda **_values: None,
        watch=watch,
    )
    made = step.run(job)
    identity = {
        "kind": step.makes,
        "name": f"test/{folder.name}@1",
        "step": step.entry,
        "config": plain(step),
        "code": [],
        "seed": seed,
        "outside": {},
        "inputs": [{"name": a.name, "digest": a.digest} for a in inputs],
        "sources": list(made.sources),
        "licence": "",
        "facts": {**made.facts, "headline": list(made.headline)},
    }
    return artifact.seal(out, folder, identity=identity, circumstances={})


@pytest.fixture
def yoriai_job(tmp_path: Path, yoriai_registry: Registry) -> Callable[..., Artifact]:
    """Call as ``yoriai_job("text", Build(...), [])``: runs one step, returns its artifact."""

    def run(name: str, step: Step, inputs: Sequence[Artifact] = (), **options: Any) -> Artifact:
        return make_artifact(step, tmp_path / name, inputs, yoriai_registry, **options)

    return run
