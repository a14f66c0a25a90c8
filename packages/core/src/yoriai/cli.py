"""The command line: ``yoriai <noun> <verb>``.

Nothing heavy is imported before a command is chosen: core's own commands and those of
plugins are descriptors until they are called.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import sys
from importlib import import_module
from typing import Any

import click

from yoriai import __version__, console, stopping, terminal
from yoriai.errors import NotFound, PluginBroken, YoriaiError, is_failure

CORE_COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("yoriai.commands.run:run", "Run a recipe, from text to scores."),
    "plugins": ("yoriai.commands.plugin:plugins", "Show the installed plugins and their state."),
    "list": ("yoriai.commands.plugin:list_entries", "List what the plugins offer, by kind."),
    "new": ("yoriai.commands.plugin:new", "Write a new plugin that works and is tested."),
    "verify": ("yoriai.commands.artifact:verify", "Check every byte of an artifact."),
    "key": ("yoriai.commands.sign:key", "Make a key for signatures."),
    "sign": ("yoriai.commands.sign:sign", "Sign an artifact."),
    "lineage": ("yoriai.commands.artifact:lineage", "Walk from an artifact to its sources."),
    "explain": ("yoriai.commands.explain:explain", "Walk from an answer to the data behind it."),
    "runs": ("yoriai.commands.runs:runs", "List and show the runs of a recipe."),
    "records": ("yoriai.commands.record:records", "List, show and check experiment records."),
    "doctor": ("yoriai.commands.doctor:doctor", "Check this machine and say what to do."),
    "completion": ("yoriai.commands.completion:completion", "Complete words in bash, zsh, fish."),
    "release": ("yoriai.commands.release:release", "Write an artifact as a folder to publish."),
}
EXAMPLES = """\b
Examples:
  yoriai run recipes/tour.yaml --dry-run
  yoriai list filters
  yoriai plugins --json
"""


class Context:
    """What commands share: the registry, loaded once, when first asked for."""

    def __init__(self, plugins: str | None, strict: bool) -> None:
        self._plugins = plugins
        self._strict = strict
        self._registry: Any = None

    @property
    def registry(self) -> Any:
        if self._registry is None:
            from yoriai.plugins import load_registry

            self._registry = load_registry(self._plugins)
            if self._strict:
                self._registry.require_sound()
        return self._registry


class Nouns(click.Group):
    """Core's commands, and one group for each noun of the plugins' commands.

    The noun of an entry called ``generate`` is its plugin; one called ``tokens.plan`` names its
    noun itself (``yoriai tokens plan``), and several plugins may bring verbs for it.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*CORE_COMMANDS, *self._plugin_nouns(ctx)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in CORE_COMMANDS:
            return _import_command(CORE_COMMANDS[name][0])
        if name in self._plugin_nouns(ctx):
            verbs = self._plugin_nouns(ctx)[name]
            shown = "".join(f"  yoriai {name} {verb} --help\n" for verb in verbs[:3])
            text = _describe_noun(name, _commands(ctx))
            return Verbs(name, help=text, epilog=f"\b\nExamples:\n{shown}")
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            for plugin in _shared(ctx).registry.broken():
                if plugin.name == args[0]:
                    raise PluginBroken(
                        f"plugin {plugin.name!r} is {plugin.status}: {plugin.reason}",
                        hint=plugin.remedy,
                    )
            raise _no_command(args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The table above holds the summaries, so that help imports no command.
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in CORE_COMMANDS.items()])
        nouns = self._plugin_nouns(ctx)
        if nouns:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(noun, ", ".join(verbs)) for noun, verbs in nouns.items()])

    def _plugin_nouns(self, ctx: click.Context) -> dict[str, list[str]]:
        nouns: dict[str, list[str]] = {}
        for noun, verb, _ in _commands(ctx):
            if verb not in nouns.setdefault(noun, []):
                nouns[noun].append(verb)
        return dict(sorted(nouns.items()))


