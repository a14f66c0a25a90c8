"""Small artifacts made by hand: token shards with their documents, and an untrained model."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from yoriai import artifact
from yoriai.mixture import build_mixture
from yoriai.shards import ShardWriter


def seal(folder: Path, target: Path, kind: str) -> artifact.Artifact:
    identity = {
        "kind": kind,
        "name": f"test/{target.name}@1",
        "step": "",
        "config": {},
        "code": [],
        "seed": 0,
        "outside": {},
        "inputs": [],
        "sources": [],
        "licence": "",
        "facts": {"headline": []},
    }
    return artifact.seal(folder, target, identity=identity, circumstances={})


@pytest.fixture(scope="session")
def make(tmp_path_factory) -> SimpleNamespace:
    """Makers of artifacts; each call gives a new one."""
    numbers = iter(range(10_000))
    root = tmp_path_factory.mktemp("made")

    def places(name: str) -> tuple[Path, Path]:
        place = root / str(next(numbers))
        (place / "out").mkdir(parents=True)
        return place / "out", place / name

    def tokens(name: str, weights: dict[str, float], tokenizer: str = "abc") -> artifact.Artifact:
        out, target = places(name)
        shards = {}
        for index, language in enumerate(weights):
            writer = ShardWriter(out / language, 300)
            count = writer.add(range(10 + index))
            writer.close()
            shards[language] = {"files": [language], "tokens": count, "documents": 1}
            (out / f"{language}.documents.parquet").write_bytes(f"{name} {language}".encode())
        mixture = {
            "vocabulary_size": 300,
            "end_id": 2,
            "tokenizer": tokenizer,
            "shards": shards,
            "phases": [{"name": "main", "weights": weights}],
        }
        build_mixture(mixture).save(out)
        return seal(out, target, "tokens")

    def many_tokens(count: int, vocabulary_size: int) -> artifact.Artifact:
        import random

        out, target = places("tokens")
        writer, draw = ShardWriter(out / "ja", vocabulary_size), random.Random(0)
        writer.add(draw.choices(range(vocabulary_size), k=count))
        writer.close()
        (out / "ja.documents.parquet").write_bytes(b"")
        mixture = {
            "vocabulary_size": vocabulary_size,
            "end_id": 2,
            "tokenizer": "abc",
            "shards": {"ja": {"files": ["ja"], "tokens": count, "documents": 1}},
            "phases": [{"name": "main", "weights": {"ja": 1}}],
        }
        build_mixture(mixture).save(out)
        return seal(out, target, "tokens")

    def model(seed: int = 0, **changes) -> artifact.Artifact:
        import torch
        import transformers

        out, target = places("base")
        torch.manual_seed(seed)
        shape = {
            "vocab_size": 100,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "tie_word_embeddings": True,
        }
        config = transformers.LlamaConfig(**shape | changes)
        transformers.LlamaForCausalLM(config).save_pretrained(out)
        (out / "tokenizer.json").write_text("{}")
        (out / "training.jsonl").write_text("{}\n")
        return seal(out, target, "model")

    return SimpleNamespace(tokens=tokens, many_tokens=many_tokens, model=model)
