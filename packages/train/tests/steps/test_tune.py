"""Tuning on instructions: what is a label, what is not, and what does not fit."""

import json
from types import SimpleNamespace

import pytest

from yoriai import Example, UsageError
from yoriai_train.data.instructions import Jsonl
from yoriai_train.job import batches
from yoriai_train.job.batches import IGNORED
from yoriai_train.settings.schedule import Schedule
from yoriai_train.settings.strategies import DDP, Single
from yoriai_train.steps import tune
from yoriai_train.steps.tune import Tune

EXAMPLES = [
    Example("Name it", "ファイル", "日本語"),
    Example("Say yes", "", "yes"),
    Example("Say no", "to this", "no"),
]


@pytest.fixture(scope="module")
def base(make):
    return make.model()


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = [{"instruction": e.instruction, "input": e.input, "output": e.output} for e in EXAMPLES]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return Jsonl(path=str(path))


def written(base, tmp_path, examples, context=64):
    path = tmp_path / "examples.jsonl"
    counts = tune.write_examples(base, examples, context, path)
    return counts, [json.loads(line) for line in path.read_text().splitlines()]


def batch_of(tmp_path, count, **changes):
    spec = SimpleNamespace(
        examples=str(tmp_path / "examples.jsonl"), batch=count, context=64, pad_id=3, seed=1,
        seen=count, build_strategy=Single,
    )  # fmt: skip
    vars(spec).update(changes)
    made = batches.maker(spec, 0, 1)(0)
    return made["input_ids"], made["targets"]


def test_prompt_and_answer_are_those_of_the_template_and_end_with_the_end_mark(base, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base.path)
    (used, skipped, answer_tokens), rows = written(base, tmp_path, EXAMPLES)
    assert (used, skipped) == (3, 0)
    for example, row in zip(EXAMPLES, rows, strict=True):
        both = f"{example.instruction}\n{example.input}"
        content = both if example.input else example.instruction
        chat = [{"role": "user", "content": content}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        assert prompt == f"Q: {content}\nA: "
        assert tokenizer.decode(row["ids"][: row["prompt"]]) == prompt
        assert tokenizer.decode(row["ids"][row["prompt"] :]) == f"{example.output}</s>"
    assert answer_tokens == sum(len(e.output.encode()) + 1 for e in EXAMPLES)


def test_every_answer_token_and_the_end_mark_is_a_label_and_nothing_else(base, tmp_path):
    _, rows = written(base, tmp_path, EXAMPLES)
    x, y = batch_of(tmp_path, 3)
    found = []
    for inputs, labels in zip(x.tolist(), y.tolist(), strict=True):
        row = next(r for r in rows if inputs[: len(r["ids"]) - 1] == r["ids"][:-1])
        size, prompt = len(row["ids"]), row["prompt"]
        wanted = [IGNORED] * (prompt - 1) + row["ids"][prompt:]
        assert labels == wanted + [IGNORED] * (len(labels) - len(wanted))
        assert labels[size - 2] == 2  # the end mark is taught
        assert inputs[size - 1 :] == [3] * (len(inputs) - size + 1)
        found.append(rows.index(row))
    assert sorted(found) == [0, 1, 2]


class Stub:
    """A model whose hidden states are given; its output layer is a real one."""

    def __new__(cls, hidden, ids):
        import torch

        model = torch.nn.Module()
        model.layer = torch.nn.Linear(8, 260, bias=False)
        model.get_output_embeddings = lambda: model.layer
        model.forward = lambda input_ids, use_cache: SimpleNamespace(logits=model.layer(hidden))
        return model


def test_positions_of_the_prompt_and_of_the_padding_get_no_gradient(base, tmp_path):
    import torch

    from yoriai_train.job.module import CausalModule
    from yoriai_train.settings.optimizer import Optimizer

    written(base, tmp_path, EXAMPLES)
    x, y = batch_of(tmp_path, 3)
    torch.manual_seed(0)
    hidden = torch.randn(*x.shape, 8, requires_grad=True)
    model = Stub(hidden, x)
    module = CausalModule(model, Schedule(), Optimizer(), steps=1)
    module._trainer = SimpleNamespace(world_size=1, accumulate_grad_batches=1)
    counted = (y != IGNORED).sum()
    loss = module.training_step({"input_ids": x, "targets": y, "tokens": counted}, 0)
    loss.backward()
    moved = hidden.grad.abs().sum(-1) > 0
    assert torch.equal(moved, y != IGNORED)
    logits = hidden.detach() @ model.layer.weight.T.detach()
    # The mean over all answer tokens, written out.
    picked = logits.log_softmax(-1).gather(-1, y.clamp(min=0)[..., None])[..., 0]
    assert float(loss.detach()) == pytest.approx(
        -float(picked[y != IGNORED].mean().detach()), rel=1e-6
    )


def test_examples_that_do_not_fit_are_counted_and_left_out(base, tmp_path):
    long = Example("x" * 200, "", "y")
    exact = Example("a", "", "b" * 50)
    size = len("Q: a\nA: ") + 50 + 1
    (used, skipped, _), _ = written(base, tmp_path, [long, exact], context=size - 1)
    assert (used, skipped) == (1, 1)
    assert batch_of(tmp_path, 1, context=size - 1)[0].shape == (1, size - 1)
    with pytest.raises(UsageError, match="none of 2 examples fits into 10 tokens"):
        written(base, tmp_path, [long, exact], context=10)


def test_each_epoch_sees_every_example_once_in_an_order_of_its_own():
    epochs = [[batches.place_of(e * 9 + i, 9, 5) for i in range(9)] for e in range(3)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_every_example_is_seen_also_those_of_a_last_batch_that_is_not_full(base, tmp_path):
    examples = [Example("Say it", str(number), str(number)) for number in range(40)]
    _, rows = written(base, tmp_path, examples)
    spec = SimpleNamespace(
        examples=str(tmp_path / "examples.jsonl"), batch=16, context=64, pad_id=3, seed=1,
        seen=40, build_strategy=Single,
    )  # fmt: skip
    for world in (1, 4):
        found = []
        for rank in range(world):
            make = batches.maker(spec, rank, world)
            for step in range(3):
                made = make(step)
                assert len(made["input_ids"]) == 16 // world
                for inputs, labels in zip(*(made[k].tolist() for k in made), strict=True):
                    if any(label != IGNORED for label in labels):
                        found += [
                            number
                            for number, row in enumerate(rows)
                            if inputs[: len(row["ids"]) - 1] == row["ids"][:-1]
                        ]
        assert sorted(found) == list(range(40))


def test_all_turns_before_an_answer_are_in_its_prompt_and_only_the_answer_is_learned(
    make, tmp_path
):
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    from transformers import AutoTokenizer

    base = make.model(template=template)
    before = (("system", "Be brief."), ("user", "One?"), ("assistant", "1"))
    _, [row] = written(base, tmp_path, [Example("Two?", "", "2", before)], 200)
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    assert tokenizer.decode(row["ids"][: row["prompt"]]) == (
        "<system>Be brief.\n<user>One?\n<assistant>1\n<user>Two?\n<assistant>"
    )
    assert tokenizer.decode(row["ids"][row["prompt"] :]) == "2</s>"


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (
            "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}",
            "leaves out a system turn: 'Be brief.'",
        ),
        (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}",
            "refuses a conversation: no system",
        ),
    ],
)
def test_a_template_that_drops_or_refuses_a_turn_is_refused(make, tmp_path, template, complaint):
    base = make.model(template=template)
    with pytest.raises(UsageError, match=complaint):
        written(base, tmp_path, [Example("One?", "", "1", (("system", "Be brief."),))])


