"""The code that a step can reach: what decides the bytes it makes, and nothing else.

An artifact's origin holds a digest of it. A module is reached if a reached one imports it, at any
level of its code but under ``if TYPE_CHECKING``, or names it in a text that is exactly its dotted
name (``python -m NAME``). Followed are modules of the same distribution, of the project's other
packages, and of core those that hold formats (:data:`FORMATS`): a change in how commands are
parsed makes no artifact anew. Each module counts as syntax, without comments and docstrings, in a
form that does not change with the version of Python.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from yoriai import files
from yoriai.errors import YoriaiError

# Core's modules whose rules decide bytes; the rest of core runs steps and decides none.
FORMATS = (
    "yoriai.folded_text",
    "yoriai.mixture",
    "yoriai.run_hashes",
    "yoriai.same_text",
    "yoriai.shards",
    "yoriai.text_index",
)
OURS = ("yoriai_corpus", "yoriai_train", "yoriai_eval", "yoriai_domain_adapt")
VERSION = 1  # of the form below: another one makes every artifact's origin another


def code_identities(modules: Iterable[str]) -> list[str]:
    """``distribution version+hash``, one for each package with a module that these can reach."""
    reached = reach(modules)
    packages: dict[str, list[str]] = {}
    for name in sorted(reached):
        packages.setdefault(_package_of(name), []).append(name)
    identities = []
    for package, names in packages.items():
        digest = hashlib.sha256()
        for name in names:
            digest.update(f"{name}\0{reached[name]}\0".encode())
        identities.append(f"{distribution_of(package)}+{digest.hexdigest()[:12]}")
    _keep()
    return sorted(identities)


def reach(modules: Iterable[str]) -> dict[str, str]:
    """The modules that these can reach, themselves included, each with the digest of its form."""
    found: dict[str, str] = {}
    waiting = [name.partition(":")[0] for name in modules]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        known = _modules_of(_package_of(name))
        path = known.get(name)
        if path is None:
            found[name] = ""  # __main__, a module made by hand, or one in a compiled file
            continue
        seen = _seen(path)
        found[name] = seen.digest
        is_package = path.name == "__init__.py"
        waiting += _parents(name)
        for imported in seen.names:
            waiting += _followed(imported, name, is_package)
    return found


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    if name in FORMATS:
        return  # core's own __init__ is a table of names
    for count in range(1, len(parts)):
        yield ".".join(parts[:count])


def _followed(imported: str, by: str, is_package: bool) -> Iterator[str]:
    """The modules that an imported name stands for, of those that count."""
    dots = len(imported) - len(imported.lstrip("."))
    if dots:
        base = by.split(".") if is_package else by.split(".")[:-1]
        base = base[: len(base) - dots + 1]
        imported = ".".join([*base, imported[dots:]]).strip(".")
    parts = imported.split(".")
    package = parts[0]
    if package == "yoriai" and _package_of(by) != "yoriai":
        yield from (n for n in FORMATS if imported == n or imported.startswith(f"{n}."))
        return
    if package == "yoriai" and by in FORMATS:
        yield from (n for n in FORMATS if imported == n or imported.startswith(f"{n}."))
        return
    if package not in (_package_of(by), *OURS) and (
        distribution_of(package) != distribution_of(_package_of(by))
    ):
        return
    known = _modules_of(package)
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        if name in known:
            yield name
            return


@dataclass(frozen=True, slots=True)
class _FileForm:
    """One file: the digest of its form, and the names that it imports."""

    digest: str
    names: tuple[str, ...]


@functools.cache
def _seen(path: Path) -> _FileForm:
    data = path.read_bytes()
    key = f"{VERSION}:{hashlib.sha256(data).hexdigest()}"
    kept = _kept()
    if key in kept:
        digest, names = kept[key]
        return _FileForm(digest, tuple(names))
    seen = read_form(data)
    kept[key] = (seen.digest, list(seen.names))
    _changed.append(key)
    return seen


def read_form(data: bytes) -> _FileForm:
    """The form of a module's source, and the names it imports; of broken source the bytes."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError):
        return _FileForm(hashlib.sha256(data).hexdigest(), ())
    words: list[str] = []
    _write(tree, words)
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()
    return _FileForm(digest, tuple(sorted(set(_imports(tree)))))


def _write(node: ast.AST, words: list[str]) -> None:
    """Put a tree into words: kinds of nodes and their fields that hold anything, in order.

    ``ast.dump`` would tell empty fields, which differ between versions of Python.
    """
    if isinstance(node, ast.Constant):
        words.append(repr(node.value))
        return
    words.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in ("ctx", "kind", "type_comment"):
            continue
        words.append(name)
        if isinstance(value, ast.AST):
            _write(value, words)
        elif isinstance(value, list):
            items = value
            if name == "body" and isinstance(
                node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
            ):
                items = value[1:] if _is_docstring(value[0]) else value
            for item in items:
                if isinstance(item, ast.AST):
                    _write(item, words)
                else:
                    words.append(repr(item))
        else:
            words.append(repr(value))
    words.append(")")


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imports(tree: ast.AST) -> Iterator[str]:
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            joint = "" if base.endswith(".") or not base else "."
            yield from (f"{base}{joint}{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.partition(":")[0]
            if "." in text and len(text) < 200 and all(p.isidentifier() for p in text.split(".")):
                yield text
        waiting += ast.iter_child_nodes(node)


# --- which modules there are ------------------------------------------------------------------


def _package_of(module: str) -> str:
    return module.partition(".")[0]


@functools.cache
def _modules_of(package: str) -> Mapping[str, Path]:
    """The modules of a package that have a source file, by name."""
    try:
        spec = util.find_spec(package)
    except (ValueError, ImportError):  # __main__, and modules made by hand, have none
        spec = None
    if spec is None:
        return {}
    if spec.submodule_search_locations is None:
        return {package: Path(str(spec.origin))} if spec.has_location else {}
    found: dict[str, Path] = {}
    for root in sorted(spec.submodule_search_locations):
        for path in sorted(Path(root).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found.setdefault(".".join((package, *parts)), path)
    return found


@functools.cache
def distribution_of(package: str) -> str:
    """``distribution version`` of the one that brings a package; the package itself if none."""
    owners = _owners().get(package, [])
    return f"{owners[0]} {metadata.version(owners[0])}" if owners else package


@functools.cache
def _owners() -> dict[str, list[str]]:
    owners = {name: list(found) for name, found in metadata.packages_distributions().items()}
    # Packages installed in place may list no files; the project's own follow one rule.
    for name in ("core", "corpus", "train", "eval", "domain-adapt"):
        module = "yoriai" if name == "core" else "yoriai_" + name.replace("-", "_")
        owners.setdefault(module, []).insert(0, f"yoriai-{name}")
    return owners


# --- what was read before: parsing all modules of the project takes a second or two -------------

_changed: list[str] = []


@functools.cache
def _kept() -> dict[str, tuple[str, list[str]]]:
    """Forms by the digest of the bytes they are of, from the user's cache."""
    try:
        value = json.loads(_place().read_bytes())
        return {
            str(key): (str(digest), [str(name) for name in names])
            for key, (digest, names) in value.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep() -> None:
    """Write what was read for the next time; a cache that cannot be written is none."""
    if not _changed:
        return
    _changed.clear()
    with contextlib.suppress(OSError, YoriaiError):
        _place().parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(_place(), json.dumps(_kept()).encode())


def _place() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "yoriai" / "code.json"


def forget() -> None:
    """Read every file again: for a process in which sources change."""
    for cached in (_seen, _modules_of, distribution_of, _owners, _kept):
        cached.cache_clear()
