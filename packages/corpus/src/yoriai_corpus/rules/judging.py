"""What every rule says of a document: the value it measures, its limits, its verdict.

A build stops asking at the first rule that drops a document. Here all rules are asked, one
after the other, each on the text as the edits before it left it, so that the answer for the
rules up to the first drop is the build's own.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import pydantic

from yoriai import (
    Artifact,
    Configured,
    Document,
    Filter,
    NotFound,
    UsageError,
    Uses,
    Verdict,
    safe_yaml,
)
from yoriai import config as configs
from yoriai_corpus.rules.base import expand
from yoriai_corpus.text.batch import Batch

if TYPE_CHECKING:
    from yoriai.registry import Registry

MAX_CHANGES = 50
_MARGIN = 12  # characters shown either side of a change
_PIECE = 60  # characters shown of what was removed or put in
_GAP = 3  # changes that no more equal characters part are shown as one
_TOKENS = 4000  # a longer passage is compared by its two ends only

# --- which rules ---------------------------------------------------------------------------


class _JudgedRules(Configured):
    rules: list[Annotated[Filter, Uses("filters")]]


def build_rules(rules: Sequence[str | Mapping[str, Any]], registry: Registry) -> list[Filter]:
    """Rules from names or mappings with ``use``; raises :class:`UsageError` naming the first fault.

    Chains stay chains: :func:`judge_each` writes them out.
    """
    try:
        built: _JudgedRules = configs.build(_JudgedRules, {"rules": list(rules)}, registry)
    except pydantic.ValidationError as error:
        fault = configs.explain(error, _JudgedRules)[0]
        place = configs.dotted(fault.place)
        raise UsageError(f"{place}: {fault.message}", hint=fault.hint) from error
    return built.rules


def rules_named(names: str, registry: Registry) -> list[Filter]:
    """Rules from ``a,b`` or from YAML (``[{use: corpus/min-length, characters: 5}]``)."""
    if names.lstrip()[:1] not in ("[", "{"):
        return build_rules([name.strip() for name in names.split(",") if name.strip()], registry)
    value = safe_yaml.load(names, "--rules")
    return build_rules(value if isinstance(value, list) else [value], registry)


def rules_of_corpus(corpus: Artifact, registry: Registry) -> list[Filter]:
    """The rules a corpus was built with, from its resolved configuration.

    They are built from the code that is installed now, which may be newer.
    """
    rules = corpus.config.get("rules")
    if rules is None:
        raise NotFound(f"{corpus.name} does not say which rules it was built with")
    return build_rules(rules, registry)


def rules_of_recipe(path: Path, step: str, registry: Registry) -> list[Filter]:
    """The rules of a recipe's step; ``step`` may be "" where only one step has rules."""
    from yoriai.recipe import load_recipe

    steps = {
        planned.name: list(planned.step.rules)
        for planned in load_recipe(path, registry).steps
        if hasattr(planned.step, "rules")
    }
    known = f"steps with rules: {', '.join(steps) or 'none'}"
    if step and step not in steps:
        raise NotFound(f"{path} has no step {step!r} with rules", hint=known)
    if not step and len(steps) != 1:
        raise UsageError(f"{path} has {len(steps)} steps with rules", hint=f"--step NAME; {known}")
    return steps[step] if step else next(iter(steps.values()))


# --- asking them ---------------------------------------------------------------------------


class Judgement(NamedTuple):
    """One rule's answers for several documents.

    ``verdicts`` has None for a document whose language the rule does not judge, and
    ``values`` None where nothing was measured. ``failure`` is what the rule raised, or "".
    """

    rule: Filter
    texts: list[str]
    verdicts: list[Verdict | None]
    values: list[float | None]
    failure: str


def judge_each(documents: Sequence[Document], rules: Sequence[Filter]) -> Iterator[Judgement]:
    """Ask every rule about every document, those that an earlier rule dropped as well."""
    current = Batch(dataclasses.replace(document) for document in documents)
    for rule in expand(rules):
        asked = [
            index
            for index, document in enumerate(current)
            if not rule.languages or document.language in rule.languages
        ]
        batch = current if len(asked) == len(current) else Batch(current[i] for i in asked)
        verdicts: list[Verdict | None] = [None] * len(current)
        values: list[float | None] = [None] * len(current)
        failure = ""
        try:
            answers = rule.judge_batch(batch) if batch else []
            measured = rule.measured(batch) if batch else ()
        except Exception as error:  # somebody's rule; the others still have something to say
            failure, answers, measured = f"{type(error).__name__}: {error}", [], ()
        for index, answer in zip(asked, answers, strict=False):
            verdicts[index], values[index] = answer, answer.value
        for index, value in zip(asked, measured, strict=False):
            values[index] = float(value) if math.isfinite(value) else None
        yield Judgement(rule, current.texts, verdicts, values, failure)
        if any(verdict and verdict.action == "edit" for verdict in verdicts):
            current = Batch(
                dataclasses.replace(document, text=verdict.text)
                if verdict and verdict.action == "edit"
                else document
                for document, verdict in zip(current, verdicts, strict=True)
            )


