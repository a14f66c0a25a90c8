"""One recipe into one with several shares of replay."""

import pytest
import yaml

from yoriai import UsageError
from yoriai.testing import run_cli
from yoriai_domain_adapt.commands.sweep import expand

RECIPE = {
    "name": "novels",
    "licence": "MIT",
    "question": {"title": {"en": "?"}},
    "steps": {
        "text": {"uses": "corpus/build"},
        "shards": {"uses": "corpus/tokens", "from": "text"},
        "base": {"uses": "train/pretrain", "from": "shards"},
        "mix": {"uses": "domain-adapt/mix", "from": ["shards", "shards"], "share": 0.4},
        "adapted": {"uses": "train/pretrain", "from": ["mix", "base"]},
        "small": {"uses": "domain-adapt/quantise", "from": "adapted"},
        "scores": {"uses": "eval/run", "from": ["base", "adapted", "small", "text"]},
    },
}


def test_steps_behind_the_mix_stand_once_for_each_share_and_the_others_once():
    made = expand(RECIPE, "mix", [0.0, 0.25], 0.1)["steps"]
    assert list(made) == [
        "text", "shards", "base", "mix-000", "mix-025", "adapted-000", "adapted-025", "small-000",
        "small-025", "scores", "curve",
    ]  # fmt: skip
    assert made["mix-025"]["share"] == 0.25
    assert made["adapted-025"]["from"] == ["mix-025", "base"]
    assert made["scores"]["from"] == ["base", "text", "adapted-000", "adapted-025"]
    assert made["curve"]["shares"] == {"adapted-000": 0.0, "adapted-025": 0.25}
    assert made["curve"]["predicted"] == 0.1


def test_a_base_that_is_a_folder_from_elsewhere_begins_the_curve():
    steps = {n: s for n, s in RECIPE["steps"].items() if n != "base"}
    steps["adapted"] = {"uses": "train/pretrain", "from": ["mix", "build/tour/base@1"]}
    steps["scores"] = {"uses": "eval/run", "from": ["build/tour/base@1", "adapted", "text"]}
    made = expand(RECIPE | {"steps": steps}, "mix", [0.0, 0.5], None)["steps"]
    assert made["curve"]["from"][0] == "build/tour/base@1"


def test_scores_that_do_not_ask_the_base_are_refused_since_there_would_be_no_curve():
    steps = RECIPE["steps"] | {"scores": {"uses": "eval/run", "from": ["adapted", "text"]}}
    with pytest.raises(UsageError, match="there would be no curve"):
        expand(RECIPE | {"steps": steps}, "mix", [0.0, 0.5], None)


def test_the_recipe_that_was_given_is_not_changed():
    before = yaml.safe_dump(RECIPE)
    expand(RECIPE, "mix", [0.5], None)
    assert yaml.safe_dump(RECIPE) == before


def test_a_step_that_is_no_mix_is_refused_with_the_steps_there_are():
    with pytest.raises(UsageError, match="no step of domain-adapt/mix") as caught:
        expand(RECIPE, "base", [0.5], None)
    assert "mix" in caught.value.hint


@pytest.mark.parametrize(
    ("shares", "words"), [("a,b", "no list of numbers"), ("0,1", "below 1"), ("0.1,0.1", "twice")]
)
def test_shares_that_are_none_are_refused(tmp_path, shares, words):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(RECIPE))
    done = run_cli(
        "domain-adapt", "sweep", "r.yaml", "--mix", "mix", "--shares", shares, "--out", "s.yaml",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "s.yaml").exists()


def test_a_recipe_that_is_a_device_is_refused(tmp_path):
    done = run_cli(
        "domain-adapt", "sweep", "/dev/zero", "--mix", "mix", "--shares", "0.1", "--out", "s.yaml",
        cwd=tmp_path,
    )  # fmt: skip
    assert (done.code, "no ordinary file" in done.err) == (2, True)
