"""Intervals against published numbers and against properties they must have."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai.intervals import Z95 as Z
from yoriai.intervals import wilson
from yoriai_corpus.account.intervals import f1, risk_ratio


@st.composite
def shares(draw: st.DrawFn, most: int = 500) -> tuple[int, int]:
    total = draw(st.integers(1, most))
    return draw(st.integers(0, total)), total


def test_wilson_gives_newcombes_published_interval() -> None:
    # Newcombe, Stat. Med. 17 (1998) 857, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (hits, total), bounds in published.items():
        assert wilson(hits, total) == pytest.approx(bounds, abs=5e-5)


@given(shares())
def test_wilsons_bounds_are_where_the_score_test_turns(share: tuple[int, int]) -> None:
    hits, total = share
    for bound in wilson(hits, total):
        if 0 < bound < 1:
            error = math.sqrt(bound * (1 - bound) / total)
            assert abs(hits / total - bound) / error == pytest.approx(Z, rel=1e-6)


def test_the_ratio_of_two_shares_is_that_of_fagerlands_software() -> None:
    # R package contingencytables, tests/testthat/test-ch4.R, MOVER_R_Wilson_CI_ratio_2x2 on
    # Perondi et al. (2004): 7 of 34 against 1 of 34.
    assert risk_ratio(7, 34, 1, 34) == pytest.approx((1.1537, 41.9763), abs=5e-5)


@given(shares(), shares())
def test_the_interval_of_a_ratio_holds_the_ratio(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    low, high = risk_ratio(*one, *other)
    assert 0 <= low <= high
    if other[0]:
        ratio = one[0] / one[1] / (other[0] / other[1])
        assert low <= ratio * (1 + 1e-9)
        assert ratio <= high * (1 + 1e-9)
    else:
        assert high == math.inf


@given(shares(), shares())
def test_turning_the_shares_round_turns_the_interval_round(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    low, high = risk_ratio(*one, *other)
    low_, high_ = risk_ratio(*other, *one)
    assert low_ == pytest.approx(1 / high if high else math.inf, rel=1e-6)
    assert high_ == pytest.approx(1 / low if low else math.inf, rel=1e-6)


def test_nothing_dropped_of_the_rest_is_no_reason_to_say_nothing() -> None:
    low, high = risk_ratio(10, 20, 0, 500)
    assert low > 10
    assert high == math.inf
    assert risk_ratio(0, 20, 0, 500) == (0, math.inf)
    assert risk_ratio(0, 0, 5, 10) == (0, math.inf)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_interval_of_f1_holds_f1(true: int, false: int, missed: int) -> None:
    low, high = f1(true, false, missed)
    assert 0 <= low <= high <= 1
    if true + false + missed:
        assert low - 1e-12 <= 2 * true / (2 * true + false + missed) <= high + 1e-12
