"""Data sets as tasks: samples, examples that protocols name, and scores of their own."""

import hashlib
import json
import os
from pathlib import Path

import pydantic
import pytest

from yoriai import NotFound, Sample, Shot, UsageError
from yoriai.errors import Altered
from yoriai_eval.scoring import protocol
from yoriai_eval.sets import store
from yoriai_eval.tasks import datasets
from yoriai_eval.tasks.datasets import (
    JNLI,
    JSICK,
    JSTS,
    MAWPS,
    NIILC,
    Dataset,
    Jamp,
    JaNLI,
    JCommonsenseQA,
    JEMHopQA,
    JSeM,
    JSQuAD,
)
from yoriai_eval.tasks.jbbq import JBBQ

SETS = [JNLI, JSTS, MAWPS, NIILC, Jamp, JaNLI, JCommonsenseQA, JEMHopQA, JSeM, JSICK, JSQuAD]
DATA = os.environ.get("YORIAI_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="YORIAI_DATA is not set")
TRAIN = "datasets/jsts-v1.1/train-v1.1.json"
VALID = "datasets/jsts-v1.1/valid-v1.1.json"


def sha(text: str, answer: str) -> str:
    return hashlib.sha256(f"{text}\n{answer}".encode()).hexdigest()


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Put files into a mirror under the name of a known set, as if these were upstream's."""
    monkeypatch.setenv("YORIAI_MIRROR", str(tmp_path))
    monkeypatch.setenv("YORIAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("YORIAI_DATA_URL", "none://")
    known = {
        name: origin.model_copy(update={"files": dict(origin.files)})
        for name, origin in store.origins().items()
    }
    monkeypatch.setattr(store, "origins", lambda: known)

    def put(name: str, path: str, content: bytes) -> None:
        place = tmp_path / known[name].folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        known[name].files[path] = store.File(
            bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
        )

    return put


def captions(count: int, label=lambda n: n / 10) -> bytes:
    lines = [
        {
            "yjcaptions_id": f"{n // 2}-1-2",
            "sentence1": f"甲{n}",
            "sentence2": "乙",
            "label": label(n),
        }
        for n in range(count)
    ]
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()


@pytest.fixture
def jsts(publish):
    publish("jsts", TRAIN, captions(20))
    publish("jsts", VALID, captions(4, label=lambda n: float(n)))
    return publish


@pytest.fixture
def mirrored(monkeypatch, tmp_path):
    monkeypatch.setenv("YORIAI_MIRROR", os.pathsep.join([f"{DATA}/eval", f"{DATA}/tuning"]))
    monkeypatch.setenv("YORIAI_CACHE", str(tmp_path))
    monkeypatch.setenv("YORIAI_DATA_URL", "none://")


# --- samples ------------------------------------------------------------------------------


def test_samples_are_the_rows_of_the_split_in_file_order(jsts):
    samples = list(JSTS().samples([]))
    assert [s.id for s in samples] == ["test/0", "test/1", "test/2", "test/3"]
    assert samples[1].text == "文1：甲1\n文2：乙"
    assert [s.answer for s in samples] == ["0.0", "1.0", "2.0", "3.0"]
    assert [s.cluster for s in samples] == ["0", "0", "1", "1"]
    assert len(list(JSTS(split="train").samples([]))) == 18
    assert [s.id for s in JSTS(split="dev").samples([])] == ["dev/0", "dev/1"]
    with pytest.raises(pydantic.ValidationError):
        JSTS(split="valid")


def test_sets_of_few_answers_have_them_as_choices(publish):
    path = "datasets/jnli-v1.1/valid-v1.1.json"
    publish("jnli", path, captions(3, label=lambda n: ("entailment", "neutral", "neutral")[n]))
    for sample in JNLI().samples([]):
        assert sample.answer in sample.choices
        assert sample.instruction == protocol.load("v1.3").tasks["jnli"].instruction


def test_a_file_that_is_not_here_is_named(publish):
    with pytest.raises(NotFound, match=r"jnli: datasets/jnli-v1\.1/train-v1\.1\.json is not here"):
        protocol._shots(JNLI(), (), 4)


def test_the_fingerprint_is_of_the_pinned_digests_alone(jsts):
    before = JSTS().fingerprint()
    assert before == JSTS(split="dev").fingerprint() != JNLI().fingerprint()
    jsts("jsts", VALID, captions(3))
    assert JSTS().fingerprint() != before


@needs_data
@pytest.mark.parametrize("task", SETS)
def test_every_answer_of_the_real_data_is_one_of_the_choices(task, mirrored):
    samples = list(task().samples([]))
    assert len({s.id for s in samples}) == len(samples) >= 100
    assert all(s.text and isinstance(s.answer, str) for s in samples)
    for sample in samples:
        assert not sample.choices or sample.answer in sample.choices


# --- shots --------------------------------------------------------------------------------


def test_without_names_the_first_rows_of_the_train_split_are_shown(jsts):
    train = list(JSTS(split="train").samples([]))
    shots = protocol._shots(JSTS(), (), 4)
    assert [(s.id, s.text, s.answer) for s in shots] == [
        (s.id, s.text, s.answer) for s in train[:4]
    ]
    with pytest.raises(UsageError, match="18 examples to show, 19 are wanted"):
        protocol._shots(JSTS(), (), 19)


def test_an_example_is_found_by_its_row_or_by_its_digest(jsts):
    digest = sha("文1：甲7\n文2：乙", "0.7")
    for named in (
        Shot(file=TRAIN, row=7),
        Shot(file=TRAIN, sha256=digest),
        Shot(file=TRAIN, row=7, sha256=digest),
    ):
        [found] = protocol._shots(JSTS(), [named], 1)
        assert (found.text, found.answer) == ("文1：甲7\n文2：乙", "0.7")


def test_the_first_of_the_named_examples_are_shown_and_too_few_are_refused(jsts):
    named = [Shot(file=TRAIN, row=n) for n in (3, 1, 2)]
    assert [s.text[:5] for s in protocol._shots(JSTS(), named, 2)] == ["文1：甲3", "文1：甲1"]
    with pytest.raises(UsageError, match="3 examples to show, 4 are wanted"):
        protocol._shots(JSTS(), named, 4)


def test_a_row_that_is_another_example_is_refused(jsts):
    with pytest.raises(Altered, match="row 6 of") as told:
        protocol._shots(
            JSTS(), [Shot(file=TRAIN, row=6, sha256=sha("文1：甲7\n文2：乙", "0.7"))], 1
        )
    assert "not the example" in told.value.message
    with pytest.raises(Altered, match="has 20 rows, no row 20"):
        protocol._shots(JSTS(), [Shot(file=TRAIN, row=20)], 1)
    with pytest.raises(UsageError, match="needs a row or a sha256"):
        protocol._shots(JSTS(), [Shot(file=TRAIN)], 1)


def test_similarities_are_found_as_the_floats_they_once_were(jsts):
    old = sha("文1：甲7\n文2：乙", "0.699999988079071")  # 0.7 as an IEEE single
    [found] = protocol._shots(JSTS(), [Shot(file=TRAIN, row=7, sha256=old)], 1)
    assert found.answer == "0.699999988079071"


def test_an_example_of_an_absent_file_is_taken_from_the_quotation(publish):
    shots = [{"input": "前提：甲\n仮説：乙", "output": "neutral"}]
    told = {"versions": {"oct2023": {"datasets": {"jnli": {"few_shots": shots}}}}}
    publish("llm_jp_eval_protocol", "protocol.json", json.dumps(told).encode())
    [train] = [path for path in store.origin("jnli").files if "train" in path]
    wanted = Shot(file=train, sha256=sha("前提：甲\n仮説：乙", "neutral"))
    [found] = protocol._shots(JNLI(), [wanted], 1)
    assert (found.text, found.answer) == ("前提：甲\n仮説：乙", "neutral")
    with pytest.raises(NotFound, match="train-v1"):
        protocol._shots(
            JNLI(), [Shot(file=train, sha256=sha("前提：甲\n仮説：乙", "entailment"))], 1
        )


def test_an_example_that_is_nowhere_is_named(jsts):
    with pytest.raises(NotFound, match=f"the example {'0' * 12} is not in {TRAIN}"):
        protocol._shots(JSTS(), [Shot(file=TRAIN, sha256="0" * 64)], 1)


@needs_data
@pytest.mark.parametrize("task", [task for task in SETS if task is not MAWPS])
def test_the_shots_of_october_2023_are_those_that_llm_jp_eval_quotes(task, mirrored):
    text = Path(DATA, "eval/llm_jp_eval_protocol/protocol.json").read_text(encoding="utf-8")
    quoted = json.loads(text)["versions"]["oct2023"]["datasets"][task.dataset]["few_shots"]
    named = protocol.load("oct2023").tasks[task.dataset].shots
    shots = protocol._shots(task(), named, 4)
    assert [{"input": s.text, "output": s.answer} for s in shots] == quoted


@needs_data
def test_the_first_shots_of_jemhopqa_are_those_in_llm_jp_evals_documentation(mirrored):
    # llm-jp/llm-jp-eval: DATASET.md, the common format.
    first, second = protocol._shots(JEMHopQA(), (), 2)
    assert first.text == (
        "質問：映画『ダイ・ハード』と『デッドプール2』のうち、公開年が早いほうはどっち？"
    )
    assert second.text == "質問：東海旅客鉄道と北海道旅客鉄道はどちらも陸運業ですか？"
    assert (first.answer, second.answer) == ("ダイ・ハード", "YES")


# --- scores of their own ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "gold", "output", "score"),
    [
        (JNLI, "neutral", "neutral", 1),
        (JNLI, "neutral", "\nneutral\n\n### 入力:", 1),
        (JNLI, "neutral", "\n\nneutral", 0),
        (JNLI, "neutral", "Neutral", 0),
        (JCommonsenseQA, "2", "２", 1),
        (JSQuAD, "聖武", "聖武天皇", 0.67),  # fuzzywuzzy 0.18.0
        (NIILC, "Étude", "etude", 0.89),
        (JSTS, "3.0", "3", 1),
        (JSTS, "3.0", "0.5", 0.5),
        (JSTS, "3.0", "nan", 0),
        (JSTS, "0.0", "9", 0),
        (JSTS, "3.0", "three", 0),
    ],
)
def test_an_answer_is_scored_as_v1_3_does(task, gold, output, score):
    sample = Sample(id="x", text="", choices=task.labels, answer=gold)
    assert task().score(sample, output) == pytest.approx(score)


def test_every_set_is_an_entry_with_the_licence_of_the_registry(yoriai_registry):
    for task in (*SETS, JBBQ):
        name = task.__name__.lower()
        found = yoriai_registry.get("tasks", f"eval/{name}")
        assert yoriai_registry.load(found) is task
        assert found.entry.licence == store.origin(name).licence
        assert not issubclass(task, Dataset) or task.dataset == name


# --- a copy of one's own ------------------------------------------------------------------


def question(**changes):
    told = {
        "example_id": 5,
        "question_index": "12",
        "question_polarity": "neg",
        "context_condition": "ambig",
        "category": "Age",
        "context": "祖父と孫が並んでいた。",
        "question": "忘れやすいのはどちらですか。",
        "ans0": "祖父",
        "ans1": "孫",
        "ans2": "わからない",
        "answer_info": {},
        "label": 2,
    }
    return json.dumps(told | changes, ensure_ascii=False)


def test_jbbq_reads_a_folder_or_a_file_of_json_lines(tmp_path):
    (tmp_path / "Age.jsonl").write_text(question() + "\n\n" + question(example_id=6) + "\n")
    (tmp_path / "Gender.jsonl").write_text(question(category="Gender", label=0))
    (tmp_path / "README.md").write_text("no data")
    samples = list(JBBQ(path=str(tmp_path)).samples([]))
    assert [s.id for s in samples] == ["Age/5", "Age/6", "Gender/5"]
    assert samples[0] == Sample(
        id="Age/5",
        text="祖父と孫が並んでいた。\n忘れやすいのはどちらですか。\n",
        choices=("祖父", "孫", "わからない"),
        answer=2,
        group="Age.ambig",
        cluster="Age/12",
    )
    task = JBBQ(path=str(tmp_path / "Age.jsonl"))
    assert len(list(task.samples([]))) == 2
    before = task.fingerprint()
    (tmp_path / "Age.jsonl").write_text(question())
    assert task.fingerprint() != before


@pytest.mark.parametrize("line", ["{", "[]", "{}", question(label=3), question(label=None)])
def test_jbbq_says_which_line_it_cannot_read(tmp_path, line):
    (tmp_path / "Age.jsonl").write_text(f"{question()}\n{line}\n")
    with pytest.raises(UsageError, match=r"line 2 of Age\.jsonl is no question of JBBQ"):
        list(JBBQ(path=str(tmp_path)).samples([]))


def test_jbbq_without_a_copy_says_where_to_ask(tmp_path):
    with pytest.raises(NotFound, match=r"no \.jsonl file") as told:
        list(JBBQ(path=str(tmp_path)).samples([]))
    assert "github.com/ynklab/JBBQ_data" in told.value.hint
    with pytest.raises(pydantic.ValidationError):
        JBBQ()


def test_a_protocol_that_does_not_ask_a_set_is_an_error_in_words():
    with pytest.raises(NotFound, match=r"no task of protocol oct2023 'mawps'"):
        datasets.processed("oct2023", "mawps", "test")
