"""Contracts: one page for each thing that an author of a plugin writes.

A kind's class is read from the docstring of its hook ("The target is a :class:`yoriai.Source`"), so
a new kind has its page as soon as it has its hook. The text is that of the docstrings; in Japanese
it is ``contracts_ja.yaml``, and what is not there yet stands in English, marked.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import yoriai
from sitemaker.examples import example_of, fixture_example
from sitemaker.keys import keys_table
from sitemaker.markdown import code, plain, slug, table
from sitemaker.project import REPOSITORY
from sitemaker.signatures import (
    MARKS,
    annotations_of,
    class_variables,
    hints_of,
    is_shown,
    is_unwritten,
    methods_of,
    outline,
    owner_of,
    signature_line,
    types_inside,
)
from yoriai import entry, hookspecs, testing
from yoriai.plain_markdown import escape
from yoriai.registry import Registry, singular

LABELS = ("Called", "Ranks", "Errors")


SHOWN = 12  # real implementations on a page; the reference has them all


Words = Mapping[str, Any]


@dataclass(frozen=True)
class Contract:
    """One page: what an author writes, the hook that offers it, and the class it fulfils."""

    name: str
    hook: str = ""
    kind: str = ""
    target: type | None = None
    only: tuple[str, ...] = ()  # these methods, where a page is about a part of a class
    shown: tuple[type, ...] = ()  # types it hands over, beyond those of its signatures


def list_contracts() -> list[Contract]:
    """Every kind of entry, then what else an author writes."""
    from yoriai import artifact, explaining, page

    found = [_of_kind(kind) for kind in entry.KINDS]
    tasks = next(one for one in found if one.kind == "tasks")
    metric = dataclasses.replace(tasks, name="metric", only=("askings", "score", "scores", "rank"))
    shown = (page.Section, page.Table, page.Figure, artifact.Artifact)
    section = Contract("section", "yoriai_sections", shown=shown)
    hop = Contract("hop", "yoriai_hops", shown=(explaining.Point, explaining.Hop))
    return [
        *found,
        metric,
        section,
        hop,
        Contract("facts", "yoriai_run_started"),
        Contract("fixture"),
    ]


def _of_kind(kind: str) -> Contract:
    hook = f"yoriai_{kind}"
    named = re.search(r"target is an? :class:`yoriai\.(\w+)`", _hook_doc(hook))
    target = getattr(yoriai, named[1]) if named else None
    return Contract(singular(kind), hook, kind, target)


def _hook_doc(hook: str) -> str:
    return inspect.getdoc(getattr(hookspecs, hook, None)) or "" if hook else ""


def contract_pages(registry: Registry, root: Path) -> dict[str, str]:
    """The pages in both languages, and their two indexes."""
    told = yaml.safe_load(Path(__file__).with_name("contracts_ja.yaml").read_text("utf-8"))
    contracts = list_contracts()
    pages = {}
    for language, words in (("en", _ENGLISH), ("ja", told)):
        page = _Page(language, words, registry, root)
        pages[f"{language}/contracts/index.md"] = page.index(contracts)
        for one in contracts:
            pages[f"{language}/contracts/{one.name}.md"] = page.write(one)
    return pages


_ENGLISH: Words = {
    "about": {
        "metric": "A task computes its own metrics. The first that `askings` names under `metrics` "
        "is the score; all are kept, with intervals.",
    },
    "Called": {"metric": "In the process that scores, once for each answer."},
    "labels": {
        "title": "Contracts",
        "index": "What an author of a plugin writes, one page for each thing. A class imports "
        "nothing but `yoriai`, and needs to know nothing else of this project.",
        "kit": "[Contribute a plugin](../plugin.md) begins with one that works. "
        "`yoriai_conformance` runs yours and tells what it breaks.",
        "Called": "When it is called",
        "Ranks": "On which ranks",
        "Errors": "Errors",
        "question": "question",
        "answer": "answer",
        "what": "what you write",
        "is": "what it is",
        "offered": "A plugin offers it with the hook",
        "import": "It is imported with",
        "must": "What you write",
        "may": "What you may override",
        "given": "What is there already",
        "says": "What the class says of itself",
        "keys": "Keys that all have",
        "identity": "`version` is part of every result's identity: raise it when the same input "
        "gives another result. `circumstances` names the keys that say how the work is done and "
        "not what it makes; runs of the same thing may differ in them.",
        "entry": "What every catalogue hook returns",
        "raised": "What you raise",
        "raises": "They are imported from `yoriai` and take a message and a `hint`, a line to type "
        "next. Whatever else is raised is told as your plugin's, with file and line.",
        "errors": ("name", "exit code", "for"),
        "for": {
            "YoriaiError": "work that failed",
            "UsageError": "a value or a request that cannot be",
            "NotFound": "what is not here",
            "Refused": "what is here and may not be used",
            "WorkerLost": "an engine's worker that died",
        },
        "types": "What it is handed, and gives",
        "example": "Example",
        "run": "The project's tests install this plugin and run it (`tests/test_outside.py`).",
        "real": "Real ones",
        "more": "more",
        "source": "source",
        "untold": "",
        "columns": ("name", "type", "value"),
    },
}


class _Page:
    """Writes pages in one language."""

    def __init__(self, language: str, words: Words, registry: Registry, root: Path) -> None:
        self.language = language
        self.words = words
        self.label: Mapping[str, Any] = words["labels"]
        self.registry = registry
        self.root = root

    def index(self, contracts: Sequence[Contract]) -> str:
        rows = [
            (f"[{self.title(one)}]({one.name}.md)", self.summary(one), self._hook_link(one))
            for one in contracts
        ]
        columns = (self.label["what"], self.label["is"], "hook")
        parts = [f"# {self.label['title']}", self.label["index"], self.label["kit"]]
        entry_outline = f"```python\nfrom yoriai import Entry\n\n{outline(entry.Entry)}\n```"
        raised = [
            (code(name), str(getattr(yoriai, name).exit_code), text)
            for name, text in self.label["for"].items()
        ]
        return "\n\n".join(
            [
                *parts,
                table(columns, rows),
                f"## {self.label['entry']}",
                self._told("types", "Entry", split_labels(inspect.getdoc(entry.Entry) or "")[0]),
                entry_outline,
                f"## {self.label['raised']}",
                self.label["raises"],
                table(self.label["errors"], raised),
            ]
        )

    def title(self, contract: Contract) -> str:
        titles: Mapping[str, str] = self.words.get("titles", {})
        return titles.get(contract.name, contract.name.capitalize())

    def summary(self, contract: Contract) -> str:
        text = _hook_doc(contract.hook) or inspect.getdoc(testing) or ""
        if contract.name == "metric":
            text = "A value for each answer, and which of them is the score."
        first = plain(text).partition("\n\n")[0].split(". ")[0].rstrip(".") + "."
        return self._told("summaries", contract.name, first)

    def write(self, contract: Contract) -> str:
        parts = [f"# {self.title(contract)}", self.summary(contract)]
        if contract.name == "fixture":
            return "\n\n".join([*parts, *self._fixtures()])
        parts += list(self._offered(contract))
        body, told = split_labels(_text_of(contract))
        parts += [self._told("about", contract.name, body)] if body else []
        rows = [
            (f"**{self.label[name]}**", self._told(name, contract.name, told[name]))
            for name in LABELS
            if name in told
        ]
        parts += [table((self.label["question"], self.label["answer"]), rows)] if rows else []
        if contract.target is not None:
            parts += list(self._class(contract))
        parts += list(self._types(contract))
        parts += list(self._example(contract))
        return "\n\n".join([*parts, *self._real(contract)])

    def _told(self, group: str, name: str, english: str) -> str:
        """The text of this language; the English one, marked, where it is not told yet."""
        own = (self.words.get(group) or {}).get(name)
        if own or not english:
            return str(own or "").strip()
        if group in LABELS:
            english = english[:1].upper() + english[1:]
        return f"{english}{self.label['untold']}"

    def _hook_link(self, contract: Contract) -> str:
        if not contract.hook:
            return ""
        return f"[`{contract.hook}`](../../reference/hooks.md#{slug(contract.hook)})"

    def _offered(self, contract: Contract) -> Iterator[str]:
        yield f"{self.label['offered']} {self._hook_link(contract)}."
        if contract.target is not None:
            line = f"from yoriai import {contract.target.__name__}"
            yield f"{self.label['import']} `{line}`."

    def _class(self, contract: Contract) -> Iterator[str]:
        assert contract.target is not None
        methods = [
            m for m in methods_of(contract.target) if not contract.only or m[0] in contract.only
        ]
        must = [m for m in methods if is_unwritten(m[1])]
        may = [m for m in methods if not is_unwritten(m[1])]
        for label, group in (("must", must), ("may", may)):
            if group:
                yield f"## {self.label[label]}"
            for name, function in group:
                yield from self._method(contract.target, name, function)
        if contract.only:
            return
        if rows := list(class_variables(contract.target)):
            yield f"## {self.label['says']}"
            yield table(self.label["columns"], rows)
            yield self.label["identity"]
        if getattr(contract.target, "model_fields", None):
            yield f"## {self.label['keys']}"
            yield keys_table(contract.target).replace("](", "](../../reference/")

    def _method(self, target: type, name: str, function: Any) -> Iterator[str]:
        yield f"### {name}"
        mark = MARKS.get(type(inspect.getattr_static(target, name)), "")
        yield f"```python\n{mark}{signature_line(name, function)}\n```"
        text, _ = split_labels(inspect.getdoc(function) or "")
        yield self._told("methods", f"{owner_of(target, name)}.{name}", text)

    def _types(self, contract: Contract) -> Iterator[str]:
        found = list(dict.fromkeys([*_types_of(contract), *contract.shown]))
        if found:
            yield f"## {self.label['types']}"
        for one in found:
            yield f"### {one.__name__}"
            text, _ = split_labels(inspect.getdoc(one) or "")
            yield self._told("types", one.__name__, text)
            yield f"```python\n{outline(one)}\n```"

    def _example(self, contract: Contract) -> Iterator[str]:
        if text := example_of(contract.hook, contract.kind, self.root):
            yield f"## {self.label['example']}"
            yield self.label["run"]
            yield f"```python\n{text}\n```"

    def _real(self, contract: Contract) -> Iterator[str]:
        if contract.name == "metric" or not contract.kind:
            return
        found = self.registry.found(contract.kind)
        yield f"## {self.label['real']}"
        commands = contract.kind == "commands"
        page = f"../../reference/{contract.kind}{'/index' if commands else ''}.md"
        lines = []
        for one in found[:SHOWN]:
            place = f"{page}#{slug(one.name)}"
            if commands:
                noun, dot, _ = one.entry.name.partition(".")
                typed = (one.entry.name if dot else one.name).replace("/", " ").replace(".", " ")
                noun = noun if dot else one.plugin
                place = f"../../reference/commands/{noun}.md#{slug(f'yoriai {typed}')}"
            source = self._source(one.entry.target)
            lines.append(f"* [`{one.name}`]({place}): {escape(one.entry.summary)}{source}")
        if len(found) > SHOWN:
            lines.append(f"* [{len(found) - SHOWN} {self.label['more']}]({page})")
        yield "\n".join(lines)

    def _source(self, target: str) -> str:
        module = target.partition(":")[0].replace(".", "/")
        for path in sorted(self.root.glob(f"p*/*/src/{module}.py")):
            place = path.relative_to(self.root).as_posix()
            return f" ([{self.label['source']}]({REPOSITORY}/blob/main/{place}))"
        return ""

    def _fixtures(self) -> Iterator[str]:
        yield self._told("about", "fixture", plain(testing.__doc__).partition("\n\n")[2])
        yield f"## {self.label['given']}"
        for name, text, signature in list_fixtures():
            yield f"### {name}"
            yield f"```python\n{signature}\n```"
            yield self._told("fixtures", name, text)
        if text := fixture_example(self.root):
            yield f"## {self.label['example']}"
            yield f"```python\n{text}\n```"


def split_labels(docstring: str) -> tuple[str, dict[str, str]]:
    """A docstring's own text, and what it says under each of :data:`LABELS`."""
    parts = re.split(rf"^({'|'.join(LABELS)}): ", inspect.cleandoc(docstring), flags=re.MULTILINE)
    told = {
        name: " ".join(plain(text).split())
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    return plain(parts[0]).strip(), told


def _text_of(contract: Contract) -> str:
    if contract.target is None:
        return _hook_doc(contract.hook).partition("\n\n")[2]
    return inspect.getdoc(contract.target) or ""


def list_fixtures() -> list[tuple[str, str, str]]:
    """Name, text and type of each fixture of the test kit."""
    tree = ast.parse(inspect.getsource(testing))
    rows = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("yoriai_"):
            text = plain(ast.get_docstring(node))
            rows.append((node.name, text, f"{node.name}: {ast.unparse(node.returns or node)}"))
    return rows


def _types_of(contract: Contract) -> Iterator[type]:
    """The classes of ``yoriai`` in the signatures, and what those hold in turn."""
    if contract.target is None:
        return
    waiting: list[Any] = []
    for name, function in methods_of(contract.target):
        if not contract.only or name in contract.only:
            waiting += list(annotations_of(function))
    seen: list[type] = []
    while waiting:
        one = waiting.pop(0)
        known = isinstance(one, type) and one.__module__.startswith("yoriai.")
        if not known or one in seen or one is contract.target:
            continue
        seen.append(one)
        if is_shown(one):
            yield one
            if dataclasses.is_dataclass(one):
                waiting += [t for hint in hints_of(one).values() for t in types_inside(hint)]
            elif not hasattr(one, "model_fields"):
                for _, function in methods_of(one):
                    waiting += list(annotations_of(function))
