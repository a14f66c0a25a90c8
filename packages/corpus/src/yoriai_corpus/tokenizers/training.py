"""``corpus/tokenizer``: a SentencePiece model of a corpus, also as a Hugging Face tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from yoriai import Artifact, Job, Made, Step, WorkerLost, YoriaiError
from yoriai_corpus import tables
from yoriai_corpus.tokenizers import pieces as vocabularies
from yoriai_corpus.tokenizers import text_sample as samples
from yoriai_corpus.tokenizers import trainer

# LLM-jp's instruction form (llm-jp-sft: one system line, 指示, 応答), as a chat template, so
# that tuning and evaluation cannot drift apart by a character as theirs did.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '\\n\\n### 指示:\\n' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '\\n\\n### 応答:\\n' + message['content'] + eos_token }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\n### 応答:\\n' }}{% endif %}"
)
MODEL = "tokenizer.model"
Normalisation = Literal["identity", "nfkc", "nfkc_cf", "nmt_nfkc", "nmt_nfkc_cf"]


# What :func:`finish` measures of every tokenizer (yoriai.Step.measures).
FINISHED = (
    "pieces",
    "marks.*",
    "bytes_per_token.*",
    "documents_compared",
    "documents_that_differ",
)


class Tokenizer(Step):
    """Train a SentencePiece model, unigram or BPE, on the kept documents of a corpus.

    Identity normalisation, byte fallback and no dummy prefix make it lossless. The number of
    threads is part of the recipe because SentencePiece orders pieces differently for
    another number.
    """

    version: ClassVar[str] = "2"
    makes: ClassVar[str] = "tokenizer"
    measures: ClassVar[tuple[str, ...]] = (
        *FINISHED,
        "sample_bytes",
        "sample_lines",
        "sample.seed",
        "sample.groups.**",
        "threads",
    )
    takes: ClassVar[tuple[str, ...]] = ("corpus",)

    kind: Literal["unigram", "bpe"] = Field("unigram", description="algorithm")
    size: int = Field(6000, ge=8, le=10**8, description="number of pieces")
    megabytes_per_language: float = Field(
        20.0, gt=0, description="at most so much text of each language is looked at"
    )
    max_lines: int | None = Field(
        None, ge=1, description="at most so many lines of that, evenly spaced; null: all"
    )
    character_coverage: float = Field(
        0.9995, gt=0.9, le=1.0, description="share of characters that get a piece of their own"
    )
    max_piece_length: int = Field(16, ge=1, le=64, description="characters of the longest piece")
    byte_fallback: bool = Field(True, description="characters without a piece become bytes")
    split_digits: bool = Field(True, description="each digit is a piece of its own")
    split_by_whitespace: bool = Field(True, description="no piece goes on after a space")
    split_by_script: bool = Field(
        True, description="no piece mixes scripts (kana and kanji count as one)"
    )
    normalisation: Normalisation = Field(
        "identity", description="SentencePiece's rule; only identity is lossless"
    )
    symbols: tuple[str, ...] = Field((), description="texts that are never cut, beside the newline")
    space_runs: int = Field(
        0, ge=0, le=64, description="runs of 2 to so many spaces are pieces in any case"
    )
    context: int = Field(2048, ge=16, le=10**8, description="longest input the tokenizer announces")
    threads: int = Field(
        2, ge=1, le=10**4, description="threads of the trainer; changes the pieces"
    )

    @field_validator("symbols")
    @classmethod
    def _symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            vocabularies.check_symbols(["\n", *value])
        except YoriaiError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
        return value

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        return {"vocabulary_size": self.size}

    def run(self, job: Job) -> Made:
        corpus = job.one("corpus")
        text = job.scratch / "sample.txt"
        drawn = samples.draw(corpus, self.megabytes_per_language, seed=job.seed)
        lines = (line for _, found in samples.read(corpus, drawn) for line in found)
        count, size = samples.write(job.progress(lines, "sample"), text)
        if self.max_lines is not None and count > self.max_lines:
            count, size = thin(text, count, self.max_lines)
        model = train(text, job.out / MODEL, self.size, self.threads, self.options())
        facts: dict[str, Any] = {
            "kind": self.kind,
            "threads": self.threads,
            "sample_lines": count,
            "sample_bytes": size,
            "sample": drawn.facts(),
        }
        return finish(model, job.out, corpus, facts, context=self.context)

    def options(self) -> TrainerOptions:
        """What :func:`train` is told."""
        return TrainerOptions(
            kind=self.kind,
            coverage=self.character_coverage,
            max_piece_length=self.max_piece_length,
            byte_fallback=self.byte_fallback,
            split_digits=self.split_digits,
            split_by_whitespace=self.split_by_whitespace,
            split_by_script=self.split_by_script,
            normalisation=self.normalisation,
            symbols=self.symbols,
            space_runs=self.space_runs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerOptions:
    """Options of a training run; the defaults are those of ``corpus/tokenizer``."""

    kind: Literal["unigram", "bpe"] = "unigram"
    coverage: float = 0.9995
    max_piece_length: int = 16
    byte_fallback: bool = True
    split_digits: bool = True
    split_by_whitespace: bool = True
    split_by_script: bool = True
    normalisation: str = "identity"
    symbols: tuple[str, ...] = ()
    space_runs: int = 0
    dummy_prefix: bool = False
    setting: str = "STEP.size"  # what an error tells to change


PLAIN = TrainerOptions()


def thin(path: Path, lines: int, most: int) -> tuple[int, int]:
    """Keep ``most`` of so many lines of a file, evenly spaced; gives their number and bytes."""
    whole = path.with_name(path.name + ".whole")
    path.replace(whole)
    kept = {index * lines // most for index in range(most)}
    with whole.open(encoding="utf-8", newline="\n") as stream:
        chosen = (line[:-1] for index, line in enumerate(stream) if index in kept)
        result = samples.write(chosen, path)
    whole.unlink()
    return result


def finish(
    model: Path, out: Path, corpus: Artifact, facts: dict[str, Any], *, context: int
) -> Made:
    """Export a model, compare both on the corpus, and report.

    A corpus that holds nothing out is compared on what was learned from, and no fertility is
    given. Raises :class:`YoriaiError` if the two differ, where the export can be exact.
    """
    from yoriai_corpus.tokenizers.huggingface import export_fast_tokenizer, round_scores

    proto = vocabularies.read_model(model)
    if proto.trainer_spec.model_type == vocabularies.UNIGRAM:
        round_scores(model)
    export_fast_tokenizer(model, out, max_length=context, chat_template=CHAT_TEMPLATE)
    table = "heldout" if corpus.facts["heldout"] else "documents"
    exact = not proto.normalizer_spec.precompiled_charsmap
    lossless = exact and proto.trainer_spec.byte_fallback
    checked = check(model, out, corpus.files_under(table), exact=exact, lossless=lossless)
    fertility = checked.fertility if table == "heldout" else {}
    all_facts = {
        "pieces": len(proto.pieces),
        "marks": vocabularies.marks(proto),
        **facts,
        "bytes_per_token": fertility,
        "fertility": checked.rows() if table == "heldout" else [],
        "documents_compared": checked.documents,
        "documents_that_differ": checked.differ,
        "lossless": lossless,
    }
    shown = ", ".join(f"{name} {value:.2f}" for name, value in fertility.items())
    which = "held-out" if table == "heldout" else "kept"
    equal = (
        f"SentencePiece and Hugging Face give equal ids on {checked.documents:,} {which} documents"
    )
    if not exact:
        equal = (
            f"Hugging Face gives other ids on {checked.differ:,} of {checked.documents:,} {which}"
            f" documents: it cannot mirror {proto.normalizer_spec.name}"
        )
    return Made(
        facts=all_facts,
        headline=[
            f"{len(proto.pieces):,} pieces from {facts['sample_bytes'] / 1e6:.2f} MB; bytes per"
            f" token on held-out text: {shown or 'none is held out'}",
            equal,
        ],
    )


def train(
    text: Path, model: Path, size: int, threads: int, options: TrainerOptions = PLAIN
) -> Path:
    """Train a model on a file of lines; raises :class:`YoriaiError` if it cannot."""
    if text.stat().st_size == 0:
        raise YoriaiError("there is no text to make pieces of", hint="the corpus holds blanks only")
    try:
        trainer.train_apart(
            input=[str(text)],  # in a list, because a comma in a name parts files
            model_prefix=str(model.with_suffix("")),
            model_type=options.kind,
            vocab_size=size,
            normalization_rule_name=options.normalisation,
            add_dummy_prefix=options.dummy_prefix,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            byte_fallback=options.byte_fallback,
            split_digits=options.split_digits,
            split_by_whitespace=options.split_by_whitespace,
            split_by_unicode_script=options.split_by_script,
            max_sentencepiece_length=options.max_piece_length,
            user_defined_symbols=["\n", *options.symbols],
            character_coverage=options.coverage,
            # The space, which Japanese text may lack, and what symbols are spelled with.
            required_chars="▁" + "".join(sorted(set("".join(options.symbols)) - {"▁", "\n"})),
            train_extremely_large_corpus=text.stat().st_size > LARGE_BYTES,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=3,
            num_threads=threads,
            minloglevel=2,
        )
    except WorkerLost as error:
        raise YoriaiError(
            f"SentencePiece could not make {size} pieces: {error.message}",
            hint="where memory ran out, less text needs less",
        ) from error
    except (RuntimeError, OSError) as error:
        raise _explain(error, size, options) from error
    model.with_suffix(".vocab").unlink(missing_ok=True)
    proto = vocabularies.read_model(model)
    vocabularies.forget_paths(proto)
    if options.symbols:
        proto = vocabularies.as_symbols(proto, options.symbols)
    if options.space_runs > 1:
        proto = vocabularies.with_space_runs(proto, options.space_runs)
    vocabularies.write_model(proto, model)
    return model


LARGE_BYTES = 2 * 10**9  # from here on suffix arrays need 64-bit places


def _explain(error: Exception, size: int, options: TrainerOptions) -> YoriaiError:
    """SentencePiece's error with the number that would work, which it hides in a sentence."""
    hint, words = "", str(error)
    if most := re.search(r"a value <= (\d+)", words):
        hint = f"the corpus gives no more: --set {options.setting}={most[1]}, or more text"
    elif least := re.search(r"smaller than required_chars\D*\d+ vs (\d+)", words):
        hint = (
            f"every frequent character needs a piece: --set {options.setting} to a larger number,"
            f" at least {least[1]}, or character_coverage to a smaller one"
        )
    said = words.rpartition("] ")[2].strip() or words  # without its file, line and condition
    return YoriaiError(f"SentencePiece could not make {size} pieces: {said}", hint=hint)


