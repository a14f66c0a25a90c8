"""Configuration as typed data."""

from __future__ import annotations

from typing import Annotated

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Configured, Filter, Step, Uses, config
from yoriai.errors import NotFound


class Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    threshold: float = 0.5


class Thing(Configured):
    part: Part | bool = False
    parts: dict[str, Part] = {}
    limit: float = float("inf")
    rules: list[Annotated[Filter, Uses("filters")]] = []


def faults(registry, **options):
    with pytest.raises(pydantic.ValidationError) as caught:
        config.build(Thing, options, registry)
    return [
        (config.dotted(f.place), f.message, f.hint) for f in config.explain(caught.value, Thing)
    ]


def test_a_configured_object_cannot_be_changed(registry):
    thing = config.build(Thing, {}, registry)
    with pytest.raises(pydantic.ValidationError):
        thing.limit = 2.0


def test_an_entry_may_be_a_name_or_a_mapping(registry):
    thing = config.build(Thing, {"rules": ["lab/short", {"use": "short", "longest": 2}]}, registry)
    assert [(rule.entry, rule.longest) for rule in thing.rules] == [
        ("lab/short", 9),
        ("lab/short", 2),
    ]


def test_what_describes_an_object_builds_it_again(registry):
    thing = config.build(Thing, {"rules": [{"use": "short", "longest": 2}], "part": {}}, registry)
    assert config.build(Thing, config.plain(thing), registry) == thing


@given(st.floats(-1e18, 1e18) | st.just(float("inf")))
def test_every_number_survives_the_way_through_json(number):
    thing = Thing(limit=number)
    assert Thing.model_validate(config.plain(thing)).limit == number
    assert config.plain(thing) == config.json.loads(config.json.dumps(config.plain(thing)))


def test_a_fault_in_one_branch_of_a_union_names_keys_only(registry):
    assert ("part.treshold", "unknown key", "did you mean 'threshold'?") in faults(
        registry, part={"treshold": 1}
    )


def test_a_fault_under_a_free_key_names_that_key(registry):
    assert faults(registry, parts={"ja": {"treshold": 1}}) == [
        ("parts.ja.treshold", "unknown key", "did you mean 'threshold'?")
    ]


def test_a_key_that_is_like_no_other_is_answered_with_all_keys(registry):
    [(_, _, hint)] = faults(registry, zzz=1)
    assert hint == "known keys: part, parts, limit, rules"


def test_nested_objects_are_found_in_a_stable_order(registry):
    thing = config.build(Thing, {"rules": ["short", "short"]}, registry)
    assert [type(item).__name__ for item in config.nested(thing)] == ["Thing", "Short", "Short"]


def test_a_place_is_written_with_dots_and_brackets():
    assert config.dotted(("steps", "a", "rules", 0, "x")) == "steps.a.rules[0].x"


def test_an_unknown_name_is_an_error_with_the_nearest():
    error = config.unknown_name("wrods", ["words"], "step")
    assert isinstance(error, NotFound)
    assert error.hint == "did you mean 'words'?"


def test_a_step_is_configured_like_everything_else(registry):
    words = registry.load(registry.get("steps", "lab/words"))
    assert issubclass(words, Step)
    assert words(words=["x"]).words == ["x"]


def test_a_filter_whose_target_is_no_class_is_told_with_its_name(plant):
    from yoriai.plugins import load_registry

    plant("ant", files={"rules.py": "def Rule(): ..."})
    rows = faults(load_registry(), rules=["ant/rule"])
    assert rows == [("rules[0]", "ant/rule is no class that can be configured", "")]


class Way(Configured):
    circumstances = ("processes",)
    processes: int = 1
    stage: int = 0


class Work(Configured):
    circumstances = ("watched",)
    watched: bool = False
    ways: list[Way] = []
    named: dict[str, Way] = {}


def test_circumstances_are_no_part_of_what_a_thing_is(registry):
    one = Work(watched=True, ways=[Way(processes=8, stage=1)], named={"a": Way(processes=3)})
    other = Work(ways=[Way(stage=1)], named={"a": Way()})
    assert config.identity(one) == config.identity(other)
    assert config.identity(one)["ways"] == [{"stage": 1}]
    assert config.identity(one) != config.identity(Work(ways=[Way(stage=2)], named={"a": Way()}))
    assert config.plain(one)["ways"][0]["processes"] == 8
