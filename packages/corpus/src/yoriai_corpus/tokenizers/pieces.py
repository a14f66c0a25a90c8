"""SentencePiece models as lists of pieces: read, write, make, add to, drop from, merge.

All changes keep what ids mean as far as they can, and say what became of each old id: added
pieces go to the end, dropped ones leave a gap that closes (the map gives ``None`` for them).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from yoriai import NotFound, Refused, UsageError, YoriaiError, files

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE = 1, 2  # TrainerSpec.ModelType
SPACE = "▁"  # U+2581, how SentencePiece writes a space
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
MOST_BYTES = 2**28  # of a model; one of 256,000 pieces has 4 MB
STEP = 64  # scores are multiples of 1/64, see huggingface_tokenizer.round_scores
Ids = list[int | None]


class VocabularyPiece(NamedTuple):
    """One row of a vocabulary; ``type`` as in sentencepiece_model.proto."""

    text: str
    score: float = 0.0
    type: int = NORMAL


def read_model(path: Path) -> Any:
    """The ``ModelProto`` of a file; raises :class:`yoriai.Refused` if it is none."""
    from google.protobuf.message import DecodeError
    from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

    if not path.is_file():
        raise NotFound(f"there is no SentencePiece model {path}")
    try:
        proto = ModelProto.FromString(files.read_small(path, MOST_BYTES))
        problem = "" if proto.pieces else "it has no pieces"
    except DecodeError as error:
        problem = str(error)
    if problem:
        raise Refused(
            f"{path} is no SentencePiece model: {problem}",
            hint=f"copy it again; of an artifact: yoriai verify {path.parent}",
        )
    return proto


def write_model(proto: Any, path: Path) -> None:
    """The same model gives the same bytes; what SentencePiece cannot load raises an error."""
    import sentencepiece

    data = proto.SerializeToString(deterministic=True)
    try:
        sentencepiece.SentencePieceProcessor(model_proto=data)
    except Exception as error:
        raise YoriaiError(f"SentencePiece refuses the changed vocabulary: {error}") from error
    path.write_bytes(data)


def new_unigram(
    pieces: Iterable[VocabularyPiece], *, names: Mapping[str, str], longest: int, coverage: float
) -> Any:
    """A unigram model of these pieces: identity, no dummy prefix, byte fallback.

    ``names`` gives the pieces for ``unk``, ``bos``, ``eos`` and ``pad`` (the last may be absent).
    """
    from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

    proto = ModelProto()
    for piece in pieces:
        proto.pieces.add(piece=piece.text, score=piece.score, type=piece.type)
    spec = proto.trainer_spec
    spec.model_type = UNIGRAM
    spec.vocab_size = len(proto.pieces)
    spec.character_coverage = coverage
    spec.max_sentencepiece_length = longest
    spec.byte_fallback = spec.split_digits = spec.allow_whitespace_only_pieces = True
    spec.split_by_whitespace = False
    spec.user_defined_symbols.extend(p.piece for p in proto.pieces if p.type == USER_DEFINED)
    places = {p.piece: index for index, p in enumerate(proto.pieces)}
    for role in ("unk", "bos", "eos", "pad"):
        setattr(spec, f"{role}_id", places[names[role]] if role in names else -1)
        if role in names:
            setattr(spec, f"{role}_piece", names[role])
    controls = [p.piece for p in proto.pieces if p.type == CONTROL]
    spec.control_symbols.extend(piece for piece in controls if piece not in names.values())
    normalizer = proto.normalizer_spec
    normalizer.name = "identity"
    normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = False
    normalizer.escape_whitespaces = True
    return proto


def forget_paths(proto: Any) -> None:
    """Take the names of the files it was made from out of a model.

    SentencePiece stores them; in another folder the same corpus would give other bytes, and
    a published model would tell its maker's home folder.
    """
    proto.trainer_spec.ClearField("input")
    proto.trainer_spec.ClearField("model_prefix")


def texts(proto: Any, *types: int) -> Iterator[str]:
    """The pieces of these types (all types if none is given), in order of id."""
    return (p.piece for p in proto.pieces if not types or p.type in types)


def marks(proto: Any) -> dict[str, int]:
    """The ids of the special pieces by role: ``unk``, ``bos``, ``eos``, ``pad`` and ``eod``.

    Roles that the model lacks are left out. SentencePiece has no role for the end of a document;
    ``eod`` is the control piece of that name, as LLM-jp's ``<EOD>`` (v2.1, id 7).
    """
    spec = proto.trainer_spec
    found = {role: int(getattr(spec, f"{role}_id")) for role in ("unk", "bos", "eos", "pad")}
    for place, piece in enumerate(proto.pieces):
        if piece.type == CONTROL and piece.piece.strip("<|>").lower() == "eod":
            found.setdefault("eod", place)
    return {role: place for role, place in found.items() if place >= 0}


def rounded(score: float) -> float:
    """The nearest multiple of 1/64."""
    return round(score * STEP) / STEP


# --- surgery -----------------------------------------------------------------------------


def add(
    proto: Any,
    new: Sequence[str],
    *,
    score: float | None = None,
    scores: Mapping[str, float] | None = None,
    symbols: bool = False,
) -> tuple[Any, Ids]:
    """A model with more pieces at its end; spaces in them may be written as such.

    Old ids stay as they are. In a unigram model a piece gets ``score``, or, without one, 1/64 more
    than the best way to spell it with the old pieces, so that it is preferred to that; ``scores``
    names higher ones, such as the logarithm of a piece's share of the text. Without them any two
    new pieces that overlap have ways to cut with one and the same sum, and who takes which differs
    between libraries. In a BPE model the score is its rank after all others, and it must be the
    sum of two pieces. With ``symbols`` the pieces are user-defined symbols, never split. Raises
    :class:`yoriai.UsageError` for a piece that exists, is empty or cannot be reached.
    """
    made = _copy(proto)
    known = set(texts(made))
    spelling = _spelling(proto) if score is None and not symbols and not _is_bpe(proto) else None
    lowest = min((p.score for p in made.pieces if p.type == NORMAL), default=0.0)
    for raw in new:
        text = raw if symbols else raw.replace(" ", SPACE)
        if not text or text in known:
            raise UsageError(f"piece {raw!r} {'exists already' if text else 'is empty'}")
        if "\0" in text:
            raise UsageError(f"piece {raw!r} holds NUL, which SentencePiece cannot")
        if symbols:
            continue
        if _is_bpe(proto):
            if len(text) > 1 and not any(
                text[:i] in known and text[i:] in known for i in range(1, len(text))
            ):
                raise UsageError(
                    f"piece {raw!r} is not the sum of two pieces, so BPE would never make it",
                    hint="add the parts before it, or add it as a symbol",
                )
            lowest -= 1.0
            made.pieces.add(piece=text, score=lowest, type=NORMAL)
        else:
            value = score if score is not None else spelling(text) + 1 / STEP  # type: ignore[misc]
            value = max(value, min((scores or {}).get(raw, value), -1 / STEP))
            made.pieces.add(piece=text, score=rounded(value), type=NORMAL)
        known.add(text)
        for character in sorted(set(text) - known):
            raise UsageError(
                f"piece {raw!r} has the character {character!r}, which is no piece",
                hint=f"add {character!r} before it",
            )
    if symbols:
        if not _is_bpe(proto) and (crossing := crossing_pieces(proto, new)):
            shown = ", ".join(map(repr, crossing[:20]))
            raise UsageError(
                f"{len(crossing)} pieces could win over a symbol: {shown}",
                hint="drop them in the same change",
            )
        made = as_symbols(made, new)
    made.trainer_spec.vocab_size = len(made.pieces)
    return made, list(range(len(proto.pieces)))


def drop(proto: Any, old: Iterable[str]) -> tuple[Any, Ids]:
    """A model without some pieces, and the new id of each old one (``None``: dropped).

    Raises :class:`yoriai.UsageError` for one that is absent, is no normal or user-defined piece,
    or is a character that other pieces hold.
    """
    wanted = {text.replace(" ", SPACE) for text in old}
    kinds = {p.piece: p.type for p in proto.pieces}
    for text in sorted(wanted):
        if kinds.get(text) not in (NORMAL, USER_DEFINED, UNUSED):
            reason = "there is none" if text not in kinds else "it is a special or byte piece"
            raise UsageError(f"piece {text!r} cannot be dropped: {reason}")
    made, ids = _drop(proto, wanted)
    needed = {c for p in made.pieces if p.type == NORMAL and len(p.piece) > 1 for c in p.piece}
    for character in sorted(needed & wanted):
        raise UsageError(
            f"the character {character!r} cannot be dropped: other pieces hold it",
            hint="drop them as well",
        )
    return made, ids


def merge(first: Any, second: Any) -> tuple[Any, Ids, Ids]:
    """The pieces of the first model, then the normal and user-defined ones only the second has.

    Ids of the first stay. Special pieces and bytes of the second go to those of the first where
    the names are equal, else to ``None``. Scores of the second are kept, shifted so that the
    pieces both have mean the same. Raises :class:`yoriai.UsageError` for models of two kinds.
    """
    kinds = [proto.trainer_spec.model_type for proto in (first, second)]
    if kinds[0] != kinds[1]:
        raise UsageError("a unigram and a BPE model cannot be merged")
    made = _copy(first)
    places = {p.piece: index for index, p in enumerate(first.pieces)}
    scores = {p.piece: p.score for p in first.pieces if p.type == NORMAL}
    shared = [scores[p.piece] - p.score for p in second.pieces if p.piece in scores]
    shift = sum(shared) / len(shared) if shared else 0.0
    lowest = min(scores.values(), default=0.0)
    ids: Ids = []
    for piece in second.pieces:
        if piece.piece not in places and piece.type in (NORMAL, USER_DEFINED):
            places[piece.piece] = len(made.pieces)
            score = rounded(min(piece.score + shift, -1 / STEP))
            if kinds[0] == BPE:  # ranks: all of the second after all of the first
                lowest -= 1.0
                score = lowest
            if piece.type == USER_DEFINED:
                score = 0.0
                made.trainer_spec.user_defined_symbols.append(piece.piece)
            made.pieces.add(piece=piece.piece, score=score, type=piece.type)
        ids.append(places.get(piece.piece))
    made.trainer_spec.vocab_size = len(made.pieces)
    return made, list(range(len(first.pieces))), ids


def as_symbols(proto: Any, symbols: Sequence[str]) -> Any:
    """A model in which these texts are never cut, in SentencePiece and tokenizers alike.

    A BPE model, and any symbol of one byte, has them as user-defined symbols. In a unigram model
    longer ones become normal pieces of score 0, and pieces that cross their edge are dropped:
    then nothing costs less. (The weight that SentencePiece gives user-defined symbols is no
    multiple of 1/64.) Raises :class:`yoriai.UsageError` for symbols that can overlap.
    """
    check_symbols(symbols)
    made = _copy(proto)
    at = {p.piece: index for index, p in enumerate(made.pieces)}
    spec = made.trainer_spec
    for symbol in symbols:
        normal = not _is_bpe(proto) and len(symbol.encode()) > 1
        if symbol in at:
            piece = made.pieces[at[symbol]]
            if piece.type not in (NORMAL, USER_DEFINED):
                raise UsageError(f"{symbol!r} is a special or byte piece already")
        else:
            piece = made.pieces.add(piece=symbol)
        piece.score, piece.type = 0.0, NORMAL if normal else USER_DEFINED
        if not normal and symbol not in spec.user_defined_symbols:
            spec.user_defined_symbols.append(symbol)
        if normal and symbol in spec.user_defined_symbols:
            spec.user_defined_symbols.remove(symbol)
    spec.vocab_size = len(made.pieces)
    if not _is_bpe(proto):
        made, _ = _drop(made, set(crossing_pieces(made, symbols)))
    return made


def with_space_runs(proto: Any, longest: int, *, score: float = -1.0) -> Any:
    """A model of the same size in which runs of 2 to ``longest`` spaces are pieces.

    Runs that are missing take the place of the lowest pieces of several characters. In a
    unigram model all runs score ``score`` (LLM-jp's ``--spaceNegativeOne``); in a BPE model the
    new ones come before the pieces that stay, shortest first, so that they are made of two.
    """
    runs = [SPACE * length for length in range(2, longest + 1)]
    known = set(texts(proto))
    missing = [run for run in runs if run not in known]
    long = [
        p for p in proto.pieces if p.type == NORMAL and len(p.piece) > 1 and p.piece not in runs
    ]
    if len(long) < len(missing):
        raise UsageError(
            f"{len(proto.pieces)} pieces have no room for {len(missing)} runs of space"
        )
    lowest = sorted(long, key=lambda p: p.score)[: len(missing)]
    made, _ = _drop(proto, {p.piece for p in lowest})
    if _is_bpe(proto):
        for run in missing:
            made.pieces.add(piece=run, type=NORMAL)
        order = [p for p in made.pieces if p.type == NORMAL and p.piece not in runs]
        at = {run: place for place, run in enumerate(runs)}
        for piece in made.pieces:
            if piece.piece in at:
                piece.score = -float(at[piece.piece] + 1)
        for place, piece in enumerate(sorted(order, key=lambda p: -p.score)):
            piece.score = -float(len(runs) + place + 1)
        return made
    for run in missing:
        made.pieces.add(piece=run, type=NORMAL)
    for piece in made.pieces:
        if piece.piece in runs:
            piece.score = score
    return made


def crossing_pieces(proto: Any, symbols: Sequence[str]) -> list[str]:
    """Normal pieces that hold a symbol or overlap its edge, so that they could win over it."""
    heads = {symbol[:n] for symbol in symbols for n in range(1, len(symbol) + 1)}
    tails = {symbol[n:] for symbol in symbols for n in range(len(symbol))}

    def crosses(text: str) -> bool:
        cuts = range(1, len(text))
        return any(text[n:] in heads or text[:n] in tails for n in cuts) or any(
            symbol in text for symbol in symbols
        )

    return [text for text in texts(proto, NORMAL) if text not in symbols and crosses(text)]


def check_symbols(symbols: Sequence[str]) -> None:
    """Raise :class:`yoriai.UsageError` if two symbols can overlap, or one is in another."""
    for a in symbols:
        if not a or "\0" in a:
            raise UsageError(f"{a!r} cannot be a symbol")
        if a.count(" ") or SPACE in a:
            raise UsageError(f"symbol {a!r} holds a space; use space_runs for runs of spaces")
        for b in symbols:
            overlaps = any(a[-n:] == b[:n] for n in range(1, min(len(a), len(b)) + (a != b)))
            if overlaps or (a != b and a in b):
                raise UsageError(
                    f"symbols {a!r} and {b!r} can overlap: SentencePiece and tokenizers would"
                    " then cut them differently",
                    hint="keep one of them",
                )


def _spelling(proto: Any) -> Any:
    """The score of the best way to spell a text with the pieces of a unigram model."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    lowest = min(p.score for p in proto.pieces if p.type == NORMAL)

    def best(text: str) -> float:
        ids = processor.encode(text.replace(SPACE, " "))
        kinds = [proto.pieces[i] for i in ids]
        return float(sum(p.score if p.type == NORMAL else lowest for p in kinds))

    return best


def _drop(proto: Any, gone: set[str]) -> tuple[Any, Ids]:
    made = _copy(proto)
    del made.pieces[:]
    ids: Ids = []
    for piece in proto.pieces:
        if piece.piece in gone:
            ids.append(None)
        else:
            ids.append(len(made.pieces))
            made.pieces.add().CopyFrom(piece)
    spec = made.trainer_spec
    kept = [symbol for symbol in spec.user_defined_symbols if symbol not in gone]
    del spec.user_defined_symbols[:]
    spec.user_defined_symbols.extend(kept)
    for role in ("unk_id", "bos_id", "eos_id", "pad_id"):
        place = getattr(spec, role)
        if place >= 0:
            setattr(spec, role, ids[place])
    spec.vocab_size = len(made.pieces)
    return made, ids


def _copy(proto: Any) -> Any:
    made = type(proto)()
    made.CopyFrom(proto)
    return made


def _is_bpe(proto: Any) -> bool:
    return bool(proto.trainer_spec.model_type == BPE)
