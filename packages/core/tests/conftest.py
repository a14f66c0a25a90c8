"""Fake plugins in real ``dist-info`` folders, and one small laboratory of steps.

Nothing here needs a package of Yoriai other than core, and nothing touches the network.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from yoriai import Artifact, artifact, environment, reachable_code
from yoriai.cli import main
from yoriai.plugins import load_registry
from yoriai.registry import Registry
from yoriai.testing import CommandResult, run_cli

GOOD = """
from yoriai import Entry, hookimpl

@hookimpl
def yoriai_filters():
    return [Entry(name="rule", target="{name}.rules:Rule", summary="A rule.", licence="MIT")]
"""
RULES = '''
from typing import ClassVar

from pydantic import Field

from yoriai import Filter


class Rule(Filter):
    """Keeps all."""

    version: ClassVar[str] = "1"
    max_ratio: float = Field(0.5, description="of nothing")

    def judge(self, document):
        return self.KEEP
'''
LAB = """
from yoriai import Entry, hookimpl


def entry(name, attribute):
    return Entry(name=name, target=f"lab.steps:{attribute}", summary=f"{name}.", licence="MIT")


@hookimpl
def yoriai_steps():
    return [entry("words", "Words"), entry("join", "Join"), entry("slow", "Slow")]


@hookimpl
def yoriai_filters():
    return [entry("short", "Short")]
"""
STEPS = '''
import os
import signal as signals
import threading
from typing import Annotated

import pydantic

from yoriai import Filter, Made, Step, Uses


class Near(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    threshold: float = 0.8


class Short(Filter):
    """Drops what is long."""

    longest: int = 9


class Words(Step):
    """Writes words."""

    makes = "words"
    measures = ("count",)
    words: list[str] = ["ichi", "ni"]
    rules: list[Annotated[Filter, Uses("filters")]] = []
    near: Near | bool = Near()
    limit: float = float("inf")
    password: str = ""
    note: str = ""
    crash: str = ""

    def run(self, job):
        (job.out / "deep").mkdir()
        (job.out / "words.txt").write_text("\\n".join(self.words))
        (job.out / "deep" / "count.txt").write_text(str(len(self.words)))
        job.metric(loss=1.5, note=self.note)
        if self.crash:
            raise RuntimeError(self.crash)
        source = {"name": "lab", "version": "1", "licence": "CC0-1.0", "languages": ["ja"]}
        return Made(
            facts={"count": len(self.words), "note": self.note},
            headline=[f"{len(self.words)} words {self.note}"],
            sources=[source],
        )


class Join(Step):
    """Joins words."""

    makes = "text"
    takes = ("words",)
    with_: str = "-"

    def run(self, job):
        words = job.one("words").file("words.txt").read_text().split("\\n")
        (job.out / "text.txt").write_text(self.with_.join(words))
        return Made(facts={"length": len(words)})


class Slow(Step):
    """Works in five parts; the environment's LAB may say SIGNAL@PART."""

    makes = "words"
    optional = ("words",)

    def run(self, job):
        signal, _, at = os.environ.get("LAB", "").partition("@")
        for part in range(5):
            done = job.scratch / f"{part}.txt"
            if done.exists():
                continue
            if signal == "wait":
                threading.Event().wait()
            elif signal and part == int(at):
                try:
                    signals.raise_signal(int(signal))
                except Exception:  # what a careless step does must not swallow a signal
                    pass
            done.write_text(f"{part} {job.seed}")
            with open(os.environ.get("LAB_LOG", os.devnull), "a") as log:
                log.write(f"{part} ")
        text = "\\n".join((job.scratch / f"{n}.txt").read_text() for n in range(5))
        (job.out / "words.txt").write_text(text)
        return Made(facts={"parts": 5})
