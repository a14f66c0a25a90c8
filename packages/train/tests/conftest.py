"""Small artifacts made by hand: a byte-level tokenizer, shards, a corpus, an untrained model."""

import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from yoriai import artifact
from yoriai.mixture import build_mixture
from yoriai.shards import ShardWriter

SPECIALS = ["<unk>", "<s>", "</s>", "<pad>"]
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}Q: {{ m['content'] }}{% endif %}"
    "{% if m['role'] == 'assistant' %}{{ '\\n' }}A: {{ m['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\\n' }}A: {% endif %}"
)
TEXTS = {
    "ja": ["ファイルを開きます。", "設定を保存しました。", "変更を元に戻します。"],
    "en": ["The file was opened. ", "Settings are saved now. ", "Changes were undone. "],
    "code": ["def open(path):\n", "return settings.save()\n", "for change in changes:\n"],
}
SHAPE = {"layers": 1, "width": 16, "heads": 2, "key_value_heads": 1, "feed_forward": 32}
DRIVER = Path(__file__).with_name("driver.py")


def seal(folder: Path, target: Path, kind: str, step: str = "", facts=None) -> artifact.Artifact:
    identity = {
        "kind": kind,
        "name": f"test/{target.name}@1",
        "step": step,
        "config": {},
        "code": [],
        "seed": 0,
        "outside": {},
        "inputs": [],
        "sources": [],
        "licence": "",
        "facts": {"headline": [], **(facts or {})},
    }
    return artifact.seal(folder, target, identity=identity, circumstances={})


def write_tokenizer(folder: Path, *, template: str = TEMPLATE, eos: bool = True) -> int:
    """One piece a byte, and the four marks; returns the number of pieces."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: index for index, piece in enumerate([*SPECIALS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"))
    marks = {"unk_token": "<unk>", "pad_token": "<pad>"} | ({"eos_token": "</s>"} if eos else {})
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **marks}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return len(vocabulary)


def write_shards(folder: Path, tokenizer: artifact.Artifact, phases: list[dict]) -> None:
    from tokenizers import Tokenizer

    pieces = Tokenizer.from_file(str(tokenizer.file("tokenizer.json")))
    chooser, shards = random.Random(5), {}
    for language, sentences in TEXTS.items():
        writer = ShardWriter(folder / language, pieces.get_vocab_size())
        count = 0
        for _ in range(30):
            text = "".join(chooser.choices(sentences, k=4))
            count += writer.add([*pieces.encode(text).ids, 2])
        writer.close()
        shards[language] = {"files": [language], "tokens": count, "documents": 30}
    mixture = {
        "vocabulary_size": pieces.get_vocab_size(),
        "end_id": 2,
        "tokenizer": tokenizer.digest,
        "shards": shards,
        "phases": phases,
    }
    build_mixture(mixture).save(folder)


@pytest.fixture(scope="session")
def make(tmp_path_factory) -> SimpleNamespace:
    """Makers of artifacts; each call gives a new one."""
    numbers = iter(range(10_000))
    root = tmp_path_factory.mktemp("made")

    def places(name: str) -> tuple[Path, Path]:
        place = root / str(next(numbers))
        (place / "out").mkdir(parents=True)
        return place / "out", place / name

    def tokenizer(name: str = "pieces", **options) -> artifact.Artifact:
        out, target = places(name)
        write_tokenizer(out, **options)
        return seal(out, target, "tokenizer")

    def tokens(made_with: artifact.Artifact, phases=None, change=None) -> artifact.Artifact:
        out, target = places("shards")
        weights = {"ja": 2, "en": 1, "code": 1}
        write_shards(out, made_with, phases or [{"name": "main", "weights": weights}])
        if change:
            change(out)
        return seal(out, target, "tokens")

    def corpus(rows: list[tuple[str, str]]) -> artifact.Artifact:
        import pyarrow as pa
        import pyarrow.parquet as pq

        out, target = places("text")
        table = pa.table({"text": [r[0] for r in rows], "language": [r[1] for r in rows]})
        (out / "documents").mkdir()
        pq.write_table(table, out / "documents" / "00000.parquet")
        return seal(out, target, "corpus")

    def model(context: int = 64, change=None, **options) -> artifact.Artifact:
        """An untrained Llama with its tokenizer."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        from yoriai_train.settings.shapes import Llama

        out, target = places("base")
        size = write_tokenizer(out, **options)
        body = Llama(**SHAPE, context=context, initial_deviation=0.2).transformers_config(size)
        torch.manual_seed(3)
        config = AutoConfig.for_model(body.pop("model_type"), **body)
        AutoModelForCausalLM.from_config(config).save_pretrained(out)
        if change:
            change(out)
        return seal(out, target, "model")

    return SimpleNamespace(
        tokenizer=tokenizer, tokens=tokens, corpus=corpus, model=model, seal=seal, shape=SHAPE
    )


@pytest.fixture(scope="session")
def pieces(make):
    return make.tokenizer()


@pytest.fixture(scope="session")
def shards(make, pieces):
    return make.tokens(pieces)


class Driven:
    """A step that works in a process of its own, so that it can be killed (see driver.py)."""

    def __init__(self, folder: Path, step: str, config: dict, inputs: list) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        told = {"step": step, "config": config, "inputs": [str(a.path) for a in inputs]}
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), json.dumps({**told, "folder": str(folder)})],
            stdout=subprocess.PIPE,
            stderr=(folder / "driver.log").open("ab"),
            text=True,
            start_new_session=True,
            # A shell that runs the tests in the background has SIGINT ignored by all of them.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            # Tiny models: two threads only wait for one another on a busy machine.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def lines(self) -> Iterator[dict]:
        assert self.process.stdout is not None
        return (json.loads(line) for line in self.process.stdout)

    def until(self, step: int) -> None:
        """Read on until the optimizer step is done."""
        for line in self.lines():
            assert "failed" not in line, line
            if line.get("step", 0) >= step:
                return
        pytest.fail((self.folder / "driver.log").read_text()[-4000:])

    def end(self) -> dict:
        """Wait for the end; gives the last thing it said."""
        told = [*self.lines(), {}]
        self.process.wait()
        return told[-2] if len(told) > 1 else {}

    def ranks(self) -> dict[int, int]:
        """The workers that live, by process id, and their ranks (Linux)."""
        spec, found = str(self.folder / "scratch" / "spec.json"), {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                words = (place / "cmdline").read_bytes().decode().split("\0")
                pairs = (place / "environ").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if spec in words:
                environ = dict(pair.partition("=")[::2] for pair in pairs)
                agent = "torch.distributed.run" in words
                found[int(place.name)] = -1 if agent else int(environ.get("RANK", 0))
        return found

    def wait_until_gone(self, processes) -> None:
        """Wait for processes that are not our children, without polling."""
        for process in processes:
            try:
                handle = os.pidfd_open(process)
            except ProcessLookupError:
                continue
            select.select([handle], [], [])
            os.close(handle)


@pytest.fixture
def drive() -> Iterator[Callable[..., Driven]]:
    started: list[Driven] = []

    def start(*arguments) -> Driven:
        started.append(Driven(*arguments))
        return started[-1]

    yield start
    for driven in started:
        if driven.process.poll() is None:
            driven.process.kill()
        driven.process.wait()
        driven.process.stdout.close()


@pytest.fixture(scope="session")
def driven_class() -> type[Driven]:
    return Driven
