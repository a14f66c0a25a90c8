"""Rules for program code.

Source: RedPajama-1T (togethercomputer/RedPajama-Data, branch ``rp_v1``,
``data_prep/github/github_run_filter.py`` and ``github_clean_dedup_local.py``), which LLM-jp-13B
used for the Stack. Of its rules two are left out: comments at the head of a file that hold
"copyright" are not taken away, because they say whose work it is; and 1.5 letters to a token of
Pythia's tokenizer are not asked for, because that ties a corpus to somebody's tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np
from numba import njit
from pydantic import Field

from yoriai import Document, Filter, Verdict
from yoriai_corpus.rules.english import line_break
from yoriai_corpus.text.batch import I64, U8, U32, Batch, batch_of
from yoriai_corpus.text.characters import measured, ratio

EXTENSIONS = (
    *("asm", "bat", "cmd", "c", "h", "cs", "cpp", "hpp", "c++", "h++", "cc", "hh", "C", "H"),
    *("cmake", "css", "dockerfile", "f90", "f", "f03", "f08", "f77", "f95", "for", "fpp", "go"),
    *("hs", "html", "java", "js", "jl", "lua", "md", "markdown", "php", "php3", "php4", "php5"),
    *("phps", "phpt", "pl", "pm", "pod", "perl", "ps1", "psd1", "psm1", "py", "rb", "rs", "sql"),
    *("scala", "sh", "bash", "command", "zsh", "ts", "tsx", "tex", "vb", "xml", "rst", "m"),
    "smali",
)
"""Endings of the files that RedPajama keeps (``github_run_filter.py``)."""
FILE_NAMES = ("Dockerfile", "Makefile")
"""Names without an ending that RedPajama keeps; what stands before them does not matter."""
VENDORED = (
    *("vendor", "vendored", "third_party", "third-party", "thirdparty", "node_modules"),
    *("bower_components", "site-packages", "dist-packages", "Godeps", "Pods"),
)
"""Folders of other people's code, by the habits of package managers."""


class CodeMeasure(IntEnum):
    """What is counted in a file."""

    LINES = 0
    """As ``str.splitlines`` parts them; 1 in an empty file."""
    LONGEST = 1
    LONGEST_AT = 2
    """Where the longest line begins, in characters from the start of the document."""
    IN_LINES = 3
    """Characters without line breaks."""
    ALPHANUMERIC = 4


def code_shape(batch: Batch) -> I64:
    """``[documents, len(CodeMeasure)]``, computed once a batch."""
    return measured(batch, "code shape", lambda: _shape(*batch.codes, _alphanumeric()))


class CodeShape(Filter):
    """Drop code whose lines are too long or that is mostly symbols.

    RedPajama-1T's rules for GitHub (``data_prep/github``), which LLM-jp-13B used for the
    Stack: longest line at most 1,000 characters, average at most 100, at least a quarter
    of the characters letters or digits. Line breaks are no part of a line here; RedPajama
    counts them in the average.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("code",), description="languages it judges; empty: all")
    max_line: int = Field(1000, description="longest line in characters")
    max_average_line: int = Field(100, description="average line in characters")
    min_alphanumeric: float = Field(0.25, description="smallest share of letters and digits")

    def judge(self, document: Document) -> Verdict:
        return self.judge_batch([document])[0]

    def judge_batch(self, documents: Sequence[Document]) -> list[Verdict]:
        batch = batch_of(documents)
        shape = code_shape(batch)
        longest = shape[:, CodeMeasure.LONGEST]
        average = ratio(shape[:, CodeMeasure.IN_LINES], shape[:, CodeMeasure.LINES])
        letters = ratio(shape[:, CodeMeasure.ALPHANUMERIC], batch.lengths)
        verdicts = [self.KEEP] * len(batch)
        bad = (longest > self.max_line) | (average > self.max_average_line)
        for index in np.flatnonzero(bad | (letters < self.min_alphanumeric)).tolist():
            if longest[index] > self.max_line:
                begin = int(shape[index, CodeMeasure.LONGEST_AT])
                verdicts[index] = Verdict(
                    "drop",
                    value=float(longest[index]),
                    threshold=self.max_line,
                    span=batch[index].text[begin : begin + min(40, int(longest[index]))],
                )
                continue
            long = average[index] > self.max_average_line
            verdicts[index] = Verdict(
                "drop",
                value=float(average[index] if long else letters[index]),
                threshold=self.max_average_line if long else self.min_alphanumeric,
            )
        return verdicts


class StackQuality(Filter):
    """Keep only files whose name has an ending from a list, and not in folders of others' code.

    The name is the document's id, or the path of its url. RedPajama's list of endings is the
    default (``github_run_filter.py``: upper and lower case differ); it drops no vendored code.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("code",), description="languages it judges; empty: all")
    extensions: tuple[str, ...] = Field(EXTENSIONS, description="endings, without the dot")
    names: tuple[str, ...] = Field(FILE_NAMES, description="names that are kept as well")
    vendored: tuple[str, ...] = Field(VENDORED, description="folders whose files are dropped")

    def judge(self, document: Document) -> Verdict:
        paths = [path for path in (document.id, urlsplit(document.url).path) if path]
        for path in paths:
            folder = next((f for f in path.split("/")[:-1] if f in self.vendored), "")
            if folder:
                return Verdict("drop", value=1, threshold=0, span=f"{folder}/")
        ends = tuple(f".{extension}" for extension in self.extensions) + self.names
        if any(path.endswith(ends) for path in paths):
            return self.KEEP
        return Verdict("drop", value=0, threshold=1, span=document.id.rpartition("/")[2][:40])


