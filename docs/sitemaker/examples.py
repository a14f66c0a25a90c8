"""Examples for the contract pages, cut out of the plugin that ``tests/test_outside.py`` runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PLUGIN = Path("tests/outside/acme")
TESTS = Path("tests/outside/tests_of_acme.py")


def example_of(hook: str, kind: str, root: Path) -> str:
    """The hook of the plugin and the code it offers; empty where the plugin has none."""
    folder = root / PLUGIN
    if not (folder / "_plugin.py").is_file():
        return ""
    listing = (folder / "_plugin.py").read_text(encoding="utf-8")
    tree = ast.parse(listing)
    offered = next(
        (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == hook), None
    )
    if offered is None:
        return ""
    listing = _first_alone(listing, offered) if kind else listing
    parts = [f"# acme/_plugin.py\n{_cut(listing, ast.parse(listing), [hook])}"]
    for module, attribute in _targets(offered):
        text = (folder / f"{module}.py").read_text(encoding="utf-8")
        parts.append(f"# acme/{module}.py\n{_cut(text, ast.parse(text), [attribute])}")
        if kind:
            break
    return "\n\n\n".join(parts)


def fixture_example(root: Path) -> str:
    """The tests of that plugin, which use every fixture."""
    path = root / TESTS
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _first_alone(listing: str, hook: ast.FunctionDef) -> str:
    """The module, where this hook offers the first of its entries alone: the one that is shown."""
    last = hook.body[-1]
    if not (isinstance(last, ast.Return) and isinstance(last.value, ast.BinOp)):
        return listing
    whole = ast.get_source_segment(listing, last.value) or ""
    first = ast.get_source_segment(listing, last.value.left) or ""
    lines = listing.replace(whole, first).splitlines(keepends=True)
    start, end = hook.lineno - 1, last.lineno  # a comment there speaks of the others
    kept = [line for line in lines[start:end] if not line.lstrip().startswith("#")]
    return "".join(lines[:start] + kept + lines[end:])


def _targets(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """``("text", "Sayings")`` for each ``"text:Sayings"`` and each import in a hook."""
    for node in ast.walk(function):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            module, _, attribute = node.value.rpartition(".")[2].partition(":")
            yield module, attribute
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.module.rpartition(".")[2], alias.name


def _cut(text: str, tree: ast.Module, wanted: list[str]) -> str:
    """The named definitions, what they use of the same file, and the imports of both."""
    defined = {
        node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    defined |= {
        target.id: node
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    chosen: dict[str, ast.stmt] = {}
    waiting = list(wanted)
    used: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in chosen or name not in defined:
            continue
        chosen[name] = defined[name]
        names = {n.id for n in ast.walk(defined[name]) if isinstance(n, ast.Name)}
        used |= names
        waiting += sorted(names)
    imports = []
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            kept = [a for a in node.names if (a.asname or a.name).partition(".")[0] in used]
            if kept:
                node.names = kept
                imports.append(ast.unparse(node))
    bodies = [_text(text, node) for node in sorted(chosen.values(), key=lambda n: n.lineno)]
    return "\n".join(imports) + "\n\n\n" + "\n\n\n".join(bodies)


def _text(text: str, node: ast.stmt) -> str:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    lines = text.splitlines()[first - 1 : node.end_lineno]
    return "\n".join(line.removesuffix("  # fmt: skip") for line in lines)
