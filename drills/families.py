"""Models of every kind that transformers knows: accepted with equal loss and gradients, or refused.

Each trial asks the gate of training (``yoriai_train.model.gate``) about one kind of causal model,
with the configuration that transformers gives it by default, plain and with ``boundaries``. What
must hold: an answer, or a refusal that names the kind; no other error.
"""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

SECONDS = 120


def drill(folder: Path, trials: int, seed: int) -> tuple[Counter[str], list[str]]:  # noqa: ARG001
    """Ask about ``trials`` kinds, in an order that ``seed`` decides; all, if there are fewer."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kinds = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    random.Random(seed).shuffle(kinds)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for kind in kinds[:trials]:
        if (body := _default(kind)) is None:
            counts["kinds without a default configuration"] += 1
            continue
        for boundaries in (False, True):
            way = "packed" if boundaries else "plain"
            said, sound = _ask(kind, body, boundaries)
            counts[f"{way}: {said if sound else 'another error'}"] += 1
            if not sound:
                faults.append(f"{kind}, {way}: {said}")
    return counts, faults


def _default(kind: str) -> dict[str, Any] | None:
    from transformers import AutoConfig

    try:
        return {**AutoConfig.for_model(kind).to_dict(), "model_type": kind}
    except Exception:
        return None


def _ask(kind: str, body: dict[str, Any], boundaries: bool) -> tuple[str, bool]:
    from yoriai import UsageError
    from yoriai_train.model.gate import choose_head

    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(SECONDS)
    try:
        way = choose_head(body, boundaries=boundaries)
    except UsageError as refused:
        return "refused by name", kind in refused.message
    except TimeoutError:
        return f"no answer in {SECONDS} s", True
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200], False
    finally:
        signal.alarm(0)
    return ("accepted" if way == "chunked" else "accepted, by its own logits"), True


def _out_of_time(_number: int, _frame: object) -> None:
    raise TimeoutError
