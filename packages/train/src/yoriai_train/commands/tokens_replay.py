"""``yoriai tokens replay`` and ``where``: what a model saw, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from yoriai import NotFound, UsageError, console
from yoriai.artifact import open_checked

_SHOWN = 240  # characters of a text on a terminal; --json has all of it

folder = click.Path(path_type=Path)
count = click.IntRange(1, 10**9)


def _how_trained(command: Any) -> Any:
    """The options that a model answers by itself and tokens do not."""
    for option in (
        click.option(
            "--seed",
            type=click.IntRange(0, 2**31 - 1),
            help="Seed of the recipe [the model's, or 0].",
        ),
        click.option("--context", type=count, help="Tokens a window holds [the model's]."),
        click.option("--batch", type=count, help="Sequences in an optimizer step [the model's]."),
    ):
        command = option(command)
    return command


def _training(place: Path, batch: int | None, context: int | None, seed: int | None) -> Any:
    from yoriai_train.data.provenance import TrainingOrder, training_of

    artifact = open_checked(place)
    if artifact.kind == "model":
        if batch or context or seed is not None:
            raise UsageError(
                f"{place} is a model, which knows its batch, context and seed",
                hint="leave --batch, --context and --seed out",
            )
        return training_of(artifact)
    if artifact.kind != "tokens":
        raise NotFound(f"{place} is a {artifact.kind}, neither tokens nor a model")
    if not (batch and context):
        raise UsageError(
            f"{place} holds tokens, which know nothing of a training",
            hint="--batch N --context N [--seed N], or name the model",
        )
    return TrainingOrder(tokens=artifact, context=context, seed=seed or 0, batch=batch)


@click.command(epilog="""\b
Examples:
  yoriai tokens replay build/tour/base@1 --step 1
  yoriai tokens replay build/tour/base@1 --step 480 --json
  yoriai tokens replay build/tour/shards@1 --step 3 --batch 16 --context 128 --seed 20261122
