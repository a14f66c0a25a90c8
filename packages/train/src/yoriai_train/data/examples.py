"""Examples of a tuning as rows of ids, and how many of them would be left out.

What is too long for the context, and that in which nothing is to be learned, is left out, counted
and named. :func:`count_examples` says how many are too long before anything is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from yoriai import Example, UsageError
from yoriai_train.data.chat import ChatForm, Encoded, Learn, WrittenAnew


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the examples; ``named`` gives the first places of each kind left out."""

    used: int
    answer_tokens: int
    tokens: int
    ends: set[int]
    counts: dict[str, int]
    named: dict[str, list[str]]


NAMED = 5  # places of examples that are left out, named in the facts
TOO_LONG, ALL_MASKED = "examples_too_long", "examples_all_masked"
ANEW, STRADDLING = "conversations_learned_by_answer", "answers_inside_a_token"


def told_of(written: Written) -> list[str]:
    """What was left out or is not as one would expect, in words."""
    words = {
        TOO_LONG: "too long for the context, left out",
        ALL_MASKED: "with nothing to learn, left out",
        ANEW: "learned answer by answer, as the template writes earlier turns anew",
        STRADDLING: "answers begin inside a token, which is not learned",
    }
    told = []
    for kind, count in written.counts.items():
        if count:
            places = written.named.get(kind, [])
            where = f": {', '.join(places)}" + (" and more" if count > len(places) else "")
            told.append(f"{count:,} {words[kind]}{where if places else ''}")
    return told


def write_examples(
    form: ChatForm,
    examples: Iterable[Example],
    context: int,
    path: Path,
    learn: Learn = "all",
    *,
    pairs: bool = False,
) -> Written:
    """Encode conversations as rows of ids, with the spans of them that are learned.

    With ``pairs`` each row holds the same of its rejected answer under ``rejected``.
    """
    form.check()
    used = answers = total = read = 0
    ends: set[int] = set()
    counts = dict.fromkeys((TOO_LONG, ALL_MASKED, ANEW, STRADDLING), 0)
    named: dict[str, list[str]] = {TOO_LONG: [], ALL_MASKED: []}

    with path.open("w", encoding="utf-8") as stream:
        for example in examples:
            read += 1
            check_pair(example, pairs)
            found, anew = encode(form, example, learn)
            sides = [[one] for one in found]
            if pairs:
                other, _ = encode(form, replace(example, turns=example.rejected), learn)
                sides = [[found[-1], other[-1]]]
            counts[ANEW] += anew
            for row in sides:
                spans = [one.spans() for one in row]
                kind = ""
                if max(len(one.ids) for one in row) > context + 1:
                    kind = TOO_LONG
                elif not all(spans):
                    kind = ALL_MASKED
                if kind:
                    counts[kind] += 1
                    if example.place and len(named[kind]) < NAMED:
                        named[kind].append(example.place)
                    continue
                used += 1
                for one in row:
                    total += len(one.ids)
                    counts[STRADDLING] += one.straddling
                    answers += sum(one.learned)
                    ends |= form.ends(one)
                body, *rest = ({"ids": o.ids, "spans": s} for o, s in zip(row, spans, strict=True))
                stream.write(json.dumps({**body, "rejected": rest[0]} if rest else body) + "\n")
    if not used:
        why = f"{counts[TOO_LONG]} do not fit into {context} tokens"
        if counts[ALL_MASKED]:
            why += f", of {counts[ALL_MASKED]} nothing is to be learned"
        raise UsageError(
            f"none of {read} examples can be learned: {why}",
            hint="use shorter examples, a larger length, or a model with a longer context",
        )
    return Written(used, answers, total, ends, counts, named)


def check_pair(example: Example, pairs: bool) -> None:
    """Refuse a pair where answers are learned, and an answer where pairs are."""
    where = f"{example.place}: " if example.place else ""
    if example.rejected and not pairs:
        raise UsageError(
            f"{where}a pair of a chosen and a rejected answer, of which tuning would use one",
            hint="set preference: {loss: dpo}, or give rows without 'rejected'",
        )
    if pairs and not example.rejected:
        raise UsageError(
            f"{where}no rejected answer, and preference wants pairs",
            hint="give rows with 'chosen' and 'rejected', or leave preference out",
        )


def encode(form: ChatForm, example: Example, learn: Learn) -> tuple[list[Encoded], bool]:
    """One conversation as one sequence; or one for each answer, where the template asks for it.

    Raises :class:`UsageError` with the place of the example.
    """
    try:
        try:
            return [form.encode(example.turns, learn)], False
        except WrittenAnew:
            places = [n for n, turn in enumerate(example.turns) if turn.role == "assistant"]
            chosen = places[-1:] if learn == "last" else places
            made = [form.encode(example.turns[: n + 1], "last") for n in chosen]
            return made, True
    except UsageError as error:
        where = f"{example.place}: " if example.place else ""
        raise UsageError(f"{where}{error.message}", hint=error.hint) from error


LOOKED_AT = 200  # examples of each source that are encoded before a run


@dataclass(frozen=True, slots=True)
class Counted:
    """What a source of examples holds. Only the first :data:`LOOKED_AT` examples are encoded.

    ``examples`` are all of them, ``encoded`` those that were, ``too_long`` of these do not fit, the
    longest of these has ``longest`` tokens. ``tokens`` are those of all that fit, both answers of a
    pair, as the characters of the others let expect.
    """

    examples: int
    encoded: int
    too_long: int
    longest: int
    tokens: float

    @property
    def kept(self) -> int:
        """Examples that fit, by the share of those that were encoded."""
        return round(self.examples * (1 - self.too_long / max(1, self.encoded)))


def count_examples(
    examples: Iterable[Example],
    form: ChatForm | None,
    context: int,
    learn: Learn = "all",
    *,
    pairs: bool = False,
) -> Counted:
    """Count examples, and of the first ones what is too long, as :func:`write_examples` does.

    Without ``form`` none is encoded: a character is counted as a token, and all fit.
    """
    stream = iter(examples)
    first = list(islice(stream, LOOKED_AT))
    begun = sum(map(_characters, first))
    count, total = len(first), begun
    for example in stream:
        count, total = count + 1, total + _characters(example)
    if form is None or not begun:
        return Counted(count, 0, 0, 0, float(total))
    too_long = longest = tokens = 0
    for example in first:
        check_pair(example, pairs)
        found = encode(form, example, "last" if pairs else learn)[0]
        if pairs:
            found = found[-1:] + encode(form, replace(example, turns=example.rejected), "last")[0]
        sizes = [len(one.ids) for one in found]
        longest = max(longest, *sizes)
        if max(sizes) > context + 1:
            too_long += 1
        else:
            tokens += sum(sizes)
    return Counted(count, len(first), too_long, longest, total * tokens / begun)


def _characters(example: Example) -> int:
    return sum(len(turn.text) for turn in (*example.turns, *example.rejected))
