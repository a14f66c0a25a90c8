"""A tokenizer that is a ``tokenizer.json`` alone: a model's from elsewhere, or an extended BPE.

It answers what :mod:`encoding` asks of a SentencePiece model, by SentencePiece's names. Special
tokens in a text are spelled out, as everywhere: no text gives a mark.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yoriai import YoriaiError

_NAMED = ("eos_token", "unk_token")


class FastPieces:
    """``tokenizer.json`` and the marks that ``tokenizer_config.json`` beside it names.

    Raises :class:`YoriaiError` for a file that the library cannot read.
    """

    def __init__(self, path: Path) -> None:
        import tokenizers

        try:
            self._made = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise YoriaiError(f"{path.name} is no tokenizer: {error}") from error
        self._made.encode_special_tokens = True
        added = self._made.get_added_tokens_decoder()
        self._marks = {place for place, token in added.items() if token.special}
        self._size = 1 + max(self._made.get_vocab(with_added_tokens=True).values())
        self._eos, self._unk = (self._named(path, name) for name in _NAMED)

    def _named(self, path: Path, name: str) -> int:
        beside = path.with_name("tokenizer_config.json")
        told = json.loads(beside.read_bytes()).get(name) if beside.is_file() else None
        told = told.get("content") if isinstance(told, dict) else told
        place = self._made.token_to_id(told) if isinstance(told, str) else None
        return -1 if place is None else int(place)

    def __len__(self) -> int:
        return self._size

    def eos_id(self) -> int:
        return self._eos

    def unk_id(self) -> int:
        """-1 where no text is unknown: pieces for all bytes stand for what has none."""
        return -1 if '"ByteLevel"' in self._made.to_str() else self._unk

    def is_control(self, place: int) -> bool:
        return place in self._marks

    def id_to_piece(self, place: int) -> str:
        return str(self._made.id_to_token(place))

    def piece_to_id(self, piece: str) -> int:
        place = self._made.token_to_id(piece)
        return 0 if place is None else int(place)

    def encode(self, texts: Sequence[bytes], **_: Any) -> list[npt.NDArray[np.int32]]:
        """The ids of each text (UTF-8)."""
        found = (self._made.encode(text.decode(), add_special_tokens=False) for text in texts)
        return [np.array(one.ids, dtype=np.int32) for one in found]
