"""Instruction data: one's own files, and data made from the corpus of the recipe."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Artifact, Example, Instructions, NotFound, UsageError, files

NAMES = {"ja": "日本語", "en": "英語", "code": "コード"}
QUESTION = "次の文章は日本語、英語、コードのどれですか。"


# Of other forms, whose turns would be lost if only "instruction" and "output" were read.
_OTHER_FORMS = ("history", "conversations", "conversation")


class Jsonl(Instructions):
    """JSON Lines, each row an instruction or a conversation.

    An instruction is ``instruction``, ``input`` (may be missing) and ``output``; a ``system``
    text beside them becomes a turn before. A conversation is ``messages``, a list of ``role``
    (system, user, assistant) and ``content``, as OpenAI's fine-tuning files and TRL have it: each
    assistant turn is an example, with all turns before it as its prompt. One of ``weight`` 0 is
    not learned.
    """

    version: ClassVar[str] = "2"
    path: str = Field(description="the file")

    def fingerprint(self) -> str:
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise NotFound(f"no file {self.path}")
        return files.digest_file(path)

    def examples(self, corpora: Sequence[Artifact], seed: int) -> Iterator[Example]:  # noqa: ARG002
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise NotFound(f"no file {self.path}")
        # Not splitlines(): JSON may hold U+2028 and other marks that it takes for line ends.
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if line.strip():
                yield from self._examples(line, f"{self.path}:{number}")

    def _examples(self, line: bytes, place: str) -> Iterator[Example]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{place}: no JSON: {error}") from error
        if not isinstance(row, dict):
            raise UsageError(f"{place}: no JSON object, but {type(row).__name__}")
        if "messages" in row:
            yield from conversation(row, place)
            return
        for key in _OTHER_FORMS:
            if row.get(key):
                raise UsageError(
                    f"{place}: turns under {key!r} are not read",
                    hint='write "messages": [{"role": "user", "content": "..."}, ...]',
                )
        for key in ("instruction", "output"):
            if not isinstance(row.get(key), str):
                raise UsageError(
                    f"{place}: {key!r} is missing or no text",
                    hint="a row has instruction, input and output, or messages",
                )
        for key in ("input", "system"):
            if not isinstance(row.get(key) or "", str):
                raise UsageError(f"{place}: {key!r} is no text")
        before = (("system", row["system"]),) if row.get("system") else ()
        yield Example(row["instruction"], row.get("input") or "", row["output"], before)


def conversation(row: Mapping[str, Any], place: str) -> Iterator[Example]:
    """An example for each assistant turn that is to be learned.

    The form is that of OpenAI's fine-tuning files ("Fine-tuning", chat format) and of TRL
    ("Dataset formats", conversational language modelling). Raises :class:`UsageError` for turns
    that cannot be learned from text alone, and for a row in which nothing is to be learned.
    """
    if row.get("tools") or row.get("functions"):
        raise UsageError(f"{place}: conversations with tools are not read")
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        raise UsageError(f"{place}: 'messages' is no list of turns")
    before: list[tuple[str, str]] = []
    learned = 0
    for number, message in enumerate(messages, 1):
        role, text = _turn(message, f"{place}, turn {number}")
        if role == "assistant":
            if not before or before[-1][0] != "user":
                raise UsageError(f"{place}, turn {number}: the assistant answers no user turn")
            if message.get("weight", 1) != 0:
                learned += 1
                yield Example(before[-1][1], "", text, tuple(before[:-1]))
        elif role == "system" and before:
            raise UsageError(f"{place}, turn {number}: a system turn stands first")
        before.append((role, text))
    if not learned:
        raise UsageError(f"{place}: no assistant turn to learn")
    if before[-1][0] != "assistant":
        raise UsageError(f"{place}: the last turn is the {before[-1][0]}'s, which nobody answers")


def _turn(message: Any, place: str) -> tuple[str, str]:
    """Role and text of one turn; its content may be a list of parts that are text."""
    if not isinstance(message, dict):
        raise UsageError(f"{place}: no JSON object, but {type(message).__name__}")
    role, content = message.get("role"), message.get("content")
    if role not in ("system", "user", "assistant"):
        raise UsageError(f"{place}: role {role!r} is not system, user or assistant")
    if message.get("tool_calls") or message.get("function_call"):
        raise UsageError(f"{place}: calls of tools are not read")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts):
            content = "".join(texts)
    if not isinstance(content, str):
        raise UsageError(f"{place}: 'content' is no text")
    return role, content


class LanguageNaming(Instructions):
    """Snippets of the recipe's corpora, and the question which language they are in.

    Made for the tour: a question that even a tiny model can learn to answer, from text the
    recipe has anyway. Each snippet is a line or a sentence of a training document.
    """

    version: ClassVar[str] = "1"
    count: int = Field(1500, ge=3, description="number of examples, equally many a language")
    longest: int = Field(60, ge=10, description="longest snippet in characters")

    def examples(self, corpora: Sequence[Artifact], seed: int) -> Iterable[Example]:
        import pyarrow.parquet as pq

        snippets: dict[str, list[str]] = {name: [] for name in NAMES}
        for corpus in corpora:
            table = pq.read_table(corpus.files_under("documents"), columns=["text", "language"])
            for row in table.to_pylist():
                if row["language"] in snippets:
                    snippets[row["language"]] += self._lines(row["text"])
        missing = [name for name, lines in snippets.items() if not lines]
        if missing:
            raise UsageError(
                f"the corpora under 'from' hold no text of {', '.join(missing)}",
                hint="add the corpus step under 'from'",
            )
        chooser = random.Random(seed)
        examples = [
            Example(QUESTION, chooser.choice(snippets[language]), NAMES[language])
            for language in NAMES
            for _ in range(self.count // len(NAMES))
        ]
        chooser.shuffle(examples)
        return examples

    def _lines(self, text: str) -> list[str]:
        lines = (line.strip() for line in text.replace("。", "。\n").splitlines())
        return [line[: self.longest] for line in lines if len(line) >= 15]
