"""Ways to open models besides a Hugging Face folder, and the pure rules that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from yoriai import Generated, UsageError, YoriaiError

Ended = Literal["stop", "end", "length", "refused", "error"]


def cut(text: str, ended: Ended, *, stop: Sequence[str] = (), max_characters: int = 0) -> Generated:
    """What was written, up to the first stop text or the limit in characters.

    For engines that know no limit in characters, and for servers that take only four stop texts.
    A text that reaches the limit before a stop text ended by length.
    """
    places = [place for mark in stop if (place := text.find(mark)) >= 0]
    if places:
        text, ended = text[: min(places)], "stop"
    if max_characters and len(text) > max_characters:
        text, ended = text[:max_characters], "length"
    return Generated(text, ended)


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """Ids to read, and the place of the first one whose probability counts (0: the very first,
    which nothing precedes, so no model can give it one).
    """

    ids: tuple[int, ...]
    first: int


def spans(
    encode: Callable[[str], Sequence[int]], pairs: Sequence[tuple[str, str]], longest: int = 0
) -> list[ScoredSpan]:
    """What to read for the likelihood of each continuation after its context.

    ``encode`` puts the start mark before a text. Context and continuation are encoded as one
    text, so the pieces across the border are those of real text; what differs from the context
    alone belongs to the continuation. Continuations of one context are all scored from the first
    border among them, else one would pay for a longer piece. Raises
    :class:`yoriai.UsageError` for more than ``longest`` ids (if not 0): nothing is cut.
    """
    contexts = {context: encode(context) for context, _ in pairs}
    whole = [encode(context + continuation) for context, continuation in pairs]
    border: dict[str, int] = {}
    for (context, _), ids in zip(pairs, whole, strict=True):
        same = common(contexts[context], ids)
        border[context] = min(same, border.get(context, same))
    _fit(max(map(len, whole), default=0), longest)
    return [
        ScoredSpan(tuple(ids), border[context])
        for (context, _), ids in zip(pairs, whole, strict=True)
    ]


def _fit(tokens: int, longest: int) -> None:
    if longest and tokens > longest:
        raise UsageError(
            f"a text and its continuation have {tokens} tokens, {longest} fit into the context",
            hint="show fewer examples, or shorter texts",
        )


def windows(ids: Sequence[int], longest: int = 0, known: int = 1) -> list[ScoredSpan]:
    """A whole text in windows of at most ``longest`` ids (0: one window).

    The first ``known`` ids are the start mark and do not count. The last id of a window is the
    first of the next, so each other id counts once.
    """
    step = longest - 1 if longest else max(1, len(ids) - 1)
    places = range(0, len(ids) - 1, step)
    return [
        ScoredSpan(tuple(ids[place : place + step + 1]), 1 if place else max(known, 1))
        for place in places
    ]


def added(tokenizer: Any) -> list[int]:
    """What a tokenizer of ``transformers`` itself puts before a text."""
    alone = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a")
    for place in range(len(whole)):
        if alone and whole[place : place + len(alone)] == alone:
            return list(whole[:place])
    return []


Start = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands before a text, for every backend that sees ids.

    ``lead``: what comes before a prompt. ``first``: what comes before a text that is scored; where
    the tokenizer adds nothing, the end mark, which training puts between documents. A rendered
    template may hold the mark already; it is never doubled. Where ``always`` is false, a
    continuation gets a mark only if nothing else precedes it.
    """

    lead: tuple[int, ...]
    first: tuple[int, ...]
    always: bool = True

    @classmethod
    def of(
        cls,
        lead: Sequence[int],
        *known: int | None,
        start: Start = "auto",
        opening: int | None = None,
    ) -> Marks:
        """From what the tokenizer adds and its marks in order; token 0 if it has none.

        ``start: always`` puts ``opening``, else the first of the marks, before prompts as well;
        ``never`` puts nothing before them.
        """
        mark = next((mark for mark in known if mark is not None and mark >= 0), 0)
        before = tuple(lead)
        if start == "always" and not before:
            before = (mark if opening is None else opening,)
        return cls(() if start == "never" else before, before or (mark,), start != "never")

    def _held(self, ids: Sequence[int]) -> bool:
        return bool(self.lead) and self.lead == tuple(ids[: len(self.lead)])

    def prompt(self, ids: Sequence[int]) -> list[int]:
        """The ids of a prompt, never none at all."""
        return [*(() if self._held(ids) else self.lead), *ids] or list(self.first)

    def scored(self, ids: Sequence[int]) -> list[int]:
        """The ids of a text to score, after its start mark."""
        return [*(() if self._held(ids) else self.first), *ids]

    def spans(
        self,
        encode: Callable[[str], Sequence[int]],
        pairs: Sequence[tuple[str, str]],
        longest: int = 0,
    ) -> list[ScoredSpan]:
        """:func:`spans` with the marks put in; ``encode`` puts none."""
        if self.always:
            return spans(lambda text: self.scored(encode(text)), pairs, longest)
        made = []
        for span in spans(encode, pairs, longest):
            if not span.first:
                ids = (*self.first, *span.ids)
                _fit(len(ids), longest)
                span = ScoredSpan(ids, max(1, len(ids) - len(span.ids)))
            made.append(span)
        return made

    def windows(self, ids: Sequence[int], longest: int = 0) -> list[ScoredSpan]:
        """:func:`windows` of a text that begins after the mark."""
        return windows(self.scored(ids), longest, len(self.first))


Conversation = Sequence[tuple[str, str]]  # turns of (role, text)


def messages(turns: Conversation) -> list[dict[str, str]]:
    """Turns as the messages of OpenAI's API, which chat templates read."""
    return [{"role": role, "content": text} for role, text in turns]


def in_template(render: Callable[[list[dict[str, str]]], str], turns: Conversation) -> str:
    """A conversation in a chat template, up to where the answer begins, and whole."""
    from jinja2 import TemplateError

    try:
        rendered = render(messages(turns))
    except TemplateError as error:
        raise UsageError(
            f"the model's chat template refuses examples as turns: {error}",
            hint="chat: true in the protocol puts the whole prompt into one user's message",
        ) from error
    return whole(rendered, turns)


def whole(rendered: str, turns: Conversation) -> str:
    """A rendered conversation.

    Raises :class:`yoriai.UsageError` where its turns are not all there in their order: an example
    without its answer would be another question.
    """
    place = 0
    for role, text in turns:
        found = rendered.find(text.strip(), place)
        if found < 0:
            raise UsageError(
                f"the model's chat template leaves out turns, the {role}'s {text[:60]!r} or before",
                hint="chat: true in the protocol puts the whole prompt into one user's message",
            )
        place = found + len(text.strip())
    return rendered


def too_long(tokens: int, room: int) -> Generated:
    """What stands for the answer to a prompt that does not fit."""
    return Generated("", "error", f"{tokens} tokens, {room} fit into the context")


def no_number(name: str) -> YoriaiError:
    """What to raise where a model's logits are no numbers: any text picked from them is chance."""
    return YoriaiError(
        f"{name} gives no finite number for the next token",
        hint=f"its weights may hold NaN: yoriai verify {name}",
    )


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids two sequences begin with in common."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))


def common_of_all(sequences: Iterable[Sequence[int]]) -> int:
    """How many ids all sequences begin with in common; 0 for none."""
    ordered = sorted(map(tuple, sequences))  # the two ends differ first
    return common(ordered[0], ordered[-1]) if ordered else 0
