"""``corpus/merged-tokenizer``: one vocabulary from several, as LLM-jp builds its tokenizers.

The defaults are ``code10k_en20k_ja30k`` of v2.1 (github.com/llm-jp/llm-jp-tokenizer,
scripts/howToCreateModel_ver2.md, models/ver2.1/specialTokens.vocab): a unigram model for each of
Japanese, English and code; their pieces merged behind the special ones; all scores estimated anew
on text that nobody has cut. What differs, and why:

* Text is sampled from a corpus artifact, by source, and the sample can be named again.
* Japanese is cut where the script changes unless ``presplit: morphemes`` is asked for.
* There is no dummy prefix, in the end model nor in those of English and code: text decodes to
  itself, and a word at the start of a line is counted as what it will be there.
* No piece is empty. (Line 10,031 of theirs is.) The space belongs to the special pieces.
* Scores are rounded to 1/64, so that SentencePiece and tokenizers agree on every text.
* Their document says ja, en, code; the file they ship has code, en, ja. The order of ``parts``
  counts here; it changes ids only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from yoriai import Artifact, Job, Made, Step, UsageError, YoriaiError
from yoriai.strict import Strict
from yoriai_corpus.engines import pool as engine
from yoriai_corpus.tokenizers import pieces as vocabularies
from yoriai_corpus.tokenizers import splitting, unigram
from yoriai_corpus.tokenizers import text_sample as samples
from yoriai_corpus.tokenizers.pieces import (
    BYTE,
    BYTES,
    CONTROL,
    NORMAL,
    SPACE,
    UNKNOWN,
    USER_DEFINED,
    VocabularyPiece,
)
from yoriai_corpus.tokenizers.training import FINISHED, MODEL, TrainerOptions, finish, train

CHUNK_BYTES = 16 * 2**20  # of text counted at a time; part of the result's last digits
SPECIALS = ("<unk>", "<s>", "</s>", "<mask>", "<pad>", "<CLS>", "<SEP>", "<EOD>")
ROLES = {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"}


class VocabularyPart(Strict):
    """One language's share of the vocabulary."""

    language: str = Field(description="language of the documents it is learned from")
    size: int = Field(
        ge=262, le=10**8, description="pieces of its model, 260 special and byte ones included"
    )
    max_piece_length: int = Field(16, ge=1, le=64, description="characters of its longest piece")
    presplit: splitting.Presplit = Field(
        "none", description="cut words at changes of script, or by MeCab (extra: words)"
    )
    strip: splitting.Strip = Field("symbols", description="pieces that lose their leading ▁")


V2_1 = (
    VocabularyPart(language="ja", size=30_000, max_piece_length=8, presplit="scripts", strip="all"),
    VocabularyPart(language="en", size=20_000),
    VocabularyPart(language="code", size=10_000),
)


