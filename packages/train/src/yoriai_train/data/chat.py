"""Conversations as token ids: those that the exported tokenizer's ``apply_chat_template`` gives.

Which tokens are learned is told from the characters that the chat template writes for an answer.
Special tokens that the *template* writes are whole; those that a *text* of the conversation spells
are text. ``transformers`` does both if ``split_special_tokens`` is off and it is called with
``sanitize_control_tokens=True``: it marks special tokens in the messages, renders them, and encodes
what was marked as plain text (``tokenization_utils_base.py``, ``_mark_chat_inputs``;
``utils/chat_template_utils.py``, ``encode_marked_chat``). It tells no places of tokens for that
case, so the same is done here with places, and every example is compared with what it gives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yoriai import Turn, UsageError, files
from yoriai.model_folder import AS_DATA, opening, render

Learn = Literal["all", "last"]

# The marks of transformers (utils/chat_template_utils.py, _CONTROL_TOKEN_START and _END): private
# use, and taken out of every message.
_OPEN, _CLOSE = "\U000f0000", "\U000f0001"
_PROBE = "ab 寄合 {} cd"


class WrittenAnew(UsageError):
    """The template writes earlier turns otherwise once another follows (it takes thoughts out)."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Ids of a conversation and, of each, whether it is learned.

    ``straddling`` counts answers that begin inside a token: it is masked, as a model that is asked
    never has to say it.
    """

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    straddling: int = 0

    def spans(self) -> list[list[int]]:
        """Runs of tokens that are learned, as [first, stop]."""
        edges = [0, *(int(one) for one in self.learned), 0]
        changes = [i for i in range(len(edges) - 1) if edges[i] != edges[i + 1]]
        return [list(pair) for pair in zip(changes[::2], changes[1::2], strict=True)]


class ChatForm:
    """The chat template and the tokenizer of a model, whose folder is called ``name``."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        if not tokenizer.chat_template:
            raise UsageError(f"{name} has no chat template, so it cannot be tuned on chats")
        if not tokenizer.is_fast:
            raise UsageError(
                f"{name}: its tokenizer does not say where its tokens stand in a text",
                hint="convert it to a tokenizer.json with transformers",
            )
        self.tokenizer = tokenizer
        self.name = name
        tokenizer.model_max_length = 10**9  # what does not fit is counted by who asks
        # What the template writes of them is a token, whatever else the folder says.
        tokenizer.split_special_tokens = False
        template = tokenizer.get_chat_template(None, None)
        added = tokenizer.added_tokens_decoder.items()
        self.special = {i for i, t in added if t.special}
        words = [t.content for i, t in added if i in self.special or _stands_in(t, template)]
        self.controls = {i for i, t in added if t.content in set(words)}
        either = "|".join(map(re.escape, sorted(words, key=len, reverse=True))) or "(?!)"
        every = sorted(tokenizer.added_tokens_encoder, key=len, reverse=True)
        marked = "|".join(map(re.escape, every)) or "(?!)"
        self._words = re.compile(either)
        self._marked = re.compile(f"{_OPEN}({marked}){_CLOSE}|[{_OPEN}{_CLOSE}]")
        self._newline = tokenizer.encode("\n", add_special_tokens=False)

    @classmethod
    def read(cls, folder: Path, name: str = "") -> ChatForm:
        """The chat form of a model's folder; raises UsageError where it has none."""
        from transformers import AutoTokenizer

        with opening(folder):
            tokenizer = AutoTokenizer.from_pretrained(folder, **AS_DATA)
        return cls(tokenizer, name or str(folder))

    def check(self) -> None:
        """Compare with ``transformers`` on conversations made for it; refuse what cannot be tuned.

        Asked once, before anything is trained: has the template a part for answers, does it end
        them, and does a special token that a user spells stay text?
        """
        plain = _PROBE.format("")
        turns = [Turn("user", plain), Turn("assistant", plain + "1")]
        counts = self._count_controls(self.encode(turns).ids)
        for word in sorted(self.tokenizer.all_special_tokens):
            said = _PROBE.format(word)
            spelled = [Turn("user", said), Turn("assistant", said + "1")]
            if self._count_controls(self.encode(spelled).ids) != counts:
                raise UsageError(f"{self.name}: {word} in a user's text becomes a special token")

    def check_rows(self, rows: int) -> None:
        """Refuse a tokenizer with more pieces than its model has embedding ``rows``."""
        highest = max(self.tokenizer.get_vocab().values())
        if highest >= rows:
            raise UsageError(
                f"{self.name}: its tokenizer has {highest + 1:,} pieces, its embedding {rows:,}"
                " rows",
                hint="put the tokenizer beside the model that it was trained with",
            )

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """What a model is given to answer the last turn."""
        ids, _ = self._tokens(self.render(turns, asked=True))
        self._compare(ids, turns, asked=True)
        return ids

    def encode(self, turns: Sequence[Turn], learn: Learn = "all") -> Encoded:
        """A conversation, with its answers learned, or the last one.

        An answer is what the template writes after the prompt for it, up to and with the last
        special token, which ends the turn. Raises :class:`UsageError` where the template leaves
        a turn out or ends no answer, :class:`WrittenAnew` where a conversation must be learned
        answer by answer.
        """
        whole = self.render(turns)
        answers = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
        if learn == "last":
            answers = answers[-1:]
        ids, ends = self._tokens(whole)
        self._compare(ids, turns)
        begins = [0, *ends[:-1]]
        marks = [False] * len(ids)
        straddling = 0
        for place in (place for place in answers if turns[place].learned):
            first, stop = self._answer(turns, place, whole)
            inside = [n for n, begin in enumerate(begins) if first <= begin < stop]
            controls = [n for n in inside if ids[n] in self.controls]
            if not controls:
                raise UsageError(
                    f"the chat template of {self.name} writes no special token after an answer,"
                    " so a model could not be taught to end",
                    hint="let it write {{ eos_token }} after the content of an assistant's turn",
                )
            straddling += any(b < first < e for b, e in zip(begins, ends, strict=True))
            for n in range(inside[0], controls[-1] + 1):
                marks[n] = True
        return Encoded(tuple(ids), tuple(marks), straddling)

    def ends(self, encoded: Encoded) -> set[int]:
        """The special tokens with which what is learned ends."""
        return {encoded.ids[stop - 1] for _, stop in encoded.spans()}

    def render(self, turns: Sequence[Turn], *, asked: bool = False) -> str:
        """The text that the template makes, with special tokens of the turns marked."""
        from jinja2.exceptions import TemplateError

        messages = [{"role": turn.role, "content": self._mark(turn.text)} for turn in turns]
        try:
            text = str(
                render(
                    lambda: self.tokenizer.apply_chat_template(
                        messages, tokenize=False, add_generation_prompt=asked
                    ),
                    self.name,
                )
            )
        except TemplateError as error:
            raise UsageError(
                f"the chat template of {self.name} refuses a conversation: {error}",
                hint="correct chat_template.jinja, or chat_template in tokenizer_config.json",
            ) from error
        for turn, message in zip(turns, messages, strict=True):
            # What was said before an answer may be shortened by taking its thoughts out.
            if turn.role != "assistant" and message["content"].strip() not in text:
                raise UsageError(
                    f"the chat template leaves out a {turn.role} turn: {turn.text[:60]!r}",
                    hint="take these turns out of the data, or use a model whose template has them",
                )
        return text

    def _answer(self, turns: Sequence[Turn], place: int, whole: str) -> tuple[int, int]:
        """Where in ``whole`` the answer that is turn ``place`` begins and ends."""
        prompt = self.render(turns[:place], asked=True)
        last = place == len(turns) - 1
        text = whole if last else self.render(turns[: place + 1])
        if not whole.startswith(text) or not text.startswith(prompt):
            if len([t for t in turns if t.role == "assistant"]) > 1:
                raise WrittenAnew(f"{self.name} writes earlier turns anew when another follows")
            raise UsageError(
                f"the chat template of {self.name} writes an answer otherwise than it asks for one",
                hint="what it writes with add_generation_prompt must begin what it writes with"
                " the answer",
            )
        if self._mark(turns[place].text).strip() not in text[len(prompt) :]:
            raise UsageError(
                f"the chat template of {self.name} leaves out what the assistant says",
                hint="let it write message['content'] where message['role'] is 'assistant'",
            )
        return len(prompt), len(text)

    def _mark(self, text: str) -> str:
        if _OPEN in text or _CLOSE in text:
            raise UsageError(
                "a text holds U+F0000 or U+F0001, which transformers takes out of messages",
                hint="take these private characters out of the data",
            )
        return self._words.sub(lambda found: f"{_OPEN}{found[0]}{_CLOSE}", text)

    def _tokens(self, text: str) -> tuple[list[int], list[int]]:
        """Ids of a rendered text, and where in it each token ends.

        A token begins where the one before it ends: some tokenizers leave spaces out of the
        places that they tell.
        """
        ids: list[int] = []
        ends: list[int] = []
        at = 0
        for found in [*self._marked.finditer(text), None]:
            stop = found.start() if found else len(text)
            self._add(text[at:stop], at, False, ids, ends)
            if found:
                if found[1]:
                    self._add(found[1], found.start(1), True, ids, ends)
                at = found.end()
        return ids, ends

    def _add(self, piece: str, at: int, as_text: bool, ids: list[int], ends: list[int]) -> None:
        if not piece:
            return
        # Later pieces are encoded after a newline, as tokenizers may put a space before a text.
        lead = self._newline if at else []
        made = self._encode("\n" * bool(at) + piece, as_text)
        if made["input_ids"][: len(lead)] != lead:
            lead, made = [], self._encode(piece, as_text)
        shift = at - bool(lead)
        last = ends[-1] if ends else 0
        tokens = zip(made["input_ids"], made["offset_mapping"], strict=True)
        for token, (_, end) in list(tokens)[len(lead) :]:
            ids.append(token)
            last = max(last, end + shift)
            ends.append(last)

    def _encode(self, text: str, as_text: bool) -> Any:
        return self.tokenizer(
            text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            split_special_tokens=as_text,
        )

    def _compare(self, ids: list[int], turns: Sequence[Turn], *, asked: bool = False) -> None:
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        options = {"add_generation_prompt": asked, "return_dict": False}
        try:
            given = render(
                lambda: self.tokenizer.apply_chat_template(
                    messages, sanitize_control_tokens=True, **options
                ),
                self.name,
            )
        except ValueError as error:
            raise UsageError(
                f"{self.name}: a special token in a text cannot be kept text: {error}",
                hint="give these pieces scores or merges by which no text makes them",
            ) from error
        if ids != given:
            raise UsageError(
                f"{self.name}: a conversation has other tokens than apply_chat_template gives:"
                f" {turns[-1].text[:60]!r}",
                hint="transformers of another version? The tested ones are in constraints.txt",
            )

    def _count_controls(self, ids: Sequence[int]) -> int:
        return sum(token in self.special for token in ids)


def _stands_in(token: Any, template: str) -> bool:
    """Whether an added token is a control token because the template writes it out.

    The rule of transformers (``_get_control_tokens``) without ``chat_control_tokens``, but that it
    looks at the literals of the template only; where that differs, ids do, and are refused.
    """
    return token.content in template and not token.content.isspace()


def write_ends(folder: Path, ends: set[int]) -> None:
    """Let the folder of a tuned model encode chats as it was tuned, and end where it was taught.

    ``split_special_tokens`` is off, and ``eos_token_id`` of generation_config.json holds the
    tokens that end a turn, before those that it had.
    """
    path = folder / "tokenizer_config.json"
    config = {**json.loads(path.read_bytes()), "split_special_tokens": False}
    files.write_atomically(path, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    path = folder / "generation_config.json"
    config = json.loads(path.read_bytes()) if path.is_file() else {}
    had = config.get("eos_token_id")
    old = had if isinstance(had, list) else [] if had is None else [had]
    all_ends = [*sorted(ends), *(end for end in old if end not in ends)]
    config["eos_token_id"] = all_ends if len(all_ends) > 1 else all_ends[0]
    files.write_atomically(path, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
