"""Hugging Face folders read and written a tensor at a time.

A model may be larger than memory, so no function here holds more than one tensor: a folder is an
index of names (:class:`Weights`), and :func:`write_weights` is told of every tensor in advance,
writes the header and then asks for one tensor after the other. The bytes are those that
``safetensors.torch.save_file`` gives for the same tensors.

Format: https://huggingface.co/docs/safetensors (8 bytes length, JSON header, raw data). Only
safetensors are read: a pickle may run code.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoriai import NotFound, Refused, UsageError, files, safetensors_header
from yoriai.model_folder import check

if TYPE_CHECKING:
    import torch

FILE_BYTES = 5_000_000_000  # the usual size of the Hub's files (huggingface_hub: MAX_SHARD_SIZE)
INDEX = "model.safetensors.index.json"
COPIED = (
    "tokenizer*", "*.model", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "chat_template*", "generation_config.json", "LICENSE*", "NOTICE*",
)  # fmt: skip
# Name in a safetensors header, name in torch, bytes. In the order in which safetensors sorts
# dtypes (enum Dtype of its Rust source): files are written with the last first.
DTYPES = (
    ("BOOL", "bool", 1),
    ("U8", "uint8", 1),
    ("I8", "int8", 1),
    ("F8_E5M2", "float8_e5m2", 1),
    ("F8_E4M3", "float8_e4m3fn", 1),
    ("I16", "int16", 2),
    ("U16", "uint16", 2),
    ("F16", "float16", 2),
    ("BF16", "bfloat16", 2),
    ("I32", "int32", 4),
    ("U32", "uint32", 4),
    ("F32", "float32", 4),
    ("F64", "float64", 8),
    ("I64", "int64", 8),
    ("U64", "uint64", 8),
)
_TORCH = {name: torch for name, torch, _ in DTYPES}
_STORED = {torch: name for name, torch, _ in DTYPES}
_SIZE = {torch: size for _, torch, size in DTYPES}
_RANK = {torch: rank for rank, (_, torch, _) in enumerate(DTYPES)}


@dataclass(frozen=True, slots=True)
class Outline:
    """A tensor without its numbers: ``dtype`` is torch's name for it."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.numel * _SIZE[self.dtype]


class Weights:
    """The weights of a Hugging Face folder: outlines at once, numbers when asked.

    Raises :class:`yoriai.NotFound` or :class:`yoriai.UsageError` for a folder that is no model, is
    quantised already, or whose index names a file outside the folder.
    """

    def __init__(self, folder: Path, *, quantised: bool = False) -> None:
        self.folder = Path(folder)
        self.config = read_config(self.folder)
        if "quantization_config" in self.config and not quantised:
            raise UsageError(
                f"{self.folder.name} is quantised already: start from the full weights",
                hint="name the step before the quantisation under 'from'",
            )
        self.files = weight_files(self.folder)
        self.outlines: dict[str, Outline] = {}
        self._places: dict[str, Path] = {}
        for path in self.files:
            for name, outline in read_header(path).items():
                if name in self._places:
                    raise UsageError(f"{self.folder.name}: {name} lies in two files")
                self.outlines[name], self._places[name] = outline, path

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    @property
    def parameters(self) -> int:
        return sum(outline.numel for outline in self.outlines.values())

    def read(self, name: str) -> torch.Tensor:
        """One tensor, on the CPU, in its stored dtype.

        The file is opened for it alone: pages that were read count as held while it is open.
        Raises :class:`yoriai.UsageError` for one that is not there, and :class:`yoriai.Refused`
        for one that holds NaN or infinity: what is made of it would be NaN, too.
        """
        from safetensors import safe_open

        if name not in self._places:
            raise UsageError(
                f"{self.folder.name} has no tensor {name}: is it a plain full model?",
                hint="save it with transformers: model.save_pretrained(folder)",
            )
        with safe_open(self._places[name], framework="pt") as held:
            tensor: torch.Tensor = held.get_tensor(name)
        if not _is_finite(tensor):
            raise Refused(
                f"{self.folder.name}: {name[:80]} in {self._places[name].name} holds numbers that"
                " are not finite",
                hint=f"copy the file again; of an artifact: yoriai verify {self.folder}",
            )
        return tensor


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether no number is NaN or infinite, in one pass without a copy (float8 but for that)."""
    import torch

    if not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = torch.aminmax(tensor.to(torch.float16) if tensor.element_size() == 1 else tensor)
    return bool(torch.isfinite(low) and torch.isfinite(high))  # both are NaN where one number is


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model folder."""
    check(folder)
    path = folder / "config.json"
    if not path.is_file():
        raise NotFound(
            f"{folder} has no config.json: give a Hugging Face model folder",
            hint="a model step's artifact is one, e.g. build/tour/base@1",
        )
    config: dict[str, Any] = json.loads(path.read_bytes())
    return config


