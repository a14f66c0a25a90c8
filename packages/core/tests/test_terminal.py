"""Text of others is shown and does nothing; what is too long is cut and says so."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
import warnings

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


def test_what_a_library_logs_or_warns_of_a_folder_does_nothing_on_a_terminal(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    former = logging.getLogRecordFactory()
    try:
        terminal.guard_logs()
        library = logging.Logger("library")
        library.addHandler(logging.StreamHandler(written))
        library.warning("no kind of rope: %s", "\x1b]0;owned\x07" + "x" * 10_000)
        written.write(warnings.formatwarning("\x1b[2J\u202e", UserWarning, "a.py", 1))
    finally:
        logging.setLogRecordFactory(former)
    assert "\x1b" not in written.getvalue()
    assert "\u202e" not in written.getvalue()
    assert r"no kind of rope: \x1b]0;owned\x07xxx" in written.getvalue()
    assert len(written.getvalue()) < 3_000


def test_every_command_guards_the_logs_of_libraries(yoriai, monkeypatch):
    guarded = []
    monkeypatch.setattr(terminal, "guard_logs", lambda: guarded.append(True))
    assert yoriai("--version").code == 0
    assert guarded == [True]
