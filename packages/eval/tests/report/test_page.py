"""The page of a leaderboard: whole, bilingual, legible, and closed to what models write."""

import base64
import hashlib
import re
import sys
import unicodedata
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai.redaction import Redactor
from yoriai_eval.report import boards as leaderboard
from yoriai_eval.report import markup, page, plots, words
from yoriai_eval.report.model import Given, Tally

HOSTILE = '<script>alert("x")</script>\u202e&amp;\x00\ud800'
VOID = {"meta", "link", "input", "br"}


class Reader(HTMLParser):
    """Elements that were opened, whether all were closed in order, text, and scripts."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.words, self.links = [], [], [], []
        self.script = ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("href", "src") and v]
        assert not [k for k, _ in attributes if k.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def task(score, floors=(("majority", 0.3),), **more):
    return {"metric": "exact_match", "score": score, "interval": [score - 0.05, score + 0.05],
            "samples": 100, "reasons": {"correct": 60, "wrong": 30, "truncated": 10},
            "metrics": {"exact_match": score, "char_f1": 0.5}, "floors": dict(floors),
            "groups": {"short": {"score": 0.5, "samples": 50}}, **more}  # fmt: skip


def given_of(models, digest="a", **facts):
    told = {"protocol": "v1.3", "split": "test", "limit": 100, "floors": {}, **facts}
    return Given(
        name="nine/scores@1",
        digest=digest,
        facts={**told, **models},
        tallies=[
            Tally(model=model, task=f"eval/{short}", form="generation", rows=100,
                  shots={4: 100}, link=f"samples/1/{n}-1.html")
            for n, model in enumerate(models)
            for short in models[model].get("tasks", {})
        ],
    )  # fmt: skip


def pages(*given_, ledgers=(), title=""):
    boards = leaderboard.boards(given_, ledgers)
    pictures = page.draw(boards)
    redactor = Redactor({}, home="/home/jane", user="jane")
    return {
        language: page.render(boards, title, language, redactor, pictures)
        for language in words.PAGES
    }


def test_both_pages_are_whole_and_lead_to_each_other():
    models = {"x": {"tasks": {"jamp": task(0.5)}}, "y": {"tasks": {"jamp": task(0.7)}}}
    found = {language: read(text) for language, text in pages(given_of(models)).items()}
    assert words.PAGES["en"] in found["ja"].links
    assert words.PAGES["ja"] in found["en"].links
    said = "".join(found["en"].words)
    for part in ("Table 1: protocol v1.3, split test", "first 100 samples", "4 shots", "rank 1",
                 "45.0–55.0", "floor 30.0", "truncated", "Scores by group", "char_f1"):  # fmt: skip
        assert part in said
    assert "表 1: プロトコル v1.3" in "".join(found["ja"].words)


def test_every_word_is_there_in_both_languages():
    for pair in (*words.WORDS.values(), *words.READ, *words._WHAT.values()):
        assert len(pair) == 2
        assert all(pair)


def test_a_score_at_its_floor_is_grey_and_says_so():
    text = pages(given_of({"x": {"tasks": {"jamp": task(0.32)}}}))["en"]
    assert re.search(r'<td class="n floor"[^>]*>.*?at floor 30\.0', text)
    text = pages(given_of({"x": {"tasks": {"jamp": task(0.5)}}}))["en"]
    assert 'class="n floor"' not in text
    assert "at floor" not in "".join(read(text).words).replace("marked as at its floor", "")


def test_scores_asked_otherwise_are_kept_apart_with_a_sentence():
    one = given_of({"x": {"tasks": {"jamp": task(0.5)}}})
    two = given_of({"y": {"tasks": {"jamp": task(0.5)}}}, "b", protocol="oct2023")
    found = pages(one, two)
    assert "as it has another protocol (here oct2023, there v1.3)" in found["en"]
    assert "表 1 と分けたのは、プロトコルが違う" in found["ja"]
    assert read(found["en"]).tags.count("section") == 2


def test_no_name_or_setting_can_add_markup():
    model = {
        "tasks": {"jamp": task(0.5, groups={HOSTILE: {"score": 0.1, "samples": 1}})},
        "asked_with": {"backend": HOSTILE, HOSTILE: [HOSTILE]},
        "bits_per_byte": {HOSTILE: {"ja": 1.0}},
    }
    other = {"tasks": {HOSTILE.replace("/", ""): task(0.5)}}
    text = pages(given_of({HOSTILE: model, "y": other}), title=HOSTILE)["ja"]
    reader = read(text)
    assert reader.tags.count("script") == 1
    assert reader.script == markup.asset("table.js")
    text.encode("utf-8")
    assert "\u202e" not in text
    assert "\x00" not in text
    assert "⟦U+202E⟧" in text


def test_the_policy_lets_only_the_page_s_own_script_run_and_nothing_be_fetched():
    text = pages(given_of({"x": {"tasks": {"jamp": task(0.5)}}}))["ja"]
    digest = base64.b64encode(hashlib.sha256(read(text).script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text
    assert not [link for link in read(text).links if "//" in link or link.startswith("/")]


def test_how_models_were_run_is_told_without_paths_and_secrets():
    asked = {"backend": "hf", "model": "/data/models/mine", "url": "http://127.0.0.1:8000/v1",
             "key": "hf_" + "a" * 30, "home": "/home/jane/x"}  # fmt: skip
    text = pages(given_of({"x": {"tasks": {"jamp": task(0.5)}, "asked_with": asked}}))["en"]
    assert "backend hf, model …/mine" in text
    assert "http://127.0.0.1:8000/v1" in text
    for leaked in ("/data", "hf_a", "jane"):
        assert leaked not in text


def test_clean_and_dirty_halves_stand_side_by_side():
    half = {"score": 0.4, "interval": [0.3, 0.5], "samples": 60}
    dirty = {"score": 0.9, "interval": [0.7, 1.0], "samples": 7}
    ledger = {
        "split": "test", "of": ["a"], "corpora": {"text": {}},
        "tasks": {"jamp": {"samples": 100, "dirty": 7, "between": {"jsts/train": 7}}},
        "scores": {"x": {"jamp": {"clean": half, "dirty": dirty}}},
    }  # fmt: skip
    said = "".join(read(pages(given_of({"x": {"tasks": {"jamp": task(0.5)}}}),
                              ledgers=[ledger])["en"]).words)  # fmt: skip
    assert "40.0 (30.0–50.0; 60)" in said
    assert "90.0 (70.0–100.0; 7, fewer than 10)" in said
    assert "+50" in said
    assert "jsts/train 7" in said


def test_splits_counted_together_stand_once_and_exchanged_pairs_beside_the_others():
    places = {"jsts/dev": 11, "jsts/train": 54, "jsts/train+dev": 65, "jsick/train": 2}
    ledger = {
        "split": "test", "of": ["a"], "corpora": {},
        "tasks": {"jamp": {"samples": 100, "dirty": 70, "between": places,
                           "swapped": {"jsick/train": 1, "jsts/dev": 3}}},
    }  # fmt: skip
    text = pages(given_of({"x": {"tasks": {"jamp": task(0.5)}}}), ledgers=[ledger])
    exchanged = "(premise and hypothesis exchanged)"
    told = f"jsts/train+dev 65, jsick/train 2, jsick/train 1 {exchanged}, jsts/dev 3 {exchanged}"
    assert told in "".join(read(text["en"]).words)
    assert "jsts/dev 3 (前提と仮説が入れ替わったもの)" in "".join(read(text["ja"]).words)


# --- text ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(codec=None), max_size=60))
def test_any_text_becomes_text(text):
    escaped = markup.fill("{}", text)
    reader = Reader()
    reader.feed(f"<p>{escaped}</p>")
    reader.close()
    assert reader.tags == ["p"]
    assert "".join(reader.words) == markup.visible(text)
    escaped.encode("utf-8")
    # What is left of the categories of controls, marks and halves are joiners and white space.
    seen = {c for c in escaped if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}
    assert seen <= {"\t", "\n"}


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200f", "\ufeff", "\u200b", "\x1b", "\x9b"])
def test_marks_that_move_or_hide_text_are_spelled_out(mark):
    assert markup.visible(f"a{mark}b") == f"a⟦U+{ord(mark):04X}⟧b"


def test_emoji_and_variants_of_kanji_stay():
    for text in ("👩\u200d💻", "葛\U000e0100", "か\u3099", "नि\u200cक"):
        assert markup.visible(text) == text


def test_a_long_text_is_cut_and_its_length_said():
    cut = markup.text_cut("<" * 1_000_000)
    assert len(cut) < 10_000
    assert "1,000,000 characters" in cut
    assert markup.text_cut("短い") == "短い"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("cannot open /srv/models/a/b.gguf now", "cannot open …/b.gguf now"),
        ("file:///srv/x/y", "…/y"),
        (r"C:\Users\jane\m", "…/m"),
        ("https://example.org/v1/models", "https://example.org/v1/models"),
        ("eval/jamp 1/2", "eval/jamp 1/2"),
    ],
)
def test_paths_lose_their_folders(text, left):
    assert markup.without_paths(text) == left


# --- pictures -----------------------------------------------------------------------------


def forest():
    rows = [("good", 61.0, 55.0, 67.0, False), ("日本語のモデル", 31.0, None, None, True)]
    return plots.intervals(rows, {"majority": 33.3, "constant": 33.3, "chance": 20.0}, "accuracy")


def test_pictures_are_svg_in_the_colours_of_the_page():
    radar = plots.radar(["NLI", "QA", "RC"], {"a": [0.1, 0.2, 0.3], "b$_1$": [0.3, 0.2, 0.1]},
                        [0.2, 0.1, 0.1])  # fmt: skip
    for picture in (forest(), radar):
        ElementTree.fromstring(picture.replace("xlink:href", "href"))
        assert "currentColor" in picture
        assert "var(--" in picture
        assert not re.search(r"#010[12]|#ffffff|#000000|black|white", picture)
        assert not re.search(r' id="\w+_\d+"', picture)  # several on a page: no name twice
    assert "b$_1$" in radar
    assert "best floors" in radar
    assert "日本語のモデル" in forest()
    assert "constant" in forest()
    assert "chance" in forest()


def test_pictures_are_the_same_bytes_every_time_whatever_the_user_s_style():
    import matplotlib

    first = forest()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert forest() == first


def test_without_matplotlib_the_page_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    text = pages(given_of({"x": {"tasks": {"jamp": task(0.5)}}}))["en"]
    assert "matplotlib was not installed" in text
    assert "<svg" not in text
