"""One artifact without some documents, written anew: a corpus, an index or token shards."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from yoriai import Artifact, files
from yoriai.mixture import read_mixture
from yoriai.shards import Shard
from yoriai_corpus import tables
from yoriai_corpus.account import datasheet
from yoriai_corpus.account.audit import paths_of
from yoriai_corpus.build import ledger, records
from yoriai_corpus.removal.selection import Name, RemovalSelection
from yoriai_corpus.search import part
from yoriai_corpus.search.part import FormerPart, IndexTask
from yoriai_corpus.shards.joining import SIDECAR

TABLES = ("documents", "heldout", "dropped", "unreadable")
OWN = ("ledger.json", records.NAME)
Facts = dict[str, Any]


def counts(artifact: Artifact, chosen: RemovalSelection) -> dict[str, int]:
    """How many of the documents an artifact holds, by table, part or shard."""
    found: dict[str, int] = {}
    if artifact.kind == "corpus":
        return counts_in_tables({t: paths_of(artifact, t) for t in TABLES}, chosen)
    if artifact.kind == "index":
        for number in range(artifact.facts["parts"]):
            found[f"part {number}"] = len(_in_part(artifact, number, chosen.names))
    elif artifact.kind == "tokens":
        for stem in _stems(artifact):
            rows = tables.read_rows(artifact.file(f"{stem}.documents.parquet"), ("source", "id"))
            found[stem] = sum((row["source"], row["id"]) in chosen.names for row in rows)
    return {name: count for name, count in found.items() if count}


def counts_in_tables(
    paths: Mapping[str, Sequence[Path]], chosen: RemovalSelection
) -> dict[str, int]:
    """How many of the documents the files of a corpus hold, or of its release, by table."""
    found = {}
    for table, here in paths.items():
        rows = tables.read_rows(here, ("source", "id"))
        if count := sum((row["source"], row["id"]) in chosen.names for row in rows):
            found[table] = count
    return found


def rewrite(artifact: Artifact, chosen: RemovalSelection, out: Path) -> Facts:
    """Write all of it but the documents into ``out``; returns its facts."""
    return {"corpus": _corpus, "index": _index, "tokens": _tokens}[artifact.kind](
        artifact, chosen, out
    )


# --- a corpus -----------------------------------------------------------------------------


def _corpus(artifact: Artifact, chosen: RemovalSelection, out: Path) -> Facts:
    account: Facts = copy.deepcopy(dict(artifact.facts))
    waiting: list[dict[str, Any]] = []
    stands_for = {winner: own for own, winner in chosen.promoted.items()}
    # What was dropped comes first: what is promoted from there is added to the documents.
    for table in ("dropped", "documents", "heldout", "unreadable", "clusters", "contamination"):
        paths = paths_of(artifact, table)
        for number, path in enumerate(paths):
            target = out / table / path.name
            with tables.TableWriter(target, tables.SCHEMAS[table]) as writer:
                for row in tables.read_rows(path):
                    name = (row["source"], row["id"])
                    if name in chosen.names:
                        _subtract(account, table, row)
                    elif table == "dropped" and name in chosen.promoted:
                        waiting.append(row)
                    elif (changed := _renamed(table, row, chosen, stands_for)) is not None:
                        writer.add_mapping(changed)
                if table == "documents" and number == len(paths) - 1:
                    for row in waiting:
                        writer.add_mapping(row)
                        _promote(account, row)
    for name in artifact.manifest["files"]:
        if "/" not in name and name not in (*OWN, datasheet.NAME, datasheet.CROISSANT):
            files.link(artifact.file(name), out / name)
    if "records" in account:
        account["records"] = records.write(out)
    told = {key: value for key, value in account.items() if key not in ("headline", "records")}
    headline = [*ledger.headline(told), f"{account['removed']:,} removed after it was made"]
    account["headline"] = headline
    files.write_atomically(out / "ledger.json", files.canonical_json(told))
    manifest = artifact.manifest
    datasheet.write(
        out, account, manifest["sources"], artifact.config, name=artifact.step,
        licence=manifest["licence"], seed=manifest["seed"],
    )  # fmt: skip
    return account


def _renamed(
    table: str, row: dict[str, Any], chosen: RemovalSelection, stands_for: Mapping[Name, Name]
) -> dict[str, Any] | None:
    """A row that no longer tells of a removed document; None if it tells of nothing else."""
    if table == "clusters" and (row["winner_source"], row["winner_id"]) in chosen.names:
        winner = stands_for.get((row["winner_source"], row["winner_id"]))
        if winner is None:
            return None
        return row | {"winner_source": winner[0], "winner_id": winner[1]}
    if table == "dropped" and row["duplicate_of"]:
        for name in chosen.names:
            if row["duplicate_of"] == "/".join(name):
                return row | {"duplicate_of": "/".join(stands_for.get(name, (part.GONE,)))}
    return row


def _subtract(account: Facts, table: str, row: Mapping[str, Any]) -> None:
    """Move a document of the account from what it was to ``removed``."""
    outcome = {"documents": "kept"}.get(table, table)
    if outcome not in ledger.OUTCOMES:
        return
    source = account.get("by_source", {}).get(row["source"], {})
    for counted in (account, source):
        counted[outcome] = counted.get(outcome, 0) - 1
        counted["removed"] = counted.get("removed", 0) + 1
        if table == "dropped":
            _less(counted, "dropped_by_rule", row["rule"])
    if table == "unreadable":
        _less(account, "unreadable_by_reason", row["reason"])
    if table == "documents":
        _resize(account, row, -1)


def _promote(account: Facts, row: Mapping[str, Any]) -> None:
    source = account.get("by_source", {}).get(row["source"], {})
    for counted in (account, source):
        counted["kept"] = counted.get("kept", 0) + 1
        counted["dropped"] = counted.get("dropped", 0) - 1
        _less(counted, "dropped_by_rule", row["rule"])
    _resize(account, row, 1)


def _less(counted: Facts, key: str, name: str) -> None:
    if name in counted.get(key, {}):
        counted[key][name] -= 1
        if not counted[key][name]:
            del counted[key][name]


def _resize(account: Facts, row: Mapping[str, Any], sign: int) -> None:
    size = sign * len(row["text"].encode())
    source = account.get("by_source", {}).get(row["source"])
    if source is not None:
        source["bytes"] += size
    for key in ("language", "licence"):
        sizes = account.get(f"by_{key}", {})
        name = row[key] or next((n for n in ("unknown", "unstated") if n in sizes), "unknown")
        if sign > 0:
            sizes.setdefault(name, {"documents": 0, "bytes": 0})
        if name in sizes:
            sizes[name]["documents"] += sign
            sizes[name]["bytes"] += size
            if not sizes[name]["documents"]:
                del sizes[name]


# --- an index -----------------------------------------------------------------------------


def _in_part(artifact: Artifact, number: int, names: set[Name]) -> list[int]:
    table = part._table(artifact.file(f"parts/{number:05d}.documents"))
    sources, ids = table["source"].to_pylist(), table["id"].to_pylist()
    return [n for n, name in enumerate(zip(sources, ids, strict=True)) if name in names]


def _index(artifact: Artifact, chosen: RemovalSelection, out: Path) -> Facts:
    (out / "parts").mkdir(parents=True)
    facts: Facts = copy.deepcopy(dict(artifact.facts))
    states: dict[str, int] = {}
    removed = 0
    for number in range(facts["parts"]):
        gone = frozenset(_in_part(artifact, number, chosen.names))
        raised = frozenset(_in_part(artifact, number, set(chosen.promoted)))
        told = _tells_of(artifact, number, chosen.names)
        removed += len(gone)
        for suffix in part.SUFFIXES:
            former = artifact.file(f"parts/{number:05d}{suffix}")
            if not (gone or raised or told):
                files.link(former, out / "parts" / former.name)
        stem = artifact.file(f"parts/{number:05d}.text").with_suffix("")
        if gone or raised or told:
            pieces = (FormerPart(stem, gone, raised, told),)
            made = part.make(IndexTask(number, pieces, out / "parts"))
        else:
            made = part.describe(stem)
        facts["text_bytes"][number] = made["text_bytes"]
        for state, count in made["states"].items():
            states[state] = states.get(state, 0) + count
    for name in artifact.manifest["files"]:
        table, _, rest = name.partition("/")
        if table in ("clusters", "contamination"):
            schema = tables.SCHEMAS[table]
            with tables.TableWriter(out / table / rest, schema) as writer:
                for row in tables.read_rows(artifact.file(name)):
                    winner = (row.get("winner_source", ""), row.get("winner_id", ""))
                    if (row["source"], row["id"]) in chosen.names or winner in chosen.names:
                        continue
                    writer.add_mapping(row)
    ordered = {state: states[state] for state in part.TABLES.values() if state in states}
    size = sum(path.stat().st_size for path in (out / "parts").iterdir())
    shown = ", ".join(f"{count:,} {state}" for state, count in ordered.items())
    before = facts.get("removed", 0)
    facts |= {"documents": ordered, "bytes": size, "removed": before + removed}
    facts["headline"] = [f"{shown}; {facts['removed']:,} removed after it was made"]
    return facts


def _tells_of(artifact: Artifact, number: int, names: set[Name]) -> frozenset[int]:
    """Documents of a part that are called duplicates of a removed one."""
    table = part._table(artifact.file(f"parts/{number:05d}.documents"))
    whole = {"/".join(name) for name in names}
    return frozenset(n for n, name in enumerate(table["duplicate_of"].to_pylist()) if name in whole)


# --- token shards -------------------------------------------------------------------------


def _stems(artifact: Artifact) -> list[str]:
    return [stem for shard in read_mixture(artifact.path).shards.values() for stem in shard.files]


def _tokens(artifact: Artifact, chosen: RemovalSelection, out: Path) -> Facts:
    """The documents' tokens become end marks: every other token stays at its place."""
    mixture = read_mixture(artifact.path)
    facts: Facts = copy.deepcopy(dict(artifact.facts))
    done = {"documents": 0, "tokens": 0, **facts.get("removed", {})}
    stems = _stems(artifact)
    beside = {f"{stem}{suffix}" for stem in stems for suffix in (".bin", ".documents.parquet")}
    for name in artifact.manifest["files"]:
        if name not in beside:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            files.link(artifact.file(name), out / name)
    for stem in stems:
        sidecar = pq.read_table(artifact.file(f"{stem}.documents.parquet"))
        pairs = zip(sidecar["source"].to_pylist(), sidecar["id"].to_pylist(), strict=True)
        gone = np.array([name in chosen.names for name in pairs], dtype=np.bool_)
        if not gone.any():
            for suffix in (".bin", ".documents.parquet"):
                files.link(artifact.file(stem + suffix), out / (stem + suffix))
            continue
        shard = Shard(artifact.path / stem)
        ids = np.fromfile(artifact.file(f"{stem}.bin"), dtype=np.dtype(shard.dtype))
        starts, lengths = sidecar["start"].to_numpy(), sidecar["tokens"].to_numpy()
        for start, length in zip(starts[gone].tolist(), lengths[gone].tolist(), strict=True):
            ids[start : start + length] = mixture.end_id
            done["documents"] += 1
            done["tokens"] += length
        ids.tofile(out / f"{stem}.bin")
        for column, value in (("id", part.GONE), ("record_sha256", "")):
            texts = sidecar[column].to_pylist()
            changed = [value if g else text for g, text in zip(gone, texts, strict=True)]
            at = sidecar.schema.get_field_index(column)
            sidecar = sidecar.set_column(at, column, pa.array(changed, type=pa.string()))
        with pq.ParquetWriter(
            out / f"{stem}.documents.parquet", SIDECAR, compression="zstd",
            use_dictionary=["source", "tokens"],
        ) as writer:  # fmt: skip
            writer.write_table(sidecar.cast(SIDECAR))
    facts["removed"] = done
    return facts
