"""``corpus/adopt``: token shards that another program wrote, as a sealed artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Altered, Artifact, Job, Made, NotFound, SourceCard, Step, UsageError, files
from yoriai.mixture import build_mixture
from yoriai_corpus.engines import pool as engine
from yoriai_corpus.shards import encoding, joining
from yoriai_corpus.shards.foreign import AdoptTask, adopt, beside, open_pair
from yoriai_corpus.shards.joining import JoinPieces
from yoriai_corpus.shards.tokens import stems_of
from yoriai_corpus.sources.listing import NothingMatches, SourceFile, list_files

INDEX = ".idx"
MOST_UNENDED = 0.5  # share of documents without the end mark at which a tokenizer is doubted


class Adopt(Step):
    """Take shards in Megatron's indexed format that were written elsewhere.

    Every entry of the index and every token is checked, and the bytes are copied, since a file
    that others may write is nothing to seal. Documents of several sequences become one each, empty
    ones are left out, and other integer types become ours; all of this is counted. The
    tokenizer under ``from`` must be the one that wrote the shards (``corpus/adopt-tokenizer``
    adopts that). Beside each file stands who its documents are: the file's name and the number in
    it, with the digest of their ids.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "tokens"
    takes: ClassVar[tuple[str, ...]] = ("tokenizer",)

    shards: dict[str, list[str]] = Field(
        min_length=1,
        description="by name of the shard: files without .bin and .idx, patterns, or folders",
    )
    end: str = Field(
        "", description="the piece that ends a document, such as <EOD>; empty: the tokenizer's own"
    )
    unended: bool = Field(
        False, description="take shards of which most documents do not end with that piece"
    )
    licence: str = Field("", description="licence of the text behind the shards")

    def fingerprint(self) -> str:
        """Digest of all files."""
        rows = []
        for name, stems in self._stems().items():
            for told, stem in stems:
                pair = [files.digest_file(beside(stem, end)) for end in (".bin", INDEX)]
                rows.append([name, told, *pair])
        return files.digest_json(rows)

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        expected: dict[str, Any] = {"shards": list(self.shards)}
        size = next((value["vocabulary_size"] for value in inputs if "vocabulary_size" in value), 0)
        size = next((v["made"].facts["pieces"] for v in inputs if "made" in v), size)
        if size:
            expected["vocabulary_size"] = size
            expected["bytes_per_token"] = 2 if encoding.check_width(size) == 8 else 4
        try:
            stems = self._stems()
        except NothingMatches:
            return expected  # not on this machine
        held = {
            name: sum(open_pair(stem).tokens for _, stem in pairs) for name, pairs in stems.items()
        }
        return {**expected, "tokens_held": held}

    def run(self, job: Job) -> Made:
        tokenizer = job.one("tokenizer")
        size = int(tokenizer.facts["pieces"])
        code, end = encoding.check_width(size), encoding.end_of(tokenizer, self.end)
        pairs = self._stems()
        names = stems_of(list(pairs))
        tasks: dict[str, list[AdoptTask]] = {}
        for name, stems in pairs.items():
            for number, (told, stem) in enumerate(stems):
                out = names[name] if len(stems) == 1 else f"{names[name]}-{number:05d}"
                tasks.setdefault(name, []).append(
                    AdoptTask(stem, told, size, code, end, job.scratch / "pieces" / out)
                )
        flat = [task for some in tasks.values() for task in some]
        joins = [
            JoinPieces(job.scratch / "shards" / task.piece.name, (task.piece,), code)
            for task in flat
        ]
        with engine.opened(job.engine) as pool:
            done = job.progress(pool.run(adopt, flat), "check", len(flat))
            by_name = {receipt["stem"]: receipt for receipt in done}
            _check_ends(tokenizer, by_name.values(), end, unended=self.unended)
            for _ in job.progress(pool.run(joining.join, joins), "join", len(joins)):
                pass
        for join in joins:
            for suffix in joining.SUFFIXES:
                name = join.stem.name + suffix
                files.link(join.stem.with_name(name), job.out / name)
        receipts = {
            name: [by_name[task.piece.name] for task in some] for name, some in tasks.items()
        }
        return self._made(job, tokenizer, end, receipts)

    def _stems(self) -> dict[str, list[tuple[str, Path]]]:
        """By shard: what each file is called, and where it lies without its ending."""
        found: dict[str, list[tuple[str, Path]]] = {}
        seen: dict[str, str] = {}
        for name, patterns in self.shards.items():
            if not patterns:
                raise UsageError(f"shards: {name!r} names no files")
            for file in list_files([_index_of(p) for p in patterns], suffixes=(INDEX,)):
                stem = _stem_of(file)
                real = str(stem.resolve())
                if real in seen:
                    raise UsageError(
                        f"shards: {file.name} is in {seen[real]!r} and in {name!r}: its text would"
                        " count twice"
                    )
                seen[real] = name
                found.setdefault(name, []).append((file.name.removesuffix(INDEX), stem))
        return found

    def _made(
        self,
        job: Job,
        tokenizer: Artifact,
        end: int,
        receipts: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> Made:
        shards = {
            name: {
                "files": [row["stem"] for row in rows],
                "tokens": sum(row["tokens"] for row in rows),
                "documents": sum(row["documents"] for row in rows),
            }
            for name, rows in receipts.items()
        }
        empty = [name for name, shard in shards.items() if not shard["tokens"]]
        if len(empty) == len(shards):
            raise Altered(f"there is no token in {', '.join(empty)}")
        weights = {name: float(shard["tokens"]) for name, shard in shards.items()}
        mixture = build_mixture(
            {
                "vocabulary_size": int(tokenizer.facts["pieces"]),
                "end_id": end,
                "tokenizer": tokenizer.digest,
                "shards": shards,
                "phases": [{"name": "all", "weights": weights}],
            }
        )
        mixture.save(job.out)
        flat = [row for rows in receipts.values() for row in rows]
        adopted = [{key: row[key] for key in row if key != "lasts"} for row in flat]
        card = SourceCard(
            name=", ".join(row["name"] for row in flat),
            licence=self.licence or "unstated",
            languages=(),
            note="token shards written elsewhere; their text was not seen",
        )
        facts = {**mixture.facts(), "adopted": adopted}
        return Made(facts=facts, headline=_headline(shards, flat), sources=[asdict(card)])


def _index_of(pattern: str) -> str:
    """The pattern of index files that a stem, a file or a folder stands for."""
    if "://" in pattern.removeprefix("file://"):
        raise UsageError(
            f"shards: {pattern} is an address; shards are mapped into memory",
            hint="copy the files to this machine first",
        )
    if pattern.endswith("/") or Path(pattern).expanduser().is_dir():
        return pattern
    return pattern.removesuffix(".bin").removesuffix(INDEX) + INDEX


def _stem_of(file: SourceFile) -> Path:
    if not file.path.endswith(INDEX):
        raise NotFound(f"{file.name} is no index (.idx)", hint="name files without their ending")
    return Path(file.path.removesuffix(INDEX))


def _check_ends(tokenizer: Artifact, receipts: Any, end: int, *, unended: bool) -> None:
    """Refuse shards that do not end their documents as the tokenizer does."""
    for row in receipts:
        left = row["documents"] - row["ended"]
        if unended or left <= MOST_UNENDED * row["documents"]:
            continue
        seen = ", ".join(
            f"{encoding.piece_of(tokenizer, token)!r} ({token}, {times:,} times)"
            for token, times in row["lasts"]
        )
        raise UsageError(
            f"{row['name']}: {left:,} of {row['documents']:,} documents do not end with"
            f" {encoding.piece_of(tokenizer, end)!r} ({end}); they end with {seen}",
            hint="is it the tokenizer that wrote them? name the piece that ends a document by"
            " 'end', or take them as they are by 'unended: true'",
        )


def _headline(
    shards: Mapping[str, Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[str]:
    total = sum(shard["tokens"] for shard in shards.values())
    shown = ", ".join(
        f"{name} {shard['tokens']:,} in {shard['documents']:,} documents"
        for name, shard in shards.items()
    )
    kinds = ", ".join(sorted({row["dtype"] for row in rows}))
    lines = [f"{total:,} tokens adopted ({kinds}): {shown}"]
    told = {
        "joined": "documents of several sequences became one each",
        "empty": "empty documents were left out",
    }
    lines += [f"{count:,} {words}" for key, words in told.items() if (count := _sum(rows, key))]
    if left := _sum(rows, "documents") - _sum(rows, "ended"):
        lines.append(f"{left:,} documents do not end with the end mark")
    return lines


def _sum(rows: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(row[key] for row in rows)
