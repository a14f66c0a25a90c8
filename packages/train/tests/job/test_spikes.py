"""Real runs whose loss jumps, because the text changes from Japanese to code for two steps."""

import json
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and parent death signals"),
]
TOKENS = 4 * 32  # in a step
QUIET, LOUD = 30, 2  # steps


@pytest.fixture(scope="module")
def jumpy(make, pieces):
    def phase(name, shard, steps):
        return {"name": name, "weights": {shard: 1}, "tokens": steps * TOKENS}

    phases = [phase("a", "ja", QUIET), phase("b", "code", LOUD), phase("c", "ja", QUIET)]
    return make.tokens(pieces, phases=phases)


@pytest.fixture
def train(make, pieces, jumpy, tmp_path, drive):
    def run(steps, **stability):
        config = {
            "model": {"use": "train/llama", **make.shape, "context": 32},
            "steps": steps,
            "batch": 4,
            "checkpoint": {"every_steps": 10},
            "schedule": {"kind": "constant", "peak": 1e-2, "warmup_steps": 2},
            "stability": {"window_steps": 12, "least_steps": 8, "threshold": 4, **stability},
        }
        told = drive(tmp_path, "train/pretrain", config, [jumpy, pieces]).end()
        return told, rows(tmp_path / "out" / "training.jsonl")

    return run


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_a_spike_is_written_down_with_its_documents(train, tmp_path):
    told, steps = train(45)
    assert "facts" in told
    spikes = [row["step"] for row in steps if "spike" in row]
    assert spikes[0] == QUIET + 1
    event = rows(tmp_path / "out" / "events.jsonl")[0]
    assert (event["event"], event["step"], event["action"]) == ("spike", QUIET + 1, "record")
    assert event["loss"] > event["median"] + 0.2
    assert {document["shard"] for document in event["documents"]} == {"code"}


def test_rewinding_goes_back_before_the_spike_and_passes_over_its_data(train, tmp_path):
    told, steps = train(45, on_spike="rewind", margin_steps=3)
    assert told["facts"]["skipped_data_steps"] == [[QUIET - 3, QUIET + 3]]
    assert [row["step"] for row in steps] == list(range(1, 46))
    assert not [row for row in steps if "spike" in row]
    assert all(set(row.get("losses", {"ja": 0})) == {"ja"} for row in steps)
    events = rows(tmp_path / "out" / "events.jsonl")
    assert [event["action"] for event in events] == ["rewind"]


def test_skipping_leaves_the_update_out(train, tmp_path):
    told, steps = train(34, on_spike="skip")
    assert "facts" in told
    spiked = [row for row in steps if "spike" in row]
    assert [row["step"] for row in spiked] == [QUIET + 1, QUIET + 2]
    # Nothing was learnt from the first loud step, so the second is no easier.
    assert spiked[1]["loss"] > spiked[0]["loss"] - 0.15
    quiet = [row["loss"] for row in steps if QUIET - 5 < row["step"] <= QUIET]
    assert steps[QUIET + LOUD]["loss"] == pytest.approx(sum(quiet) / 5, abs=0.5)


def test_a_run_that_diverges_fails_with_the_evidence(train, tmp_path):
    told, _ = train(45, patience_steps=2)
    assert "the run diverged: 2 losses in a row" in told["failed"]
    assert "events.jsonl" in told["hint"]
    assert len(rows(tmp_path / "scratch" / "events.jsonl")) == 2
