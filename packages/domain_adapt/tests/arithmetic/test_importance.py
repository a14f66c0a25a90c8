"""Which texts are like a domain: chapters that were put among others are found again."""

import random

import numpy as np
import pytest

from yoriai_domain_adapt.arithmetic import importance

SEA = "the ship left the harbour and the captain watched the waves against the grey cliffs"
LAW = "the court finds that the party shall bear costs under the act as amended by statute"
CODE = "def return import self none class for in range print lambda yield raise except"


def texts(words: str, count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(words.split(), k=60)) for _ in range(count)]


@pytest.fixture(scope="module")
def sides() -> tuple[list[str], list[str]]:
    general = texts(LAW, 60, 1) + texts(CODE, 60, 2) + texts(SEA, 6, 3)
    return texts(SEA, 30, 4), general


@pytest.mark.parametrize("method", ["n-grams", "classifier", "perplexity"])
def test_planted_texts_come_first_by_every_method(sides, method):
    domain, general = sides
    if method == "n-grams":
        one, two = importance.distribution(domain), importance.distribution(general)
        scores = [importance.log_importance(text, one, two) for text in general]
    elif method == "classifier":
        fitted = importance.fit_classifier(domain, general)
        scores = [importance.classifier_score(text, *fitted) for text in general]
    else:
        models = [importance.Trigrams(side) for side in sides]
        scores = [
            models[1].bits_per_character(t) - models[0].bits_per_character(t) for t in general
        ]
    best = sorted(range(len(general)), key=lambda place: -scores[place])[:6]
    assert sorted(best) == [120, 121, 122, 123, 124, 125]


def test_a_text_that_is_half_of_the_domain_ranks_above_one_that_is_like_neither(sides):
    domain, general = sides
    fitted = importance.fit_classifier(domain, general)
    half = SEA[:40] + LAW[:40]
    neither = CODE
    assert importance.classifier_score(half, *fitted) > importance.classifier_score(
        neither, *fitted
    )


def test_the_classifier_is_where_the_penalised_loss_is_least(sides):
    # Oracle: at the minimum the gradient of the stated loss is zero, by brute arithmetic.
    domain, general = sides
    weights, bias = importance.fit_classifier(domain, general, rounds=600)
    total, total_bias = importance.PENALTY * weights, 0.0
    for side, label in ((domain, 1.0), (general, 0.0)):
        for text in side:
            counts = importance.buckets(text)
            row = np.sqrt(counts / counts.sum())
            slope = 0.5 / len(side) * (1 / (1 + np.exp(-(row @ weights + bias))) - label)
            total, total_bias = total + slope * row, total_bias + slope
    assert np.abs(total).max() < 1e-4
    assert abs(total_bias) < 1e-4


def test_the_weight_of_a_text_is_the_log_ratio_of_its_grams_by_hand():
    one = importance.distribution(["a b a"])
    two = importance.distribution(["c"])
    # Grams of "a": 2 of 5 + smoothing over all buckets; in the other 0 of 1.
    size = importance.BUCKETS
    expected = np.log((3 / (size + 5)) / (1 / (size + 1)))
    assert importance.log_importance("a", one, two) == pytest.approx(expected)


def test_reasons_name_the_words_that_speak_for_the_domain(sides):
    one, two = (importance.distribution(side) for side in sides)
    reasons = importance.top_reasons("the captain and the statute", one, two, count=3)
    assert any(reason.startswith(("captain", "the captain")) for reason in reasons)
    assert not any(reason.startswith("statute") for reason in reasons)
