"""What estimating the scores of a vocabulary by EM costs: ``nox -s bench -- tokenizer``.

The vocabulary is a SentencePiece unigram model of 16,000 pieces, trained here on a part of
``$YORIAI_DATA/text`` (without which the exit code is 3); what is timed are two epochs over uncut
Japanese, English and code. The peers: the same forward-backward in plain Python over a dictionary,
on less text, and the figure that LLM-jp published for its own (howToCreateModel_ver2.md: about
2.5 hours for 2 GB and two epochs, on hardware it does not name). Speeds are megabytes of UTF-8
text that two epochs get through in a second of CPU time, one thread, median of three.
"""

from __future__ import annotations

import io
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tables import Row, finish

from yoriai import console

EPOCHS = 2
MEGABYTES = 8.0  # of each language, ours
PYTHON_MEGABYTES = 0.1  # of each language, plain Python
TRAIN_MEGABYTES = 4.0
PUBLISHED = 2e3 / (2.5 * 3600)
RUNS = 3


def texts(name: str, megabytes: float) -> str:
    """The first documents of one language."""
    import zstandard

    path = Path(os.environ["YORIAI_DATA"]) / "text" / f"{name}.jsonl.zst"
    found, size = [], 0
    with path.open("rb") as packed:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed), "utf-8")
        for line in stream:
            found.append(json.loads(line)["text"])
            size += len(found[-1].encode())
            if size >= megabytes * 1e6:
                break
    return "\n".join(found)


def ways(
    line: str, known: dict[str, float], longest: int, unknown: float
) -> Iterator[tuple[int, int, str, float]]:
    for start in range(len(line)):
        single = False
        for end in range(start + 1, min(len(line), start + longest) + 1):
            score = known.get(line[start:end])
            if score is not None:
                single = single or end == start + 1
                yield start, end, line[start:end], score
        if not single:
            yield start, start + 1, "", unknown


def plain_python(text: str, known: dict[str, float]) -> dict[str, float]:
    """Expected counts of one epoch, as one would write it without arrays."""
    longest, unknown = max(map(len, known)), min(known.values()) - 10
    counts: dict[str, float] = {}

    def add(a: float, b: float) -> float:
        low, high = min(a, b), max(a, b)
        return high if low == -math.inf else high + math.log1p(math.exp(low - high))

    for line in text.replace(" ", "▁").split("\n"):
        edges = list(ways(line, known, longest, unknown))
        forward = [-math.inf] * (len(line) + 1)
        backward = list(forward)
        forward[0] = backward[-1] = 0.0
        for start, end, _, score in edges:
            forward[end] = add(forward[end], forward[start] + score)
        for start, end, _, score in reversed(edges):
            backward[start] = add(backward[start], backward[end] + score)
        for start, end, piece, score in edges:
            share = math.exp(forward[start] + score + backward[end] - forward[-1])
            counts[piece] = counts.get(piece, 0.0) + share
    return counts


def main() -> None:
    if "YORIAI_DATA" not in os.environ:
        print("YORIAI_DATA is not set: there is no text to measure on", file=sys.stderr)
        sys.exit(3)
    import numpy as np
    import sentencepiece

    from yoriai_corpus.tokenizers.training import train
    from yoriai_corpus.tokenizers.unigram import build_trie, expected_counts

    languages = ("ja", "en", "code")
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "sample.txt"
        lines = "\n".join(texts(name, TRAIN_MEGABYTES) for name in languages).split("\n")
        kept = (line.replace("\0", "")[:1000] for line in lines if line.strip())
        sample.write_text("\n".join(kept), encoding="utf-8")
        console.note("training the vocabulary")
        model = train(sample, Path(folder) / "m.model", 16_000, 2)
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    normal = [i for i in range(len(pieces)) if not (pieces.is_byte(i) or pieces.is_control(i))]
    normal = [i for i in normal if not pieces.is_unknown(i) and pieces.id_to_piece(i) != "\n"]
    names = [pieces.id_to_piece(i) for i in normal]
    scores = np.array([pieces.get_score(i) for i in normal])
    begin = time.process_time()
    trie = build_trie(names)
    console.note(
        f"trie of {len(names):,} pieces: {time.process_time() - begin:.2f} s, compiled anew or not"
    )
    expected_counts(trie, scores, ["compile"])
    known = dict(zip(names, scores.tolist(), strict=True))

    rows = []
    for name in languages:
        whole, part = texts(name, MEGABYTES), texts(name, PYTHON_MEGABYTES)
        part = part.encode()[: int(PYTHON_MEGABYTES * 1e6)].decode(errors="ignore")
        size, small = len(whole.encode()) / 1e6, len(part.encode()) / 1e6
        ours, python = [], []
        for _ in range(RUNS):
            begin = time.process_time()
            expected_counts(trie, scores, [whole])
            ours.append(size / EPOCHS / (time.process_time() - begin))
            begin = time.process_time()
            theirs = plain_python(part, known)
            python.append(small / EPOCHS / (time.process_time() - begin))
        counts, _, _ = expected_counts(trie, scores, [part])
        for place, piece in enumerate([*names, ""]):
            if not math.isclose(counts[place], theirs.get(piece, 0.0), rel_tol=1e-6, abs_tol=1e-6):
                sys.exit(f"the two differ: {piece!r} {counts[place]} {theirs.get(piece, 0.0)}")
        speed = statistics.median(ours)
        for peer, value in (
            ("plain Python", statistics.median(python)),
            ("LLM-jp, published", PUBLISHED),
        ):
            rows.append(Row(f"EM, two epochs, {name}", "MB/s", speed, value, peer, 20.0, True))
    finish(
        "tokenizer", rows, "equal expected counts, ours and plain Python's, on the smaller texts"
    )


if __name__ == "__main__":
    main()
