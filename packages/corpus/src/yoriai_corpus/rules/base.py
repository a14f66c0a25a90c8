"""The two shapes most rules have: a number with limits, and an ordered chain of rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from yoriai import Document, Filter, Verdict
from yoriai_corpus.text.batch import F64, Batch, batch_of


class Limit(Filter):
    """A rule that measures one number of a document and drops it outside the limits.

    A rule of this shape only says how to measure a whole batch, and its limits. The value of
    every document, dropped or not, can then be shown (``yoriai corpus judge``) and drawn.
    """

    def measure(self, batch: Batch) -> F64:
        """One number a document, in order; NaN where the rule has nothing to say (it is kept)."""
        raise NotImplementedError

    def measured(self, documents: Sequence[Document]) -> list[float]:
        return [float(value) for value in self.measure(batch_of(documents))] if documents else []

    def span(self, text: str) -> str:  # noqa: ARG002
        """The piece of a dropped text to show beside the value; "" if there is none."""
        return ""

    def judge_batch(self, documents: Sequence[Document]) -> list[Verdict]:
        if not documents:
            return []
        batch = batch_of(documents)
        values, (least, most) = self.measure(batch), self.limits()
        verdicts = [self.KEEP] * len(batch)
        for index in np.flatnonzero((values < least) | (values > most)):
            value = float(values[index])
            verdicts[index] = Verdict(
                "drop",
                value=value,
                threshold=least if value < least else most,
                span=self.span(batch[index].text),
            )
        return verdicts

    def judge(self, document: Document) -> Verdict:
        return self.judge_batch([document])[0]


class Chain(Filter):
    """Several rules in a fixed order under one name, such as a published recipe.

    :func:`expand` puts them in the chain's place, each called ``plugin/chain.rule``, so that
    the account says which of them dropped a document.
    """

    def chain(self) -> Sequence[tuple[str, Filter]]:
        raise NotImplementedError

    def judge(self, document: Document) -> Verdict:
        edited = False
        text = document.text
        for _, rule in self.chain():
            verdict = rule.judge(replace(document, text=text))
            if verdict.action == "drop":
                return verdict
            if verdict.action == "edit":
                text, edited = verdict.text, True
        return Verdict("edit", text=text) if edited else self.KEEP


def expand(rules: Iterable[Filter]) -> list[Filter]:
    """Rules with every chain written out, in order."""
    found: list[Filter] = []
    for rule in rules:
        if not (chain := rule.chain()):
            found.append(rule)
            continue
        for name, inner in chain:
            named = inner.model_copy(update={"languages": rule.languages})
            named._entry = f"{rule.entry}.{name}"
            found += expand([named])
    return found
