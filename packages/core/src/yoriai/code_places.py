"""Where code stands, told from its package on: ``yoriai_train/job/loop.py``.

A traceback names files by the folders of one machine, of a checkout or an environment. What is
published needs none of them, and they may tell whose machine it was.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import PurePath

_FILE = re.compile(r'(?<=File ")[^"\n]+(?=")')
_ENVIRONMENT = re.compile(r"^.*/(?:site|dist)-packages/")


def shorten_places(text: str, roots: Iterable[str] | None = None) -> str:
    """``text`` with each ``File "..."`` of a traceback told from where it is imported from.

    ``roots`` are the folders that modules are looked for in (``sys.path``). A file below none of
    them keeps its name and that of its folder.
    """
    given = sys.path if roots is None else roots
    known = sorted({root.rstrip("/") + "/" for root in given if len(root) > 1}, key=len)

    def short(found: re.Match[str]) -> str:
        path = found[0]
        inside = _ENVIRONMENT.sub("", path)
        if inside != path or not path.startswith("/"):
            return inside
        for root in reversed(known):
            if path.startswith(root):
                return path[len(root) :]
        return "/".join(PurePath(path).parts[-2:]).lstrip("/")

    return _FILE.sub(short, text)
