"""GGUF files in real llama.cpp: the same ids, the same numbers."""

import errno
import json
import os
import random
from pathlib import Path

import pytest

from yoriai import Refused, UsageError, YoriaiError
from yoriai_domain_adapt.measure.parity import Tolerance, differing
from yoriai_domain_adapt.steps.gguf import PROBES, Gguf
from yoriai_domain_adapt.steps.quantise import Quantise

torch = pytest.importorskip("torch")
xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp is not installed")
pytest.importorskip("gguf")
pytestmark = pytest.mark.slow

JAPANESE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "ファイルを開くことができません。設定を確認してください。",
    "リポジトリの変更をコミットする前に、差分を見直します。",
    "このコマンドは、指定されたディレクトリの内容を一覧表示する。",
)


def unigram(folder: Path, size: int) -> Path:
    """A unigram tokenizer.json as SentencePiece's are exported: byte fallback, scores in 1/64."""
    from collections import Counter

    counts: Counter[str] = Counter()
    for text in JAPANESE:
        spaced = text.replace(" ", "▁")
        counts.update(spaced[i : i + n] for n in (1, 2, 3) for i in range(len(spaced) - n + 1))
    counts.update("▁abcdefghijklmnopqrstuvwxyz0123456789<>x/s\t")
    best = [piece for piece, _ in counts.most_common(size - 260)]
    for character in {c for piece in best for c in piece} - set(best):
        best.append(character)
    draw = random.Random(2)
    rows = [["<unk>", -200.0], ["<s>", -200.0], ["</s>", -200.0]]
    rows += [[f"<0x{byte:02X}>", -200.0] for byte in range(256)]
    rows += [[p, -draw.randint(300, 1400) / 64] for p in best]
    marks = [
        {"id": i, "content": c, "special": True, "normalized": False, "single_word": False,
         "lstrip": False, "rstrip": False}
        for i, c in enumerate(("<unk>", "<s>", "</s>"))
    ]  # fmt: skip
    value = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": marks,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": True, "vocab": rows},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(value))
    told = {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


@pytest.fixture
def model(make, tmp_path):
    """An untrained Llama with sharp logits and a unigram tokenizer."""

    import transformers

    def build(**changes):
        from yoriai import artifact as artifacts

        folder = tmp_path / f"m{random.random()}"
        out = folder / "out"
        out.mkdir(parents=True)
        unigram(out, 700)
        size = len(json.loads((out / "tokenizer.json").read_text())["model"]["vocab"])
        torch.manual_seed(1)
        shape = {
            "vocab_size": size + 5, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 256, "initializer_range": 0.3, "tie_word_embeddings": True,
        }  # fmt: skip
        config = transformers.LlamaConfig(**shape | changes)
        transformers.LlamaForCausalLM(config).save_pretrained(out)
        identity = {
            "kind": "model", "name": "test/base@1", "step": "", "config": {}, "code": [],
            "seed": 0, "outside": {}, "inputs": [], "sources": [], "licence": "",
            "facts": {"headline": []},
        }  # fmt: skip
        return artifacts.seal(out, folder / "base", identity=identity, circumstances={})

    return build


def test_a_unigram_model_has_the_same_ids_and_numbers_in_llama_cpp(model, yoriai_job):
    made = yoriai_job("file", Gguf(kind="f32"), [model()])
    assert made.facts["tokenizer_kind"] == "plamo2"
    assert made.facts["gate"]["ids"]["found"] == 0
    assert made.facts["gate"]["logits"]["found"] < 0.01
    assert abs(made.facts["gate"]["bits_per_byte"]["found"]) < 0.01
    assert made.facts["continued_alike"] == made.facts["prompts"] == len(PROBES)


def test_random_texts_have_the_ids_of_the_tokenizers_library(model, yoriai_job):
    from yoriai_domain_adapt.folders import vocabulary
    from yoriai_domain_adapt.measure.llama_cpp import LlamaCppServer

    base = model()
    made = yoriai_job("file", Gguf(kind="f32"), [base])
    random_ = random.Random(4)
    letters = [*"".join(JAPANESE), *" \n\tabc<>/s0x", "🍣", "é", "鬱", "𠮷"]
    texts = ["".join(random_.choices(letters, k=random_.randint(1, 60))) for _ in range(400)]
    ours = vocabulary.read_tokenizer(base.path).encode_batch(texts, add_special_tokens=False)
    theirs = LlamaCppServer(made.path / "model.gguf").encode(texts)
    check_ids(base, theirs, [e.ids for e in ours])


@pytest.mark.parametrize("bits", [4, 8])
def test_integers_are_packed_again_and_not_rounded_again(model, yoriai_job, bits):
    import gguf

    base = model()
    small = yoriai_job("small", Quantise(bits=bits, group_size=32), [base])
    made = yoriai_job("file", Gguf(kind="f16", gate=Tolerance(logits=2.0)), [small])
    import transformers

    held = transformers.AutoModelForCausalLM.from_pretrained(small.path, dtype=torch.float32)
    held(torch.tensor([[1]]))  # compressed-tensors unpacks in the first pass
    reader = gguf.GGUFReader(made.path / "model.gguf")
    tensors = {t.name: t for t in reader.tensors}
    found = tensors["blk.0.ffn_down.weight"]
    assert found.tensor_type.name == {4: "Q4_0", 8: "Q8_0"}[bits]
    values = torch.tensor(gguf.quants.dequantize(found.data, found.tensor_type))
    expected = held.model.layers[0].mlp.down_proj.weight
    # Scales in fp16: 11 bits.
    assert torch.allclose(values, expected, rtol=2**-10, atol=1e-7)


def test_gpt2_with_its_transposed_layers_is_written_too(tmp_path, yoriai_job, model):
    import transformers

    base = model()
    out = tmp_path / "gpt2"
    config = transformers.GPT2Config(
        vocab_size=1000, n_positions=128, n_embd=64, n_layer=2, n_head=4, initializer_range=0.2
    )
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(config).save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (out / name).write_bytes((base.path / name).read_bytes())
    from yoriai_domain_adapt.folders.gguf_file import write_gguf
    from yoriai_domain_adapt.measure.llama_cpp import LlamaCppServer
    from yoriai_domain_adapt.steps.gguf import compare_logits

    write_gguf(out, tmp_path / "g.gguf", "f32")
    told = compare_logits(out, LlamaCppServer(tmp_path / "g.gguf"), [[300, 301, 302], [280, 400]])
    assert told["logits"] < 0.01
    assert told["continued_alike"] == 2


def test_drift_beyond_the_tolerance_fails_the_step(model, yoriai_job):
    with pytest.raises(Refused, match=r"logits drifted by .* allowed is 1e-09"):
        yoriai_job("file", Gguf(kind="q4_0", gate=Tolerance(logits=1e-9)), [model()])


def test_a_tokenizer_of_more_pieces_than_rows_is_refused(model, yoriai_job):
    base = model(vocab_size=300)
    with pytest.raises(UsageError, match=r"its tokenizer has .* pieces, its embedding 300 rows"):
        yoriai_job("file", Gguf(), [base])


def test_a_full_disk_while_the_file_is_written_is_said_and_leaves_nothing(
    model, tmp_path, monkeypatch
):
    import gguf

    from yoriai_domain_adapt.folders.gguf_file import write_gguf

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    base = model()
    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", full)
    with pytest.raises(YoriaiError, match=r"cannot write a\.gguf: No space left") as told:
        write_gguf(base.path, tmp_path / "a.gguf", "f16", name="a")
    assert "free some space" in told.value.hint
    assert list(tmp_path.glob("*.gguf*")) == list(tmp_path.glob(".*")) == []


def test_a_kind_of_model_without_a_place_is_refused_by_name(model, yoriai_job, tmp_path):
    base = model()
    config = json.loads((base.path / "config.json").read_text()) | {"model_type": "mamba"}
    (base.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="is a mamba: llama and gpt2 can be written"):
        yoriai_job("file", Gguf(), [base])


def check_ids(base, theirs, ours):
    """Equal ids, but where two ways to cut a text have exactly the same score: few."""
    from yoriai_domain_adapt.folders.vocabulary import unigram_scores

    apart, ties = differing(ours, theirs, unigram_scores(base.path))
    assert apart == []
    assert ties <= 0.05 * len(ours)


DATA = os.environ.get("YORIAI_DATA")


@pytest.mark.skipif(not DATA, reason="YORIAI_DATA does not name the folder of real data")
def test_real_japanese_has_sentencepieces_ids_in_llama_cpp(model, yoriai_job, tmp_path):
    """Needs the folder of real data; texts are cut at 300 characters."""
    zstandard = pytest.importorskip("zstandard")
    from yoriai_domain_adapt.folders import vocabulary
    from yoriai_domain_adapt.measure.llama_cpp import LlamaCppServer

    stream = zstandard.ZstdDecompressor().stream_reader(
        (Path(DATA) / "text" / "ja.jsonl.zst").open("rb")
    )
    lines = stream.read(20_000_000).decode(errors="ignore").splitlines()[:-1]
    texts = [json.loads(line)["text"][:300] for line in lines[::5]][:300]
    base = model()
    made = yoriai_job("file", Gguf(), [base])
    ours = vocabulary.read_tokenizer(base.path).encode_batch(texts, add_special_tokens=False)
    theirs = LlamaCppServer(made.path / "model.gguf").encode(texts)
    check_ids(base, theirs, [e.ids for e in ours])
