"""Every reader of YAML: what is too large, too deep or of another form ends in a few words."""

from __future__ import annotations

import errno
import itertools
import json
import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from yoriai import YoriaiError, config, mixture, record, record_history
from yoriai.entry import KINDS
from yoriai.plugins import load_registry
from yoriai.recipe import apply_setting, load_recipe, parse_yaml
from yoriai_corpus.account.group_terms import OWN_FILE, read_terms
from yoriai_corpus.rules.judging import rules_named
from yoriai_domain_adapt.commands.sweep import sweep
from yoriai_eval.scoring import protocol
from yoriai_eval.tasks.yaml_file import YamlTask
from yoriai_train.commands.matrix import read_matrix
from yoriai_train.launch import launch_file

ROOT = Path(__file__).parent.parent
Door = Callable[[str, Path], object]


@cache
def registry() -> Any:
    return load_registry()


def written(text: str, folder: Path, name: str = "given.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def swept(text: str, folder: Path) -> object:
    out = folder / "out.yaml"
    out.unlink(missing_ok=True)
    words = [str(written(text, folder)), "--mix", "mix", "--shares", "0.2", "--out", str(out)]
    return sweep.main(words, standalone_mode=False)


def in_folder(name: str, read: Callable[[Path], object]) -> Door:
    return lambda text, folder: read(written(text, folder, name).parent)


def in_file(read: Callable[[Path], object]) -> Door:
    return lambda text, folder: read(written(text, folder))


def set_to(text: str, _folder: Path) -> None:
    apply_setting({"steps": {"a": {"b": 1}}}, f"a.b={text}")


RECIPE = {
    "name": "small", "version": 1, "seed": 1, "licence": "MIT", "question": "What?",
    "steps": {"a": {"uses": "corpus/tokenizer", "from": "elsewhere", "size": 300,
                    "character_coverage": 0.99, "symbols": ["x"]}},
}  # fmt: skip
SWEPT = {
    "name": "small",
    "steps": {
        "mix": {"uses": "domain-adapt/mix", "from": ["a", "b"], "share": 0.1},
        "base": {"uses": "train/pretrain", "from": ["mix", "old"]},
        "scores": {"uses": "eval/run", "from": ["old", "base"]},
    },
}
TASK = {
    "name": "t", "title": "T", "licence": "MIT", "source": "s", "language": "ja",
    "form": "ranked", "data": "rows.jsonl", "text": "{q}", "choices": ["a", "b"], "answer": "{a}",
    "shots": [0], "max_characters": 3,
}  # fmt: skip
MIXTURE = {
    "format": 1, "dtype": "uint16", "sequences": [],
    "phases": [{"name": "all", "weights": {"ja": 1.0}, "tokens": 3}],
}  # fmt: skip
LAUNCH = {
    "recipe": "a.yaml", "scheduler": "slurm", "name": "n", "nodes": 2, "gpus_per_node": 1,
    "walltime": "1:00:00", "queue": "q", "directives": ["-x"], "environment": {"A": "b"},
    "port": 20_000, "requeues": 1,
}  # fmt: skip
PROTOCOL = {
    "base": "v1.3", "name": "mine", "title": "t", "source": "s", "licence": "MIT",
    "prompt": {"header": "h"}, "chat": False,
}  # fmt: skip


def of(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


RECORD = of(next(iter(sorted(ROOT.glob("records/0*/record.yaml")))))
DOORS: dict[str, tuple[Door, dict[str, Any]]] = {
    "recipe": (in_file(lambda path: load_recipe(path, registry())), RECIPE),
    "lines of a recipe": (lambda text, _folder: parse_yaml(text, "f"), RECIPE),
    "--set": (set_to, RECIPE),
    "record": (in_folder("record.yaml", record.read_record), RECORD),
    "records, many": (lambda t, _f: record_history.quick_yaml(t.encode()), RECORD),
    "mixture": (in_folder(mixture.NAME, mixture.read_mixture), MIXTURE),
    "word lists": (in_file(read_terms), of(OWN_FILE)),
    "--rules": (lambda t, _f: rules_named(t, registry()), {"use": "corpus/kana", "ratio": 0.1}),
    "task": (in_file(lambda path: YamlTask(path=str(path)).described), TASK),
    "protocol": (in_file(lambda path: protocol.load(str(path))), PROTOCOL),
    "matrix": (in_file(read_matrix), of(next(ROOT.glob("recipes/matrices/*.yaml")))),
    "launch file": (in_file(launch_file.load), LAUNCH),
    "sweep": (swept, SWEPT),
}
LEVELS = 12
BOMBS = {
    "aliases": "\n".join(
        ["a0: &a0 [x]"]
        + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, LEVELS)]
    ),
    "merges": "\n".join(
        ["a0: &a0 {k: v}"]
        + [
            f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: v}}"
            for n in range(1, LEVELS)
        ]
    ),
    "brackets": "[" * 100_000 + "]" * 100_000,
    "mappings": "{a: " * 100_000 + "}" * 100_000,
    "a number": "{a: " + "9" * 100_000 + "}",
}
LONG = "x" * 5_000
VALUES = [LONG, math.nan, math.inf, 10**99, -(10**99), [LONG], {LONG: 1}, [[]] * 50, None, True,
          {"\0": 1}, [math.nan], "\x1b[31m", [1], {"a": {"b": []}}, ""]  # fmt: skip


