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

    def corpus(name: str, texts: list[str], heldout: list[str] = (), language: str = "en"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        out, target = places(name)
        for folder, some in (("documents", texts), ("heldout", heldout)):
            if some:
                (out / folder).mkdir()
                rows = [
                    {"source": name, "id": f"{folder}-{n}", "text": t, "language": language}
                    for n, t in enumerate(some)
                ]
                pq.write_table(pa.Table.from_pylist(rows), out / folder / "00000.parquet")
        return seal(out, target, "corpus")

    def byte_level(
        name: str, texts: list[str], size: int, kind: str = "tokenizer"
    ) -> artifact.Artifact:
        """A byte-level BPE tokenizer, or (kind "model") a small Llama with its tokenizer."""
        import tokenizers

        out, target = places(name)
        made = tokenizers.Tokenizer(tokenizers.models.BPE())
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=["<|end|>"],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        )
        made.train_from_iterator(texts, trainer)
        made.save(str(out / "tokenizer.json"))
        (out / "tokenizer_config.json").write_text(
            '{"eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast"}'
        )
        if kind == "model":
            import torch
            import transformers

            torch.manual_seed(0)
            config = transformers.LlamaConfig(
                vocab_size=made.get_vocab_size(), hidden_size=32, intermediate_size=48,
                num_hidden_layers=1, num_attention_heads=2, tie_word_embeddings=True,
                bos_token_id=0, eos_token_id=0,
            )  # fmt: skip
            transformers.LlamaForCausalLM(config).save_pretrained(out)
        return seal(out, target, kind)

    return SimpleNamespace(
        tokens=tokens, many_tokens=many_tokens, model=model, corpus=corpus, byte_level=byte_level
    )