class DocumentChange(NamedTuple):
    """One place where a text was edited; ``line`` counts from 1 in the text before."""

    line: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    """What one rule says of one document. ``least`` and ``most`` are the limits it keeps within."""

    rule: str
    version: str
    verdict: Literal["keep", "edit", "drop", "not asked", "failed"]
    value: float | None = None
    least: float | None = None
    most: float | None = None
    span: str = ""
    reason: str = ""
    changes: tuple[DocumentChange, ...] = ()

    @property
    def limits(self) -> str:
        if self.least is not None and self.most is not None:
            return f"{self.least:.4g} … {self.most:.4g}"
        if self.least is not None:
            return f"≥ {self.least:.4g}"
        return f"≤ {self.most:.4g}" if self.most is not None else ""


def judge(document: Document, rules: Sequence[Filter]) -> list[RuleAnswer]:
    """Every rule's answer for one document, in order. Deduplication and the like are no rules."""
    return [_answer(document, judgement) for judgement in judge_each([document], rules)]


def dropped_first(answers: Sequence[RuleAnswer]) -> str:
    """The rule that a build would have named for the drop; "" if all rules keep it."""
    return next((answer.rule for answer in answers if answer.verdict == "drop"), "")


def _answer(document: Document, judgement: Judgement) -> RuleAnswer:
    rule, verdict = judgement.rule, judgement.verdicts[0]
    name = rule.entry or type(rule).__name__
    if judgement.failure:
        return RuleAnswer(name, rule.version, "failed", reason=judgement.failure)
    if verdict is None:
        language = document.language or "unknown"
        reason = f"judges {', '.join(rule.languages)}; this document's language is {language}"
        return RuleAnswer(name, rule.version, "not asked", reason=reason)
    least = most = None
    if any(map(math.isfinite, rule.limits())):
        least, most = (edge if math.isfinite(edge) else None for edge in rule.limits())
    elif verdict.threshold is not None:
        below = verdict.value is not None and verdict.value < verdict.threshold
        least, most = (verdict.threshold, None) if below else (None, verdict.threshold)
    return RuleAnswer(
        name,
        rule.version,
        verdict.action,
        judgement.values[0],
        least,
        most,
        verdict.span,
        changes=tuple(differences(judgement.texts[0], verdict.text))
        if verdict.action == "edit"
        else (),
    )


# --- what an edit changed ------------------------------------------------------------------


def differences(before: str, after: str, limit: int = MAX_CHANGES) -> list[DocumentChange]:
    """The first ``limit`` places where two texts differ, each with a little of what is around."""
    found: list[DocumentChange] = []
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new).get_opcodes():
        if kind == "equal":
            continue
        removed, added = "".join(old[a:b]), "".join(new[c:d])
        for start, end, first, last in _within(removed, added):
            line = a + 1 + removed.count("\n", 0, start)
            found.append(DocumentChange(line, _cut(removed, start, end), _cut(added, first, last)))
            if len(found) == limit:
                return found
    return found


def _within(removed: str, added: str) -> Iterator[tuple[int, int, int, int]]:
    """Where two passages differ: from and to in the one, from and to in the other."""
    old, new = _WORDS.findall(removed), _WORDS.findall(added)
    if len(old) + len(new) > _TOKENS:
        start = _common(removed, added)
        rest = min(len(removed), len(added)) - start
        end = _common(removed[::-1][:rest], added[::-1][:rest])
        yield start, len(removed) - end, start, len(added) - end
        return
    places, others = _offsets(old), _offsets(new)
    pending: tuple[int, int, int, int] | None = None
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
        if kind == "equal":
            continue
        here = (places[a], places[b], others[c], others[d])
        between = removed[pending[1] : here[0]] if pending else ""
        if pending and len(between) <= _GAP and "\n" not in between:
            here = (pending[0], here[1], pending[2], here[3])
        elif pending:
            yield pending
        pending = here
    if pending:
        yield pending


_WORDS = re.compile(r"\w+|\W", re.ASCII)  # words of ASCII, and single characters else


def _offsets(words: Sequence[str]) -> list[int]:
    places = [0]
    for word in words:
        places.append(places[-1] + len(word))
    return places


def _common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)))  # fmt: skip


def _cut(text: str, start: int, end: int) -> str:
    middle = text[start:end]
    if len(middle) > _PIECE:
        middle = f"{middle[: _PIECE // 2]}…{middle[-_PIECE // 2 :]}"
    first, last = max(0, start - _MARGIN), min(len(text), end + _MARGIN)
    left = ("…" if first else "") + text[first:start]
    return left + middle + text[end:last] + ("…" if last < len(text) else "")
