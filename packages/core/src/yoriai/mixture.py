"""``mixture.yaml``: what a model sees of a ``tokens`` artifact, and for how long.

Corpus packages write it, training and adaptation read it; one model checks it for all of them,
before any work starts. It names the shards (one a source or language), and the phases of
training, each with weights or token budgets::

    format: 1
    tokenizer: 0f3c…              # digest of the tokenizer artifact
    vocabulary_size: 50570
    end_id: 7
    shards:
      ja: {files: [ja/00000, ja/00001], tokens: 145000000000, documents: 290000000}
      wiki: {files: [wiki], tokens: 6500000000, documents: 8000000}
    phases:
    - {name: main, tokens: 270000000000, weights: {ja: 20, wiki: 1}}
    - {name: high-quality, weights: {wiki: 1}, max_epochs: {wiki: 3}}

Each file is a stem: ``STEM.bin`` and ``STEM.idx`` (:mod:`yoriai.shards`) with
``STEM.documents.parquet`` (``source, id, record_sha256, start, tokens``, one row a sequence of the
index, ``start`` counted from the first token of the file). The files of a shard are read as one
text, in the order they are named. No numpy here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping as Map
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import Field

from yoriai import artifact, config, files, safe_yaml
from yoriai.errors import Altered, NotFound, UsageError
from yoriai.strict import Strict

NAME = "mixture.yaml"
QUICK_BYTES = 2**26  # compared with their digests also where a look has to be quick
# Beyond 4 epochs repeated text is worth less and less, beyond 16 next to nothing
# (Muennighoff et al. 2023, "Scaling Data-Constrained Language Models", arXiv 2305.16264).
EPOCHS_WORTH_NEW_TEXT = 4

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Epochs = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=0, le=2**62)]  # what only may be there is told as 2**62
Budget = Annotated[int, Field(ge=0, le=10**15)]


class ShardFiles(Strict):
    """One source of tokens: the files that hold it, and how much they hold."""

    files: list[str] = Field(min_length=1, description="stems of the .bin/.idx pairs, in order")
    tokens: Tokens = Field(description="tokens in all files")
    documents: Tokens = Field(description="documents in all files")

    @pydantic.field_validator("files")
    @classmethod
    def _inside(cls, value: list[str]) -> list[str]:
        for name in value:
            parts = PurePosixPath(name).parts
            if not parts or name.startswith("/") or ".." in parts or "\\" in name:
                raise ValueError(f"{name!r} is no name of a file inside the artifact")
        if len(set(value)) != len(value):
            raise ValueError("a file is named twice")
        return value


class Phase(Strict):
    """A stretch of training with one mixture. It ends after ``tokens``, or with its budgets."""

    name: str = Field(min_length=1, description="what people call it")
    tokens: Annotated[int, Field(gt=0, le=10**15)] | None = Field(
        None, description="how long it lasts; none: as long as training asks for (only the last)"
    )
    weights: dict[str, Weight] = Field({}, description="share of each shard, any unit")
    budgets: dict[str, Budget] = Field({}, description="tokens of each shard, instead of weights")
    max_epochs: dict[str, Epochs] = Field(
        {},
        description="how often a shard may have been seen by the end of the phase; a shard with a"
        " budget: once, if not given",
    )

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Phase:
        given = self.budgets or self.weights
        if bool(self.weights) == bool(self.budgets):
            raise ValueError(f"phase {self.name!r} needs either weights or budgets")
        if not any(value > 0 for value in given.values()):
            raise ValueError(f"phase {self.name!r}: every share is zero")
        if self.budgets and self.tokens not in (None, sum(self.budgets.values())):
            raise ValueError(
                f"phase {self.name!r}: its budgets sum to {sum(self.budgets.values()):,}, tokens"
                f" says {self.tokens:,}; leave tokens out"
            )
        return self

    @property
    def length(self) -> int | None:
        """Tokens of the whole phase; None: as many as training asks for."""
        return sum(self.budgets.values()) if self.budgets else self.tokens

    def shares(self) -> dict[str, Fraction]:
        """The exact share of each shard that is drawn from, in order of name; their sum is 1."""
        given: Map[str, float] = self.budgets or self.weights
        exact = {name: Fraction(value) for name, value in sorted(given.items()) if value > 0}
        whole = sum(exact.values())
        return {name: value / whole for name, value in exact.items()}


class Mixture(Strict):
    """The whole file. Building it checks everything that can be known without reading shards."""

    format: Literal[1] = Field(1, description="raised when the meaning of a key changes")
    tokenizer: str = Field(description="digest of the tokenizer that encoded the shards")
    vocabulary_size: int = Field(ge=1, le=2**31, description="number of pieces; ids are below it")
    end_id: int = Field(ge=0, description="the piece that ends every document")
    shards: dict[str, ShardFiles] = Field(min_length=1, description="the shards by name")
    phases: list[Phase] = Field(min_length=1, description="phases of training, in order")

    @pydantic.model_validator(mode="after")
    def _sound(self) -> Mixture:
        if self.end_id >= self.vocabulary_size:
            raise ValueError(
                f"end_id {self.end_id} is outside the vocabulary of {self.vocabulary_size}"
            )
        names = [phase.name for phase in self.phases]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two phases are called {twice[0]!r}")
        for phase in self.phases:
            self._check_names(phase)
        open_ended = [phase.name for phase in self.phases[:-1] if phase.length is None]
        if open_ended:
            raise ValueError(
                f"phase {open_ended[0]!r} has no length, and others come after it; give it tokens"
            )
        # What lasts as long as training asks for is judged once that is known.
        _refuse(self.repeated(self.length or sum(p.length or 0 for p in self.phases)))
        return self

    def _check_names(self, phase: Phase) -> None:
        for name in (*phase.weights, *phase.budgets, *phase.max_epochs):
            if name not in self.shards:
                near = difflib.get_close_matches(name, self.shards, 1, 0.5)
                known = f"the shards are {', '.join(self.shards)}"
                hint = f"did you mean {near[0]!r}?" if near else known
                raise ValueError(
                    f"phase {phase.name!r} names {name!r}, no shard of that name; {hint}"
                )
        for name in phase.shares():
            if not self.shards[name].tokens:
                raise ValueError(f"phase {phase.name!r} draws from {name!r}, an empty shard")

    @property
    def length(self) -> int | None:
        """Tokens of all phases together; None if training says how long the last one lasts."""
        lengths = [phase.length for phase in self.phases]
        return None if lengths[-1] is None else sum(length or 0 for length in lengths)

    def planned(self, tokens: int) -> list[dict[str, Fraction]]:
        """Tokens of each shard in each phase of a training of ``tokens``, by exact shares."""
        left, rows = tokens, []
        for phase in self.phases:
            size = left if phase.length is None else min(left, phase.length)
            left -= size
            rows.append({name: share * size for name, share in phase.shares().items()})
        return rows

    def repeated(self, tokens: int) -> list[str]:
        """What a training of ``tokens`` would see more often than allowed, in words."""
        seen: dict[str, Fraction] = dict.fromkeys(self.shards, Fraction(0))
        problems = []
        for phase, row in zip(self.phases, self.planned(tokens), strict=True):
            for name, count in row.items():
                seen[name] += count
                cap = phase.max_epochs.get(name, 1.0 if phase.budgets else None)
                held = self.shards[name].tokens
                # One token's grace: shares given as decimals rarely come out whole.
                if cap is None or not count or seen[name] <= Fraction(cap) * held + 1:
                    continue
                problems.append(
                    f"phase {phase.name!r} would bring {name!r} to {float(seen[name]):,.0f} tokens;"
                    f" the shard has {held:,}: {float(seen[name] / held):.3g} epochs, allowed"
                    f" {cap:g}"
                )
        return problems

    def check_length(self, tokens: int) -> None:
        """Refuse a training of ``tokens`` that the mixture does not provide for.

        Raises :class:`UsageError` if it is longer than the phases, or beyond a cap of epochs.
        """
        if self.length is not None and tokens > self.length:
            raise UsageError(
                f"training asks for {tokens:,} tokens, the phases of the mixture end after"
                f" {self.length:,}",
                hint="fewer steps, or leave out the last phase's tokens (weights, no budgets)",
            )
        problems = self.repeated(tokens)
        if problems:
            raise UsageError("\n".join(problems), hint="fewer steps, more text, or max_epochs")

    def weights(self) -> dict[str, float]:
        """Share of each shard over all phases; a last phase without end outweighs the others."""
        if self.length is None:
            shares = self.phases[-1].shares()
        else:
            shares = dict.fromkeys(self.shards, Fraction(0))
            for row in self.planned(self.length):
                for name, count in row.items():
                    shares[name] += count / self.length
        return {name: float(shares.get(name, 0)) for name in self.shards}

    def facts(self) -> dict[str, Any]:
        """What every artifact of tokens says of itself."""
        return {
            "vocabulary_size": self.vocabulary_size,
            "end_id": self.end_id,
            "tokenizer": self.tokenizer,
            "tokens": {name: shard.tokens for name, shard in self.shards.items()},
            "weights": self.weights(),
        }

    def save(self, folder: Path) -> Path:
        """Write ``mixture.yaml`` into a folder, the same bytes for the same mixture."""
        value = self.model_dump(exclude_defaults=True) | {"format": self.format}
        ordered = {key: value[key] for key in type(self).model_fields}
        text = yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=100)
        path = folder / NAME
        files.write_atomically(path, text.encode())
        return path


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ValueError("; ".join(problems))


def build_mixture(value: Map[str, Any], name: str = "the mixture") -> Mixture:
    """A checked mixture from a mapping; raises :class:`UsageError` naming every fault."""
    try:
        return Mixture.model_validate(value)
    except pydantic.ValidationError as error:
        faults = config.explain(error, Mixture)
        lines = [
            ": ".join(filter(None, (name, config.dotted(fault.place), fault.message)))
            + (f"; {fault.hint}" if fault.hint else "")
            for fault in faults
        ]
        raise UsageError("\n".join(lines)) from error


def check_sealed(folder: Path, *, quick: bool = False) -> None:
    """Refuse a sealed folder of which a file was changed, added, is missing or is a link.

    Every byte is compared, once a process (:func:`yoriai.artifact.check_bytes`). ``quick`` is for
    whoever reads no tokens, or whose run has compared them: sizes of all files, bytes of the
    smallest up to :data:`QUICK_BYTES` together (less than a tenth of a second). A folder that is
    not sealed yet is left alone. Raises :class:`Altered`, naming the file.
    """
    if not (folder / artifact.MANIFEST).is_file():
        return
    opened = artifact.open_artifact(folder)
    if quick:
        artifact.check_sizes(opened, QUICK_BYTES)
    else:
        artifact.check_bytes(opened)


def read_mixture(folder: Path, *, quick: bool = False) -> Mixture:
    """The mixture of a ``tokens`` artifact; raises :class:`NotFound` or :class:`UsageError`.

    Of a sealed folder the files are compared with the manifest as :func:`check_sealed` does;
    raises :class:`Altered` with the name of one that is not as it was.
    """
    path = folder / NAME
    check_sealed(folder, quick=quick)
    if not path.is_file():
        raise NotFound(
            f"{folder} has no {NAME}",
            hint="name the folder of a tokens artifact, e.g. build/tour/shards@1",
        )
    try:
        value = safe_yaml.read(path)
    except UsageError as error:
        raise Altered(error.message) from error
    if not isinstance(value, dict):
        raise Altered(f"{path} holds no mapping")
    return build_mixture(value, str(path))
