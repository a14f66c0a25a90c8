"""Evaluation: two tasks, with shots and metrics of their own, and a model that can reckon."""

import re
from itertools import islice
from typing import ClassVar, Literal

from yoriai import (
    Asking,
    Backend,
    Generated,
    Measured,
    Probe,
    ProbeResult,
    Prompt,
    Sample,
    Scorer,
    Task,
    Validation,
)


class Sums(Task):
    """Sums, written as digits, after two examples; its second metric counts digits."""

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["generation"]] = "generation"

    def askings(self):
        shown = Prompt(shot="{input}{output}", join="\n", query="\n{input}")
        return [
            Asking(form="generation", metrics=("exact", "digits"), prompt=shown, shots=2,
                   max_characters=8, stops=("\n",))
        ]  # fmt: skip

    def samples(self, artifacts):
        for number in range(10, 16):
            yield Sample(id=str(number), text=f"{number} + 5 = ", answer=str(number + 5))

    def shots(self, count):
        return [Sample(id=f"s{n}", text=f"{n} + 1 = ", answer=str(n + 1)) for n in range(count)]

    def score(self, sample, output):
        return float(output.strip() == sample.answer)

    def scores(self, sample, output):
        right = self.score(sample, output)
        return {"exact": right, "digits": float(output.strip().isdigit())}


class Larger(Task):
    """Ranked choice with an instruction, and a metric of its own from the likelihoods."""

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["ranked"]] = "ranked"

    def samples(self, artifacts):
        for number in range(3):
            choices = (str(number), str(number + 1))
            yield Sample(id=str(number), text="?", instruction="Which is larger?",
                         choices=choices, answer=1)  # fmt: skip

    def rank(self, sample, likelihoods):
        return {"margin": likelihoods[1] - likelihoods[0]}


class Reckoner(Backend):
    """Adds the last two numbers of a prompt; finds the larger number likelier if it was asked."""

    version: ClassVar[str] = "1"

    def open(self, folder):
        return Reckoning()


class Reckoning:
    context = 0

    def describe(self):
        return {"backend": "reckoner"}

    def count(self, texts):
        return []

    def loglikelihood(self, pairs, *, prefix=""):
        return [float(c) - 9 if "Which is larger?" in before else -1.0 for before, c in pairs]

    def rolling_loglikelihood(self, texts):
        return [-float(len(text)) for text in texts]

    def generate(self, prompts, *, max_new_tokens, max_characters=0, stop=(), prefix=""):
        answers = []
        for prompt in prompts:
            assert prompt.startswith("0 + 1 = 1\n1 + 1 = 2\n"), "the two shots come first"
            one, other = re.findall(r"\d+", prompt)[-2:]
            answers.append(Generated(str(int(one) + int(other)), "stop"))
        return answers

    def render(self, instruction, text):
        return f"{instruction}\n{text}"


class Length(Probe):
    """How many answers of a model are longer than one character."""

    version: ClassVar[str] = "1"
    needs = ("model", "likelihoods")
    limits: ClassVar[dict[str, str]] = {"en": "Length says little.", "ja": "長さは多くを語らない。"}

    def run(self, given):
        model = given.open_model()
        texts = [f"{sample.text} 1 + 1 = " for task in given.tasks for sample in task.samples(())]
        told = model.rolling_loglikelihood(texts)
        return ProbeResult(
            measures=[Measured.share("long", sum(v < -1 for v in told), len(told))],
            validation=Validation(how="by hand", holds=None, says="there is nothing to plant"),
            rows=({"value": value} for value in told),
        )


class FirstForm(Scorer):
    """The share of right answers of ranked tasks, and no more."""

    version: ClassVar[str] = "1"

    def score(self, model, tasks, artifacts, *, limit=None):
        return {task.entry.rpartition("/")[2]: self._one(model, task, artifacts, limit)
                for task in tasks if task.form == "ranked"}  # fmt: skip

    def _one(self, model, task, artifacts, limit):
        right = count = 0
        for sample in islice(task.samples(artifacts), limit):
            asked = model.render(sample.instruction, sample.text)
            found = model.loglikelihood([(asked, choice) for choice in sample.choices])
            right += found.index(max(found)) == sample.answer
            count += 1
        return right / max(1, count)
