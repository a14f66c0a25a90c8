"""SentencePiece's trainer in a process of its own.

It is one call into C++ that holds the interpreter until the model is written: in the run's own
process Ctrl-C, a scheduler's signal and ``--time-limit`` would wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yoriai_corpus.engines.local import Local


def train_apart(*, num_threads: int, **arguments: Any) -> None:
    """Call ``SentencePieceTrainer.train`` with these arguments, which are its own.

    Raises what it raises, and :class:`yoriai.WorkerLost` if its process dies. When a signal ends
    the run, the process is killed; what it had written is no whole model.
    """
    with Local(workers=1, isolate=True, threads=num_threads).open() as pool:
        pool.submit(_train, {"num_threads": num_threads, **arguments}).result()


def _train(arguments: Mapping[str, Any]) -> None:
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(**arguments)
