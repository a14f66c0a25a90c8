"""Rules that count the words of a list, and what reads lists and finds their words.

A list is compiled once in a process into a trie over code points, and the trie is walked from
each place of a text where a word can begin. So all alternatives are tried at once, and what
counts is exactly what ``len(re.findall(pattern, text))`` gives for the alternation of the words
in their order: the leftmost match, of several there the word that stands first in the list, and
the search goes on behind it.
"""

from __future__ import annotations

import importlib.resources
import re
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field

from yoriai import NotFound, UsageError, files
from yoriai_corpus.rules.base import Limit
from yoriai_corpus.text.batch import F64, I64, U32, Batch, codes_of

I32 = npt.NDArray[np.int32]

LISTS = Path(__file__).with_name("lists")
_KATAKANA_WORD = re.compile(r"[ァ-ヴー]+")


class WordTrie(NamedTuple):
    """Words as a trie. State 0 is "no word begins so"; the states are in breadth-first order.

    The children of state ``s`` are the states ``children[s]`` to ``children[s + 1]``, sorted by
    the code point ``codes[child]`` that leads to them.
    """

    roots: I32  # by code point: the state after a first character
    codes: U32
    children: I32
    word: I32  # the word that ends in a state, by its order of preference; -1: none does
    guarded: npt.NDArray[np.bool_]  # of each word: must it stand free of katakana


class Hits(NamedTuple):
    """Of each text: how many words were found, and where the first of them is (-1: none)."""

    counts: I64
    begin: I64
    end: I64


# --- lists --------------------------------------------------------------------------------


def find_list(words: str) -> Path:
    """The file of a list: a name of ours, ``package:file`` of a plugin, or a path.

    Raises :class:`NotFound` where there is no such file.
    """
    package, colon, inside = words.partition(":")
    path = LISTS / f"{words}.txt"
    if re.fullmatch(r"[\w.]{2,}", package) and colon:
        try:
            path = Path(str(importlib.resources.files(package) / inside))
        except ModuleNotFoundError as error:
            raise NotFound(f"there is no package {package!r} with a word list") from error
    elif not re.fullmatch(r"[a-z-]+", words) or not path.is_file():
        path = Path(words)
    if not path.is_file():
        ours = ", ".join(sorted(file.stem for file in LISTS.glob("*.txt")))
        raise NotFound(f"there is no word list {words!r}", hint=f"give a path, or one of: {ours}")
    return path


def read_words(path: Path) -> list[str]:
    """One word a line in UTF-8, without the space around it; lines that begin with ``# `` are
    comments (``#tag`` is a word). Raises :class:`UsageError` where there is no word.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"the word list {path} is not UTF-8") from error
    words = [line.strip() for line in lines if not line.startswith("# ")]
    if not any(words):
        raise UsageError(f"the word list {path} holds no word")
    return [word for word in words if word]


def trie_of(words: list[str], *, guard: bool = False) -> WordTrie:
    """Compile words. With ``guard``, words all in katakana are tried last and must stand free."""
    katakana = [word for word in words if guard and _KATAKANA_WORD.fullmatch(word)]
    ordered = [word for word in words if not (guard and _KATAKANA_WORD.fullmatch(word))]
    guarded = np.arange(len(words)) >= len(ordered)
    nodes: list[dict[str, int]] = [{}]
    ends = [-1]
    for order, word in enumerate(ordered + katakana):
        node = 0
        for character in word:
            if character not in nodes[node]:
                nodes[node][character] = len(nodes)
                nodes.append({})
                ends.append(-1)
            node = nodes[node][character]
        if ends[node] < 0:  # the first of two same words wins
            ends[node] = order
    codes, children, word_at = [0], [], [-1]
    level = [0]  # breadth first, so that the children of a state stand side by side
    for node in level:
        children.append(len(level))
        for character, child in sorted(nodes[node].items()):
            level.append(child)
            codes.append(ord(character))
            word_at.append(ends[child])
    children.append(len(level))
    first = range(children[0], children[1])
    roots = np.zeros(max((codes[state] for state in first), default=0) + 1, dtype=np.int32)
    for state in first:
        roots[codes[state]] = state
    return WordTrie(
        roots,
        np.array(codes, dtype=np.uint32),
        np.array(children, dtype=np.int32),
        np.array(word_at, dtype=np.int32),
        guarded,
    )


def load(words: str, *, guard: bool) -> WordTrie:
    """The compiled list, from the process's memory if the file is what it was."""
    path = find_list(words)
    stat = path.stat()
    return _loaded(str(path), (stat.st_mtime_ns, stat.st_size), guard)


@lru_cache(maxsize=64)
def _loaded(path: str, _stamp: tuple[int, int], guard: bool) -> WordTrie:
    return trie_of(read_words(Path(path)), guard=guard)