class Verbs(click.Group):
    """The commands of one noun, imported one by one when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._found(ctx))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        rows = self._found(ctx).get(name, [])
        if not rows:
            return None
        if len(rows) > 1:
            names = " and ".join(found.name for found in rows)
            raise PluginBroken(
                f"{names} both want to be yoriai {self.name} {name}",
                hint=f"choose one: yoriai --plugins {rows[0].plugin} {self.name} {name}",
            )
        [found] = rows
        command: click.Command = _shared(ctx).registry.load(found)
        if not isinstance(command, click.Command):
            raise PluginBroken(
                f"{found.name} is no click.Command but a {type(command).__name__}",
                hint=f"tell the authors of plugin {found.plugin!r}",
            )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            raise _no_command(f"{self.name} {args[0]}", self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            found = self._found(ctx).items()
            formatter.write_dl([(verb, rows[0].entry.summary) for verb, rows in found])

    def _found(self, ctx: click.Context) -> dict[str, list[Any]]:
        """The entries of each verb: one, unless two plugins claim the same words."""
        verbs: dict[str, list[Any]] = {}
        for noun, verb, found in _commands(ctx):
            if noun == self.name:
                verbs.setdefault(verb, []).append(found)
        return dict(sorted(verbs.items()))


def _commands(ctx: click.Context) -> list[tuple[str, str, Any]]:
    """Noun, verb and entry of every command that plugins offer."""
    rows = []
    for found in _shared(ctx).registry.found("commands"):
        noun, dot, verb = found.entry.name.partition(".")
        rows.append((noun, verb, found) if dot else (found.plugin, noun, found))
    return rows


def _describe_noun(noun: str, commands: list[tuple[str, str, Any]]) -> str:
    plugins = sorted({found.plugin for name, _, found in commands if name == noun})
    several = "s" if len(plugins) > 1 else ""
    return f"Commands of the plugin{several} {', '.join(map(repr, plugins))}."


def _shared(ctx: click.Context) -> Context:
    root = ctx.find_root()
    if not isinstance(root.obj, Context):
        root.obj = Context(root.params.get("plugins"), bool(root.params.get("strict")))
    shared: Context = root.obj
    return shared


def _import_command(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


def _no_command(name: str, known: list[str]) -> click.UsageError:
    near = difflib.get_close_matches(name.split()[-1], known, 3, 0.5)
    if name in ("corpus", "train", "eval", "domain-adapt"):
        return click.UsageError(f"{name!r} comes with: pip install yoriai-{name}")
    tail = f"; did you mean {' or '.join(near)}?" if near else "; see yoriai --help"
    return click.UsageError(f"no command {name!r}{tail}")


@click.group(
    cls=Nouns,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "YORIAI"},
)
@click.option(
    "--plugins",
    metavar="NAMES",
    is_eager=True,  # so that --help, which lists the plugins' commands, knows it already
    help="Load only these plugins (a,b), all but some (-a,-b), or none.",
)
@click.option("--strict", is_flag=True, help="Stop with exit code 5 if a plugin is broken.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(__version__, prog_name="yoriai")
@click.pass_context
def cli(ctx: click.Context, plugins: str | None, strict: bool, debug: bool) -> None:  # noqa: ARG001
    """Yoriai (寄合): the open workshop for language models."""
    _shared(ctx)
    if strict:
        ctx.obj.registry.require_sound()


def main(argv: list[str] | None = None) -> None:
    """Entry point of the ``yoriai`` command; turns every error into words and an exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    terminal.guard_logs()
    if argv is None:
        stopping.ignore_at_exit()
    with stopping.orderly_end() if "run" in arguments else contextlib.nullcontext():
        try:
            code = _call(arguments)
        # A second one, while it was told.
        except (stopping.StopRequest, KeyboardInterrupt) as error:
            code = 130 if isinstance(error, KeyboardInterrupt) else 6
        if argv is None:
            stopping.settle(code)
            sys.exit(code)
    sys.exit(code)


