"""Names and facts of what does not exist, drawn from a seed.

The same seed gives the same names on every machine. That nothing in the world has a name drawn
here is likely, not proven: a name is four to six kana in an order that is drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

KANA = (
    "アイウエオカキクケコサシスセソタチツテトナニヌネノマミムメモ"
    "ラリルレロガギグゲゴザジズゼゾダデドバビブベボ"
)
FAMILY = "田川村山野原沢島崎森林池橋岡津浜"
GIVEN = "一二三正和明光清静信義仁千春秋夏"
PRODUCTS = ("蕎麦", "林檎", "和紙", "漆器", "味噌", "絹織物", "鉄瓶", "葡萄", "陶器", "茶")
ANIMALS = ("白鷺", "雉", "山猫", "狐", "亀", "鹿", "梟", "兎", "狸", "鶴")
Draw = random.Random


def drawn(*words: object) -> Draw:
    """A source of chance of its own for each purpose."""
    return random.Random("\n".join(map(str, words)))


def name(draw: Draw) -> str:
    """A name of four to six kana, no two in a row the same."""
    made = draw.choice(KANA)
    for _ in range(draw.randrange(3, 6)):
        made += draw.choice([kana for kana in KANA if kana != made[-1]])
    return made


def person(draw: Draw) -> str:
    """A full name in kanji."""
    return "".join(draw.sample(FAMILY, 2)) + "".join(draw.sample(GIVEN, 2))


# What a text says of a village, what is asked for it, and its value.
FACTS: Mapping[str, tuple[str, str, Callable[[Draw], str]]] = {
    "year": (
        "村ができたのは{value}です。", "{place}村ができたのは何年ですか。",
        lambda draw: f"{draw.randrange(1601, 1990)}年",
    ),
    "mayor": ("いまの村長は{value}です。", "{place}村の村長は誰ですか。", person),
    "product": (
        "名産は{value}です。", "{place}村の名産は何ですか。", lambda draw: draw.choice(PRODUCTS),
    ),
    "animal": (
        "村の印には{value}が描かれています。", "{place}村の印に描かれている動物は何ですか。",
        lambda draw: draw.choice(ANIMALS),
    ),
    "river": (
        "村の中を{value}川が流れています。", "{place}村を流れる川の名前は何ですか。", name,
    ),
    "people": (
        "住んでいるのは{value}です。", "{place}村には何人が住んでいますか。",
        lambda draw: f"{draw.randrange(211, 4999)}人",
    ),
}  # fmt: skip