@dataclass(slots=True)
class Checked:
    """How two tokenizers went through a table.

    ``counts`` has documents, characters, bytes and tokens for each (language, source).
    """

    documents: int = 0
    differ: int = 0
    counts: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, language: str, source: str, text: str, tokens: int) -> None:
        row = self.counts.setdefault((language, source), [0, 0, 0, 0])
        for place, more in enumerate((1, len(text), len(text.encode()), tokens)):
            row[place] += more

    @property
    def fertility(self) -> dict[str, float]:
        """Bytes per token by language."""
        sizes: dict[str, list[int]] = {}
        for (language, _), (_, _, size, tokens) in sorted(self.counts.items()):
            row = sizes.setdefault(language, [0, 0])
            row[0], row[1] = row[0] + size, row[1] + tokens
        return {name: round(a / max(1, b), 3) for name, (a, b) in sizes.items()}

    def rows(self) -> list[dict[str, Any]]:
        """The counts and both rates by language and source, in order of name."""
        return [
            {
                "language": language,
                "source": source,
                "documents": documents,
                "bytes": size,
                "tokens": tokens,
                "bytes_per_token": round(size / max(1, tokens), 3),
                "characters_per_token": round(characters / max(1, tokens), 3),
            }
            for (language, source), (documents, characters, size, tokens) in sorted(
                self.counts.items()
            )
        ]


