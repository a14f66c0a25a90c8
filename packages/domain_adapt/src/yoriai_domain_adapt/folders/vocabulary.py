"""Tokenizers as they lie in a folder: reading pieces, cutting text, adding pieces."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from yoriai import Artifact, NotFound, Refused, UsageError, files
from yoriai.model_folder import opening, read_mapping
from yoriai_domain_adapt.arithmetic.pieces import PieceMerge, Word

ENCODED_AT_ONCE = 256
MOST_UNUSED = 10_000  # numbers that no piece has: some are kept free for later
Ids = list[int]


def read_tokenizer(folder: Path) -> Any:
    """A ``tokenizers.Tokenizer`` that takes special tokens in text for plain text."""
    import tokenizers

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise NotFound(
            f"{folder} has no tokenizer.json", hint="save the fast tokenizer beside the model"
        )
    with opening(folder):
        made = tokenizers.Tokenizer.from_file(str(path))
        # Texts are cut here, and not filled up: what the file says of both is for other uses.
        made.no_truncation()
        made.no_padding()
        made.encode("a 1\n猫")  # it fails where a piece lacks that its rules name
    highest, count = max(made.get_vocab().values(), default=-1), made.get_vocab_size()
    if not count or highest > 2 * count + MOST_UNUSED:
        raise Refused(
            f"{path} has {count:,} pieces, the highest of the number {highest:,}",
            hint="number the pieces one after another, as tokenizers does when it trains",
        )
    made.encode_special_tokens = True
    return made


def read_tokenizer_file(folder: Path) -> dict[str, Any]:
    """``tokenizer.json`` as the library writes it: whole, of the types that it has looked at.

    Raises :class:`yoriai.Refused` for one that it cannot read.
    """
    import tokenizers

    read_tokenizer(folder)
    path = folder / "tokenizer.json"
    value: dict[str, Any] = json.loads(tokenizers.Tokenizer.from_file(str(path)).to_str())
    return value


def read_marks(folder: Path) -> dict[str, str]:
    """The pieces that ``tokenizer_config.json`` names as ``bos``, ``eos`` and ``pad``."""
    told = read_mapping(folder / "tokenizer_config.json")
    marks = {}
    for name in ("bos", "eos", "pad"):
        mark = told.get(f"{name}_token")
        mark = mark.get("content") if isinstance(mark, dict) else mark
        if isinstance(mark, str) and mark:
            marks[name] = mark
    return marks


def unigram_scores(folder: Path) -> list[float] | None:
    """The score of each piece by its id; None where the tokenizer is of another kind."""
    model = read_tokenizer_file(folder)["model"]
    return [float(score) for _, score in model["vocab"]] if model["type"] == "Unigram" else None


def read_texts(corpus: Artifact, folder: str, limit_bytes: int) -> Iterable[str]:
    """The texts of a corpus, in order, up to so many bytes."""
    import pyarrow.parquet as pq

    left = limit_bytes
    for path in corpus.files_under(folder):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=512, columns=["text"]):
            for text in batch["text"].to_pylist():
                if left <= 0:
                    return
                left -= len(text.encode())
                yield text


def count_words(tokenizer: Any, texts: Iterable[str]) -> Counter[Word]:
    """How often each stretch of text occurs, cut into pieces as they are in the vocabulary.

    A stretch is what no piece may cross: what the tokenizer's own pre-tokenizer gives, or, where
    it has none (SentencePiece's), a run of characters of one script within a line.
    """
    words: Counter[Word] = Counter()
    seen: dict[str, Word] = {}
    for stretch, times in Counter(s for text in texts for s in stretches(tokenizer, text)).items():
        cut = seen.get(stretch)
        if cut is None:
            cut = tuple(tokenizer.encode(stretch, add_special_tokens=False).tokens)
        if len(cut) > 1:
            words[cut] += times
    return words


def stretches(tokenizer: Any, text: str) -> list[str]:
    """The parts of a text that pieces stay within; they need not cover it (runs of spaces)."""
    before = tokenizer.pre_tokenizer
    if before is not None and is_byte_level(tokenizer):
        places = [place for _, place in before.pre_tokenize_str(text)]
        return [text[start:end] for start, end in places if end > start]
    found, start = [], 0
    for place in range(1, len(text) + 1):
        if place == len(text) or _script(text[place]) != _script(text[start]):
            found.append(text[start:place])
            start = place
    return [stretch for stretch in found if not stretch.isspace()]


def _script(character: str) -> str:
    code = ord(character)
    if character.isspace():
        return " "
    if 0x3041 <= code <= 0x309F:
        return "hiragana"
    if 0x30A0 <= code <= 0x30FF:
        return "katakana"
    if 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or character == "々":
        return "han"
    if character.isalpha():
        return "letters"
    return "digits" if character.isdigit() else character


def is_byte_level(tokenizer: Any) -> bool:
    """Whether pieces are spelled in GPT-2's alphabet of bytes."""
    return '"ByteLevel"' in tokenizer.to_str()


def extend_bpe(source: Path, target: Path, merges: Sequence[PieceMerge]) -> int:
    """Copy a folder's tokenizer with merges added at the end of its list; the new pieces' number.

    Ids that are there keep their meaning; new ones follow the highest. Raises
    :class:`yoriai.UsageError` for a tokenizer that is no BPE.
    """
    value = read_tokenizer_file(source)
    model = value["model"]
    if model["type"] != "BPE":
        raise UsageError(
            f"{source.name} has a {model['type']} tokenizer: only BPE takes merges",
            hint="corpus/tokenizer-surgery extends a SentencePiece tokenizer (tokenizer.model)",
        )
    vocabulary: dict[str, int] = model["vocab"]
    highest = max([*vocabulary.values(), *(t["id"] for t in value["added_tokens"])])
    known = {tuple(merge) for merge in model["merges"]}
    added = 0
    for merge in merges:
        if (merge.left, merge.right) not in known:
            model["merges"].append([merge.left, merge.right])
        if merge.piece not in vocabulary:
            added += 1
            vocabulary[merge.piece] = highest + added
    target.mkdir(parents=True, exist_ok=True)
    from yoriai_domain_adapt.folders.tensors import copy_companions

    copy_companions(source, target)
    for stale in ("vocab.json", "merges.txt", "tokenizer.model"):
        (target / stale).unlink(missing_ok=True)  # they would say the old vocabulary
    (target / "generation_config.json").unlink(missing_ok=True)
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    files.write_atomically(target / "tokenizer.json", text.encode())
    return added


def fertility(tokenizer: Any, texts: Sequence[str]) -> dict[str, float]:
    """Tokens, bytes and characters of texts, and bytes a token."""
    tokens = 0
    for start in range(0, len(texts), ENCODED_AT_ONCE):
        part = tokenizer.encode_batch(
            texts[start : start + ENCODED_AT_ONCE], add_special_tokens=False
        )
        tokens += sum(len(one.ids) for one in part)
    size = sum(len(text.encode()) for text in texts)
    characters = sum(map(len, texts))
    return {
        "tokens": tokens,
        "bytes": size,
        "bytes_per_token": round(size / max(1, tokens), 4),
        "tokens_per_character": round(tokens / max(1, characters), 4),
    }


def spell(tokenizer: Any, piece: str, other: Any) -> Ids:
    """The ids by which ``tokenizer`` spells a piece of ``other``'s vocabulary.

    A piece of bytes that are no text by themselves is spelled byte by byte. Pieces that no text
    gives (special ones) have no spelling: the list is empty.
    """
    ids = tokenizer.token_to_id(piece)
    if ids is not None:
        return [int(ids)]
    if is_byte_level(other):
        data = bytes(_BYTES[character] for character in piece if character in _BYTES)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            found = [tokenizer.token_to_id(_ALPHABET[byte]) for byte in data]
            return [int(i) for i in found if i is not None]
    else:
        text = piece.replace("▁", " ")
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def _alphabet() -> dict[int, str]:
    """GPT-2's characters for bytes (``bytes_to_unicode`` of its encoder.py)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {b: chr(256 + n) for n, b in enumerate(rest)}


_ALPHABET = _alphabet()
_BYTES = {character: byte for byte, character in _ALPHABET.items()}
