"""A distribution outside the tree has the same standing as ours: every contract, in a real run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow
PLUGIN = Path(__file__).with_name("outside") / "acme"
TRAINED = {
    "uses": "train/pretrain",
    "model": {"use": "acme/tiny", "context": 64},
    "strategy": {"use": "acme/zero", "bucket": 100_000},
    "batch": 4,
}
RECIPE = {
    "name": "outside",
    "licence": "CC0-1.0",
    "engine": "acme/threads",
    "steps": {
        "text": {
            "uses": "corpus/build", "sources": ["acme/sayings"], "rules": ["acme/no-tables"],
            "heldout": 0.1, "dedup": {"exact": True, "near": None},
        },
        "pieces": {"uses": "corpus/tokenizer", "from": "text", "size": 288, "context": 64},
        "shards": {"uses": "corpus/tokens", "from": ["text", "pieces"]},
        "base": {
            **TRAINED, "from": ["shards", "pieces"], "steps": 6,
            "schedule": {"kind": "constant", "peak": 1e-3, "warmup_steps": 1},
            "checkpoint": {"every_steps": 100, "keep_every_steps": 4, "keep_states": True},
            "evaluate": {
                "every_steps": 6, "tasks": ["acme/larger"], "backend": "acme/reckoner",
                "scorer": "acme/first-form",
            },
        },
        "decayed": {
            **{k: v for k, v in TRAINED.items() if k != "model"}, "steps": 8, "branch": 4,
            "from": ["shards", "pieces", "base"],
            "schedule": {"kind": "sqrt", "peak": 1e-3, "warmup_steps": 0},
        },
        "tuned": {
            "uses": "train/tune", "from": "base", "data": ["acme/drill"], "batch": 10,
            "method": "acme/norms", "strategy": {"use": "acme/copies", "bucket_mb": 1},
        },
        "scores": {
            "uses": "eval/run", "from": "base", "tasks": ["acme/sums", "acme/larger"],
            "backend": "acme/reckoner",
        },
        "note": {"uses": "acme/note", "from": "scores"},
        "looks": {
            "uses": "eval/probe", "from": "base", "tasks": ["acme/larger"],
            "probes": ["acme/length"], "backend": "acme/reckoner",
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """The plugin as pip would leave it, in a folder of its own; gives how to reach it."""
    root = tmp_path_factory.mktemp("outside")
    shutil.copytree(PLUGIN, root / "site" / "acme")
    facts = root / "site" / "acme-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[yoriai]\nacme = acme._plugin\n")
    (root / "outside.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    return root


@pytest.fixture(scope="module")
def call(outside):
    from yoriai.testing import run_cli

    def told(*words):
        answer = run_cli(*words, cwd=outside, PYTHONPATH=str(outside / "site"), OMP_NUM_THREADS="1")
        assert answer.code == 0, answer.err[-3000:]
        return answer

    return told


@pytest.fixture(scope="module")
def ran(call):
    return call("run", "outside.yaml", "--json").json


def facts(outside, step):
    return json.loads((outside / f"build/outside/{step}@1/artifact.json").read_bytes())["facts"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs parent death signals")
def test_every_kind_of_entry_works_in_one_run(outside, call, ran):
    assert facts(outside, "text")["dropped_by_rule"] == {"acme/no-tables": 20}
    rows = (outside / "build/outside/base@1/training.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert (outside / "build/outside/note@1/note.txt").read_text() == "base"
    assert "Acme" in (outside / "build/outside/page/index.html").read_text()
    assert call("acme", "greet", "--json").json["said"] == "hello"
    [run] = (outside / "build/outside/runs").glob("*.json")
    assert json.loads(run.read_bytes())["environment"]["acme"]["steps"] == len(RECIPE["steps"])
    assert facts(outside, "tuned")["examples"] == 20
    scores = (outside / "build/outside/base@1/evaluations.jsonl").read_text().splitlines()
    assert json.loads(scores[-1])["tasks"] == {"larger": 1.0}


@pytest.mark.skipif(sys.platform != "linux", reason="needs parent death signals")
def test_its_tasks_have_shots_an_instruction_and_metrics_of_their_own(outside, ran):
    tasks = facts(outside, "scores")["models"]["base"]["tasks"]
    assert (tasks["sums"]["metric"], tasks["sums"]["score"]) == ("exact", 1.0)
    assert tasks["sums"]["metrics"] == {"digits": 1.0, "exact": 1.0}
    assert tasks["larger"]["score"] == 1.0
    assert tasks["larger"]["metrics"]["margin"] == 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="needs parent death signals")
def test_its_probe_looks_into_the_model_and_is_listed_with_what_it_needs(outside, call, ran):
    told = facts(outside, "looks")["probes"]["acme/length"]["base"]
    assert (told["measures"]["long"]["value"], told["rows"]) == (1.0, 3)
    assert told["limits"]["en"] == "Length says little."
    rows = {row["probe"]: row for row in call("eval", "probe", "list", "--json").json["probes"]}
    assert rows["acme/length"]["needs"] == ["model", "likelihoods"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs parent death signals")
def test_its_zero_strategy_goes_on_from_its_kept_state_and_is_planned(outside, call, ran):
    rows = (outside / "build/outside/decayed@1/training.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [5, 6, 7, 8]
    about = json.loads(
        (outside / "build/outside/base@1/checkpoints/step-0000004/checkpoint.json").read_bytes()
    )
    assert about["form"] == "cut by deepspeed (optimizer)"
    words = ("train", "plan", "llm-jp-13b", "--gpu", "h100", "--json")
    ours = call(*words, "--set", "strategy.use=train/deepspeed-1").json
    theirs = call(*words, "--set", "strategy.use=acme/zero").json
    assert theirs == ours


def test_a_second_run_uses_all_again_and_a_comment_in_the_plugin_changes_nothing(
    outside, call, ran
):
    with (outside / "site/acme/training.py").open("a") as stream:
        stream.write("\n# a comment\n")
    told = call("run", "outside.yaml", "--dry-run", "--json").json
    assert {step["action"] for step in told["plan"]} == {"reuse"}


def test_a_class_that_is_called_as_ours_is_known_by_what_it_says(outside, monkeypatch):
    monkeypatch.syspath_prepend(str(outside / "site"))
    from acme.training import DDP

    from yoriai_train.plan.memory import formulas_of
    from yoriai_train.settings.strategies import DDP as OURS
    from yoriai_train.settings.strategies import FSDP2

    assert DDP.checkpoint_form() == FSDP2.checkpoint_form() != OURS.checkpoint_form()
    assert (formulas_of(DDP), formulas_of(OURS)) == ("fsdp2", "ddp")


@pytest.mark.skipif(sys.platform != "linux", reason="needs parent death signals")
def test_zeros_in_place_of_weights_are_refused_by_whoever_uses_them(outside, call, ran):
    from yoriai.testing import run_cli

    place = outside / "zeros" / "base@1"
    shutil.copytree(outside / "build/outside/base@1", place)
    weights = place / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    steps = {
        "scores": {"uses": "eval/run", "from": [str(place)], "tasks": ["eval/ja-forms"]},
        "small": {"uses": "domain-adapt/quantise", "from": str(place)},
        "more": {
            **{k: v for k, v in TRAINED.items() if k != "model"}, "steps": 1,
            "from": ["build/outside/shards@1", "build/outside/pieces@1", str(place)],
        },
        "from-start": {
            **{k: v for k, v in TRAINED.items() if k != "model"}, "steps": 1,
            "from": ["build/outside/shards@1", "build/outside/pieces@1"], "start": str(place),
        },
    }  # fmt: skip
    told = {}
    for name, step in steps.items():
        recipe = {"name": f"zeros-{name}", "licence": "CC0-1.0", "steps": {name: step}}
        (outside / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        told[name] = ("run", f"{name}.yaml")
    told["generate"] = ("train", "generate", str(place), "x")
    for name, words in told.items():
        answer = run_cli(*words, cwd=outside, PYTHONPATH=str(outside / "site"), OMP_NUM_THREADS="1")
        assert (answer.code, "other bytes than were sealed" in answer.err) == (4, True), (
            name,
            answer.err[-1500:],
        )


def test_the_tests_of_its_author_pass(outside):
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
    done = subprocess.run(
        [*words, str(PLUGIN.with_name("tests_of_acme.py"))], cwd=outside, capture_output=True,
        text=True, check=False, env={**os.environ, "PYTHONPATH": str(outside / "site")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
