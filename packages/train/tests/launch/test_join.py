"""How nodes meet: what is announced, joined, refused and reported; and two nodes that train."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from yoriai import Refused, UsageError, YoriaiError
from yoriai_train.job import nodes as meeting
from yoriai_train.job import ranks
from yoriai_train.job.ends import END
from yoriai_train.job.nodes import Rendezvous, rendezvous_from
from yoriai_train.job.ranks import command, environment
from yoriai_train.launch import join as joining
from yoriai_train.settings.strategies import DDP, Single

VARIABLES = {
    "YORIAI_NODES": "4",
    "YORIAI_NODE_RANK": "2",
    "YORIAI_RENDEZVOUS": "node-1.cluster:23456",
    "YORIAI_JOB": "tour-1.2",
}
OTHER = Rendezvous(nodes=2, node_rank=1, host="127.0.0.1", port=23456, job="tour-1.2")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def head(tmp_path, monkeypatch) -> Rendezvous:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.json").write_text("{}")
    return Rendezvous(nodes=2, node_rank=0, host="127.0.0.1", port=free_port(), job="tour-1.2")


def test_what_the_launcher_says_of_its_processes_is_kept_from_the_ranks():
    told = {
        "OMPI_COMM_WORLD_LOCAL_RANK": "0", "PMIX_RANK": "0", "PMI_SIZE": "2", "PRTE_X": "1",
        "SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
    }  # fmt: skip
    kept = {
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_ON_NODE": "4",
        "NCCL_DEBUG": "INFO",
        "OMP_NUM_THREADS": "1",
    }
    found = environment({**told, **kept}, OTHER)
    assert kept.items() <= found.items()
    assert not told.keys() & found.keys()


def test_gloo_takes_the_interface_to_the_head_where_the_hosts_own_name_misleads(monkeypatch):
    def named(own: str):
        rows = {"own": own, "head": "192.0.2.1"}
        return lambda host, port=None, *rest, **more: [
            (socket.AF_INET, socket.SOCK_DGRAM, 0, "", (rows[host], port or 0))
        ]

    monkeypatch.setattr(ranks.socket, "gethostname", lambda: "own")
    monkeypatch.setattr(ranks, "_interface_of", lambda address: "ib0")
    monkeypatch.setattr(ranks.socket.socket, "connect", lambda self, place: None, raising=False)
    far = Rendezvous(nodes=2, node_rank=1, host="head", port=9, job="tour-1.2")
    monkeypatch.setattr(ranks.socket, "getaddrinfo", named("192.0.2.2"))
    assert ranks.interface_towards(far) == ""
    monkeypatch.setattr(ranks.socket, "getaddrinfo", named("127.0.1.1"))
    monkeypatch.setattr(ranks, "_is_loopback", lambda address: address.startswith("127."))
    assert ranks.interface_towards(far) == "ib0"
    assert environment({}, far)["GLOO_SOCKET_IFNAME"] == "ib0"
    assert environment({"GLOO_SOCKET_IFNAME": "mine"}, far)["GLOO_SOCKET_IFNAME"] == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's interfaces")
def test_the_loopback_interface_is_found_by_its_address():
    assert ranks._interface_of("127.0.0.1") == "lo"
    assert ranks._interface_of("192.0.2.99") == ""


def test_a_node_that_cannot_find_the_head_says_so_at_once(monkeypatch):
    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(joining.socket, "getaddrinfo", unknown)
    with pytest.raises(Refused, match="cannot find its address: Name or service not known") as told:
        joining.join(OTHER, pytest.fail, wait_seconds=60)
    assert "DNS or /etc/hosts" in told.value.hint


def test_a_node_waits_for_the_head_to_listen_and_says_what_it_waits_for(head):
    said = []

    def listen(line):
        said.append(line)
        holder.bind(("127.0.0.1", head.port))
        holder.listen()

    with socket.socket() as holder:
        assert joining.reach(head, listen, poll_seconds=0) is None
    assert len(said) == 1
    assert f"waits for the head at 127.0.0.1:{head.port} (Connection refused)" in said[0]


def test_a_head_on_another_machine_than_the_hostfile_says_is_told_so(head):
    elsewhere = dataclasses.replace(head, host="192.0.2.1")  # for documentation: nobody has it
    said = []
    with meeting.heeding(elsewhere, None, say=said.append):
        pass
    assert "192.0.2.1, where the nodes should meet, is no address of this machine" in said[0]
    with meeting.heeding(head, None, say=said.append):
        pass
    assert len(said) == 1


def test_a_head_that_never_listens_is_a_cause_that_names_the_place(head):
    problem = joining.reach(head, patience_seconds=0, poll_seconds=0)
    assert f"could not reach the head at 127.0.0.1:{head.port}" in problem.message
    assert "firewall" in problem.hint
    assert meeting.names_cause(problem)


def test_the_head_names_the_nodes_it_waits_for_until_they_have_joined(head):
    meeting.announce(head, Path("spec.json"))
    assert meeting.absent(head) == [1]
    assert "waits at 127.0.0.1" in meeting._waited_for(head)
    assert "for node 1" in meeting._waited_for(head)

    def train(spec, rendezvous):
        assert meeting.absent(head) == []
        assert "all 2 nodes are at" in meeting._waited_for(head)
        end_head(0)

    joining.join(OTHER, train, wait_seconds=60, poll_seconds=0)
    meeting.announce(head, Path("spec.json"))
    assert meeting.absent(head) == [1]


def test_what_is_waited_for_is_said_when_it_changes_and_now_and_then(monkeypatch):
    clock, said = [0.0], []
    monkeypatch.setattr(meeting.time, "monotonic", lambda: clock[0])
    waiting = meeting.Waiting(said.append)
    for moment, what in [(1, "a"), (2, "a"), (3, "b"), (50, "b"), (64, "b")]:
        clock[0] = moment
        waiting.tell(what)
    assert said == ["a (1 s so far)", "b (3 s so far)", "b (64 s so far)"]


def end_head(code: int, attempt: int = 2) -> None:
    with (meeting.FOLDER / "tour-1.events").open("a") as stream:
        stream.write(f"t\tended\t{attempt}\t{code}\n")


def test_the_variables_of_the_script_say_where_a_node_stands():
    assert rendezvous_from({}) is rendezvous_from({"YORIAI_NODES": "1"}) is None
    found = rendezvous_from(VARIABLES)
    assert found == Rendezvous(4, 2, "node-1.cluster", 23456, "tour-1.2")
    words = command(DDP(processes=8), ["-m", "x"], found)[2:]
    expected = (
        "torch.distributed.run --signals-to-handle SIGQUIT --nnodes 4 --node-rank 2"
        " --nproc-per-node 8 --max-restarts 0"
        " --rdzv-backend static --rdzv-endpoint node-1.cluster:23456 --rdzv-id tour-1.2"
        " --rdzv-conf timeout=900 -m x"
    )
    assert " ".join(words) == expected


def test_only_on_one_machine_gloo_is_tied_to_loopback():
    assert "GLOO_SOCKET_IFNAME" not in environment({}, rendezvous_from(VARIABLES))
    assert environment({}, OTHER)["GLOO_SOCKET_IFNAME"].startswith("lo")
    assert meeting.rendezvous_of(Single()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"YORIAI_JOB": ""}, {"YORIAI_NODE_RANK": "4"}, {"YORIAI_NODES": "many"},
        {"YORIAI_RENDEZVOUS": "23456"}, {"YORIAI_RENDEZVOUS": "a:0"}, {"YORIAI_JOB": "../x.1"},
    ],
)  # fmt: skip
def test_variables_that_contradict_one_another_are_refused(wrong):
    with pytest.raises(UsageError):
        rendezvous_from({**VARIABLES, **wrong})


def test_a_taken_port_is_named_with_the_way_to_another(head):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", head.port))
        holder.listen()
        with pytest.raises(Refused, match=f"port {head.port}.*taken by another process") as told:
            meeting.announce(head, Path("spec.json"))
        assert "port: N, from 20000 to 29999" in told.value.hint
        assert not head.training.exists()
    meeting.announce(head, Path("spec.json"))


def test_the_others_join_each_step_in_turn_and_leave_when_the_head_has_ended(head):
    seen = []

    def train(spec, rendezvous):
        seen.append((str(spec), json.loads(spec.read_text())))
        if len(seen) == 1:
            Path("spec.json").write_text('{"second": 2}')
            meeting.announce(head, Path("spec.json"))
        else:
            end_head(0, attempt=1)  # of an earlier attempt: not ours
            end_head(0)

    meeting.announce(head, Path("spec.json"))
    assert joining.join(OTHER, train, wait_seconds=60, poll_seconds=0) == 2
    assert seen == [("spec.json", {}), ("spec.json", {"second": 2})]


def test_a_node_that_comes_after_the_end_leaves_at_once(head):
    meeting.FOLDER.mkdir(parents=True)
    end_head(1)
    assert joining.join(OTHER, pytest.fail, wait_seconds=60) == 0


def test_a_silent_head_is_not_waited_for_for_ever(head):
    with pytest.raises(YoriaiError, match="node 1 heard nothing from the head"):
        joining.join(OTHER, pytest.fail, wait_seconds=0, poll_seconds=0)


def test_a_failure_reaches_the_head_which_names_it_before_a_broken_connection(head):
    def train(spec, rendezvous):
        return YoriaiError("training stopped: rank 3 was killed by SIGKILL", hint="memory")

    own = YoriaiError("training stopped: RuntimeError: [gloo] Connection closed by peer")
    meeting.announce(head, Path("spec.json"))
    with pytest.raises(YoriaiError, match="rank 3 was killed"):
        joining.join(OTHER, train, wait_seconds=60, poll_seconds=0, verdict_seconds=0)
    told = meeting.cause(head, own)
    assert told.message == "training stopped: rank 3 was killed by SIGKILL (node 1)"
    mine = YoriaiError("training stopped: the loss is nan at step 7")
    assert meeting.cause(head, mine) is mine
    # What a shell starts in the background ignores SIGQUIT; torchrun has a handler of its own.
    code = "import signal, time; signal.signal(3, signal.SIG_DFL); print(1, flush=True);" + (
        " time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "1\n"
        with meeting.heeding(head, process):
            assert process.wait() == -END
    # Of the next step nothing is known yet.
    meeting.announce(head, Path("spec.json"))
    assert meeting.reports(head) == []


def test_a_step_that_the_head_announces_anew_is_joined_anew(head):
    results = [YoriaiError("training stopped: exit code 1"), None]

    def train(spec, rendezvous):
        result = results.pop(0)
        if result:
            meeting.announce(head, Path("spec.json"))
        else:
            end_head(0)
        return result

    meeting.announce(head, Path("spec.json"))
    assert joining.join(OTHER, train, wait_seconds=60, poll_seconds=0) == 2


def test_a_node_with_other_code_than_the_head_is_refused_by_name(head, monkeypatch):
    meeting.announce(head, Path("spec.json"), ("yoriai_train.settings.strategies",))
    told = json.loads(head.training.read_text())
    assert set(told["code"]) == {"torch", "yoriai", "yoriai_train"}
    told["code"]["yoriai_train"] = "yoriai-train 0.1.0+000000000000"
    head.training.write_text(json.dumps(told))
    with pytest.raises(Refused, match="node 1 has another yoriai_train than the head"):
        joining.join(OTHER, pytest.fail, wait_seconds=60, poll_seconds=0, verdict_seconds=0)
    assert meeting.reports(head)[0]["cause"]


def test_a_disk_that_is_not_shared_is_said_to_be_so(head, monkeypatch):
    meeting.announce(head, Path("spec.json"))
    Path("spec.json").unlink()
    arrives = joining._arrives
    monkeypatch.setattr(joining, "_arrives", lambda path, digest: arrives(path, digest, 0))
    with pytest.raises(YoriaiError, match=r"node 1 cannot read spec\.json"):
        joining.join(OTHER, pytest.fail, wait_seconds=60, poll_seconds=0, verdict_seconds=0)


def recipe(name: str, processes: int, shards, pieces, shape) -> str:
    """JSON is YAML."""
    step = {
        "uses": "train/pretrain",
        "from": [str(shards.path), str(pieces.path)],
        "model": {"use": "train/llama", **shape, "context": 32},
        "strategy": {"use": "train/ddp", "processes": processes},
        "steps": 6,
        "batch": 4,
        "accumulate": 2,
        "schedule": {"kind": "constant", "peak": 1e-2, "warmup_steps": 0},
    }
    return json.dumps({"name": name, "seed": 11, "steps": {"base": step}})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and parent death signals")
def test_two_nodes_train_the_same_model_as_one_with_two_processes(make, pieces, shards, tmp_path):
    for name, processes in (("one", 2), ("two", 1)):
        text = recipe(name, processes, shards, pieces, make.shape)
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "launch.yaml").write_text(
        f"recipe: two.yaml\nscheduler: torchrun\nnodes: 2\nport: {free_port()}\n"
        "environment: {OMP_NUM_THREADS: '1'}\n"
    )
    environ = {k: v for k, v in os.environ.items() if not k.startswith("YORIAI_")}
    environ["OMP_NUM_THREADS"] = "1"
    yoriai = [sys.executable, "-m", "yoriai"]

    def run(*words: str) -> str:
        done = subprocess.run(
            [*yoriai, *words], cwd=tmp_path, env=environ, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:] + done.stdout
        return done.stdout

    run("train", "launch", "launch.yaml")
    log = run("train", "logs", "two-1", "--follow")
    assert json.loads(run("train", "status", "two-1", "--json"))["state"] == "done", log
    assert "node 1 joins training step 1" in log
    run("run", "one.yaml")

    def losses(name: str) -> list[float]:
        path = tmp_path / "build" / name / "base@1" / "training.jsonl"
        return [json.loads(line)["loss"] for line in path.read_text().splitlines()]

    assert losses("two") == pytest.approx(losses("one"), abs=1e-6, rel=0)
    assert len(losses("two")) == 6
