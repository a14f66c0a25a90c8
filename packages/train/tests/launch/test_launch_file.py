"""Launch files and the scripts made of them: golden texts, quoting, what is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from yoriai import NotFound, UsageError
from yoriai_train.launch.launch_file import Launch, RunOptions, clock, load, script

GOLDEN = Path(__file__).parent / "golden"
# What each cluster is asked for in the examples of its own documentation (see launch.py).
COMMON = {
    "recipe": "recipes/tour.yaml",
    "walltime": "12:00:00",
    "setup": ["source /etc/profile.d/modules.sh", "source venv/bin/activate"],
    "environment": {"NCCL_SOCKET_IFNAME": "bond0", "NOTE": "it's $(hostname)"},
    "options": {"settings": ["base.steps=50"], "until": "base"},
}
CLUSTERS = {
    "local": {"walltime": 0, "environment": {}, "setup": []},
    "torchrun": {"nodes": 2, "hostfile": "my hosts"},
    "slurm": {"nodes": 4, "gpus_per_node": 8, "queue": "gpu", "group": "llmjp", "mail": "a@b.jp"},
    "pbs": {"nodes": 2, "gpus_per_node": 8, "queue": "rt_HF", "group": "gch12345",
            "directives": ["-v USE_SSH=1"]},
    "sge": {"nodes": 2, "gpus_per_node": 4, "queue": "rt_F", "group": "gaa50000", "requeues": 3},
    "sge-pe": {"nodes": 2, "cpus_per_node": 8, "parallel_environment": "mpi", "queue": "all.q",
               "group": "project"},
    "mpirun": {"nodes": 2, "hostfile": "hosts", "walltime": 0, "port": 23456},
}  # fmt: skip


def made(scheduler: str, **changes) -> Launch:
    return Launch(
        **{**COMMON, "scheduler": scheduler.partition("-")[0], **CLUSTERS[scheduler], **changes}
    )


@pytest.mark.parametrize("scheduler", CLUSTERS)
def test_the_script_of_each_scheduler_is_the_golden_one(scheduler):
    path = GOLDEN / f"launch-{scheduler}.sh"
    text = script(made(scheduler), "tour-1")
    if os.environ.get("YORIAI_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("scheduler", CLUSTERS)
def test_bash_and_shellcheck_find_nothing(scheduler, tmp_path):
    path = tmp_path / "script.sh"
    path.write_text(script(made(scheduler), "tour-1"))
    subprocess.run(["bash", "-n", path], check=True)
    if shellcheck := shutil.which("shellcheck"):
        # SC1091: it cannot follow what the setup sources.
        command = [shellcheck, "--shell=bash", "--severity=warning", "--exclude=SC1091", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_each_thing_is_asked_for_in_the_words_of_the_scheduler():
    slurm = script(made("slurm"), "tour-1").splitlines()
    assert {
        "#SBATCH --nodes=4", "#SBATCH --gpus-per-node=8", "#SBATCH --time=12:00:00",
        "#SBATCH --partition=gpu", "#SBATCH --account=llmjp", "#SBATCH --signal=B:USR1@300",
    } <= set(slurm)  # fmt: skip
    pbs = script(made("pbs"), "tour-1").splitlines()
    assert {
        "#PBS -q rt_HF", "#PBS -l select=2", "#PBS -l walltime=12:00:00", "#PBS -P gch12345",
        "#PBS -v USE_SSH=1",
    } <= set(pbs)  # fmt: skip
    parts = script(made("pbs", cpus_per_node=192), "tour-1")
    assert "#PBS -l select=2:ncpus=192:ngpus=8\n" in parts
    sge = script(made("sge"), "tour-1").splitlines()
    assert {"#$ -l rt_F=2", "#$ -l h_rt=12:00:00", "#$ -cwd"} <= set(sge)
    assert "yoriai_again=(qsub -terse -g gaa50000)" in sge
    spread = made("sge", queue="all.q", parallel_environment="mpi", cpus_per_node=8)
    lines = script(spread, "tour-1").splitlines()
    assert {"#$ -pe mpi 16", "#$ -q all.q", "#$ -P gaa50000"} <= set(lines)
    assert not any("qsub" in line for line in lines if line.startswith("yoriai_again"))
    assert not any(line.startswith("#$ -l all.q") for line in lines)


def test_only_grid_engine_has_parallel_environments_and_it_needs_one_or_a_resource_type():
    with pytest.raises(ValidationError, match="parallel_environment: is of sge only"):
        made("pbs", parallel_environment="mpi")
    with pytest.raises(ValidationError, match=r"a resource type, .* or a parallel_environment"):
        made("sge", queue="")
    assert made("sge", queue="", parallel_environment="smp").queue == ""


words = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30
)
nasty = st.sampled_from(["$(touch x)", "`id`", "a b", "'", '"', "\\", "-x", "a\nYORIAI_PREPARE\nb",
                         "${HOME}", "*", "!!", "~", "#", ";exit 9", "\n", "é あ"])  # fmt: skip

# Stands for yoriai: writes down what it was given.
ECHO = f"""#!{sys.executable} -SE
import json, os, sys
place = os.environ.get("YORIAI_NODE_RANK", "0")
told = {{"words": sys.argv[1:], "value": os.environ["VALUE"], "folder": os.getcwd()}}
open("told-" + place + ".json", "w").write(json.dumps(told))
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bin")
    (folder / "yoriai").write_text(ECHO)
    (folder / "yoriai").chmod(0o755)
    return folder


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(recipe=words | nasty, setting=words | nasty, value=words | nasty, name=words | nasty)
def test_whatever_the_words_are_they_arrive_as_they_were(
    echo, tmp_path_factory, recipe, setting, value, name
):
    folder = tmp_path_factory.mktemp("a $(folder)")
    launch = Launch(
        recipe=recipe, name=name, scheduler="torchrun", nodes=2, environment={"VALUE": value},
        options=RunOptions(settings=[setting], out=value),
    )  # fmt: skip
    job_id = f"{launch.job_name}-1"
    (folder / "script.sh").write_text(script(launch, job_id), encoding="utf-8")
    environment = {"PATH": f"{echo}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["bash", "script.sh"], cwd=folder, env=environment, check=False)
    log = (folder / "build/launch" / f"{job_id}.log").read_text()
    assert done.returncode == 0, log
    head, other = (json.loads((folder / f"told-{rank}.json").read_text()) for rank in (0, 1))
    assert head["words"] == ["run", "--set", setting, "--out", value, "--", recipe]
    assert other["words"] == ["train", "join"]
    assert head["value"] == other["value"] == value
    assert other["folder"] == head["folder"] == str(folder)
    made_here = {path.name for path in folder.iterdir()}
    assert made_here == {"script.sh", "build", "told-0.json", "told-1.json"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("queue", "gpu\n#SBATCH --uid=root"), ("queue", "a b"), ("group", "$(id)"),
        ("mail", "a@b; rm"), ("directives", ["--x\n--y"]), ("setup", ["a\nb"]), ("queue", "-x"),
        ("environment", {"A B": "x"}), ("environment", {"YORIAI_JOB": "x"}), ("nodes", 0),
        ("walltime", "noon"), ("walltime", 200), ("recipe", "a\0b"), ("scheduler", "lsf"),
    ],
)  # fmt: skip
def test_what_could_not_be_quoted_or_meant_is_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        Launch(**{**COMMON, "scheduler": "slurm", key: value})


