"""A model folder with code of its own, opened on a terminal where somebody would say yes."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("transformers")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal")
OPEN = "import sys; from pathlib import Path; from yoriai_eval.backends.huggingface import *;"


def hostile(folder):
    """Configuration, model and tokenizer name code in the folder, which would leave a mark."""
    folder.mkdir()
    config = {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["code.T", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (folder / "code.py").write_text(
        f"open({str(folder.parent / 'ran')!r}, 'w')\nclass C: pass\nclass M: pass\nclass T: pass\n"
    )
    return folder


def test_nothing_is_asked_and_nothing_is_run_on_a_terminal(tmp_path):
    folder = hostile(tmp_path / "model")
    master, slave = os.openpty()
    os.write(master, b"y\n" * 20)
    done = subprocess.run(
        [sys.executable, "-c", f"{OPEN} HuggingFace().open(Path({str(folder)!r}))"],
        stdin=slave, stdout=slave, stderr=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
    )  # fmt: skip
    os.close(slave)
    os.close(master)
    assert done.returncode != 0
    assert "is refused as a model" in done.stderr
    assert not (tmp_path / "ran").exists()
