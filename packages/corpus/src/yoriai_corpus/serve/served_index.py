"""The indexes that a server answers from: opened again as soon as their folders hold others."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from yoriai import NotFound, YoriaiError
from yoriai.artifact import MANIFEST, open_artifact
from yoriai_corpus.account.removals import LOG
from yoriai_corpus.search.search import SearchIndex, corpus_folders, newer, open_index

Marks = tuple[tuple[int, int, int], ...]
NOWHERE = (0, 0, 0)  # the mark of a folder that holds no manifest


class ServedIndex:
    """Indexes in folders; nothing of a former index is answered once the folder was changed.

    A document is taken down by putting an index without it in the place of the former one. The
    files of the former are mapped as long as it is open, so each request looks at the manifests,
    and at the logs of removals beside the corpora.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        """Raises :class:`YoriaiError` for a folder that is no whole index."""
        self.folders = tuple(folders)
        self._lock = threading.Lock()
        self._corpora: list[str] = []
        self._marks, self._index = self._open()
        self._newer: tuple[tuple[Marks, Marks], list[str]] | None = None

    def get(self) -> SearchIndex:
        """The index as the folders hold it now; raises :class:`YoriaiError` if they hold none."""
        with self._lock:
            if self._now() != self._marks:
                self._marks = ()  # nothing is answered until they are whole
                self._marks, self._index = self._open()
            return self._index

    def state(self) -> tuple[Marks, Marks]:
        """What the folders of the indexes and of their corpora hold now.

        As long as it is the same, so is every answer. Raises as :meth:`get` does.
        """
        self.get()
        with self._lock:
            return self._marks, tuple(_mark(folder) or NOWHERE for folder in self._corpora)

    def _open(self) -> tuple[Marks, SearchIndex]:
        before = self._manifests()
        artifacts = []
        for folder in self.folders:
            artifact = open_artifact(folder)
            if artifact.kind != "index":
                raise YoriaiError(f"{folder} holds a {artifact.kind}, not an index")
            artifacts.append(artifact)
        self._corpora = [str(f) for artifact in artifacts for f in corpus_folders(artifact)]
        before += self._logs()
        index = open_index(*artifacts)
        if self._now() != before:
            raise YoriaiError("the index is being replaced", hint="ask again in a moment")
        return before, index

    def _now(self) -> Marks:
        return self._manifests() + self._logs()

    def _manifests(self) -> Marks:
        found = []
        for folder in self.folders:
            mark = _mark(os.fspath(folder))
            if mark is None:
                raise NotFound(f"there is no index in {folder.name} now")
            found.append(mark)
        return tuple(found)

    def _logs(self) -> Marks:
        """Where something was removed, an index elsewhere may still hold it."""
        roots = dict.fromkeys(os.path.dirname(folder) for folder in self._corpora)
        return tuple(_mark(root, LOG) or NOWHERE for root in roots)

    def newer(self) -> list[str]:
        """Names of corpora that were made anew since; see :func:`newer`.

        Their manifests are read again when they change: a manifest takes some milliseconds.
        """
        state = self.state()
        known = self._newer
        if known is None or known[0] != state:
            names = [name for artifact in self.get().artifacts for name in newer(artifact)]
            self._newer = known = state, names
        return known[1]


def _mark(folder: str, name: str = MANIFEST) -> tuple[int, int, int] | None:
    """What tells one manifest in a folder from another; None where there is none."""
    try:
        info = os.stat(os.path.join(folder, name))
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size