SECRET = "hunter2XyZ9"  # a made-up one
TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh"
# Where in a launch file a secret would come into the script.
GIVEN = {
    "a variable by its name": {"environment": {"WANDB_API_KEY": SECRET}},
    "a variable of any name, by the shape": {"environment": {"EXTRA": TOKEN}},
    "a proxy with a password": {"environment": {"https_proxy": f"http://me:{SECRET}@proxy:80"}},
    "a line of the setup": {"setup": ["module load cuda", f"export DB_PASSWORD={SECRET}"]},
    "a login in the setup": {"setup": [f"huggingface-cli login --token {TOKEN}"]},
    "an address in the setup": {"setup": [f"pip install git+https://oauth2:{SECRET}@git.org/x"]},
    "a header": {"setup": [f"curl -H 'Authorization: Bearer {SECRET}{SECRET}' https://a.org"]},
    "a user and password": {"setup": [f"curl -u me:{SECRET} https://a.org"]},
    "a directive": {"directives": [f"--export=ALL,HF_TOKEN={TOKEN}"]},
    "a setting": {"options": {"settings": [f"watch.webhook=https://a.org/{SECRET}"]}},
    "a setting by the shape": {"options": {"settings": [f"text.sources.0.paths.0=s3://{TOKEN}"]}},
    "the folder of the run": {"options": {"out": f"https://me:{SECRET}@a.org/out"}},
    "the reason for drift": {"options": {"allow_drift": f"password: {SECRET}"}},
    "the recipe": {"recipe": f"https://me:{SECRET}@a.org/r.yaml"},
}