class MergedTokenizer(Step):
    """Merge a SentencePiece vocabulary for each language and re-estimate all scores by EM.

    The recipe of LLM-jp's tokenizers v2; the defaults are those of v2.1 (about 50,000 pieces).
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "tokenizer"
    measures: ClassVar[tuple[str, ...]] = (
        *FINISHED,
        "sample_bytes",
        "sample.seed",
        "sample.groups.**",
        "threads",
    )
    takes: ClassVar[tuple[str, ...]] = ("corpus",)

    parts: tuple[VocabularyPart, ...] = Field(
        V2_1, min_length=1, description="vocabularies, in the order in which they are merged"
    )
    specials: tuple[str, ...] = Field(
        SPECIALS, description="special pieces, from id 0 on; <unk>, <s> and </s> among them"
    )
    space_runs: int = Field(24, ge=1, le=64, description="runs of so many to 1 spaces are pieces")
    space_score: float | None = Field(
        -1.0, le=0, description="score of the runs of spaces; null: estimated like all others"
    )
    split_symbols: bool = Field(True, description="no piece spans a symbol (not so in v2.2)")
    megabytes: float = Field(
        1000.0, gt=0, description="at most so much text of each source of each language"
    )
    character_coverage: float = Field(
        0.9995, gt=0.9, le=1.0, description="share of characters that get a piece of their own"
    )
    epochs: int = Field(2, ge=1, le=10**6, description="passes of EM over the text")
    tolerance: float = Field(
        0.0, ge=0, description="EM ends when the log-likelihood gains no more (relative)"
    )
    weigh: Literal["tokens", "lines"] = Field(
        "tokens", description="EM proper, or each line weighs the same (as LLM-jp's library has it)"
    )
    context: int = Field(2048, ge=16, le=10**8, description="longest input the tokenizer announces")
    threads: int = Field(
        2, ge=1, le=10**4, description="threads of the trainer; changes the pieces"
    )

    @field_validator("parts")
    @classmethod
    def _parts(cls, value: tuple[VocabularyPart, ...]) -> tuple[VocabularyPart, ...]:
        names = [part.language for part in value]
        if len(set(names)) < len(names):
            raise ValueError("a language has several parts")
        return value

    @field_validator("specials")
    @classmethod
    def _specials(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        missing = [name for name in ("<unk>", "<s>", "</s>") if name not in value]
        if missing or len(set(value)) < len(value) or "" in value:
            raise ValueError(f"must be distinct and hold {', '.join(missing) or 'no empty one'}")
        if wrong := [name for name in value if SPACE in name or "\n" in name or name in BYTES]:
            raise ValueError(f"cannot hold {wrong[0]!r}")
        return value

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        # Each part's size counts bytes, the newline and three special pieces, merged into one.
        own = sum(part.size - len(BYTES) - 4 for part in self.parts)
        most = own + len(self.specials) + self.space_runs + 1 + len(BYTES)
        return {"vocabulary_size": most, "pieces": "at most so many; shared ones count once"}

    def run(self, job: Job) -> Made:
        corpus = job.one("corpus")
        languages = [part.language for part in self.parts]
        kept = corpus.facts["by_language"]
        if absent := [name for name in languages if not kept.get(name, {}).get("bytes")]:
            raise UsageError(
                f"the corpus has no text in {', '.join(absent)}; it has {', '.join(sorted(kept))}",
                hint="--set STEP.parts='[{language: ja, size: 30000}, …]'",
            )
        drawn = samples.draw(
            corpus, self.megabytes, seed=job.seed, group=samples.by_source, languages=languages
        )
        trained, chunks, size = self._write(job, corpus, drawn)
        vocabulary, account = self._merge(job, trained)
        with engine.opened(job.engine) as pool:
            found = unigram.estimate(
                [piece.text for piece in vocabulary if piece.type == NORMAL],
                chunks,
                scratch=job.scratch / "em",
                run=pool.run,
                epochs=self.epochs,
                tolerance=self.tolerance,
                weigh=self.weigh,
            )
        model = self._assemble(vocabulary, found, job.out / MODEL)
        facts: dict[str, Any] = {
            "kind": "unigram",
            "threads": self.threads,
            "sample_bytes": size,
            "sample": drawn.facts(),
            "parts": account,
            "estimation": found.log,
        }
        made = finish(model, job.out, corpus, facts, context=self.context)
        shares = ", ".join(f"{row['language']} {row['added']:,}" for row in account)
        last = found.log[-1]
        headline = [
            *made.headline,
            f"merged: {shares}; {last['log_likelihood_per_character']:.3f} nats a character"
            f" after {len(found.log)} epochs",
        ]
        return Made(facts=made.facts, headline=headline)

    def _write(
        self, job: Job, corpus: Artifact, drawn: samples.TextSample
    ) -> tuple[list[Path], list[Path], int]:
        """The text of each part, cut; all text in chunks, uncut; and the bytes of the latter."""
        number = {part.language: index for index, part in enumerate(self.parts)}
        split = [self._splitter(part) for part in self.parts]
        paths = [job.scratch / f"{index:02d}.txt" for index in range(len(self.parts))]
        chunks = _Chunks(job.scratch / "text")
        streams = [path.open("w", encoding="utf-8", newline="\n") for path in paths]
        try:
            rows = samples.read(corpus, drawn)
            for language, lines in job.progress(rows, "sample", len(drawn.taken)):
                text = "\n".join(lines)
                if text:
                    chunks.add(text)
                    streams[number[language]].write(split[number[language]](text) + "\n")
        finally:
            for stream in streams:
                stream.close()
        return paths, chunks.close(), chunks.bytes

    def _splitter(self, part: VocabularyPart) -> Any:
        words = splitting.morphemes() if part.presplit == "morphemes" else None
        scripts = part.presplit == "scripts"

        def split(text: str) -> str:
            cut = words(text) if words else text
            if scripts or self.split_symbols:
                cut = splitting.part(cut, scripts=scripts, symbols=self.split_symbols)
            # Cutting has made lines longer than the trainer reads.
            lines = cut.split("\n")
            width = samples.LINE_CHARACTERS
            return "\n".join(
                line[start : start + width]
                for line in lines
                for start in range(0, len(line), width)
            )

        return split

    def _merge(
        self, job: Job, texts: Sequence[Path]
    ) -> tuple[list[VocabularyPiece], list[dict[str, Any]]]:
        """Specials, runs of spaces, newline, bytes; then each part's pieces that are new."""
        found = {name: VocabularyPiece(name, 0.0, CONTROL) for name in self.specials}
        found["<unk>"] = VocabularyPiece("<unk>", 0.0, UNKNOWN)
        for length in range(self.space_runs, 0, -1):
            found[SPACE * length] = VocabularyPiece(SPACE * length, self.space_score or 0.0)
        found["\n"] = VocabularyPiece("\n", 0.0, USER_DEFINED)
        found |= {name: VocabularyPiece(name, 0.0, BYTE) for name in BYTES}
        account = []
        for index, (part, text) in enumerate(zip(self.parts, texts, strict=True)):
            options = TrainerOptions(
                coverage=self.character_coverage,
                max_piece_length=part.max_piece_length,
                # Where every ▁ goes in the end, the first word of a line is no other than the rest.
                dummy_prefix=part.strip == "all",
                setting=f"STEP.parts[{index}].size",
            )
            name = f"the part {part.language}"
            try:
                model = train(
                    text, job.scratch / f"{index:02d}.model", part.size, self.threads, options
                )
            except YoriaiError as error:
                raise YoriaiError(f"{name}: {error.message}", hint=error.hint) from error
            learned = list(vocabularies.texts(vocabularies.read_model(model), NORMAL))
            stripped = splitting.strip(learned, part.strip)
            new = [piece for piece in stripped if piece not in found]
            found |= {piece: VocabularyPiece(piece) for piece in new}
            account.append(
                {
                    "language": part.language,
                    "learned": len(learned),
                    "stripped": len(stripped),
                    "added": len(new),
                }
            )
        return list(found.values()), account

    def _assemble(
        self, vocabulary: Sequence[VocabularyPiece], found: unigram.Estimate, path: Path
    ) -> Path:
        scores = iter(found.scores)
        runs = {SPACE * length for length in range(1, self.space_runs + 1)}
        final = []
        for piece in vocabulary:
            if piece.type == NORMAL:
                score = float(next(scores))
                if piece.text in runs and self.space_score is not None:
                    score = self.space_score
                # A single possible piece would have probability 1, and a tie with nothing.
                piece = piece._replace(score=vocabularies.rounded(min(score, -1 / 64)))
            final.append(piece)
        proto = vocabularies.new_unigram(
            final,
            names={role: name for role, name in ROLES.items() if name in self.specials},
            longest=max(part.max_piece_length for part in self.parts),
            coverage=self.character_coverage,
        )
        vocabularies.write_model(proto, path)
        return path


class _Chunks:
    """Files of about :data:`CHUNK_BYTES` each, cut between documents."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._paths: list[Path] = []
        self._waiting: list[str] = []
        self._size = 0
        self.bytes = 0

    def add(self, text: str) -> None:
        size = len(text.encode())
        self._waiting.append(text)
        self._size += size
        self.bytes += size
        if self._size >= CHUNK_BYTES:
            self.close()

    def close(self) -> list[Path]:
        """Write what is left; gives all files in order."""
        if self._waiting:
            path = self._folder / f"{len(self._paths):05d}.txt"
            path.write_text("\n".join(self._waiting), encoding="utf-8", newline="\n")
            self._paths.append(path)
            self._waiting, self._size = [], 0
        return self._paths
