"""How a Hugging Face folder that somebody else made is opened: as data, never as code.

Core imports no library that reads models; these are the options and the refusal that every call of
``from_pretrained`` in the project shares. With ``trust_remote_code=False`` transformers refuses a
folder that needs its own code; left out, it asks on a terminal, and *y* runs the code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yoriai.errors import Refused, YoriaiError

# Configurations and tokenizers; and weights, which are never pickles.
AS_DATA: dict[str, Any] = {"trust_remote_code": False}
WEIGHTS: dict[str, Any] = {"trust_remote_code": False, "use_safetensors": True}
LONGEST = 300  # characters of a library's message that are shown


@contextmanager
def opening(folder: Path | str) -> Iterator[None]:
    """Turn whatever a library raises over a folder into one refusal; raises :class:`Refused`.

    Our own errors, a package that is missing and a lack of memory pass as they are.
    """
    try:
        yield
    except (YoriaiError, ImportError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        words = said[:LONGEST] + ("…" if len(said) > LONGEST else "") or type(error).__name__
        if "trust_remote_code" in said or "custom code" in said:
            words = "it asks to run code of its own, which is never done"
        raise Refused(
            f"{folder} is refused as a model: {words}",
            hint="use a folder of safetensors and a kind that transformers knows; of an artifact:"
            f" yoriai verify {folder}",
        ) from error
