"""What tokenizers make of the same text: fertility, shared vocabulary, the cost of a mixture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoriai import Document, Figure, NotFound, Section, Table, Unreadable, UsageError, YoriaiError
from yoriai.artifact import check_folder
from yoriai_corpus.account.charts import MOST_BARS

Encode = Callable[[Sequence[str]], list[int]]
BATCH = 256  # documents encoded at a time


@dataclass(frozen=True, slots=True)
class Opened:
    """A tokenizer to compare: how many tokens each text has, and its pieces."""

    name: str
    count: Encode
    pieces: frozenset[str]
    kind: str


def open_tokenizer(path: Path) -> Opened:
    """A SentencePiece model file, a Hugging Face folder or file, or a folder with either.

    Artifacts of tokenizers and models are such folders; of both formats the SentencePiece model is
    taken, which is faster. Pieces are compared as texts, spaces as U+2581, bytes as ``<0x0A>``
    (byte-level BPE is rewritten to that). Raises :class:`yoriai.NotFound` or
    :class:`yoriai.YoriaiError` saying what is missing or wrong, :class:`yoriai.Altered` for files
    of an artifact that are not those that were sealed.
    """
    check_folder(path)
    if path.is_dir():
        models = sorted(path.glob("*.model"))
        fast = path / "tokenizer.json"
        if models and _is_sentencepiece(models[0]):
            return _sentencepiece(models[0], str(path))
        if fast.is_file():
            return _huggingface(fast, str(path))
        raise NotFound(
            f"{path} holds no tokenizer: neither tokenizer.json nor a SentencePiece .model",
            hint="save a slow tokenizer as a fast one: AutoTokenizer.from_pretrained(…)"
            ".save_pretrained(…)",
        )
    if not path.is_file():
        raise NotFound(f"there is no tokenizer {path}")
    return (
        _huggingface(path, str(path)) if path.suffix == ".json" else _sentencepiece(path, str(path))
    )


def _is_sentencepiece(path: Path) -> bool:
    from yoriai_corpus.tokenizers.pieces import read_model

    try:
        read_model(path)
    except YoriaiError:
        return False
    return True


def _sentencepiece(path: Path, name: str) -> Opened:
    import sentencepiece

    from yoriai_corpus.tokenizers import pieces as vocabularies

    proto = vocabularies.read_model(path)
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    except Exception as error:
        raise YoriaiError(f"SentencePiece cannot use {path}: {error}") from error
    kind = proto.trainer_spec.ModelType.Name(proto.trainer_spec.model_type).lower()
    pieces = frozenset(vocabularies.texts(proto))
    return Opened(name, lambda t: [len(ids) for ids in processor.encode(list(t))], pieces, kind)


def _huggingface(path: Path, name: str) -> Opened:
    import tokenizers

    try:
        fast = tokenizers.Tokenizer.from_file(str(path))
        value = json.loads(path.read_text(encoding="utf-8"))
        kind = str(value["model"].get("type", "unknown")).lower()  # old files do not say
    except Exception as error:  # tokenizers raises bare exceptions
        raise YoriaiError(f"{path} is no tokenizer.json: {error}") from error
    fast.encode_special_tokens = True
    fast.no_truncation()
    fast.no_padding()
    pieces: Iterable[str] = fast.get_vocab(with_added_tokens=True)
    if '"ByteLevel"' in json.dumps(value.get("decoder")):
        pieces = map(_from_byte_level, pieces)

    def count(texts: Sequence[str]) -> list[int]:
        try:
            found = fast.encode_batch_fast(list(texts), add_special_tokens=False)
        except Exception as error:  # a vocabulary without its own unknown piece, say
            raise YoriaiError(f"{path} cannot encode a text: {error}") from error
        return [len(encoding) for encoding in found]

    return Opened(name, count, frozenset(pieces), kind)


def _byte_level() -> dict[str, int]:
    """GPT-2's letters for bytes (openai/gpt-2, encoder.py: ``bytes_to_unicode``)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {chr(byte): byte for byte in plain}
    return letters | {chr(256 + place): byte for place, byte in enumerate(others)}


_LETTERS = _byte_level()


def _from_byte_level(piece: str) -> str:
    """A piece in GPT-2's letters as text; one that is no UTF-8 as ``<0xE3><0x81>``."""
    try:
        data = bytes(_LETTERS[letter] for letter in piece)
    except KeyError:
        return piece  # a special token
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in data)
    return text.replace(" ", "▁")


