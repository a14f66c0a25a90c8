"""Numbers and lengths of what is read from others: refused before anything is built from them."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai.errors import Refused
from yoriai.prediction import nearest_fact
from yoriai.strict import MOST_CHARACTERS, MOST_FLOAT, MOST_INTEGER, Strict, of_json, short


class Inner(Strict):
    count: int = 1


class Numbers(Strict):
    whole: int = 3
    share: float = 0.5
    maybe: int | None = None
    rows: list[Annotated[int, pydantic.Field(ge=2)]] = []
    by_size: dict[int, float] = {}
    pair: tuple[float, float] = (0, 1)
    more: tuple[float, ...] = ()
    deep: dict[str, list[float | None]] = {}
    inner: Inner | None = None
    either: int | bool = False
    word: int | str = ""
    bits: Literal[1, 2] = 2
    most: float = math.inf
    least: float = pydantic.Field(-math.inf)
    tokens: int = pydantic.Field(0, le=10**15)


def said(**options) -> str:
    with pytest.raises(pydantic.ValidationError) as caught:
        Numbers(**options)
    return " ".join(row["msg"] for row in caught.value.errors())


PLACES = ("whole", "share", "maybe", "word", "most", "tokens")


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize(
    "put",
    [
        *[lambda v, place=place: {place: v} for place in PLACES],
        lambda v: {"rows": [3, v]},
        lambda v: {"by_size": {"2": v}},
        lambda v: {"by_size": {v: 0.5}},
        lambda v: {"pair": [v, 1]},
        lambda v: {"more": [v]},
        lambda v: {"deep": {"a": [None, v]}},
        lambda v: {"inner": {"count": v}},
    ],
)
def test_true_and_false_are_no_numbers_wherever_a_number_stands(put, value):
    assert "give a number, not true or false" in said(**put(value))


def test_true_is_true_where_that_may_stand():
    assert Numbers(either=True).either is True


@pytest.mark.parametrize("value", [math.nan, "nan", "-NaN"])
@pytest.mark.parametrize("place", ["share", "most", "least"])
def test_what_is_no_number_is_refused_also_where_infinity_may_stand(place, value):
    assert "number" in said(**{place: value})


@pytest.mark.parametrize("value", [math.inf, "-inf", 1e19, -1e300, "1e400"])
@pytest.mark.parametrize("put", ["share", "deep"])
def test_a_number_without_a_bound_of_its_own_is_finite_and_bounded(put, value):
    said(**({put: value} if put == "share" else {put: {"a": [value]}}))


def test_infinity_stands_where_it_is_the_default():
    assert Numbers(most=math.inf).most == math.inf
    assert Numbers(least="-inf").least == -math.inf
    assert Numbers(most=1e300).most == 1e300


@given(st.integers(min_value=MOST_INTEGER + 1) | st.integers(max_value=-MOST_INTEGER - 1))
def test_an_integer_without_a_bound_of_its_own_is_bounded(value):
    said(whole=value)
    said(rows=[value])


@given(st.integers(-MOST_INTEGER, MOST_INTEGER), st.floats(-MOST_FLOAT, MOST_FLOAT))
def test_numbers_within_the_bounds_stay_what_they_are(whole, share):
    found = Numbers(whole=whole, share=share)
    assert (found.whole, found.share) == (whole, share)


def test_a_bound_of_the_field_itself_stands():
    assert Numbers(tokens=10**15).tokens == 10**15
    said(tokens=10**15 + 1)


def test_a_text_has_an_end():
    assert "at most" in said(word="x" * (MOST_CHARACTERS + 1))


@given(st.text() | st.integers() | st.lists(st.text(), max_size=5))
def test_a_quoted_value_is_short(value):
    assert len(short(value)) <= 63


KNOWN = ("in", "tokens.*", "models.base.tasks.jnli.score", "dropped_by_rule.**")


@pytest.mark.parametrize(
    ("fact", "near"),
    [
        ("in", None),
        ("tokens.ja", None),
        ("models.base.tasks.jnli.score", None),
        ("base.tasks.jnli.score", None),
        ("dropped_by_rule.corpus/kana", None),
        ("inn", "in"),
        ("tokenz.ja", "tokens.ja"),
        ("tokens", "tokens.…"),
        ("tokens.ja.x", "tokens.ja"),
        ("base.tasks.jnl.score", "base.tasks.jnli.score"),
        ("dropped_by_rules.corpus/kana", "dropped_by_rule.corpus/kana"),
        ("zzzzzzzzzzzz", ""),
        ("", ""),
    ],
)
def test_a_fact_is_known_or_answered_with_the_nearest(fact, near):
    assert nearest_fact(fact, KNOWN) == near


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"inner": {"count": "x"}}', "inner.count: Input should be a valid integer"),
        (b'{"whol": 1}', "whol: Extra inputs"),
        (b"{", "note.json is not as it was written: Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b'{"whole": ' + b"9" * 5000 + b"}", "whole: |Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[]", "note.json is not as it was written: Input should be an object"),
        (b'{"' + b"k" * 5000 + b'": 1}', "k: Extra"),
    ],
)
def test_a_note_that_was_changed_is_refused_with_its_first_wrong_key(data, told):
    with pytest.raises(Refused, match=told) as caught:
        of_json(Numbers, data, "note.json", "write it anew")
    assert len(caught.value.message) < 300
    assert caught.value.hint == "write it anew"
    assert of_json(Numbers, b'{"whole": 4}', "note.json", "").whole == 4
