"""A ``tokenizer.json`` in the words of GGUF, such that llama.cpp gives the same ids.

llama.cpp has a tokenizer for each family (``src/llama-vocab.cpp``):

* byte-level BPE: ``gpt2``, with the name of a pre-tokenizer it has built in;
* SentencePiece's BPE: ``llama``; each merge takes the pair whose piece has the best score;
* SentencePiece's unigram *with* byte fallback: ``plamo2``, the one kind that finds the best path
  and spells unknown characters in bytes. (``llama`` merges greedily, and ``t5`` gives ``<unk>``.)
  It adds scores as integers, ``round(score * 10000)``; scores here are multiples of 1/64, so
  ``score * 64 / 10000`` is written, which rounds to whole numbers and changes no path.
  Its pieces hold spaces as such; it drops a byte order mark that a text begins with, and U+2581
  typed in a text is spelled in bytes, where SentencePiece takes it for a space;
* unigram without byte fallback: ``t5``.

What text can never give (control pieces) gets a score that no path takes.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoriai import Refused, UsageError
from yoriai.model_folder import read_mapping
from yoriai_domain_adapt.folders.vocabulary import read_marks, read_tokenizer, read_tokenizer_file

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # gguf.TokenType
STEP = 64  # scores of unigram pieces are multiples of 1/64
UNIT = 10_000  # by which llama.cpp's plamo2 multiplies scores
NEVER = -3000.0  # times UNIT is below its INVALID_SCORE: no path takes it
MOST_OF_A_SCORE = 1e9  # either way: no logarithm of a probability is near it
LONGEST_SCORE = 15_000  # steps: scores at or below -10,000,000 units mean "unknown" there
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
SPACE = "▁"
# Names of llama.cpp for pre-tokenizers, by the form that tokenizer.json gives them
# (``llama_vocab::impl::load`` and convert_hf_to_gguf.py of llama.cpp).
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_BYTES = {"type": "ByteLevel", "use_regex": False}
_GPT2 = {"type": "ByteLevel", "use_regex": True}
PRE_TOKENIZERS = {
    "gpt-2": [_GPT2],
    "smollm": [{"type": "Digits", "individual_digits": True}, _GPT2],
    "llama-bpe": [{"type": "Split", "pattern": _LETTERS + r"\p{N}{1,3}" + _REST}, _BYTES],
    "qwen2": [{"type": "Split", "pattern": _LETTERS + r"\p{N}" + _REST}, _BYTES],
}


@dataclass(slots=True)
class Vocabulary:
    """What is written under ``tokenizer.ggml``."""

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    charsmap: bytes = b""
    marks: dict[str, int] = field(default_factory=dict)
    add_bos: bool = False
    add_eos: bool = False
    template: str = ""


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """The vocabulary of a model folder, with ``size`` rows; rows without a piece are unused.

    Raises :class:`yoriai.UsageError` for a tokenizer that no kind of llama.cpp mirrors.
    """
    value = read_tokenizer_file(folder)
    model, added = value["model"], value["added_tokens"]
    pieces, scores = _pieces(model)
    for token in added:
        pieces[token["content"]] = token["id"]
    highest = max(pieces.values())
    if highest >= size:
        raise UsageError(
            f"{folder.name}: its tokenizer has {highest + 1:,} pieces, its embedding {size:,} rows",
            hint="put the tokenizer beside the model that it was trained with",
        )
    types = {t["id"]: CONTROL if t["special"] else USER_DEFINED for t in added}
    tokens = [f"[PAD{place}]" for place in range(size)]
    kinds = [UNUSED] * size
    for piece, place in pieces.items():
        tokens[place] = piece
        kinds[place] = types.get(place, BYTE if _is_byte(model, piece) else NORMAL)
    unknown = _unknown(model, pieces)
    if unknown is not None:
        kinds[unknown] = UNKNOWN
    made = Vocabulary("", "default", tokens, kinds)
    if model["type"] == "Unigram":
        _as_unigram(made, value, scores)
    elif any(t["type"] == "ByteLevel" for t in _steps(value.get("pre_tokenizer"))):
        made.model, made.pre = "gpt2", _pre_tokenizer(value)
        made.merges = [" ".join(merge) for merge in model["merges"]]
    elif model["type"] == "BPE" and model.get("byte_fallback"):
        _as_sentencepiece(made, model)
    else:
        raise UsageError(
            f"{folder.name}: llama.cpp has no tokenizer for {model['type']} of its kind"
        )
    _add_marks(made, folder, unknown)
    return made


def _pieces(model: dict[str, Any]) -> tuple[dict[str, int], list[float]]:
    if model["type"] == "Unigram":
        return {p: i for i, (p, _) in enumerate(model["vocab"])}, [s for _, s in model["vocab"]]
    return dict(model["vocab"]), []


def _is_byte(model: dict[str, Any], piece: str) -> bool:
    return bool(model.get("byte_fallback")) and bool(BYTE_PIECE.fullmatch(piece))


def _unknown(model: dict[str, Any], pieces: dict[str, int]) -> int | None:
    if model["type"] == "Unigram":
        place: int | None = model.get("unk_id")
        return place
    return pieces.get(model["unk_token"]) if model.get("unk_token") else None


def _as_unigram(made: Vocabulary, value: dict[str, Any], scores: list[float]) -> None:
    steps = _steps(value.get("normalizer"))
    charsmaps = [s["precompiled_charsmap"] for s in steps if s["type"] == "Precompiled"]
    others = [s["type"] for s in steps if s["type"] not in ("Precompiled", "Replace")]
    if others or len(charsmaps) > 1:
        raise UsageError(f"llama.cpp has no normalizer like {', '.join(others) or 'two charsmaps'}")
    if not value["model"].get("byte_fallback") or charsmaps:
        made.model = "t5"
        made.charsmap = base64.b64decode(charsmaps[0]) if charsmaps else b""
        made.scores = [*scores, *[NEVER] * (len(made.tokens) - len(scores))]
        return
    made.model = "plamo2"
    for place, (piece, kind) in enumerate(zip(made.tokens, made.types, strict=True)):
        if kind in (CONTROL, UNKNOWN, UNUSED):
            made.scores.append(NEVER)
            continue
        made.tokens[place] = piece if kind == BYTE else piece.replace(SPACE, " ")
        score = 0.0 if kind == USER_DEFINED else scores[place]
        if abs(score) > MOST_OF_A_SCORE:
            raise Refused(
                f"tokenizer.json gives the piece {ascii(piece)[:80]} the score {score:g}",
                hint="scores are logarithms of probabilities: train the tokenizer anew",
            )
        steps_ = round(score * STEP)
        if kind == NORMAL and (abs(steps_ - score * STEP) > 1e-6 or -steps_ > UNIT * 1000):
            raise UsageError(
                f"the piece {piece!r} has the score {score}, no multiple of 1/64: llama.cpp would"
                " add it up otherwise",
                hint="corpus/tokenizer and corpus/tokenizer-surgery round the scores they write",
            )
        made.scores.append(steps_ / UNIT)


def _as_sentencepiece(made: Vocabulary, model: dict[str, Any]) -> None:
    made.model = "llama"
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(model["merges"]):
        ranks.setdefault(left + right, rank)
    lowest = -float(len(model["merges"]) + 1)
    for piece, kind in zip(made.tokens, made.types, strict=True):
        rank_score = -float(ranks[piece]) if piece in ranks else lowest
        made.scores.append(0.0 if kind in (BYTE, CONTROL, UNKNOWN, UNUSED) else rank_score)


def _pre_tokenizer(value: dict[str, Any]) -> str:
    steps = [_plain(step) for step in _steps(value.get("pre_tokenizer"))]
    if value.get("normalizer"):
        names = ", ".join(s["type"] for s in _steps(value["normalizer"]))
        if names != "NFC":
            raise UsageError(f"llama.cpp has no byte-level BPE after {names}")
    for name, wanted in PRE_TOKENIZERS.items():
        if steps == wanted:
            return name
    raise UsageError(
        f"no pre-tokenizer of llama.cpp is known to cut as {json.dumps(steps)[:200]} does",
        hint="its names are in llama-vocab.cpp; ours are gpt-2, smollm, llama-bpe and qwen2",
    )


def _steps(value: dict[str, Any] | None) -> list[dict[str, Any]]:
    if value is None:
        return []
    if value["type"] == "Sequence":
        found: list[dict[str, Any]] = value.get("pretokenizers") or value.get("normalizers") or []
        return found
    return [value]


def _plain(step: dict[str, Any]) -> dict[str, Any]:
    if step["type"] == "Split":
        return {"type": "Split", "pattern": step["pattern"].get("Regex")}
    keys = {"ByteLevel": ("use_regex",), "Digits": ("individual_digits",)}.get(step["type"])
    return {"type": step["type"], **{key: step[key] for key in keys}} if keys else step


def _add_marks(made: Vocabulary, folder: Path, unknown: int | None) -> None:
    places = {piece: place for place, piece in enumerate(made.tokens)}
    made.marks = {n: places[piece] for n, piece in read_marks(folder).items() if piece in places}
    if unknown is not None:
        made.marks["unk"] = unknown
    ids = read_tokenizer(folder).encode("a").ids
    made.add_bos = bool(ids) and ids[0] == made.marks.get("bos", -1)
    made.add_eos = bool(ids) and ids[-1] == made.marks.get("eos", -1)
    template = folder / "chat_template.jinja"
    if template.is_file():
        made.template = _read_text(template)
    else:
        told = read_mapping(folder / "tokenizer_config.json").get("chat_template")
        made.template = told if isinstance(told, str) else ""


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is no text: {error}", hint=f"rm {path}, or write it anew") from error