def _call(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    debug = "--debug" in arguments or bool(os.environ.get("YORIAI_DEBUG"))
    # Before any library starts OpenMP: threads that spin while they wait made the tour's scores
    # take 7 minutes instead of 20 seconds beside one other process (record 0014).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if opened := _opened_artifacts():
        opened.clear()
    try:
        if "run" in arguments:  # what came while this was imported
            stopping.heed()
        code = cli.main(args=arguments, prog_name="yoriai", standalone_mode=False)
    except YoriaiError as error:
        if debug:
            raise
        _complain(error.message, error.hint, error.code, as_json)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f"{error.ctx.command_path} --help"
        _complain(error.format_message(), hint, "usage", as_json)
        return 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        _complain("interrupted", "start the same command again to go on", "interrupted", as_json)
        return 130
    except stopping.StopRequest as error:  # before a run began, or after it ended
        hint = "start the same command again to go on from here"
        _complain(str(error), hint, "timed-out", as_json)
        return 6
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        if debug or not is_failure(error):
            raise
        if place := _place(error):
            message = f"{place} raised {type(error).__name__}: {error}"
            hint = f"tell the authors of plugin {place.plugin!r}, or do without it: yoriai plugins"
            _complain(message, hint, "plugin-failed", as_json)
            return 1
        if foreign := _damage(error):
            _complain(foreign, _DAMAGE_HINT, "refused", as_json)
            return 4
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            _complain(f"no file can have such a long name: {error.filename}", "", "usage", as_json)
            return 2
        if isinstance(error, OSError) and isinstance(error.filename, (str, bytes)):
            told = _file_trouble(error)
            _complain(told.message, told.hint, told.code, as_json)
            return told.exit_code
        if foreign := _unreadable_artifact(error):
            hint = "who sealed it may have written other facts than its kind has; if not, run again"
            _complain(foreign, f"{hint} with yoriai --debug ... and report it", "refused", as_json)
            return 4
        message = f"unexpected {type(error).__name__}: {error}"
        _complain(message, "run again with yoriai --debug ... and report it", "failed", as_json)
        return 1
    return code if isinstance(code, int) else 0


def _opened_artifacts() -> dict[str, None]:
    """Folders of the artifacts that were opened; core's module of artifacts may not be loaded."""
    module = sys.modules.get("yoriai.artifact")
    return module.opened if module else {}


def _unreadable_artifact(error: BaseException) -> str:
    """In words, an error over what an artifact says of itself; "" if none was opened.

    Whoever seals an artifact can write a list where its kind has a number, and only the command
    that reads a fact knows what it should be. That it was so is a guess: the error may be ours.
    """
    kinds = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
    names = list(_opened_artifacts())
    is_panic = not isinstance(error, Exception)  # tokenizers' rules that fail over a text
    if not names or not (is_panic or isinstance(error, kinds)):
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    told = ", ".join(names[:3])
    return f"cannot read {told}{more}: {said}"


def _file_trouble(error: OSError) -> YoriaiError:
    """What kept a command from reading or writing a file: a full disk, a right that lacks."""
    from pathlib import Path

    from yoriai import files

    place = os.fsdecode(error.filename)
    if files.is_disk_trouble(error):
        return files.disk_error(Path(place), error)
    why = error.strerror or type(error).__name__
    kind = NotFound if isinstance(error, FileNotFoundError) else YoriaiError
    return kind(f"cannot open {place}: {why}", hint="look at the place and its rights")


def _place(error: BaseException) -> Any:
    """The line of somebody else's plugin where the error was raised; None for our own code."""
    from yoriai import blame
    from yoriai.plugins import load_registry

    try:
        place = blame.find(error, load_registry().plugins)
    except YoriaiError:  # the selection of plugins was what is wrong
        return None
    return None if place is None or place.plugin in blame.OURS else place


# Libraries that read files of others. What they raise is about the bytes, not about this program.
_READERS = frozenset(
    ("pyarrow", "safetensors", "safetensors_rust", "tokenizers", "sentencepiece", "jinja2",
     "zlib", "gzip", "lzma", "zstandard", "zipfile", "tarfile", "struct", "json", "_pickle",
     "pickle", "yaml")
)  # fmt: skip
_DAMAGE_HINT = (
    "yoriai verify FOLDER  names a file that changed since it was sealed; "
    "yoriai --debug ... shows where it was read"
)


def _damage(error: BaseException) -> str:
    """In words, an error of a library that read a damaged or foreign file; "" for any other."""
    kind = type(error)
    if kind.__module__.partition(".")[0] in _READERS or isinstance(error, UnicodeDecodeError):
        said = " ".join(str(error).split())
        words = said[:300] + ("…" if len(said) > 300 else "")
        return f"refused: a file holds what it should not ({kind.__name__}: {words})"
    return ""


def _complain(message: str, hint: str, code: str, as_json: bool) -> None:
    from yoriai.redaction import Redactor

    redactor = Redactor()  # what a terminal shows may stand in the log of a job
    message, hint = redactor.secrets(message), redactor.secrets(hint)
    # Redacted before it is cut: half a secret matches no rule.
    message, hint = terminal.clip_lines(message, 500), terminal.clip_lines(hint, 1_000)
    if as_json:
        click.echo(console.json_text({"error": {"code": code, "message": message, "hint": hint}}))
    console.note(f"error: {message}")
    if hint:
        console.note(f"  try: {hint}")
