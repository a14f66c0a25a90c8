"""The reference: what the installed packages say about themselves."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import click

from sitemaker.contracts import list_contracts, split_labels
from sitemaker.keys import keys_table
from sitemaker.markdown import NOTE, code, plain, slug, table
from sitemaker.signatures import signature_of
from yoriai import contracts, hookspecs
from yoriai.cli import CORE_COMMANDS, Context, cli
from yoriai.errors import EXIT_CODES, NotFound
from yoriai.plain_markdown import escape
from yoriai.plugins import MOMENTS
from yoriai.recipe import Recipe
from yoriai.registry import Found, Registry, singular
from yoriai.step import Step

KIND_TITLES = {
    "steps": "Steps",
    "sources": "Sources",
    "filters": "Filters",
    "instructions": "Instructions",
    "methods": "Tuning methods",
    "models": "Models",
    "strategies": "Strategies",
    "engines": "Engines",
    "backends": "Backends",
    "tasks": "Tasks",
    "scorers": "Scorers",
    "probes": "Probes",
}
# Where a value of a kind is written in a recipe.
KIND_PLACES = {
    "steps": "Under `uses` of a step.",
    "sources": "Under `sources` of `corpus/build`.",
    "filters": "Under `rules` of `corpus/build`.",
    "instructions": "Under `data` of `train/tune`.",
    "methods": "Under `method` of `train/tune`.",
    "models": "Under `model` of `train/pretrain`.",
    "strategies": "Under `strategy` of `train/pretrain`.",
    "engines": "Under `engine`, at the top of a recipe.",
    "backends": "Under `backend` of `eval/run`.",
    "tasks": "Under `tasks` of `eval/run`, and under `decontaminate.against` of `corpus/build`.",
    "scorers": "Named by a task of `eval/run`; a recipe names the task.",
    "probes": "Under `probes` of `eval/probe`.",
}


def reference_pages(registry: Registry) -> dict[str, str]:
    """Every page of the reference but the hand-written one on file formats."""
    return {
        "reference/index.md": index_page(registry),
        "reference/hooks.md": hooks_page(),
        **command_pages(registry),
        "reference/recipe.md": recipe_page(),
        "reference/exit-codes.md": exit_codes_page(),
        **{f"reference/{kind}.md": kind_page(kind, registry) for kind in KIND_TITLES},
    }


def index_page(registry: Registry) -> str:
    rows = [
        (
            f"[{title}]({kind}.md)",
            str(len(registry.found(kind))),
            plain(getattr(hookspecs, f"yoriai_{kind}").__doc__).partition(".")[0] + ".",
        )
        for kind, title in KIND_TITLES.items()
    ]
    plugins = [
        (
            code(plugin.name),
            escape(f"{plugin.distribution} {plugin.version}"),
            ", ".join(f"{len(entries)} {kind}" for kind, entries in plugin.entries.items()),
        )
        for plugin in registry.plugins
        if plugin.status == "ok"
    ]
    return "\n\n".join(
        [
            "# Reference",
            NOTE,
            "## What plugins offer",
            table(("kind", "entries", "what they are"), rows),
            "## Plugins described here",
            "`yoriai plugins` shows those on your machine.",
            table(("plugin", "distribution", "offers"), plugins),
            "## Other pages",
            "\n".join(
                [
                    "* [Recipe](recipe.md): the top level of a recipe file",
                    "* [Commands](commands/index.md): the command line",
                    "* [Hooks](hooks.md): what a plugin may implement",
                    "* [File formats](formats.md): what lies on the disk",
                    "* [Exit codes](exit-codes.md): what a script can rely on",
                ]
            ),
        ]
    )


def list_hooks() -> list[tuple[str, Any]]:
    """Name and function of each hook, in the order they are written."""
    return [(name, item) for name, item in vars(hookspecs).items() if name.startswith("yoriai_")]


def hooks_page() -> str:
    parts = ["# Hooks", NOTE, plain(hookspecs.__doc__).partition("\n\n")[2]]
    pages = {one.hook: one.name for one in reversed(list_contracts())}
    for title, moments in (("Catalogue hooks", False), ("Moment hooks", True)):
        parts.append(f"## {title}")
        for name, function in list_hooks():
            if (name in MOMENTS) is moments:
                signature = signature_of(function)
                parts += [
                    f"### {name}",
                    f"```python\ndef {name}{signature}: ...\n```",
                    split_labels(function.__doc__ or "")[0],
                    f"[The contract](../en/contracts/{pages[name]}.md) says what to write, "
                    f"with an example. · [契約](../ja/contracts/{pages[name]}.md)",
                ]
    return "\n\n".join(parts)


def list_commands(registry: Registry) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that can be typed, with its words, from the root through all groups."""
    root = click.Context(cli, info_name="yoriai")
    shared = Context(None, False)
    shared._registry = registry
    root.obj = shared
    yield "yoriai", cli, root
    yield from _below(cli, root, "yoriai")


def _below(
    group: click.Group, context: click.Context, words: str
) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield f"{words} {name}", command, inner
        if isinstance(command, click.Group):
            yield from _below(command, inner, f"{words} {name}")


