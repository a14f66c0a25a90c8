"""``eval/consistency``: does a model say the same when it is asked again?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from yoriai import (
    Figure,
    Generated,
    Measured,
    Probe,
    ProbeInputs,
    ProbeResult,
    Sample,
    UsageError,
    Validation,
)
from yoriai_eval.probes import agreement
from yoriai_eval.probes.detection import measured_auc
from yoriai_eval.probes.means import mean
from yoriai_eval.probes.texts import weights_bytes
from yoriai_eval.scoring import abstention, answers, protocol
from yoriai_eval.scoring.protocol import Exam

if TYPE_CHECKING:
    from yoriai_eval.probes.reading import OpenedFolder

COLD, HOT = 0.001, 3.0  # temperatures at which answers have to agree more, and less
TRIED = 20  # questions with which that is tried out
FITS_IN = 2.0  # times the size of the weights


@dataclass(frozen=True, slots=True)
class Repeated:
    """One question: what was written each time, as it was read, and which of it is right."""

    exam: Exam
    sample: Sample
    said: tuple[str, ...]
    right: tuple[bool, ...]


class Consistency(Probe):
    """Asks each question several times with chance, and sees whether the answers agree.

    Questions are put as the protocol says, in its plain form, for the tasks that are answered by
    writing. A model that makes things up tends to say something else each time (Manakul 2023,
    SelfCheckGPT, arXiv 2303.08896).
    """

    version: ClassVar[str] = "1"
    needs: ClassVar[Any] = ("weights", "tasks")
    source: ClassVar[str] = (
        "Wang et al. 2022, arXiv 2203.11171 (the commonest answer); Manakul et al. 2023, arXiv "
        "2303.08896 (agreement); Farquhar et al. 2024, Nature 630, 625 (entropy of answers)"
    )
    limits: ClassVar[Mapping[str, str]] = {
        "en": "Answers are compared as texts, so the same in other words counts as another "
        "answer. A model that is wrong in the same way each time is consistent. Of answers that "
        "are never right nothing can be told from agreement.",
        "ja": "回答は文字として比べるので、言い換えは別の答えに数えます。毎回同じように間違える"
        "モデルは一貫しています。正解が一つもなければ、一致から正誤は分かりません。",
    }

    times: int = Field(8, ge=2, le=64, description="answers to each question")
    temperature: float = Field(1.0, gt=0, le=10, description="of the distribution drawn from")
    questions: int = Field(50, ge=1, description="the first so many of each task")
    tokens: int = Field(24, ge=1, description="of an answer at most")
    protocol: str = Field("yoriai", description="how questions are put and answers are read")

    def obstacle(self, given: ProbeInputs) -> str:
        if not list(self._exams(given)):
            return "no task here is answered by writing: add one under 'tasks', e.g. eval/niilc"
        return ""

    def memory_bytes(self, given: ProbeInputs) -> int:
        return int(FITS_IN * weights_bytes(given.the_model().folder))

    def run(self, given: ProbeInputs) -> ProbeResult:
        from yoriai_eval.probes.reading import open_folder

        opened = open_folder(given.the_model().folder)
        pairs = [
            (exam, exam.put(sample))
            for exam in self._exams(given)
            for sample in islice(exam.task.samples(given.artifacts), self.questions)
        ]
        asked, left_out = [], 0
        for number, (exam, sample) in enumerate(given.progress(pairs, "asking again", len(pairs))):
            found = self._ask(opened, exam, sample, self.temperature, given.seed + number)
            asked += [found] if found else []
            left_out += found is None
        if not asked:
            raise UsageError(
                f"none of {len(pairs)} questions fits into the context of {opened.context} tokens",
                hint="tasks with shorter questions, or tokens: fewer",
            )
        tried = self._validation(opened, asked, given.seed)
        notes = [f"{left_out} of {len(pairs)} questions do not fit into the context"]
        return ProbeResult(
            measures=measures(asked, given.seed),
            validation=tried,
            rows=map(_row, asked),
            figures=[_figure(asked)],
            notes=notes if left_out else [],
        )

    def _exams(self, given: ProbeInputs) -> Iterator[Exam]:
        """Of each task its first form that is written."""
        rules = protocol.load(self.protocol)
        for task in given.tasks:
            written = [e for e in protocol.exams(rules, task) if e.form == "generation"]
            yield from written[:1]

    def _ask(
        self, opened: OpenedFolder, exam: Exam, sample: Sample, temperature: float, seed: int
    ) -> Repeated | None:
        """None where the question does not fit, even without examples."""
        from yoriai_eval.probes.sampling import write_by_chance

        room = opened.context - self.tokens if opened.context else math.inf
        for shots in range(len(exam.shots), -1, -1):
            ids = opened.encode(_prompt(exam, sample, shots))
            if len(ids) <= room:
                break
        else:
            return None
        ends = frozenset(i for i in (opened.tokenizer.eos_token_id,) if isinstance(i, int))
        made = write_by_chance(opened, ids, count=self.times, temperature=temperature,
                               tokens=self.tokens, ends=ends, seed=seed)  # fmt: skip
        texts = [opened.tokenizer.decode(row, skip_special_tokens=True) for row in made]
        read = [answers.read(exam, sample, Generated(_until(exam, text), "stop")) for text in texts]
        said = tuple(r.answer.strip() for r in read)
        return Repeated(exam, sample, said, tuple(r.reason == "correct" for r in read))

    def _validation(self, opened: OpenedFolder, asked: Sequence[Repeated], seed: int) -> Validation:
        """The same questions asked colder and hotter: answers have to agree more, and less."""
        how = f"the first {TRIED} questions at temperatures {COLD} and {HOT}"
        told = []
        for temperature in (COLD, HOT):
            again = [
                self._ask(opened, one.exam, one.sample, temperature, seed + number)
                for number, one in enumerate(asked[:TRIED])
            ]
            name = f"agreement at temperature {temperature:g}"
            told.append(mean(name, [agreement.agreement(a.said) for a in again if a], seed))
        if told[0].interval is None or told[1].interval is None:
            return Validation(how=how, holds=None, says="too few questions", measures=told)
        holds = told[0].interval[0] > told[1].interval[1]
        says = f"agreement is {told[0].value:.2f} cold and {told[1].value:.2f} hot"
        return Validation(how=how, holds=holds, says=says, measures=told)


def _prompt(exam: Exam, sample: Sample, shots: int) -> str:
    if exam.own and not exam.plain:
        return f"{sample.instruction}\n{sample.text}\n" if sample.instruction else sample.text
    return exam.question(sample, shots)


def _until(exam: Exam, text: str) -> str:
    """Up to the first of the exam's stop texts."""
    found = [place for stop in exam.stop if (place := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


def measures(asked: Sequence[Repeated], seed: int) -> list[Measured]:
    """What several answers to each of several questions come to."""
    clusters = [one.sample.cluster for one in asked]
    shared = [agreement.agreement(one.said) for one in asked]
    most_possible = [math.log(len(one.said)) for one in asked]
    spread = [
        min(1.0, agreement.entropy(one.said) / most)
        for one, most in zip(asked, most_possible, strict=True)
    ]
    first = sum(one.right[0] for one in asked)
    most = [one.right[agreement.commonest(one.said)] for one in asked]
    none = sum(any(map(abstention.manner, one.said)) for one in asked)
    return [
        mean("agreement", shared, seed, clusters),
        mean("entropy of answers, of the most possible", spread, seed, clusters),
        Measured.share("right, asked once", first, len(asked)),
        Measured.share("right, the commonest answer", sum(most), len(asked)),
        Measured.share("questions with an abstention", none, len(asked)),
        measured_auc(
            "AUC of agreement: right against wrong",
            [a for a, right in zip(shared, most, strict=True) if right],
            [a for a, right in zip(shared, most, strict=True) if not right],
        ),
    ]


def _row(one: Repeated) -> dict[str, Any]:
    return {
        "task": one.exam.name,
        "id": one.sample.id,
        "answers": list(one.said),
        "right": sum(one.right),
        "agreement": agreement.agreement(one.said),
    }


def _figure(asked: Sequence[Repeated]) -> Figure:
    """Share of right answers by how far answers agree, in fifths."""
    series: dict[str, list[tuple[Any, float]]] = {"right": []}
    for fifth in range(5):
        inside = [
            one.right[agreement.commonest(one.said)]
            for one in asked
            if min(4, int(5 * agreement.agreement(one.said))) == fifth
        ]
        if inside:
            name = f"{20 * fifth}–{20 * fifth + 20} % ({len(inside)})"
            series["right"].append((name, sum(inside) / len(inside)))
    return Figure(
        kind="bar",
        title="Right answers by agreement (questions) · 一致の度合いごとの正答(問い)",
        x_label="agreement · 一致",
        y_label="share right · 正答の割合",
        series=series,
    )
