"""Texts that are planted so that one knows what there is to find. No torch here."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

COPIES = (1, 4, 16, 64)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SUBJECTS = ("the cat", "a dog", "my friend", "the old man", "a bird", "the child", "our team")
VERBS = ("sees", "finds", "likes", "wants", "takes", "leaves", "draws", "keeps")
THINGS = ("a tree", "the house", "some bread", "a red ball", "the river", "a small stone", "rain")
WHEN = ("today", "at night", "in spring", "again", "with care", "after work")


@dataclass(frozen=True, slots=True)
class Canary:
    """A text that says nothing, how often it was planted, and never elsewhere."""

    text: str
    copies: int


def plant(each: int, seed: int, length: int = 24, copies: Sequence[int] = COPIES) -> list[Canary]:
    """``each`` canaries for every number of copies, and as many that are not planted (0 copies)."""
    chance = random.Random(seed)
    made = []
    for count in (0, *copies):
        for _ in range(each):
            made.append(Canary("".join(chance.choice(LETTERS) for _ in range(length)), count))
    return made


def background(count: int, seed: int) -> list[str]:
    """Plain sentences of a few words, by which a model learns something that is no canary."""
    chance = random.Random(seed)
    return [
        " ".join((chance.choice(SUBJECTS), chance.choice(VERBS), chance.choice(THINGS),
                  chance.choice(WHEN)))
        for _ in range(count)
    ]  # fmt: skip
