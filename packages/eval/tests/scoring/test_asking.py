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

    def chat(self, conversations):
        self.conversations = conversations
        return ["".join(f"<{r}>{t}</{r}>" for r, t in turns) for turns in conversations]


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
    assert row["picked"] == {"sum": 2, "characters": 1, "bytes": 1, "pmi": 0}
    assert row["scores"] == {
        "accuracy": 0.0, "accuracy_characters": 1.0, "accuracy_bytes": 1.0, "accuracy_pmi": 0.0,
    }  # fmt: skip
    assert row["score"] == 1.0


def test_a_script_of_more_bytes_a_character_gains_nothing_by_bytes():
    values = {"あいう": -6.0, "abcd": -4.0}
    model = Model(likelihood=lambda before, after: values[after])
    own = exam("ranked", own=True, shots=(), metrics=("accuracy",))
    [row] = asking.ask(model, own, [sample("a", "ask", answer=0, choices=tuple(values))])
    # 2 nats a character against 1; two thirds of one a byte against 1.
    assert row["picked"]["characters"] == 1
    assert row["picked"]["bytes"] == 0


def test_a_ranked_question_longer_than_the_context_is_an_error_and_counted():
    model = Model(context=30)
    choices = ("yes", "perhaps")
    long = sample("a", "w" * 24, answer=0, choices=choices)
    exact = sample("b", "w" * 23, answer=0, choices=choices)
    own = exam("ranked", own=True, shots=(), metrics=("accuracy", "accuracy_pmi"))
    rows = asking.ask(model, own, [long, exact])
    assert [row["reason"] for row in rows] == ["errored", "correct"]
    assert rows[0]["note"] == "prompt and answer need 31 tokens, 30 fit into the context"
    assert rows[0]["score"] == 0.0
    assert set(rows[0]["scores"]) == set(rows[1]["scores"])
    assert not any(before.startswith("w" * 24) for before, _ in model.pairs)


def test_a_ranked_question_gives_up_shots_before_it_is_an_error():
    prompt = "Say.\nQ:shot1 A:1\nQ:shot2 A:2\nQ:what A:"
    model = Model(context=len(prompt) + 2)
    one = sample("a", "what", answer=0, choices=("x", "yy"))
    [row] = asking.ask(model, exam("ranked", metrics=("accuracy",)), [one])
    assert (row["shots"], row["reason"]) == (2, "correct")
    assert (prompt, "yy") in model.pairs


def test_a_gold_that_does_not_fit_costs_eight_bits_a_byte_and_is_counted():
    from yoriai_eval.scoring import totals

    model = Model(context=30, likelihood=lambda before, after: -math.log(2))
    own = exam("gold", own=True, shots=(), metrics=("gold_bits_per_byte",))
    rows = asking.ask(model, own, [sample("a", "w" * 40, "寄合"), sample("b", "w", "ab")])
    assert (rows[0]["bits"], rows[0]["bytes"], rows[0]["reason"]) == (48.0, 6, "errored")
    facts = totals.score_gold(rows, 0)
    assert facts["reasons"] == {"errored": 1}
    assert facts["score"] == round(49 / 8, 4)


def test_how_many_shots_a_sample_gets_does_not_depend_on_the_samples_beside_it():
    full = len("Say.\nQ:shot0 A:0\nQ:shot1 A:1\nQ:shot2 A:2\nQ:what A:")
    short = sample("a", "what", answer=0, choices=("x", "y"))
    long = sample("b", "what", answer=0, choices=("x" * 20, "y"))
    for beside in ([short], [short, long]):
        [row, *_] = asking.ask(Model(context=full + 1), exam("ranked"), beside)
        assert row["shots"] == 3


def test_the_gold_answer_is_counted_in_bytes():
    model = Model(likelihood=lambda before, after: -math.log(2) * 12)
    [row] = asking.ask(model, exam("gold"), [sample("a", "what", answer="寄合")])
    assert (row["bits"], row["bytes"]) == (12.0, 6)