def command_pages(registry: Registry) -> dict[str, str]:
    """One page for the root and each command directly below it, and one for each noun."""
    front = [
        "# Commands",
        NOTE,
        "Results go to stdout, progress and notes to stderr. `--json` prints one object. "
        "An option can also be set in the environment: `YORIAI_PLUGINS` for `--plugins`, "
        "`YORIAI_STRICT` for `--strict`, `YORIAI_DEBUG` for `--debug`. "
        "`YORIAI_QUIET` leaves out progress bars.",
    ]
    pages = {"reference/commands/index.md": front}
    for words, command, context in list_commands(registry):
        name = command_page(context)
        parts = pages.setdefault(name, [f"# Commands: {words}", NOTE])
        parts += [f"## {words}", *_command(command, context)]
    return {name: "\n\n".join(parts) for name, parts in pages.items()}


def command_page(context: click.Context) -> str:
    """The page on which a command stands: that of its noun, if it has one."""
    words = context.command_path.split()
    noun = cli.get_command(context.find_root(), words[1]) if len(words) > 1 else None
    return f"reference/commands/{words[1] if isinstance(noun, click.Group) else 'index'}.md"


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield plain(command.help)
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"```text\n{' '.join(usage.split())}\n```"
    rows = [row for row in map(_option, command.params) if row]
    if rows:
        columns = ("option", "what it does", "default")
        width = 3 if any(row[2] for row in rows) else 2
        yield table(columns[:width], [row[:width] for row in rows])
    if isinstance(command, click.Group):
        names = command.list_commands(context)
        inner = [(name, _summary(command, context, name)) for name in names]
        yield table(
            ("command", "what it does"),
            [(f"[`{name}`]({_goal(command, context, name)})", text) for name, text in inner],
        )
    examples = [line.strip() for line in (command.epilog or "").splitlines()]
    typed = [f"$ {line}" for line in examples if line.startswith("yoriai")]
    if typed:
        yield "```console\n" + "\n".join(typed) + "\n```"


def _goal(group: click.Group, context: click.Context, name: str) -> str:
    """Where a command of a group stands, seen from the page of the group."""
    noun = group is cli and isinstance(group.get_command(context, name), click.Group)
    return f"{name}.md" if noun else f"#{slug(f'{context.command_path} {name}')}"


def _summary(group: click.Group, context: click.Context, name: str) -> str:
    if group is cli and name in CORE_COMMANDS:
        return CORE_COMMANDS[name][1]
    command = group.get_command(context, name)
    return command.get_short_help_str(200) if command else ""


def _option(parameter: click.Parameter) -> tuple[str, str, str] | None:
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return None
    name = ", ".join(parameter.opts)
    if not parameter.is_flag:
        name += f" {parameter.metavar or _metavar(parameter)}"
    repeated = " May be given several times." if parameter.multiple else ""
    default = "" if parameter.is_flag or parameter.multiple else _default_text(parameter.default)
    return code(name), escape((parameter.help or "") + repeated), default


def _metavar(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.type.name.upper()


def _default_text(value: Any) -> str:
    # click marks "no default" with a sentinel of an enum.
    if value in (None, "", 0.0, ()) or callable(value) or isinstance(value, Enum):
        return ""
    return code(str(value))


def exit_codes_page() -> str:
    rows = [(code(str(number)), meaning) for number, meaning in EXIT_CODES.items()]
    return "\n\n".join(
        [
            "# Exit codes",
            NOTE,
            table(("code", "meaning"), rows),
            "With `--json` an error is also printed on stdout, as one object: "
            '`{"error": {"code": …, "message": …, "hint": …}}`.',
        ]
    )


def recipe_page() -> str:
    return "\n\n".join(
        [
            "# Recipe",
            NOTE,
            "The top level of a recipe file. Unknown keys are refused. "
            "[Write a recipe](../en/recipe.md) explains it by examples.",
            keys_table(Recipe),
            "Each item of `steps` has `uses` (the entry), `from` (a step's name, the path of an "
            "artifact, or a list of these) and the keys of that [step](steps.md).",
        ]
    )


def kind_page(kind: str, registry: Registry) -> str:
    found = registry.found(kind)
    parts = [
        f"# {KIND_TITLES[kind]}",
        NOTE,
        plain(getattr(hookspecs, f"yoriai_{kind}").__doc__),
        f"{KIND_PLACES[kind]} To write one: [the contract](../en/contracts/{singular(kind)}.md).",
        table(
            ("name", "what it is", "stability", "licence", "since"),
            [
                (
                    f"[`{f.name}`](#{slug(f.name)})",
                    *map(escape, (f.entry.summary, f.entry.stability, f.entry.licence)),
                    escape(f.entry.since),
                )
                for f in found
            ],
        ),
    ]
    for row in found:
        parts += [f"## {row.name}", *_entry(row, registry)]
    return "\n\n".join(parts)


def _entry(found: Found, registry: Registry) -> Iterator[str]:
    if found.entry.requires:
        yield f"Needs: `pip install {' '.join(found.entry.requires)}`"
    try:
        target = registry.load(found)
    except NotFound as error:
        yield f"{escape(found.entry.summary)} (Its keys are not shown: {escape(error.message)}.)"
        return
    yield plain(target.__doc__)
    if isinstance(target, type) and issubclass(target, Step):
        yield _flow(target)
    if isinstance(target, type) and issubclass(target, contracts.Task):
        yield f"Form: {target.form}. Version: {target.version}."
    yield keys_table(target) if target.model_fields else "It has no keys."


def _flow(step: type[Step]) -> str:
    takes = " and ".join(f"`{kind}`" for kind in step.takes) or "nothing"
    optional = f", and if given {' and '.join(f'`{k}`' for k in step.optional)}"
    return f"Takes {takes}{optional if step.optional else ''}; makes `{step.makes}`."
