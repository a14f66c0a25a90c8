"""Asking a model the samples of one exam: one row a sample, with all that came of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from yoriai import Generated, LanguageModel, Sample, files
from yoriai_eval.scoring import answers
from yoriai_eval.scoring.protocol import Exam, gold

DIGITS = 6  # of what is written: more than fp32 gives for a log-likelihood of a few hundred
TOKENS_PER_CHARACTER = 4  # at most, for pieces of single UTF-8 bytes
Row = dict[str, Any]


def ask(model: LanguageModel, exam: Exam, samples: Sequence[Sample]) -> list[Row]:
    """The rows of some samples, in their order.

    What a row holds depends on the samples asked with it only as far as the model's arithmetic
    does: a batch of other shapes may move a likelihood in its last digits.
    """
    if exam.form == "bits-per-byte":
        return _read(model, samples)
    rows: list[Row] = [{} for _ in samples]
    for shots, chosen in _by_shots(model, exam, samples):
        asked = [samples[i] for i in chosen]
        prompts, prefix = _prompts(model, exam, asked, shots)
        made = _FORMS[exam.form](model, exam, asked, prompts, prefix, shots)
        for place, sample, prompt, row in zip(chosen, asked, prompts, made, strict=True):
            told: Row = {"form": exam.form, "id": sample.id, "group": sample.group}
            if sample.cluster:
                told["cluster"] = sample.cluster
            told["prompt_sha256"] = files.digest_bytes(prompt.encode("utf-8", "surrogatepass"))
            if exam.shots:
                told["shots"] = shots
            rows[place] = {**told, **row}
    return rows


def _prompts(
    model: LanguageModel, exam: Exam, samples: Sequence[Sample], shots: int
) -> tuple[list[str], str]:
    """The prompts, and the text that all of them begin with."""
    if exam.own and not exam.plain:
        return [
            model.render(s.instruction, s.text) if is_rendered(exam, s) else s.text for s in samples
        ], ""
    prompts, prefix = [exam.question(s, shots) for s in samples], exam.prefix(shots)
    if not exam.chat:
        return prompts, prefix
    rendered = [model.render(prompt, "") for prompt in prompts]
    before, found, _ = rendered[0].partition(prefix) if prefix else ("", "", "")
    return rendered, before + found


def _by_shots(
    model: LanguageModel, exam: Exam, samples: Sequence[Sample]
) -> Iterator[tuple[int, list[int]]]:
    """(shots that fit, which samples): shots that do not fit are left out whole, first ones first.

    A prompt that does not fit without any shot is asked so all the same; the model refuses it.
    """
    groups: dict[int, list[int]] = {}
    waiting = list(range(len(samples)))
    for shots in range(len(exam.shots), -1, -1):
        if not waiting:
            break
        if shots == 0 or not model.context:
            groups[shots] = waiting
            break
        chosen = [samples[i] for i in waiting]
        prompts, _ = _prompts(model, exam, chosen, shots)
        counts = model.count(prompts)
        if not counts:
            groups[shots] = waiting
            break
        room = model.context - _room(model, exam, chosen)
        fits = [i for i, count in zip(waiting, counts, strict=True) if count <= room]
        if fits:
            groups[shots] = fits
        waiting = [i for i, count in zip(waiting, counts, strict=True) if count > room]
    yield from sorted(groups.items(), reverse=True)


def _room(model: LanguageModel, exam: Exam, samples: Sequence[Sample]) -> int:
    """Tokens to keep free for the answer."""
    if exam.form == "generation":
        return _kept_free(exam, model.context)
    answers_ = {c for s in samples for c in (s.choices if exam.form == "ranked" else (gold(s),))}
    return max(model.count(sorted(answers_)), default=0)


def _kept_free(exam: Exam, context: int) -> int:
    """Tokens of the context that no prompt may take from the answer.

    A limit in tokens is kept free whole, as the protocol means it; of one in characters, as many
    tokens, and no more than a quarter of a small context.
    """
    return min(exam.max_tokens or min(exam.max_characters, context // 4), context - 1)


def _generate(
    model: LanguageModel,
    exam: Exam,
    samples: Sequence[Sample],
    prompts: Sequence[str],
    prefix: str,
    shots: int,
) -> list[Row]:
    fits, limit = _fitting(model, exam, prompts)
    asked = [prompt for prompt, fit in zip(prompts, fits, strict=True) if fit is None]
    written = iter(
        model.generate(
            asked,
            max_new_tokens=limit,
            max_characters=exam.max_characters,
            stop=exam.stop,
            prefix=prefix,
        )
        if asked
        else ()
    )
    rows = []
    for sample, fit in zip(samples, fits, strict=True):
        made = next(written) if fit is None else fit
        reading = answers.read(exam, sample, made)
        row: Row = {"output": made.text, "ended": made.ended}
        if made.note:
            row["note"] = made.note
        row.update(answer=reading.answer, reason=reading.reason, scores=_rounded(reading.scores))
        row["score"] = row["scores"].get(exam.metrics[0], 0.0)
        rows.append(row)
    return rows


def _fitting(
    model: LanguageModel, exam: Exam, prompts: Sequence[str]
) -> tuple[list[Generated | None], int]:
    """None for each prompt that fits, else what stands for its answer; and tokens to write."""
    limit = exam.max_tokens or exam.max_characters * TOKENS_PER_CHARACTER
    counts = model.count(prompts) if model.context else []
    if not counts:
        return [None] * len(prompts), limit
    room = model.context - _kept_free(exam, model.context)
    fits: list[Generated | None] = [
        None
        if count <= room
        else Generated("", "error", f"{count} tokens, {room} fit into the context")
        for count in counts
    ]
    longest = max((count for count in counts if count <= room), default=0)
    return fits, min(limit, model.context - longest)


def _rank(
    model: LanguageModel,
    exam: Exam,
    samples: Sequence[Sample],
    prompts: Sequence[str],
    prefix: str,
    shots: int,
) -> list[Row]:
    """Which choice is likeliest: by its sum, per character, and against a neutral context.

    The last is pointwise mutual information (Brown et al. 2020, arXiv 2005.14165, section 2.4;
    Holtzman et al. 2021, arXiv 2104.08315): how much the question raises the choice.
    """
    pairs = [(p, c) for p, s in zip(prompts, samples, strict=True) for c in s.choices]
    flat = iter(model.loglikelihood(pairs, prefix=prefix))
    neutral = [s.neutral if exam.own else exam.after.lstrip() for s in samples]
    alone = {(n, c): 0.0 for n, s in zip(neutral, samples, strict=True) for c in s.choices}
    alone = dict(zip(alone, model.loglikelihood(list(alone)), strict=True))
    rows = []
    for sample, context in zip(samples, neutral, strict=True):
        sums = [round(next(flat), DIGITS) for _ in sample.choices]
        lengths = [max(1, len(c)) for c in sample.choices]
        ranked = {
            "sum": sums,
            "characters": [value / n for value, n in zip(sums, lengths, strict=True)],
            "pmi": [
                value - round(alone[context, c], DIGITS)
                for value, c in zip(sums, sample.choices, strict=True)
            ],
        }
        picked = {name: values.index(max(values)) for name, values in ranked.items()}
        scores = {RANKED[name]: float(place == right(sample)) for name, place in picked.items()}
        scores |= exam.task.rank(sample, sums)
        first = exam.metrics[0] if exam.metrics[0] in scores else RANKED["sum"]
        rows.append(
            {
                "output": sample.choices[picked["sum"]],
                "likelihoods": sums,
                "picked": picked,
                "reason": "correct" if scores[first] else "wrong",
                "scores": scores,
                "score": scores[first],
            }
        )
    return rows


def is_rendered(exam: Exam, sample: Sample) -> bool:
    """Whether a sample is put in the model's own form of an instruction on a text."""
    return exam.own and not exam.plain and (exam.form == "generation" or bool(sample.instruction))


