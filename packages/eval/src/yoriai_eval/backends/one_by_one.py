"""A causal language model run the plain way, for kinds whose state cannot be gone on from.

Those are models with windows of attention on texts that are longer, state-space models, and
whatever :class:`yoriai_eval.backends.shared_prefix.Reader` finds to differ. Imports torch and
transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from yoriai import Generated
from yoriai_eval.backends.answer_end import Ending
from yoriai_eval.backends.rules import no_number
from yoriai_eval.backends.shared_prefix import LOGITS, likelihoods, padded

Span = tuple[list[int], list[int]]
POSITIONS = 256  # of one row whose logits are normalised at once


def score(model: Any, spans: Sequence[Span], batch: int, vocabulary: int) -> list[float]:
    """Log-likelihood of each span's second ids after its first; every span is read whole.

    Padding is on the right, where a causal model does not see it.
    """
    scores = [0.0] * len(spans)
    order = sorted(range(len(spans)), key=lambda i: (-sum(map(len, spans[i])), i))
    while order:
        width = sum(map(len, spans[order[0]])) - 1
        count = max(1, min(batch, LOGITS // max(1, width * vocabulary)))
        part, order = order[:count], order[count:]
        ids, _ = padded([[*spans[i][0], *spans[i][1]] for i in part], "right")
        ids = ids.to(model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
            for row, index in enumerate(part):
                first = len(spans[index][0]) - 1
                end = first + len(spans[index][1])
                for place in range(first, end, POSITIONS):
                    until = min(place + POSITIONS, end)
                    found = likelihoods(logits[row, place:until], ids[row, place + 1 : until + 1])
                    scores[index] += float(found.double().sum())
    return scores


def write(
    model: Any,
    prompts: Sequence[list[int]],
    endings: Sequence[Ending],
    batch: int,
    pads: bool,
    name: str = "the model",
) -> list[Generated]:
    """Greedy answers by ``transformers``' own loop.

    ``pads``: whether the model leaves padding out of account. A state-space model would read it,
    so only prompts of one length go together there. Raises :class:`yoriai.YoriaiError` that has
    ``name`` in it where logits are no numbers.
    """
    answers: dict[int, Generated] = {}
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    while order:
        part = [i for i in order[:batch] if pads or len(prompts[i]) == len(prompts[order[0]])]
        order = order[len(part) :]
        ids, real = padded([prompts[i] for i in part], "left")
        criterion = _Ended([endings[i] for i in part], ids.shape[1])
        with torch.inference_mode():
            model.generate(
                input_ids=ids.to(model.device),
                attention_mask=real.long().to(model.device),
                max_new_tokens=max(endings[i].tokens for i in part),
                do_sample=False,
                pad_token_id=0,
                stopping_criteria=StoppingCriteriaList([criterion]),
                logits_processor=LogitsProcessorList([_Numbers(name)]),
            )
        answers |= {index: criterion.answers[row] for row, index in enumerate(part)}
    return [answers[i] for i in range(len(prompts))]


class _Numbers(LogitsProcessor):
    """Changes no logit; refuses those that are none."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: ARG002
        if bool(scores.isnan().any()):
            raise no_number(self.name)
        return scores


class _Ended(StoppingCriteria):
    """Ends each row as its ending says, and keeps the answer."""

    def __init__(self, endings: Sequence[Ending], width: int) -> None:
        self.endings = endings
        self.width = width
        self.answers: dict[int, Generated] = {}

    def __call__(self, input_ids: Tensor, scores: Any, **options: Any) -> Any:  # noqa: ARG002
        for row, ids in enumerate(input_ids[:, self.width :].tolist()):
            if row not in self.answers and (answer := self.endings[row].read(ids)) is not None:
                self.answers[row] = answer
        done = [row in self.answers for row in range(len(self.endings))]
        return torch.tensor(done, device=input_ids.device)
