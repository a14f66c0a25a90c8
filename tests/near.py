"""Which tests a change can break, nearest first: what ``nox -s near`` runs.

The code is read as syntax and not imported. A test file reaches a module when it imports it, itself
or through others, or when it writes the name of an entry (``"corpus/tokens"``) whose class stands
there. Steps are counted, and a file is near when few of them lie between it and a changed file:

====  ==========================================================================
rank  a test file of this rank
====  ==========================================================================
0     was changed itself
1     has the name and the room of a changed module, or imports it
2     lies in the room of a changed file, or belongs to a changed file that is not a module
3     reaches a changed module over two steps
n     reaches it over n - 1
====  ==========================================================================

What is left out is counted and said. ``pytest`` runs the rest in continuous integration.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("core", "corpus", "train", "eval", "domain_adapt")
MOST_FILES = 24
"""How many test files are collected at most; about as many as so many seconds hold."""
SECONDS = 25
"""After so long no further test is begun (see ``--begin-within`` in the root ``conftest.py``)."""

TARGET = re.compile(r"[a-z_][\w.]*:\w+")
ENTRY = re.compile(r"[a-z][\w-]*/[a-z][\w-]*")
BESIDE = {
    "README": ("tests/test_docs.py", "tests/test_monorepo.py"),
    "CONTRIBUTING": ("tests/test_docs.py",),
    "docs/": ("tests/test_docs.py", "tests/test_architecture.py"),
    "mkdocs.yml": ("tests/test_docs.py",),
    "noxfile.py": ("tests/test_docs.py", "tests/test_monorepo.py"),
    "recipes/": ("tests/test_recipes.py", "tests/test_docs.py"),
    "records/": ("packages/core/tests/test_records.py",),
    "constraints.txt": ("tests/test_monorepo.py",),
    "pyproject.toml": ("tests/test_monorepo.py",),
}
"""What a file that is no module belongs to: the start of its path, and test files."""


@dataclass(frozen=True)
class Tree:
    """The modules of the packages, the test files, and what each of them uses."""

    modules: Mapping[str, str]
    """From the path of a source file to the name of its module."""
    uses: Mapping[str, frozenset[str]]
    """From a module's name, or a test file's path, to the modules that it names."""
    counts: Mapping[str, int]
    """From a test file's path to the number of test functions written in it."""


@dataclass(frozen=True)
class Choice:
    """The test files to run, nearest first, and what is left to continuous integration."""

    run: tuple[str, ...]
    left: tuple[str, ...]
    """Test files that a change can break but that are further away than the limit allows."""
    unreached: int
    """Test files that no changed file was found to reach."""
    unknown: tuple[str, ...]
    """Changed files to which no test file is known to belong."""


def module_of(path: str) -> str:
    """The module of ``packages/P/src/M/ROOM/file.py``, and ``""`` for any other path.

    >>> module_of("packages/corpus/src/yoriai_corpus/text/fold.py")
    'yoriai_corpus.text.fold'
    """
    parts = path.split("/")
    if len(parts) < 5 or parts[0] != "packages" or parts[2] != "src" or not path.endswith(".py"):
        return ""
    names = [*parts[3:-1], parts[-1].removesuffix(".py")]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def room_of(path: str) -> tuple[str, str]:
    """Package and room of a source or test file; the room is ``""`` in core and at the top.

    >>> room_of("packages/eval/tests/tasks/test_ranked.py")
    ('eval', 'tasks')
    >>> room_of("packages/eval/src/yoriai_eval/tasks/ranked.py")
    ('eval', 'tasks')
    """
    parts = path.split("/")
    if len(parts) < 4 or parts[0] != "packages" or parts[2] not in ("src", "tests"):
        return ("", "")
    inside = parts[4:] if parts[2] == "src" else parts[3:]
    return (parts[1], inside[0] if len(inside) > 1 else "")


def is_test(path: str) -> bool:
    """Whether pytest collects the file."""
    name = path.rpartition("/")[2]
    return name.startswith("test_") and name.endswith(".py")


def statements(code: ast.AST) -> Iterator[ast.AST]:
    """Every statement of the code, at any depth; expressions, most of a tree, are not entered."""
    waiting = [code]
    while waiting:
        node = waiting.pop()
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            below = getattr(node, part, ())
            waiting.extend(below if isinstance(below, list) else ())


