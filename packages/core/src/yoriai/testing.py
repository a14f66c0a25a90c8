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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from yoriai.conformance import HEAVY as HEAVY
from yoriai.conformance import check

if TYPE_CHECKING:
    from yoriai.artifact import Artifact
    from yoriai.registry import Registry
    from yoriai.step import Step


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


def conformance(
    registry: Registry, plugin: str, keys: Mapping[str, Mapping[str, Any] | None] | None = None
) -> list[str]:
    """Every promise that an installed plugin breaks, in words; empty if none. The plugin is run.

    ``keys`` are those of entries that need some: ``{"acme/files": {"path": "a.txt"}}``;
    None in place of keys: the entry is read, but not run.
    """
    return check(registry, plugin, keys).broken


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
def yoriai_conformance() -> Callable[..., list[str]]:
    """Call as ``yoriai_conformance(yoriai_registry, "acme") == []``: the plugin is run."""
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