def right(sample: Sample) -> int:
    """The number of the right choice; -1 if the answer is none of them."""
    if isinstance(sample.answer, int):
        return sample.answer
    return sample.choices.index(sample.answer) if sample.answer in sample.choices else -1


# The metrics of ranked choice, by how the choices are compared.
RANKED = {"sum": "accuracy", "characters": "accuracy_characters", "pmi": "accuracy_pmi"}


def _gold(
    model: LanguageModel,
    exam: Exam,
    samples: Sequence[Sample],
    prompts: Sequence[str],
    prefix: str,
    shots: int,
) -> list[Row]:
    """Bits that the right answer costs after the prompt."""
    pairs = [(prompt, gold(s)) for prompt, s in zip(prompts, samples, strict=True)]
    likelihoods = model.loglikelihood(pairs, prefix=prefix)
    return [
        {"bits": _bits(value), "bytes": len(answer.encode())}
        for value, (_, answer) in zip(likelihoods, pairs, strict=True)
    ]


def _read(model: LanguageModel, samples: Sequence[Sample]) -> list[Row]:
    likelihoods = model.rolling_loglikelihood([s.text for s in samples])
    return [
        {
            "form": "bits-per-byte",
            "id": s.id,
            "group": s.group,
            **({"cluster": s.cluster} if s.cluster else {}),
            "bits": _bits(value),
            "bytes": len(s.text.encode()),
        }
        for s, value in zip(samples, likelihoods, strict=True)
    ]


def _bits(likelihood: float) -> float:
    return round(-likelihood / math.log(2), DIGITS)


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in scores.items()}


_FORMS = {"generation": _generate, "ranked": _rank, "gold": _gold}
