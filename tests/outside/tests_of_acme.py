"""Tests of acme, as its author writes them: with the fixtures that yoriai-core brings."""

import pytest
from acme.notes import Note
from acme.text import NoTables

from yoriai import Document


def test_the_plugin_keeps_every_promise(yoriai_registry, yoriai_conformance):
    assert yoriai_conformance(yoriai_registry, "acme") == []


def test_a_table_is_dropped_with_what_was_counted():
    verdict = NoTables().judge(Document("test", "1", "| a |"))
    assert (verdict.action, verdict.value) == ("drop", 2)


def test_a_step_runs_outside_a_recipe_and_asks_for_what_it_takes(yoriai_job):
    with pytest.raises(Exception, match="needs one scores"):
        yoriai_job("note", Note())


def test_the_command_answers(yoriai_cli):
    assert yoriai_cli("acme", "greet", "--json").json["said"] == "hello"
