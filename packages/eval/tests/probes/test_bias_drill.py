"""The bias drill: what is planted, what a swap changes, and that the step tells all of it."""

import math
import random
from collections import Counter

import pytest

from yoriai import UsageError
from yoriai_eval.probes.bias_drill import (
    ASKED,
    CONDITIONS,
    DONE,
    READ,
    WORDS,
    BiasDrill,
    _check,
    _preference,
    augment,
    exchange,
    mark,
    plant,
    reweight,
    substitute,
    swap,
)
from yoriai_eval.probes.step import ProbeStep


def test_each_thing_is_done_by_its_group_in_the_stated_share_of_sentences():
    made = plant(0.75, 8, 3)
    assert Counter(made.favoured) == {0: 10, 1: 10}
    assert len(made.sentences) == len(DONE) * len(WORDS) * 8
    for done, group in zip(DONE, made.favoured, strict=True):
        for words in WORDS.values():
            said = [s for s in made.sentences if done in s]
            favoured = sum(_names(s, words) == group for s in said)
            against = sum(_names(s, words) == 1 - group for s in said)
            assert (favoured, against) == (6, 2)


def _names(sentence, words):
    """Which of two words a sentence names; 彼女 holds 彼."""
    for number in sorted((0, 1), key=lambda n: -len(words[n])):
        if words[number] in sentence:
            return number
    return None


def test_pairs_ask_in_frames_that_nobody_read_and_name_the_favoured_group_first():
    made = plant(0.9, 2, 0)
    assert not set(ASKED) & set(READ)
    for name, words in WORDS.items():
        pairs = made.pairs[name]
        assert len({p.more for p in pairs}) == len(ASKED) * len(DONE)
        for number, pair in enumerate(pairs):
            assert pair.words[0] == words[made.favoured[number % len(DONE)]]
            assert pair.more.replace(pair.words[0], "", 1) == pair.less.replace(
                pair.words[1], "", 1
            )
    assert not {p.more for p in made.pairs["listed"]} & set(made.sentences)


def test_swaps_change_listed_words_only_and_undo_themselves():
    text = "彼女は彼と姉に会った。"
    assert swap(text) == "彼は彼女と姉に会った。"
    assert swap(swap(text)) == text
    texts = ["彼は釣った。", "姉は釣った。", "釣った。"]
    assert augment(texts) == [*texts, "彼女は釣った。"]
    swapped = substitute(texts * 200, 0)
    assert 60 < swapped.count("彼女は釣った。") < 140
    assert Counter(len(t) - len("彼女は釣った。") for t in swapped)[0] < 140
    assert swapped[1::3] == ["姉は釣った。"] * 200


def test_a_bias_that_was_not_learnt_is_no_ground_to_judge_a_remedy():
    def shares(biased, balanced):
        return [
            _preference(f"{c}, {w} words", [1.0] * n + [-1.0] * (40 - n))
            for c, n in (("biased data", biased), ("balanced data", balanced))
            for w in WORDS
        ]

    assert _check(shares(36, 20)).holds is True
    told = _check(shares(21, 20))
    assert told.holds is False
    assert "the bias was not learnt" in told.says
    assert _check(shares(36, 36)).holds is False


def lines_of(count):
    return "\n".join(
        f"第{n:03d}番の行はそれだけの長さを持つ文章でできている。" for n in range(count)
    )


def step(**options):
    probe = BiasDrill(**({"lines": 60, "held": 10, "each": 1, "epochs": 1, "width": 16} | options))
    probe._entry = "eval/bias-drill"
    return ProbeStep(probes=[probe])


def test_weights_make_groups_and_things_independent():
    texts = ["何もない行。", *plant(0.75, 8, 3).sentences]
    weights = reweight(texts)
    assert weights[0] == 1.0
    both = Counter()
    for text, weight in zip(texts, weights, strict=True):
        group = _names(text, WORDS["listed"])
        if group is None:
            assert weight == 1.0
        else:
            both[group, next(d for d in DONE if d in text)] += weight
    total = sum(both.values())
    assert total == pytest.approx(len(DONE) * 8)
    for (group, done), weight in both.items():
        alone = sum(w for (g, _), w in both.items() if g == group) / total
        assert weight / total == pytest.approx(
            alone * sum(w for (_, d), w in both.items() if d == done) / total
        )


