"""The step: what of tasks stands in corpora and other splits, and scores of each half."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Literal

import pytest
from pydantic import Field

from yoriai import NotFound, Sample, Task, UsageError, YoriaiError, config
from yoriai_eval.contamination import search
from yoriai_eval.contamination import step as ledger
from yoriai_eval.contamination.sections import describe
from yoriai_eval.contamination.step import Contamination
from yoriai_eval.scoring import statistics

PAIRS = [
    ("縁側で三毛猫が丸くなって眠っています。", "猫が縁側で眠っています。"),
    ("祖母は台所で梅干しを漬けていました。", "祖母が庭に出ていました。"),
    ("雪の積もった山道を登山者が歩いている。", "山道に登山者がいる。"),
    ("駅前の広場で合唱団が歌を披露している。", "広場には誰もいない。"),
]
CLEAN = "引数に渡された値を検査し、正しくなければ例外を送出します。" * 9


def nli(premise: str, hypothesis: str) -> str:
    return f"前提：{premise}\n仮説：{hypothesis}"


class Pairs(Task):
    """A task whose test split is ``PAIRS``; the others are what a test says."""

    form: ClassVar[Literal["generation"]] = "generation"
    split: Literal["test", "dev", "train"] = Field("test")
    others: dict[str, list[str] | None] = Field({}, description="by split; null: not here")

    def samples(self, artifacts):
        texts = (
            [nli(*p) for p in PAIRS] if self.split == "test" else self.others.get(self.split, [])
        )
        if texts is None:
            raise NotFound(f"{self.split} is not here")
        for number, text in enumerate(texts):
            answer = "はい" if number % 2 else "いいえ"
            yield Sample(id=f"{self.split}/{number}", text=text, answer=answer)

    def score(self, sample, output):
        return float(output == sample.answer)


def task(name="own/pairs", **others) -> Pairs:
    built = Pairs(others=others)
    built._entry = name
    return built


def step(*tasks, **options) -> Contamination:
    return Contamination(tasks=list(tasks) or [task()], **options)


def rows_of(artifact) -> list[dict]:
    return [json.loads(line) for line in artifact.file("items.jsonl").read_bytes().splitlines()]


# --- corpora --------------------------------------------------------------------------------


def test_each_sample_is_found_where_it_stands(make, yoriai_job):
    edited = PAIRS[2][0].replace("雪", "霧").replace("歩", "進") + PAIRS[2][1]
    web = make.corpus("web", [(CLEAN, "ja"), (CLEAN + PAIRS[0][0], "ja")], [(PAIRS[3][0], "ja")])
    books = make.corpus("books", [(edited + CLEAN, "ja"), ("\n".join(PAIRS[0][0]), "ja")], [])
    made = yoriai_job("ledger", step(near=0.5), [web, books])
    assert made.kind == "contamination"
    counts = made.facts["tasks"]["pairs"]
    wanted = {"samples": 4, "exact": 1, "near": 2, "dirty": 2, "too_short": 0}
    assert counts == {**wanted, "between": {}, "swapped": {}}
    assert made.facts["corpora"]["web"] == {
        "documents": 2,
        "characters": 2 * len(CLEAN) + len(PAIRS[0][0]),
    }
    found = {(r["id"], r["kind"], r["where"]["corpus"], r["where"]["id"]) for r in rows_of(made)}
    assert found == {
        ("test/0", "exact", "web", "1"),
        ("test/0", "exact", "books", "1"),
        ("test/0", "near", "web", "1"),
        ("test/0", "near", "books", "1"),
        ("test/2", "near", "books", "0"),
    }
    first = rows_of(made)[0]
    assert first["span"] == PAIRS[0][0]
    assert (first["documents"], first["task"], first["split"]) == (2, "own/pairs", "test")


def test_a_clean_corpus_makes_no_sample_dirty(make, yoriai_job):
    made = yoriai_job("ledger", step(), [make.corpus("web", [(CLEAN, "ja"), ("", "ja")], [])])
    assert made.facts["tasks"]["pairs"]["dirty"] == 0
    assert rows_of(made) == []
    assert made.facts["headline"] == ["pairs: 0 of 4 samples are dirty"]


def test_many_places_are_counted_and_the_first_are_named(make, yoriai_job, monkeypatch):
    monkeypatch.setattr(search, "BATCH_CHARACTERS", 64)
    corpus = make.corpus("web", [(PAIRS[0][0] * 3, "ja")] * 70, [])
    made = yoriai_job("ledger", step(near=None), [corpus])
    rows = rows_of(made)
    assert [r["where"]["id"] for r in rows] == [str(n) for n in range(search.MOST_PLACES)]
    assert {r["documents"] for r in rows} == {70}


def test_only_the_samples_that_are_asked_are_looked_for(make, yoriai_job):
    corpus = make.corpus("web", [("".join(a + b for a, b in PAIRS), "ja")], [])
    made = yoriai_job("ledger", step(limit=3), [corpus])
    assert made.facts["tasks"]["pairs"]["samples"] == made.facts["tasks"]["pairs"]["exact"] == 3
    other = step(task(train=[CLEAN, CLEAN[::-1]]), split="train")
    made = yoriai_job("other", other, [corpus])
    assert made.facts["tasks"]["pairs"]["samples"] == 2


def test_a_search_goes_on_where_it_was_interrupted(make, tmp_path, monkeypatch):
    corpus = make.corpus("web", [(PAIRS[0][0], "ja")], [])
    items = tmp_path / "items.json"
    samples = ledger._samples(task(), None, [])
    ledger.Ledger([samples]).write(items, 16, 0.8)
    [path] = corpus.files_under("documents")
    searched = search.SearchTask("web", path, items, tmp_path / "found.json")
    search.search(searched)
    before = searched.out.read_bytes()
    monkeypatch.setattr(search, "_batches", lambda path: pytest.fail("read again"))
    search.search(searched)
    assert searched.out.read_bytes() == before


def test_an_engine_changes_nothing(make, tmp_path):
    documents = [(CLEAN + premise, "ja") for premise, _ in PAIRS]
    corpora = [make.corpus("web", [document], []) for document in documents]
    items = tmp_path / "items.json"
    ledger.Ledger([ledger._samples(task(), None, [])]).write(items, 16, 0.8)
    told = []
    for name, pool in (("alone", None), ("pool", ThreadPoolExecutor(2))):
        tasks = [
            search.SearchTask("web", path, items, tmp_path / name / f"{n}.json")
            for n, corpus in enumerate(corpora)
            for path in corpus.files_under("documents")
        ]
        assert len(list(search.run(pool, tasks))) == len(corpora)
        told.append([t.out.read_bytes() for t in tasks])
    assert told[0] == told[1]


# --- other splits ---------------------------------------------------------------------------


def test_questions_of_train_splits_are_found_in_any_template(yoriai_job):
    own = task(train=[nli(*PAIRS[0]), nli(*PAIRS[1][::-1])], dev=[nli(*PAIRS[0])])
    likeness = task("own/likeness", train=[f"文1：{PAIRS[2][1]}\n文2：{PAIRS[2][0]}"], test=[])
    made = yoriai_job("ledger", step(own, others=[likeness]))
    counts = made.facts["tasks"]["pairs"]
    assert counts["between"] == {
        "pairs/train": 1,
        "pairs/dev": 1,
        "pairs/train+dev": 1,
        "likeness/train": 1,
        "likeness/train+dev": 1,
    }
    assert counts["swapped"] == {"pairs/train": 1, "pairs/train+dev": 1}
    assert counts["dirty"] == 3
    rows = {(r["id"], r["where"]["task"], r["where"]["id"], r["how"]) for r in rows_of(made)}
    assert rows == {
        ("test/0", "pairs", "train/0", "input"),
        ("test/0", "pairs", "dev/0", "input"),
        ("test/1", "pairs", "train/1", "swapped"),
        ("test/2", "likeness", "train/0", "fields"),
    }


def test_a_split_is_not_held_against_itself(yoriai_job):
    own = task(train=[nli(*p) for p in PAIRS[:2]], dev=[nli(*PAIRS[0])])
    made = yoriai_job("ledger", step(own, split="train"))
    assert made.facts["tasks"]["pairs"]["between"] == {"pairs/dev": 1, "pairs/train+dev": 1}


def test_splits_that_are_not_here_are_named(yoriai_job):
    made = yoriai_job("ledger", step(task(train=None, dev=[nli(*PAIRS[0])])))
    assert made.facts["not_compared"] == {"own/pairs": ["train"]}
    assert made.facts["tasks"]["pairs"]["between"]["pairs/dev"] == 1
    assert any("not here: own/pairs" in line for line in made.facts["headline"])


def test_between_can_be_left_out(make, yoriai_job):
    own = task(train=[nli(*PAIRS[0])])
    made = yoriai_job("ledger", step(own, between=False), [make.corpus("web", [(CLEAN, "ja")], [])])
    assert made.facts["tasks"]["pairs"]["dirty"] == 0
    with pytest.raises(UsageError, match="nothing to look for samples in"):
        yoriai_job("other", step(own, between=False))


# --- scores ---------------------------------------------------------------------------------


def test_scores_are_taken_of_clean_and_dirty_samples(make, scripted, build_run, yoriai_job):
    # Right on samples 0 and 1: one of them is in the corpus, and so is one that is wrong.
    right = {nli(*PAIRS[0]): "いいえ", nli(*PAIRS[1]): "はい"}
    backend = scripted(answer=lambda p: next((a for q, a in right.items() if q in p), "？"))
    scores = yoriai_job("scores", build_run([task()], backend, split="test"), [make.stub()])
    corpus = make.corpus("web", [(PAIRS[0][0] + PAIRS[3][0], "ja")], [])
    made = yoriai_job("ledger", step(), [corpus, scores])
    half = made.facts["scores"]["base"]["pairs"]
    low, high = statistics.wilson(1, 2)
    wanted = {"score": 0.5, "interval": [round(low, 4), round(high, 4)], "samples": 2, "few": True}
    assert half == {"metric": half["metric"], "clean": wanted, "dirty": wanted}
    assert made.facts["of"] == [scores.digest]
    assert any("clean 0.5000 (" in line for line in made.facts["headline"])
    [section] = describe(made)
    assert section.tables[-1].rows[0][:4] == ("base", "pairs", half["metric"], "0.500")
    assert list(describe(scores)) == []


def test_samples_that_were_not_looked_for_are_in_no_half(make, scripted, build_run, yoriai_job):
    backend = scripted(answer=lambda prompt: "はい")
    scores = yoriai_job("scores", build_run([task()], backend), [make.stub()])
    made = yoriai_job("ledger", step(limit=3), [make.corpus("web", [(CLEAN, "ja")], []), scores])
    half = made.facts["scores"]["base"]["pairs"]
    assert (half["clean"]["samples"], half["not_looked_for"]) == (3, 1)
    assert half["dirty"] == {"samples": 0, "few": True}
    assert any("dirty no samples" in line for line in made.facts["headline"])


def test_models_of_one_name_are_told_apart(make, scripted, build_run, yoriai_job):
    made = [
        yoriai_job(name, build_run([task()], scripted(answer=lambda p: "はい")), [make.stub()])
        for name in ("early", "late")
    ]
    made = yoriai_job("ledger", step(), made)
    assert list(made.facts["scores"]) == ["test/early@1:base", "test/late@1:base"]


# --- use ------------------------------------------------------------------------------------


def test_names_that_could_not_be_told_apart_are_refused(make, yoriai_job):
    with pytest.raises(UsageError, match="two tasks are called 'pairs'"):
        yoriai_job("ledger", step(task(), task("other/pairs")))
    twins = [make.corpus("web", [(CLEAN, "ja")], []) for _ in range(2)]
    with pytest.raises(UsageError, match="two corpora are called 'web'"):
        yoriai_job("again", step(), twins)


def test_a_task_without_samples_is_refused(yoriai_job):
    with pytest.raises(YoriaiError, match="own/pairs has no samples"):
        yoriai_job("ledger", step(split="dev"))


def test_all_is_written_out(yoriai_registry):
    built = config.build(Contamination, {"tasks": ["eval/jnli"]}, yoriai_registry)
    names = [other.entry for other in built.others]
    assert {"eval/jsts", "eval/jnli", "eval/jsick"} <= set(names)
    assert "eval/heldout" not in names
    again = config.build(Contamination, config.plain(built), yoriai_registry)
    assert config.plain(again) == config.plain(built)
    off = config.build(Contamination, {"tasks": ["eval/jnli"], "between": False}, yoriai_registry)
    assert off.others == []


def test_the_identity_names_what_is_not_here(tmp_path, monkeypatch, yoriai_registry):
    monkeypatch.setenv("YORIAI_CACHE", str(tmp_path))
    monkeypatch.delenv("YORIAI_MIRROR", raising=False)
    options = {"tasks": ["eval/janli"], "others": ["eval/jsts"]}
    built = config.build(Contamination, options, yoriai_registry)
    # JaNLI's one file is fetched for its test split.
    assert built.fingerprint() == "not here: jsts/train, jsts/dev"
    assert built.model_copy(update={"between": False}).fingerprint() == ""


@pytest.mark.skipif("YORIAI_DATA" not in os.environ, reason="YORIAI_DATA names no data")
def test_the_known_leaks_of_the_real_sets_are_found_exactly(
    monkeypatch, tmp_path, yoriai_registry, yoriai_job
):
    monkeypatch.setenv("YORIAI_MIRROR", os.path.join(os.environ["YORIAI_DATA"], "eval"))
    monkeypatch.setenv("YORIAI_CACHE", str(tmp_path))
    options = {
        "tasks": ["eval/jnli", "eval/jsick", "eval/janli", "eval/jsem"],
        "others": ["eval/jsts"],
    }
    made = yoriai_job("ledger", config.build(Contamination, options, yoriai_registry))
    tasks = made.facts["tasks"]
    assert tasks["jnli"]["samples"] == 2434
    assert tasks["jnli"]["between"]["jsts/train+dev"] == tasks["jnli"]["dirty"] == 1487
    assert tasks["jnli"]["between"]["jsts/train"] == 1319
    for name, train, dev in (("jsick", 81, 9), ("janli", 11, 1), ("jsem", 4, 1)):
        assert tasks[name]["between"][f"{name}/train"] == train
        assert tasks[name]["between"][f"{name}/dev"] == dev
    assert made.facts["not_compared"] == {"jnli": ["train", "dev"]}
