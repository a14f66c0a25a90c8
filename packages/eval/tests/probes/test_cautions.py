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


class Asking(Probe):
    """Asks tasks."""

    needs = ("tasks",)


class Ranking(Probe):
    """Asks tasks with choices."""

    needs = ("likelihoods",)


def asked(*tasks):
    return ProbeInputs(model=None, artifacts=[], tasks=tasks, backend=None, registry=None,
                       seed=0, scratch=None)  # fmt: skip


def task(name, count, form="ranked"):
    return SimpleNamespace(entry=name, form=form, samples=lambda _artifacts: iter(range(count)))


def test_a_task_with_too_few_samples_for_an_interval_is_named():
    said = cautions(Asking(), asked(task("x/few", 9), task("x/enough", 10), task("x/none", 0)))
    assert said == [
        "9 samples of x/few are too few for an interval",
        "0 samples of x/none are too few for an interval",
    ]
    few = task("x/written", 3, form="generated")
    assert cautions(Ranking(), asked(few, task("x/few", 4))) == [
        "4 samples of x/few are too few for an interval"
    ]
    assert cautions(Reading(), asked(few)) == []


def test_a_task_that_cannot_be_read_is_named_and_stops_nobody():
    def broken(_artifacts):
        raise OSError("no such\nfolder")

    said = cautions(Asking(), asked(SimpleNamespace(entry="x/bad", form="ranked", samples=broken)))
    assert said == ["the samples of x/bad cannot be read: no such folder"]
