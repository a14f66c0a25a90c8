"""llm-jp-eval's processed files: their published digests, and what is known of their rows.

The data are not in the repository: YORIAI_DATA names a folder with eval/ and tuning/ in it.
"""

import dataclasses
import functools
import hashlib
import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai_eval.scoring import protocol
from yoriai_eval.sets import store
from yoriai_eval.sets.llm_jp import (
    BUILDERS,
    Builder,
    UpstreamRecord,
    as_float32,
    build,
    document,
    jsem,
    mawps,
    niilc,
)

DATA = os.environ.get("YORIAI_DATA", "")
MIRRORS = [Path(DATA, "eval"), Path(DATA, "tuning")]
needs_data = pytest.mark.skipif(not DATA, reason="YORIAI_DATA is not set")

# What LLM-jp publishes: llm-jp/scripts, evaluation/installers/llm-jp-eval-v1.3.1/resources/
# sha256sums.csv (dev; the sums of these sets are the same in llm-jp-eval-v1.4.1).
PUBLISHED = {
    "jamp": "bee9d6124ccc20b02e2dc42b75c0548f9caf0a8c88af164ee726eebdb28c17cc",
    "janli": "9d6694bebbe78c5c02b4fd5da8af930c03cb65d7766042cfe5cad9031a9ce6ef",
    "jcommonsenseqa": "ac30df014eee8d24d62a5e1fbd4ed1e3b5d76bffb836ffb4c9fa59e72a056591",
    "jemhopqa": "7364e2e5381f1355f53109c73f8f506616b6690d686e96bba681585976f13399",
    "jnli": "d40257164b1bf2eaeae370c9879819ff5509964ea116ee4148dca062a9c02e0f",
    "jsem": "a5bb328dfbe008cdd2595cdaa2cacfb17086506ba1776ec01cbb8cc002d7f329",
    "jsick": "bd4291ab4b325654ec8e1b9f2f4d69f6508b7d071d4da41b7cafc9eeb297f33e",
    "jsquad": "0dcac3647a3768deeae53dc058474b21a3f4d9d37ffa3a3ec541505964afac8e",
    "jsts": "e17f77bdd3ffc3cccf4b3a1af8a1463b8cae260ba8c607188b8e4b45f468806e",
    "mawps": "b9c26eb7e2daa3ed53b5f174651bec44ed74f45799e81bb12f448046d4e04052",
    "niilc": "ff0cf49012ad6416b0828cbcf16882cafc68c30483e4ef51863641d23fe1befc",
}
# Rows of each split, from the publications and READMEs of the sets and of llm-jp-eval.
ROWS = {
    "jamp": {"test": 348, "dev": 995, "train": 8955},
    "janli": {"test": 720, "dev": 1368, "train": 12312},
    "jnli": {"test": 2434},
    "jsem": {"test": 1584, "dev": 1583, "train": 12667},
    "jsick": {"test": 4927, "dev": 500, "train": 4500},
    "jemhopqa": {"test": 120, "dev": 106, "train": 953},
    "niilc": {"test": 198, "dev": 80, "train": 715},
    "jsquad": {"test": 4442},
    "jcommonsenseqa": {"test": 1119, "dev": 894, "train": 8045},
    "jsts": {"test": 1457, "dev": 1246, "train": 11205},
    "mawps": {"test": 500, "dev": 500, "train": 8},
}
# Share of the most frequent answer in the test split.
MAJORITY = {
    "jamp": 0.339,
    "janli": 0.500,
    "jnli": 0.553,
    "jsem": 0.672,
    "jsick": 0.617,
    "jcommonsenseqa": 0.214,
}


@functools.cache
def records(name, path):
    """What a file holds, read once for all tests."""
    if store.look(name, path, given=MIRRORS).state == "missing":
        pytest.skip(f"{path} is not in YORIAI_DATA")
    return BUILDERS[name].read(store.read(name, path, given=MIRRORS), path)


