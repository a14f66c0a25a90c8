"""The mock: what it says follows from the prompt alone, and costs next to nothing."""

import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Generated, UsageError
from yoriai_eval.backends.mock import Mock
from yoriai_eval.backends.rules import Marks, ScoredSpan, common_of_all, cut, spans, windows

NOWHERE = Path("there/is/no/such/folder")
ANSWERS = ["entailment", "neutral\nand more", "a long answer without end", ""]


def test_it_opens_any_folder_or_none():
    assert Mock().open(NOWHERE).generate(["p"], max_new_tokens=4) == [Generated("", "end")]


def test_answers_depend_on_the_prompt_alone_and_all_of_them_come():
    model = Mock(answers=ANSWERS).open(NOWHERE)
    prompts = [f"question {n}" for n in range(200)]
    made = dict(zip(prompts, model.generate(prompts, max_new_tokens=99), strict=True))
    shuffled = random.Random(1).sample(prompts, len(prompts))
    for prompt in shuffled:
        assert model.generate([prompt], max_new_tokens=99, prefix="question ") == [made[prompt]]
    assert {m.text for m in made.values()} == set(ANSWERS)
    other = Mock(answers=ANSWERS, seed=1).open(NOWHERE).generate(prompts, max_new_tokens=99)
    assert other != list(made.values())


def test_answers_keep_the_limits_of_the_call():
    model = Mock(answers=["one\ntwo three"]).open(NOWHERE)
    ask = model.generate
    assert ask(["p"], max_new_tokens=99, stop=["\n"]) == [Generated("one", "stop")]
    assert ask(["p"], max_new_tokens=99, max_characters=2) == [Generated("on", "length")]
    assert ask(["p"], max_new_tokens=5) == [Generated("one\nt", "length")]
    assert ask([], max_new_tokens=5) == []


def test_length_costs_eight_bits_a_byte():
    model = Mock().open(NOWHERE)
    bits = [-value / math.log(2) for value in model.rolling_loglikelihood(["abc", "日本", ""])]
    assert bits == pytest.approx([24, 48, 0])
    assert model.loglikelihood([("日本", "abc")]) == model.rolling_loglikelihood(["abc"])


def test_uniform_prefers_nothing_and_seeded_prefers_by_chance():
    pairs = [(f"context {n}", choice) for n in range(300) for choice in "abc"]
    assert set(Mock(likelihood="uniform").open(NOWHERE).loglikelihood(pairs)) == {-1.0}
    values = Mock(likelihood="seeded").open(NOWHERE).loglikelihood(pairs)
    assert all(-100 <= value < 0 for value in values)
    picked = [max(range(3), key=values[i : i + 3].__getitem__) for i in range(0, 900, 3)]
    counts = [picked.count(i) for i in range(3)]
    # Chi-square with 2 degrees of freedom: 13.8 is passed by chance once in a thousand.
    assert sum((count - 100) ** 2 / 100 for count in counts) < 13.8
    assert Mock(likelihood="seeded").open(NOWHERE).loglikelihood(pairs[::-1]) == values[::-1]


def test_lone_surrogates_do_no_harm():
    model = Mock(answers=["a", "b"], likelihood="seeded").open(NOWHERE)
    assert model.generate(["\ud800"], max_new_tokens=1)[0].text in "ab"
    assert model.loglikelihood([("\ud800", "x")])[0] < 0


def test_it_says_how_it_was_asked_and_counts_characters():
    model = Mock(answers=["a"], context=9).open(NOWHERE)
    assert model.describe() == {
        "backend": "mock",
        "answers": ["a"],
        "likelihood": "length",
        "seed": 0,
    }
    assert (model.context, model.count(["", "日本"])) == (9, [0, 2])
    assert (model.render("do", ""), model.render("do", "it")) == ("do\n", "do\nit\n")
    assert model.chat([[("user", "a"), ("assistant", "b")]]) == ["user: a\nassistant: b\n"]


# --- the rules that all backends share --------------------------------------------------------

texts = st.text("ab\n", max_size=12)