class GeneratedCode(Filter):
    """Drop code that says in its first lines that a program wrote it, or that is minified.

    StarCoder2 (arXiv 2402.19173, section 3) looks for "auto-generated" and its like in the
    first five lines; "Code generated … DO NOT EDIT" is Go's convention
    (go.dev/s/generatedcode), "@generated" Meta's. Names such as ``x.min.js`` and ``x_pb2.py``
    are those of GitHub's Linguist (``lib/linguist/generated.rb``).
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("code",), description="languages it judges; empty: all")
    lines: int = Field(5, ge=1, description="how many lines are looked at")
    _mark: ClassVar[re.Pattern[str]] = re.compile(
        r"\bauto(?:matically)?[- ]?generated\b|\bgenerated automatically\b"
        r"|\bcode generated\b.{0,200}\bdo not edit\b|\bthis file (?:is|was) generated\b"
        r"|(?<![\w.@])@generated\b",
        re.IGNORECASE,
    )
    _name: ClassVar[re.Pattern[str]] = re.compile(
        r"[.-]min\.(?:js|css)$|_pb2(?:_grpc)?\.pyi?$|\.pb\.(?:go|cc|h)$|\.g\.dart$"
        r"|\.designer\.(?:cs|vb)$|(?:^|/)(?:package-lock\.json|Cargo\.lock|yarn\.lock)$",
        re.IGNORECASE,
    )

    def judge(self, document: Document) -> Verdict:
        for path in (document.id, urlsplit(document.url).path):
            if named := self._name.search(path):
                return Verdict("drop", value=1, threshold=0, span=named.group().lstrip("/"))
        end = -1
        for _ in range(self.lines):
            end = document.text.find("\n", end + 1)
            if end < 0:
                break
        head = document.text[: end if end >= 0 else 20_000][:20_000]
        if mark := self._mark.search(head):
            return Verdict("drop", value=1, threshold=0, span=mark.group()[:80])
        return self.KEEP


@cache
def _alphanumeric() -> U8:
    """1 for each code point that ``str.isalnum`` says is a letter or a number."""
    return np.fromiter((chr(c).isalnum() for c in range(0x110000)), dtype=np.uint8, count=0x110000)


@njit(cache=True, nogil=True)
def _shape(points: U32, starts: I64, alphanumeric: U8) -> I64:
    """The columns of :class:`CodeMeasure`."""
    found = np.zeros((len(starts) - 1, 5), dtype=np.int64)
    for document in range(len(starts) - 1):
        row = found[document]
        first = starts[document]
        end = starts[document + 1]
        begin = first
        index = first
        while index < end:
            point = points[index]
            row[4] += alphanumeric[point]
            if not line_break(point):
                index += 1
                if index < end:
                    continue
            row[0] += 1
            length = index - begin
            row[3] += length
            if length > row[1]:
                row[1] = length
                row[2] = begin - first
            if index < end:  # at a line break, and \r\n is one
                index += 2 if point == 13 and index + 1 < end and points[index + 1] == 10 else 1
            begin = index
        row[0] = max(row[0], 1)
    return found