# --- counting ----------------------------------------------------------------------------


@dataclass(slots=True)
class PieceCounts:
    """Sums over some documents; ``tokens`` by tokenizer, in their order."""

    documents: int = 0
    characters: int = 0
    bytes: int = 0
    tokens: list[int] = field(default_factory=list)

    def add(self, characters: int, size: int, tokens: Sequence[int]) -> None:
        self.documents += 1
        self.characters += characters
        self.bytes += size
        self.tokens = [a + b for a, b in zip(self.tokens or [0] * len(tokens), tokens, strict=True)]


@dataclass(slots=True)
class TokenizerComparison:
    """Counts by language, and by language and source; unreadable rows are only counted."""

    names: list[str]
    by_language: dict[str, PieceCounts] = field(default_factory=dict)
    by_source: dict[tuple[str, str], PieceCounts] = field(default_factory=dict)
    unreadable: int = 0


def count(
    opened: Sequence[Opened], documents: Iterable[Document | Unreadable]
) -> TokenizerComparison:
    """Encode all documents with all tokenizers; raises :class:`yoriai.UsageError` without text."""
    result = TokenizerComparison([tokenizer.name for tokenizer in opened])
    waiting: list[Document] = []

    def flush() -> None:
        texts = [document.text for document in waiting]
        columns = [tokenizer.count(texts) for tokenizer in opened]
        for document, *tokens in zip(waiting, *columns, strict=True):
            language = document.language or "unknown"
            size = len(document.text.encode())
            for counts in (
                result.by_language.setdefault(language, PieceCounts()),
                result.by_source.setdefault((language, document.source), PieceCounts()),
            ):
                counts.add(len(document.text), size, tokens)
        waiting.clear()

    for document in documents:
        if isinstance(document, Unreadable):
            result.unreadable += 1
            continue
        waiting.append(document)
        if len(waiting) == BATCH:
            flush()
    flush()
    if not result.by_language:
        raise UsageError("there is no text to compare on")
    return result


def overlap(opened: Sequence[Opened]) -> list[dict[str, Any]]:
    """For each pair: pieces in common, and their share of either vocabulary."""
    rows = []
    for index, a in enumerate(opened):
        for b in opened[index + 1 :]:
            common = len(a.pieces & b.pieces)
            rows.append(
                {
                    "a": a.name,
                    "b": b.name,
                    "common": common,
                    "share_of_a": round(common / len(a.pieces), 4),
                    "share_of_b": round(common / len(b.pieces), 4),
                }
            )
    return rows


def cost(found: TokenizerComparison, mixture: Mapping[str, float]) -> list[dict[str, Any]]:
    """Tokens for a megabyte of text mixed by ``mixture`` (weights of *bytes* by language).

    Raises :class:`yoriai.UsageError` for a language of which there is no text.
    """
    if absent := sorted(set(mixture) - set(found.by_language)):
        known = ", ".join(sorted(found.by_language))
        raise UsageError(f"the mixture names {', '.join(absent)}; there is text in {known}")
    whole = sum(mixture.values())
    if not whole > 0:
        raise UsageError("the weights of the mixture are all zero")
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(found.names):
        parts = {
            language: 1e6 * weight / whole * counts.tokens[index] / max(1, counts.bytes)
            for language, weight in mixture.items()
            for counts in (found.by_language[language],)
        }
        total = sum(parts.values())
        rows.append(
            {
                "tokenizer": name,
                "tokens_per_megabyte": round(total),
                "by_language": {key: round(value) for key, value in parts.items()},
            }
        )
    for row in rows:
        row["relative"] = round(
            row["tokens_per_megabyte"] / max(1, rows[0]["tokens_per_megabyte"]), 4
        )
    return rows


