"""The step that first saw a document, as plugins tell it."""

from types import SimpleNamespace

from yoriai.explaining import Hop
from yoriai_eval.probes.first_seen import FirstSeen, by_first_step, first_seen


def given(*hops, artifact="base"):
    registry = SimpleNamespace(moments=lambda _name: [("train", lambda point: hops)])
    model = SimpleNamespace(artifact=artifact)
    return SimpleNamespace(the_model=lambda: model, registry=registry)


def steps(name, *seen, of=8, state="checked"):
    facts = {"name": name, "of": of, "steps": list(seen)}
    return Hop(kind="steps", says=name, state=state, by="why", facts=facts)


def test_the_first_step_of_the_first_training_that_saw_a_document_counts():
    hops = [steps("s/a", 5, 3), steps("s/b"), steps("s/c"), steps("s/a", 0), steps("s/c", 7)]
    found, note = first_seen(given(*hops), ["s/a", "s/b", "s/c"])
    assert found == {"s/a": FirstSeen(3, 8), "s/b": FirstSeen(None, 8), "s/c": FirstSeen(7, 8)}
    assert note == ""
    right = {"s/a": True, "s/b": False, "s/c": False, "s/d": True}
    told = {m.name: (m.value, m.items) for m in by_first_step(right, found, "exact")}
    assert told == {
        "exact, first seen in part 2 of 4": (1.0, 1),
        "exact, first seen in part 4 of 4": (0.0, 1),
        "exact, first seen in no step": (0.0, 1),
    }


def test_what_is_not_known_is_counted_with_its_reason():
    broken = Hop(kind="steps", says="", state="broken", by="no such document", facts={"name": "b"})
    found, note = first_seen(given(steps("a", 1), broken), ["a", "b"])
    assert set(found) == {"a"}
    assert note == "of 1 documents the first step is not known: no such document"
    assert first_seen(given(artifact=None), ["a"]) == (
        {}, "the model is a folder from elsewhere: nobody knows which step saw what",
    )  # fmt: skip
