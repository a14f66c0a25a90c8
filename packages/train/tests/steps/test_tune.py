"""Tuning on instructions: what is a label, what is not, and what does not fit."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from yoriai import Example, Instructions, Turn, UsageError
from yoriai_train.data.chat import ChatForm
from yoriai_train.data.examples import ALL_MASKED, ANEW, TOO_LONG, told_of, write_examples
from yoriai_train.data.instructions import Jsonl
from yoriai_train.data.rows import read_row
from yoriai_train.job import batches
from yoriai_train.job.batches import IGNORED
from yoriai_train.settings.methods import LoRA
from yoriai_train.settings.schedule import Schedule
from yoriai_train.settings.strategies import DDP, FSDP2, Single
from yoriai_train.steps.tune import Tune

ASKED = [("Name it", "ファイル", "日本語"), ("Say yes", "", "yes"), ("Say no", "to this", "no")]
EXAMPLES = [Example.of(*asked) for asked in ASKED]


@pytest.fixture(scope="module")
def base(make):
    return make.model()


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = [dict(zip(("instruction", "input", "output"), asked, strict=True)) for asked in ASKED]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return Jsonl(path=str(path))


def written(base, tmp_path, examples, context=64, learn="all"):
    path = tmp_path / "examples.jsonl"
    counts = write_examples(ChatForm.read(base.path, base.name), examples, context, path, learn)
    return counts, [json.loads(line) for line in path.read_text().splitlines()]


def batch_of(tmp_path, count, **changes):
    spec = SimpleNamespace(
        examples=str(tmp_path / "examples.jsonl"), batch=count, context=64, pad_id=3, seed=1,
        seen=count, build_strategy=Single, preference=None, reference="", pack=False,
    )  # fmt: skip
    vars(spec).update(changes)
    made = batches.maker(spec, 0, 1)(0)
    return made["input_ids"], made["targets"]


def test_a_row_is_the_conversation_of_the_template_and_its_answer_is_learned(base, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base.path)
    found, rows = written(base, tmp_path, EXAMPLES)
    assert (found.used, found.ends, sum(found.counts.values())) == (3, {2}, 0)
    for (asked, more, answer), row in zip(ASKED, rows, strict=True):
        content = f"{asked}\n{more}" if more else asked
        [(first, stop)] = row["spans"]
        assert tokenizer.decode(row["ids"][:first]) == f"Q: {content}\nA: "
        assert tokenizer.decode(row["ids"][first:stop]) == f"{answer}</s>"
        assert stop == len(row["ids"])
    assert found.answer_tokens == sum(len(answer.encode()) + 1 for _, _, answer in ASKED)


def test_every_answer_token_and_the_end_mark_is_a_label_and_nothing_else(base, tmp_path):
    _, rows = written(base, tmp_path, EXAMPLES)
    x, y = batch_of(tmp_path, 3)
    found = []
    for inputs, labels in zip(x.tolist(), y.tolist(), strict=True):
        row = next(r for r in rows if inputs[: len(r["ids"]) - 1] == r["ids"][:-1])
        size, prompt = len(row["ids"]), row["spans"][0][0]
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


def test_examples_that_do_not_fit_or_teach_nothing_are_counted_named_and_left_out(base, tmp_path):
    long = replace(Example.of("x" * 200, "", "y"), place="a.jsonl:1")
    exact = Example.of("a", "", "b" * 50)
    read = (Turn("user", "a"), Turn("assistant", "b", learned=False))
    masked = [Example(read, place=f"a.jsonl:{n}") for n in range(2, 9)]
    size = len("Q: a\nA: ") + 50 + 1
    found, _ = written(base, tmp_path, [long, exact, *masked], context=size - 1)
    assert (found.used, found.counts[TOO_LONG], found.counts[ALL_MASKED]) == (1, 1, 7)
    assert found.named[TOO_LONG] == ["a.jsonl:1"]
    assert found.named[ALL_MASKED] == [f"a.jsonl:{n}" for n in range(2, 7)]
    assert told_of(found) == [
        "1 too long for the context, left out: a.jsonl:1",
        "7 with nothing to learn, left out: a.jsonl:2, a.jsonl:3, a.jsonl:4, a.jsonl:5, a.jsonl:6"
        " and more",
    ]
    assert batch_of(tmp_path, 1, context=size - 1)[0].shape == (1, size - 1)
    with pytest.raises(UsageError, match="none of 2 examples can be learned: 2 do not fit into 10"):
        written(base, tmp_path, [long, exact], context=10)


def counted(tmp_path, base, answers, capsys, **keys):
    """What a tuning on answers of so many bytes expects; "Q: a\\nA: ", the bytes and the end."""
    rows = [{"instruction": "a", "output": "b" * size} for size in answers]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = Tune(data=[Jsonl(path=str(path))], **keys).expect([{"made": base}])
    return told, capsys.readouterr().err


def test_a_plan_counts_what_is_too_long_and_says_which_length_takes_it(base, tmp_path, capsys):
    told, said = counted(tmp_path, base, [4, 4, 12], capsys, length=12)
    assert (told["examples_looked_at"], told["examples_too_long"]) == (3, 1)
    assert told["remedy"] == "length: 20"
    assert said == ""  # most of it is kept
    told, said = counted(tmp_path, base, [4, 12, 56], capsys, length=12)
    assert told["examples_too_long"] == 2
    assert told["remedy"] == "length: 64"
    assert "most would be left out: 2 of 3 examples do not fit into 12 tokens" in said
    told, _ = counted(tmp_path, base, [4, 4], capsys, length=12)
    assert told["examples_too_long"] == 0
    assert "remedy" not in told


def test_instructions_of_anybody_are_counted_before_a_run_if_they_say_that_they_are_here(base):
    class Sums(Instructions):
        here: bool = True

        def is_here(self):
            return self.here

        def examples(self, corpora, seed):
            return [Example.of("Add.", f"{n} + {n}", str(n + n)) for n in range(5)]

    told = Tune(data=[Sums()]).expect([{"made": base}])
    assert told["examples_looked_at"] == 5
    assert "examples_looked_at" not in Tune(data=[Sums(here=False)]).expect([{"made": base}])


def test_a_plan_says_where_no_length_is_enough_and_refuses_where_nothing_fits(
    base, tmp_path, capsys
):
    told, _ = counted(tmp_path, base, [4, 5, 80], capsys)
    assert told["remedy"] == "shorter examples, or a model with a context of 88 tokens"
    told, _ = counted(tmp_path, base, [4, 5, 80], capsys, length=12)
    assert told["remedy"].startswith("length: 64; for the longest shorter examples")
    with pytest.raises(UsageError, match="2 of 2 examples do not fit into 12 tokens") as refused:
        counted(tmp_path, base, [12, 13], capsys, length=12)
    assert refused.value.hint == "length: 21"


def test_a_pair_is_too_long_if_either_of_its_answers_is(base, tmp_path):
    rows = [
        {"prompt": "a", "chosen": "b", "rejected": "c" * size} for size in (4, 12, 13)
    ]  # fmt: skip
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    step = Tune(data=[Jsonl(path=str(path))], length=12, preference={"loss": "dpo"})
    # The model is still to be made, and its tokenizer lies where it comes from.
    told = step.expect([{"tokenizer": str(base.path)}])
    assert (told["examples_looked_at"], told["examples_too_long"]) == (3, 2)
    assert told["tokenizer"] == str(base.path)
    assert step.expect([{}]) == {}
    path.unlink()
    assert "examples_too_long" not in step.expect([{"made": base}])


def test_each_epoch_sees_every_example_once_in_an_order_of_its_own():
    epochs = [[batches.place_of(e * 9 + i, 9, 5) for i in range(9)] for e in range(3)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_every_example_is_seen_also_those_of_a_last_batch_that_is_not_full(base, tmp_path):
    examples = [Example.of("Say it", str(number), str(number)) for number in range(40)]
    _, rows = written(base, tmp_path, examples)
    spec = SimpleNamespace(
        examples=str(tmp_path / "examples.jsonl"), batch=16, context=64, pad_id=3, seed=1,
        seen=40, build_strategy=Single, preference=None, reference="", pack=False,
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


TALKS = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role == 'assistant' %}"
    "{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TALK = (
    Turn("system", "Be brief."), Turn("user", "One?"), Turn("assistant", "1"),
    Turn("user", "Two?"), Turn("assistant", "2"),
)  # fmt: skip


@pytest.mark.parametrize(("learn", "learned"), [("all", ["1</s>", "2</s>"]), ("last", ["2</s>"])])
def test_a_conversation_is_one_row_with_all_its_answers_or_the_last(make, tmp_path, learn, learned):
    from transformers import AutoTokenizer

    base = make.model(template=TALKS)
    _, [row] = written(base, tmp_path, [Example(TALK)], 200, learn)
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    assert tokenizer.decode(row["ids"]) == (
        "<system>Be brief.\n<user>One?\n<assistant>1</s>\n<user>Two?\n<assistant>2</s>\n"
    )
    assert [tokenizer.decode(row["ids"][a:b]) for a, b in row["spans"]] == learned


def test_where_a_template_writes_earlier_turns_anew_each_answer_is_a_row(make, tmp_path):
    from transformers import AutoTokenizer

    forgets = TALKS.replace("m.content }}", "m.content if loop.last or m.role != 'assistant' }}", 1)
    base = make.model(template=forgets)
    found, rows = written(base, tmp_path, [Example(TALK)], 200)
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    assert found.counts[ANEW] == 1
    assert [tokenizer.decode(row["ids"]) for row in rows] == [
        "<system>Be brief.\n<user>One?\n<assistant>1</s>\n",
        "<system>Be brief.\n<user>One?\n<assistant></s>\n<user>Two?\n<assistant>2</s>\n",
    ]


def test_an_example_that_a_template_refuses_is_named(make, tmp_path):
    base = make.model(
        template="{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}" + TALKS
    )
    with pytest.raises(UsageError, match=r"a\.jsonl:7: .*refuses a conversation: no system"):
        written(base, tmp_path, [Example(TALK, place="a.jsonl:7")])


def test_a_model_without_template_or_end_mark_and_a_quantised_one_are_refused(
    make, answers, yoriai_job
):
    with pytest.raises(UsageError, match="has no chat template"):
        yoriai_job("a", Tune(data=[answers]), [make.model(template="")])
    with pytest.raises(UsageError, match="writes no special token after an answer"):
        yoriai_job("b", Tune(data=[answers]), [make.model(eos=False)])

    def cut(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 200}))

    with pytest.raises(UsageError, match="tokenizer has 260 pieces, its embedding 200 rows"):
        yoriai_job("d", Tune(data=[answers]), [make.model(change=cut)])

    def quantise(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {}}))

    with pytest.raises(UsageError, match="is quantised; its integers cannot be trained"):
        yoriai_job("c", Tune(data=[answers]), [make.model(change=quantise)])


def test_examples_are_shown_as_tokens_with_the_masked_ones_marked(base, answers):
    from click.testing import CliRunner

    from yoriai_train.commands.show_examples import show_examples

    done = CliRunner().invoke(show_examples, [str(base.path), answers.path, "--count", "2"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "answers.jsonl:1: 37 tokens, 10 learned"
    assert lines[1].startswith("- Q│:│ │N│a│m│e│ │i│t│⏎│")
    assert lines[2].endswith("│</s>")
    assert lines[4:] == [
        "answers.jsonl:2: 18 tokens, 4 learned",
        "- Q│:│ │S│a│y│ │y│e│s│⏎│A│:│ ",
        "+ y│e│s│</s>",
    ]
    told = CliRunner().invoke(show_examples, [str(base.path), answers.path, "--json"])
    [_, second, _] = json.loads(told.output)["examples"]
    assert second["learned"] == [False] * 14 + [True] * 4


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
    assert facts["continued"][0] == ("Say yes", "yes")
    from transformers import AutoTokenizer

    after = AutoTokenizer.from_pretrained(made[0].path)
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    ids = after.apply_chat_template(chat, return_dict=False)
    assert ids.count(after.eos_token_id) == 1
    assert ids[-1] == after.eos_token_id


@pytest.mark.slow
def test_an_adapter_is_tuned_merged_and_kept_beside_the_model(base, answers, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from yoriai.plugins import load_registry
    from yoriai.testing import make_artifact

    schedule = Schedule(kind="cosine", peak=5e-2, warmup_steps=2)
    method = LoRA(rank=4, alpha=16)
    step = Tune(
        data=[answers], batch=1, accumulate=3, epochs=30, schedule=schedule, method=method,
        checkpoint={"every_steps": 10},
    )  # fmt: skip
    made = make_artifact(step, tmp_path / "tuned", [base], load_registry())
    assert made.facts["steps"] == 30
    assert made.facts["last_loss"] < 0.8 * made.facts["first_loss"]
    assert made.facts["adapter_parameters"] < made.facts["parameters"]
    plain = AutoModelForCausalLM.from_pretrained(base.path)
    merged = PeftModel.from_pretrained(plain, made.path / "adapter").merge_and_unload()
    stored = load_file(made.path / "model.safetensors")
    for name, tensor in merged.state_dict().items():
        if name in stored:
            assert torch_equal(stored[name], tensor)


def torch_equal(one, other):
    import torch

    return torch.allclose(one, other, atol=1e-7)


def test_packed_examples_have_the_loss_and_gradients_of_padded_ones_in_fewer_rows(base, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    from yoriai_train.model.cpu_llama import use_lean
    from yoriai_train.model.loss import Head

    many = [Example.of("Say", str(n) * (n % 5 + 1), "yes" * (n % 3 + 1)) for n in range(12)]
    written(base, tmp_path, many)
    found = {}
    for packed, flat in ((False, False), (True, False), (True, True)):
        spec = SimpleNamespace(
            examples=str(tmp_path / "examples.jsonl"), batch=12, context=64, pad_id=3, seed=1,
            seen=12, build_strategy=Single, preference=None, reference="", pack=packed,
        )  # fmt: skip
        batch = batches.maker(spec, 0, 1, flat=flat)(0)
        model = AutoModelForCausalLM.from_pretrained(base.path).train()
        use_lean(model, apart=flat)
        given = {k: v for k, v in batch.items() if k != "targets"}
        loss = Head(model).loss(model, batch["targets"], **given)
        loss.backward()
        grads = torch.cat([p.grad.flatten() for p in model.parameters()])
        counted = int((batch["targets"] != IGNORED).sum())
        found[packed + flat] = (loss.detach(), grads, counted, len(batch["targets"]))
    padded, rows, row = (found[way] for way in range(3))
    assert rows[2] == row[2] == padded[2]
    assert rows[3] < padded[3] / 2
    assert row[3] == 1
    for loss, grads, *_ in (rows, row):
        torch.testing.assert_close(loss, padded[0], rtol=1e-6, atol=0)
        torch.testing.assert_close(grads, padded[1], rtol=1e-4, atol=1e-5)


def test_pairs_are_not_packed(base, answers, yoriai_job):
    with pytest.raises(UsageError, match="pack: pairs of answers"):
        yoriai_job("a", Tune(data=[answers], pack=True, preference={}), [base])


def test_an_adapter_under_a_strategy_that_cuts_parameters_is_refused(base, answers, yoriai_job):
    step = Tune(data=[answers], method=LoRA(), strategy=FSDP2(), batch=2)
    with pytest.raises(UsageError, match="needs the whole model in each process"):
        yoriai_job("a", step, [base])


def test_without_a_model_to_tune_the_two_ways_to_name_one_are_told(answers, yoriai_job):
    with pytest.raises(UsageError, match="there is no model to tune"):
        yoriai_job("a", Tune(data=[answers]), [])


def test_pairs_are_written_with_both_sides_and_the_reference_gives_their_probabilities(
    base, tmp_path
):
    import torch
    from transformers import AutoModelForCausalLM

    from yoriai_train.job.reference import write_reference

    pairs = [read_row({"prompt": "a", "chosen": "yes", "rejected": "nope"}, "a.jsonl:1")]
    pairs += [read_row({"prompt": "b" * 9, "chosen": "1", "rejected": "22"}, "a.jsonl:2")]
    path = tmp_path / "examples.jsonl"
    form = ChatForm.read(base.path, base.name)
    write_examples(form, pairs, 64, path, "last", pairs=True)
    write_reference(base.path, path, tmp_path / "reference.jsonl", lambda items, *_: items)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = [json.loads(line) for line in (tmp_path / "reference.jsonl").read_text().splitlines()]
    model = AutoModelForCausalLM.from_pretrained(base.path)
    for row, (chosen, rejected) in zip(rows, told, strict=True):
        for side, logp in ((row, chosen), (row["rejected"], rejected)):
            ids = torch.tensor([side["ids"]])
            [(first, stop)] = side["spans"]
            with torch.no_grad():
                shares = model(ids).logits[0].log_softmax(-1)
            wanted = shares[range(first - 1, stop - 1), ids[0, first:stop]].sum()
            assert logp == pytest.approx(float(wanted), rel=1e-5)
    # Computed once: what is there is not made again.
    (tmp_path / "reference.jsonl").write_text("there")
    write_reference(base.path, path, tmp_path / "reference.jsonl", lambda items, *_: items)
    assert (tmp_path / "reference.jsonl").read_text() == "there"


def first_losses(base, folder, precision, reference):
    """The losses of the untuned model, step by step through the first epoch."""
    import torch
    from transformers import AutoModelForCausalLM

    from yoriai_train.job.reference import write_reference
    from yoriai_train.model.cpu_llama import use_lean
    from yoriai_train.model.cpu_products import use_products
    from yoriai_train.model.loss import Head
    from yoriai_train.settings.preference import Preference

    place = folder / f"{precision}-{reference}.jsonl"
    spec = SimpleNamespace(
        examples=str(folder / "examples.jsonl"), batch=3, context=64, pad_id=3, seed=1, seen=11,
        build_strategy=Single, preference=Preference(), reference=str(place), pack=False,
        precision=reference, liger=False, compile=False,
    )  # fmt: skip
    write_reference(base.path, Path(spec.examples), place, lambda items, *_: items, spec)
    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32).train()
    use_products(model)
    use_lean(model)
    head, make, losses = Head(model), batches.maker(spec, 0, 1), []
    for number in range(4):
        batch = make(number)
        y = batch["targets"]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "32-true"):
            by_token = head.losses(model, y, input_ids=batch["input_ids"])
        counts = (y != IGNORED).sum(-1).view(-1, 2)
        logps = -by_token.sum(-1).view(-1, 2)
        found, _ = spec.preference.of(logps, batch["reference"], counts)
        losses += found[batch["pairs"]].tolist()
    return losses


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_preferences_begin_at_ln_2_in_the_precision_of_the_training(base, tmp_path, precision):
    words = ["yes", "nope", "perhaps", "it is so", "no and no"]
    pairs = [
        read_row(
            {"prompt": "a" * (n % 4 + 1), "chosen": words[n % 5], "rejected": words[(n + 1) % 5]},
            f"a.jsonl:{n}",
        )
        for n in range(11)
    ]
    form = ChatForm.read(base.path, base.name)
    write_examples(form, pairs, 64, tmp_path / "examples.jsonl", "last", pairs=True)
    losses = first_losses(base, tmp_path, precision, precision)
    assert len(losses) == 11
    assert losses == pytest.approx([math.log(2)] * 11, abs=2e-6)
    if precision != "32-true":  # a reference that is rounded otherwise is seen
        other = first_losses(base, tmp_path, precision, "32-true")
        assert max(abs(loss - math.log(2)) for loss in other) > 2e-5


def test_pairs_without_preference_and_answers_with_it_are_refused(base, tmp_path):
    form = ChatForm.read(base.path, base.name)
    pair = read_row({"prompt": "a", "chosen": "b", "rejected": "c"}, "a.jsonl:1")
    with pytest.raises(UsageError, match=r"a\.jsonl:1: a pair of a chosen and a rejected"):
        write_examples(form, [pair], 64, tmp_path / "x")
    with pytest.raises(UsageError, match="no rejected answer, and preference wants pairs"):
        write_examples(form, EXAMPLES, 64, tmp_path / "x", "last", pairs=True)


@pytest.mark.slow
def test_a_model_learns_to_prefer_the_chosen_answers(base, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from yoriai.plugins import load_registry
    from yoriai.testing import make_artifact

    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Say {n}", "chosen": "yes", "rejected": "no"} for n in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    step = Tune(
        data=[Jsonl(path=str(path))], batch=2, epochs=6, preference={"loss": "dpo", "beta": 0.1},
        method=LoRA(rank=2), schedule=Schedule(kind="cosine", peak=2e-2, warmup_steps=2),
    )  # fmt: skip
    made = make_artifact(step, tmp_path / "tuned", [base], load_registry())
    log = [json.loads(line) for line in (made.path / "training.jsonl").read_text().splitlines()]
    assert [row["pairs"] for row in log] == [2] * 15
    assert log[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # log 2: nothing is preferred yet
    assert log[-1]["loss"] < 0.5
    assert log[-1]["accuracy"] == 1
    assert log[-1]["margin"] > 0.3


def test_examples_longer_than_the_length_are_left_out_and_a_length_beyond_the_context_refused(
    base, answers, yoriai_job
):
    told = yoriai_job("short", Tune(data=[answers], batch=2, length=48), [base]).facts
    assert told["examples_too_long"] + told["examples"] == len(ASKED)
    with pytest.raises(UsageError, match="length: 9,999 is more than the"):
        yoriai_job("long", Tune(data=[answers], batch=2, length=9_999), [base])
