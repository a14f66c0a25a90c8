"""Hugging Face data sets: from the Hub at a pinned commit, or saved in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from yoriai import Document, NotFound, PassedOver, Source, SourceCard, Unreadable, UsageError, files
from yoriai_corpus.sources.checks import fault
from yoriai_corpus.sources.records import RecordFault, guarded, unbroken
from yoriai_corpus.sources.rows import RowFields, row_reader

_SHARD_BYTES = 64 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}")
MOST_FILES = 100_000  # and folders; the Hub asks for fewer in a data set (docs/hub/storage-limits)


def _walk(root: Path) -> Iterator[Path]:
    """All that lies in a folder. Raises :class:`UsageError` where that is too much to be one."""
    number = 0
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            number += 1
            if number > MOST_FILES:
                raise UsageError(
                    f"{root} holds more than {MOST_FILES:,} files and folders; no more were "
                    "looked at",
                    hint="give the folder of one data set as 'path', not one above it",
                )
            yield Path(folder, name)


class HuggingFaceRows(RowFields, Source):
    """Rows of a data set, read as a stream."""

    version: ClassVar[str] = "1"
    path: str = Field(description="name on the Hub (user/data), or a folder of save_to_disk")
    revision: str = Field("", description="commit on the Hub, 40 digits; needed unless a folder")
    subset: str = Field("", description="configuration of the data set, e.g. ja")
    split: str = Field("train", description="split of the data set")
    name: str = Field("", description="name of the source in ids, ledger and datasheet")
    language: str = Field("", description="language of the documents, where rows do not say")
    licence: str = Field("", description="licence of the documents, where rows do not say")

    @model_validator(mode="after")
    def _pinned(self) -> HuggingFaceRows:
        if not self._folder().is_dir() and not _COMMIT.fullmatch(self.revision):
            raise ValueError(
                "a data set of the Hub needs 'revision', a commit of 40 digits (a branch can"
                " change under the same name); a folder of this name is not there"
            )
        return self

    def card(self) -> SourceCard:
        languages = (self.language,) if self.language else ()
        url = "" if self._is_local() else f"https://huggingface.co/datasets/{self.path}"
        return SourceCard(
            name=self.source_name,
            licence=self.licence or "unstated",
            languages=languages,
            version=self.revision,
            url=url,
        )

    def fingerprint(self) -> str:
        """The commit says it all; of a folder, a digest over names and bytes."""
        if not self._is_local():
            return files.digest_json([self.path, self.revision])
        root = self._folder()
        self._load()  # before any byte is read: it may be no data set
        paths = sorted(path for path in _walk(root) if path.is_file())
        rows = [[path.relative_to(root).as_posix(), files.digest_file(path)] for path in paths]
        return files.digest_json(rows)

    def partitions(self) -> list[str]:
        """One for each file that the data set is stored in."""
        count = self._load().num_shards
        return [f"{number:05d}-of-{count:05d}" for number in range(count)]

    def read(self, partition: str) -> Iterator[Document | Unreadable | PassedOver]:
        return self.read_without(partition, frozenset())

    def read_without(
        self, partition: str, skip: frozenset[int]
    ) -> Iterator[Document | Unreadable | PassedOver]:
        number, _, count = partition.partition("-of-")
        document = row_reader(self, self.source_name, self.language, self.licence)

        def parse(place: str, row: Any) -> Document | Unreadable:
            item = document(place, row)
            if isinstance(item, Document) and (reason := fault(item)):
                return Unreadable(item.source, place, reason)
            return item

        def rows() -> Iterator[tuple[str, Any] | RecordFault]:
            shard = self._load().shard(num_shards=int(count), index=int(number))
            for index, row in enumerate(shard):
                yield f"{number}@{index}", row

        yield from guarded(self.source_name, unbroken(rows(), number), parse, skip)

    @property
    def source_name(self) -> str:
        """What documents name as their source."""
        return self.name or self.path.rstrip("/").rpartition("/")[2]

    def _folder(self) -> Path:
        return Path(self.path).expanduser()

    def _is_local(self) -> bool:
        return self._folder().is_dir()

    def _load(self) -> Any:
        import datasets

        try:
            if not self._is_local():
                return datasets.load_dataset(
                    self.path,
                    self.subset or None,
                    split=self.split,
                    revision=self.revision,
                    streaming=True,
                )
            root = self._folder()
            for _ in _walk(root):  # the library walks it whole, more than once
                pass
            if (root / "state.json").is_file() or (root / "dataset_dict.json").is_file():
                found = datasets.load_from_disk(str(root))
                if isinstance(found, datasets.DatasetDict):
                    found = found[self.split]
                # Parts of about 64 MB, so that a large data set is read by many workers.
                size = sum(file.stat().st_size for file in root.rglob("*.arrow"))
                shards = max(1, min(size // _SHARD_BYTES, found.num_rows))
                return found.to_iterable_dataset(num_shards=shards)
            return datasets.load_dataset(str(root), split=self.split, streaming=True)
        except (OSError, ValueError, KeyError) as error:
            where = "in the folder" if self._is_local() else "on the Hub"
            hint = (
                "give the folder of one data set as 'path'; check 'subset' and 'split'"
                if self._is_local()
                else "is this machine online? Where it is not, fetch the data elsewhere with"
                f" 'hf download {self.path} --repo-type dataset --revision {self.revision}"
                " --local-dir DIR', copy DIR here and give it as 'path'"
            )
            reason = str(error).partition("\n")[0][:200]
            raise NotFound(
                f"the data set {self.source_name} cannot be opened {where}: {reason}", hint=hint
            ) from error
