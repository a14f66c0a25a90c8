"""Yoriai (寄合), the open workshop for language models: what plugin authors import.

Every name comes on its first use: ``from yoriai import Entry, hookimpl`` stays cheap, and so do
the first milliseconds of the command, in which it does not handle signals yet.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for True; importing `typing` for it costs 5 ms

if TYPE_CHECKING:
    from typing import Any

    from yoriai.artifact import Artifact
    from yoriai.config import Configured, Secret, Uses
    from yoriai.contracts import (
        Answer,
        Asking,
        Backend,
        Document,
        Engine,
        Example,
        Filter,
        Generated,
        Instructions,
        LanguageModel,
        Method,
        ModelShape,
        PassedOver,
        Prompt,
        Sample,
        Scorer,
        Shot,
        Source,
        SourceCard,
        Strategy,
        Task,
        Turn,
        Unreadable,
        Verdict,
    )
    from yoriai.entry import Entry
    from yoriai.errors import Altered, NotFound, Refused, UsageError, WorkerLost, YoriaiError
    from yoriai.hookspecs import hookimpl
    from yoriai.probe import Measured, Probe, ProbedModel, ProbeInputs, ProbeResult, Validation
    from yoriai.section import Figure, Section, Table
    from yoriai.step import Job, Made, Ranks, Step

__version__ = "0.1.0"

_HOME = {
    "yoriai.artifact": ("Artifact",),
    "yoriai.config": ("Configured", "Secret", "Uses"),
    "yoriai.contracts": (
        "Answer",
        "Asking",
        "Backend",
        "Document",
        "Engine",
        "Example",
        "Filter",
        "Instructions",
        "LanguageModel",
        "Method",
        "ModelShape",
        "PassedOver",
        "Generated",
        "Prompt",
        "Sample",
        "Scorer",
        "Shot",
        "Source",
        "SourceCard",
        "Strategy",
        "Task",
        "Turn",
        "Unreadable",
        "Verdict",
    ),
    "yoriai.entry": ("Entry",),
    "yoriai.errors": ("Altered", "NotFound", "Refused", "UsageError", "WorkerLost", "YoriaiError"),
    "yoriai.hookspecs": ("hookimpl",),
    "yoriai.section": ("Figure", "Section", "Table"),
    "yoriai.probe": (
        "Measured",
        "Probe",
        "ProbeInputs",
        "ProbeResult",
        "ProbedModel",
        "Validation",
    ),
    "yoriai.step": ("Job", "Made", "Ranks", "Step"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

# Literal, because type checkers read no expressions; a test compares it with the table.
__all__ = [
    "Altered",
    "Answer",
    "Artifact",
    "Asking",
    "Backend",
    "Configured",
    "Document",
    "Engine",
    "Entry",
    "Example",
    "Figure",
    "Filter",
    "Generated",
    "Instructions",
    "Job",
    "LanguageModel",
    "Made",
    "Measured",
    "Method",
    "ModelShape",
    "NotFound",
    "PassedOver",
    "Probe",
    "ProbeInputs",
    "ProbeResult",
    "ProbedModel",
    "Prompt",
    "Ranks",
    "Refused",
    "Sample",
    "Scorer",
    "Secret",
    "Section",
    "Shot",
    "Source",
    "SourceCard",
    "Step",
    "Strategy",
    "Table",
    "Task",
    "Turn",
    "Unreadable",
    "UsageError",
    "Uses",
    "Validation",
    "Verdict",
    "WorkerLost",
    "YoriaiError",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        from importlib import import_module

        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module 'yoriai' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