def rows(name, split):
    reader = dataclasses.replace(BUILDERS[name], read=lambda data, path: records(name, path))
    return build(reader, split, lambda path: b"")


def digest(name, split):
    asked = protocol.load("v1.3").tasks[name]
    content = document(
        rows(name, split),
        instruction=asked.instruction,
        output_length=asked.max_tokens,
        metrics=asked.metrics,
    )
    return hashlib.sha256(content).hexdigest()


@needs_data
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_dev_file_has_the_digest_that_llm_jp_publishes(name):
    assert digest(name, "dev") == PUBLISHED[name]


def golden():
    if not DATA:
        return []
    text = Path(DATA, "eval/llm_jp_eval_protocol/golden.tsv").read_text()
    return [line.split("\t") for line in text.splitlines()[1:]]


@needs_data
@pytest.mark.parametrize(
    ("name", "split", "count", "wanted"), [row[:4] for row in golden()] or [("",) * 4]
)
def test_every_split_has_the_digest_in_the_golden_table(name, split, count, wanted):
    assert len(rows(name, split)) == int(count)
    assert digest(name, split) == wanted


@needs_data
@pytest.mark.parametrize("name", ROWS)
def test_every_split_has_as_many_rows_as_is_known(name):
    assert {split: len(rows(name, split)) for split in ROWS[name]} == ROWS[name]


@needs_data
@pytest.mark.parametrize("name", MAJORITY)
def test_the_most_frequent_test_answer_is_as_frequent_as_is_known(name):
    [(_, count)] = Counter(row.output for row in rows(name, "test")).most_common(1)
    assert round(count / ROWS[name]["test"], 3) == MAJORITY[name]


@needs_data
@pytest.mark.parametrize(("name", "leaked"), [("jsick", 81), ("janli", 11), ("jsem", 4)])
def test_test_inputs_that_are_in_train_are_as_many_as_is_known(name, leaked):
    seen = {row.input for row in rows(name, "train")}
    assert sum(row.input in seen for row in rows(name, "test")) == leaked


@needs_data
def test_jnli_pairs_that_are_in_jsts_train_are_1487():
    def pair(text):
        return frozenset(line.partition("：")[2] for line in text.split("\n"))

    seen = {pair(row.input) for split in ("train", "dev") for row in rows("jsts", split)}
    assert sum(pair(row.input) in seen for row in rows("jnli", "test")) == 1487


@needs_data
def test_clusters_are_what_rows_share():
    janli = Counter(row.cluster for row in rows("janli", "test"))
    assert set(janli.values()) == {5}
    assert len(janli) == 144
    assert len({row.cluster for row in rows("jamp", "test")}) == 79
    passages = {}
    for row in rows("jsquad", "test"):
        passages.setdefault(row.cluster, set()).add(row.input.partition("\n質問：")[0])
    assert len(passages) == 1145
    assert all(len(texts) == 1 for texts in passages.values())
    images = Counter(row.cluster for row in rows("jnli", "test"))
    assert images["274477"] == 10
    assert len({row.cluster for row in rows("jsick", "test")}) == 3348
    assert {row.cluster for name in ("jemhopqa", "niilc") for row in rows(name, "test")} == {""}


@needs_data
def test_the_files_of_jsem_are_all_that_the_registry_has_in_byte_order():
    registered = sorted(store.origin("jsem").files, key=str.encode)
    assert list(BUILDERS["jsem"].rest) == registered
    problems = [row for path in registered for row in records("jsem", path)]
    assert len(problems) == 21_568
    assert Counter(row.kept for row in problems)[True] == 15_834


def test_every_file_of_a_builder_is_registered():
    for name, builder in BUILDERS.items():
        for split in ("test", "dev", "train"):
            assert set(builder.files(split)) <= set(store.origin(name).files)
        assert set(store.origin(name).splits) == {"test", "dev", "train"}


# --- without the data ---------------------------------------------------------------------


def numbers(data, path):
    return [UpstreamRecord(text, text, kept=text != "-") for text in data.decode().split()]


