"""Kinds of Japanese text that filters tend to misjudge, and how they are recognised.

Filters are tuned on running prose. What is written otherwise for good reasons (a law, a poem, a
table, a picture book) has other ratios and line lengths, and is dropped more often; so are
texts that must name an illness or a minority. The detectors are few lines each on purpose:
they only have to pick out documents of which most belong to the register, and anyone can read
what they pick. A document may be in several registers, or in none.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_HIRAGANA = re.compile(r"[ぁ-ゖゝゞ]+")
_KATAKANA = re.compile(r"[ァ-ヺー]+")
_HAN = re.compile(r"[々〇㐀-䶿一-鿿豈-﫿]+")
_LATIN_WORD = re.compile(r"[A-Za-z]{2,}")
_NUMBER = re.compile(r"[0-9０-９]+(?:[.,，．:/][0-9０-９]+)*")

_ARTICLE = re.compile(r"第[0-9０-９一二三四五六七八九十百千]+[条項編章節款]")
_SPEAKER = re.compile(
    r"^\s*(?:「|『|>>\s*\d|＞＞|\d+\s*[:：]\s*\S|[^\s「」:：。、0-9.]{1,10}\s*(?:「|[:：]\s*\S))"
)
_CELLS = re.compile(r"\t|\||｜|　{2,}| {3,}|[,，](?!\s)")

# Words of our own choosing; four different ones make a text medical, two of the next a text
# about a minority. Short on purpose: they are to be specific, not complete.
_MEDICAL = (
    "症状", "患者", "投与", "診断", "治療", "副作用", "処方", "服用", "疾患", "臨床", "手術",
    "検査", "感染", "炎症", "腫瘍", "血圧", "発症", "医師", "病院", "薬剤", "ワクチン", "妊娠",
    "がん検診",
)  # fmt: skip
_MINORITIES = (
    "LGBT", "性的少数者", "性的マイノリティ", "同性愛", "同性婚", "トランスジェンダー",
    "レズビアン", "バイセクシュアル", "部落差別", "被差別部落", "同和", "アイヌ", "在日コリアン",
    "在日韓国", "在日朝鮮", "琉球民族", "障害者差別", "ハンセン病", "ヘイトスピーチ", "難民",
)  # fmt: skip
_END = r"(?=[。、！？!?…〜～ー\s」』）)]|$)"
_DIALECT = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        # Kansai
        rf"(?:や|やっ)(?:ねん|で|ろ|わ|な){_END}",
        rf"[かさたなまらわけせてねべめれえ]へん(?:で|か|わ|な|ねん|かった)?{_END}",
        rf"ねん{_END}",
        *(r"あかん", r"ほんま", r"おおきに", r"せや[なけろ]", r"しゃあない", r"めっちゃ"),
        *(r"なんぼ", r"おもろ", r"どない"),
        # Kyushu and Chugoku
        rf"(?:ばい|とよ|けん|じゃろ|じゃけん|のう){_END}",
        r"よか(?=[。、とばね])",
        *(r"なんばしよ", r"ほいじゃ", r"しとる", r"わしゃ", r"ばってん"),
        # Tohoku, Hokkaido, Nagoya
        rf"(?:だべ|っぺ|べさ|けろ|っしょ|がや|だぎゃ|みゃあ){_END}",
        *(r"なまら", r"おら(?:の|は|も|が)", r"んだども", r"だっちゃ", r"どえりゃ", r"んだべ"),
    )
)


def law(text: str) -> bool:
    """Articles: at least three marks such as 第三条, and one in 400 characters."""
    marks = len(_ARTICLE.findall(text))
    return marks >= 3 and marks * 400 >= len(text)


def poetry(text: str) -> bool:
    """Verse: four lines or more, nine tenths of them with at most 20 characters and with kana.

    Without numbers, Latin words and lines said twice (as menus have them), and with a full
    stop at the end of at most a fifth of the lines.
    """
    rows = _lines(text)
    if len(rows) < 4 or len(set(rows)) < 0.8 * len(rows):
        return False
    short = sum(len(row) <= 20 and bool(_HIRAGANA.search(row)) for row in rows)
    stops = sum(row.endswith(("。", "．")) for row in rows)
    plain = not _NUMBER.search(text) and not _LATIN_WORD.search(text) and "「" not in text
    return plain and short >= 0.9 * len(rows) and stops <= 0.2 * len(rows)


def table(text: str) -> bool:
    """Rows and columns: in half of at least three lines, two cell marks, or three numbers."""
    rows = _lines(text, strip=False)
    if len(rows) < 3:
        return False
    cells = sum(
        (len(_CELLS.findall(row.strip())) >= 2 and "。" not in row)
        or len(_NUMBER.findall(row)) >= 3
        for row in rows
    )
    return cells >= 0.5 * len(rows)


def medical(text: str) -> bool:
    """Medicine: four different words of a list of 23 (症状, 投与 …), and one in 300 characters."""
    counts = [text.count(word) for word in _MEDICAL]
    return sum(map(bool, counts)) >= 4 and sum(counts) * 300 >= len(text)


def minorities(text: str) -> bool:
    """Minorities: two different words of a list of 20, or one thrice; one in 500 characters."""
    counts = [text.count(word) for word in _MINORITIES]
    named = sum(map(bool, counts)) >= 2 or max(counts) >= 3
    return named and sum(counts) * 500 >= len(text)


def dialogue(text: str) -> bool:
    """Talk: half of four lines or more begin with a quotation, a speaker, a number or ``>>``."""
    rows = _lines(text)
    if len(rows) < 4 or not _HIRAGANA.search(text):
        return False
    return sum(map(bool, map(_SPEAKER.match, rows))) >= 0.5 * len(rows)


def code_mixed(text: str) -> bool:
    """Japanese with much Latin: five words or more, 20 to 70 % of the letters, and kana."""
    words = _LATIN_WORD.findall(text)
    if len(words) < 5 or not _HIRAGANA.search(text):
        return False
    latin = sum(map(len, words))
    return 0.2 <= latin / (latin + _japanese(text)) <= 0.7


def children(text: str) -> bool:
    """For small children: 40 hiragana or more, 85 % of all letters, and at most 3 % kanji."""
    hiragana, han = _count(_HIRAGANA, text), _count(_HAN, text)
    if hiragana < 40 or han > 0.03 * len(text):
        return False
    letters = _japanese(text) + sum(map(len, _LATIN_WORD.findall(text)))
    return hiragana >= 0.85 * letters and han <= 0.03 * letters


def dialect(text: str) -> bool:
    """A dialect: three different marks of a list (やねん, ばい, だべ …), one in 150 letters."""
    marks = sum(bool(pattern.search(text)) for pattern in _DIALECT)
    return marks >= 3 and marks * 150 >= _japanese(text)


def _lines(text: str, *, strip: bool = True) -> list[str]:
    return [line.strip() if strip else line for line in text.splitlines() if line.strip()]


def _japanese(text: str) -> int:
    return sum(_count(kind, text) for kind in (_HIRAGANA, _KATAKANA, _HAN))


def _count(kind: re.Pattern[str], text: str) -> int:
    """Characters of a kind, found run by run."""
    return sum(map(len, kind.findall(text)))


REGISTERS: dict[str, Callable[[str], bool]] = {
    "law": law,
    "poetry": poetry,
    "table": table,
    "medical": medical,
    "minorities": minorities,
    "dialogue": dialogue,
    "code-mixed": code_mixed,
    "children": children,
    "dialect": dialect,
}


def detect(text: str) -> list[str]:
    """The registers a text belongs to, in the order of :data:`REGISTERS`."""
    return [name for name, is_one in REGISTERS.items() if is_one(text)]