# --- search -------------------------------------------------------------------------------


def find_words(trie: WordTrie, points: U32, starts: I64) -> Hits:
    """Count a list's words in each text of a :class:`yoriai_corpus.text.batch.CodePoints`."""
    return Hits(*_find(points, starts, *trie))


@njit(cache=True, nogil=True)
def _is_katakana(point: int) -> bool:
    return 0x30A1 <= point <= 0x30F4 or point == 0x30FC  # [ァ-ヴー], as HojiChar has it


@njit(cache=True, nogil=True)
def step(state: int, point: int, codes: U32, children: I32) -> int:
    """The state of the trie behind ``state`` and one more character; 0 if no word goes on so."""
    low, high = children[state], children[state + 1]
    end = high
    while low < high:
        middle = (low + high) // 2
        if codes[middle] < point:
            low = middle + 1
        else:
            high = middle
    return low if low < end and codes[low] == point else 0


@njit(cache=True, nogil=True)
def _find(
    points: U32,
    starts: I64,
    roots: I32,
    codes: U32,
    children: I32,
    word: I32,
    guarded: npt.NDArray[np.bool_],
) -> tuple[I64, I64, I64]:
    documents = len(starts) - 1
    counts = np.zeros(documents, dtype=np.int64)
    first_begin = np.full(documents, -1, dtype=np.int64)
    first_end = np.full(documents, -1, dtype=np.int64)
    for document in range(documents):
        begin = starts[document]
        end = starts[document + 1]
        index = begin
        while index < end:
            state = roots[points[index]] if points[index] < len(roots) else 0
            best = -1
            best_end = index + 1
            stop = index + 1
            while state > 0:
                found = word[state]
                if (
                    found >= 0
                    and (best < 0 or found < best)
                    and (
                        not guarded[found]
                        or not (
                            (index > begin and _is_katakana(points[index - 1]))
                            or (stop < end and _is_katakana(points[stop]))
                        )
                    )
                ):
                    best, best_end = found, stop
                if stop == end:
                    break
                state = step(state, points[stop], codes, children)
                stop += 1
            if best >= 0:
                if counts[document] == 0:
                    first_begin[document] = index - begin
                    first_end[document] = best_end - begin
                counts[document] += 1
            index = best_end
    return counts, first_begin, first_end


# --- rules --------------------------------------------------------------------------------


class NgWords(Limit):
    """Drop documents in which words of a list occur more than ``max_hits`` times.

    HojiChar's ``NgWordsFilterJa`` (``hojichar/filters/document_filters.py``), which drops at
    the first hit; LLM-jp-13B v1 allowed three (``llm-jp-corpus:scripts/filters.py``). With
    ``katakana_guard``, as its ``ignore_confused``, a word all in katakana counts only where no
    katakana stands beside it (not サック in リュックサック); other words are tried first. Nothing
    is normalised or case folded. Unlike upstream, a list without any katakana word, or without
    any other, is no trap (its pattern has an empty branch that matches everywhere), and lines
    that begin with ``# `` are comments.

    ``words`` is a file of one word a line, ``package:file`` for one in an installed package, or
    one of our small default lists. Raises NotFound and UsageError for a list that cannot be read.
    """

    version: ClassVar[str] = "1"
    words: str = Field("adult", description="path of a word list, package:file, or a list of ours")
    max_hits: int = Field(0, ge=0, description="most occurrences that are kept")
    katakana_guard: bool = Field(True, description="words in katakana must stand free")

    def fingerprint(self) -> str:
        return files.digest_bytes(find_list(self.words).read_bytes())

    def hits(self, batch: Batch) -> Hits:
        return find_words(load(self.words, guard=self.katakana_guard), *batch.codes)

    def measure(self, batch: Batch) -> F64:
        return self.hits(batch).counts.astype(np.float64)

    def limits(self) -> tuple[float, float]:
        return -np.inf, self.max_hits

    def span(self, text: str) -> str:
        hits = find_words(load(self.words, guard=self.katakana_guard), *codes_of([text]))
        return text[hits.begin[0] : hits.end[0]] if hits.counts[0] else ""


class Advertising(NgWords):
    """Drop documents with more than ``max_hits`` words of advertising.

    HojiChar's ``DiscardAds``: more than 14 (``hojichar/filters/document_filters.py``); LLM-jp-13B
    v1 allowed 10. No katakana guard. The default list is our own, not HojiChar's.
    """

    version: ClassVar[str] = "1"
    words: str = Field("advertising", description="path of a word list, package:file, or ours")
    max_hits: int = Field(14, ge=0, description="most occurrences that are kept")
    katakana_guard: bool = Field(False, description="words in katakana must stand free")