@given(st.integers(0, 300), st.integers(0, 40))
def test_splits_hold_every_row_once_in_the_order_of_pythons_own_shuffle(rest, test):
    files = {"rest": [f"r{n}" for n in range(rest)], "test": [f"t{n}" for n in range(test)]}

    def cut(builder):
        return [
            [row.input for row in build(builder, split, lambda p: " ".join(files[p]).encode())]
            for split in ("train", "dev", "test")
        ]

    def mixed(name):
        mixed = list(files[name])
        random.seed(42)
        random.shuffle(mixed)
        return mixed

    train, dev, kept = cut(Builder(numbers, rest=("rest",), test=("test",)))
    assert train + dev == mixed("rest")
    assert len(train) == int(rest * 0.9)
    assert kept == files["test"]
    train, dev, kept = cut(Builder(numbers, rest=("rest",), cut="none"))
    assert train + dev + kept == mixed("rest")
    assert (len(train), len(train) + len(dev)) == (int(rest * 0.8), int(rest * 0.9))
    train, dev, kept = cut(Builder(numbers, rest=("rest",), test=("test",), cut="halves"))
    assert train == files["rest"]
    assert dev + kept == mixed("test")
    assert len(dev) == test // 2


def test_the_global_state_of_random_is_left_alone():
    random.seed(7)
    expected = random.random()
    random.seed(7)
    build(Builder(numbers, rest=("rest",)), "dev", lambda path: b"a b c")
    assert random.random() == expected


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_processed_file_reads_back_and_has_the_keys_in_order(pairs):
    made = document(
        [UpstreamRecord(a, b) for a, b in pairs],
        instruction="問い",
        output_length=3,
        metrics=("char_f1",),
    )
    value = json.loads(made)
    assert list(value) == ["instruction", "output_length", "metrics", "few_shots", "samples"]
    assert [(row["input"], row["output"]) for row in value["samples"]] == pairs
    assert json.dumps(value, indent=4, ensure_ascii=False).encode() == made


def test_niilc_drops_white_space_and_questions_without_an_answer():
    content = """<?xml version='1.0' encoding="UTF-8"?><questions>
    <question id="1"><text>　どこ？ </text><answers><answer> 東京　</answer><answer>京都
    </answer><answer/></answers></question>
    <question id="2"><text>なぜ？</text><answers><answer>-</answer></answers></question>
    </questions>""".encode()
    first, second = niilc(content, "x.xml")
    assert (first.input, first.output, first.kept) == ("質問：どこ？", "東京,京都", True)
    assert not second.kept


def test_jsem_joins_premises_and_keeps_only_judgements_of_inference():
    content = """<jsem-dataset><problem answer="yes"><p idx="1"><script> 甲だ。
    </script></p><p idx="2"><script>乙だ。</script></p><h><script>丙だ。</script></h></problem>
    <problem answer="weakacceptable"><p><script>丁</script></p><h><script>戊</script></h>
    </problem></jsem-dataset>""".encode()
    first, second = jsem(content, "data/v1.0/Verbs.xml")
    assert first.input == "前提：甲だ。乙だ。\n仮説：丙だ。"
    assert (first.output, first.group, first.kept, second.kept) == ("yes", "Verbs", True, False)


def test_an_example_of_mawps_has_its_last_number_as_answer():
    told = [{"shot_example": "問題：3個と-0.5個で？\n解答：3 + -0.5 = 2.5。答えは2.5です。\n"}]
    assert mawps(json.dumps(told).encode(), "x") == [UpstreamRecord("問題：3個と-0.5個で？", "2.5")]


def test_old_similarities_are_32_bit_floats():
    # JGLUE v1.0, as llm-jp-eval quotes it.
    for new, old in (("3.8", "3.799999952316284"), ("2.2", "2.200000047683716"), ("4.0", "4.0")):
        assert as_float32(UpstreamRecord("x", new)).output == old


def test_a_protocol_asks_every_set_that_can_be_built():
    assert set(BUILDERS) <= set(protocol.load("v1.3").tasks)
