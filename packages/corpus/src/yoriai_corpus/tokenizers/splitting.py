"""Where text is parted before pieces are learned from it, and what is undone afterwards.

LLM-jp's tokenizer v2 (scripts/howToCreateModel_ver2.md): Japanese is cut into words and all text at
symbols, by spaces, so that no piece spans two of them; then the mark of those spaces is taken
off the pieces, because the text that the tokenizer will see has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Literal

import numpy as np

from yoriai import NotFound
from yoriai_corpus.text.batch import U8, codes_of
from yoriai_corpus.text.characters import Class, class_table
from yoriai_corpus.tokenizers.pieces import SPACE

Presplit = Literal["none", "scripts", "morphemes"]
Strip = Literal["none", "symbols", "all"]
PROLONGED = 0x30FC  # ー goes with the kana before it, in hiragana too
MOST_BYTES = 20_000  # of one sentence given to MeCab, whose default buffer is small

_LETTERS = (Class.LATIN, Class.HIRAGANA, Class.KATAKANA, Class.HAN)
_SPACES = (Class.SPACE, Class.NEWLINE)


@cache
def _kinds() -> U8:
    """0: space; 1: a symbol, i.e. no kana, kanji or ASCII letter; else the script."""
    table = class_table().copy()
    kinds = np.ones(256, dtype=np.uint8)
    for letter in _LETTERS:
        kinds[letter] = 2 + letter
    for space in _SPACES:
        kinds[space] = 0
    return kinds[table]


def part(text: str, *, scripts: bool, symbols: bool) -> str:
    """Put a space between two characters of different scripts, and around symbols.

    ``symbols`` is the rule of LLM-jp's splitSymbols.py: all but hiragana, katakana, kanji and ASCII
    letters, so digits and accented letters too. (Theirs puts a space on both sides of each; here
    there is one between two symbols, which leaves no runs of spaces to be learned.)
    """
    points = codes_of([text]).points
    if len(points) < 2:
        return text
    kinds = _kinds()[points]
    left, right = kinds[:-1], kinds[1:]
    inside = (left > 0) & (right > 0)
    cut = np.zeros(len(left), dtype=bool)
    if symbols:
        cut |= (left == 1) | (right == 1)
    if scripts:
        kana = (left == 2 + Class.HIRAGANA) & (points[1:] == PROLONGED)
        after = np.zeros(len(left), dtype=bool)  # らーめん: the め after it belongs to them
        after[1:] = kana[:-1] & (right[1:] == 2 + Class.HIRAGANA)
        cut |= (left != right) & ~kana & ~after
    places = np.flatnonzero(cut & inside) + 1
    spaced = np.insert(points, places, np.uint32(0x20))
    return spaced.tobytes().decode("utf-32-le")


def morphemes() -> Callable[[str], str]:
    """A function that parts Japanese text into words by MeCab, line by line.

    Raises :class:`yoriai.NotFound` naming what to install.
    """
    try:
        import fugashi

        tagger = fugashi.Tagger("-Owakati")
    except (ImportError, RuntimeError) as error:
        raise NotFound(
            f"presplit: morphemes needs MeCab and a dictionary: {error}",
            hint="pip install 'yoriai-corpus[words]', or presplit: scripts",
        ) from error

    def words(text: str) -> str:
        lines = text.replace("。", "。\n").split("\n")
        return "\n".join(tagger.parse(line).rstrip("\n") for line in lines if line.strip())

    return words


def strip(pieces: Iterable[str], how: Strip) -> list[str]:
    """Take the leading ``▁`` off pieces: off all of them, or off those of symbols only.

    Pieces that are then equal count once; those of which nothing is left are dropped (in v2.1
    they left one empty piece). Runs of spaces are left alone by ``symbols``.
    """
    kept: dict[str, None] = {}
    for piece in pieces:
        bare = piece.lstrip(SPACE)
        if how == "all" or (how == "symbols" and bare and _only_symbols(bare)):
            piece = bare
        if piece:
            kept.setdefault(piece)
    return list(kept)


def _only_symbols(text: str) -> bool:
    kinds = _kinds()
    return all(kinds[ord(character)] == 1 for character in text)