def test_a_model_without_template_or_end_mark_and_a_quantised_one_are_refused(
    make, answers, yoriai_job
):
    with pytest.raises(UsageError, match="has no chat template"):
        yoriai_job("a", Tune(data=[answers]), [make.model(template="")])
    with pytest.raises(UsageError, match="has no end mark"):
        yoriai_job("b", Tune(data=[answers]), [make.model(eos=False)])

    def quantise(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {}}))

    with pytest.raises(UsageError, match="is quantised; its integers cannot be trained"):
        yoriai_job("c", Tune(data=[answers]), [make.model(change=quantise)])


def test_a_batch_that_the_processes_cannot_share_is_refused(base, answers, yoriai_job):
    with pytest.raises(UsageError, match="batch of 3 cannot be shared by 2 processes"):
        yoriai_job("a", Tune(data=[answers], batch=3, strategy=DDP()), [base])


@pytest.mark.slow
def test_tuning_teaches_the_answers_and_twice_gives_the_same_artifact(
    base, answers, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from yoriai.plugins import load_registry
    from yoriai.testing import make_artifact

    schedule = Schedule(kind="cosine", peak=2e-2, warmup_steps=2)
    step = Tune(data=[answers], batch=3, epochs=40, schedule=schedule, prompts=["Say yes"])
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(make_artifact(step, tmp_path / name / "tuned", [base], load_registry()))
    facts = made[0].facts
    assert made[0].digest == made[1].digest
    assert (facts["examples"], facts["steps"]) == (3, 40)
    assert facts["last_loss"] < 0.5 * facts["first_loss"]
    assert facts["continued"][0][0] == "Say yes"
