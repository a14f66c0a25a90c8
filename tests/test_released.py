"""What is released opens in plain transformers and datasets, without a word of ours."""

import pytest

from yoriai import artifact, release


def seal(folder, name, kind):
    identity = {
        "kind": kind, "name": f"tour/{name}@1", "step": "", "config": {}, "code": [], "seed": 0,
        "outside": {}, "inputs": [], "sources": [], "licence": "Apache-2.0",
        "facts": {"headline": []},
    }  # fmt: skip
    return artifact.seal(folder, folder.with_name(name), identity=identity, circumstances={})


def test_a_released_corpus_opens_in_datasets_with_its_splits(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    import pyarrow as pa
    import pyarrow.parquet as pq

    from yoriai_corpus import tables

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    out = tmp_path / "out"
    for place, texts in (("documents", ["猫である。", "The cat."]), ("heldout", ["犬である。"])):
        (out / place).mkdir(parents=True)
        schema = tables.SCHEMAS[place]
        rows = [
            {name: text if name == "text" else str(n) for name in schema.names}
            for n, text in enumerate(texts)
        ]
        columns = {
            field.name: pa.array(
                [None if pa.types.is_floating(field.type) else r[field.name] for r in rows]
            ).cast(field.type)
            for field in schema
        }
        pq.write_table(pa.table(columns, schema=schema), out / place / "00000.parquet")
    release.assemble(seal(out, "text", "corpus"), tmp_path / "release")
    found = datasets.load_dataset(str(tmp_path / "release"))
    assert found["train"]["text"][:] == ["猫である。", "The cat."]
    assert found["test"]["text"][:] == ["犬である。"]


@pytest.mark.slow
def test_a_released_model_opens_in_transformers_and_gives_the_same_logits(tmp_path):
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path / "out")
    release.assemble(seal(tmp_path / "out", "base", "model"), tmp_path / "release")
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "release").eval()
    ids = torch.arange(8)[None]
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, opened(ids).logits)
