"""Every command of the project: ``nox -s NAME``.

One environment, ``.nox/workshop``, serves all sessions but ``alone`` and ``lint``: torch is
large, and what is tested is what the tour runs on. pip installs it, with ``constraints.txt``
(uv and poetry would fetch a CUDA build of torch of several gigabytes).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "imports", "tests"]

ROOT = Path(__file__).parent
WORKSHOP = ROOT / ".nox" / "workshop"
PACKAGES = ("core", "corpus", "train", "eval", "domain_adapt")
CONSTRAINTS = ("-c", str(ROOT / "constraints.txt"))
TEST_TOOLS = (
    "pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "datasketch", "mwparserfromhell",
    "regex",
)  # fmt: skip
TOOLS = (
    *TEST_TOOLS, "mypy", "types-PyYAML", "types-protobuf", "import-linter", "mkdocs-material",
    "hatchling", "editables",
)  # fmt: skip


def workshop(session: nox.Session) -> Path:
    """Make or refresh the shared environment, and return its folder of programs.

    It is refreshed when a pyproject.toml, the constraints or this file change.
    """
    sources = [ROOT / "constraints.txt", Path(__file__), *sorted(ROOT.rglob("pyproject.toml"))]
    digest = hashlib.sha256()
    for path in sources:
        if ".nox" not in path.parts and "build" not in path.relative_to(ROOT).parts:
            digest.update(path.read_bytes())
    stamp = WORKSHOP / "stamp"
    programs = WORKSHOP / ("Scripts" if os.name == "nt" else "bin")
    if not stamp.is_file() or stamp.read_text() != digest.hexdigest():
        if not (programs / "python").exists():
            session.run(sys.executable, "-m", "venv", str(WORKSHOP), external=True)
        pip = (str(programs / "python"), "-m", "pip", "install", "-q", *CONSTRAINTS)
        session.run(*pip, "-U", "pip", external=True)
        session.run(*pip, "torch", *TOOLS, external=True)
        editable = [f"{ROOT / 'packages' / p}{_extras(p)}" for p in PACKAGES]
        editable += [str(p.parent) for p in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
        words = [word for path in editable for word in ("-e", path)]
        session.run(*pip, *words, external=True)
        stamp.write_text(digest.hexdigest())
    return programs


def _extras(package: str) -> str:
    return {
        "core": "[page,testing,sign]", "corpus": "[tour,dask,hub,trafilatura,serve]",
        "train": "[lora]", "eval": "[hf]", "domain_adapt": "[gguf]",
    }.get(package, "")  # fmt: skip


def run(session: nox.Session, program: str, *words: str, **env: str) -> None:
    """Run a program of the shared environment."""
    programs = workshop(session)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    session.run(str(programs / program), *words, external=True, env={"PATH": path, **env})


@nox.session(venv_backend="none")
def tour(session: nox.Session) -> None:
    """Make a small language model in the open, from text to scores (about five minutes)."""
    run(session, "yoriai", "run", "recipes/tour.yaml", *session.posargs)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """All tests: each package's own, the plugins', and those that need several packages.

    Two workers, a file at a time, each test on one thread: most of the time is spent in starting
    small processes, which two cores do side by side.
    """
    words = session.posargs or ["-n", "2", "--dist", "loadfile"]
    run(session, "python", "-m", "pytest", *words, YORIAI_STRICT="1", OMP_NUM_THREADS="1")


@nox.session(venv_backend="none")
def near(session: nox.Session) -> None:
    """The tests that a change can break, nearest first, in about a minute; says what is left out.

    The change is what differs from main, uncommitted and new files included; paths after ``--``
    are taken instead.
    """
    run(session, "python", "tests/near.py", *session.posargs, OMP_NUM_THREADS="1")


@nox.session(venv_backend="venv", reuse_venv=False)
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def alone(session: nox.Session, package: str) -> None:
    """One package as a user gets it: its wheel and core's, and nothing else of ours.

    With the argument ``dist`` the wheels in that folder are tested instead of fresh ones.
    """
    folder = ROOT / (session.posargs[0] if session.posargs else f"build/alone/{package}")
    wanted = dict.fromkeys(("core", package))
    if not session.posargs:
        shutil.rmtree(folder, ignore_errors=True)
        for name in wanted:
            source = str(ROOT / "packages" / name)
            session.run(
                "python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), source
            )
    wheels = [str(next(folder.glob(f"yoriai_{name}-*.whl"))) for name in wanted]
    needs = ["torch"] if package in ("train", "domain_adapt") else []
    session.install("-q", *CONSTRAINTS, *needs, *wheels, *TEST_TOOLS)
    session.run("python", "-c", _ASSERT_ALONE, package)
    session.run("yoriai", "--help", silent=True)
    session.run("yoriai", "--strict", "plugins", "--json", env={"YORIAI_PLUGINS": ""})
    # From another folder: the tests must use what is installed, not what lies beside them.
    # (nox's own create_tmp would also move every test's temporary folder into this repository.)
    with session.chdir(session.virtualenv.location):
        session.run(
            "python", "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"),
            "--rootdir", str(ROOT), str(ROOT / "packages" / package / "tests"),
        )  # fmt: skip


_ASSERT_ALONE = """
import sys
from importlib import metadata, util
names = {"corpus", "train", "eval", "domain_adapt"} - {sys.argv[1]}
found = [name for name in names if util.find_spec("yoriai_" + name)]
assert not found, f"not alone: {found}"
import yoriai
assert "site-packages" in yoriai.__file__, yoriai.__file__
print("alone with", sorted(d.name for d in metadata.distributions() if "yoriai" in d.name))
"""


@nox.session(venv_backend="none")
def wheels(session: nox.Session) -> None:
    """Build each package's wheel, install it alone, and tell size and time: ``-- core eval``."""
    names = session.posargs or list(PACKAGES)
    session.run(sys.executable, "tests/wheels.py", *names, external=True)


