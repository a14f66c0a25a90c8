# SPDX-License-Identifier: Apache-2.0
"""Export a SentencePiece model, unigram or BPE, as a plain Hugging Face fast tokenizer folder.

``AutoTokenizer.from_pretrained(folder)`` then gives the ids of SentencePiece, and decodes them
back to the same text. The rules, each with its source:

* ``Replace(" ", "▁")`` is the normalizer, not Metaspace, which breaks runs of spaces (the rule of
  LLM-jp's converter, and of ``SpmConverter.build_tokenizer_from_spm_proto`` in transformers).
* User-defined symbols are non-special ``AddedToken``s with ``normalized=False``; control pieces
  are special ones (``SpmConverter.tokenizer``, transformers/convert_slow_tokenizer.py).
  ``tokenizers`` cuts symbols out first. So does SentencePiece's BPE; its unigram model weighs them
  by 0.1 for each byte after the first (``GetUserDefinedScore``), which is inexact. So only
  symbols of one byte are user-defined in a unigram model; longer ones are normal pieces of score
  0, which win wherever no other piece crosses their edge (``tokenizers.pieces.as_symbols``).
* Text never becomes a control or byte piece: SentencePiece searches text for normal and
  user-defined pieces only (``ModelInterface::InitializePieces``). Two settings do this here:
  ``split_special_tokens`` in tokenizer_config.json keeps the added tokens from matching (it is no
  part of tokenizer.json: users of bare ``tokenizers`` set ``encode_special_tokens = True``), and,
  since ``tokenizers`` searches text for its whole unigram vocabulary, these pieces get so low
  a score that spelling them out always wins. No merge makes them in a BPE model.
* The low score also lowers that of unknown characters (lowest score - 10, in both libraries).
  This changes no path, as no piece contains an unknown character; ``_check`` makes sure.
* SentencePiece's BPE merges the pair whose sum has the best score, the leftmost of equal ones,
  whatever its two parts are; ``tokenizers`` ranks pairs. So every way to part a piece into two
  is a merge, in the order of the pieces' scores, the longest left part first. Parts of one piece
  are then tried in turn and not from left to right: on 120,000 random strings over random
  vocabularies of one to three characters that made no difference.
* The decoder is transformers' Llama decoder without ``Strip``, which undoes a dummy prefix.

Not lossless: U+2581 in text. SentencePiece turns spaces into U+2581 and keeps U+2581 as it is
(``Normalizer::Normalize``), so both have the same ids and decode to a space, in both libraries.
Decoding can differ for byte pieces that are no UTF-8, which no text has: ``ByteFallback`` replaces
the whole run of bytes, SentencePiece only the wrong ones.

Another normalisation than ``identity`` becomes ``Precompiled``, which looks rules up by grapheme
and takes the shortest rule where SentencePiece goes by character and takes the longest: a
full-width letter with a combining accent loses the accent (``Precompiled::normalize``). Then ids
are equal on ordinary text only, and nothing is lossless; ``corpus/tokenizer`` counts.

Equal ids on *every* text need ``round_scores``, once, right after training a unigram model.

Chat: ``split_special_tokens`` holds for rendered chats too, so it spells out a template's "</s>".
For a template with special tokens, set ``tokenizer.split_special_tokens = False`` and call
``apply_chat_template(..., sanitize_control_tokens=True)``: special tokens of the template are
special, and those typed by a user stay text.

A config.json beside the files must not have model_type "qwen2": transformers 5.23 then ignores
tokenizer_class for Qwen2Tokenizer (``MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS``).
"""

from __future__ import annotations

import json
import re
from operator import attrgetter
from pathlib import Path
from typing import Any

from yoriai_corpus.tokenizers.pieces import (
    BPE,
    BYTE,
    BYTES,
    CONTROL,
    NORMAL,
    SPACE,
    UNIGRAM,
    UNKNOWN,
    USER_DEFINED,
    check_symbols,
    crossing_pieces,
    read_model,
    rounded,
)

