"""Registers are recognised on texts written for this, and not on running prose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai_corpus.account.registers import REGISTERS, detect

LAW = """第一条　この規程は、図書室の利用について必要な事項を定めることを目的とする。
第二条　図書室を利用しようとする者は、係員に申し出なければならない。
２　前項の申出は、書面をもってするものとする。
第三条　係員は、前条第二項の書面を受理したときは、利用証を交付する。
第四条　第一条の目的に反する利用は、これを認めない。"""
POEM = """ゆうぐれの　坂をのぼると
だれもいない　庭があって
風だけが　門をたたく

わすれたものは
そこにおいてゆけ
影がそう　ささやいた"""
TABLE = """駅名\t距離\t開業
東\t1.2\t1931
西\t3.4\t1932
南\t5.8\t1940"""
FIGURES = """気温の記録
1月 4.5 9.8 0.9
2月 5.1 10.4 1.3
3月 8.2 13.6 4.0"""
MEDICAL = """この薬剤は、高い血圧の患者に一日一回投与します。
まれに副作用として発疹が出ることがあり、
症状が続くときは医師の診断を受けてください。妊娠中の服用は避けます。"""
MINORITIES = """アイヌの人々の言葉は、長いあいだ学校で教えられませんでした。
アイヌの文化を伝える催しが開かれ、
アイヌの歌が披露されました。"""
DIALOGUE = """「おはよう」と彼は言った。
「今日は早いね」
彼女はうなずいた。
「電車が空いていたから」
「それはよかった」"""
BBS = """1: 名無し 新しい店どうだった？
2: 名無し 並んだけどおいしかったよ
3: 名無し >>2 何分くらい？
4: 名無し 三十分くらいかな"""
MIXED = """Python の venv を作って pip install すると、site-packages に入ります。
PATH が通っていない shell では activate を忘れずに。Windows の PowerShell でも同じです。"""
CHILDREN = """あるひ、くまさんは もりへ いきました。
きのこが たくさん はえています。「これは たべられるかな」と、くまさんは かんがえました。
うさぎさんが きて、いいました。「それは どくきのこだよ」"""
DIALECT = """そんなん言うたらあかんて。ほんまに知らんねん。
せやけど、あの店は安いし、なんぼでも食べられるやろ。"""
PROSE = """明治の終わりに建てられたこの駅舎は、戦後に一度改築されたが、
正面の壁だけは当時のまま残されている。
設計者の名は記録にない。近くの住民は、毎年秋になると壁の前に花を植え、古い写真を並べて来訪者に見せている。
建物の一階には小さな資料室があり、切符や時刻表などが展示されている。二階は公民館として使われてきた。"""
ENGLISH = """The station was built at the end of the Meiji era and rebuilt once after the war.
Only the front wall is as it was. Nobody knows who designed it."""
NEWS = """市は二〇日、駅前の再開発について説明会を開いた。
計画では、地上三十階の建物に住宅と商店が入る。
住民からは「日当たりが悪くなる」「説明が足りない」といった声が上がった。市は来月にも見直し案を示したいとしている。
工事は来年度に始まり、三年後に終わる予定だ。"""


@pytest.mark.parametrize(
    ("text", "register"),
    [
        (LAW, "law"), (POEM, "poetry"), (TABLE, "table"), (FIGURES, "table"),
        (MEDICAL, "medical"), (MINORITIES, "minorities"), (DIALOGUE, "dialogue"), (BBS, "dialogue"),
        (MIXED, "code-mixed"), (CHILDREN, "children"), (DIALECT, "dialect"),
    ],
)  # fmt: skip
def test_a_register_is_recognised_and_no_other(text: str, register: str) -> None:
    assert detect(text) == [register]


@pytest.mark.parametrize("text", [PROSE, ENGLISH, NEWS, "", "あ", "\n\n", "。" * 300])
def test_running_prose_belongs_to_none(text: str) -> None:
    assert detect(text) == []


def test_every_register_has_an_example() -> None:
    texts = (LAW, POEM, TABLE, MEDICAL, MINORITIES, DIALOGUE, MIXED, CHILDREN, DIALECT)
    assert {name for text in texts for name in detect(text)} == set(REGISTERS)


def test_a_law_that_is_only_mentioned_makes_no_law() -> None:
    assert "law" not in detect(PROSE + "これは第三条と第四条、第五条に書かれている。" + PROSE * 10)


def test_standard_forms_are_no_dialect() -> None:
    text = "行きたい。見たいんだ。残念。いっしょに行こう。条件は厳しい。大変だった。よかったね。"
    assert "dialect" not in detect(text)


def test_a_menu_of_repeated_lines_is_no_poem() -> None:
    assert "poetry" not in detect("つづきを読む\n" * 10)


@given(st.text(max_size=300))
def test_no_text_makes_a_detector_fail(text: str) -> None:
    assert set(detect(text)) <= set(REGISTERS)