def variants(valid: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The same with one value, at the top or one level below, replaced; and with a long key."""
    yield "a long key", {**valid, LONG: 1}
    for key, value in valid.items():
        for number, other in enumerate(VALUES):
            yield f"{key}, {number}", {**valid, key: other}
            if isinstance(value, dict):
                for inner in value:
                    yield f"{key}.{inner}, {number}", {**valid, key: {**value, inner: other}}
                    if isinstance(value[inner], dict):
                        for last in value[inner]:
                            changed = {**value[inner], last: other}
                            told = f"{key}.{inner}.{last}, {number}"
                            yield told, {**valid, key: {**value, inner: changed}}


def told(door: Door, text: str, folder: Path) -> str:
    """What a reader says of a text; "" if it takes it. Anything but our own errors is raised."""
    try:
        door(text, folder)
    except YoriaiError as error:
        return f"{error.message}\n{error.hint}"
    return ""


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("name", DOORS)
def test_a_bomb_is_refused_in_a_few_words(name: str, bomb: str, tmp_path: Path) -> None:
    words = told(DOORS[name][0], BOMBS[bomb], tmp_path)
    assert words or name == "records, many"  # of many, one that cannot be read is passed over
    assert len(words) < 1_000


@pytest.mark.parametrize("name", DOORS)
def test_a_value_of_another_form_is_taken_or_refused_in_a_few_words(
    name: str, tmp_path: Path
) -> None:
    door, valid = DOORS[name]
    wrong = []
    for place, changed in variants(valid):
        text = json.dumps(changed, ensure_ascii=False).replace("NaN", ".nan")
        text = text.replace("Infinity", ".inf").replace("\x1b", "\\e")
        try:
            words = told(door, text, tmp_path)
        except Exception as error:
            wrong.append(f"{place}: {error!r:.200}")
            continue
        if "x" * 500 in words:
            wrong.append(f"{place}: echoes {len(words):,} characters")
    assert wrong == []


def test_a_setting_may_name_no_place_of_five_thousand_digits() -> None:
    value = {"steps": {"a": {"b": [1]}}}
    for setting in (f"a.b.{'9' * 5_000}=1", f"{LONG}=1", f"a.b.0.c.{LONG}=1"):
        with pytest.raises(YoriaiError) as caught:
            apply_setting(json.loads(json.dumps(value)), setting)
        assert "x" * 500 not in str(caught.value)


KEYS = [LONG, math.nan, [], {}, "", [[]], {"": 0}, {"use": []}]  # for each key of each entry


def test_no_key_of_any_entry_ends_in_an_error_of_python() -> None:
    """Whatever a key holds, its entry is built or says what is wrong (pydantic's own error)."""
    offered, wrong, tried = registry(), [], 0
    for kind in KINDS:
        for found in offered.found(kind):
            target = offered.load(found) if not found.missing else None
            if not (isinstance(target, type) and issubclass(target, config.Configured)):
                continue
            for key, value in itertools.product(target.model_fields, KEYS):
                tried += 1
                try:
                    config.build(target, {key: value}, offered)
                except pydantic.ValidationError as error:
                    told = config.explain(error, target)
                    if any("x" * 500 in fault.message for fault in told):
                        wrong.append(f"{found.name}: {key}: echoes {LONG[:9]}...")
                except OSError as error:  # a path of 5,000 letters; the command line names it
                    if error.errno != errno.ENAMETOOLONG:
                        wrong.append(f"{found.name}: {key}={value!r:.30}: {error!r:.100}")
                except Exception as error:
                    wrong.append(f"{found.name}: {key}={value!r:.30}: {error!r:.100}")
    assert tried > 1_000
    assert wrong == []
