"""A plugin is read and run, and every promise that it breaks is told in words, with the place."""

# ruff: noqa: E501  (faults read best on one line)

from __future__ import annotations

import pytest

from yoriai.conformance import check
from yoriai.plugins import load_registry
from yoriai.testing import conformance

ENTRY = """
from yoriai import Entry, hookimpl
{imports}

@hookimpl
def yoriai_{kind}():
    target = "ant.rules:{target}"
    return [Entry(name="{name}", target=target, summary="{summary}", licence="{licence}")]
"""
IMPORTS = """
import itertools
from typing import ClassVar
import click
from pydantic import Field
import yoriai
from yoriai import Document, Filter, Made, Sample, Source, SourceCard, Step, Task, Verdict
"""


def code(imports="", kind="filters", target="Rule", summary="A rule.", licence="MIT", name="one"):
    return ENTRY.format(
        imports=imports, kind=kind, target=target, summary=summary, licence=licence, name=name
    )


def thing(kind, body, **options):
    """A plugin with one entry ``Thing`` of a kind, whose module is ``body``."""
    return {
        "code": code(kind=kind, target="Thing", **options),
        "files": {"rules.py": IMPORTS + body},
    }


SOURCE = '''
class Thing(Source):
    """Two sayings."""

    version: ClassVar[str] = "1"

    def card(self):
        return SourceCard(name="sayings", licence="CC0-1.0", languages=("en",))
'''
TASK = '''
class Thing(Task):
    """A question."""

    version: ClassVar[str] = "1"
    form: ClassVar[str] = "ranked"

    def samples(self, artifacts):
'''
STRATEGY = '''
class Thing(yoriai.Strategy):
    """A strategy."""

    version: ClassVar[str] = "1"

    def build(self, *, num_nodes=1):
'''
RULE = '''
class Thing(Filter):
    """A rule."""

    version: ClassVar[str] = "1"

    def judge(self, document):
'''

