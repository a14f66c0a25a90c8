"""The kit for authors of plugins."""

from __future__ import annotations

from yoriai.artifact import lineage, verify
from yoriai.testing import make_artifact, run_cli


def test_a_step_can_be_run_outside_a_recipe(registry, tmp_path):
    words = registry.load(registry.get("steps", "lab/words"))
    join = registry.load(registry.get("steps", "lab/join"))
    first = make_artifact(words(words=["a", "b"]), tmp_path / "words", [], registry)
    second = make_artifact(join(), tmp_path / "text", [first], registry, seed=3)
    assert second.file("text.txt").read_text() == "a-b"
    assert verify(second.path) == (second, [])
    assert lineage(second)["inputs"][0]["digest"] == first.digest


def test_a_step_made_twice_has_one_digest(registry, tmp_path):
    words = registry.load(registry.get("steps", "lab/words"))
    one = make_artifact(words(), tmp_path / "a" / "words", [], registry)
    two = make_artifact(words(), tmp_path / "b" / "words", [], registry)
    assert one.digest == two.digest


def test_the_fixtures_come_with_core(pytestconfig):
    manager = pytestconfig.pluginmanager
    assert manager.hasplugin("yoriai")


def test_the_command_is_run_in_a_process_of_its_own(tmp_path):
    answer = run_cli("list", "nonsense", "--json", cwd=tmp_path, YORIAI_PLUGINS="none")
    assert answer.code == 2
    assert answer.json["error"]["code"] == "usage"
    assert "error:" in answer.err
