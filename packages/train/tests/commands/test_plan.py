"""``yoriai train plan``: recipes, presets, what is asked back, and that torch stays out."""

import subprocess
import sys

import pytest
import yaml

from yoriai_train.settings import preset


def write(path, **steps):
    body = {"name": "small", "version": 1, "steps": steps}
    path.write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")
    return str(path)


@pytest.fixture
def recipe(tmp_path, shards, pieces):
    """A recipe with two trainings from artifacts that are there."""
    model = {"use": "train/llama", "layers": 2, "width": 64, "feed_forward": 160}
    base = {
        "uses": "train/pretrain", "from": [str(shards.path), str(pieces.path)], "model": model,
        "steps": 10, "batch": 8,
    }  # fmt: skip
    wide = {**base, "model": {**model, "width": 128}}
    return write(tmp_path / "small.yaml", base=base, wide=wide)


def test_a_step_of_a_recipe_is_planned_with_the_vocabulary_of_its_shards(recipe, yoriai_cli):
    told = yoriai_cli("train", "plan", recipe, "--step", "wide", "--gpu", "cpu", "--json")
    assert told.code == 0, told.err
    assert told.json["model"]["vocabulary_size"] == 260
    assert told.json["model"]["width"] == 128
    assert told.json["tokens"] == 10 * 8 * 128
    changed = ("--set", "wide.batch=16", "--vocabulary", "1000")
    told = yoriai_cli("train", "plan", recipe, "--step", "wide", "--gpu", "cpu", *changed, "--json")
    assert told.json["tokens"] == 10 * 16 * 128
    assert told.json["model"]["vocabulary_size"] == 1000


def test_a_recipe_with_several_trainings_asks_which(recipe, yoriai_cli):
    told = yoriai_cli("train", "plan", recipe, "--gpu", "cpu")
    assert told.code == 2
    assert "--step, one of: base, wide" in told.err
    told = yoriai_cli("train", "plan", recipe, "--step", "bas", "--gpu", "cpu")
    assert told.code == 3
    assert "'base'" in told.err
    told = yoriai_cli("train", "plan", recipe, "--step", "base")
    assert told.code == 2
    assert "--gpu, one of: a100-40" in told.err


def test_a_preset_is_planned_on_the_machine_it_was_published_with(yoriai_cli):
    told = yoriai_cli("train", "plan", "llm-jp-3-13b", "--mfu", "0.34", "--json")
    assert told.code == 0, told.err
    assert (told.json["nodes"], told.json["setup"]["gpus"]) == (32, 256)
    assert told.json["gpu"]["name"].startswith("NVIDIA H100 SXM")
    assert told.json["days"] == pytest.approx(24.7, rel=0.1)
    assert "--tensor-parallel 2" in told.json["notes"][-1]
    assert told.json["verdict"][0].startswith("fits: ")


@pytest.mark.parametrize("name", preset.names())
def test_every_preset_and_every_twin_can_be_planned(name, yoriai_cli):
    gpu = ["--gpu", "cpu"] if name.endswith(preset.SMALL) else []
    told = yoriai_cli("train", "plan", name, *gpu, "--json")
    assert told.code in (0, 1), told.err
    assert told.json["fits"] == (told.code == 0)
    assert told.json["parameters"] > 0
    if gpu:
        assert told.json["fits"]


def test_text_for_people_has_every_group_and_the_verdict(yoriai_cli):
    told = yoriai_cli("train", "plan", "llm-jp-3-13b", "--yen-per-gpu-hour", "500")
    assert told.code == 0, told.err
    for words in ("model ", "memory of a GPU", "time ", "network", "checkpoint", "energy", "fits:"):
        assert words in told.out
    assert " yen" in told.out


def test_what_does_not_fit_ends_with_one_and_what_to_change(yoriai_cli):
    arguments = ("llm-jp-13b", "--set", "strategy.use=train/deepspeed-1")
    told = yoriai_cli("train", "plan", *arguments)
    assert told.code == 1
    assert "does not fit" in told.out
    assert "each change alone" in told.out
    assert "try: strategy: train/deepspeed-2" in told.err