FAULTS = {
    "1 it imports something heavy when it is listed": (
        {"code": code("import pydantic")}, "ant._plugin imports pydantic while it is listed"),
    "2 it cannot be loaded": (
        thing("filters", "\n\nraise OSError('boom')\n"), "OSError: boom (ant/rules.py:10)"),
    "3 it has no licence": ({"code": code(licence="")}, "has no licence"),
    "4 its name is unsound": ({"code": code(name="No-Shouting!")}, "name"),
    "5 it is another thing than it is offered as": (
        {"code": code(kind="tasks")}, "the target is no yoriai.Task"),
    "6 it has no version": (
        thing("filters", 'class Thing(Filter):\n    """A rule."""\n\n    def judge(self, document):\n'
              "        return self.KEEP\n"), "has no version"),
    "7 a step does not say what it makes": (
        thing("steps", 'class Thing(Step):\n    """A step."""\n\n    version: ClassVar[str] = "1"\n\n'
              "    def run(self, job):\n        return Made()\n"), "does not say what it makes"),
    "8 a method that must be written is not": (thing("sources", SOURCE), "does not write read()"),
    "9 a source gives other documents when it is read again": (
        thing("sources", "COUNT = itertools.count()\n" + SOURCE + """
    def read(self, partition):
        yield Document("sayings", str(next(COUNT)), "a text")
"""), "gives another document when it is asked again, first at 0"),
    "10 a source gives two documents one name": (
        thing("sources", SOURCE + """
    def read(self, partition):
        yield Document("sayings", "1", "a text")
        yield Document("sayings", "1", "another")
"""), "gives two documents called '1'"),
    "11 a filter raises on a document": (
        thing("filters", RULE + "        return 1 / len(document.language)\n"),
        "raised ZeroDivisionError: division by zero (ant/rules.py:15)"),
    "12 a filter gives no verdict": (
        thing("filters", RULE + "        return True\n"), "judge() gives a bool, no yoriai.Verdict"),
    "13 a command has no --json": (
        thing("commands", """
@click.command(epilog="yoriai ant one")
def Thing():
    "Say hello."
"""), "has no --json"),
    "14 the answer of a task is none of its choices": (
        thing("tasks", TASK + "        yield Sample(id='1', text='?', choices=('a', 'b'), answer=2)\n"),
        "the answer of sample '1' is none of its choices"),
    "15 a key has no description": (
        thing("filters", 'class Thing(Filter):\n    """A rule."""\n\n    version: ClassVar[str] = "1"\n'
              "    most: int = 3\n\n    def judge(self, document):\n        return self.KEEP\n"),
        "its key 'most' has no description"),
    "16 a filter judges a batch otherwise": (
        thing("filters", RULE + """        return self.KEEP

    def judge_batch(self, documents):
        return [Verdict("drop") for _ in documents]
"""), "judge_batch() says otherwise than judge()"),
    "17 a filter changes the document": (
        thing("filters", RULE + "        document.text = ''\n        return self.KEEP\n"),
        "judge() changes the document"),
    "18 it has no docstring": (
        thing("filters", 'class Thing(Filter):\n    version: ClassVar[str] = "1"\n\n'
              "    def judge(self, document):\n        return self.KEEP\n"), "has no docstring"),
    "19 its summary is long": ({"code": code(summary="x" * 91)}, "is longer than 90 characters"),
    "20 it cannot be handed to a worker": (
        thing("filters", RULE.replace("class", "def make():\n  pass\n\nclass").replace(
            "    def judge", "    def __reduce__(self):\n        raise TypeError('no')\n\n    def judge")
            + "        return self.KEEP\n"), "cannot be handed to a worker process"),
    "21 it cannot be built from its own defaults": (
        thing("filters", RULE.replace("    def judge", "    most: int = Field(-1, ge=0, "
              "description='most')\n\n    def judge") + "        return self.KEEP\n"),
        "cannot be built from its own defaults: most: "),
    "22 a strategy cannot be built": (
        thing("strategies", STRATEGY + "        return 1 / 0\n"),
        "raised ZeroDivisionError: division by zero (ant/rules.py:15)"),
    "23 a strategy builds nothing": (
        thing("strategies", STRATEGY + "        pass\n"), "build() gives nothing"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught_and_told_in_words(fault, plant):
    options, expected = FAULTS[fault]
    plant("ant", **options)
    found = conformance(load_registry(), "ant")
    assert any(expected in problem for problem in found), found


def test_a_good_plugin_breaks_no_promise_and_was_run(plant):
    plant("ant")
    report = check(load_registry(), "ant")
    assert (report.broken, report.ran, report.not_run) == ([], ["filters ant/rule"], {})


def test_what_cannot_be_run_here_is_told_and_is_no_broken_promise(plant):
    body = SOURCE.replace(
        '    version: ClassVar[str] = "1"\n',
        '    version: ClassVar[str] = "1"\n    path: str = Field(description="file")\n',
    )
    body += """
    def read(self, partition):
        yield Document("sayings", self.path, "a text")
"""
    plant("ant", **thing("sources", body))
    report = check(load_registry(), "ant")
    assert report.not_run == {"sources ant/one": "needs a value of path"}
    report = check(load_registry(), "ant", {"ant/one": {"path": "a.txt"}})
    assert (report.broken, report.ran) == ([], ["sources ant/one"])
    report = check(load_registry(), "ant", {"ant/one": None})
    assert report.not_run == {"sources ant/one": "it was left out"}


def test_a_strategy_that_needs_another_machine_is_told_and_is_no_broken_promise(plant):
    plant("ant", **thing("strategies", STRATEGY + "        raise yoriai.UsageError('no GPU')\n"))
    report = check(load_registry(), "ant")
    assert (report.broken, report.ran) == ([], [])
    assert report.not_run == {"strategies ant/one": "build() refuses this machine: no GPU"}


def test_a_moment_hook_is_called_and_its_error_has_a_place(plant):
    text = "from yoriai import hookimpl\n\n@hookimpl\ndef yoriai_sections(artifact):\n    return 1 / 0\n"
    plant("ant", code=text)
    [problem] = conformance(load_registry(), "ant")
    assert (
        problem == "yoriai_sections: raised ZeroDivisionError: division by zero (ant/_plugin.py:5)"
    )


def test_a_section_on_everything_is_a_broken_promise(plant):
    text = (
        "from yoriai import Section, hookimpl\n\n@hookimpl\ndef yoriai_sections(artifact):\n"
        "    return [Section(title='mine')]\n"
    )
    plant("ant", code=text)
    [problem] = conformance(load_registry(), "ant")
    assert "somebody else's kind" in problem


def test_an_entry_point_may_name_an_object_in_a_module(plant):
    plant("ant", point="ant:_plugin", files={"__init__.py": "from ant import _plugin"})
    assert conformance(load_registry(), "ant") == []


def test_a_module_that_prints_is_no_heavy_one(plant):
    plant("ant", code="print('numpy')\n" + ENTRY.format(
        imports="", kind="filters", target="Rule", summary="A rule.", licence="MIT", name="one"
    ))  # fmt: skip
    assert conformance(load_registry(), "ant") == []


def test_a_plugin_that_is_broken_or_not_installed_is_told(plant):
    plant("ant", code="import nothing_of_the_kind")
    [problem] = conformance(load_registry(), "ant")
    assert "ant is import-failed" in problem
    assert conformance(load_registry("none"), "bee") == ["no plugin 'bee' is installed"]


def test_the_command_tells_what_was_run_what_is_broken_and_ends_with_four(plant, yoriai):
    plant("ant", **FAULTS["12 a filter gives no verdict"][0])
    answer = yoriai("plugins", "check", "ant")
    assert answer.code == 4
    assert "judge() gives a bool" in answer.out
    told = yoriai("plugins", "check", "ant", "--json")
    assert told.code == 4
    assert told.json["broken"] == ["filters ant/one: judge() gives a bool, no yoriai.Verdict"]


def test_the_command_is_content_with_a_good_plugin_and_takes_keys(plant, yoriai, tmp_path):
    plant("ant")
    (tmp_path / "keys.yaml").write_text("ant/rule: {max_ratio: 0.1}\n")
    answer = yoriai("plugins", "check", "ant", "--keys", "keys.yaml")
    assert (answer.code, answer.err) == (0, "")
    assert "1 of 1 entries were run" in answer.out
    (tmp_path / "keys.yaml").write_text("ant/rule: {max_rati: 0.1}\n")
    assert "max_rati: unknown key" in yoriai("plugins", "check", "ant", "--keys", "keys.yaml").out
    assert yoriai("plugins", "check", "bee").code == 3


def test_keys_that_are_a_device_are_refused(plant, yoriai):
    plant("ant")
    answer = yoriai("plugins", "check", "ant", "--keys", "/dev/null")
    assert (answer.code, "no ordinary file" in answer.err) == (2, True)
