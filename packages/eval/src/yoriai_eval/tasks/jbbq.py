"""BBQ and JBBQ as tasks: questions on social bias, read from your own copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Artifact, NotFound, Sample, Task
from yoriai.files import digest_file, digest_json
from yoriai_eval.sets.bbq import read_questions


def question_files(path: str) -> list[Path]:
    """The file of questions that a path names, or those of a folder in order of name."""
    if not path:
        return []
    root = Path(path).expanduser()
    return [root] if root.is_file() else sorted(root.glob("*.jsonl"))


class JBBQ(Task):
    """JBBQ: social bias, three answers ranked by likelihood; reads your own copy.

    The form of ynklab/JBBQ_data, which is that of BBQ (nyu-mll/BBQ): JSON lines, a file for each
    category. Questions of one template (``question_index``) are one cluster; scores are broken
    down by category and by whether the context settles the question. The bias scores s_DIS and
    s_AMB are those of the probe ``eval/bias-questions``.
    """

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["ranked"]] = "ranked"
    set_name: ClassVar[str] = "JBBQ"
    remedy: ClassVar[str] = (
        "ask for a copy by the form at https://github.com/ynklab/JBBQ_data and give its folder as "
        "path"
    )
    path: str = Field(min_length=1, description="a .jsonl file of JBBQ, or a folder of them")

    def fingerprint(self) -> str:
        """Digest over names and bytes of your files."""
        return digest_json([[f.name, digest_file(f)] for f in question_files(self.path)])

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:  # noqa: ARG002
        files = question_files(self.path)
        called = f"eval/{self.set_name.lower()}"
        if not files:
            raise NotFound(f"{called}: there is no .jsonl file at {self.path}", hint=self.remedy)
        for place in files:
            for asked in read_questions(place, called, self.set_name):
                yield Sample(
                    id=asked.id,
                    text=asked.text,
                    choices=asked.answers,
                    answer=asked.label,
                    group=f"{asked.category}.{asked.condition}",
                    cluster=asked.template,
                )


class BBQ(JBBQ):
    """BBQ: social bias in English, three answers ranked by likelihood; reads your own copy.

    As :class:`JBBQ`; the form of nyu-mll/BBQ.
    """

    set_name: ClassVar[str] = "BBQ"
    remedy: ClassVar[str] = (
        "git clone https://github.com/nyu-mll/BBQ (CC BY 4.0) and give its folder data as path"
    )
    path: str = Field(min_length=1, description="a .jsonl file of BBQ, or a folder of them")
