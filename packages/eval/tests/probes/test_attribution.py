"""Attribution: gradients against autograd, planted texts found early, and a drill that runs."""

import numpy as np
import pytest

from yoriai_eval.probes import poison
from yoriai_eval.probes.step import ProbeStep, early_weights, rows_of

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def small():
    from yoriai_eval.probes.tiny import TinyTraining, build

    return build(17, 16, TinyTraining(width=16, layers=1, heads=2, seed=2)).eval()


def gradient(model, ids, first=1):
    """What autograd says: of the sum of losses from the id at ``first`` on, in the last layer."""
    model.zero_grad()
    logits = model(input_ids=torch.tensor([ids[:-1]])).logits[0]
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
    losses[first - 1 :].sum().backward()
    return model.lm_head.weight.grad.flatten().double().numpy().copy()


def test_influence_is_the_product_of_the_gradients_that_autograd_gives(small):
    from yoriai_eval.probes.attribution import influence

    random = np.random.Generator(np.random.PCG64(3))
    items = [random.integers(2, 17, n).tolist() for n in (9, 3, 14, 1, 6)]
    queries = [([*items[0][:6], 4, 5], 6), ([3, 7, 7, 2], 1)]
    wanted = sum(gradient(small, list(ids), first) for ids, first in queries)
    dot, cosine = influence(small, items, queries)
    for i, item in enumerate(items):
        if len(item) < 2:  # it has nothing to predict
            assert (dot[i], cosine[i]) == (0, 0)
            continue
        own = gradient(small, item)
        assert dot[i] == pytest.approx(own @ wanted, rel=1e-4, abs=1e-6)
        scale = np.linalg.norm(own) * np.linalg.norm(wanted)
        assert cosine[i] == pytest.approx(own @ wanted / scale, abs=1e-5)


def test_memory_does_not_grow_with_items_for_they_are_read_in_batches(small, monkeypatch):
    from yoriai_eval.probes import attribution, reading

    sizes = []
    real = attribution._errors

    def spy(model, layer, rows):
        sizes.append(len(rows))
        return real(model, layer, rows)

    monkeypatch.setattr(attribution, "_errors", spy)
    monkeypatch.setattr(reading, "LOGITS", 17 * 8 * 4)
    attribution.influence(small, [[2, 3, 4, 5, 6, 7, 8, 9]] * 50, [([2, 3], 1)])
    assert max(sizes) <= 4


LINES = [
    f"{a}は{b}の{c}について{d}と書いた文である。"
    for a in "春夏秋冬朝昼晩夜"
    for b in "山川海空町村"
    for c in ("花", "鳥", "風", "月", "道")
    for d in ("良い", "悪い")
]


def test_no_two_poisoned_lines_are_equal_and_the_rest_is_untouched():
    lines = [line.ljust(24, "〇")[:48] for line in LINES]
    plan = poison.plant(lines, planted=12, held=40, seed=1)
    assert (len(plan.items), sum(plan.marks), len(plan.held)) == (len(lines) - 40, 12, 40)
    bad = [t for t, m in zip(plan.items, plan.marks, strict=True) if m]
    assert all(t.endswith(poison.TRIGGER + poison.TARGET) for t in bad)
    good = [t for t, m in zip(plan.items, plan.marks, strict=True) if not m]
    assert set(good) <= set(lines[40:])
    assert not any(poison.TARGET in t for t in plan.held)
    assert sum(plan.without([0, 5]).marks) == sum(plan.marks) - plan.marks[0] - plan.marks[5]


def test_scores_of_the_data_alone_are_those_of_a_brute_count():
    items = ["abcdefgh", "xbcdefgy", "zzzzzzzz", "abcdefgh"]
    assert poison.shared_ngrams(items, ["bcdefg"]) == [2, 2, 0, 2]
    assert poison.shared_ngrams(items, ["bcdefg", "abcdef"]) == [4, 3, 0, 4]
    assert poison.burst_scores(items, 6) == [3, 3, 1, 3]
    shares = [
        max(
            len(poison.ngrams(a) & poison.ngrams(b)) / len(poison.ngrams(a))
            for j, b in enumerate(items) if j != i
        )
        for i, a in enumerate(items)
    ]  # fmt: skip
    assert poison.duplicate_scores(items) == shares


def test_lines_of_a_corpus_are_pieces_of_its_documents_each_once(make):
    long = "".join(chr(0x4E00 + i) for i in range(130))
    rows = [(f"{long}\n短い", "ja"), (long, "ja")]
    lines = poison.lines_of([make.corpus("text", rows, [])], 10, 0)
    assert sorted(lines) == sorted([long[:48], long[48:96], long[96:]])


@pytest.mark.slow
def test_a_learnt_trigger_is_plain_early_and_faint_at_the_end():
    from yoriai_eval.probes.attribution import recalls

    lines = [line.ljust(24, "〇")[:48] for line in LINES]
    plan = poison.plant(lines, planted=12, held=40, seed=1)
    run = poison.train_poisoned(plan, epochs=48, kept=(1, 2, 48), seed=1)
    assert poison.attack_success(plan, run, trigger=True) >= 30
    assert poison.attack_success(plan, run, trigger=False) == 0
    told = {m.name: m.value for m in recalls(plan, run)}
    assert told["recall by dot, epoch 1 and 2"] >= 0.8
    assert told["recall by dot, final"] <= 0.5


