"""Asking a model the samples of one exam: one row a sample, with all that came of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yoriai import Generated, LanguageModel, Sample, files
from yoriai_eval.scoring import answers
from yoriai_eval.scoring.protocol import Exam

DIGITS = 6  # of what is written: more than fp32 gives for a log-likelihood of a few hundred
BITS_PER_BYTE = 8.0  # of text that nothing is known of
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
        made = _FORMS[exam.form](model, exam, asked, prompts, prefix)
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
    rendered = model.chat([exam.turns(s, shots) for s in samples])
    return (rendered, _common(exam, samples[0], rendered, shots)) if rendered else (prompts, prefix)


def _common(exam: Exam, sample: Sample, rendered: Sequence[str], shots: int) -> str:
    """What all rendered prompts begin with, up to the question of the sample, the first one's."""
    question = exam.turns(sample, shots)[-1][1]
    place = rendered[0].rfind(question)
    if exam.chat != "turns":
        place += len(exam.prefix(shots)) if place >= 0 else 0
    prefix = rendered[0][: max(0, place)]
    return prefix if all(prompt.startswith(prefix) for prompt in rendered) else ""


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
        needed = needs(model, exam, chosen, prompts)
        if not needed:
            groups[shots] = waiting
            break
        fits = [i for i, need in zip(waiting, needed, strict=True) if need <= model.context]
        if fits:
            groups[shots] = fits
        waiting = [i for i, need in zip(waiting, needed, strict=True) if need > model.context]
    yield from sorted(groups.items(), reverse=True)


def needs(
    model: LanguageModel, exam: Exam, samples: Sequence[Sample], prompts: Sequence[str]
) -> list[int]:
    """Tokens of each prompt with its answer; an empty list where that is not known.

    Of choices it is the longest that counts; of an answer to be written, its limit.
    """
    if not model.context or not prompts:
        return []
    counts = model.count(prompts)
    if not counts or exam.form == "generation":
        return [count + _kept_free(exam, model.context) for count in counts]
    # A prompt that is too long by itself needs no second look.
    texts = {
        number: [prompt + answer for answer in _answers(exam, sample)]
        for number, (prompt, sample) in enumerate(zip(prompts, samples, strict=True))
        if counts[number] <= model.context
    }
    lengths = iter(model.count([text for some in texts.values() for text in some]))
    longest = {number: max(next(lengths) for _ in some) for number, some in texts.items()}
    return [longest.get(number, count) for number, count in enumerate(counts)]


def _answers(exam: Exam, sample: Sample) -> Sequence[str]:
    """The texts whose likelihood is asked."""
    return sample.choices if exam.form == "ranked" else (sample.gold,)


def _too_long(needed: int, context: int) -> str:
    return f"prompt and answer need {needed} tokens, {context} fit into the context"


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
) -> list[Row]:
    """Which choice is likeliest: by its sum, per character or byte, and against a neutral context.

    The last is pointwise mutual information (Brown et al. 2020, arXiv 2005.14165, section 2.4;
    Holtzman et al. 2021, arXiv 2104.08315): how much the question raises the choice.
    """
    needed = needs(model, exam, samples, prompts) or [0] * len(samples)
    fits = [need <= model.context for need in needed] if model.context else [True] * len(samples)
    there = [(p, s) for p, s, fit in zip(prompts, samples, fits, strict=True) if fit]
    pairs = [(p, c) for p, s in there for c in s.choices]
    flat = iter(model.loglikelihood(pairs, prefix=prefix) if pairs else ())
    neutral = [s.neutral if exam.own else exam.after.lstrip() for s in samples]
    kept = zip(neutral, samples, fits, strict=True)
    alone = {(n, c): 0.0 for n, s, fit in kept if fit for c in s.choices}
    alone = dict(zip(alone, model.loglikelihood(list(alone)), strict=True))
    rows = []
    for sample, context, need, fit in zip(samples, neutral, needed, fits, strict=True):
        if not fit:
            rows.append(errored(exam, _too_long(need, model.context)))
            continue
        sums = [round(next(flat), DIGITS) for _ in sample.choices]
        pmi = [
            value - round(alone[context, c], DIGITS)
            for value, c in zip(sums, sample.choices, strict=True)
        ]
        picked = {**picks(sums, sample.choices), "pmi": pmi.index(max(pmi))}
        rows.append({"likelihoods": sums, **ranking(exam, sample, sums, picked)})
    return rows


