"""Running any Hugging Face folder of a causal LM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from yoriai import Backend, Generated, LanguageModel, NotFound, UsageError
from yoriai.artifact import check_folder
from yoriai.model_folder import AS_DATA, WEIGHTS, render, whole
from yoriai.model_folder import opening as opening_folder
from yoriai_eval.backends.answer_end import Ending, Limits
from yoriai_eval.backends.rules import (
    Conversation,
    Marks,
    ScoredSpan,
    Start,
    added,
    common_of_all,
    in_template,
    messages,
    no_number,
)

if TYPE_CHECKING:
    from yoriai_eval.backends.shared_prefix import CachedPrefix, CachedRows

# Continuations that show which pieces at the end of a prefix depend on what follows it, and how
# many pieces more are left out: a prompt whose pieces differ all the same is read whole.
FOLLOWING = ("", "a", "1", " ", "\n", "あ", "前提", "質問", "文章", "。")
MARGIN = 2
# Tokens of padding that a prompt may get, if that is more than a quarter of the longest beside it:
# padding costs as much as text, and reading in one piece more costs one more pass over the weights.
PADDING = 32
Ids = tuple[int, ...]
WINDOW = 1024  # tokens of a window of a text for a model that does not say its context


class HuggingFace(Backend):
    """``transformers``, on the GPU if there is one.

    What all prompts of a call begin with is encoded once; batches are sorted by length. Texts
    are those of a loop over single prompts, likelihoods are within 1e-4 of it in fp32.

    A text begins with what the tokenizer itself puts there (``start: auto``). Where that is
    nothing, the first piece of a text to be scored comes after the end mark, which training
    puts between documents.
    """

    version: ClassVar[str] = "2"
    batch: int = Field(16, ge=1, le=10**6, description="sequences at once")
    start: Start = Field(
        "auto", description="a start mark before each prompt: as the tokenizer does, always, never"
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32", description="of weights and arithmetic; auto: as the weights were stored"
    )
    prefix_reuse: bool = Field(True, description="encode what prompts have in common once")

    def open(self, folder: Path) -> LanguageModel:
        return _FolderModel(folder, self)


class _FolderModel:
    def __init__(self, folder: Path, backend: HuggingFace) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
        from transformers.utils import logging

        # Progress is shown by the step; texts longer than the context are cut into windows here.
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        self.name = str(folder)
        self.batch = backend.batch
        check_folder(Path(folder))
        options = _gguf(folder)
        with opening_folder(folder):
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, **AS_DATA, **options)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = "auto" if backend.precision == "auto" else getattr(torch, backend.precision)
        weights = AS_DATA if options else WEIGHTS  # GGUF is no pickle, and no safetensors
        with no_bars(), torch.inference_mode(), opening_folder(folder):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, **weights, **options
            )
            model = loaded if options else whole(loaded, folder)
            self.model = model.to(device).eval()
            if getattr(self.model.config, "quantization_config", None):
                # compressed-tensors unpacks the weights in the first pass, with bars of its own.
                self.model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=device))
        self.attention = str(self.model.config._attn_implementation)
        config = self.model.config.get_text_config(decoder=True)
        self.vocabulary = int(config.vocab_size)
        self.context = int(getattr(config, "max_position_embeddings", 0) or 0)
        named = [self.model.generation_config.eos_token_id, config.eos_token_id]
        self.ends = set(_ids_of(*named)) or set(_ids_of(self.tokenizer.eos_token_id))
        # Greedy, whatever the folder would have sampled, suppressed or penalised.
        self.model.generation_config = GenerationConfig()
        own = (self.tokenizer.eos_token_id, self.tokenizer.bos_token_id)
        # A folder may name its marks in its configuration alone.
        known = _ids_of(*own, config.eos_token_id, config.bos_token_id)
        opening = next(iter(_ids_of(self.tokenizer.bos_token_id)), None)
        lead = added(self.tokenizer)
        self.marks = Marks.of(lead, *known, start=backend.start, opening=opening)
        from yoriai_eval.backends.shared_prefix import Reader

        self.reader = Reader(self.model)
        self.prefix_reuse = backend.prefix_reuse and self.reader.fits(1)
        self._kept: tuple[tuple[str, Ids], CachedPrefix | None] | None = None

    def describe(self) -> dict[str, Any]:
        from transformers import __version__

        return {
            "backend": "hf",
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "start": self._named(self.marks.lead),
            "likelihood_start": self._named(self.marks.first),
            "context": self.context,
            "batch": self.batch,
            "attention": self.attention,
            "device": str(self.model.device.type),
            "prefix_reuse": self.prefix_reuse,
            "transformers": __version__,
        }

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(self.marks.prompt(ids)) for ids in self._ids(texts)]

    # --- likelihoods ------------------------------------------------------------------------

    def loglikelihood(self, pairs: Sequence[tuple[str, str]], *, prefix: str = "") -> list[float]:
        texts = list(dict.fromkeys(text for a, b in pairs for text in (a, a + b)))
        ids = dict(zip(texts, self._ids(texts), strict=True))
        # The last id is scored and not read, so there is room for one more.
        read = self.marks.spans(ids.__getitem__, pairs, self.context + 1 if self.context else 0)
        return self._score(read, prefix, self.marks.first if self.marks.always else ())

    def rolling_loglikelihood(self, texts: Sequence[str]) -> list[float]:
        read = [self.marks.windows(ids, self._window + 1) for ids in self._ids(texts)]
        scores = iter(self._score([span for found in read for span in found], "", ()))
        return [sum((next(scores) for _ in found), 0.0) for found in read]

    def _score(self, read: Sequence[ScoredSpan], prefix: str, mark: Ids) -> list[float]:
        """Log-likelihood of the ids of each span that count."""
        spans = [(list(s.ids[: s.first]), list(s.ids[s.first :])) for s in read]
        scores = [0.0] * len(spans)
        groups: dict[Ids, list[int]] = {}
        others = []
        for index, (given, wanted) in enumerate(spans):
            if wanted and self.reader.fits(len(given) + len(wanted)):
                groups.setdefault(tuple(given), []).append(index)
            elif wanted:
                others.append(index)
        for start, part in self._batches(groups, self._encoded(prefix, mark)):
            asked = [(row, i, spans[i][1]) for row, given in enumerate(part) for i in groups[given]]
            for index, value in self._score_group(start, part, asked):
                scores[index] = value
        if others:
            from yoriai_eval.backends import one_by_one

            chosen = [spans[i] for i in others]
            found = one_by_one.score(self.model, chosen, self.batch, self.vocabulary)
            for index, value in zip(others, found, strict=True):
                scores[index] = value
        return scores

    def _score_group(
        self,
        encoded: CachedPrefix | None,
        contexts: Sequence[Ids],
        asked: Sequence[tuple[int, int, list[int]]],
    ) -> Iterator[tuple[int, float]]:
        """(index, score) for (row of its context, index, ids that follow)."""
        import torch

        from yoriai_eval.backends.shared_prefix import likelihoods, score_after

        with torch.inference_mode():
            rows, logits = self._begin(encoded, contexts)
            totals = {}
            for row, index, wanted in asked:
                token = torch.tensor(wanted[0], device=logits.device)
                totals[index] = float(likelihoods(logits[row], token))
            longer = sorted((a for a in asked if len(a[2]) > 1), key=lambda a: -len(a[2]))
            for place in range(0, len(longer), self.batch):
                chosen = longer[place : place + self.batch]
                follow = rows.select([row for row, _, _ in chosen])
                found = score_after(follow, [ids for _, _, ids in chosen], self.vocabulary)
                for (_, index, _), value in zip(chosen, found, strict=True):
                    totals[index] += value
        yield from totals.items()

    # --- generation -------------------------------------------------------------------------

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        max_characters: int = 0,
        stop: Sequence[str] = (),
        prefix: str = "",
    ) -> list[Generated]:
        """Raises :class:`yoriai.UsageError` for a prompt that leaves no room for its answer.

        The room is ``max_new_tokens``, but never more than half of the context; an answer ends
        where the context is full. Text is what the answer adds to the decoded prompt. A text of
        exactly ``max_characters`` is whole; it is cut once there is more.
        """
        rows: list[Ids] = [tuple(self.marks.prompt(ids)) for ids in self._ids(prompts)]
        room = min(max_new_tokens, max(1, self.context // 2))
        for number, ids in enumerate(rows):
            if self.context and len(ids) + room > self.context:
                raise UsageError(
                    f"prompt {number} has {len(ids)} tokens; with {room} for the answer it does "
                    f"not fit into the model's context of {self.context}",
                    hint="show fewer examples, or ask for a shorter answer",
                )
        stops = tuple(text for text in stop if text)
        limits = Limits(frozenset(self.ends), max_new_tokens, max_characters, stops)
        endings = {ids: Ending(self.tokenizer, ids, limits, self.context) for ids in rows}
        here = [ids for ids in endings if self.reader.fits(len(ids) + max_new_tokens)]
        answers: dict[Ids, Generated] = {}
        for start, part in self._batches(here, self._encoded(prefix, self.marks.lead)):
            made = self._write(start, part, [endings[ids] for ids in part])
            answers |= zip(part, made, strict=True)
        if others := [ids for ids in endings if ids not in answers]:
            from yoriai_eval.backends import one_by_one

            last = [endings[ids] for ids in others]
            lists = [list(ids) for ids in others]
            pads = self.reader.attention_only
            made = one_by_one.write(self.model, lists, last, self.batch, pads, self.name)
            answers |= zip(others, made, strict=True)
        return [answers[ids] for ids in rows]

    def _write(
        self, encoded: CachedPrefix | None, prompts: Sequence[Ids], endings: Sequence[Ending]
    ) -> list[Generated]:
        """Greedy answers to one batch; a row that has ended is read no further."""
        import torch

        answers: dict[int, Generated] = {}
        made: list[list[int]] = [[] for _ in prompts]
        with torch.inference_mode():
            rows, logits = self._begin(encoded, prompts)
            going = list(range(len(prompts)))
            while True:
                if bool(logits.isnan().any()):
                    raise no_number(self.name)
                for row, token in zip(going, logits.argmax(-1).tolist(), strict=True):
                    made[row].append(token)
                    if (answer := endings[row].read(made[row])) is not None:
                        answers[row] = answer
                kept = [place for place, row in enumerate(going) if row not in answers]
                if not kept:
                    return [answers[row] for row in range(len(prompts))]
                if len(kept) < len(going):
                    going, rows = [going[place] for place in kept], rows.select(kept)
                logits = rows.feed([made[row][-1:] for row in going], keep=1)[:, 0]

    def render(self, instruction: str, text: str) -> str:
        content = f"{instruction}\n{text}" if text else instruction
        if not self.tokenizer.chat_template:
            return content + "\n"
        return self._apply(messages([("user", content)]))

    def chat(self, conversations: Sequence[Conversation]) -> list[str]:
        if not self.tokenizer.chat_template:
            return []
        return [in_template(self._apply, turns) for turns in conversations]

    def _apply(self, told: list[dict[str, str]]) -> str:
        def made() -> str:
            text: str = self.tokenizer.apply_chat_template(
                told, tokenize=False, add_generation_prompt=True
            )
            return text

        return str(render(made, self.name))

    # --- ids --------------------------------------------------------------------------------

    @property
    def _window(self) -> int:
        return self.context or WINDOW

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def _named(self, ids: Sequence[int]) -> str:
        return "".join(self.tokenizer.convert_ids_to_tokens(list(ids))) if ids else ""

    def _encoded(self, prefix: str, mark: Ids) -> CachedPrefix | None:
        """The start of a prefix whose pieces do not depend on what follows; kept for next time.

        It depends on the prefix and the mark alone, so answers do not depend on other prompts.
        """
        if not prefix or not self.prefix_reuse:
            return None
        key = (prefix, mark)
        if self._kept is None or self._kept[0] != key:
            import torch

            versions = self._ids([prefix + following for following in FOLLOWING])
            stable = common_of_all(versions)
            ids = [*mark, *versions[0][: max(0, stable - MARGIN)]]
            if mark and tuple(versions[0][: len(mark)]) == mark:
                ids = ids[len(mark) :]
            encoded = None
            if ids and self.reader.fits(len(ids)) and len(ids) < self._window:
                with torch.inference_mode():
                    encoded = self.reader.encode(ids)
            self._kept = (key, encoded)
        return self._kept[1]

    def _batches(
        self, rows: Sequence[Ids] | dict[Ids, Any], encoded: CachedPrefix | None
    ) -> Iterator[tuple[CachedPrefix | None, list[Ids]]]:
        """Rows with what is encoded of them, long ones first."""
        on_top = [ids for ids in rows if encoded is not None and encoded.begins(ids)]
        whole = [ids for ids in rows if encoded is None or not encoded.begins(ids)]
        for start, members in ((encoded, on_top), (None, whole)):
            members.sort(key=lambda ids: (-len(ids), ids))
            for place in range(0, len(members), self.batch):
                yield start, members[place : place + self.batch]

    def _begin(self, encoded: CachedPrefix | None, rows: Sequence[Ids]) -> tuple[CachedRows, Any]:
        """The rows read, and the logits (rows, vocabulary) of what comes next.

        Rows of about one length are read at once; then all of them go on together.
        """
        import torch

        from yoriai_eval.backends.shared_prefix import join

        known = len(encoded.ids) if encoded else 0
        pieces: list[list[Ids]] = []
        for ids in rows:
            longest = len(pieces[-1][0]) - known if pieces else 0
            if not pieces or longest + known - len(ids) > max(PADDING, longest // 4):
                pieces.append([])
            pieces[-1].append(ids)
        read, logits = [], []
        for piece in pieces:
            read.append(self.reader.begin(encoded, len(piece)))
            logits.append(read[-1].feed([ids[known:] for ids in piece], keep=1)[:, 0])
        return join(read), torch.cat(logits)


def _ids_of(*values: Any) -> list[int]:
    """The ids among some ids, lists of ids and None."""
    flat = [i for v in values for i in (v if isinstance(v, list | tuple) else [v])]
    return [i for i in flat if isinstance(i, int)]


def _gguf(folder: Path) -> dict[str, str]:
    """How to open a folder that holds one GGUF file and no configuration."""
    found = sorted(Path(folder).glob("*.gguf"))
    if len(found) != 1 or (Path(folder) / "config.json").exists():
        return {}
    missing = [name for name in ("gguf", "accelerate") if find_spec(name) is None]
    if missing:
        raise NotFound(
            f"{found[0].name} needs {' and '.join(missing)}",
            hint=f"pip install {' '.join(missing)}",
        )
    return {"gguf_file": found[0].name}


@contextmanager
def no_bars() -> Iterator[None]:
    """Let nobody draw a tqdm bar meanwhile.

    compressed-tensors draws them while it opens and unpacks a model, and transformers gives no
    way to its switch; tqdm reads its own (``TQDM_DISABLE``) only when it is imported.
    """
    from tqdm.std import tqdm

    former = tqdm.__init__

    def disabled(bar: Any, *arguments: Any, **options: Any) -> None:
        former(bar, *arguments, **{**options, "disable": True})

    tqdm.__init__ = disabled
    try:
        yield
    finally:
        tqdm.__init__ = former
