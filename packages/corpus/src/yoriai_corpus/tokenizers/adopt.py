"""``corpus/adopt-tokenizer``: a tokenizer that was made elsewhere, as a sealed artifact."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Altered, Job, Made, NotFound, Step, UsageError, files
from yoriai.artifact import check_folder
from yoriai_corpus.tokenizers import pieces as vocabularies
from yoriai_corpus.tokenizers.training import MODEL

FAST = "tokenizer.json"
CONFIG = "tokenizer_config.json"
BESIDE = ("special_tokens_map.json", "chat_template.jinja")
ROLES = ("unk", "bos", "eos", "pad")


class AdoptTokenizer(Step):
    """Take a SentencePiece model, or the tokenizer of a Hugging Face folder, as it is.

    Shards or models from elsewhere come with a tokenizer; this makes it one that other steps
    take. Of a folder only the tokenizer's files are copied, and code that it names is left out. A
    bare ``.model`` is also written as a Hugging Face tokenizer, where that gives equal ids.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "tokenizer"

    path: str = Field(description="a SentencePiece .model, or a folder with tokenizer.json")
    context: int = Field(2048, ge=16, description="longest input a bare .model announces")

    def fingerprint(self) -> str:
        """Digest of the files that are read."""
        return files.digest_json({p.name: files.digest_file(p) for p in self._files()})

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        place = Path(self.path).expanduser()
        fast = place / FAST
        if place.is_dir() and fast.is_file():
            return {"vocabulary_size": _size(_open(fast))}
        model = place / MODEL if place.is_dir() else place
        return {"vocabulary_size": _pieces(model)} if model.is_file() else {}

    def run(self, job: Job) -> Made:
        place = Path(self.path).expanduser()
        check_folder(place)
        found = {path.name: path for path in self._files()}
        notes: list[str] = []
        if FAST in found:
            size, marks = self._adopt_folder(found, job.out, notes)
        else:
            [model] = found.values()
            size, marks = self._adopt_model(model, job.out)
        told = ", ".join(f"{role} {token}" for role, token in marks.items()) or "none"
        return Made(
            facts={"pieces": size, "marks": marks, "bytes_per_token": {}},
            headline=[f"{size:,} pieces adopted; marks: {told}", *notes],
        )

    def _files(self) -> list[Path]:
        place = Path(self.path).expanduser()
        if place.is_file():
            return [place]
        names = (FAST, CONFIG, *BESIDE, MODEL)
        found = [place / name for name in names if (place / name).is_file()]
        if not found or found[0].name != FAST:
            found = [path for path in found if path.name == MODEL]
        if not found:
            raise NotFound(
                f"path: {self.path} is no SentencePiece model, no folder with {FAST} or {MODEL}",
                hint="name a .model file, or a folder as Hugging Face's tokenizers are saved in",
            )
        return found

    def _adopt_model(self, model: Path, out: Path) -> tuple[int, dict[str, int]]:
        from yoriai_corpus.tokenizers.huggingface import export_fast_tokenizer

        proto = vocabularies.read_model(model)
        vocabularies.write_model(proto, out / MODEL)
        try:
            export_fast_tokenizer(out / MODEL, out, max_length=self.context)
        except ValueError as error:
            raise UsageError(
                f"{model.name} cannot be written as a Hugging Face tokenizer: {error}",
                hint=f"name a folder that has its {FAST}",
            ) from error
        return len(proto.pieces), vocabularies.marks(proto)

    def _adopt_folder(
        self, found: Mapping[str, Path], out: Path, notes: list[str]
    ) -> tuple[int, dict[str, int]]:
        fast = _open(found[FAST])
        size = _size(fast)
        config: dict[str, Any] = {}
        if CONFIG in found:
            config = _mapping(found[CONFIG])
            if config.pop("auto_map", None):
                notes.append(f"{CONFIG} named code of its own (auto_map): left out")
        files.write_atomically(out / CONFIG, files.canonical_json(config))
        for name in (FAST, *BESIDE):
            if name in found:
                shutil.copyfile(found[name], out / name)
        if MODEL in found:
            if _pieces(found[MODEL]) == size:
                shutil.copyfile(found[MODEL], out / MODEL)
            else:
                notes.append(
                    f"{MODEL} has {_pieces(found[MODEL]):,} pieces, {FAST} {size:,}: it is left"
                    " out, and corpus/tokens, which encodes by it, cannot take this tokenizer"
                )
        marks = {}
        for role in ROLES:
            piece = config.get(f"{role}_token")
            piece = piece.get("content") if isinstance(piece, dict) else piece
            token = fast.token_to_id(piece) if isinstance(piece, str) else None
            if token is not None:
                marks[role] = int(token)
        return size, marks


def _open(path: Path) -> Any:
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # its own kind, raised from Rust
        raise Altered(f"{path} is no tokenizer: {str(error)[:200]}") from error


def _size(fast: Any) -> int:
    """One more than the largest id: ids may have gaps."""
    return 1 + max(fast.get_vocab(with_added_tokens=True).values(), default=-1)


def _pieces(model: Path) -> int:
    return len(vocabularies.read_model(model).pieces)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise Altered(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Altered(f"{path} holds no mapping")
    return value