'''
RECIPE = """\
name: lab
licence: MIT
seed: 7
steps:
  words:
    uses: lab/words
    words: [ichi, ni, san]
    rules: [lab/short]
  text: {uses: lab/join, from: words}
"""


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was read of sources: the user's cache is shared with whatever else runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def quiet_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_cache: Path) -> Iterator[None]:
    """No setting of the caller reaches a test, and no module of a test the next one."""
    for name in [n for n in os.environ if n.startswith(("YORIAI_", "LAB"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_cache))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    # A shell's background job is started with SIGINT ignored, and so is what it starts.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)
    for name in set(sys.modules) - before:
        origin = getattr(getattr(sys.modules[name], "__spec__", None), "origin", None)
        if str(origin or "").startswith(str(tmp_path)):
            del sys.modules[name]
    environment.code_identity.cache_clear()
    reachable_code.forget()
    importlib.invalidate_caches()


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Install a fake distribution: ``plant("acme", code)``; its folder of modules is returned."""
    site = tmp_path / "site"
    planted: list[str] = []

    def install(
        name: str,
        code: str = GOOD,
        *,
        distribution: str = "",
        point: str = "",
        version: str = "1.0",
        requires: tuple[str, ...] = (),
        metadata: bool = True,
        files: Mapping[str, str] = {},
    ) -> Path:
        module = (distribution or name).replace("-", "_")
        folder = site / module
        folder.mkdir(parents=True, exist_ok=True)
        text = code.replace("{name}", module)
        for file, body in {
            "__init__.py": "",
            "_plugin.py": text,
            "rules.py": RULES,
            **files,
        }.items():
            (folder / file).write_text(body, encoding="utf-8")
        facts = site / f"{module}-{version}.dist-info"
        facts.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution or name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {item}" for item in requires]
        if metadata:
            (facts / "METADATA").write_text("\n".join(lines) + "\n")
        value = point or f"{module}._plugin"
        (facts / "entry_points.txt").write_text(f"[yoriai]\n{name} = {value}\n")
        if not planted:
            monkeypatch.syspath_prepend(str(site))
            monkeypatch.setenv("PYTHONPATH", str(site))
        planted.append(name)
        # The packages that may be installed beside core have no part in these tests.
        monkeypatch.setenv("YORIAI_PLUGINS", ",".join(planted))
        importlib.invalidate_caches()
        return folder

    return install


@pytest.fixture
def lab(plant: Callable[..., Path]) -> Path:
    """The laboratory, installed; returns its folder of modules."""
    return plant("lab", LAB, files={"steps.py": STEPS})


@pytest.fixture
def registry(lab: Path) -> Registry:
    return load_registry()


@pytest.fixture
def recipe(lab: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a recipe and return its path: ``recipe()`` or ``recipe(text)``."""

    def write(text: str = RECIPE) -> Path:
        path = tmp_path / "lab.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def yoriai(capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """The command line, called in this process: ``yoriai("list", "--json").json``."""

    def call(*words: str) -> CommandResult:
        capsys.readouterr()
        environment.code_identity.cache_clear()
        reachable_code.forget()
        code: Any = 0
        argv = sys.argv
        sys.argv = ["yoriai", *words]
        try:
            main(list(words))
        except SystemExit as end:
            code = end.code
        finally:
            sys.argv = argv
        captured = capsys.readouterr()
        return CommandResult(int(code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., CommandResult]:
    """The command line as a process of its own, in the test's folder."""

    def call(*words: str, **variables: str) -> CommandResult:
        return run_cli(*words, cwd=tmp_path, **variables)

    return call


@pytest.fixture
def sealed(tmp_path: Path) -> Callable[..., Artifact]:
    """Seal an artifact of a kind whose inputs are told by digest, and by ``folders``."""

    def make(
        name: str,
        kind: str,
        inputs: Sequence[Artifact] = (),
        folders: Sequence[str] | None = None,
    ) -> Artifact:
        out = tmp_path / f"{name}.out"
        out.mkdir()
        (out / "told.json").write_text(json.dumps(name))
        identity = {
            "kind": kind, "name": f"r/{name}@1", "step": "", "config": {}, "code": [], "seed": 0,
            "outside": {}, "inputs": [{"name": a.name, "digest": a.digest} for a in inputs],
            "sources": [], "licence": "", "facts": {},
        }  # fmt: skip
        where = [a.path.name for a in inputs] if folders is None else folders
        circumstances = {"folders": where}
        return artifact.seal(
            out, tmp_path / f"{name}@1", identity=identity, circumstances=circumstances
        )

    return make
