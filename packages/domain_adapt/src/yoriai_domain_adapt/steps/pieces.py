"""``domain-adapt/pieces``: pieces of a domain for a tokenizer that cuts it too finely."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Artifact, Job, Made, Step, UsageError, config

REPORTED = 40  # pieces that the facts show


class Pieces(Step):
    """Choose the pieces that shorten a corpus most, and add them to the tokenizer.

    The first corpus under ``from`` is the domain; held-out text of all of them is measured. Ids
    that are there keep their meaning. A SentencePiece tokenizer is extended by
    ``corpus/tokenizer-surgery``, a BPE ``tokenizer.json`` by further merges; ``model`` under
    ``from`` stands for the tokenizer that lies beside its weights.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "tokenizer"
    measures: ClassVar[tuple[str, ...]] = ("pieces", "added", "fertility.**", "marks.*")
    takes: ClassVar[tuple[str, ...]] = ("corpus",)
    optional: ClassVar[tuple[str, ...]] = ("tokenizer", "model")

    count: int = Field(
        1000,
        ge=0,
        description="pieces to add at most; 0: a model's tokenizer as it is",
    )
    fewest: int = Field(5, ge=2, description="times that a piece must occur")
    longest: int = Field(
        12, ge=2, description="characters (bytes, for a byte-level BPE) of a piece"
    )
    megabytes: float = Field(20.0, gt=0, description="text of the domain that is looked at")

    def run(self, job: Job) -> Made:
        from yoriai_domain_adapt.arithmetic.pieces import continue_merges
        from yoriai_domain_adapt.folders import vocabulary

        corpora = job.all_of("corpus")
        given = [*job.all_of("tokenizer"), *job.all_of("model")]
        if len(given) != 1:
            raise UsageError(
                f"step {job.name!r} needs one tokenizer (or a model for its tokenizer),"
                f" 'from' gives {len(given)}",
                hint="from: [DOMAIN_CORPUS, TOKENIZER]",
            )
        old = vocabulary.read_tokenizer(given[0].path)
        texts = vocabulary.read_texts(corpora[0], "documents", int(self.megabytes * 1e6))
        words = vocabulary.count_words(old, texts) if self.count else {}
        # Byte-level letters: a Japanese character is three.
        merges = continue_merges(words, self.count, fewest=self.fewest, longest=self.longest)
        if self.count and not merges:
            raise UsageError(
                f"{corpora[0].name} has no piece that occurs {self.fewest} times",
                hint="fewest: 2, or more text",
            )
        total = sum(len(word) * times for word, times in words.items())
        added = self._extend(job, given[0], merges, total)
        new = vocabulary.read_tokenizer(job.out)
        measured = {}
        for corpus in corpora:
            held = list(vocabulary.read_texts(corpus, "heldout", 2_000_000))
            measured[corpus.step] = {
                "before": vocabulary.fertility(old, held),
                "after": vocabulary.fertility(new, held),
            }
        facts = {
            "pieces": new.get_vocab_size(),
            "added": added,
            "chosen": [[m.piece, m.count] for m in merges[:REPORTED]],
            "fertility": measured,
            "marks": self._marks(job),
        }
        lines = [
            f"{name}: {row['before']['bytes_per_token']:.2f} bytes a token became"
            f" {row['after']['bytes_per_token']:.2f}"
            for name, row in measured.items()
        ]
        return Made(facts=facts, headline=[f"{added:,} pieces added", *lines])

    def _extend(self, job: Job, given: Artifact, merges: Any, total: int) -> int:
        from yoriai_domain_adapt.folders import vocabulary

        if not (given.path / "tokenizer.model").is_file():
            return vocabulary.extend_bpe(given.path, job.out, merges)
        surgery = job.registry.load(job.registry.get("steps", "corpus/tokenizer-surgery"))
        counts: dict[str, int] = {}
        for merge in merges:
            counts[merge.piece] = counts.get(merge.piece, 0) + merge.count
        # As a unigram model scores: the logarithm of the share of all pieces.
        scores = {piece: math.log(count / total) for piece, count in counts.items()}
        told = {"add": list(counts), "scores": scores, "skip_known": True}
        made = config.build(surgery, told, job.registry)
        return int(made.operate([given.path], job.out)["added"])

    def _marks(self, job: Job) -> dict[str, int]:
        from yoriai_domain_adapt.folders import vocabulary

        made = vocabulary.read_tokenizer(job.out)
        found = {n: made.token_to_id(piece) for n, piece in vocabulary.read_marks(job.out).items()}
        return {name: int(place) for name, place in found.items() if place is not None}
