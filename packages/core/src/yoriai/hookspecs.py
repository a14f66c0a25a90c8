"""The hooks of Yoriai, all of them.

*Catalogue* hooks take nothing and return :class:`~yoriai.Entry` descriptors. They run
whenever anything is listed, so a module that implements them imports nothing heavy.
*Moment* hooks get one frozen view and return data. Nobody is handed anything to change.

If an implementation raises, only its own answer is lost: a catalogue hook's plugin is
shown as broken by ``yoriai plugins``, a moment hook's error is kept in the run file.
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from yoriai.artifact import Artifact
    from yoriai.entry import Entry
    from yoriai.explaining import Hop, Point
    from yoriai.run_file import RunView
    from yoriai.section import Section

hookspec = pluggy.HookspecMarker("yoriai")
hookimpl = pluggy.HookimplMarker("yoriai")


@hookspec
def yoriai_steps() -> Iterable[Entry]:
    """Units of a recipe. The target is a :class:`yoriai.Step`."""


@hookspec
def yoriai_commands() -> Iterable[Entry]:
    """Commands of ``yoriai <plugin> <name>``. The target is a ``click.Command``.

    An entry called ``tokens.plan`` is ``yoriai tokens plan``; any other is ``yoriai PLUGIN NAME``.
    Results go to stdout, progress and notes to stderr. Every command has ``--json``, which prints
    one object, help, and an example. ``from yoriai import console`` has the option
    (``json_option``) and ``emit(value, as_json=…, text=…)``, where ``text`` is a function that
    gives what people read. ``yoriai.artifact.open_artifact(path)`` opens what a run made.

    Called: imported when it is typed, in a process of its own. ``@click.pass_obj`` hands it the
    installed plugins, as ``registry``.
    Ranks: none.
    Errors: YoriaiError and its kinds become words, a hint and an exit code.
    """


@hookspec
def yoriai_sources() -> Iterable[Entry]:
    """Where text comes from. The target is a :class:`yoriai.Source`."""


@hookspec
def yoriai_filters() -> Iterable[Entry]:
    """Rules that keep, edit or drop a document. The target is a :class:`yoriai.Filter`."""


@hookspec
def yoriai_engines() -> Iterable[Entry]:
    """Where the data tasks of a step run. The target is a :class:`yoriai.Engine`."""


@hookspec
def yoriai_instructions() -> Iterable[Entry]:
    """Instruction data for tuning. The target is a :class:`yoriai.Instructions`."""


@hookspec
def yoriai_methods() -> Iterable[Entry]:
    """What of a model is tuned. The target is a :class:`yoriai.Method`."""


@hookspec
def yoriai_models() -> Iterable[Entry]:
    """Shapes of models to train. The target is a :class:`yoriai.ModelShape`."""


@hookspec
def yoriai_strategies() -> Iterable[Entry]:
    """How training is spread over processes. The target is a :class:`yoriai.Strategy`."""


@hookspec
def yoriai_backends() -> Iterable[Entry]:
    """Ways to run a model for evaluation. The target is a :class:`yoriai.Backend`."""


@hookspec
def yoriai_tasks() -> Iterable[Entry]:
    """What a model is asked. The target is a :class:`yoriai.Task`."""


@hookspec
def yoriai_scorers() -> Iterable[Entry]:
    """How answers become scores. The target is a :class:`yoriai.Scorer`."""


@hookspec
def yoriai_probes() -> Iterable[Entry]:
    """Methods that say why a model behaves as it does. The target is a :class:`yoriai.Probe`."""


@hookspec
def yoriai_run_started(run: RunView) -> Mapping[str, Any] | None:
    """Facts about the machine, stored in the run file under ``environment.<plugin>``.

    They are plain JSON, and secrets in them are hidden.

    Called: once, in the run's own process, before the first step.
    Ranks: none, no training runs yet.
    Errors: an exception is kept in the run file under ``plugin_errors``, and the run goes on.
    """


@hookspec
def yoriai_sections(artifact: Artifact) -> Iterable[Section]:
    """What a reader wants to see of an artifact: text, tables and figures as data.

    Text is plain text: whatever it holds, the page shows it and nothing in it runs. Give nothing
    for artifacts of other kinds.

    Called: when a run's page is written, once for each artifact of the run.
    Ranks: none.
    Errors: an exception becomes a visible section that names the plugin.
    """


@hookspec
def yoriai_hops(point: Point) -> Iterable[Hop]:
    """What lies behind a point of the chain from a score to its data, and where it leads.

    Give nothing for points that are another plugin's.

    Called: by ``yoriai explain``, for the first point and for each that a hop leads to.
    Ranks: none; there is one process.
    Errors: an exception becomes a hop that says where the chain breaks.
    """
