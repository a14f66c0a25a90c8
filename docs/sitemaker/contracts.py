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
import sys
import typing
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
from yoriai import entry, hookspecs, testing
from yoriai.plain_markdown import escape
from yoriai.registry import Registry, singular

LABELS = ("Called", "Ranks", "Errors")
MARKS = {property: "@property\n", classmethod: "@classmethod\n"}
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
        entry_outline = f"```python\nfrom yoriai import Entry\n\n{_outline(entry.Entry)}\n```"
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
            m for m in _methods(contract.target) if not contract.only or m[0] in contract.only
        ]
        must = [m for m in methods if _is_unwritten(m[1])]
        may = [m for m in methods if not _is_unwritten(m[1])]
        for label, group in (("must", must), ("may", may)):
            if group:
                yield f"## {self.label[label]}"
            for name, function in group:
                yield from self._method(contract.target, name, function)
        if contract.only:
            return
        if rows := list(_class_variables(contract.target)):
            yield f"## {self.label['says']}"
            yield table(self.label["columns"], rows)
            yield self.label["identity"]
        if getattr(contract.target, "model_fields", None):
            yield f"## {self.label['keys']}"
            yield keys_table(contract.target).replace("](", "](../../reference/")

    def _method(self, target: type, name: str, function: Any) -> Iterator[str]:
        yield f"### {name}"
        mark = MARKS.get(type(inspect.getattr_static(target, name)), "")
        yield f"```python\n{mark}{_signature(name, function)}\n```"
        text, _ = split_labels(inspect.getdoc(function) or "")
        yield self._told("methods", f"{_owner(target, name)}.{name}", text)

    def _types(self, contract: Contract) -> Iterator[str]:
        found = list(dict.fromkeys([*_types_of(contract), *contract.shown]))
        if found:
            yield f"## {self.label['types']}"
        for one in found:
            yield f"### {one.__name__}"
            text, _ = split_labels(inspect.getdoc(one) or "")
            yield self._told("types", one.__name__, text)
            yield f"```python\n{_outline(one)}\n```"

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
        page = f"../../reference/{contract.kind}.md"
        lines = []
        for one in found[:SHOWN]:
            words = f"yoriai {one.name.replace('/', ' ').replace('.', ' ')}"
            anchor = slug(words if contract.kind == "commands" else one.name)
            if contract.kind == "commands" and "." in one.entry.name:
                anchor = slug("yoriai " + one.entry.name.replace(".", " "))
            source = self._source(one.entry.target)
            lines.append(f"* [`{one.name}`]({page}#{anchor}): {escape(one.entry.summary)}{source}")
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


def _methods(target: type) -> list[tuple[str, Any]]:
    """Public methods of a contract, bases of the project included, those of pydantic not."""
    rows: dict[str, Any] = {}
    for base in target.__mro__:
        if not base.__module__.startswith("yoriai"):
            continue
        for name, item in vars(base).items():
            function = item.fget if isinstance(item, property) else item
            function = getattr(function, "__func__", function)
            own = inspect.isfunction(function) and function.__module__.startswith("yoriai")
            if own and not name.startswith("_"):
                rows.setdefault(name, function)
    rows.pop("entry", None)
    return list(rows.items())


def _owner(target: type, name: str) -> str:
    return next(base.__name__ for base in target.__mro__ if name in vars(base))


def _is_unwritten(function: Any) -> bool:
    """Whether a method only says what it is: it raises NotImplementedError, or has no body."""
    node = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    last = node.body[-1]
    if isinstance(last, ast.Raise):
        return ast.unparse(last) == "raise NotImplementedError"
    return isinstance(last, ast.Expr) and ast.unparse(last) == "..."


class _Bare(str):
    """A text that is shown without quotes in a signature."""

    def __repr__(self) -> str:
        return str(self)


def signature_of(function: Any) -> str:
    """The signature of a function, with annotations and defaults as its author wrote them."""
    told = inspect.signature(function)

    def bare(annotation: Any) -> Any:
        return _Bare(annotation) if isinstance(annotation, str) else annotation

    rows = [p.replace(annotation=bare(p.annotation)) for p in told.parameters.values()]
    return str(told.replace(parameters=rows, return_annotation=bare(told.return_annotation)))


