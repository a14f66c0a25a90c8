"""A fastText classifier, on a model written byte by byte with weights that are known."""

from __future__ import annotations

import importlib.util
import math
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Document, NotFound, UsageError
from yoriai_corpus.rules.quality import FastTextQuality

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("fasttext") is None, reason="fasttext-predict is not installed"
)

WORDS = {"</s>": (0.1, -0.2), "good": (1.5, -0.5), "bad": (-1.0, 2.0), "学習": (0.7, 0.3)}
LABELS = {"__label__hq": (1.0, -1.0), "__label__cc": (-0.5, 1.5)}


def write_model(path: Path) -> Path:
    """A supervised softmax model in fastText's own format (``fasttext.cc``, ``args.cc``,
    ``dictionary.cc``, version 12)."""
    dimension, softmax, supervised = 2, 3, 3
    parts = [struct.pack("<ii", 793712314, 12)]
    # dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate, t
    arguments = (dimension, 5, 5, 1, 5, 1, softmax, supervised, 0, 0, 0, 100)
    parts.append(struct.pack("<12id", *arguments, 1e-4))
    size = len(WORDS) + len(LABELS)
    parts.append(struct.pack("<iiiqq", size, len(WORDS), len(LABELS), 100, -1))
    for kind, names in enumerate((WORDS, LABELS)):
        for name in names:
            parts.append(name.encode() + b"\0" + struct.pack("<qb", 10, kind))
    for rows in (WORDS.values(), LABELS.values()):
        parts.append(struct.pack("<?qq", False, len(rows), dimension))
        parts += [struct.pack("<2f", *row) for row in rows]
    path.write_bytes(b"".join(parts))
    return path


def softmax_of(text: str) -> float:
    """The probability of "hq", by hand: the mean of the known words' rows, then softmax."""
    rows = [WORDS[word] for word in [*text.split(), "</s>"] if word in WORDS]
    hidden = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    scores = [
        math.exp(sum(a * b for a, b in zip(hidden, row, strict=True))) for row in LABELS.values()
    ]
    return scores[0] / sum(scores)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.bin")


@given(
    words=st.lists(st.sampled_from([*WORDS, "unknown"][1:]), max_size=12),
    gap=st.sampled_from(" \n\t"),
)
def test_the_probability_is_that_of_the_softmax(model: Path, words: list[str], gap: str) -> None:
    rule = FastTextQuality(model=model, label="hq")
    text = gap.join(words)
    verdict = rule.judge(Document("s", "1", text))
    wanted = softmax_of(text)
    if abs(wanted - 0.5) < 1e-4:
        return
    assert (verdict.action == "drop") == (wanted < 0.5)
    if verdict.action == "drop":
        assert verdict.value == pytest.approx(wanted, abs=1e-4)
        assert verdict.threshold == 0.5
        assert verdict.span == ""


def test_the_label_may_be_given_as_fasttext_writes_it(model: Path) -> None:
    document = Document("s", "1", "bad bad")
    values = [
        FastTextQuality(model=model, label=label).judge(document).value
        for label in ("hq", "__label__hq")
    ]
    assert values[0] == values[1] is not None


def test_only_the_first_characters_are_looked_at_if_asked(model: Path) -> None:
    text = "good " * 10 + "bad " * 100
    assert FastTextQuality(model=model, label="hq").judge(Document("s", "1", text)).action == "drop"
    rule = FastTextQuality(model=model, label="hq", characters=50)
    assert rule.judge(Document("s", "1", text)).action == "keep"


def test_another_file_is_another_identity(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.bin"
    copy.write_bytes(model.read_bytes())
    first, second = (FastTextQuality(model=path, label="hq") for path in (model, copy))
    assert first.fingerprint() == second.fingerprint() != ""
    copy.write_bytes(model.read_bytes() + b"\0")
    assert first.fingerprint() != second.fingerprint()


def test_a_label_the_model_does_not_have_is_named_with_those_it_has(model: Path) -> None:
    with pytest.raises(UsageError, match="no label 'fine'") as caught:
        FastTextQuality(model=model, label="fine").judge(Document("s", "1", "good"))
    assert "cc, hq" in caught.value.hint


def test_a_file_that_is_no_model_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "no.bin"
    with pytest.raises(NotFound, match="there is no fastText model"):
        FastTextQuality(model=path, label="hq").judge(Document("s", "1", "good"))
    path.write_bytes(b"not a model")
    with pytest.raises(NotFound, match="is no fastText model"):
        FastTextQuality(model=path, label="hq").judge(Document("s", "1", "good"))
