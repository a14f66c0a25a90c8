"""What a step that changes a model says of its cost."""

import math
from types import SimpleNamespace

import pytest

from yoriai import Made, Sample
from yoriai.config import identity
from yoriai_domain_adapt.steps.adapting import ask_all, forget_peak, peak_memory_mb
from yoriai_domain_adapt.steps.merge import Merge


class Reader:
    """Gives every byte one bit."""

    def rolling_loglikelihood(self, texts):
        return [-math.log(2) * len(text.encode()) for text in texts]

    def loglikelihood(self, pairs):
        return [float(-n) for n, _ in enumerate(pairs)]


TEXT = SimpleNamespace(
    form="bits-per-byte", entry="eval/heldout",
    samples=lambda _: [Sample(id=str(n), text="a text of words", group="a.en") for n in range(3)],
)  # fmt: skip
CHOICE = SimpleNamespace(
    form="ranked", entry="eval/forms",
    samples=lambda _: [Sample(id="0", text="a", choices=("b", "c"), answer=0)],
)  # fmt: skip


def told(*tasks, limit=None):
    backend = SimpleNamespace(open=lambda folder: Reader())
    return SimpleNamespace(backend=backend, tasks=tasks, limit=limit)


def test_speed_is_that_of_reading_running_text_in_the_models_own_tokens(make):
    model = make.byte_level("base", ["a text of words"], 262, kind="model")
    rows, reading = ask_all(told(TEXT, CHOICE, limit=2), model.path, [])
    assert [row.task for row in rows] == ["heldout", "heldout", "forms"]
    from yoriai_domain_adapt.folders import vocabulary

    tokenizer = vocabulary.read_tokenizer(model.path)
    each = len(tokenizer.encode("a text of words", add_special_tokens=False).ids)
    bytes_a_token = reading["bytes_per_second"] / reading["tokens_per_second"]
    assert bytes_a_token == pytest.approx(len("a text of words") / each, rel=0.01)


def test_without_running_text_there_is_no_speed(make):
    rows, reading = ask_all(told(CHOICE), make.model().path, [])
    assert (len(rows), reading) == (1, {})


def test_a_peak_that_is_past_is_not_given_to_what_comes_after():
    forget_peak()
    start = peak_memory_mb()
    held = bytearray(200_000_000)
    held[::4096] = b"x" * len(held[::4096])
    high = peak_memory_mb()
    assert high > start + 150
    del held
    forget_peak()
    assert peak_memory_mb() < high - 150


def test_a_step_ends_with_its_cost_and_a_price_is_no_part_of_what_it_makes(monkeypatch, capsys):
    metrics = []
    job = SimpleNamespace(metric=lambda **values: metrics.append(values))
    seconds, joules = iter((100.0, 136.0)), iter((0.0, 7_200.0))
    monkeypatch.setattr(Merge, "make", lambda self, job: Made())
    monkeypatch.setattr("yoriai.cost.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr("yoriai.cost._gpu_joules", lambda: [next(joules)])
    step = Merge(yen_per_gpu_hour=500)
    step.run(job)
    # 36 seconds at 500 yen an hour; 7,200 J are 0.002 kWh, beside what the processor counted.
    [cost] = metrics
    assert (cost["kind"], cost["seconds"], cost["yen"]) == ("summary", 36.0, 5.0)
    assert cost["energy_kwh"] >= 0.002
    assert "cost: 36 s, 0.002" in capsys.readouterr().err
    assert "yen_per_gpu_hour" not in identity(step)