def imports_of(code: ast.AST, modules: Iterable[str], package: str = "") -> set[str]:
    """The modules among ``modules`` that the code imports anywhere, also inside functions.

    ``package`` is the one against which relative imports are resolved. What is imported only for
    the types (under ``TYPE_CHECKING``) counts: it costs a few tests and hides none.
    """
    known, found = set(modules), set()
    for node in statements(code):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = ".".join([*(above if node.level else []), *([node.module or ""])]).strip(".")
            for alias in node.names:
                whole = f"{start}.{alias.name}"
                found |= {whole if whole in known else start} & known
    return found


def entries_of(code: ast.AST, package: str, modules: Iterable[str]) -> dict[str, set[str]]:
    """From the names of a ``_plugin.py``'s entries (``corpus/tokens``) to their modules.

    A step and a command may have one name.
    """
    known: set[str] = set(modules)
    found: dict[str, set[str]] = {}
    plugin = package.removeprefix("yoriai_").replace("_", "-")
    for node in ast.walk(code):
        words: list[ast.expr] = []
        if isinstance(node, ast.Call):
            words = [*node.args, *(word.value for word in node.keywords)]
        elif isinstance(node, ast.Tuple):
            words = node.elts
        texts = [w.value for w in words if isinstance(w, ast.Constant) and isinstance(w.value, str)]
        targets = [text for text in texts if TARGET.fullmatch(text)]
        if texts and targets:
            place = targets[0].partition(":")[0]
            for whole in (place, f"{package}.{place}", f"{package}.steps.{place}"):
                if whole in known:
                    found.setdefault(f"{plugin}/{texts[0]}", set()).add(whole)
    return found


def read_tree(root: Path) -> Tree:
    """Read the packages' sources and all test files below ``root``.

    A file that does not parse uses nothing; pytest says what is wrong with it.
    """
    paths = [p.relative_to(root).as_posix() for p in root.glob("packages/*/src/**/*.py")]
    modules = {path: name for path in sorted(paths) if (name := module_of(path))}
    tests = [p for top in ("packages", "plugins", "tests") for p in (root / top).rglob("test_*.py")]
    tests = sorted(p.relative_to(root).as_posix() for p in tests)
    codes = {path: _parse(root / path) for path in [*modules, *tests]}
    names, uses, entries = set(modules.values()), {}, {}
    for path, name in modules.items():
        package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
        uses[name] = frozenset(imports_of(codes[path], names, package) - {name})
        if path.endswith("/_plugin.py"):
            entries |= entries_of(codes[path], package, names)
    counts = {}
    for path in tests:
        named = set(ENTRY.findall((root / path).read_text(encoding="utf-8", errors="replace")))
        by_entry = {module for word in named & set(entries) for module in entries[word]}
        uses[path] = frozenset(imports_of(codes[path], names) | by_entry)
        functions = [n.name for n in statements(codes[path]) if isinstance(n, ast.FunctionDef)]
        counts[path] = sum(name.startswith("test_") for name in functions)
    return Tree(modules, uses, counts)


def _parse(path: Path) -> ast.AST:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return ast.Module(body=[], type_ignores=[])


