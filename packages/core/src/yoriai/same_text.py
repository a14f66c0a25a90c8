"""When an evaluation text stands in a document: one definition for all who ask.

The corpus leaves such documents out, the ledger of evaluation counts them, and a pair of texts
gets the same verdict from both. Texts are compared folded (:func:`fold`). A *run* is ``ngram``
characters of a field of the text, three times as many where all are ASCII. A document holds the
text

* exactly, if they share a run (GPT-3 took 13 words, arXiv 2005.14165, appendix C), or, where the
  text has none, if all of its fields stand in it whole, one of them of half a run or more;
* nearly, if so large a share of its shingles (:data:`SHINGLE` characters) stands in it.

What a task's questions have in common is its template and no sign of any of them
(:data:`TEMPLATE_SHARE`). :mod:`yoriai.text_index` finds all that is in many documents by this
definition; that module needs numpy, which core does not.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from yoriai.evaluation_contracts import Sample

NGRAM = 16
# Sixteen characters say as much in Japanese as 48 in English; with 16 for all,
# "self.assertEqual" alone took four fifths of the code (record 0002).
ASCII_FACTOR = 3
NEAR = 0.8
SHINGLE = 5  # characters; three times as many where the whole text is ASCII
FEWEST_SHINGLES = 20  # of a shorter text, any long document holds most shingles
# Runs that stand in more than this share of a task's clusters are its template.
TEMPLATE_SHARE, TEMPLATE_CLUSTERS = 0.1, 20
LABEL = re.compile(r"^[^\W\d_]{1,8}\d?[：:](?!//)", re.MULTILINE)  # 前提：, 文1：, Q:
# ァ to ヶ, ヽ and ヾ lie 0x60 behind ぁ to ゖ, ゝ and ゞ; ヷ to ヺ have no hiragana of their own.
_HIRAGANA = {code: code - 0x60 for code in (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)}


def fold(text: str) -> str:
    """NFKC, case folded, katakana as hiragana, all white space taken out."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_HIRAGANA)
    return "".join(plain.split())


def fields(text: str) -> tuple[str, ...]:
    """What stands behind the labels of a question (``前提：…⏎仮説：…``); all of it if it has none.

    Labels belong to the form in which it is put, so they are no part of what is looked for.
    """
    marks = list(LABEL.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        return (text,)
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    return tuple(text[mark.end() : end] for mark, end in zip(marks, ends, strict=True))


@dataclass(frozen=True, slots=True)
class EvaluationText:
    """A text to look for. Those of one ``cluster`` share text; empty: it is one of its own."""

    task: str
    id: str
    fields: tuple[str, ...]
    cluster: str = ""


def evaluation_text(task: str, sample: Sample, *, ranked: bool) -> EvaluationText:
    """What would stand in a corpus of a sample: its question, and of ranked choices the right."""
    text = sample.text + sample.gold if ranked else sample.text
    return EvaluationText(task, sample.id, fields(text), sample.cluster)