""")  # fmt: skip
@click.argument("place", type=folder, metavar="MODEL|TOKENS")
@click.option("--step", type=count, required=True, help="The optimizer step, counted from 1.")
@_how_trained
@click.option("--corpus", type=folder, help="Where the texts are [the corpus it was made from].")
@console.json_option
def replay(
    place: Path,
    step: int,
    batch: int | None,
    context: int | None,
    seed: int | None,
    corpus: Path | None,
    as_json: bool,
) -> None:
    """Show the documents in the global batch of a step: source, id, url, licence and text.

    The same for any number of processes. Nothing was written down in training: the order is a
    function of the seed. Text is shown as far as it was in the batch.
    """
    from yoriai_train.data.documents import Library, Sidecars

    training = _training(place, batch, context, seed)
    library = Library(training.tokens, [open_checked(corpus)] if corpus else None)
    samples, span = training.samples(), training.span(step)
    if span.stop > samples.order.samples:
        raise UsageError(f"the phases of {training.tokens.name} end before step {step:,}")
    pieces = []
    for index, number, window in zip(span, *samples.order.draw(span), strict=True):
        text = samples.windows.texts[number]
        for piece in text.pieces(int(window) * training.context, training.context + 1):
            pieces.append((index, int(window), text, piece))
    names = Sidecars(training.tokens).names_of(piece for *_, piece in pieces)
    found = [(*row, names[row[-1].file, row[-1].document]) for row in pieces]
    rows = library.rows(name.record_sha256 for *_, name in found)
    shown = []
    for index, window, text, piece, name in found:
        row = rows.get(name.record_sha256)
        part, origin = library.part(
            row["text"] if row else None, _ids(text, piece, samples), piece.first, piece.stop
        )
        shown.append(
            {
                "sample": index,
                "shard": text.name,
                "window": window,
                "column": piece.column,
                "source": name.source,
                "id": name.id,
                "record_sha256": name.record_sha256,
                "url": row["url"] if row else None,
                "licence": row["licence"] if row else None,
                "tokens": [piece.first, piece.stop],
                "of": piece.length,
                "text": part,
                "text_from": origin,
            }
        )
    notes = list(library.notes)
    absent = len({name.record_sha256 for *_, name in found} - set(rows))
    if library.corpora and absent:
        notes.append(f"{absent:,} documents are not in the corpus as they were when encoded")
    value = {
        "tokens": training.tokens.name,
        "step": step,
        "samples": [span.start, span.stop],
        "context": training.context,
        "seed": training.seed,
        "documents": shown,
        "notes": notes,
    }
    if not as_json:
        for text in notes:
            console.note(f"note: {text}")
    console.emit(value, as_json=as_json, text=lambda: "\n".join(_lines(shown)))


def _ids(text: Any, piece: Any, samples: Any) -> list[int]:
    """The tokens of a whole document, without its end mark."""
    number = text.files.index(piece.file)
    begin, end = text.place_of(piece.file, piece.document)
    here = int(text.starts[number])
    ids: list[int] = text.tokens(number)[begin - here : end - here].tolist()
    return ids[:-1] if ids[-1] == samples.windows.mixture.end_id else ids


def _lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    sample = None
    for row in rows:
        if row["sample"] != sample:
            sample = row["sample"]
            yield f"sample {sample:,}: window {row['window']:,} of {row['shard']}"
        first, stop = row["tokens"]
        told = [f"  {row['source']}/{row['id']}  tokens {first:,}-{stop:,} of {row['of']:,}"]
        if row["licence"] is not None:
            told += [f"[{row['licence'] or 'licence unstated'}]", row["url"] or ""]
        else:
            told.append(f"record {row['record_sha256']}")
        yield "  ".join(filter(None, told))
        text = row["text"].replace("\n", "⏎")
        if text:
            yield f"    {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}"


@click.command(epilog="""\b
Examples:
  yoriai tokens where build/tour/base@1 mercurial-translation-ja/hg/00042
  yoriai tokens where build/tour/shards@1 SOURCE/ID --batch 16 --context 128 --steps 480
""")  # fmt: skip
@click.argument("place", type=folder, metavar="MODEL|TOKENS")
@click.argument("name", metavar="SOURCE/ID")
@_how_trained
@click.option("--steps", type=count, help="Look at this many steps [the model's].")
@console.json_option
def where(
    place: Path,
    name: str,
    batch: int | None,
    context: int | None,
    seed: int | None,
    steps: int | None,
    as_json: bool,
) -> None:
    """Say which optimizer steps saw a document, in whole or in part.

    The order is turned around; no step is gone through.
    """
    from yoriai_train.data.seen import places_of

    training = _training(place, batch, context, seed)
    limit = steps or training.steps
    if limit is None:
        raise UsageError(f"{place} holds tokens, which do not know how long", hint="--steps N")
    places = places_of(training, [name], limit)[name]
    if not places:
        raise NotFound(
            f"no document {name!r} is in {training.tokens.name}",
            hint="a name is SOURCE/ID; yoriai corpus why says whether it was dropped",
        )
    every = sorted({item["step"] for row in places for item in row["seen"]})
    value = {"name": name, "tokens": training.tokens.name, "steps": every, "places": places}

    def told() -> str:
        lines = []
        for row in places:
            head = f"{name}: {row['tokens']:,} tokens in {row['shard']} ({row['file']})"
            lines.append(f"{head}, record {row['record_sha256']}")
            rows = [(s["step"], s["sample"], s["window"]) for s in row["seen"]]
            if rows:
                lines.append(console.table(("step", "sample", "window"), rows))
            else:
                lines.append(f"  not seen in {limit:,} steps")
            if row["in_no_window"]:
                lines.append(f"  {row['in_no_window']:,} tokens are after the last full window")
        return "\n".join(lines)

    console.emit(value, as_json=as_json, text=told)