def steps_from(changed: Iterable[str], uses: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """How many steps each user is away from the nearest changed module (which is 0 away)."""
    users: dict[str, list[str]] = {}
    for user, used in uses.items():
        for name in used:
            users.setdefault(name, []).append(user)
    steps = dict.fromkeys(changed, 0)
    edge = list(steps)
    while edge:
        following = []
        for name in edge:
            for user in users.get(name, ()):
                if user not in steps:
                    steps[user] = steps[name] + 1
                    following.append(user)
        edge = following
    return steps


def rank_tests(changed: Iterable[str], tree: Tree) -> tuple[dict[str, int], list[str]]:
    """The rank of each test file that is reached (see the table above), and unknown paths."""
    ranks: dict[str, int] = {}
    unknown: list[str] = []

    def place(path: str, rank: int) -> None:
        ranks[path] = min(rank, ranks.get(path, rank))

    changed = sorted(set(changed))
    names = {module_of(path) for path in changed} - {""}
    # A module that is gone is named by nobody in the tree but the tests that must change too.
    steps = steps_from(names, tree.uses)
    for test in tree.counts:
        if test in steps:
            place(test, steps[test] if steps[test] == 1 else steps[test] + 1)
    for path in changed:
        stem = path.rpartition("/")[2].removesuffix(".py")
        package, room = room_of(path)
        own = [t for t in tree.counts if package and room_of(t)[0] == package]
        if path in tree.counts:
            place(path, 0)
        elif is_test(path):
            continue  # a test file that is gone
        elif package and ("/src/" in path or room):
            # At the top of a package the room would be the whole of it: only the namesake.
            for test in own:
                if room_of(test)[1] == room and test.endswith(f"/test_{stem}.py"):
                    place(test, 1)
                elif room_of(test)[1] == room and room:
                    place(test, 2)
        elif package:  # what all tests of the package share: conftest.py
            for test in own:
                place(test, 2)
        elif path.startswith(("plugins/", "tests/")):
            folder = (
                "/".join(path.split("/")[:2]) + "/" if path.startswith("plugins/") else "tests/"
            )
            for test in (t for t in tree.counts if t.startswith(folder)):
                place(test, 1 if test.endswith(f"/test_{stem}.py") else 2)
        beside = [
            test
            for start, tests in BESIDE.items()
            for test in tests
            if test in tree.counts and (path.startswith(start) or path.endswith("/" + start))
        ]
        for test in beside:
            place(test, 2)
        if not beside and not path.startswith(("packages/", "plugins/", "tests/")):
            unknown.append(path)
    return ranks, unknown


def choose(changed: Iterable[str], tree: Tree, most_files: int = MOST_FILES) -> Choice:
    """The nearest test files, at most ``most_files``; changed test files always come first."""
    changed = list(changed)
    ranks, unknown = rank_tests(changed, tree)
    packages = {room_of(path)[0] for path in changed}

    def nearness(path: str) -> tuple[int, bool, int, str]:
        # Among equals the package's own come first, and then the file that uses fewer modules:
        # it says more about the changed one.
        return (ranks[path], room_of(path)[0] not in packages, len(tree.uses[path]), path)

    order = sorted(ranks, key=nearness)
    return Choice(
        run=tuple(order[:most_files]),
        left=tuple(order[most_files:]),
        unreached=len(tree.counts) - len(order),
        unknown=tuple(unknown),
    )


def told(choice: Choice, tree: Tree) -> list[str]:
    """What is run and what is left out, as lines for a person."""
    run, left = (sum(tree.counts[path] for path in paths) for paths in (choice.run, choice.left))
    lines = [f"near: {len(choice.run)} test files with {run} test functions, nearest first"]
    if choice.left:
        lines.append(
            f"left to CI, reached but further away: {len(choice.left)} files with {left} functions"
        )
    lines.append(f"left to CI, not reached: {choice.unreached} files, and every test marked slow")
    if choice.unknown:
        lines.append(f"no test is known for: {', '.join(choice.unknown)}")
    return lines


def changed_files(root: Path) -> tuple[str, list[str]]:
    """The commit that is compared with, and the paths changed since, also uncommitted and new.

    Raises ``SystemExit`` when neither ``main`` nor ``origin/main`` is known to git.
    """

    def git(*words: str) -> list[str]:
        told = subprocess.run(
            ["git", "-c", "core.quotePath=off", *words], cwd=root, capture_output=True, text=True
        )
        if told.returncode:
            raise OSError(told.stderr.strip())
        return told.stdout.splitlines()

    for name in ("main", "origin/main"):
        try:
            (base,) = git("merge-base", name, "HEAD")
            break
        except OSError:
            continue
    else:
        sys.exit("near: git knows neither main nor origin/main: git fetch origin main:main")
    changed = git("diff", "--name-only", "--no-renames", base)
    return base, changed + git("ls-files", "--others", "--exclude-standard")


def main(words: list[str]) -> int:
    """Choose by git, or by the paths that are given; run pytest; return its exit code."""
    root = Path(__file__).parent.parent
    base, changed = ("", words) if words else changed_files(root)
    tree = read_tree(root)
    choice = choose(changed, tree)
    since = f" since {base[:10]}" if base else ""
    print(f"{len(changed)} changed files{since}", *told(choice, tree), sep="\n", flush=True)
    if not choice.run:
        return 0
    command = [
        sys.executable, "-m", "pytest", "-q", "-m", "not slow", "--hypothesis-profile", "near",
        f"--begin-within={SECONDS}", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder",
        *choice.run,
    ]  # fmt: skip
    code = subprocess.run(command, cwd=root).returncode
    return 0 if code == 5 else code  # 5: all that was chosen is marked slow, and that is said


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
