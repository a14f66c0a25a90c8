"""JBBQ as a task: data that may not be given on, read from your own copy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Artifact, NotFound, Sample, Task, UsageError
from yoriai.files import digest_file, digest_json


class JBBQ(Task):
    """JBBQ: social bias, three answers ranked by likelihood; reads your own copy.

    The form of ynklab/JBBQ_data, which is that of BBQ (nyu-mll/BBQ): JSON lines, a file for each
    category. Questions of one template (``question_index``) are one cluster; scores are broken
    down by category and by whether the context settles the question.
    """

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["ranked"]] = "ranked"
    path: str = Field(min_length=1, description="a .jsonl file of JBBQ, or a folder of them")

    def fingerprint(self) -> str:
        """Digest over names and bytes of your files."""
        return digest_json([[f.name, digest_file(f)] for f in self._files()])

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:  # noqa: ARG002
        files = self._files()
        if not files:
            raise NotFound(
                f"eval/jbbq: there is no .jsonl file at {self.path}",
                hint="ask for a copy by the form at https://github.com/ynklab/JBBQ_data and give "
                "its folder as path",
            )
        for place in files:
            yield from self._in_file(place)

    def _files(self) -> list[Path]:
        root = Path(self.path).expanduser()
        return [root] if root.is_file() else sorted(root.glob("*.jsonl"))

    def _in_file(self, place: Path) -> Iterable[Sample]:
        for number, line in enumerate(place.read_bytes().split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                yield Sample(
                    id=f"{row['category']}/{row['example_id']}",
                    text=f"{row['context']}\n{row['question']}\n",
                    choices=(row["ans0"], row["ans1"], row["ans2"]),
                    answer=(0, 1, 2)[int(row["label"])],
                    group=f"{row['category']}.{row['context_condition']}",
                    cluster=f"{row['category']}/{row['question_index']}",
                )
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise UsageError(
                    f"eval/jbbq: line {number} of {place.name} is no question of JBBQ: "
                    f"{type(error).__name__} {error}"
                ) from error
