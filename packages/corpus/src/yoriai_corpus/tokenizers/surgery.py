"""``corpus/tokenizer-surgery``: add pieces to a tokenizer, drop pieces, merge two tokenizers.

Other packages reach it by name and need no import of this one: as a step of a recipe, whose result
is a tokenizer artifact with a map of ids beside it; or, inside a step of their own, by
``build(registry.load(registry.get("steps", "corpus/tokenizer-surgery")), {"add": […]}, registry)``
and :meth:`Surgery.operate` on plain folders. A step is enough of a mechanism: its keys are
checked, its result is sealed, and what a model needs to follow (which row of its embedding goes
where) is a file, ``ids.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Job, Made, Step, UsageError, files
from yoriai_corpus.tokenizers import pieces as vocabularies
from yoriai_corpus.tokenizers.training import CHAT_TEMPLATE, MODEL

IDS = "ids.json"


class Surgery(Step):
    """Change the vocabulary of a tokenizer: merge a second one, drop pieces, add pieces.

    In this order. Ids that stay keep their meaning: nothing is reordered, and additions go to the
    end. ``ids.json`` gives, for each input, the new id of each old one, or null. Dropping
    closes gaps, so it moves ids; without ``drop`` the first input's ids are all as before.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "tokenizer"
    measures: ClassVar[tuple[str, ...]] = ("pieces", "added", "dropped", "marks.*")
    takes: ClassVar[tuple[str, ...]] = ("tokenizer",)

    drop: tuple[str, ...] = Field((), description="pieces to drop; a space may be written as one")
    add: tuple[str, ...] = Field((), description="pieces to add; a space may be written as one")
    symbols: tuple[str, ...] = Field((), description="texts to add that are never cut")
    score: float | None = Field(
        None, le=0, description="score of added pieces (unigram); null: just above being spelled"
    )
    scores: dict[str, float] = Field(
        {}, description="scores of single added pieces (unigram), where above being spelled"
    )
    skip_known: bool = Field(False, description="leave out of 'add' what is there already")

    def run(self, job: Job) -> Made:
        inputs = job.all_of("tokenizer")
        if len(inputs) not in (1, 2):
            raise UsageError(
                f"step {job.name!r} takes one tokenizer or two, 'from' gives {len(inputs)}"
            )
        facts = self.operate([artifact.path for artifact in inputs], job.out)
        names = [artifact.name for artifact in inputs]
        return Made(
            facts=facts,
            headline=[
                f"{facts['pieces']:,} pieces from {' and '.join(names)}: "
                f"{facts['added']:,} added, {facts['dropped']:,} dropped"
            ],
        )

    def operate(self, folders: Sequence[Path], out: Path) -> dict[str, Any]:
        """The same on plain folders of tokenizers; writes to ``out`` and gives the facts.

        The context and the chat template are those of the first. Raises
        :class:`yoriai.UsageError` for a change that the vocabulary cannot take.
        """
        from yoriai_corpus.tokenizers.huggingface import export_fast_tokenizer

        if not (len(folders) == 2 or self.drop or self.add or self.symbols):
            raise UsageError(
                "there is nothing to change: give drop, add, symbols or two tokenizers"
            )
        protos = [vocabularies.read_model(folder / MODEL) for folder in folders]
        made = protos[0]
        maps: list[vocabularies.Ids] = [list(range(len(made.pieces)))]
        if len(protos) == 2:
            made, *maps = vocabularies.merge(*protos)
        before = len(protos[0].pieces)
        if self.drop:
            made, moved = vocabularies.drop(made, self.drop)
            maps = [[None if i is None else moved[i] for i in ids] for ids in maps]
        new: Sequence[str] = self.add
        if self.skip_known:
            known = set(vocabularies.texts(made))
            new = [p for p in new if p.replace(" ", vocabularies.SPACE) not in known]
        if new:
            made, _ = vocabularies.add(made, new, score=self.score, scores=self.scores)
        if self.symbols:
            made, _ = vocabularies.add(made, self.symbols, symbols=True)
        out.mkdir(parents=True, exist_ok=True)
        vocabularies.write_model(made, out / MODEL)
        template = folders[0] / "chat_template.jinja"
        try:
            export_fast_tokenizer(
                out / MODEL,
                out,
                max_length=_context(folders[0]),
                chat_template=template.read_text("utf-8") if template.is_file() else CHAT_TEMPLATE,
            )
        except ValueError as error:
            raise UsageError(f"the changed vocabulary cannot be exported: {error}") from error
        rows = [{"pieces": len(p.pieces), "ids": ids} for p, ids in zip(protos, maps, strict=True)]
        files.write_atomically(out / IDS, files.canonical_json({"inputs": rows}))
        dropped = sum(new is None for new in maps[0])
        return {
            "pieces": len(made.pieces),
            "added": len(made.pieces) - before + dropped,
            "dropped": dropped,
            "marks": vocabularies.marks(made),
            "bytes_per_token": {},
        }


def _context(folder: Path) -> int:
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    return int(config["model_max_length"])
