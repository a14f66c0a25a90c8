"""The chain from a score to its data: walked by core, told by plugins, broken in the open."""

import pytest

from yoriai import NotFound
from yoriai.explaining import (
    Hop,
    Point,
    checked,
    corpora_of,
    explain,
    find_index,
    in_lines,
    parents,
    trace,
)


class Moments:
    """A registry whose plugins are functions."""

    def __init__(self, *functions):
        self.functions = functions

    def moments(self, hook):
        assert hook == "yoriai_hops"
        return [(function.__name__, function) for function in self.functions]


@pytest.fixture
def scores(sealed):
    return sealed("scores", "scores")


def test_hops_lead_to_points_that_other_plugins_know(scores):
    def first(point):
        if point.kind == "sample":
            after = Point(kind="text", artifact=scores, text="a b")
            yield Hop(kind="answer", says="a b", state="checked", by="x", leads_to=[after, after])

    def second(point):
        if point.kind == "text":
            yield Hop(kind="span", says=point.text, state="unchecked", by="y")

    start = Point(kind="sample", artifact=scores, name="1")
    told = explain(start, Moments(first, second))
    # A point that two hops lead to is followed once.
    assert [(h.kind, h.depth, h.state) for h in told] == [
        ("answer", 0, "checked"), ("span", 1, "unchecked"),
    ]  # fmt: skip
    assert told[1].plain()["hop"] == "span"


def test_where_the_chain_breaks_is_a_hop_that_says_why(scores):
    def raising(point):
        if point.kind == "sample":
            further = [Point(kind=kind, artifact=scores) for kind in ("text", "model")]
            yield Hop(kind="score", says="1", state="checked", by="x", leads_to=further)
        elif point.kind == "text":
            raise NotFound("the index is gone", hint="make it")

    def odd(point):
        if point.kind == "sample":
            raise ZeroDivisionError("oh")

    told = explain(Point(kind="sample", artifact=scores), Moments(raising, odd))
    assert [(h.kind, h.state, h.by) for h in told] == [
        ("score", "checked", "x"),
        ("text", "broken", "the index is gone; make it"),
        ("model", "broken", "no installed plugin knows how to go on from here: yoriai plugins"),
        ("sample", "broken", "plugin 'odd' raised ZeroDivisionError: oh"),
    ]


def test_a_chain_without_end_is_cut_and_says_so(scores):
    def endless(point):
        name = str(int(point.name or 0) + 1)
        after = Point(kind="document", artifact=scores, name=name)
        yield Hop(kind="document", says=name, state="checked", by="x", leads_to=[after])

    told = explain(Point(kind="document", artifact=scores), Moments(endless))
    assert len(told) == 61
    assert (told[-1].kind, told[-1].state) == ("limit", "broken")


def test_inputs_are_found_where_they_stood_and_known_by_their_digests(sealed):
    text = sealed("text", "corpus")
    shards = sealed("shards", "tokens", [text])
    base = sealed("base", "model", [shards])
    made = sealed("scores", "scores", [base])
    index = sealed("index", "index", [text])
    assert corpora_of(base) == {text.digest}
    assert find_index(made, {text.digest}).digest == index.digest
    assert find_index(made, {"0" * 64}) is None
    [(name, digest, found, problem)] = parents(base)
    assert (name, digest, found.kind, problem) == ("r/shards@1", shards.digest, "tokens", "")
    lost = sealed("lost", "model", [shards], folders=["nowhere"])
    [(_, _, found, problem)] = parents(lost)
    assert found is None
    assert "nowhere is no artifact" in problem
    assert checked(text)[0] == "checked"
    (text.path / "told.json").write_text('"texT"')
    state, why = checked(text)
    assert (state, "told.json has other bytes than were sealed" in why) == ("broken", True)


def test_a_text_is_traced_in_an_index_and_told_in_lines(sealed):
    index, model = sealed("index", "index"), sealed("base", "model")

    def spans(point):
        if point.kind == "text":
            after = Point(kind="document", artifact=point.of, name="s/1")
            yield Hop(kind="span", says=point.text, state="checked", by="x", leads_to=[after])

    told = trace("a b", index, Moments(spans), of=model)
    why = "no installed plugin knows how to go on from here: yoriai plugins"
    expected = ["✓ span: a b", "    x", "  ✗ document: s/1", f"      {why}"]
    assert in_lines(told) == expected
    assert trace(" ", index, Moments(spans), of=None) == []
    with pytest.raises(NotFound, match="a trace needs an index"):
        trace("a b", model, Moments(spans), of=None)