def test_a_chat_template_goes_round_the_whole_prompt_and_keeps_its_prefix():
    model = Model()
    asking.ask(model, exam(chat=True), [sample("a", "what"), sample("b", "who")])
    assert model.prompts[0].startswith("<user>Say.")
    assert model.prefixes == ["<user>Say.\nQ:shot0 A:0\nQ:shot1 A:1\nQ:shot2 A:2\nQ:"]


def test_examples_are_turns_and_the_prefix_ends_where_the_question_begins():
    model = Model()
    asking.ask(model, exam(chat="turns"), [sample("a", "what"), sample("b", "who")])
    examples = [
        ("user", "Say.\nQ:shot0 A:"), ("assistant", "0"), ("user", "Q:shot1 A:"),
        ("assistant", "1"), ("user", "Q:shot2 A:"), ("assistant", "2"),
    ]  # fmt: skip
    assert model.conversations == [
        [*examples, ("user", "Q:what A:")],
        [*examples, ("user", "Q:who A:")],
    ]
    assert model.prefixes == ["".join(f"<{r}>{t}</{r}>" for r, t in examples) + "<user>"]


@pytest.mark.parametrize("form", ["ranked", "gold", "generation"])
@pytest.mark.parametrize("chat", [True, "turns"])
def test_a_model_without_a_chat_template_is_asked_the_plain_prompt(form, chat):
    asked = []
    for way in (False, chat):
        model = Model()
        model.chat = lambda conversations: []
        rows = asking.ask(model, exam(form, chat=way), [sample("a", "what", 0, choices=("x", "y"))])
        asked.append((model.prompts, model.pairs, model.prefixes, rows))
    assert asked[0] == asked[1]


def test_choices_are_compared_after_the_turns():
    model = Model()
    asking.ask(model, exam("ranked", chat="turns"), [sample("a", "what", 0, choices=("x", "y"))])
    assert model.pairs[0][0].endswith("<assistant>2</assistant><user>Q:what A:</user>")
    assert [after for _, after in model.pairs[:2]] == ["x", "y"]


def test_examples_that_do_not_fit_as_turns_are_left_out_with_their_answers():
    whole = Model().chat([exam(chat="turns").turns(sample("a", "what"), 1)])
    model = Model(context=len(whole[0]) + 5)
    [row] = asking.ask(model, exam(chat="turns"), [sample("a", "what")])
    assert row["shots"] == 1
    assert model.prompts == whole
    assert whole[0].startswith("<user>Say.\nQ:shot2 A:</user><assistant>2</assistant>")


def test_what_stands_round_an_answer_in_the_template_stays_with_its_turn():
    prompt = Prompt(
        header="", shot="問：{input}\n答：「{output}」", join="\n次\n", query="問：{input}\n答："
    )
    told = exam(chat="turns", prompt=prompt, shots=SHOTS[:2]).turns(sample("a", "{output}"))
    assert told == [
        ("user", "問：shot0\n答：「"), ("assistant", "0」"), ("user", "次\n問：shot1\n答：「"),
        ("assistant", "1」"), ("user", "次\n問：{output}\n答："),
    ]  # fmt: skip
    assert exam(chat="turns", prompt=prompt, shots=()).turns(sample("a", "b")) == [
        ("user", "問：b\n答：")
    ]


def test_a_template_that_changes_the_question_costs_the_prefix_and_no_answer():
    model = Model()
    model.chat = lambda conversations: [turns[-1][1].upper() for turns in conversations]
    rows = asking.ask(model, exam(chat="turns"), [sample("a", "what"), sample("b", "who")])
    assert model.prefixes == [""]
    assert [row["reason"] for row in rows] == ["correct", "correct"]


def test_a_task_of_its_own_way_is_rendered_by_the_model():
    model = Model()
    own = exam(own=True, shots=(), metrics=("accuracy",), max_characters=8, max_tokens=0)
    object.__setattr__(own.task, "score", lambda sample, output: float(output == "x"))
    [row] = asking.ask(model, own, [sample("a", "what", instruction="Name it:")])
    assert model.prompts == ["<user>Name it:what</user>"]
    assert row["score"] == 1.0
