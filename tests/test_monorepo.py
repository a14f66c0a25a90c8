"""What must stay true of the repository as a whole."""

from __future__ import annotations

import ast
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "corpus", "train", "eval", "domain_adapt")


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_six_distributions_have_one_version() -> None:
    folders = [ROOT, *(ROOT / "packages" / name for name in PACKAGES)]
    versions = {project(folder)["version"] for folder in folders}
    import yoriai

    assert versions == {yoriai.__version__}
    assert f"version: {yoriai.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_the_packages_depend_on_core_and_on_no_sibling() -> None:
    for name in PACKAGES[1:]:
        needs = [d for d in project(ROOT / "packages" / name)["dependencies"] if "yoriai" in d]
        assert needs == ["yoriai-core==0.1.*"], name


def test_core_depends_on_nothing_heavy() -> None:
    needs = project(ROOT / "packages/core")["dependencies"]
    names = {re.split(r"[<>=\[]", need)[0].lower() for need in needs}
    assert names == {"pluggy", "click", "pydantic", "pyyaml", "rich", "packaging", "markupsafe"}


def test_both_readmes_and_the_ci_have_the_same_test_command() -> None:
    command = "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox -s tests"
    for name in ("README.md", "README.ja.md", ".ci/run"):
        assert command in (ROOT / name).read_text(encoding="utf-8"), name


def test_every_package_carries_its_licence_and_its_type_marker() -> None:
    for name in PACKAGES:
        folder = ROOT / "packages" / name
        assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
        assert list(folder.glob("src/*/py.typed"))


def test_every_distribution_says_whose_it_is_where_it_lives_and_what_it_is_about() -> None:
    for folder in [ROOT, *(ROOT / "packages" / name for name in PACKAGES)]:
        told = project(folder)
        assert set(told["urls"]) == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
        for key in ("description", "readme", "authors", "maintainers", "keywords"):
            assert told[key], f"{folder.name}: {key}"
        assert (told["license"], told["license-files"]) == ("Apache-2.0", ["LICENSE"])
        assert any(c.startswith("Development Status") for c in told["classifiers"])


def test_constraints_pin_torch_and_every_direct_dependency() -> None:
    text = (ROOT / "constraints.txt").read_text()
    pinned = {
        re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()
        for line in text.splitlines()
        if "==" in line
    }
    assert "torch==2.13.0" in text.splitlines()
    for name in PACKAGES:
        for need in project(ROOT / "packages" / name)["dependencies"]:
            word = re.sub(r"[-_.]+", "-", re.split(r"[<>=\[; ]", need)[0]).lower()
            assert word.startswith("yoriai") or word in pinned, need


def test_no_source_file_is_too_long_to_read_in_one_sitting() -> None:
    for path in ROOT.glob("packages/*/src/**/*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path


def test_a_class_name_stands_once_in_the_project() -> None:
    places: dict[str, list[str]] = {}
    for file in sorted(ROOT.glob("packages/*/src/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{file.relative_to(ROOT)}:{node.lineno}")
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert not twice, twice


def test_no_tool_passes_over_a_folder_of_ours(pytestconfig) -> None:
    # pytest's and ruff's own lists both hold "build", which is the name of a room of corpus.
    passed_over = {
        "pytest": pytestconfig.getini("norecursedirs"),
        "ruff": tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"][
            "exclude"
        ],
    }
    ours = {
        part
        for top in ("packages", "plugins", "tests", "docs", "benchmarks", "drills")
        for path in (ROOT / top).rglob("*.py")
        for part in path.relative_to(ROOT).parts[:-1]
    }
    assert "build" in ours
    for tool, patterns in passed_over.items():
        assert not [o for o in ours for p in patterns if fnmatch(o, p)], tool