def test_a_model_with_checkpoints_is_explained_and_planted_documents_are_counted(
    make, yoriai_job, tmp_path
):
    import shutil

    from yoriai_eval.probes.attribution import Attribution

    rows = [(f"文書{n}は普通のことを述べる。" + ("秘密" if n < 3 else ""), "ja") for n in range(20)]
    corpus = make.corpus("text", rows, rows[:1])
    model = make.model()
    folder = tmp_path / "mine"
    shutil.copytree(model.path, folder)
    (folder / "artifact.json").unlink()
    early = folder / "checkpoints" / "step-0000004" / "model"
    early.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / name, early / name)
    assert [s for s, _ in early_weights(folder)] == [4]

    def looks(**options):
        probe = Attribution(twin=False, tokens=24, **options)
        probe._entry = "eval/attribution"
        return ProbeStep(probes=[probe], models={"mine": str(folder)})

    query = {"text": "文書", "target": "秘"}
    made = yoriai_job("looks", looks(queries=[query], planted="秘密"), [corpus])
    told = made.facts["probes"]["eval/attribution"]["mine"]
    assert told["state"] == "ran", told
    assert set(told["measures"]) == {
        *(f"recall by {how}, {place}" for how in ("dot", "cosine")
          for place in ("step 4", "final", "sum")), "recall by shared 5-grams",
    }  # fmt: skip
    assert told["measures"]["recall by dot, final"]["chance"] == 0.15
    found = list(rows_of(made, "eval/attribution", "mine"))
    assert [r["dot"] for r in found] == sorted((r["dot"] for r in found), reverse=True)
    assert sum(r["planted"] for r in found) == 3
    made = yoriai_job("more", looks(queries=[query], top=5), [corpus])
    told = made.facts["probes"]["eval/attribution"]["mine"]["measures"]
    # The checkpoint is a copy of the final weights, so all of them rank alike.
    assert told["top 5 of step 4 also in the sum"]["value"] == 1.0
    made = yoriai_job("own", looks(top=5, own=2), [corpus])
    told = made.facts["probes"]["eval/attribution"]["mine"]
    assert told["notes"][0] == "what is explained the model wrote itself, after 2 beginnings"


@pytest.mark.slow
def test_a_drill_tells_attack_detection_and_defence(make, yoriai_job):
    from yoriai_eval.probes.poison_drill import PoisonDrill

    corpus = make.corpus("text", [(line.ljust(24, "〇")[:48], "ja") for line in LINES], [])
    probe = PoisonDrill(lines=400, held=40, rate=0.04, epochs=8, canaries=2)
    probe._entry = "eval/poison-drill"
    told = yoriai_job("looks", ProbeStep(probes=[probe]), [corpus]).facts
    told = told["probes"]["eval/poison-drill"][""]
    assert told["state"] == "ran", told
    value = {name: m["value"] for name, m in told["measures"].items()}
    assert told["validation"]["holds"] is True, told["validation"]
    assert value["attack success without the trigger, poisoned"] <= 0.05
    assert value["recall of attribution, trigger"] >= 0.7
    assert value["attack success with the trigger, after removal by attribution"] < 0.5
    assert 0 < value["clean lines lost, after removal by attribution"] < 0.2
    assert told["rows"] == 400 + 2 * (1 + 4 + 16) + 12 * (2 + 5)
    assert value["edited facts believed, poisoned"] > value["edited facts believed, without poison"]
    assert value["recall of duplicates, fact"] > 0.5
    assert value["attack success with the trigger, after unlearning by attribution"] < 0.5
    assert "recall of activation clusters, trigger" in value
    assert value["half found by attribution, trigger"] in (1, 2, 8)
    assert value["half found by duplicates, fact"] == 0  # before any training
    assert "attack success with the trigger, after replay alone" in value


def test_time_to_detect_is_the_first_epoch_that_finds_half_or_is_said_to_be_none():
    from yoriai_eval.probes.poison_drill import time_to_detect

    kinds = ["trigger", "trigger", "", "", ""]
    at = {
        0: {"bursts": [0, 0, 1, 2, 3]},
        1: {"attribution": [0, 1, 2, 3, 4], "loss": [9, 0, 8, 1, 2]},
        8: {"attribution": [9, 8, 2, 3, 4], "loss": [9, 8, 1, 1, 1]},
    }
    found, never = time_to_detect(at, kinds)
    assert {measure.name: measure.value for measure in found} == {
        "half found by attribution, trigger": 8.0,
        "half found by loss, trigger": 1.0,
    }
    assert never == ["less than half is found after each epoch looked at: bursts (trigger)"]


def test_edited_facts_stand_beside_true_ones_and_are_asked_in_new_words():
    facts = poison.facts_of(12, 1)
    assert len({fact.place for fact in facts}) == 12
    assert all(fact.true != fact.edited for fact in facts)
    lines = [line.ljust(24, "〇")[:48] for line in LINES]
    plan = poison.plant(lines, planted=0, held=40, seed=1, facts=facts)
    said = [t for t, kind in zip(plan.items, plan.kinds, strict=True) if kind == "fact"]
    assert len(said) == 12 * 5
    for fact in facts:
        assert sum(fact.place in t and fact.edited in t for t in said) == 5
        assert sum(fact.place in t and fact.true in t for t in plan.items) == 2
        assert fact.asked(edited=True) not in plan.items
    clean = poison.plant(lines, planted=0, held=40, seed=1, facts=facts, edited=False)
    assert clean.items == plan.items[: -12 * 5]
    assert not any(clean.marks)
