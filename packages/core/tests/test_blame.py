"""An error in a plugin names plugin, entry, file and line, and is not called unexpected."""

from __future__ import annotations

import pickle
import traceback

import pytest

from yoriai import blame
from yoriai.plugins import load_registry

STEPS = '''
from typing import ClassVar

from yoriai import Made, Step


def helper(text):
    return int(text)


class Count(Step):
    """Counts."""

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "count"
    text: str = "three"

    def run(self, job):
        (job.out / "a.txt").write_text(self.text)
        return Made(facts={"count": helper(self.text)})
'''
CODE = """
from yoriai import Entry, hookimpl


@hookimpl
def yoriai_steps():
    return [Entry(name="count", target="ant.rules:Count", summary="Counts.", licence="MIT")]
"""


@pytest.fixture
def ant(plant):
    plant("ant", CODE, files={"rules.py": STEPS})
    return load_registry()


def raised(registry):
    step = registry.load(registry.get("steps", "ant/count"))
    try:
        step.run(step(), type("Job", (), {"out": __import__("pathlib").Path()}))
    except ValueError as error:
        return error


def test_the_innermost_line_in_a_plugin_is_the_place(ant):
    place = blame.find(raised(ant), ant.plugins)
    assert (place.plugin, place.file, place.line) == ("ant", "ant/rules.py", 8)
    assert str(place) == "plugin 'ant' at ant/rules.py:8"


def test_a_line_of_an_entrys_class_names_the_entry(ant):
    step = ant.load(ant.get("steps", "ant/count"))
    try:
        step.run(step(), None)
    except AttributeError as error:
        place = blame.find(error, ant.plugins)
    assert place.entries == ("steps ant/count",)
    assert str(place) == "plugin 'ant', steps ant/count, at ant/rules.py:19"


def test_what_a_worker_process_sent_as_text_is_read_too(ant):
    error = raised(ant)
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    # Some libraries teach pickle to send tracebacks too; what is sent here is text alone.
    sent = pickle.loads(pickle.dumps(error)).with_traceback(None)
    assert blame.find(sent, ant.plugins).line == 8


def test_an_error_outside_every_plugin_is_nobodys(ant):
    with pytest.raises(ValueError) as caught:
        int("no number")
    assert blame.find(caught.value, ant.plugins) is None


def test_the_command_line_names_the_place_and_whom_to_tell(ant, yoriai, tmp_path):
    (tmp_path / "a.yaml").write_text("{name: a, licence: MIT, steps: {count: {uses: ant/count}}}")
    answer = yoriai("run", "a.yaml")
    assert answer.code == 1
    assert "plugin 'ant' at ant/rules.py:8 raised ValueError: invalid literal" in answer.err
    assert "tell the authors of plugin 'ant'" in answer.err
    assert "unexpected" not in answer.err
    told = yoriai("run", "a.yaml", "--json").json["error"]
    assert told["code"] == "plugin-failed"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_of_the_kind\n", "nothing_of_the_kind' (at ant/_plugin.py:1)"),
        ("\n\nx = (\n", "(at ant/_plugin.py:3)"),
        (CODE.replace("return [", "return 1 / 0 and ["), "division by zero (at ant/_plugin.py:7)"),
    ],
)
def test_a_plugin_that_cannot_be_listed_is_shown_with_file_and_line(code, reason, plant):
    plant("ant", code)
    [row] = load_registry().broken()
    assert row.status in ("import-failed", "raised")
    assert reason in row.reason