def check(
    model: Path, folder: Path, table: Iterable[Path], *, exact: bool = True, lossless: bool = True
) -> Checked:
    """Go through a table with a SentencePiece model and its export.

    Raises :class:`YoriaiError` if they ever differ (``exact``; else that is counted), or if
    decoding does not give the text back (``lossless``).
    """
    import sentencepiece
    import tokenizers

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    fast = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast.encode_special_tokens = _literal_specials(folder)
    result = Checked()
    for row in tables.read_rows(table, ["source", "id", "text", "language"]):
        ids = pieces.encode(row["text"])
        if fast.encode(row["text"], add_special_tokens=False).ids != ids:
            if exact:
                raise YoriaiError(f"the exported tokenizer differs on document {row['id']}")
            result.differ += 1
        if lossless and pieces.decode(ids) != row["text"].replace("▁", " "):
            raise YoriaiError(f"encoding loses something of document {row['id']}")
        result.add(row["language"], row["source"], row["text"], len(ids))
        result.documents += 1
    return result


def compare(model: Path, folder: Path, table: Iterable[Path]) -> tuple[dict[str, float], int]:
    """:func:`check`: bytes per token by language, and how many documents were compared."""
    checked = check(model, folder, table)
    return checked.fertility, checked.documents


def _literal_specials(folder: Path) -> bool:
    """Whether the exported tokenizer takes "<s>" in a text for ordinary characters."""
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    return bool(config.get("split_special_tokens", False))