def plain(
    opened: Sequence[Opened], found: TokenizerComparison, mixture: Mapping[str, float]
) -> dict[str, Any]:
    """Everything as plain values, for ``--json``."""

    def row(counts: PieceCounts) -> dict[str, Any]:
        fertility = {
            name: {
                "tokens": tokens,
                "characters_per_token": round(counts.characters / max(1, tokens), 4),
                "bytes_per_token": round(counts.bytes / max(1, tokens), 4),
            }
            for name, tokens in zip(found.names, counts.tokens, strict=True)
        }
        sizes = {
            "documents": counts.documents,
            "characters": counts.characters,
            "bytes": counts.bytes,
        }
        return {**sizes, "tokenizers": fertility}

    value = {
        "tokenizers": [{"name": t.name, "kind": t.kind, "pieces": len(t.pieces)} for t in opened],
        "by_language": {name: row(counts) for name, counts in sorted(found.by_language.items())},
        "by_source": [
            {"language": language, "source": source, **row(counts)}
            for (language, source), counts in sorted(found.by_source.items())
        ],
        "overlap": overlap(opened),
        "unreadable": found.unreadable,
    }
    return value | ({"mixture": cost(found, mixture)} if mixture else {})


# --- showing -----------------------------------------------------------------------------


def tables(value: Mapping[str, Any], labels: Sequence[str]) -> list[Table]:
    """The tables of :func:`plain`'s value; ``labels`` are short names of the tokenizers."""
    names = [row["name"] for row in value["tokenizers"]]
    short = dict(zip(names, labels, strict=True))

    def cells(row: Mapping[str, Any]) -> list[str]:
        return [
            f"{one['characters_per_token']:.3f} / {one['bytes_per_token']:.3f}"
            for one in (row["tokenizers"][name] for name in names)
        ]

    shown = [
        Table(
            columns=("", "tokenizer", "kind", "pieces"),
            rows=[
                (short[r["name"]], r["name"], r["kind"], r["pieces"]) for r in value["tokenizers"]
            ],
        ),
        Table(
            columns=("characters / bytes per token", "documents", *labels),
            rows=[
                (name, row["documents"], *cells(row)) for name, row in value["by_language"].items()
            ],
        ),
    ]
    if len(value["by_source"]) > len(value["by_language"]):
        rows = [(r["language"], r["source"], r["documents"], *cells(r)) for r in value["by_source"]]
        shown.append(Table(columns=("language", "source", "documents", *labels), rows=rows))
    if value["overlap"]:
        pairs = [
            (
                short[r["a"]],
                short[r["b"]],
                r["common"],
                _percent(r["share_of_a"]),
                _percent(r["share_of_b"]),
            )
            for r in value["overlap"]
        ]
        columns = ("", "", "pieces in common", "share of the first", "of the second")
        shown.append(Table(columns=columns, rows=pairs))
    if "mixture" in value:
        costs = [
            (short[r["tokenizer"]], r["tokens_per_megabyte"], _percent(r["relative"]))
            for r in value["mixture"]
        ]
        head = ("tokenizer", "tokens for a megabyte of the mixture", f"of {labels[0]}")
        shown.append(Table(columns=head, rows=costs))
    return shown


def _percent(share: float) -> str:
    return f"{share:.1%}"


def section(value: Mapping[str, Any], labels: Sequence[str]) -> Section:
    """Tables and figures for one page."""
    names = [row["name"] for row in value["tokenizers"]]

    def figure(title: str, key: str, rows: Mapping[str, Mapping[str, Any]]) -> Figure:
        series = {
            label: [(place, row["tokenizers"][name][key]) for place, row in rows.items()]
            for name, label in zip(names, labels, strict=True)
        }
        return Figure(
            kind="bar", title=title, x_label="", y_label=key.replace("_", " "), series=series
        )

    languages = value["by_language"]
    figures = [
        figure("Characters per token (higher is shorter)", "characters_per_token", languages),
        figure("Bytes per token (higher is shorter)", "bytes_per_token", languages),
    ]
    largest = sorted(value["by_source"], key=lambda row: -row["bytes"])[:MOST_BARS]
    if len(largest) > len(languages):
        rows = {f"{row['language']}: {row['source']}": row for row in largest}
        figures.append(figure("Bytes per token, largest sources", "bytes_per_token", rows))
    if "mixture" in value:
        bars = {
            label: [("mixture", float(row["tokens_per_megabyte"]))]
            for row, label in zip(value["mixture"], labels, strict=True)
        }
        title = "What a megabyte of the mixture costs (lower is cheaper)"
        figures.append(Figure(kind="bar", title=title, x_label="", y_label="tokens", series=bars))
    return Section(title="Tokenizers · トークナイザ", tables=tables(value, labels), figures=figures)
