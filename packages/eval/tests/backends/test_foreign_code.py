"""A model folder with code of its own, opened on a terminal where somebody would say yes."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
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


@pytest.mark.slow
def test_a_model_that_lacks_weights_is_refused_and_not_drawn_by_lot(tmp_path):
    import transformers
    from safetensors.torch import load_file, save_file

    from yoriai import Refused
    from yoriai_eval.backends.huggingface import HuggingFace
    from yoriai_eval.probes.reading import open_folder

    folder = tmp_path / "model"
    config = transformers.GPT2Config(
        vocab_size=8, n_embd=8, n_layer=1, n_head=1, n_positions=8, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tokens = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, "a"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokens).save_pretrained(folder)
    open_folder(folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("transformer.h.0.mlp.c_fc.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for door in (open_folder, HuggingFace().open):
        with pytest.raises(Refused, match="c_fc"):
            door(folder)
