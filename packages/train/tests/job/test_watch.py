"""What the process that watches a training job writes, mirrors and tells."""

import csv
import http.server
import json
import threading
from types import SimpleNamespace

import pytest

from yoriai import NotFound
from yoriai_train.job.watch import Watch, Watching


@pytest.fixture
def job(tmp_path):
    metrics = []
    scratch, aside = tmp_path / "scratch", tmp_path / "aside"
    scratch.mkdir()
    return SimpleNamespace(
        name="base", scratch=scratch, aside=aside, metrics=metrics,
        metric=lambda **values: metrics.append(values),
    )  # fmt: skip


SPEC = SimpleNamespace(nodes=1, tokens="", flops_per_token=6e6)


def row(step, **changes):
    return {
        "step": step, "loss": 5.0 - step / 10, "learning_rate": 1e-3, "tokens": 1000,
        "grad_norm": 0.5, "losses": {"ja": 4.0, "en": 5.0}, "seconds": 0.5, "data_seconds": 0.005,
        "memory_gb": 1.25, **changes,
    }  # fmt: skip


def follow(watching, told):
    return list(watching.follow(iter(told), []))


def test_speed_and_mfu_are_told_for_each_step_and_for_the_whole(job):
    with Watching(Watch(), SPEC, job) as watching:
        watching.begin(2)
        told = [("machine", {"peak_flops": 1e10}), *(("step", row(n)) for n in (1, 2, 3))]
        assert follow(watching, told) == [1, 2, 3]
    steps = [m for m in job.metrics if m["kind"] == "training"]
    assert [m["training_step"] for m in steps] == [1, 2, 3]
    # 2,000 tokens a second times 6e6 FLOPs, over two processes of 1e10.
    assert steps[0]["tokens_per_second"] == 2000.0
    assert steps[0]["mfu"] == 0.6
    assert (steps[0]["loss_ja"], steps[0]["loss_en"], steps[0]["grad_norm"]) == (4.0, 5.0, 0.5)
    [summary] = [m for m in job.metrics if m["kind"] == "summary"]
    assert (summary["steps"], summary["processes"], summary["mfu"]) == (3, 2, 0.6)
    assert summary["tokens_per_second"] == 2000
    assert summary["outside_steps"] == 0.01


def test_without_a_known_peak_no_mfu_is_made_up(job):
    with Watching(Watch(), SPEC, job) as watching:
        follow(watching, [("machine", {"peak_flops": 0.0}), ("step", row(1))])
    assert not [m for m in job.metrics if "mfu" in m]


def test_a_mirror_holds_the_same_numbers(job):
    with Watching(Watch(mirrors=("csv",), every_steps=2), SPEC, job) as watching:
        follow(watching, [("step", row(n)) for n in range(1, 5)])
    [path] = job.aside.rglob("metrics.csv")
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(r["step"]) for r in rows] == [2, 4]
    assert [float(r["loss"]) for r in rows] == [4.8, 4.6]
    assert len([m for m in job.metrics if m["kind"] == "training"]) == 2


def test_a_mirror_that_is_not_installed_is_named(job, monkeypatch):
    from lightning.pytorch import loggers

    def missing(*arguments, **options):
        raise ModuleNotFoundError("no tensorboard")

    monkeypatch.setattr(loggers, "TensorBoardLogger", missing)
    with pytest.raises(NotFound, match="tensorboard needs tensorboard") as told:
        Watching(Watch(mirrors=("tensorboard",)), SPEC, job).__enter__()
    assert told.value.hint == "pip install tensorboard"


@pytest.fixture
def hook():
    """A server that keeps what it is sent."""
    got, arrived = [], threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/", got=got, arrived=arrived)
    server.shutdown()
    server.server_close()


def test_a_webhook_hears_of_spikes_stalls_and_the_end(job, hook):
    rules = Watch(webhook=hook.url, stall_minutes=0.0005)
    with Watching(rules, SPEC, job) as watching:
        hook.arrived.wait()  # nothing happened for that long
        event = {"event": "spike", "step": 3, "loss": 9.0, "action": "record"}
        follow(watching, [("event", event)])
    told = [row["event"] for row in hook.got]
    assert told[0] == "stall"
    assert "spike" in told
    assert told[-1] == "end"
    kept = json.loads((job.scratch / "events.jsonl").read_text())
    assert kept["event"] == "spike"


def test_a_webhook_that_cannot_be_reached_does_not_end_training(job):
    with Watching(Watch(webhook="http://127.0.0.1:1/"), SPEC, job) as watching:
        follow(watching, [("step", row(1))])
    assert job.metrics[-1]["kind"] == "summary"


def test_a_failed_job_is_told_as_failed_and_still_summed_up(job, hook):
    def fail():
        with Watching(Watch(webhook=hook.url), SPEC, job) as watching:
            follow(watching, [("step", row(1))])
            raise RuntimeError("rank 1 was killed")

    with pytest.raises(RuntimeError):
        fail()
    assert hook.got[-1] == {"event": "failed", "step": "base", "why": "rank 1 was killed"}
    assert job.metrics[-1]["kind"] == "summary"
