"""The fast form of folding is the definition, character for character."""

import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from yoriai.folded_text import Codes, folded
from yoriai.same_text import fold

# What composes, expands, vanishes or changes its width; Hangul letters; half of a pair.
HARD = "かガﾞﾟｶﾊ゙゚①㍿…½™ßİﬁ가각ㄱᅡᆨ　\t\n\u2028ééًａＡA１\U0001f468‍ﾠ"


def texts_of(codes: Codes) -> list[str]:
    return [
        codes.points[a:b].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        for a, b in zip(codes.starts, codes.starts[1:], strict=False)
    ]


def test_every_character_by_itself_is_folded_as_defined():
    characters = [
        *map(chr, range(0xD800)),
        *map(chr, range(0xE000, 0x2FA20)),
        *map(chr, range(0xE0000, 0xE0200)),
    ]
    wanted = [fold(c) for c in characters]
    codes = folded(characters)
    assert np.array_equal(np.diff(codes.starts), [len(text) for text in wanted])
    assert np.array_equal(codes.points, Codes.of(wanted).points)


def test_the_planes_behind_fold_to_themselves():
    rest = [chr(c) for c in (*range(0x30000, 0x110000, 37), 0x10FFFF)]
    assert all(fold(c) == c for c in rest)
    assert texts_of(folded(rest)) == rest


@given(st.lists(st.text(st.sampled_from(HARD) | st.characters(), max_size=12), max_size=5))
def test_texts_are_folded_as_defined(texts):
    assert texts_of(folded(texts)) == [fold(text) for text in texts]


def test_texts_that_look_alike_fold_alike():
    assert fold("ﾊﾟｿｺﾝ　ＡＢＣ\n①") == fold("パソコンabc1") == "ぱそこんabc1"
    assert fold(unicodedata.normalize("NFD", "がぎぐ")) == "がぎぐ"
