"""What a model is asked, with models that answer as they are told."""

import math
from typing import ClassVar

import pytest

from yoriai import Answer, Generated, Prompt, Sample, Task
from yoriai_eval.scoring import asking
from yoriai_eval.scoring.protocol import Exam


class Words(Task):
    form: ClassVar[str] = "generation"


PROMPT = Prompt(header="{instruction}", shot="\nQ:{input} A:{output}", query="\nQ:{input} A:")
SHOTS = tuple(Sample(id=f"s{n}", text=f"shot{n}", answer=str(n)) for n in range(3))


def exam(form="generation", **changes):
    task = Words()
    task._entry = "acme/words"
    told = {
        "metrics": ("exact_match",),
        "prompt": PROMPT,
        "answer": Answer(cut="\n", strip=True),
        "instruction": "Say.",
        "shots": SHOTS,
        "max_tokens": 5,
    }
    return Exam(task=task, form=form, **{**told, **changes})


class Model:
    """One token a character; remembers what it was asked."""

    def __init__(self, context=0, answer="x", likelihood=lambda before, after: -1.0):
        self.context = context
        self.answer = answer
        self.likelihood = likelihood
        self.prompts, self.pairs, self.prefixes = [], [], []

    def count(self, texts):
        return [len(text) for text in texts]

    def generate(self, prompts, **limits):
        self.prompts += prompts
        self.prefixes.append(limits["prefix"])
        assert all(prompt.startswith(limits["prefix"]) for prompt in prompts)
        made = [self.answer(p) if callable(self.answer) else self.answer for p in prompts]
        return [m if isinstance(m, Generated) else Generated(m) for m in made]

    def loglikelihood(self, pairs, prefix=""):
        assert all(before.startswith(prefix) for before, _ in pairs)
        self.pairs += pairs
        return [self.likelihood(*pair) for pair in pairs]

    def rolling_loglikelihood(self, texts):
        return [-math.log(2) * len(text.encode()) for text in texts]

    def render(self, instruction, text):
        return f"<user>{instruction}{text}</user>"


def sample(name, text, answer="x", **more):
    return Sample(id=name, text=text, answer=answer, **more)


def test_a_prompt_is_header_shots_and_question():
    model = Model()
    [row] = asking.ask(model, exam(), [sample("a", "what")])
    assert model.prompts == ["Say.\nQ:shot0 A:0\nQ:shot1 A:1\nQ:shot2 A:2\nQ:what A:"]
    assert model.prefixes == ["Say.\nQ:shot0 A:0\nQ:shot1 A:1\nQ:shot2 A:2\nQ:"]
    assert (row["reason"], row["score"], row["shots"]) == ("correct", 1.0, 3)


def test_shots_that_do_not_fit_are_left_out_whole_and_the_first_go_first():
    full = len("Say.\nQ:shot0 A:0\nQ:shot1 A:1\nQ:shot2 A:2\nQ:what A:") + 5
    model = Model(context=full)
    samples = [sample("a", "what"), sample("b", "what is longer"), sample("c", "w" * 60)]
    rows = asking.ask(model, exam(), samples)
    assert [row["shots"] for row in rows] == [3, 2, 0]
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert "Say.\nQ:shot1 A:1\nQ:shot2 A:2\nQ:what is longer A:" in model.prompts
    assert rows[2]["reason"] == "errored"
    assert "fit into the context" in rows[2]["note"]
    assert len(model.prompts) == 2


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (Generated("x"), "correct"),
        (Generated("y"), "wrong"),
        (Generated("y y", "length"), "truncated"),
        (Generated("", "refused"), "refused"),
        (Generated("", "error", "HTTP 500"), "errored"),
        (Generated(""), "unparsed"),
    ],
)
def test_every_answer_has_one_reason_and_stays_in_the_count(made, reason):
    [row] = asking.ask(Model(answer=made), exam(), [sample("a", "what")])
    assert row["reason"] == reason
    assert row["score"] == float(reason == "correct")


def test_ranked_choice_compares_sums_lengths_and_what_the_question_adds():
    values = {
        ("ask", "ab"): -4.0, ("ask", "abcd"): -6.0, ("ask", "z"): -3.0,
        ("", "ab"): -9.0, ("", "abcd"): -7.0, ("", "z"): -3.0,
    }  # fmt: skip
    model = Model(likelihood=lambda before, after: values[before, after])
    one = sample("a", "ask", answer=1, choices=("ab", "abcd", "z"))
    own = exam("ranked", own=True, shots=(), metrics=("accuracy_characters",))
    [row] = asking.ask(model, own, [one])
    assert row["picked"] == {"sum": 2, "characters": 1, "pmi": 0}
    assert row["scores"] == {"accuracy": 0.0, "accuracy_characters": 1.0, "accuracy_pmi": 0.0}
    assert row["score"] == 1.0


def test_the_gold_answer_is_counted_in_bytes():
    model = Model(likelihood=lambda before, after: -math.log(2) * 12)
    [row] = asking.ask(model, exam("gold"), [sample("a", "what", answer="寄合")])
    assert (row["bits"], row["bytes"]) == (12.0, 6)


def test_a_chat_template_goes_round_the_whole_prompt_and_keeps_its_prefix():
    model = Model()
    asking.ask(model, exam(chat=True), [sample("a", "what"), sample("b", "who")])
    assert model.prompts[0].startswith("<user>Say.")
    assert model.prefixes == ["<user>Say.\nQ:shot0 A:0\nQ:shot1 A:1\nQ:shot2 A:2\nQ:"]


def test_a_task_of_its_own_way_is_rendered_by_the_model():
    model = Model()
    own = exam(own=True, shots=(), metrics=("accuracy",), max_characters=8, max_tokens=0)
    object.__setattr__(own.task, "score", lambda sample, output: float(output == "x"))
    [row] = asking.ask(model, own, [sample("a", "what", instruction="Name it:")])
    assert model.prompts == ["<user>Name it:what</user>"]
    assert row["score"] == 1.0
