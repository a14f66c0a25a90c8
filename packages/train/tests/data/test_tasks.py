"""Training splits of tasks as instruction data."""

from typing import Literal

import pytest

from yoriai import Sample, Task, UsageError
from yoriai_train.data.tasks import TrainSplits


class Tides(Task):
    """A task with three splits."""

    form = "ranked"
    split: Literal["train", "dev", "test"] = "test"

    def samples(self, artifacts):
        for number in range(3):
            yield Sample(
                id=f"{self.split}/{number}", instruction="高い？", text=f"海 {number}",
                choices=("はい", "いいえ"), answer=number % 2,
            )  # fmt: skip


class Unsplit(Tides):
    """One without."""

    splits = ()


def test_each_question_of_the_training_split_becomes_an_instruction_and_its_right_answer():
    found = list(TrainSplits(tasks=[Tides()], limit=2).examples([], 0))
    assert [[t.text for t in e.turns] for e in found] == [
        ["高い？\n海 0", "はい"],
        ["高い？\n海 1", "いいえ"],
    ]
    assert found[0].place.endswith(":train/0")


def test_the_warning_of_contamination_goes_with_it():
    [note] = TrainSplits(tasks=[Tides()]).notes()
    assert "their scores are not of unseen tasks" in note


def test_a_task_without_a_training_split_is_refused(monkeypatch):
    task = Unsplit()
    monkeypatch.setattr(Unsplit, "splits", ())
    with pytest.raises(UsageError, match="has no training split"):
        list(TrainSplits(tasks=[task]).examples([], 0))


def test_its_fingerprint_is_that_of_the_training_split():
    one = TrainSplits(tasks=[Tides()]).fingerprint()
    assert one == TrainSplits(tasks=[Tides(split="dev")]).fingerprint()
