"""What can be known of shards before they are there: names, sizes, and what phases ask for.

``expect`` of the steps that make tokens uses it, so that a plan shows as much as can be known, and
a wrong name or a budget that no text can fill is refused before anything is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from yoriai import UsageError
from yoriai.mixture import Mixture, Phase, build_mixture
from yoriai_corpus.shards.encoding import LookedAt

ENDLESS = 2**62  # tokens of a shard of which only the name matters
LEEWAY = 0.25  # how far an estimate from few places may be off
LEAST_LEEWAY = 0.02
ERRORS = 5  # standard errors that an estimate from many places is allowed
MANY = 8  # places from which on a standard error is worth something


@dataclass(frozen=True, slots=True)
class Held:
    """Tokens that shards hold, or will: counted where ``within`` is 0, else give or take that."""

    tokens: Mapping[str, int]
    within: Mapping[str, float]

    def most(self) -> dict[str, int]:
        return {
            name: math.ceil(count * (1 + self.within.get(name, 0.0)))
            for name, count in self.tokens.items()
        }

    def plain(self) -> dict[str, Any]:
        """For a plan: ``tokens_held`` and, of estimates, ``give_or_take_percent``."""
        percent = {name: round(100 * share, 1) for name, share in self.within.items() if share}
        return {
            "tokens_held": dict(self.tokens),
            **({"give_or_take_percent": percent} if percent else {}),
        }

    def told(self) -> str:
        """A line for an error, if these are no counts."""
        if not any(self.within.values()):
            return ""
        most = max(self.within.values())
        return (
            "\n(the shards were not encoded yet: their sizes are estimates from some documents,"
            f" with up to {most:.0%} added)"
        )


def read_held(value: Mapping[str, Any]) -> Held | None:
    """What a step that makes tokens expects them to hold, or holds if it is made."""
    made = value.get("made")
    if made is not None:
        return Held(made.facts["tokens"], {})
    if "tokens_held" in value:
        percent = value.get("give_or_take_percent", {})
        return Held(value["tokens_held"], {name: p / 100 for name, p in percent.items()})
    return None


def estimate(held: Mapping[str, int], sample: Mapping[str, LookedAt]) -> Held:
    """Tokens of each shard from its bytes of text (``held``) and what some documents came to.

    The ratio of tokens to bytes, over places all over the corpus; :data:`ERRORS` standard errors
    of it (Cochran 1977, "Sampling Techniques", chapter 6) are allowed, 25 % with few places.
    """
    rows = list(sample.values())
    overall = sum(row.tokens for row in rows) / max(1, sum(row.bytes for row in rows))
    tokens, within = {}, {}
    for name, size in held.items():
        row = sample.get(name)
        if row is not None and row.whole:
            tokens[name], within[name] = row.tokens, 0.0
            continue
        rate = row.tokens / row.bytes if row and row.bytes else overall
        tokens[name], within[name] = max(1, round(size * rate)), LEEWAY
        if row is not None and len(row.places) >= MANY and rate:
            count = len(row.places)
            squares = sum((tokens - rate * size) ** 2 for size, tokens in row.places)
            error = math.sqrt(squares * count / (count - 1)) / row.tokens
            within[name] = round(max(LEAST_LEEWAY, ERRORS * error), 4)
    return Held(tokens, within)


def suppose(
    held: Held, phases: Sequence[Mapping[str, Any]], told: Mapping[str, Any] | None = None
) -> Mixture:
    """The mixture of shards that are not there yet, with as many tokens as they may have.

    Raises :class:`UsageError` for what is wrong with it whatever they turn out to hold.
    """
    shards = {
        name: {"files": [f"{n:05d}"], "tokens": count, "documents": 1}
        for n, (name, count) in enumerate(held.most().items())
    }
    told = told or {"vocabulary_size": 1, "end_id": 0, "tokenizer": ""}
    try:
        return build_mixture({**told, "shards": shards, "phases": list(phases)})
    except UsageError as error:
        hint = error.hint or "smaller budgets, more text, or max_epochs"
        raise UsageError(error.message + held.told(), hint=hint) from error


def only_names(names: Sequence[str]) -> Held:
    """Shards of which nothing but the names is known: no budget is too large for them."""
    return Held(dict.fromkeys(names, ENDLESS), {})


def asked(phases: Sequence[Phase], width: int) -> dict[str, Any]:
    """What phases ask for: as they were given, tokens of each and, if all end, in all by shard.

    ``width``: bytes a token, for the size of what is read in training.
    """
    if not phases:
        return {}
    given = [phase.model_dump(exclude_defaults=True) for phase in phases]
    lengths = {
        phase.name: f"{phase.length:,} tokens" if phase.length else "as long as training asks for"
        for phase in phases
    }
    if any(phase.length is None for phase in phases):
        return {"phases": given, "phase": lengths}
    shards: dict[str, Fraction] = {}
    for phase in phases:
        for name, share in phase.shares().items():
            shards[name] = shards.get(name, Fraction(0)) + share * (phase.length or 0)
    total = sum(phase.length or 0 for phase in phases)
    return {
        "phases": given,
        "phase": lengths,
        "tokens": total,
        "token_gb": total * width / 1e9,
        "tokens_of": {name: round(count) for name, count in sorted(shards.items())},
    }
