"""What no document may hold, wherever it comes from."""

from __future__ import annotations

import re

from yoriai import Document
from yoriai_corpus.tables import COLUMNS


def fault(document: Document) -> str:
    """Why a document cannot be taken in, whatever source it comes from; "" if it can.

    Parquet and digests need text that UTF-8 can hold, and the language names the files of
    token shards, so that one with a slash would be written somewhere else.
    """
    try:
        "".join(getattr(document, name) for name in COLUMNS).encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair"
    except TypeError:
        return "a field is no text"
    if not document.text.strip() or not document.text.strip(_BLANK):
        return "no text"
    if document.language and not _LANGUAGE.fullmatch(document.language):
        return f"{document.language[:40]!r} is no language code"
    return ""


# White space, controls, marks of no width, and what stands for bytes that were no text.
_BLANK = "".join(
    map(
        chr,
        [*range(0x21), *range(0x7F, 0xA1), 0xAD, *range(0x2000, 0x2010), *range(0x2028, 0x2030),
         *range(0x205F, 0x2070), 0x3000, 0xFEFF, 0xFFFD],
    )
)  # fmt: skip
_LANGUAGE = re.compile(r"\w[\w-]{0,39}")
