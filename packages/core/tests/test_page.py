"""The page of a run: plugins hand over data, and only data."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import markupsafe
import pytest

from yoriai import Artifact, Figure, Section, Table, page
from yoriai.figure import COLOURS
from yoriai.plugins import load_registry
from yoriai.redaction import Redactor

EVIL = "<script>alert('x')</script>\"&"
HOOK = """
from yoriai import Figure, Section, Table, hookimpl

EVIL = {evil!r}

@hookimpl
def yoriai_sections(artifact):
    {body}
"""
GOOD = """return [Section(
        title=EVIL, text=EVIL + "\\n\\nsecond", quote=EVIL,
        tables=[Table(columns=["a", EVIL], rows=[[1234567, EVIL], [0.12345678, None]])],
        figures=[Figure(kind=kind, title=EVIL, x_label=EVIL, y_label="cost $x_ $", series={
            EVIL: [(1, 2.0), (2, 1.0)], "two": [(1, 3.0), (3, 1.5)]}) for kind in ("line", "bar")],
    )]"""


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def made(plant, recipe, yoriai):
    """Run the laboratory with a plugin whose sections are ``body``; returns the page."""

    def call(body):
        plant("ant", HOOK.format(evil=EVIL, body=body))
        answer = yoriai("run", str(recipe()), "--json")
        assert answer.code == 0, answer.err
        return Path(answer.json["page"]).read_text()

    return call


@pytest.mark.parametrize("matplotlib", [True, False])
def test_no_text_of_a_plugin_becomes_markup(made, monkeypatch, matplotlib):
    if matplotlib:
        pytest.importorskip("matplotlib")
    else:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = made(GOOD)
    read = Tags(text)
    assert "script" not in read.tags
    assert EVIL not in text
    assert markupsafe.escape(EVIL) in text
    assert EVIL in read.text
    assert read.tags.count("svg") == (4 if matplotlib else 0)
    assert "<script" not in text


def test_numbers_are_written_for_people(made):
    text = made(GOOD)
    assert '<td class="n">1,234,567</td>' in text
    assert '<td class="n">0.1235</td>' in text


def test_the_page_fetches_nothing(made):
    text = made(GOOD)
    assert "src=" not in text
    assert "<link" not in text
    assert "url(http" not in text


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError('no <b>plot</b>')",
        "raise SystemExit(1)",
        "return [{'title': 'x'}]",
        "return 3",
        "return [Section(title='x', tables=[Table(columns=['a', 'b'], rows=[[1]])])]",
        "return [Section(title='x', figures=[Figure(kind='line', title='', x_label='', y_label='',"
        " series={'a': [(1, 'high')]})], text=None)]",
    ],
)
def test_a_plugin_that_cannot_describe_an_artifact_gets_a_section_that_says_so(made, body):
    text = made(body)
    assert "lab/words@1: no description" in text
    assert "could not describe" in text
    assert "<b>plot" not in text
    if body.startswith("raise ValueError"):
        assert re.search(r"\(\w+\.py:\d+\)|\(\w+/\w+\.py:\d+\)", text), "file and line are named"


def test_a_source_that_says_little_is_listed(lab, recipe, yoriai):
    steps = lab / "steps.py"
    steps.write_text(
        steps.read_text().replace('"licence": "CC0-1.0", "languages": ["ja"]', '"x": 1')
    )
    answer = yoriai("run", str(recipe()), "--json")
    assert answer.code == 0
    assert "<td>lab</td>" in Path(answer.json["page"]).read_text()


def test_the_page_shows_steps_sources_and_predictions(recipe, yoriai):
    value = {
        "name": "lab",
        "question": {"title": {"ja": "いくつ", "en": "How many?"},
                     "predictions": [{"fact": "words.count", "below": 1}]},
        "steps": {"words": {"uses": "lab/words"}},
    }  # fmt: skip
    answer = yoriai("run", str(recipe(json.dumps(value))), "--json").json
    read = Tags(Path(answer["page"]).read_text())
    for word in ("いくつ", "How many?", "words.count < 1.0", "failed", "completed", "CC0-1.0",
                 answer["steps"]["words"]["digest"][:12]):  # fmt: skip
        assert word in read.text


def test_a_line_of_one_point_is_seen_and_so_is_each_point_of_a_short_line():
    pytest.importorskip("matplotlib")

    def marks(points: list[tuple[float, float]]) -> int:
        series = {"a": points}
        figure = Figure(kind="line", title="t", x_label="x", y_label="y", series=series)
        filled = f'style="fill: {COLOURS[0].lower()}'
        return sum(filled in use for use in page.draw(figure).split("<use ")[1:])

    assert marks([(1.0, 2.0)]) == 1
    assert marks([(0.0, 1.0), (2.0, 3.0)]) == 2
    assert marks([(float(n), float(n)) for n in range(50)]) == 0


def test_the_same_figure_gives_the_same_bytes():
    pytest.importorskip("matplotlib")
    figure = Figure(kind="bar", title="損失", x_label="x", y_label="y", series={"a": [("ja", 1.0)]})
    assert page.draw(figure) == page.draw(figure)
    assert "損失" in page.draw(figure)


def test_a_long_series_is_thinned_where_there_is_no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    points = [(x, float(x)) for x in range(5000)]
    figure = Figure(kind="line", title="t", x_label="x", y_label="y", series={"a": points})
    assert 20 <= page.draw(figure).count("<tr>") <= 42


def test_what_a_plugin_tells_is_redacted_before_it_is_escaped(plant):
    body = "return [Section(title='t', text='see https://x.org/?a=1&token=abc123def')]"
    plant("ant", HOOK.format(evil="", body=body))
    made = Artifact(Path(), {"kind": "text", "name": "lab/text@1"})
    [section] = page.collect_sections(
        load_registry(), {"text": made}, Redactor({}, home="", user="")
    )
    assert "abc123def" not in section.text


def test_tables_and_sections_are_plain_data():
    section = Section(title="t", tables=[Table(columns=["a"], rows=[])])
    assert "<h2>t</h2>" in page._section(section)


def test_the_page_opens_with_what_happened_in_both_languages_and_says_what_may_run():
    run = {"recipe": "lab", "state": "completed", "steps": {"a": {"seconds": 90}}}
    rows = [{"verdict": "held"}, {"verdict": "failed"}, {"verdict": "not-measured"}]
    told = page.in_short(run, {}, {"predictions": rows, "verdict": "refuted"})
    assert (
        "Of 3 predictions 1 held, 1 failed and 1 could not be measured. Verdict: refuted."
        in (told["en"])
    )
    assert "1 件が当たり、1 件が外れ、1 件は測れませんでした。判定: 反証。" in told["ja"]
    text = page.render("t", [Section(title="one")])
    assert "default-src 'none'" in text
    assert "<script" not in text
