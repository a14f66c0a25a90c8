"""A causal language model of a Hugging Face folder, read token by token. Imports torch.

What stands before a text, and how a folder is opened, is that of ``eval/hf``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yoriai import UsageError
from yoriai.artifact import check_folder
from yoriai.model_folder import AS_DATA, WEIGHTS, opening, whole
from yoriai_eval.backends.huggingface import no_bars
from yoriai_eval.backends.rules import Marks, added

LOGITS = 2**25  # numbers of fp32 in one block of logits: 128 MB


@dataclass(frozen=True, slots=True)
class OpenedFolder:
    """A model and its tokenizer; ``first`` is what stands before a text that is scored."""

    model: Any
    tokenizer: Any
    first: tuple[int, ...]
    context: int
    vocabulary: int

    def encode(self, text: str) -> list[int]:
        """The ids of a text after its start mark."""
        ids = self.tokenizer.encode(text, add_special_tokens=False, verbose=False)
        return [*self.first, *ids]

    def has_tokens(self, text: str, count: int) -> bool:
        """Whether a text has ``count`` ids with its start mark; of a long one the beginning tells.

        A token is rarely longer than eight characters; where the beginning is not enough, all is.
        """
        beginning = text[: 8 * count]
        if len(self.encode(beginning)) >= count:
            return True
        return len(beginning) < len(text) and len(self.encode(text)) >= count

    def encode_each(self, texts: Iterable[str], tokens: int) -> list[list[int]]:
        """The first ``tokens`` ids of each text, without texts of fewer than two.

        Raises :class:`UsageError` where no text has two.
        """
        limit = min(tokens, self.context or tokens)
        encoded = [ids for text in texts if len(ids := self.encode(text)[:limit]) > 1]
        if not encoded:
            raise UsageError("no text has two tokens", hint="name others: texts: [...]")
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))


def open_folder(folder: Path, *, tokenizer: Path | None = None) -> OpenedFolder:
    """Open a folder in fp32, never its code; a checkpoint without a tokenizer takes another's."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    check_folder(folder)
    with opening(folder), no_bars():
        home = tokenizer if tokenizer is not None else folder
        pieces: Any = AutoTokenizer.from_pretrained(home, **AS_DATA)
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **WEIGHTS)
    model = whole(loaded, folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = model.config.get_text_config(decoder=True)
    ends = (pieces.eos_token_id, pieces.bos_token_id, config.eos_token_id, config.bos_token_id)
    known = [mark for mark in ends if isinstance(mark, int)]
    return OpenedFolder(
        model.to(device).eval(),
        pieces,
        Marks.of(added(pieces), *known).first,
        int(getattr(config, "max_position_embeddings", 0) or 0),
        int(config.vocab_size),
    )


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Of each id after the first of a sequence, given those before it.

    ``logp`` its natural-log probability; ``mean`` and ``deviation`` of log p under the model's own
    distribution there (Min-K%++); ``best`` the id that greedy decoding would take.
    """

    logp: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor
    best: torch.Tensor


def batches(
    sequences: Sequence[Sequence[int]], vocabulary: int, most: int = 64
) -> Iterator[list[int]]:
    """Numbers of sequences that are read together: like lengths, and logits that fit."""
    order = sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), i))
    while order:
        width = max(1, len(sequences[order[0]]))
        count = max(1, min(most, LOGITS // (width * max(1, vocabulary))))
        yield order[:count]
        order = order[count:]


def token_scores(model: Any, sequences: Sequence[Sequence[int]]) -> list[TokenScores]:
    """The scores of all sequences, in their order; each is read once, in batches."""
    found: list[TokenScores | None] = [None] * len(sequences)
    vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
    with torch.inference_mode():
        for chosen in batches(sequences, vocabulary):
            longest = max(len(sequences[i]) for i in chosen)
            rows = [[*sequences[i], *[0] * (longest - len(sequences[i]))] for i in chosen]
            ids = torch.tensor(rows, device=model.device)
            # Padding is on the right, where a causal model does not see it.
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits.float()
            for row, index in enumerate(chosen):
                length = len(sequences[index]) - 1
                logp = logits[row, :length].log_softmax(-1)
                probability = logp.exp()
                mean = (probability * logp).sum(-1)
                square = (probability * logp.square()).sum(-1)
                target = ids[row, 1 : length + 1]
                found[index] = TokenScores(
                    logp.gather(-1, target[:, None])[:, 0].cpu(),
                    mean.cpu(),
                    (square - mean.square()).clamp_min(0).sqrt().cpu(),
                    logp.argmax(-1).cpu(),
                )
    return [scores for scores in found if scores is not None]


def write_greedily(model: Any, prefixes: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """``count`` ids after each prefix, the likeliest each time; no mark ends one.

    Prefixes of one length go together, so that nothing is padded.
    """
    found: dict[int, list[int]] = {}
    groups: dict[int, list[int]] = {}
    for index, prefix in enumerate(prefixes):
        groups.setdefault(len(prefix), []).append(index)
    vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
    with torch.inference_mode():
        for length, numbers in sorted(groups.items()):
            size = max(1, min(256, LOGITS // (length * vocabulary)))
            for start in range(0, len(numbers), size):
                chosen = numbers[start : start + size]
                ids = torch.tensor([list(prefixes[i]) for i in chosen], device=model.device)
                state, made = None, []
                for _ in range(count):
                    told = model(input_ids=ids, past_key_values=state, use_cache=True)
                    state = told.past_key_values
                    ids = told.logits[:, -1].argmax(-1, keepdim=True)
                    made.append(ids)
                rows = torch.cat(made, 1).tolist() if made else [[] for _ in chosen]
                found |= dict(zip(chosen, rows, strict=True))
    return [found[i] for i in range(len(prefixes))]