@nox.session(venv_backend="venv", reuse_venv=False)
def downstream(session: nox.Session) -> None:
    """A plugin as a user gets it: ``nox -s downstream -- FOLDER``, ``WHEEL`` or ``NAME``.

    It is built, installed beside this core in a fresh environment, checked, and its tests are run.
    """
    if len(session.posargs) != 1:
        session.error("name one plugin: a folder, a wheel, or a distribution")
    [given] = session.posargs
    place = Path(given).resolve()
    wheels = ROOT / "build" / "downstream"
    shutil.rmtree(wheels, ignore_errors=True)
    build = ("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels))
    session.run(*build, str(ROOT / "packages" / "core"))
    if place.is_dir():
        session.run(*build, str(place))
    elif place.is_file():
        shutil.copy(place, wheels)
    names = [str(path) for path in sorted(wheels.glob("*.whl"))]
    names += [] if place.exists() else [given]
    session.install("-q", *CONSTRAINTS, *names, "pytest", "hypothesis")
    session.run("python", "-c", _CHECK_DOWNSTREAM)
    if (place / "tests").is_dir():
        with session.chdir(session.virtualenv.location):
            session.run("python", "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(place),
                        str(place / "tests"))  # fmt: skip


_CHECK_DOWNSTREAM = """
from yoriai.conformance import check
from yoriai.plugins import load_registry
registry = load_registry()
registry.require_sound()
assert registry.plugins, "no plugin is installed: has it an entry point in the group yoriai?"
for plugin in registry.plugins:
    report = check(registry, plugin.name)
    print(f"{plugin.name} {plugin.version}: {len(report.ran)} entries were run")
    print(*(f"  not run: {name}: {why}" for name, why in report.not_run.items()), sep="\\n")
    assert not report.broken, report.broken
"""


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.install("-q", *CONSTRAINTS, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Types: strict on core, and on the others but for untyped libraries."""
    for package in PACKAGES:
        run(session, "mypy", f"packages/{package}/src")


@nox.session(venv_backend="none")
def imports(session: nox.Session) -> None:
    """Siblings are independent, and listing plugins imports nothing heavy."""
    run(session, "lint-imports", "--config", "pyproject.toml")
    run(session, "python", "-c", _ASSERT_LIGHT)


_ASSERT_LIGHT = """
import sys
from yoriai.plugins import load_registry
from yoriai.testing import HEAVY
registry = load_registry()
registry.require_sound()
found = {name.partition(".")[0] for name in sys.modules} & set(HEAVY) - {"pydantic"}
assert not found, f"listing the plugins imports {found}"
print(len(registry.plugins), "plugins listed, nothing heavy imported")
"""


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The site, in build/site: made pages, then mkdocs, strictly, weight, languages, policy."""
    run(session, "python", "docs/generate.py")
    run(session, "mkdocs", "build", "--strict", "-f", "build/mkdocs.yml", NO_MKDOCS_2_WARNING="1")
    run(session, "python", "docs/lighten.py")
    run(session, "python", "docs/languages.py")
    run(session, "python", "docs/protect.py")


@nox.session(venv_backend="none")
def records(session: nox.Session) -> None:
    """Every experiment record is valid and holds no secret."""
    run(session, "yoriai", "records", "check")


@nox.session(venv_backend="none")
def cluster(session: nox.Session) -> None:
    """Real Slurm, Grid Engine and Open MPI on this machine (root): ``nox -s cluster -- slurm``."""
    run(session, "python", "tests/cluster/run.py", *session.posargs)


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """A proof for one GPU, under eight minutes, no network; on a CPU a rehearsal that says so."""
    run(session, "python", "benchmarks/gpu.py", *session.posargs)


@nox.session(venv_backend="none")
def drills(session: nox.Session) -> None:
    """Attack at random, from kills to foreign bytes: ``nox -s drills`` (hours) ``-- short``."""
    run(session, "python", "drills/run.py", *session.posargs)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Measure one family beside its peers: ``nox -s bench -- core``."""
    # What the families have in common, nox -s gpu, and what is part of a family.
    shared = ("tables", "peers", "gpu", "search_load")
    files = (ROOT / "benchmarks").glob("[a-z]*.py")
    names = sorted(p.stem for p in files if p.stem not in shared)
    if not session.posargs or session.posargs[0] not in names:
        session.error(f"name a family: {', '.join(names)}")
    run(session, "python", f"benchmarks/{session.posargs[0]}.py", *session.posargs[1:])