def _signature(name: str, function: Any) -> str:
    return f"def {name}{signature_of(function)}: ..."


def spelt_out(annotation: str, module: str) -> str:
    """An annotation in which a name for a choice of words (``Cut``) is that choice."""
    names = vars(sys.modules[module])

    def choice(match: re.Match[str]) -> str:
        value = names.get(match[0])
        return f"Literal{list(typing.get_args(value))}" if _is_choice(value) else match[0]

    return re.sub(r"\b[A-Z]\w+\b", choice, annotation)


def _is_choice(value: Any) -> bool:
    return typing.get_origin(value) is typing.Literal


def _class_variables(target: type) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for base in target.__mro__:
        if not base.__module__.startswith("yoriai"):
            continue
        for name, kind in inspect.get_annotations(base).items():
            text = spelt_out(kind if isinstance(kind, str) else str(kind), base.__module__)
            if name in seen or "ClassVar" not in text or name in ("KEEP", "model_config"):
                continue
            seen.add(name)
            value = getattr(target, name, None) if hasattr(target, name) else None
            shown = f"`{value!r}`" if hasattr(target, name) else "**required**"
            yield code(name), code(text.removeprefix("ClassVar[").removesuffix("]")), shown


def _types_of(contract: Contract) -> Iterator[type]:
    """The classes of ``yoriai`` in the signatures, and what those hold in turn."""
    if contract.target is None:
        return
    waiting: list[Any] = []
    for name, function in _methods(contract.target):
        if not contract.only or name in contract.only:
            waiting += list(_annotations(function))
    seen: list[type] = []
    while waiting:
        one = waiting.pop(0)
        known = isinstance(one, type) and one.__module__.startswith("yoriai.")
        if not known or one in seen or one is contract.target:
            continue
        seen.append(one)
        if _is_shown(one):
            yield one
            if dataclasses.is_dataclass(one):
                waiting += [t for hint in _hints(one).values() for t in _inside(hint)]
            elif not hasattr(one, "model_fields"):
                for _, function in _methods(one):
                    waiting += list(_annotations(function))


def _is_shown(one: type) -> bool:
    from yoriai.config import Configured
    from yoriai.registry import Registry

    return one is not Registry and not issubclass(one, Configured)


def _hints(thing: Any) -> dict[str, Any]:
    names = {**vars(typing), **vars(yoriai), **{n: getattr(yoriai, n) for n in yoriai.__all__}}
    try:
        return typing.get_type_hints(thing, localns=names)
    except NameError:
        return {}


def _annotations(function: Any) -> Iterator[Any]:
    for hint in _hints(function).values():
        yield from _inside(hint)


def _inside(hint: Any) -> Iterator[Any]:
    yield hint
    for inner in typing.get_args(hint):
        yield from _inside(inner)


def _outline(one: type) -> str:
    """A type as its author would write it: fields with types and defaults, or methods."""
    lines = [f"class {one.__name__}:"]
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
            if field.default_factory is not dataclasses.MISSING:
                default = f" = {field.default_factory()!r}"
            if inspect.isroutine(field.default):
                default = " = ..."  # a function has no form that is the same in every build
            lines.append(f"    {field.name}: {spelt_out(str(field.type), one.__module__)}{default}")
    for name, info in getattr(one, "model_fields", {}).items():
        kind = info.annotation
        text = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
        lines.append(f"    {name}: {text} = {info.default!r}")
    for name, function in _methods(one):
        if not hasattr(one, "model_fields"):
            lines += _outlined(one, name, function)
    return "\n".join(lines)


def _outlined(one: type, name: str, function: Any) -> Iterator[str]:
    """A method in an outline, with what its docstring says."""
    mark = MARKS.get(type(inspect.getattr_static(one, name)), "")
    told = inspect.cleandoc(function.__doc__ or "")
    lines = f"{mark}{_signature(name, function)}".splitlines()
    if told:
        told = re.sub(r":(?:class|func|meth|data|mod|attr):`~?(?:[\w.]*\.)?(\w+)`", r"``\1``", told)
        end = '\n"""' if "\n" in told else '"""'
        lines[-1] = lines[-1].removesuffix(" ...")
        lines += [f"    {line}" for line in f'"""{told}{end}'.splitlines()]
    for line in lines:
        yield f"    {line}".rstrip()
