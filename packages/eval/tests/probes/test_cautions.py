"""What lessens a result is said before work starts."""

from types import SimpleNamespace

from yoriai.probe import Probe, ProbeInputs, cautions


class Reading(Probe):
    """Reads a corpus."""

    needs = ("corpus",)


def given(**facts):
    corpus = SimpleNamespace(kind="corpus", name="text", facts=facts)
    return ProbeInputs(model=None, artifacts=[corpus], tasks=(), backend=None, registry=None,
                       seed=0, scratch=None)  # fmt: skip


def test_a_corpus_with_too_few_documents_for_an_interval_is_named():
    assert cautions(Reading(), given(kept=9, heldout=12)) == [
        "9 documents of text are too few for an interval"
    ]
    assert cautions(Reading(), given(kept=10, heldout=1)) == [
        "1 held out documents of text are too few for an interval"
    ]
    assert cautions(Reading(), given(kept=10, heldout=0)) == []
    assert cautions(Reading(), given()) == []
