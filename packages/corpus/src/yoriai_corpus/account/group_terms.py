"""Which groups of people a text names, by lists of words; and the same text with groups swapped.

The list is data: ``group-terms-ja.yaml`` beside this file, or one of your own in its form. A word
is found wherever its characters stand, the longest one first (so 彼女 is no 彼, and 大丈夫, which
is ``ignored``, is no 夫); Latin words are found as whole words, in either case. That is exact and
anybody can repeat it, and it does not know what a word means where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from yoriai import UsageError, safe_yaml
from yoriai.strict import Strict

OWN_FILE = Path(__file__).with_name("group-terms-ja.yaml")
_SENTENCE_END = re.compile(r"[。．！？!?\n]+")
_LATIN = re.compile(r"[A-Za-z0-9]")


class GroupTerms(Strict):
    """The words of groups, by category and group, and of what may be said of them."""

    language: str = Field(description="of the words; documents in others are not read")
    groups: dict[str, dict[str, list[str]]] = Field(
        min_length=1, description="by category: by group: its words"
    )
    attributes: dict[str, list[str]] = Field({}, description="by name: its words")
    ignored: list[str] = Field([], description="longer words that name no group")
    swaps: list[tuple[str, str]] = Field([], description="words that change places in a swap")

    @pydantic.model_validator(mode="after")
    def _is_usable(self) -> GroupTerms:
        words = [w for group in self.all_groups().values() for w in group]
        said = [w for known in self.attributes.values() for w in known]
        if not all(w.strip() for w in (*words, *said, *self.ignored)):
            raise ValueError("a word is empty")
        for word in words:
            if words.count(word) > 1:
                raise ValueError(f"{word} stands in two groups")
        sides = [word for pair in self.swaps for word in pair]
        for word in sides:
            if sides.count(word) > 1:
                raise ValueError(f"{word} is swapped twice")
        return self

    def all_groups(self) -> dict[str, list[str]]:
        """The words of each ``category/group``."""
        return {
            f"{category}/{name}": words
            for category, groups in self.groups.items()
            for name, words in groups.items()
        }


def read_terms(path: Path = OWN_FILE) -> GroupTerms:
    """A list of words from YAML; raises :class:`yoriai.UsageError` that names what is wrong."""
    try:
        return GroupTerms.model_validate(safe_yaml.read(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path.name}: {place or 'the list'}: {first['msg']}",
            hint="groups: {gender: {women: [女性], men: [男性]}}",
        ) from error


class TermFinder:
    """Finds words in texts: names of what they stand for, in order of place."""

    def __init__(self, words: Mapping[str, Iterable[str]], ignored: Iterable[str] = ()) -> None:
        self._names: dict[str, tuple[str, ...]] = {}
        for name, known in words.items():
            for word in known:
                key = word.casefold()
                self._names[key] = (*self._names.get(key, ()), name)
        for word in ignored:
            self._names.setdefault(word.casefold(), ())
        self._pattern = _pattern(self._names)

    def find(self, text: str) -> Iterator[tuple[int, str]]:
        """(place, name) of each word; words do not overlap, the longest at a place is taken."""
        for match in self._pattern.finditer(text):
            for name in self._names[match[0].casefold()]:
                yield match.start(), name

    def names_in(self, text: str) -> set[str]:
        return {name for _, name in self.find(text)}


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    longest = sorted(words, key=lambda word: (-len(word), word))
    parts = [
        rf"(?<![A-Za-z0-9]){re.escape(w)}(?![A-Za-z0-9])" if _LATIN.search(w) else re.escape(w)
        for w in longest
    ]
    return re.compile("|".join(parts) or r"(?!)", re.IGNORECASE)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, without their ends; a line ends one."""
    yield from filter(None, (part.strip() for part in _SENTENCE_END.split(text)))


def swapper(terms: GroupTerms) -> Callable[[str], str]:
    """A function that puts, all at once, each swapped word in the place of the other.

    Twice applied it gives back the text. Words in ``ignored`` and longer words of the groups stay.
    """
    other = {a.casefold(): b for pair in terms.swaps for a, b in (pair, pair[::-1])}
    kept = [w for words in terms.all_groups().values() for w in words]
    words = dict.fromkeys([*other, *(w.casefold() for w in (*kept, *terms.ignored))])
    pattern = _pattern(words)

    def swap(text: str) -> str:
        return pattern.sub(lambda match: other.get(match[0].casefold(), match[0]), text)

    return swap


def by_terms(terms: GroupTerms) -> Callable[[Mapping[str, Any]], list[str]]:
    """The groups that a document names, for the audit."""
    finder = TermFinder(terms.all_groups(), terms.ignored)
    return lambda row: sorted(finder.names_in(row["text"]))
