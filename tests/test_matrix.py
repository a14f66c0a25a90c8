"""A matrix of tunings from its file to its comparison, and the matrices of the project."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MATRICES = ROOT / "recipes" / "matrices"
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def call(*words, code=0, **more):
    done = subprocess.run(
        [sys.executable, "-m", "yoriai", *map(str, words)],
        capture_output=True, text=True, check=False, **more,
    )  # fmt: skip
    assert done.returncode == code, done.stderr[-3000:]
    return done.stderr if code else done.stdout


def make_base(folder):
    """An untrained model of bytes, with a chat template."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM

    marks = ["<unk>", "<s>", "</s>", "<pad>"]
    pieces = [*marks, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    torch.manual_seed(3)
    config = AutoConfig.for_model(
        "llama", hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=len(pieces), max_position_embeddings=256, bos_token_id=1, eos_token_id=2,
        pad_token_id=3,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "pad_token": "<pad>"}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)


@pytest.mark.slow
def test_a_matrix_is_run_compared_and_found_done_when_it_is_run_again(tmp_path):
    make_base(tmp_path / "base")
    for name in "ab":
        rows = [{"instruction": f"Say {n}", "output": name * 3} for n in range(4)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    (tmp_path / "matrix.yaml").write_text(
        "name: tiny\n"
        f"tune: {{batch: 4, start: {tmp_path}/base, method: {{use: train/lora, rank: 2}}}}\n"
        "factors:\n"
        "  data:\n"
        f"    a: {{data: [{{use: train/jsonl, path: {tmp_path}/a.jsonl}}]}}\n"
        f"    b: {{data: [{{use: train/jsonl, path: {tmp_path}/b.jsonl}}]}}\n"
        "evaluate: {tasks: [eval/ja-forms], limit: 10}\n"
    )
    words = ("train", "matrix", tmp_path / "matrix.yaml", "--out", tmp_path / "out")
    assert "2 tunings; the recipe is" in call(*words)
    assert not list((tmp_path / "out").glob("a@*"))
    told = json.loads(call(*words, "--run", "--json"))
    assert [row["cell"] for row in told["cells"]] == ["a", "b"]
    for row in told["cells"]:
        low, high = row["tasks"]["ja-forms"]["interval"]
        assert low <= row["tasks"]["ja-forms"]["score"] <= high
        assert row["seconds"] > 0
        assert row["steps"] == 1
    [effect] = told["effects"]
    assert (effect["factor"], effect["exact"]) == ("data", True)
    [pair] = told["pairs"]["comparisons"]
    assert {pair["first"], pair["second"]} == {"a", "b"}
    out = tmp_path / "out"
    assert "| a | 0." in (out / "comparison.md").read_text()
    assert (out / "comparison.svg").read_text().lstrip().startswith("<?xml")
    # All is there already: the same again, also what it took.
    assert json.loads(call(*words, "--run", "--json")) == told
    shutil.rmtree(out)


@pytest.mark.parametrize("name", ["llm-jp-twelve", "llm-jp-twelve-small"])
def test_the_matrices_of_the_project_have_twelve_cells_and_a_valid_recipe(name, tmp_path):
    nowhere = {**os.environ, "YORIAI_DATA_URL": "http://127.0.0.1:9", "YORIAI_CACHE": str(tmp_path)}
    words = ("train", "matrix", MATRICES / f"{name}.yaml", "--out", tmp_path, "--json")
    cells = json.loads(call(*words, cwd=ROOT, env=nowhere))["cells"]
    assert len(cells) == 12
    # No data is here, so nothing is guessed of time; each says what is missing.
    assert all(cell["plan"] is None and cell["not_known"] for cell in cells)


@pytest.fixture
def small(tmp_path):
    """A matrix of two cells on a base that is a folder of its own."""
    make_base(tmp_path / "base")
    for name in "ab":
        rows = [{"instruction": f"Say {n}", "output": name * 3} for n in range(4)]
        rows.append({"instruction": "too long", "output": name * 300})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    (tmp_path / "matrix.yaml").write_text(
        "name: tiny\n"
        "tune: {batch: 4, start: base, watch: {yen_per_gpu_hour: 36.0}}\n"
        "factors:\n"
        "  data:\n"
        "    a: {data: [{use: train/jsonl, path: a.jsonl}], epochs: 10}\n"
        "    b: {data: [{use: train/jsonl, path: b.jsonl}], method: {use: train/lora, rank: 2}}\n"
        "    c: {data: [{use: train/jsonl, path: c.jsonl}]}\n"
        "evaluate: {tasks: [eval/ja-forms], limit: 10}\n"
    )
    return tmp_path


@pytest.mark.slow
def test_each_cell_is_planned_from_what_is_here(small):
    """Tokens are those of the base's template; what is missing is named for its cell alone."""
    words = ("train", "matrix", "matrix.yaml", "--mfu", "0.5")
    told = json.loads(call(*words, "--json", cwd=small))["cells"]
    a, b, c = (cell["plan"] for cell in told)
    # "user: Say 0" + "assistant: aaa" + the end of turn, a piece each byte; one is left out.
    assert (a["examples"], a["tokens"]) == (4, 4 * (11 + 14 + 1))
    assert (a["steps"], b["steps"]) == (10, 1)
    assert b["trained_parameters"] < a["trained_parameters"] == a["parameters"]
    assert a["yen"] == pytest.approx([36 * hours for hours in a["gpu_hours"]])
    assert a["seconds"][0] == a["seconds"][1] == pytest.approx(a["flops"] / (0.096e12 * 0.5))
    assert (c, told[2]["not_known"]) == (None, "no file c.jsonl")
    text = call(*words, cwd=small)
    assert "not known: no file c.jsonl" in text
    assert "2 to be made, one after the other" in text


def test_the_cells_are_an_array_of_jobs_and_the_launch_file_names_their_recipe(small):
    (small / "launch.yaml").write_text(
        "recipe: build/tiny/recipe.yaml\nscheduler: slurm\nwalltime: 1:00:00\n"
    )
    words = ("train", "matrix", "matrix.yaml", "--array", "launch.yaml", "--dry-run")
    (small / "c.jsonl").write_text((small / "a.jsonl").read_text())
    texts = json.loads(call(*words, "--json", cwd=small))["scripts"]
    assert list(texts) == ["tiny-1", "tiny-1-after"]
    lines = texts["tiny-1"].splitlines()
    assert "#SBATCH --array=1-3" in lines
    assert "parts=(a b c)" in lines
    only = 'yoriai_run=(yoriai run --only "${parts[index - 1]}"'
    assert f"{only} --out build/tiny -- build/tiny/recipe.yaml)" in lines
    after = "yoriai_run=(yoriai train matrix --run --out build/tiny -- matrix.yaml)"
    assert after in texts["tiny-1-after"].splitlines()
    (small / "launch.yaml").write_text("recipe: other.yaml\nscheduler: local\n")
    assert "is not the recipe of this matrix" in call(*words, cwd=small, code=2)


def test_a_fault_in_a_matrix_is_told_with_its_place(tmp_path):
    path = tmp_path / "matrix.yaml"
    path.write_text("name: x\nfactors: {a: {b: {}}}\nevaluate: {}\nrepeats: 3\n")
    done = subprocess.run(
        [sys.executable, "-m", "yoriai", "train", "matrix", str(path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode
    assert "repeats" in done.stderr
    assert "Traceback" not in done.stderr