def test_a_published_layout_can_be_looked_at(yoriai_cli):
    """LLM-jp-13B v1 ran on 96 A100 of 40 GB with ZeRO-1 and pipelines of 8; 7/135 was idle."""
    told = yoriai_cli(
        "train", "plan", "llm-jp-13b", "--set", "strategy.use=train/deepspeed-1",
        "--set", "batch=12", "--set", "accumulate=128", "--pipeline-parallel", "8", "--json",
    )  # fmt: skip
    assert told.code == 0, told.err
    assert told.json["pipeline_bubble"] == pytest.approx(7 / 135)
    assert told.json["tokens_per_step"] == 1536 * 2048


def test_the_published_layout_of_the_175b_trial_fits_by_itself(yoriai_cli):
    layout = ("--tensor-parallel", "4", "--pipeline-parallel", "49")
    told = yoriai_cli("train", "plan", "llm-jp-175b-trial", *layout, "--json")
    assert told.code == 0, told.json["verdict"]
    assert (told.json["setup"]["micro_batch"], told.json["tokens_per_step"]) == (2, 1536 * 2048)


def test_days_are_shown_over_a_range_of_utilisations(yoriai_cli):
    told = yoriai_cli("train", "plan", "llm-jp-3-13b", "--mfu", "0.4", "--json")
    days = told.json["days"]
    assert told.json["days_range"] == pytest.approx([days * 0.8, days * 2])


def test_the_shape_of_a_model_to_start_from_is_planned(tmp_path, make, shards, pieces, yoriai_cli):
    base = make.model()
    step = {"uses": "train/pretrain", "from": [str(shards.path), str(pieces.path)]}
    path = write(tmp_path / "on.yaml", base={**step, "start": str(base.path), "steps": 2})
    told = yoriai_cli("train", "plan", path, "--gpu", "cpu", "--json")
    assert told.json["model"]["context"] == 64, told.err


def test_figures_of_the_data_sheet_can_be_replaced(yoriai_cli):
    told = yoriai_cli(
        "train", "plan", "llm-jp-3-1.8b-small", "--gpu", "cpu", "--peak-tflops", "0.2",
        "--memory-gib", "0.5", "--vocabulary", "500", "--json",
    )  # fmt: skip
    assert told.json["peak_flops"] == 0.2e12
    assert told.json["available_bytes"] == 2**29
    assert (told.code, told.json["fits"]) == (1, False)
    assert told.json["model"]["vocabulary_size"] == 512


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("llm-jp-3-13c",), 3, "llm-jp-3-13b"),
        (("nowhere/small.yaml",), 3, "no recipe"),
        (("llm-jp-3-13b", "--gpu", "h1000"), 3, "h100"),
        (("llm-jp-3-13b", "--gpu", "v100-32"), 2, "has no bf16"),
        (("llm-jp-3-13b", "--step", "base"), 2, "--step is for recipes"),
        (("llm-jp-3-13b", "--mfu", "1.5"), 2, "1.5"),
    ],
)
def test_a_wrong_word_is_answered(arguments, code, told, yoriai_cli):
    said = yoriai_cli("train", "plan", *arguments)
    assert said.code == code
    assert told in said.err


def test_planning_imports_neither_torch_nor_numpy():
    code = (
        "import sys\n"
        "from yoriai_train.commands import plan as command\n"
        "from yoriai_train.plan import plan\n"
        "from yoriai_train.settings import preset\n"
        "made = plan.plan(preset.load('llm-jp-3-172b'), vocabulary_size=99487,"
        " gpus_per_node=8, nodes=64, gpu='h100')\n"
        "command.lines_of(made), made.facts(), command.verdict(made)\n"
        "print([m for m in ('torch', 'numpy', 'transformers', 'lightning') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
