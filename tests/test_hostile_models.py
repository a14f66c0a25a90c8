"""No code of a model folder is run, through whatever door, also where somebody would say yes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("peft")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal"),
]

DOORS = {
    "train: start, whole",
    "train: start, cut",
    "train: gate of the loss",
    "train: chat form",
    "train: generation",
    "train: parity",
    "train: base of an adapter",
    "domain-adapt: outline",
    "domain-adapt: whole",
    "domain-adapt: speed",
    "domain-adapt: llama.cpp",
    "domain-adapt/quantise",
    "domain-adapt/prune",
    "domain-adapt/gguf",
    "domain-adapt/outside-model",
    "eval: backend",
    "eval: probes",
    "yoriai run, eval/run",
    "yoriai eval probe run",
    "yoriai train generate",
}
KNOWS_KINDS = {"train: gate of the loss", "domain-adapt/gguf", "domain-adapt/outside-model"}
# Tensors are added up, and no library is asked what they mean.
WITHOUT_CODE = {"domain-adapt/merge"}

# One kind that transformers does not know, and one that it knows, but not as a language model.
KINDS = {
    "mine": {"num_hidden_layers": 1, "hidden_size": 8},
    "t5": {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2},
}


def hostile(folder: Path, kind: str, mark: Path) -> Path:
    """A folder whose configuration, model and tokenizer name code that would leave a mark."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    config = {
        "model_type": kind, "vocab_size": 16, **KINDS[kind], "_name_or_path": str(folder),
        "auto_map": {"AutoConfig": "modeling_mine.C", "AutoModelForCausalLM": "modeling_mine.M"},
    }  # fmt: skip
    tokenizer = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["modeling_mine.T"] * 2}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    save_file({"lm_head.weight": torch.zeros(16, 8)}, folder / "model.safetensors")
    code = f"open({str(mark)!r}, 'w')\n" + "".join(f"class {name}: pass\n" for name in "CMT")
    (folder / "modeling_mine.py").write_text(code)
    return folder


@pytest.fixture(scope="module", params=list(KINDS))
def answers(request: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How each door ended, all tried in one process on a terminal that says yes."""
    place = tmp_path_factory.mktemp(request.param)
    folder, work = hostile(place / "model", request.param, place / "ran"), place / "work"
    work.mkdir()
    master, slave = os.openpty()
    os.write(master, b"y\n" * 100)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hostile_models.py")), folder, work],
        stdin=slave, stdout=slave, stderr=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "hub"),
             "YORIAI_PLUGINS": "train,eval,domain-adapt"},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 4096)
        except OSError:  # the other end is closed, and all of it was read
            break
    os.close(master)
    assert done.returncode == 0, done.stderr
    assert b"[y/N]" not in shown
    assert b"custom code" not in shown
    assert not (place / "ran").exists()
    assert [p for p in work.rglob("*.py") if "model@1" not in p.parts] == []
    return dict(json.loads((work / "answer.json").read_text()))


def test_every_door_was_tried(answers: dict[str, str]) -> None:
    assert set(answers) == DOORS | WITHOUT_CODE


@pytest.mark.parametrize("door", sorted(DOORS))
def test_a_folder_with_code_of_its_own_is_refused_and_nothing_is_asked(
    answers: dict[str, str], door: str
) -> None:
    refused = "is refused as a model" in answers[door]
    # What was asked first was a rule of ours, which does not know the kind of model.
    kind = answers[door].partition(":")[0]
    assert refused or (kind in ("UsageError", "NotFound") and door in KNOWS_KINDS), answers[door]
    assert "unexpected" not in answers[door]
