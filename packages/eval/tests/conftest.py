"""Small artifacts made by hand, and backends that answer as they are told."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import Field

from yoriai import Backend, Generated, artifact
from yoriai_eval.scoring.run import EvaluationRun

SPECIALS = ["<unk>", "<s>", "</s>", "<pad>"]
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}Q: {{ m['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\\n' }}A: {% endif %}"
)


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


def write_tokenizer(folder: Path, *, marks: bool, template: bool | str, merges: list) -> int:
    """One piece a byte, some merged pieces, and four marks (or none that it names)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*SPECIALS, *alphabet, *(a + b for a, b in merges)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    if marks:
        tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **(named if marks else {})}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if template:
        told = TEMPLATE if template is True else template
        (folder / "chat_template.jinja").write_text(told)
    return len(pieces)


class Scripted(Backend):
    """A model that answers by a function of the pair or the prompt."""

    likelihood: Callable[[str, str], float] = Field(lambda before, after: 0.0, exclude=True)
    answer: Callable[[str], str | Generated] = Field(lambda prompt: "", exclude=True)
    context: int = Field(0, description="tokens, of one character each; 0: not known")

    def open(self, folder: Path) -> Any:
        return SimpleNamespace(
            context=self.context,
            describe=lambda: {"backend": "scripted"},
            count=lambda texts: [len(text) for text in texts],
            loglikelihood=lambda pairs, prefix="": [self.likelihood(*pair) for pair in pairs],
            rolling_loglikelihood=lambda texts: [self.likelihood("", text) for text in texts],
            generate=lambda prompts, **limits: [self._generate(p, limits) for p in prompts],
            render=lambda instruction, text: f"{instruction}|{text}",
        )

    def _generate(self, prompt: str, limits: dict[str, Any]) -> Generated:
        assert prompt.startswith(limits["prefix"])
        made = self.answer(prompt)
        if isinstance(made, Generated):
            return made
        text = made[: limits["max_characters"]] if limits["max_characters"] else made
        ended = "end" if text == made else "length"
        for mark in limits["stop"]:
            if mark in text:
                text, ended = text.partition(mark)[0], "stop"
        return Generated(text, ended)


@pytest.fixture
def scripted():
    return Scripted


@pytest.fixture(scope="session")
def make(tmp_path_factory) -> SimpleNamespace:
    """Makers of artifacts; each call gives a new one."""
    numbers = iter(range(10_000))
    root = tmp_path_factory.mktemp("made")

    def places(name: str) -> tuple[Path, Path]:
        place = root / str(next(numbers))
        (place / "out").mkdir(parents=True)
        return place / "out", place / name

    def corpus(name: str, documents: list[tuple[str, str]], heldout: list[tuple[str, str]]):
        import pyarrow as pa
        import pyarrow.parquet as pq

        out, target = places(name)
        for file, rows in (("documents", documents), ("heldout", heldout)):
            columns = {
                "source": ["s"] * len(rows),
                "id": [str(n) for n in range(len(rows))],
                "text": [text for text, _ in rows],
                "language": [language for _, language in rows],
            }
            kinds = {key: pa.array(value, pa.string()) for key, value in columns.items()}
            (out / file).mkdir()
            pq.write_table(pa.table(kinds), out / file / "00000.parquet")
        return seal(out, target, "corpus")

    def stub(name: str = "base", content: str = "") -> artifact.Artifact:
        """A model that only a scripted backend can open."""
        out, target = places(name)
        (out / "config.json").write_text(json.dumps({"content": content}))
        return seal(out, target, "model")

    def model(name="base", *, marks=True, template=True, merges=(), seed=3, nan=False, **changes):
        """A random Llama of 32 positions with its tokenizer; no training."""
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
        out, target = places(name)
        size = write_tokenizer(out, marks=marks, template=template, merges=list(merges))
        torch.manual_seed(seed)
        shape = {
            "vocab_size": size,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 32,
            "initializer_range": 0.3,
            "bos_token_id": 1 if marks else None,
            "eos_token_id": 2 if marks else None,
            "pad_token_id": 3 if marks else None,
        }
        built = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape | changes))
        if nan:
            built.model.norm.weight.data[0] = float("nan")
        built.save_pretrained(out)
        return seal(out, target, "model")

    return SimpleNamespace(corpus=corpus, stub=stub, model=model, seal=seal)


def run_of(tasks, backend, registry, **options) -> EvaluationRun:
    """The step as a recipe would build it: tasks by name, a backend of ours."""
    built = []
    for task in tasks:
        if isinstance(task, str):
            name, task = task, registry.load(registry.get("tasks", task))()
            task._entry = name
        built.append(task)
    return EvaluationRun(tasks=built, backend=backend, **options)


@pytest.fixture
def build_run(yoriai_registry):
    return lambda tasks, backend, **options: run_of(tasks, backend, yoriai_registry, **options)


def rows_of(scores: artifact.Artifact) -> list[dict]:
    lines = scores.file("samples.jsonl").read_bytes().split(b"\n")
    return [json.loads(line) for line in lines if line]


@pytest.fixture
def read_rows():
    return rows_of
