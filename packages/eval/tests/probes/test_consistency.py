"""Answers drawn again and again: what is drawn, and how far it agrees."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import NotFound, UsageError
from yoriai_eval.probes import agreement as a
from yoriai_eval.probes.consistency import Consistency
from yoriai_eval.probes.step import ProbeStep, rows_of
from yoriai_eval.tasks.unanswerable import Invented

WORDS = st.lists(st.sampled_from(["東京", "東京。", " 東京", "京都", "Ｔｏｋｙｏ", "tokyo!", ""]),
                 min_size=1, max_size=8)  # fmt: skip


@settings(deadline=None)
@given(WORDS)
def test_agreement_is_the_share_of_equal_pairs_counted_one_by_one(words):
    folded = [a.folded(word) for word in words]
    pairs = list(itertools.combinations(folded, 2))
    expected = sum(one == other for one, other in pairs) / len(pairs) if pairs else 1.0
    assert a.agreement(words) == pytest.approx(expected)
    shares = [n / len(words) for n in Counter(folded).values()]
    assert a.entropy(words) == pytest.approx(-sum(p * math.log(p) for p in shares))
    most = a.commonest(words)
    assert Counter(folded)[folded[most]] == max(Counter(folded).values())
    assert folded[most] not in folded[:most]


def test_signs_width_and_case_make_no_other_answer_but_marks_of_sound_do():
    assert a.folded("「東京」です。") == "東京です"
    assert a.folded("ＴＯＫＹＯ 2020") == "tokyo2020"
    assert a.folded("ガ") == a.folded("ｶﾞ") != a.folded("カ")
    assert a.agreement(["はい", "いいえ"]) == 0.0
    assert a.entropy(["a", "b", "c"]) == pytest.approx(math.log(3))


@pytest.fixture
def opened(make):
    pytest.importorskip("torch")
    from yoriai_eval.probes.reading import open_folder

    return open_folder(make.model(max_position_embeddings=512).path)


def test_tokens_are_drawn_as_often_as_the_model_says(opened):
    import torch

    from yoriai_eval.probes.sampling import write_by_chance

    prompt = opened.encode("ab")
    drawn = Counter()
    for seed in range(8):
        made = write_by_chance(opened, prompt, count=500, temperature=0.7, tokens=1,
                               ends=frozenset(), seed=seed)  # fmt: skip
        drawn.update(row[0] for row in made)
    with torch.inference_mode():
        logits = opened.model(input_ids=torch.tensor([prompt])).logits[0, -1]
    shares = (logits / 0.7).softmax(-1)
    for token in shares.topk(5).indices.tolist():
        share = float(shares[token])
        assert drawn[token] / 4000 == pytest.approx(share, abs=4 * math.sqrt(share / 4000))


def test_cold_answers_are_the_greedy_one_and_end_marks_end_them(opened):
    from yoriai_eval.probes.reading import write_greedily
    from yoriai_eval.probes.sampling import write_by_chance

    prompt = opened.encode("xyz")
    [greedy] = write_greedily(opened.model, [prompt], 6)
    options = {"count": 3, "temperature": 1e-3, "tokens": 6, "seed": 1}
    assert write_by_chance(opened, prompt, ends=frozenset(), **options) == [greedy] * 3
    end = frozenset([greedy[3]])
    cut = greedy[: greedy.index(greedy[3])]
    assert write_by_chance(opened, prompt, ends=end, **options) == [cut] * 3
    again = {**options, "temperature": 1.0}
    assert write_by_chance(opened, prompt, ends=end, **again) == write_by_chance(
        opened, prompt, ends=end, **again
    )


def step(**options):
    probe = Consistency(**{"times": 3, "tokens": 4, "questions": 10, **options})
    probe._entry = "eval/consistency"
    task = Invented(examples=2)
    task._entry = "eval/invented"
    return ProbeStep(probes=[probe], tasks=[task])


def test_a_model_without_knowledge_contradicts_itself_and_colder_it_does_not(make, yoriai_job):
    pytest.importorskip("torch")
    made = yoriai_job("looks", step(), [make.model(max_position_embeddings=1024)])
    told = made.facts["probes"]["eval/consistency"]["base"]
    assert told["state"] == "ran", told
    assert told["measures"]["agreement"]["value"] < 0.5
    assert told["measures"]["right, asked once"]["value"] == 0.0
    assert told["validation"]["holds"] is True
    assert told["measures"]["AUC of agreement: right against wrong"]["interval"] is None
    rows = list(rows_of(made, "eval/consistency", "base"))
    assert len(rows) == 10
    assert all(len(row["answers"]) == 3 for row in rows)
    cold = yoriai_job("cold", step(temperature=0.001), [make.model(max_position_embeddings=1024)])
    told = cold.facts["probes"]["eval/consistency"]["base"]
    assert told["measures"]["agreement"]["value"] > 0.9


def test_questions_that_do_not_fit_and_tasks_that_are_not_written_are_said(make, yoriai_job):
    pytest.importorskip("torch")
    looks = yoriai_job("looks", step(tokens=2), [make.model(max_position_embeddings=256)])
    told = looks.facts["probes"]["eval/consistency"]["base"]
    assert told["state"] == "ran"
    with pytest.raises(NotFound, match="none of 10 questions fits into the context of 32"):
        yoriai_job("short", step(), [make.model()])
    from yoriai_eval.tasks.own import JaForms

    ranked = step()
    forms = JaForms()
    forms._entry = "eval/ja-forms"
    ranked = ranked.model_copy(update={"tasks": [forms]})
    with pytest.raises(UsageError, match="no task here is answered by writing"):
        yoriai_job("ranked", ranked, [make.model()])
