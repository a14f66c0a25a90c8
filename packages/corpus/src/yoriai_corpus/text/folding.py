"""Folding: the form in which single characters are compared, as they are or in a search."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

U32 = npt.NDArray[np.uint32]

SPACE = 32  # what every kind of space is folded to


@cache
def fold_table() -> U32:
    """For each code point the one it is compared as: NFKC, then case folded.

    Only where both give a single code point, so that a text keeps its length and folding is
    one look-up. Space of any kind becomes :data:`SPACE`.
    """
    import sys
    import unicodedata

    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    codes = []
    for code in range(sys.maxunicode + 1):
        # Surrogates, Han, Hangul, and what lies behind the second plane fold to themselves.
        if 0x3400 <= code < 0xA000 or 0xAC00 <= code < 0xE000 or 0x20000 <= code < 0x2F800:
            continue
        if code >= 0x2FA20:
            break
        codes.append(code)
    # One call for all, parted by what composes with nothing: every worker begins with this.
    text = "\0".join(map(chr, codes))
    forms = unicodedata.normalize("NFKC", text).casefold().split("\0")
    del forms[0]  # NUL itself, which stands first, came out as two empty pieces
    for code, folded in zip(codes, forms, strict=True):
        if folded == " " or chr(code).isspace():
            table[code] = SPACE
        elif len(folded) == 1:
            table[code] = ord(folded)
    return table