# Names of transformers for the pieces that SentencePiece has no role for, by their usual text.
ROLES = {"mask": "mask_token", "cls": "cls_token", "sep": "sep_token"}
BYTE_LIKE = re.compile(r"<0x[0-9A-Fa-f]{2}>")  # what the ByteFallback decoder takes for a byte
SETTINGS = {
    "trainer_spec.allow_whitespace_only_pieces": True,
    "trainer_spec.treat_whitespace_as_suffix": False,
    "normalizer_spec.add_dummy_prefix": False,
    "normalizer_spec.remove_extra_whitespaces": False,
    "normalizer_spec.escape_whitespaces": True,
    "denormalizer_spec.precompiled_charsmap": b"",
}


def export_fast_tokenizer(
    model_path: Path, folder: Path, *, max_length: int, chat_template: str | None = None
) -> None:
    """Write the files of a fast tokenizer for a SentencePiece model; same model, same bytes.

    The chat template goes to chat_template.jinja, where transformers looks first; without one,
    the file of an earlier export is removed. Raises ValueError, naming the setting, for a model
    that cannot be mirrored.
    """
    import tokenizers
    from tokenizers import AddedToken, decoders

    proto = read_model(model_path)
    _check(proto)
    special = special_tokens(proto)
    controls = [p.piece for p in proto.pieces if p.type in (UNKNOWN, CONTROL)]
    symbols = [p.piece for p in proto.pieces if p.type == USER_DEFINED]

    build = _unigram if proto.trainer_spec.model_type == UNIGRAM else _bpe
    tokenizer = tokenizers.Tokenizer(build(proto))
    tokenizer.normalizer = _normalizer(proto)
    if build is _unigram:
        # A model that lacks "<", say, cannot spell "<s>" out: cut text at such unknown characters.
        reserved = (p.piece for p in proto.pieces if p.type in (UNKNOWN, CONTROL, BYTE))
        normal = {p.piece for p in proto.pieces if p.type == NORMAL}
        if unknown := sorted(set("".join(reserved)) - normal):
            pattern = tokenizers.Regex(f"[{re.escape(''.join(unknown))}]")
            tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(pattern, "isolated")
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps)
    # Adds nothing to a text; what transformers sets on loading where there is none.
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A:0", pair="$A:0 $B:1", special_tokens=[]
    )
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in controls])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in symbols])

    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
    }
    files = {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": json.dumps(config | special, indent=2, sort_keys=True) + "\n",
        "special_tokens_map.json": json.dumps(special, indent=2, sort_keys=True) + "\n",
        "chat_template.jinja": chat_template,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if text is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_bytes(text.encode("utf-8"))


def special_tokens(proto: Any) -> dict[str, Any]:
    """transformers' names for the special pieces of a model: ``{"bos_token": "<s>", …}``."""
    spec = proto.trainer_spec
    named: dict[str, Any] = {}
    for role in ("unk", "bos", "eos", "pad"):
        place = getattr(spec, f"{role}_id")
        if place >= 0:
            named[f"{role}_token"] = proto.pieces[place].piece
    others = []
    for piece in proto.pieces:
        if piece.type == CONTROL and piece.piece not in named.values():
            role = ROLES.get(piece.piece.strip("<>[]|").lower(), "")
            if role and role not in named:
                named[role] = piece.piece
            else:
                others.append(piece.piece)
    return named | ({"additional_special_tokens": others} if others else {})


def round_scores(model_path: Path) -> None:
    """Round the scores of a SentencePiece unigram model, in place, to multiples of 1/64.

    SentencePiece adds scores in 32-bit floats, ``tokenizers`` in 64-bit floats, so near ties (and
    exact ones: two pieces in either order) can fall differently in long texts. SentencePiece
    0.2.3 keeps sums below 2**17 (``kScoreResetThreshold``), where 32-bit floats are at most 1/128
    apart, and a newline adds 0: multiples of 1/64 add up exactly in both libraries, and both keep
    the first of equal paths. Versions that do neither are not exact on long texts.
    """
    proto = read_model(model_path)
    for piece in proto.pieces:
        piece.score = rounded(piece.score)
    model_path.write_bytes(proto.SerializeToString(deterministic=True))


def _unigram(proto: Any) -> Any:
    import tokenizers

    normal = [p.score for p in proto.pieces if p.type == NORMAL]
    reserved = [p.piece for p in proto.pieces if p.type in (UNKNOWN, CONTROL, BYTE)]
    # Below the lowest possible score of a reserved piece that is spelled out in characters.
    low = max(map(len, reserved)) * min(normal) - 1
    spelled = (NORMAL, USER_DEFINED)
    vocabulary = [(p.piece, p.score if p.type in spelled else low) for p in proto.pieces]
    spec = proto.trainer_spec
    return tokenizers.models.Unigram(
        vocabulary, unk_id=spec.unk_id, byte_fallback=spec.byte_fallback
    )


def _bpe(proto: Any) -> Any:
    import tokenizers

    places = {p.piece: index for index, p in enumerate(proto.pieces)}
    known = {p.piece for p in proto.pieces if p.type == NORMAL}
    ranked = sorted((p for p in proto.pieces if p.type == NORMAL), key=lambda p: -p.score)
    merges = [
        (p.piece[:cut], p.piece[cut:])
        for p in ranked
        for cut in range(len(p.piece) - 1, 0, -1)
        if p.piece[:cut] in known and p.piece[cut:] in known
    ]
    spec = proto.trainer_spec
    unknown = proto.pieces[spec.unk_id].piece
    return tokenizers.models.BPE(
        places, merges, unk_token=unknown, byte_fallback=spec.byte_fallback, fuse_unk=True
    )


def _normalizer(proto: Any) -> Any:
    from tokenizers import normalizers

    spaces = normalizers.Replace(" ", SPACE)
    charsmap = proto.normalizer_spec.precompiled_charsmap
    return normalizers.Sequence([normalizers.Precompiled(charsmap), spaces]) if charsmap else spaces


def _check(proto: Any) -> None:
    """Raise ValueError for the first setting or piece that the export cannot mirror."""
    spec = proto.trainer_spec
    kind = spec.ModelType.Name(spec.model_type)
    if spec.model_type not in (UNIGRAM, BPE):
        raise ValueError(f"trainer_spec.model_type must be UNIGRAM or BPE, but is {kind}")
    for setting, wanted in SETTINGS.items():
        found = attrgetter(setting)(proto)
        if found != wanted:
            raise ValueError(f"{setting} must be {wanted!r}, but is {found!r:.80}")
    kinds = {p.piece: p.type for p in proto.pieces}
    if len(kinds) != len(proto.pieces) or "" in kinds:
        raise ValueError("pieces must be distinct, and none of them empty")
    if spec.byte_fallback and any(kinds.get(piece) != BYTE for piece in BYTES):
        raise ValueError("pieces must hold all 256 bytes where byte_fallback is set")
    for piece in proto.pieces:
        if piece.type in (NORMAL, USER_DEFINED) and BYTE_LIKE.fullmatch(piece.piece):
            raise ValueError(f"pieces: {piece.piece!r} must not look like a byte piece")
    for role, type_ in (("unk", UNKNOWN), ("bos", CONTROL), ("eos", CONTROL), ("pad", CONTROL)):
        place = getattr(spec, f"{role}_id")
        if (place >= 0 or role == "unk") and proto.pieces[place].type != type_:
            raise ValueError(f"trainer_spec.{role}_id must be a special piece, but is {place}")
    normal = {p.piece for p in proto.pieces if p.type == NORMAL}
    if not normal:
        raise ValueError("pieces must hold a normal one")
    # A symbol of score 0 always wins, whatever it is spelled with.
    spelled = {p.piece for p in proto.pieces if p.type == NORMAL and p.score < 0}
    for character in sorted({SPACE, *"".join(spelled)} - normal):
        raise ValueError(f"pieces: the character {character!r} needs a piece of its own")
    symbols = [p.piece for p in proto.pieces if p.type == USER_DEFINED]
    check_symbols(symbols)
    if spec.model_type == UNIGRAM:
        for symbol in symbols:
            if len(symbol.encode()) > 1:
                raise ValueError(f"user_defined_symbols must be of one byte each, not {symbol!r}")
        for piece in crossing_pieces(proto, symbols):
            raise ValueError(f"pieces must not hold a symbol, as {piece!r} does")
