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
    if not document.text.strip():
        return "no text"
    if document.language and not _LANGUAGE.fullmatch(document.language):
        return f"{document.language[:40]!r} is no language code"
    return ""


_LANGUAGE = re.compile(r"\w[\w-]{0,39}")
