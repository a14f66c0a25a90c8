"""Recipes: what is wrong is said with its line, its place and the nearest name."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yoriai.errors import NotFound, UsageError, YoriaiError
from yoriai.recipe import apply_setting, load_recipe, parse_yaml

HEAD = "name: lab\nsteps:\n"
# what is wrong, the recipe, and what the error must say
PREDICTED = (
    "name: lab\nquestion: {{title: {{en: x}}, predictions: [{{{}}}]}}\n"
    "steps: {{a: {{uses: lab/words}}}}\n"
)
FAULTS = {
    "unknown key of a step": (HEAD + "  a:\n    uses: lab/words\n    wrods: [x]\n",
                              ":5: steps.a.wrods: unknown key; did you mean 'words'?"),
    "unknown key of a part": (HEAD + "  a:\n    uses: lab/words\n    near:\n      treshold: 1\n",
                              ":6: steps.a.near.treshold: unknown key; did you mean 'threshold'?"),
    "unknown key of an entry": (
        HEAD + "  a:\n    uses: lab/words\n    rules:\n      - lab/short\n"
        "      - {use: lab/short, longst: 3}\n",
        ":7: steps.a.rules[1].longst: unknown key (in lab/short); did you mean 'longest'?"),
    "wrong value in an entry": (
        HEAD + "  a: {uses: lab/words, rules: [{use: short, longest: x}]}\n",
        ":3: steps.a.rules[0].longest: input should be a valid integer"),
    "unknown entry": (HEAD + "  a:\n    uses: lab/words\n    rules: [lab/shrt]\n",
                      ":5: steps.a.rules[0]: no filter 'lab/shrt'; did you mean 'lab/short'?"),
    "entry without a name": (HEAD + "  a: {uses: lab/words, rules: [{longest: 3}]}\n",
                             "steps.a.rules[0]: give a name, or a mapping with 'use: NAME'"),
    "unknown step": (HEAD + "  a:\n    uses: lab/wrods\n",
                     ":4: steps.a.uses: no step 'lab/wrods'; did you mean 'lab/words'?"),
    "no uses": (HEAD + "  a: {words: [x]}\n", ":3: steps.a: a step needs 'uses: plugin/step'"),
    "unknown top key": ("name: lab\nlicense: MIT\nsteps: {a: {uses: lab/words}}\n",
                        ":2: license: unknown key; did you mean 'licence'?"),
    "no name": ("steps: {a: {uses: lab/words}}\n", "name: field required"),
    "bad name": ("name: La B\nsteps: {a: {uses: lab/words}}\n",
                 ":1: name: 'La B' is no plain name"),
    "no steps": ("name: lab\nsteps: {}\n", "a recipe needs at least one step"),
    "step with a bad name": (HEAD + "  A b: {uses: lab/words}\n",
                             ":3: steps.A b: 'A b' cannot name"),
    "step called like a top key": (HEAD + "  seed: {uses: lab/words}\n",
                                   "'seed' cannot name a step"),
    "step that is a word": (HEAD + "  a: lab/words\n", ":3: steps.a: input should be a valid dict"),
    "misspelt input": (HEAD + "  words: {uses: lab/words}\n  b: {uses: lab/join, from: wrods}\n",
                       ":4: steps.b.from: 'wrods' is no earlier step and no artifact; "
                       "did you mean 'words'"),
    "later input": (HEAD + "  b: {uses: lab/join, from: w}\n  w: {uses: lab/words}\n",
                    ":3: steps.b.from: 'w' comes later in the recipe"),
    "input that is a number": (HEAD + "  b: {uses: lab/join, from: 3}\n",
                              "steps.b.from: give a step's name"),
    "missing kind": (HEAD + "  b: {uses: lab/join}\n", ":3: steps.b.from: lab/join needs a words"),
    "wrong kind": (HEAD + "  w: {uses: lab/words}\n  t: {uses: lab/join, from: w}\n"
                   "  u:\n    uses: lab/join\n    from: [w, t]\n",
                   ":7: steps.u.from: 't' is a text; lab/join takes words"),
    "key given twice": (HEAD + "  a:\n    uses: lab/words\n    note: x\n    note: y\n",
                        ":6: the key 'note' is given twice"),
    "bad YAML": ("name: lab\nsteps: [\n  a: }\n", ":3: not valid YAML"),
    "tab": ("name: lab\nsteps:\n\ta: x\n", ":3: not valid YAML"),
    "no mapping": ("- a\n", "a recipe is a mapping with name and steps"),
    "empty": ("", "a recipe is a mapping with name and steps"),
    "impossible date": ("name: lab\nversion: 2026-13-45\n",
                        "not valid YAML: month must be in 1..12"),
    "thousands of brackets": ("name: " + "[" * 3000, "not valid YAML"),
    "control character": ("name: la\x00b\n", "not valid YAML"),
    "aliases that explode": (
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefgh")),
        "values once its aliases are written out"),
    "unsafe tag": ("name: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    "prediction with two limits": (
        "name: lab\nquestion: {title: {en: x}, predictions: [{fact: a.b, below: 1, above: 2}]}\n"
        "steps: {}\n",
        ":2: question.predictions[0]: give exactly one of below, above, than"),
    "prediction that is no number": (
        PREDICTED.format("fact: a.count, below: .nan"),
        ":2: question.predictions[0].below: input should be a finite number"),
    "prediction that is true": (
        PREDICTED.format("fact: a.count, above: true"),
        ":2: question.predictions[0].above: give a number, not true or false"),
    "prediction of a step that is not there": (
        PREDICTED.format("fact: aa.count, above: 1"),
        ":2: question.predictions[0].fact: there is no step 'aa'; did you mean 'a'?"),
    "prediction of a step without a fact": (
        PREDICTED.format("fact: a, above: 1"),
        ":2: question.predictions[0].fact: name the fact, too; as in a.FACT"),
    "prediction of a fact that the step does not make": (
        PREDICTED.format("fact: a.cuont, above: 1"),
        "fact: lab/words makes no number 'cuont'; did you mean a.count?"),
    "comparison with a fact that the step does not make": (
        PREDICTED.format("fact: a.count, than: a.cuont"),
        ":2: question.predictions[0].than: lab/words makes no number 'cuont'"),
    "seed that is true": ("name: lab\nseed: true\nsteps: {a: {uses: lab/words}}\n",
                          ":2: seed: give a number, not true or false"),
    "endless version": (f"name: lab\nversion: {10**12}\nsteps: {{a: {{uses: lab/words}}}}\n",
                        ":2: version: input should be less than 1000000"),
    "endless licence": (f"name: lab\nlicence: {'x' * 5000}\nsteps: {{a: {{uses: lab/words}}}}\n",
                        ":2: licence: string should have at most 300 characters"),
    "endless name": (f"name: {'x' * 5000}\nsteps: {{a: {{uses: lab/words}}}}\n",
                     ":1: name: 'xxxx"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_named_with_file_line_place_and_remedy(case, recipe, registry):
    text, expected = FAULTS[case]
    path = recipe(text)
    with pytest.raises(UsageError) as caught:
        load_recipe(path, registry)
    assert expected in caught.value.message
    assert all(line.startswith(str(path)) for line in caught.value.message.splitlines())


def test_all_faults_are_told_at_once(recipe, registry):
    path = recipe(HEAD + "  a: {uses: lab/words, x: 1}\n  b: {uses: lab/words, y: 1}\n")
    with pytest.raises(UsageError) as caught:
        load_recipe(path, registry)
    assert ":3: steps.a.x" in caught.value.message
    assert ":4: steps.b.y" in caught.value.message


def test_a_faulty_step_makes_no_second_fault_in_the_steps_behind_it(recipe, registry):
    path = recipe(HEAD + "  a: {uses: lab/words, x: 1}\n  b: {uses: lab/join, from: a}\n")
    with pytest.raises(UsageError) as caught:
        load_recipe(path, registry)
    assert len(caught.value.message.splitlines()) == 1


def test_a_recipe_larger_than_a_megabyte_is_refused(recipe, registry):
    with pytest.raises(UsageError, match="more than 1,048,576 bytes"):
        load_recipe(recipe("# " + "x" * 2**20), registry)


def test_a_recipe_that_is_not_utf8_is_refused_with_the_byte(tmp_path, registry):
    path = tmp_path / "r.yaml"
    path.write_bytes("name: 寄合".encode("euc-jp"))
    with pytest.raises(UsageError, match=r"is not UTF-8 \(byte 6\)"):
        load_recipe(path, registry)


def test_a_recipe_that_is_not_there_is_not_found(tmp_path, registry):
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(NotFound, match="no recipe"):
            load_recipe(path, registry)


def test_a_step_whose_target_is_no_step_is_a_fault_of_the_plugin(plant, tmp_path):
    from yoriai.plugins import load_registry

    code = (
        "from yoriai import Entry, hookimpl\n\n@hookimpl\ndef yoriai_steps():\n"
        "    return [Entry(name='s', target='ant.rules:Rule', summary='s')]\n"
    )
    plant("ant", code)
    (tmp_path / "r.yaml").write_text("name: r\nsteps: {a: {uses: ant/s}}\n")
    with pytest.raises(UsageError, match=r"ant/s is no yoriai\.Step"):
        load_recipe(tmp_path / "r.yaml", load_registry())


def test_the_resolved_recipe_is_valid_and_resolves_to_itself(recipe, registry, tmp_path):
    loaded = load_recipe(recipe(), registry, ["words.near.threshold=0.25", "seed=3"])
    resolved = loaded.resolved()
    again = tmp_path / "resolved.yaml"
    again.write_text(yaml.safe_dump(resolved, allow_unicode=True, sort_keys=False))
    assert load_recipe(again, registry).resolved() == resolved
    assert resolved["seed"] == 3
    assert resolved["steps"]["words"]["near"] == {"threshold": 0.25}
    assert resolved["steps"]["words"]["rules"][0]["longest"] == 9
    assert resolved["steps"]["words"]["limit"] == "Infinity"
    assert resolved["steps"]["text"]["from"] == ["words"]


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "place", "value"),
    [
        ("seed=5", ("seed",), 5),
        ("words.words=[a, b]", ("steps", "words", "words"), ["a", "b"]),
        ("words.words.1=zwei", ("steps", "words", "words", 1), "zwei"),
        ("words.near.threshold=1e-3", ("steps", "words", "near", "threshold"), "1e-3"),
        ("words.rules.0.longest=4", ("steps", "words", "rules", 0),
         {"use": "lab/short", "longest": 4}),
        ("words.note=", ("steps", "words", "note"), ""),
        ("words.note=a=b", ("steps", "words", "note"), "a=b"),
        ("steps.words.note=x", ("steps", "words", "note"), "x"),
    ],
)  # fmt: skip
def test_a_setting_changes_one_value(setting, place, value, recipe):
    tree, _ = parse_yaml(recipe().read_text(), "r")
    apply_setting(tree, setting)
    for key in place:
        tree = tree[key]
    assert tree == value


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("words", "write --set STEP.KEY=VALUE"),
        ("=3", "write --set"),
        ("words..x=3", "write --set"),
        ("wrods.note=x", "no step 'wrods'"),
        ("words.words.9=x", "steps.words.words has 3 items, no '9'"),
        ("words.words.-1=x", "has 3 items"),
        ("words.words.²=x", "has 3 items"),
        ("words.words.one=x", "has 3 items"),
        ("seed.x=3", "seed holds a plain value"),
        ("words.note=[", "is not valid YAML"),
        ("words.note=2026-13-45", "is not valid YAML"),
    ],
)
def test_a_setting_that_cannot_be_applied_says_why(setting, said, recipe):
    tree, _ = parse_yaml(recipe().read_text(), "r")
    with pytest.raises(YoriaiError) as caught:
        apply_setting(tree, setting)
    assert said in caught.value.message


def test_an_unknown_step_in_a_setting_is_answered_with_the_nearest(recipe, registry):
    with pytest.raises(NotFound) as caught:
        load_recipe(recipe(), registry, ["wrods.note=x"])
    assert caught.value.hint == "did you mean 'words'?"


def test_a_setting_changes_one_use_of_an_anchor_and_not_the_others():
    tree, _ = parse_yaml("name: x\nsteps: {a: {near: &n {t: 1}}, b: {near: *n}}\n", "r")
    apply_setting(tree, "b.near.t=2")
    assert tree["steps"]["a"]["near"] == {"t": 1}


@given(st.text(st.characters(codec="utf-8"), max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_after_set_is_applied_or_refused_in_words(text):
    tree, _ = parse_yaml("name: x\nsteps: {a: {words: [b]}}\n", "r")
    for setting in (text, f"a.{text}", f"a.words.{text}", f"a.words.{text}=1", f"a.note={text}"):
        with contextlib.suppress(YoriaiError):
            apply_setting(tree, setting)


@given(st.text(max_size=40))
def test_any_text_is_a_recipe_or_refused_in_words(text):
    with contextlib.suppress(UsageError):
        assert isinstance(parse_yaml(text, "r.yaml")[0], dict)


@pytest.mark.parametrize("text", ["name: a\ns[teps: {}\n", "name[: a\nsteps: {}\n"])
def test_a_key_with_a_bracket_is_an_unknown_key(recipe, yoriai, text):
    answer = yoriai("run", str(recipe(text)), "--dry-run")
    assert answer.code == 2
    assert "unknown key" in answer.err