@given(texts, st.lists(st.text("ab\n", min_size=1, max_size=2), max_size=3), st.integers(0, 9))
def test_a_text_ends_at_the_first_thing_that_ends_it(text, stop, limit):
    made = cut(text, "end", stop=stop, max_characters=limit)
    # The oracle reads one character after another.
    for length in range(len(text) + 1):
        if limit and length > limit:
            assert made == Generated(text[:limit], "length")
            return
        if any(text[length:].startswith(mark) for mark in stop):
            assert made == Generated(text[:length], "stop")
            return
    assert made == Generated(text, "end")


@given(st.lists(st.lists(st.integers(0, 1), max_size=5), max_size=5))
def test_what_all_sequences_begin_with(sequences):
    length = 0
    while sequences and len({tuple(s[: length + 1]) for s in sequences}) == 1:
        if any(len(s) <= length for s in sequences):
            break
        length += 1
    assert common_of_all(sequences) == length


@given(st.lists(st.integers(), min_size=1, max_size=40), st.integers(2, 9))
def test_windows_predict_every_id_but_the_first_once(ids, longest):
    made = windows(ids, longest)
    assert [i for span in made for i in span.ids[span.first :]] == ids[1:]
    assert all(2 <= len(span.ids) <= longest for span in made)
    assert windows(ids) == ([ScoredSpan(tuple(ids), 1)] if len(ids) > 1 else [])


@given(st.text("ab", max_size=6), st.text("ab", max_size=6), st.integers(2, 5))
def test_a_span_holds_the_whole_continuation_or_is_refused(context, continuation, longest):
    def encode(text):
        return [0, *map(ord, text)]

    [span] = spans(encode, [(context, continuation)])
    assert list(span.ids) == encode(context + continuation)
    assert list(span.ids[span.first :]) == list(map(ord, continuation))
    if len(span.ids) <= longest:
        assert spans(encode, [(context, continuation)], longest) == [span]
    else:
        with pytest.raises(UsageError, match=f"{len(span.ids)} tokens, {longest} fit"):
            spans(encode, [(context, continuation)], longest)


def test_marks_are_never_doubled_and_never_missing():
    adds = Marks.of([1], 2, 1)
    assert adds.prompt([7]) == adds.scored([7]) == adds.prompt([1, 7]) == adds.scored([1, 7])
    assert adds.prompt([7]) == [1, 7]
    bare = Marks.of([], 2, None)
    assert (bare.prompt([7]), bare.scored([7])) == ([7], [2, 7])
    assert (bare.prompt([]), bare.scored([])) == ([2], [2])
    assert Marks.of([], None, -1).scored([7]) == [0, 7]


@pytest.mark.parametrize("longest", [0, 4, 5, 9])
def test_a_start_mark_of_two_ids_counts_in_no_window(longest):
    marks = Marks.of([1, 2], 3)
    for ids in ([7, 8, 9, 7, 8, 9], [1, 2, 7, 8, 9]):
        made = marks.windows(ids, longest)
        assert [i for span in made for i in span.ids[span.first :]] == [i for i in ids if i > 2]


@given(st.text("ab", max_size=4), st.text("ab", min_size=1, max_size=6), st.integers(2, 7))
def test_without_a_start_mark_one_stands_only_where_nothing_else_does(context, answer, longest):
    marks = Marks.of([1], 2, start="never")
    [span] = marks.spans(lambda text: list(map(ord, text)), [(context, answer)])
    assert list(span.ids) == [*([] if context else [1]), *map(ord, context + answer)]
    assert list(span.ids[span.first :]) == list(map(ord, answer))
    if len(span.ids) > longest:
        with pytest.raises(UsageError, match="fit into the context"):
            marks.spans(lambda text: list(map(ord, text)), [(context, answer)], longest)


def test_a_start_mark_is_put_where_it_is_asked_for():
    always, never = (Marks.of([], 2, 3, start=how, opening=3) for how in ("always", "never"))
    assert (always.prompt([7]), always.scored([7])) == ([3, 7], [3, 7])
    assert (never.prompt([7]), never.scored([7])) == ([7], [2, 7])
    assert Marks.of([4], 2, 3, start="always", opening=3).prompt([7]) == [4, 7]
    assert Marks.of([], 2, None, start="always").prompt([7]) == [2, 7]