@pytest.mark.parametrize("case", GIVEN)
@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "local"])
def test_a_secret_does_not_come_into_a_script_and_not_into_the_refusal(
    case, scheduler, tmp_path, yoriai_cli
):
    path = tmp_path / "launch.yaml"
    given = {"recipe": "r.yaml", "scheduler": scheduler, "walltime": "01:00:00", **GIVEN[case]}
    path.write_text(json.dumps(given))
    answer = yoriai_cli("train", "launch", str(path), "--dry-run")
    assert answer.code == 2
    assert "script for all to read" in answer.err
    for secret in (SECRET, TOKEN):
        assert secret not in answer.out + answer.err


@pytest.mark.parametrize(
    "given",
    [{"setup": ["export HF_TOKEN=$(cat ~/.token)", "source ~/secrets.sh",
                "docker run -u 1000:1000 a"]},
     {"environment": {"TOKENIZERS_PARALLELISM": "false", "HF_TOKEN": "", "KEY_LENGTH": "8"}},
     {"options": {"settings": ["watch.webhook=$SLACK_WEBHOOK", "train.tokens=1e9"]}},
     {"directives": ["--export=ALL", "--mail-type=END"]}],
)  # fmt: skip
def test_what_only_names_a_secret_passes(given):
    Launch(**{**COMMON, "scheduler": "slurm", **given})


def test_a_time_is_the_same_as_text_and_as_what_yaml_makes_of_it(tmp_path):
    for text, seconds in [("12:30:05", 45005), ("1-00:00:00", 86400), ("'00:30:00'", 1800),
                          ("90:00:00", 324000), ("00:30:00", 1800)]:  # fmt: skip
        path = tmp_path / "launch.yaml"
        path.write_text(f"recipe: r.yaml\nscheduler: slurm\nwalltime: {text}\n")
        assert load(path).walltime == seconds
    assert clock(324005) == "90:00:05"


def test_a_wrong_launch_file_names_the_line_and_the_nearest_key(tmp_path):
    path = tmp_path / "launch.yaml"
    path.write_text("recipe: r.yaml\nscheduler: local\nnode: 2\n")
    with pytest.raises(UsageError, match=r"launch.yaml:3: node: unknown key; did you mean 'nodes'"):
        load(path)
    path.write_text("recipe: r.yaml\nscheduler: pbs\n")
    with pytest.raises(UsageError, match=r"pbs needs one, e\.g\. walltime"):
        load(path)
    with pytest.raises(NotFound, match="no launch file"):
        load(tmp_path / "other.yaml")
    path.write_text("- 1\n")
    with pytest.raises(UsageError, match="a launch file is a mapping with recipe and scheduler"):
        load(path)
    path.write_bytes("recipe: 寄合".encode("euc-jp"))
    with pytest.raises(UsageError, match=r"is not UTF-8 \(byte 8\)"):
        load(path)
    path.write_text("recipe: r.yaml\nscheduler: pbs\n")
    assert load(path, "local").scheduler == "local"


def test_names_of_jobs_are_plain_everywhere():
    for given_name, plain in [("", "tour"), ("13B Llama!", "j13b-llama"), ("あ", "job"),
                              ("x" * 90, "x" * 40)]:  # fmt: skip
        assert made("local", name=given_name).job_name == plain


def test_ports_lie_below_those_that_linux_gives_out_by_itself():
    # net.ipv4.ip_local_port_range begins at 32768 (kernel documentation, ip-sysctl).
    for number in range(50):
        text = script(made("torchrun"), f"tour-{number}")
        port = int(text.split("\nport=")[1].split("\n")[0])
        assert 20_000 <= port < 30_000
    assert "\nport=23456\n" in script(made("mpirun"), "tour-1")


def test_a_launch_file_without_end_is_read_up_to_a_bound(tmp_path):
    path = tmp_path / "launch.yaml"
    path.touch()
    os.truncate(path, 2**33)
    with pytest.raises(UsageError, match="more than 4,194,304 bytes; no more are read"):
        load(path)