def vocabulary_size(weights: Weights) -> int:
    """Rows of the embedding as ``config.json`` says; raises :class:`yoriai.UsageError`."""
    size = weights.config.get("vocab_size")
    if size is None:
        raise UsageError(
            f"config.json of {weights.folder.name} says no vocab_size: no plain language model",
            hint="use the folder of a model that reads and writes text alone",
        )
    return int(size)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write ``config.json``, the same bytes for the same configuration."""
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    files.write_atomically(folder / "config.json", text.encode())


def copy_companions(source: Path, target: Path) -> None:
    """Copy what belongs to a model beside its weights: tokenizer, template, licence."""
    for pattern in COPIED:
        for path in sorted(source.glob(pattern)):
            if path.is_file() and path.suffix != ".safetensors":
                shutil.copyfile(path, target / path.name)


def read_header(path: Path) -> dict[str, Outline]:
    """Name and outline of every tensor in a safetensors file, from its header alone.

    Raises :class:`yoriai.Refused` for one that is false, or has a dtype that PyTorch has not.
    """
    found = {}
    for name, place in safetensors_header.read_header(path).items():
        if place.dtype not in _TORCH:
            raise Refused(
                f"{path.name}: {name[:80]} has the dtype {place.dtype[:40]!r}, which is not read",
                hint="save the model with transformers in float32, bfloat16 or float16",
            )
        found[name] = outline = Outline(_TORCH[place.dtype], place.shape)
        if outline.bytes != place.stop - place.first:
            raise Refused(
                f"{path.name}: {name[:80]} is {str(list(place.shape))[:80]} of {place.dtype}, which"
                f" is not the {place.stop - place.first:,} bytes that it has",
                hint="copy the file again",
            )
    return found


def write_weights(
    folder: Path,
    outlines: Mapping[str, Outline],
    produce: Callable[[str], torch.Tensor],
    *,
    file_bytes: int = FILE_BYTES,
) -> int:
    """Write tensors as ``model.safetensors``, or as several files and their index; their bytes.

    ``produce`` gives each tensor when its turn comes; it is asked for each name once, in the order
    of the files (see :func:`plan_files`), and what it gave is forgotten before it is asked again.
    Raises ``ValueError`` if a tensor is not as its outline said, and :class:`yoriai.YoriaiError`
    on a full disk; files are renamed into place when they are whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = plan_files(outlines, file_bytes)
    written = 0
    for number, names in enumerate(plan, 1):
        several = f"-{number:05d}-of-{len(plan):05d}" if len(plan) > 1 else ""
        path = folder / f"model{several}.safetensors"
        written += _write_file(path, {name: outlines[name] for name in names}, produce)
    if len(plan) > 1:
        index = {
            "metadata": {"total_size": sum(o.bytes for o in outlines.values())},
            "weight_map": {
                name: f"model-{number:05d}-of-{len(plan):05d}.safetensors"
                for number, names in enumerate(plan, 1)
                for name in names
            },
        }
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        files.write_atomically(folder / INDEX, text.encode())
    return written


def plan_files(outlines: Mapping[str, Outline], file_bytes: int = FILE_BYTES) -> list[list[str]]:
    """Names by file: tensors in order of name until a file is full, each file as it is sorted."""
    plan: list[list[str]] = []
    size = 0
    for name in sorted(outlines):
        if not plan or size + outlines[name].bytes > file_bytes:
            plan.append([])
            size = 0
        plan[-1].append(name)
        size += outlines[name].bytes
    return [sorted(names, key=lambda n: (-_RANK[outlines[n].dtype], n)) for names in plan]


def _write_file(
    path: Path, outlines: Mapping[str, Outline], produce: Callable[[str], torch.Tensor]
) -> int:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, outline in outlines.items():
        places = [end, end + outline.bytes]
        header[name] = {
            "dtype": _STORED[outline.dtype], "shape": list(outline.shape), "data_offsets": places
        }  # fmt: skip
        end += outline.bytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            for name, outline in outlines.items():
                tensor = produce(name)
                if (found := outline_of(tensor)) != outline:
                    raise ValueError(f"{name} is {found}, announced was {outline}")
                stream.write(memoryview(_bytes_of(tensor)))
                del tensor
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise files.disk_error(path, error) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path.stat().st_size


def outline_of(tensor: torch.Tensor) -> Outline:
    return Outline(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


def check_same_shapes(folders: Sequence[Weights], names: Sequence[str]) -> None:
    """Refuse models whose tensors differ in name or shape; the first difference is told.

    Raises :class:`yoriai.UsageError`.
    """
    first = folders[0]
    for other, name in zip(folders[1:], names[1:], strict=True):
        for tensor in sorted({*first.outlines, *other.outlines}):
            one, two = first.outlines.get(tensor), other.outlines.get(tensor)
            if one is None or two is None:
                lacking = names[0] if one is None else name
                raise UsageError(
                    f"{lacking} has no {tensor}: {names[0]} and {name} are of different shapes",
                    hint="merge models that were trained from one base",
                )
            if one.shape != two.shape:
                raise UsageError(
                    f"{tensor} is {list(one.shape)} in {names[0]} and {list(two.shape)} in {name}",
                    hint="merge models of one shape and one vocabulary"
                    " (domain-adapt/vocab extends a vocabulary)",
                )


def save_folder(
    source: Weights,
    target: Path,
    change: Callable[[str, torch.Tensor], torch.Tensor],
    *,
    drop: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> int:
    """Write a folder whose tensors are ``change``d ones of the same outline; the bytes written."""
    gone, names = set(drop), dict(rename or {})
    old = {names.get(name, name): name for name in source.outlines if name not in gone}
    outlines = {new: source.outlines[name] for new, name in old.items()}
    target.mkdir(parents=True, exist_ok=True)
    written = write_weights(
        target, outlines, lambda new: change(old[new], source.read(old[new])).contiguous()
    )
    copy_companions(source.folder, target)
    write_config(target, config if config is not None else source.config)
    return written


def _bytes_of(tensor: torch.Tensor) -> Any:
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()


def weight_files(folder: Path) -> list[Path]:
    check(folder)
    if (folder / INDEX).is_file():
        told = json.loads((folder / INDEX).read_bytes())
        names = sorted(set(told["weight_map"].values()))
        if missing := [n for n in names if not (folder / n).is_file()]:
            raise NotFound(f"{folder.name} lacks {missing[0]}", hint="copy the folder again")
        return [folder / name for name in names]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    raise NotFound(
        f"{folder} has no model.safetensors: run model.save_pretrained(folder)",
        hint="pickled weights (.bin) are not read: they can run code",
    )
