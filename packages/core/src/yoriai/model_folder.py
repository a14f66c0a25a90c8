"""How a Hugging Face folder that somebody else made is opened: as data, never as code.

Core imports no library that reads models; these are the options and the refusal that every call of
``from_pretrained`` in the project shares. With ``trust_remote_code=False`` transformers refuses a
folder that needs its own code; left out, it asks on a terminal, and *y* runs the code.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

from yoriai import foreign_code
from yoriai.errors import Refused, YoriaiError, is_failure

# Configurations and tokenizers; and weights, which are never pickles.
AS_DATA: dict[str, Any] = {"trust_remote_code": False}
# With "output_loading_info" a pair comes back, which :func:`whole` takes.
WEIGHTS: dict[str, Any] = {
    "trust_remote_code": False, "use_safetensors": True, "output_loading_info": True
}  # fmt: skip
LONGEST = 300  # characters of a library's message that are shown

# The largest language models that were published have some hundred layers, some hundred thousand
# pieces and a width of some ten thousand. A library builds as many layers as it is told.
MOST_LAYERS = 10_000
MOST_OF_A_SIZE = 10**9
MOST_BYTES = 16 * 2**20  # of a config.json
MOST_INDEX_BYTES = 64 * 2**20  # some 100 a tensor; the largest models have 150,000
MOST_TOKENIZER_BYTES = 64 * 2**20  # the largest have some 35
MOST_GROWTH = 100.0  # of a text by the rules of a tokenizer; those of published ones: below 10
MOST_VALUES = 50_000  # in it: a library looks at each, at some thousand a second
# What is built one by one, and labels, which stand in a list.
_LAYERS = re.compile(r"\w*(layers?|blocks|experts|labels)|depth")
# What the project itself reads of a configuration, and computes with.
_WHOLE = re.compile(
    r"vocab_size|hidden_size|n_embd|max_position_embeddings|n_positions|n_layers?|n_head"
    r"|num_(hidden_)?layers|num_attention_heads"
)
_SIZE = re.compile(r"n_(embd|head|inner|positions)|\w*_(size|dim|heads|experts|embeddings)|d_\w+")
# transformers takes a name with a slash as a kernel: code, fetched from the Hub and run.
_KERNEL = re.compile(r"\w*(attn|attention|experts)_implementation\w*|use_kernels|kernel_config")
INDEX = "model.safetensors.index.json"

RENDER_SECONDS = 10.0
RENDER_BYTES = 2**30


@contextmanager
def opening(folder: Path | str) -> Iterator[None]:
    """Turn whatever a library raises over a folder into one refusal; raises :class:`Refused`.

    Before, the folder is looked at by :func:`check`. Our own errors, a lack of memory and a package
    that is not there at all pass as they are; one that the folder asks for is a refusal.
    """
    check(Path(folder))
    try:
        yield
    except (YoriaiError, ModuleNotFoundError, MemoryError):
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        said = " ".join(str(error).split())
        words = said[:LONGEST] + ("…" if len(said) > LONGEST else "") or type(error).__name__
        if "trust_remote_code" in said or "custom code" in said:
            words = "it asks to run code of its own, which is never done"
        raise Refused(
            f"{folder} is refused as a model: {words}",
            hint="use a folder of safetensors and a kind that transformers knows; of an artifact:"
            f" yoriai verify {folder}",
        ) from error


def whole(loaded: Any, folder: Path | str) -> Any:
    """The model of a loaded pair, refused if its weights are not all from the folder.

    transformers draws weights that a folder lacks at random, with a warning; such a model would be
    scored and sealed as if it were the maker's. Quantised layers have other names, and are left to
    the library that reads them. Raises :class:`Refused`.
    """
    model, told = loaded
    lacking = sorted(map(str, [*told["missing_keys"], *told.get("mismatched_keys", ())]))
    if lacking and getattr(model.config, "quantization_config", None) is None:
        raise Refused(
            f"{folder} is refused as a model: of the weights that its configuration asks for"
            f" {len(lacking):,} are not there, or of another shape, such as {lacking[0][:80]}",
            hint=f"copy the folder again; of an artifact: yoriai verify {folder}",
        )
    return model


def check(folder: Path) -> None:
    """Refuse a folder whose configuration would run code, never end, or read elsewhere.

    No library is asked. The folder holds files, folders and links to what lies in it (or beside
    it, as the cache of the Hub keeps them), no pipes and no devices. ``config.json`` names no
    kernel of the Hub and no number beyond any model, and ``model.safetensors.index.json`` names
    safetensors inside the folder only. What is no model folder, or is none that can be read, is
    left to whoever opens it. Raises :class:`Refused`.
    """
    _check_entries(folder)
    config = read_mapping(folder / "config.json")
    if problem := _first_problem(config):
        raise Refused(f"{folder} is refused as a model: config.json {problem}", hint=_OTHER)
    for key, value in config.items():
        if _WHOLE.fullmatch(key) and value is not None and (type(value) is not int or value < 1):
            raise Refused(
                f"{folder} is refused as a model: config.json says {key}: {ascii(value)[:80]},"
                " where a whole number from 1 on stands",
                hint=_OTHER,
            )
    index = read_mapping(folder / INDEX)
    if index and not index.get("weight_map"):
        raise Refused(f"{folder / INDEX} cannot be read: no weight_map", hint=_OTHER)
    weights = index.get("weight_map", {})
    for name in weights.values() if isinstance(weights, dict) else [None]:
        if not _is_text(name) or Path(name).name != name or name.startswith("."):
            raise Refused(
                f"{folder} is refused as a model: {INDEX} names {ascii(name)[:80]},"
                " which is no file of the folder",
                hint=_OTHER,
            )
        if not name.endswith(".safetensors"):
            raise Refused(
                f"{folder} is refused as a model: {INDEX} names {name[:80]!r}, no safetensors",
                hint=_OTHER,
            )

    _check_tokenizer(folder / "tokenizer.json")


_OTHER = "use a folder as transformers saves it: model.save_pretrained(folder)"


def read_mapping(path: Path) -> dict[str, Any]:
    """What a small JSON file of a folder holds, or nothing; raises :class:`Refused`."""
    if not path.is_file():
        return {}
    try:
        most = MOST_INDEX_BYTES if path.name == INDEX else MOST_BYTES
        with path.open("rb") as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise ValueError(f"more than {most:,} bytes")
        value = json.loads(data)
        if not isinstance(value, dict):
            raise ValueError("no mapping")
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(
            f"{path} cannot be read: {str(error)[:LONGEST]}", hint=f"yoriai verify {path.parent}"
        ) from error
    return value


def _check_tokenizer(path: Path) -> None:
    """Refuse rules under which a text grows beyond all memory; they are run for whole texts."""
    if not path.is_file():
        return
    state = path.stat()
    if state.st_size > MOST_TOKENIZER_BYTES:
        raise Refused(f"{path} has more than {MOST_TOKENIZER_BYTES:,} bytes", hint=_OTHER)
    growth = _growth_of_texts(path, state.st_size, state.st_mtime_ns, state.st_ino)
    if growth > MOST_GROWTH:
        raise Refused(
            f"{path} is refused: its rules may make a text {growth:.3g} times as long",
            hint="use a tokenizer that replaces characters by few others",
        )


@functools.lru_cache(maxsize=64)
def _growth_of_texts(path: Path, *_state: int) -> float:
    """How much longer normalizer and pre-tokenizer may make a text, one step after the other."""
    try:
        value = json.loads(path.read_bytes())
        left = [value.get("normalizer"), value.get("pre_tokenizer")]
    except (OSError, ValueError, AttributeError, RecursionError):  # left to the library
        return 1.0
    growth = 1.0
    while left:
        step = left.pop()
        left += step.values() if isinstance(step, dict) else step if isinstance(step, list) else ()
        if not isinstance(step, dict):
            continue
        text = step.get("content", step.get("prepend"))
        if isinstance(text, str):
            growth *= max(1, len(text))
        elif step.get("type") in ("ByteLevel", "Precompiled"):
            growth *= 2  # a byte beyond ASCII is two; a map of characters gives a few for one
        growth = min(growth, 1e300)
    return growth


def _is_text(value: Any) -> TypeGuard[str]:
    """Whether it can be written as UTF-8: no lone surrogates, as of names that are no text."""
    return isinstance(value, str) and value == value.encode(errors="ignore").decode()


def _check_entries(folder: Path) -> None:
    """Refuse links that lead outside, which would be copied and published, and what never ends."""
    try:
        with os.scandir(folder) as entries:
            odd = sorted(entry.name for entry in entries if not _is_plain(entry))
            if wrong := [name for name in os.listdir(folder) if not _is_text(name)]:
                raise Refused(
                    f"{folder} is refused as a model: {ascii(wrong[0])[:80]} is a name of a file"
                    " that is no text",
                    hint="rename it",
                )
    except OSError:  # no folder, or none that can be read: whoever opens it says so
        return
    home = folder.resolve()
    for name in odd:
        path = folder / name
        there = Path(os.path.realpath(path))  # resolve() fails at links in a circle (Python < 3.13)
        inside = there.is_relative_to(home) or (
            home.parent.name == "snapshots" and there.parent == home.parent.parent / "blobs"
        )
        if not (path.is_symlink() and inside and (there.is_file() or there.is_dir())):
            what = "is a link that leads outside or nowhere" if path.is_symlink() else "is no file"
            raise Refused(
                f"{folder} is refused as a model: {name[:80]} {what}",
                hint=f"rm {path}, or {_OTHER}",
            )


def _is_plain(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)


def _first_problem(config: dict[str, Any]) -> str:
    found = itertools.islice(_values(config, ""), MOST_VALUES + 1)
    try:
        for place, one in enumerate(found):
            if place == MOST_VALUES:
                return f"has more than {MOST_VALUES:,} values"
            if problem := _problem(one):
                return problem
    except RecursionError:
        return "is nested without end"
    return ""


def _values(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Each single value of a configuration with its key; nested parts (``text_config``) count too.

    A kernel may be named for each part of a model: what stands under its key is one, too.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _values(item, key if _KERNEL.fullmatch(key) else name)
    elif isinstance(value, list):
        for item in value:
            yield from _values(item, key)
    else:
        yield key, value


def _problem(one: tuple[str, Any]) -> str:
    """What must not be, in words, or nothing."""
    key, value = one
    if _KERNEL.fullmatch(key):
        if value is True or "/" in str(value):
            return f"asks for code of the Hub ({key}: {str(value)[:80]})"
    elif value != value:
        return f"says {key}: NaN"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        most = MOST_LAYERS if _LAYERS.fullmatch(key) else MOST_OF_A_SIZE
        if (_LAYERS.fullmatch(key) or _SIZE.fullmatch(key)) and not -1 <= value <= most:
            return f"says {key}: {str(value)[:80]}, which no model has"
    return ""


def render(template: Callable[[], Any], name: str) -> Any:
    """What a model's chat template makes: a program of its maker's, in a sandbox, and bounded.

    The sandbox of Jinja keeps it from the interpreter, not from loops and long texts; so it has
    :data:`RENDER_SECONDS` and :data:`RENDER_BYTES`. Errors of Jinja and ``ValueError`` pass as they
    are; anything else is a refusal. Raises :class:`Refused`.
    """
    try:
        with _memory(RENDER_BYTES):
            return foreign_code.within(
                template, RENDER_SECONDS, f"the chat template of {name}", waits=False
            )
    except foreign_code.TookTooLong:
        why = f"did not end within {RENDER_SECONDS:g} seconds"
    except MemoryError:
        why = f"asks for more than {RENDER_BYTES:,} bytes"
    except RecursionError:
        why = "calls itself without end"
    except (YoriaiError, ValueError):
        raise
    except Exception as error:
        if type(error).__module__.startswith("jinja2"):
            raise
        why = f"fails: {type(error).__name__}: {str(error)[:LONGEST]}"
    raise Refused(
        f"the chat template of {name} {why}",
        hint="look at its chat_template.jinja or tokenizer_config.json, or use another model",
    )


@contextmanager
def _memory(more: int) -> Iterator[None]:
    """Let this process have so many bytes more than it has, and put the limit back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        with open("/proc/self/statm", "rb") as stream:
            has = int(stream.read().split()[0]) * resource.getpagesize()
    except OSError:  # no Linux: only the time is bounded
        yield
        return
    limits = [has + more, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
