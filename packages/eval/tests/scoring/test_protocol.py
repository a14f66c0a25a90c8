"""The protocols as data: every string as published, every prompt as llm-jp-eval made it."""

import functools
import hashlib
import json
import os
import random
import re
from itertools import islice
from pathlib import Path

import pytest
import yaml

from yoriai import NotFound, Sample, Task, UsageError, YoriaiError
from yoriai_eval.scoring import protocol
from yoriai_eval.scoring.metrics import METRICS
from yoriai_eval.scoring.protocol import Exam
from yoriai_eval.sets import store
from yoriai_eval.tasks import datasets

DATA = os.environ.get("YORIAI_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="YORIAI_DATA names no folder with the data sets")
NINE = {
    "jamp", "janli", "jnli", "jsem", "jsick", "jemhopqa", "niilc", "jsquad", "jcommonsenseqa",
}  # fmt: skip
# sha256 of what `canonical` gives: template, instructions, limits and metrics of the ten sets.
PUBLISHED = {
    "oct2023": "67a0043d755d68372f3a24a84037b2287b5346890547123f3cf02905de30057c",
    "v1.3": "0c7e10d79b9c780545bbbcc57713b6862cb2de27f8afea4fba8efefc5ddc4c38",
}
IN_FILE = {"oct2023": "oct2023", "v1.3": "v1.3.0"}
SHOTS = [Sample(id=f"s{n}", text=f"前提：犬{n}\n仮説：猫", answer="neutral") for n in (1, 2)]
QUESTION = Sample(id="q", text="前提：{output}が鳴く\n仮説：猫", answer="entailment")

OCTOBER = """\
以下はタスクを説明する指示と、追加の背景情報を提供する入力の組み合わせです。要求を適切に満たす回答を書いてください。
### 指示
関係を{input}から答えよ。

制約：なし

### 入力：
前提：犬1
仮説：猫
### 回答：
neutral

### 入力：
前提：犬2
仮説：猫
### 回答：
neutral

### 入力：
前提：{output}が鳴く
仮説：猫
### 回答：
"""
APRIL = """\
以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。

### 指示:
関係を{input}から答えよ。

制約：なし

### 入力:
前提：犬1
仮説：猫

### 応答:
neutral

### 入力:
前提：犬2
仮説：猫

### 応答:
neutral

### 入力:
前提：{output}が鳴く
仮説：猫

### 応答:
"""
OURS = """\
関係を{input}から答えよ。

制約：なし

前提：犬1
仮説：猫
答え：neutral

前提：犬2
仮説：猫
答え：neutral

前提：{output}が鳴く
仮説：猫
答え："""


_rows = functools.cache(datasets.rows)  # some files take seconds to read


@pytest.fixture(autouse=True)
def _only_what_is_here(monkeypatch, tmp_path):
    """The collected files and nothing else: no cache of the user's, no download."""
    if DATA:
        monkeypatch.setenv("YORIAI_MIRROR", f"{DATA}/eval{os.pathsep}{DATA}/tuning")
        monkeypatch.setenv("YORIAI_CACHE", str(tmp_path))
        monkeypatch.setattr(store, "_download", _refuse)
        monkeypatch.setattr(datasets, "rows", _rows)


def _refuse(dataset, path):
    raise NotFound(f"{dataset}: {path} is not here")


def canonical(prompt: dict[str, str], tasks: dict[str, list]) -> str:
    return json.dumps([prompt, tasks], ensure_ascii=False, sort_keys=True)


def ours(name: str) -> str:
    loaded = protocol.load(name)
    tasks = {
        short: [asked.instruction, asked.max_tokens, list(asked.metrics)]
        for short, asked in loaded.tasks.items()
        if short in NINE | {"jsts"}
    }
    return canonical(loaded.prompt.model_dump(), tasks)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def exam(name: str, shots=tuple(SHOTS), **more) -> Exam:
    loaded = protocol.load(name)
    return Exam(
        task=Task(),
        form="generation",
        metrics=("exact_match",),
        prompt=loaded.prompt,
        answer=loaded.answer,
        instruction="関係を{input}から答えよ。\n\n制約：なし",
        shots=shots,
        **more,
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_template_instructions_limits_and_metrics_are_the_published_ones(name):
    assert digest(ours(name)) == PUBLISHED[name]


@needs_data
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_string_is_that_of_the_collected_protocol(name):
    place = Path(DATA) / "eval/llm_jp_eval_protocol/protocol.json"
    told = json.loads(place.read_text(encoding="utf-8"))["versions"][IN_FILE[name]]
    loaded = protocol.load(name)
    pieces = told["prompt"]
    prompt = {
        "header": pieces["header"],
        "shot": pieces["few_shot"],
        "join": pieces["few_shot_join"],
        "query": pieces["query"],
    }
    assert loaded.prompt.model_dump() == prompt
    for short, row in told["datasets"].items():
        asked = loaded.tasks[short]
        assert asked.instruction == row["instruction"]
        assert asked.max_tokens == row["output_length"]
        assert list(asked.metrics) == row["metrics"]
        assert [shot.sha256 for shot in asked.shots] == [
            digest(f"{shot['input']}\n{shot['output']}") for shot in row["few_shots"]
        ]
    assert loaded.shot_count == told["num_few_shots"]
    tasks = {
        short: [row["instruction"], row["output_length"], row["metrics"]]
        for short, row in told["datasets"].items()
    }
    assert digest(canonical(prompt, tasks)) == PUBLISHED[name]


@needs_data
def test_mawps_under_v13_makes_the_file_whose_sha256_llm_jp_publishes():
    """llm-jp/scripts:evaluation/installers/llm-jp-eval-v1.3.1/resources/sha256sums.csv."""
    place = Path(DATA) / "tuning/cot_ja/dataset/mawps/test.json"
    rows = [
        {"input": row["question"].replace("\n解答：", ""), "output": row["answer"]}
        for row in json.loads(place.read_text(encoding="utf-8"))
    ]
    random.Random(42).shuffle(rows)
    asked = protocol.load("v1.3").tasks["mawps"]
    made = {
        "instruction": asked.instruction,
        "output_length": asked.max_tokens,
        "metrics": asked.metrics,
        "few_shots": [],
        "samples": rows[:500],
    }
    published = "b9c26eb7e2daa3ed53b5f174651bec44ed74f45799e81bb12f448046d4e04052"
    assert digest(json.dumps(made, ensure_ascii=False, indent=4)) == published


@pytest.mark.parametrize(("name", "expected"), [("oct2023", OCTOBER), ("v1.3", APRIL)])
def test_a_prompt_is_what_llm_jp_eval_made(name, expected):
    asked = exam(name)
    assert asked.question(QUESTION) == expected
    assert expected.startswith(asked.prefix())


def test_our_prompt_is_short_and_ends_on_the_line_of_the_answer():
    assert exam("yoriai").question(QUESTION) == OURS
    assert exam("yoriai", shots=()).question(QUESTION) == (
        "関係を{input}から答えよ。\n\n制約：なし\n\n前提：{output}が鳴く\n仮説：猫\n答え："
    )


@pytest.mark.parametrize("name", ["oct2023", "v1.3", "yoriai"])
def test_where_a_model_stops_is_where_the_answer_is_cut(name):
    loaded = protocol.load(name)
    # yoriai drops white space before the cut, so that a first newline must not end the writing.
    assert exam(name).stop == (() if name == "yoriai" else (loaded.answer.cut,))
    # An example with its answer is cut at its end, so that a model that goes on with the next
    # example has answered.
    text = exam(name).question(QUESTION)
    after = text[len(exam(name, shots=SHOTS[:1]).prefix()) :]
    answer = after.split("neutral", 1)[1]
    assert answer.startswith(loaded.answer.cut)


def test_names_are_the_names_of_the_files():
    assert protocol.names() == ["oct2023", "v1.3", "v1.3.0", "yoriai"]
    for name in protocol.names():
        assert protocol.load(name).name == name
    with pytest.raises(NotFound, match=r"v1\.4") as told:
        protocol.load("v1.4")
    assert "v1.3" in told.value.hint


@pytest.mark.parametrize("name", ["oct2023", "v1.3", "yoriai"])
def test_the_average_is_of_four_categories_over_the_nine_sets(name):
    loaded = protocol.load(name)
    assert loaded.average == ("NLI", "QA", "RC", "MC")
    assert loaded.categories == {
        "NLI": ("jamp", "janli", "jnli", "jsem", "jsick"),
        "QA": ("jemhopqa", "niilc"),
        "RC": ("jsquad",),
        "MC": ("jcommonsenseqa",),
    }
    assert NINE | {"jsts"} <= set(loaded.tasks)
    assert not loaded.chat
    assert loaded.source
    assert loaded.licence


@pytest.mark.parametrize("name", ["oct2023", "v1.3"])
def test_sets_with_few_answers_name_them_and_the_instruction_does_too(name):
    loaded = protocol.load(name)
    for short in ("jamp", "janli", "jnli", "jsem", "jsick"):
        asked = loaded.tasks[short]
        offered = re.match(r"前提と仮説の関係を(.*)の中から回答", asked.instruction)
        assert offered
        assert tuple(offered[1].split("、")) == asked.labels
    assert loaded.tasks["jcommonsenseqa"].labels == tuple("01234")
    for asked in loaded.tasks.values():
        assert asked.forms == ("generation",)
        assert asked.wording is None
        assert asked.max_characters == 0


def test_october_names_four_examples_a_set_and_april_none():
    old, new = protocol.load("oct2023"), protocol.load("v1.3")
    for asked in old.tasks.values():
        assert len(asked.shots) == old.shot_count == 4
        assert len({shot.sha256 for shot in asked.shots}) == 4
    assert not any(asked.shots for asked in new.tasks.values())
    assert new.shot_count == 4


def test_our_limits_are_in_characters_and_every_form_has_a_metric():
    loaded = protocol.load("yoriai")
    for short, asked in loaded.tasks.items():
        assert asked.max_tokens == 0
        assert bool(asked.max_characters) == ("generation" in asked.forms)
        for form in asked.forms:
            if form != "gold":
                assert any(METRICS[metric].form == form for metric in asked.metrics), short
        if asked.wording is not None and asked.wording.labels:
            assert tuple(asked.wording.labels.values()) == asked.labels
            assert all(label in asked.instruction for label in asked.labels)


@needs_data
def test_our_limits_are_twice_the_longest_gold_rounded_up_to_ten(yoriai_registry):
    for short, asked in protocol.load("yoriai").tasks.items():
        if "generation" not in asked.forms or store.origin(short).extra:
            continue
        task = _task(yoriai_registry, short)
        longest = max(map(len, asked.labels), default=0)
        for split in () if asked.labels else ("test", "dev", "train"):
            try:
                found = list(task.model_copy(update={"split": split}).samples([]))
            except NotFound:  # the train files of JNLI and JSQuAD are not in the collection
                assert short in ("jnli", "jsquad")
                continue
            longest = max(longest, *(len(s.gold) for s in found))
        assert asked.max_characters == -(-2 * longest // 10) * 10, (short, longest)


@needs_data
@pytest.mark.parametrize("name", ["oct2023", "v1.3", "yoriai"])
def test_every_set_can_be_asked_in_every_form(name, yoriai_registry):
    loaded = protocol.load(name)
    for short, asked in loaded.tasks.items():
        if store.origin(short).extra:
            continue
        task = _task(yoriai_registry, short)
        try:
            made = protocol.exams(loaded, task)
        except NotFound:
            assert (name, short) in {("v1.3", "jnli"), ("v1.3", "jsquad")}  # no train file here
            continue
        assert [e.form for e in made] == list(asked.forms)
        for one in made:
            assert len(one.shots) == 4
            assert all(METRICS[metric].form == one.form for metric in one.metrics)
            for sample in map(one.put, islice(task.samples([]), 500)):
                prompt = one.question(sample)
                assert prompt.endswith(one.after)
                if one.labels:
                    assert sample.gold in one.labels
                    assert set(sample.choices) == set(one.labels)
                if one.form == "ranked":
                    assert sample.gold in sample.choices


@needs_data
@pytest.mark.parametrize("short", sorted(NINE | {"jsts"}))
def test_october_shows_the_examples_that_llm_jp_eval_quoted(short, yoriai_registry):
    """The prompt put together as ``get_evaluation_prompt`` does, from the collected protocol."""
    place = Path(DATA) / "eval/llm_jp_eval_protocol/protocol.json"
    told = json.loads(place.read_text(encoding="utf-8"))["versions"]["oct2023"]["datasets"][short]
    task = _task(yoriai_registry, short)
    (asked,) = protocol.exams(protocol.load("oct2023"), task)
    sample = next(iter(task.samples([])))
    shots = "\n".join(
        "\n### 入力：\n" + shot["input"] + "\n### 回答：\n" + shot["output"]
        for shot in told["few_shots"]
    )
    head = OCTOBER.partition("関係を")[0] + told["instruction"] + "\n" + shots
    assert asked.question(sample) == head + "\n\n### 入力：\n" + sample.text + "\n### 回答：\n"


@needs_data
def test_our_jcommonsenseqa_ranks_the_texts_that_the_file_holds(yoriai_registry):
    task = _task(yoriai_registry, "jcommonsenseqa")
    ranked, _ = protocol.exams(protocol.load("yoriai"), task)
    file = Path(DATA) / "eval/jglue/datasets/jcommonsenseqa-v1.1/valid-v1.1.json"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    samples = [ranked.put(s) for s in task.samples([])]
    assert len(samples) == len(rows) == 1119
    for sample, row in zip(samples, rows, strict=True):
        assert sample.text == f"質問：{row['question']}"
        assert sample.choices == tuple(row[f"choice{n}"] for n in range(5))
        assert sample.gold == row[f"choice{row['label']}"]


def _task(registry, short: str):
    task = registry.load(registry.get("tasks", f"eval/{short}"))()
    task._entry = f"eval/{short}"
    return task


def test_other_words_change_choices_and_answer_alike():
    words = protocol.Wording(labels={"yes": "はい", "no": "いいえ"})
    by_text = Sample(id="x", text="t", choices=("yes", "no"), answer="no")
    assert (words.apply(by_text).choices, words.apply(by_text).answer) == (
        ("はい", "いいえ"),
        "いいえ",
    )
    by_place = Sample(id="x", text="t", choices=("yes", "no"), answer=1)
    assert words.apply(by_place).gold == "いいえ"
    alone = Sample(id="x", text="t", answer="yes")
    assert words.apply(alone).answer == "はい"
    assert words.apply(Sample(id="x", text="t", answer="other")).answer == "other"


def test_a_text_that_is_not_as_expected_is_refused_by_name():
    words = protocol.load("yoriai").tasks["jcommonsenseqa"].wording
    bad = Sample(id="test/7", text="質問：何？", choices=tuple("01234"), answer="0")
    with pytest.raises(YoriaiError, match="test/7"):
        words.apply(bad)
    good = "質問：どれ？\n選択肢：0.世界,1.写真集,2.絵本,3.論文,4.図,鑑"
    unlisted = Sample(id="test/8", text=good, answer="2")
    with pytest.raises(YoriaiError, match="test/8"):
        words.apply(unlisted)
    sample = words.apply(Sample(id="x", text=good, choices=tuple("01234"), answer="2"))
    assert sample.choices == ("世界", "写真集", "絵本", "論文", "図,鑑")
    assert (sample.text, sample.answer) == ("質問：どれ？", "絵本")


def test_an_unknown_metric_is_refused_where_a_protocol_is_read():
    with pytest.raises(ValueError, match="no metric 'exactmatch'"):
        protocol.Asked(metrics=("exactmatch",))


@pytest.mark.parametrize("name", ["oct2023", "v1.3", "yoriai"])
def test_files_say_nothing_twice(name):
    """A repeated key would silently win over the first."""

    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader, node):
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys))
        return loader.construct_mapping(node, deep=True)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    text = (protocol.FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert yaml.load(text, Strict)["name"] == name


def test_a_protocol_that_is_a_device_or_a_list_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no ordinary file"):
        protocol._of_file(Path("/dev/null"))
    (tmp_path / "p.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="a protocol is a mapping of keys to values"):
        protocol._of_file(tmp_path / "p.yaml")
