"""The indexes that a server answers from: opened again as soon as their folders hold others."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from yoriai import NotFound, YoriaiError
from yoriai.artifact import MANIFEST, open_artifact
from yoriai_corpus.search.search import SearchIndex, newer

Marks = tuple[tuple[int, int, int], ...]


class ServedIndex:
    """Indexes in folders; nothing of a former index is answered once the folder was changed.

    A document is taken down by putting an index without it in the place of the former one. The
    files of the former are mapped as long as it is open, so each request looks at the manifests.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        """Raises :class:`YoriaiError` for a folder that is no whole index."""
        self.folders = tuple(folders)
        self._lock = threading.Lock()
        self._marks, self._index = self._open()

    def get(self) -> SearchIndex:
        """The index as the folders hold it now; raises :class:`YoriaiError` if they hold none."""
        with self._lock:
            if self._now() != self._marks:
                self._marks = ()  # nothing is answered until they are whole
                self._marks, self._index = self._open()
            return self._index

    def _open(self) -> tuple[Marks, SearchIndex]:
        before = self._now()
        artifacts = []
        for folder in self.folders:
            artifact = open_artifact(folder)
            if artifact.kind != "index":
                raise YoriaiError(f"{folder} holds a {artifact.kind}, not an index")
            artifacts.append(artifact)
        index = SearchIndex(*artifacts)
        if self._now() != before:
            raise YoriaiError("the index is being replaced", hint="ask again in a moment")
        return before, index

    def _now(self) -> Marks:
        found = []
        for folder in self.folders:
            try:
                info = os.stat(folder / MANIFEST)
            except OSError as error:
                raise NotFound(f"there is no index in {folder.name} now") from error
            found.append((info.st_ino, info.st_mtime_ns, info.st_size))
        return tuple(found)

    def newer(self) -> list[str]:
        """Names of corpora that were made anew since; see :func:`newer`."""
        return [name for artifact in self.get().artifacts for name in newer(artifact)]
