"""Text of others is shown and does nothing; what is too long is cut and says so."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from yoriai import console, terminal


@given(st.text(st.characters(), max_size=60))
def test_no_text_leaves_a_control_or_a_turn_of_direction(text):
    shown = terminal.harmless(text)
    shown.encode("utf-8")
    for character in shown:
        assert unicodedata.category(character) != "Cc" or character in "\n\t"
        assert not unicodedata.bidirectional(character).endswith(
            ("LE", "LO", "LI", "RE", "RO", "RI")
        )
    assert len(terminal.one_line(text).splitlines()) <= 1


@given(st.text(st.characters(), max_size=60))
def test_json_means_the_same_and_is_harmless(text):
    shown = console.json_text({"a": text, text: 1})
    assert json.loads(shown) == {"a": text, text: 1}
    assert terminal.harmless(shown) == shown


def test_japanese_and_emoji_are_left_alone():
    text = "寄合　ガイド「です」👩\u200d🔬"
    assert terminal.harmless(text) == text


@given(st.text(max_size=5000), st.integers(50, 400))
def test_what_is_clipped_says_how_much_is_missing(text, most):
    shown = terminal.clip(text, most)
    assert (shown == text) == (len(text) <= most)
    assert len(shown) <= most + 40
    if shown != text:
        assert "characters left out" in shown
