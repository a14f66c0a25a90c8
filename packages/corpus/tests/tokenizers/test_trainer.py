"""Signals while SentencePiece trains, which holds the interpreter of its process."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest

from yoriai.artifact import open_artifact
from yoriai.cli import main
from yoriai.errors import YoriaiError
from yoriai_corpus.tokenizers import trainer
from yoriai_corpus.tokenizers.training import train

RECIPE = """\
name: words
seed: 3
steps:
  text:
    uses: corpus/build
    sources: [{use: corpus/jsonl, paths: [docs.jsonl], name: mine, licence: MIT}]
    dedup: {exact: false, near: null}
    heldout: 0
  pieces: {uses: corpus/tokenizer, from: text, size: 330, threads: 1}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Run the recipe in a folder, in this process; gives the exit code."""
    monkeypatch.chdir(tmp_path)
    # A shell's background job is started with SIGINT ignored, and so is what it starts.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    rows = [{"text": text} for text in topics["for"].splitlines()]
    Path("docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("words.yaml").write_text(RECIPE)

    def call(out: str) -> int:
        with pytest.raises(SystemExit) as end:
            main(["--plugins", "corpus", "run", "words.yaml", "--out", out])
        return int(end.value.code or 0)

    yield call
    signal.signal(signal.SIGINT, former)


def strike_inside(monkeypatch: pytest.MonkeyPatch, fifo: Path, number: int) -> None:
    """Let the trainer read a pipe in which nothing comes, and a signal strike while it does."""
    real = trainer.train_apart
    os.mkfifo(fifo)

    def strike() -> None:
        with fifo.open("wb"):  # opens once the trainer has opened the other end
            os.kill(os.getpid(), number)
            over.wait()

    def call(**arguments: Any) -> None:
        thread.start()
        try:
            real(**{**arguments, "input": [str(fifo)]})
        finally:
            over.set()
            thread.join()

    over, thread = threading.Event(), threading.Thread(target=strike)
    monkeypatch.setattr(trainer, "train_apart", call)


def test_a_signal_while_sentencepiece_trains_ends_the_run_at_once_and_in_good_order(
    run: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with monkeypatch.context() as patch:
            strike_inside(patch, Path(f"pipe-{number}").absolute(), number)
            ends.append(run("cut"))
        assert multiprocessing.active_children() == []
    assert ends == [130, 6]
    values = [json.loads(path.read_bytes()) for path in sorted(Path("cut/runs").glob("*.json"))]
    assert [value["state"] for value in values] == ["cancelled", "timed-out"]
    assert {value["steps"]["pieces"]["state"] for value in values} == {"stopped"}
    assert [run("cut"), run("whole")] == [0, 0]
    assert list(Path("cut/.work").iterdir()) == []
    cut, whole = (open_artifact(Path(name, "pieces@1")).digest for name in ("cut", "whole"))
    assert cut == whole


def test_a_trainer_that_dies_is_told_with_what_it_was_to_make(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("the quick brown fox\n" * 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "_train", functools.partial(eval, "__import__('os').abort()"))
        with pytest.raises(YoriaiError, match="could not make 300 pieces: the worker process"):
            train(text, tmp_path / "m.model", 300, 1)
