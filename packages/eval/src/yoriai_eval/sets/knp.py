"""Reading the KNP format, in which Kyoto University annotates Japanese texts.

Format: ku-nlp/KWDLC and ku-nlp/WikipediaAnnotatedCorpus, README.md. A sentence is a line
``# S-ID:...``, phrases (``* 2D``), base phrases in them (``+ 3D <rel .../><NE:...>``), morphemes
(``surface reading lemma part-of-speech ...``), and ``EOS``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Not the morphemes "*", "+" and "#", whose lines begin with the same characters.
_UNIT = re.compile(r"([*+]) (-?\d+)[A-Z](?: (.*))?$")
_SENTENCE = re.compile(r"# S-ID:(\S+)")
_RELATION = re.compile(r"<rel ([^>]*)/>")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_ENTITY = re.compile(r"<NE:([A-Z]+):([^>]+)>")
_EDGES = ("助詞", "特殊")  # left out at the end of a mention


@dataclass(slots=True)
class Relation:
    """A case or a coreference; ``sentence`` is empty for what the text does not name."""

    type: str
    target: str
    mode: str
    sentence: str
    place: int


@dataclass(slots=True)
class Base:
    """A base phrase: morphemes as (surface, reading, part of speech)."""

    sentence: str
    place: int
    morphemes: list[tuple[str, str, str]] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    entities: list[tuple[str, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(surface for surface, _, _ in self.morphemes)

    @property
    def mention(self) -> str:
        """The text without marks around it and particles behind it."""
        kept = list(self.morphemes)
        while kept and kept[-1][2] in _EDGES:
            kept.pop()
        while kept and kept[0][2] == "特殊":
            kept.pop(0)
        return "".join(surface for surface, _, _ in kept) or self.text


@dataclass(slots=True)
class Sentence:
    """Base phrases, and phrases as (number of the head or -1, base phrases)."""

    id: str
    bases: list[Base] = field(default_factory=list)
    phrases: list[tuple[int, list[Base]]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(base.text for base in self.bases)


def read(text: str) -> list[Sentence]:
    """The sentences of a document; raises ValueError for a line of no known form."""
    sentences: list[Sentence] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line == "EOS":
            continue
        if line.startswith("# ") and (found := _SENTENCE.match(line)):
            sentences.append(Sentence(found[1]))
            continue
        now = sentences[-1] if sentences else None
        if now is None:
            raise ValueError(f"line {number} stands before the first sentence: {line!r}")
        if unit := _UNIT.match(line):
            if unit[1] == "*":
                now.phrases.append((int(unit[2]), []))
                continue
            base = Base(now.id, len(now.bases))
            base.relations = list(_relations(unit[3] or ""))
            base.entities = _ENTITY.findall(unit[3] or "")
            now.bases.append(base)
            if now.phrases:
                now.phrases[-1][1].append(base)
            continue
        parts = line.split(" ")
        if len(parts) < 4 or not now.bases:
            raise ValueError(f"line {number} is no morpheme: {line!r}")
        now.bases[-1].morphemes.append((parts[0], parts[1], parts[3]))
    return sentences


def _relations(features: str) -> Iterator[Relation]:
    for inside in _RELATION.findall(features):
        told = dict(_ATTRIBUTE.findall(inside))
        yield Relation(
            told.get("type", ""),
            told.get("target", ""),
            told.get("mode", ""),
            told.get("sid", ""),
            int(told.get("id", -1)),
        )


# --- what the five tasks ask --------------------------------------------------------------

NONE = "なし"
ENTITIES = {
    "ORGANIZATION": "組織名",
    "PERSON": "人名",
    "LOCATION": "地名",
    "ARTIFACT": "固有物名",
    "DATE": "日付表現",
    "TIME": "時刻表現",
    "MONEY": "金額表現",
    "PERCENT": "割合表現",
}
CASES = ("ガ", "ヲ", "ニ", "ガ２")


def reading(document: list[Sentence]) -> str:
    """The whole text in hiragana; of two readings the first."""
    return "".join(
        sound.split("/")[0] or surface
        for sentence in document
        for base in sentence.bases
        for surface, sound, _ in base.morphemes
    )


def entities(document: list[Sentence]) -> str:
    """Lines ``name(type)`` in their order, each once; without OPTIONAL."""
    lines = [
        f"{name}({ENTITIES[kind]})"
        for sentence in document
        for base in sentence.bases
        for kind, name in base.entities
        if kind in ENTITIES
    ]
    return _lines(lines)


def dependencies(document: list[Sentence]) -> str:
    """Lines ``phrase -> head``."""
    lines = []
    for sentence in document:
        texts = ["".join(base.text for base in bases) for _, bases in sentence.phrases]
        for text, (head, _) in zip(texts, sentence.phrases, strict=True):
            if 0 <= head < len(texts):
                lines.append(f"{text} -> {texts[head]}")
    return _lines(lines)


def arguments(document: list[Sentence]) -> str:
    """Lines ``predicate ガ:argument ヲ:argument``; of what the text itself names.

    Relations that are only possible (other modes than AND) are left out.
    """
    lines = []
    for sentence in document:
        for base in sentence.bases:
            found = [
                f"{relation.type}:{relation.target}"
                for case in CASES
                for relation in base.relations
                if relation.type == case and relation.sentence and relation.mode in ("", "AND")
            ]
            if found:
                lines.append(" ".join([base.mention, *dict.fromkeys(found)]))
    return _lines(lines)


def chains(document: list[Sentence]) -> str:
    """Lines ``mention = mention``: what refers to the same, each wording once."""
    known = {(b.sentence, b.place): b for s in document for b in s.bases}
    parent = {key: key for key in known}

    def root(key: tuple[str, int]) -> tuple[str, int]:
        while parent[key] != key:
            key = parent[key]
        return key

    for key, base in known.items():
        for relation in base.relations:
            other = (relation.sentence, relation.place)
            if relation.type == "=" and relation.mode in ("", "AND") and other in known:
                one, two = sorted((root(key), root(other)), key=list(known).index)
                parent[two] = one
    groups: dict[tuple[str, int], list[str]] = {}
    for key, base in known.items():
        groups.setdefault(root(key), []).append(base.mention)
    told = [list(dict.fromkeys(mentions)) for mentions in groups.values()]
    return _lines([" = ".join(mentions) for mentions in told if len(mentions) > 1])


def _lines(lines: list[str]) -> str:
    return "\n".join(dict.fromkeys(lines)) or NONE