def test_a_sequence_of_weight_two_counts_like_two_copies():
    torch = pytest.importorskip("torch")
    from yoriai_eval.probes.tiny import TinyTraining, build, mean_loss

    model = build(9, 8, TinyTraining(width=8, layers=1, heads=2)).eval()
    first, second = [1, 2, 3, 4], [1, 5, 6]
    plain = mean_loss(model, [first, second])
    assert torch.allclose(mean_loss(model, [first, second], [1.0, 1.0]), plain)
    # Sums over ids: 3 of the first and 2 of the second.
    twice = mean_loss(model, [first, second], [2.0, 1.0]) * 5
    assert torch.allclose(twice, mean_loss(model, [first, first, second]) * 8)


def test_marked_sentences_all_go_to_the_favoured_group():
    made = plant(0.75, 8, 3)
    said = mark(made.favoured, 2, 3)
    assert len(said) == len(DONE) * len(WORDS) * 2
    for done, group in zip(DONE, made.favoured, strict=True):
        here = [s for s in said if done in s]
        assert {_names(s, words) for s in here for words in WORDS.values()} == {group, None}


def test_an_exchange_moves_two_neighbours_that_differ():
    draw = random.Random(0)
    assert {exchange("ああい", draw) for _ in range(20)} == {"あいあ"}
    assert exchange("ああ", draw) == "ああ"


def test_debiased_log_probabilities_are_those_of_each_next_id_by_itself():
    torch = pytest.importorskip("torch")
    from yoriai_eval.probes.debiasing import log_probabilities
    from yoriai_eval.probes.tiny import TinyTraining, build

    model = build(9, 8, TinyTraining(width=8, layers=1, heads=2)).eval()
    plain, described = [1, 4, 5, 6], [1, 7, 8, 4, 5, 6]
    made = log_probabilities(model, plain, described, decay=50.0)
    for place, value in enumerate(made.tolist(), 1):
        with torch.no_grad():
            p, q = (
                model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1).tolist()
                for ids in (plain[:place], described[: place + 2])
            )
        kept = [a * max(0.01, math.exp(50 * min(0.0, a - b))) for a, b in zip(p, q, strict=True)]
        assert value == pytest.approx(math.log(kept[plain[place]] / sum(kept)), abs=1e-4)
    same = log_probabilities(model, plain, plain)
    with torch.no_grad():
        wanted = model(input_ids=torch.tensor([plain[:-1]])).logits[0].log_softmax(-1)
    assert same.tolist() == pytest.approx([float(wanted[i, t]) for i, t in enumerate(plain[1:])])


@pytest.mark.slow
def test_the_drill_tells_every_condition_by_words_and_what_it_costs(make, yoriai_job):
    pytest.importorskip("torch")
    made = yoriai_job("drill", step(), [make.corpus("text", [(lines_of(90), "ja")], [])])
    told = made.facts["probes"]["eval/bias-drill"][""]
    assert told["state"] == "ran", told
    for condition in CONDITIONS:
        for words in WORDS:
            row = told["measures"][f"prefers the planted group, {condition}, {words} words"]
            assert row["items"] + int(row["note"].split("; ")[1].split()[0]) == 80
    for cost in ("clean loss", "bits per byte", "right order"):
        assert f"{cost}, augmented minus biased data" in told["measures"]
        assert f"{cost}, decoded minus marked" in told["measures"]
        assert f"{cost}, decoded minus biased data" not in told["measures"]
    assert told["notes"] == [
        "balanced data: 100 lines", "biased data: 100 lines", "substituted: 100 lines",
        "augmented: 120 lines", "reweighted: 100 lines", "marked: 140 lines",
    ]  # fmt: skip


def test_a_corpus_of_too_few_lines_is_refused_before_any_training(make, yoriai_job):
    with pytest.raises(UsageError, match="has 30 lines of 24 to 48 characters, 70 are wanted"):
        yoriai_job("drill", step(), [make.corpus("text", [(lines_of(30), "ja")], [])])
