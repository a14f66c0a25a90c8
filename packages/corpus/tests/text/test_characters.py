"""Classes of characters against Python's own idea of them, and what is counted of them."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Document
from yoriai_corpus.text import characters
from yoriai_corpus.text.batch import Batch
from yoriai_corpus.text.characters import LETTERS, Class, class_table

TEXTS = st.lists(
    st.text(st.one_of(st.sampled_from("あア漢a1 \n。.!?！・ー…"), st.characters(codec="utf-8"))),
    max_size=5,
)


def batch_of(texts: list[str]) -> Batch:
    return Batch([Document("mine", str(number), text) for number, text in enumerate(texts)])


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        (" \t\r\u3000\u00a0\u2028", Class.SPACE),
        ("\n", Class.NEWLINE),
        ("09０９٣", Class.DIGIT),
        ("AZaz", Class.LATIN),
        ("ぁんゔゝゞ", Class.HIRAGANA),
        ("ァンヴーヽヾㇰｦﾟｰ", Class.KATAKANA),
        ("漢字々〇〻㐀龥鿿豈𠮷𪜀", Class.HAN),
        ("ＡéЖ한αß", Class.OTHER_LETTER),
        ("、。「」・!?…—，．！？'\"", Class.PUNCTUATION),
        ("+<$゛゜①½Ⅷ㌔♪😀", Class.SYMBOL),
        ("\0\u200b\u3099\u0301\ue000\ufeff", Class.OTHER),
    ],
)
def test_every_character_is_in_the_class_one_expects(members: str, kind: Class) -> None:
    assert {c: Class(class_table()[ord(c)]).name for c in members} == dict.fromkeys(
        members, kind.name
    )


def test_spaces_and_letters_are_those_of_python_but_for_han_numbers_and_planes_two_and_three() -> (
    None
):
    table = class_table()
    assert table.shape == (0x110000,)
    assert table.max() < len(Class)
    for point in [*range(0x20000), *range(0x20000, 0x110000, 97)]:
        character = chr(point)
        assert (table[point] <= Class.NEWLINE) == character.isspace(), hex(point)
        if point < 0x20000 and unicodedata.category(character) != "Nl":
            assert (Class(table[point]) in LETTERS) == character.isalpha(), hex(point)
        elif character.isalpha():
            assert Class(table[point]) in LETTERS, hex(point)
        assert (table[point] == Class.DIGIT) == character.isdecimal(), hex(point)


def test_the_table_is_shared_and_cannot_be_changed() -> None:
    assert class_table() is class_table()
    with pytest.raises(ValueError, match="read-only"):
        class_table()[0] = 1


@given(TEXTS)
def test_counts_are_those_of_a_loop_and_made_once(texts: list[str]) -> None:
    batch = batch_of(texts)
    found = characters.counts(batch)
    table = class_table()
    expected = [[sum(table[ord(c)] == k for c in text) for k in Class] for text in texts]
    assert found.tolist() == expected
    assert found.sum(axis=1).tolist() == [len(text) for text in texts]
    assert characters.counts(batch) is found


def test_what_was_measured_of_a_batch_is_carried_to_a_part_of_it() -> None:
    whole = batch_of(["a", "あ", "1", "漢"])
    table = characters.counts(whole)
    part = Batch([whole[1], whole[3]])
    characters.carry(whole, part, [1, 3])
    found = characters.measured(part, "characters", lambda: pytest.fail("measured again"))
    assert found.tolist() == table[[1, 3]].tolist() == characters.counts(Batch(part)).tolist()


@given(TEXTS)
def test_lines_are_what_newlines_end(texts: list[str]) -> None:
    found = characters.lines(batch_of(texts))
    for index, text in enumerate(texts):
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        sizes = [len(line) for line in lines]
        assert found.number[index] == len(lines)
        assert found.longest[index] == max(sizes, default=0)
        assert found.characters[index] == sum(sizes)
        assert found.mean[index] == pytest.approx(sum(sizes) / len(sizes) if sizes else 0)


@given(TEXTS)
def test_a_run_of_end_marks_ends_one_sentence(texts: list[str]) -> None:
    marks = re.compile(r"(?:[。｡．！？!?]|\.(?=\s|\Z))(?:[。｡．！？!?.])*")
    found = characters.sentence_ends(batch_of(texts))
    assert found.tolist() == [len(marks.findall(text)) for text in texts]


def test_a_stop_inside_a_number_or_a_name_ends_no_sentence() -> None:
    batch = batch_of(["3.14 in file.txt", "The end. So!", "はい。いいえ！？", "Wait... no."])
    assert characters.sentence_ends(batch).tolist() == [0, 2, 2, 2]


def test_shares_of_an_empty_text_are_nothing() -> None:
    batch = batch_of(["", "ああa1"])
    assert characters.share(batch, [Class.HIRAGANA]).tolist() == [0, 0.5]
    np.testing.assert_allclose(characters.share(batch, [Class.HIRAGANA], LETTERS), [0, 2 / 3])