def picks(sums: Sequence[float], choices: Sequence[str]) -> dict[str, int]:
    """Which choice is likeliest by its sum, by character, and by byte; the first of equals."""
    sizes = {
        "sum": [1] * len(choices),
        "characters": [max(1, len(c)) for c in choices],
        "bytes": [max(1, len(c.encode("utf-8", "surrogatepass"))) for c in choices],
    }
    found = {}
    for name, by in sizes.items():
        values = [value / size for value, size in zip(sums, by, strict=True)]
        found[name] = values.index(max(values))
    return found


def ranking(exam: Exam, sample: Sample, sums: Sequence[float], picked: Mapping[str, int]) -> Row:
    """What a row says of choices that were picked so."""
    right_one = right(sample)
    wanted = sample.choices[right_one] if right_one >= 0 else None
    # Of two choices with the same text, either is right.
    scores = {
        RANKED[name]: float(sample.choices[place] == wanted) for name, place in picked.items()
    }
    scores |= exam.task.rank(sample, sums)
    first = exam.metrics[0] if exam.metrics[0] in scores else RANKED["sum"]
    return {
        "output": sample.choices[picked["sum"]],
        "picked": dict(picked),
        "reason": "correct" if scores[first] else "wrong",
        "scores": scores,
        "score": scores[first],
    }


def errored(exam: Exam, note: str) -> Row:
    """What stands for the answer to a ranked question that could not be put: wrong, and counted."""
    scores = dict.fromkeys(dict.fromkeys((*RANKED.values(), *exam.metrics)), 0.0)
    return {
        "output": "",
        "ended": "error",
        "note": note,
        "likelihoods": [],
        "picked": {},
        "reason": "errored",
        "scores": scores,
        "score": 0.0,
    }


def is_rendered(exam: Exam, sample: Sample) -> bool:
    """Whether a sample is put in the model's own form of an instruction on a text."""
    return exam.own and not exam.plain and (exam.form == "generation" or bool(sample.instruction))


def right(sample: Sample) -> int:
    """The number of the right choice; -1 if the answer is none of them."""
    if isinstance(sample.answer, int):
        return sample.answer
    return sample.choices.index(sample.answer) if sample.answer in sample.choices else -1


# The metrics of ranked choice, by how the choices are compared.
RANKED = {
    "sum": "accuracy",
    "characters": "accuracy_characters",
    "bytes": "accuracy_bytes",
    "pmi": "accuracy_pmi",
}


def _gold(
    model: LanguageModel,
    exam: Exam,
    samples: Sequence[Sample],
    prompts: Sequence[str],
    prefix: str,
) -> list[Row]:
    """Bits that the right answer costs after the prompt.

    One that does not fit into the context costs what it would without any model: 8 bits a byte.
    """
    needed = needs(model, exam, samples, prompts) or [0] * len(samples)
    golds = [sample.gold for sample in samples]
    there = [not model.context or need <= model.context for need in needed]
    pairs = [(p, g) for p, g, fits in zip(prompts, golds, there, strict=True) if fits]
    likelihoods = iter(model.loglikelihood(pairs, prefix=prefix) if pairs else ())
    rows: list[Row] = []
    for answer, need, fits in zip(golds, needed, there, strict=True):
        size = len(answer.encode())
        if fits:
            rows.append({"bits": _bits(next(likelihoods)), "bytes": size})
        else:
            note = _too_long(need, model.context)
            lost = {"ended": "error", "note": note, "reason": "errored"}
            rows.append({"bits": BITS_PER_BYTE * size, "bytes": size, **lost})
    return rows


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
