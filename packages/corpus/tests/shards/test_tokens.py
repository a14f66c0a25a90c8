"""corpus/tokens: Megatron shards decoded by hand give back every document."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pydantic
import pytest
import sentencepiece

from yoriai import Artifact, UsageError, YoriaiError, files
from yoriai.mixture import read_mixture
from yoriai.recipe import load_recipe
from yoriai.registry import Registry
from yoriai.shards import Shard, ShardWriter
from yoriai_corpus import tables
from yoriai_corpus.shards import encoding
from yoriai_corpus.shards import expected as outlook
from yoriai_corpus.shards.tokens import stems_of

Make = Callable[..., Artifact]
Plan = Callable[[dict[str, Any]], dict[str, dict[str, Any]]]


@pytest.fixture
def plan(yoriai_registry: Registry, tmp_path: Path) -> Plan:
    """What the steps of a recipe expect, as ``--dry-run`` and the start of a run ask them."""

    def expectations(steps: dict[str, Any]) -> dict[str, dict[str, Any]]:
        path = tmp_path / "recipe.yaml"
        path.write_text(json.dumps({"name": "planned", "steps": steps}, indent=1))
        return load_recipe(path, yoriai_registry).expectations()

    return expectations


@pytest.fixture(scope="module")
def shards(three_languages: Artifact, tokenizer: Artifact, run_step: Make) -> Artifact:
    return run_step("corpus/tokens", [three_languages, tokenizer])


@pytest.fixture(scope="module")
def pieces(tokenizer: Artifact) -> Any:
    return sentencepiece.SentencePieceProcessor(model_file=str(tokenizer.file("tokenizer.model")))


def many_rows(count: int) -> list[dict[str, str]]:
    """Documents of about a kilobyte, of two sources and languages."""
    words = ["the", "clock", "waits", "rain", "雨の日に", "本を読む", "東京で", "return"]
    draw = random.Random(4)
    return [
        {
            "id": f"{n:05d}",
            "text": " ".join(draw.choices(words, k=draw.randrange(20, 200))),
            "lang": "ja" if n % 3 else "en",
        }
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def large(make_corpus: Make) -> Artifact:
    return make_corpus(many_rows(3000), name="large")


def decode(index: bytes, body: bytes) -> list[list[int]]:
    """The sequences of a .bin/.idx pair, after the layout in Megatron-LM's source.

    megatron/core/datasets/indexed_dataset.py, ``_IndexWriter``: magic, version, code of the token
    type, number of sequences, number of document indices; lengths (i32), byte offsets (i64) and
    indices of each document's first sequence (i64), with the end.
    """
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, count, boundaries = struct.unpack_from("<QBQQ", index, 9)
    assert (version, code, boundaries) == (1, 8, count + 1)
    place = 9 + 8 + 1 + 8 + 8
    lengths = struct.unpack_from(f"<{count}i", index, place)
    offsets = struct.unpack_from(f"<{count}q", index, place + 4 * count)
    documents = struct.unpack_from(f"<{boundaries}q", index, place + 12 * count)
    assert len(index) == place + 12 * count + 8 * boundaries
    assert documents == tuple(range(boundaries))
    assert offsets == tuple(2 * sum(lengths[:n]) for n in range(count)) or count > 999
    assert len(body) == 2 * sum(lengths)
    return [
        list(struct.unpack_from(f"<{length}H", body, offset))
        for length, offset in zip(lengths, offsets, strict=True)
    ]


def read(made: Artifact, stem: str) -> tuple[list[list[int]], list[dict[str, Any]]]:
    """The sequences of a file, and whose they are."""
    index, body = (made.file(f"{stem}{end}").read_bytes() for end in (".idx", ".bin"))
    return decode(index, body), pq.read_table(made.file(f"{stem}.documents.parquet")).to_pylist()


def test_each_sequence_is_the_ids_of_its_document_and_the_end_mark(
    shards: Artifact, three_languages: Artifact, pieces: Any, rows_of: Any
) -> None:
    kept = {(row["source"], row["id"]): row for row in rows_of(three_languages, "documents")}
    seen = set()
    for language in ("ja", "en", "code"):
        sequences, sidecar = read(shards, language)
        assert len(sidecar) == len(sequences)
        start = 0
        for ids, row in zip(sequences, sidecar, strict=True):
            document = kept[row["source"], row["id"]]
            assert document["language"] == language
            assert document["record_sha256"] == row["record_sha256"]
            assert ids == [*pieces.encode(document["text"]), 2]
            assert pieces.decode(ids[:-1]) == document["text"]
            assert (row["start"], row["tokens"]) == (start, len(ids))
            start += len(ids)
            seen.add((row["source"], row["id"]))
        assert shards.facts["tokens"][language] == start
        assert shards.facts["counts"][language] == {
            "documents": len(sequences),
            "tokens": start,
            "bytes": sum(len(kept[r["source"], r["id"]]["text"].encode()) for r in sidecar),
            "unknown": 0,
            "longest": max(map(len, sequences)),
            "over_context": sum(len(ids) > 64 for ids in sequences),
        }
    assert seen == set(kept)


def test_the_files_are_those_that_core_writes_and_core_reads_them(
    shards: Artifact, tmp_path: Path
) -> None:
    sequences, _ = read(shards, "ja")
    writer = ShardWriter(tmp_path / "ja", 400)
    for ids in sequences:
        writer.add(ids)
    writer.close()
    for name in ("ja.bin", "ja.idx"):
        assert (tmp_path / name).read_bytes() == shards.file(name).read_bytes()
    assert list(Shard(shards.path / "ja").lengths) == [len(ids) for ids in sequences]


# --- how shards are cut -------------------------------------------------------------------


def test_shards_by_source_take_the_documents_of_all_corpora_in_order(
    three_languages: Artifact, make_corpus: Make, tokenizer: Artifact, run_step: Make
) -> None:
    other = make_corpus([{"id": "x", "text": "one more", "source": "else"}], name="other")
    made = run_step("corpus/tokens", [other, three_languages, tokenizer], split_by="source")
    [source] = made.facts["tokens"]
    _, sidecar = read(made, source)
    assert len(sidecar) == 1 + three_languages.facts["kept"]
    assert sidecar[0]["id"] == "x"


def test_a_large_shard_is_several_files_that_read_on_as_one(
    large: Artifact, tokenizer: Artifact, run_step: Make
) -> None:
    whole = run_step("corpus/tokens", [large, tokenizer])
    cut = run_step("corpus/tokens", [large, tokenizer], task_mb=1, shard_mb=1)
    mixture = read_mixture(cut.path)
    for name, shard in mixture.shards.items():
        assert read_mixture(whole.path).shards[name].files == [name]
        several = [f"{name}-{n:05d}" for n in range(len(shard.files))]
        assert shard.files == (several if len(several) > 1 else [name])
        sequences, sidecar = read(whole, name)
        parts = [read(cut, stem) for stem in shard.files]
        assert [ids for part, _ in parts for ids in part] == sequences
        assert all(part[0]["start"] == 0 for _, part in parts)
        keys = ("source", "id", "record_sha256", "tokens")
        assert [[row[k] for k in keys] for _, part in parts for row in part] == [
            [row[k] for k in keys] for row in sidecar
        ]
    assert len(mixture.shards["ja"].files) > 1
    assert cut.facts == {**whole.facts}


def test_the_size_of_tasks_changes_no_byte(
    large: Artifact, tokenizer: Artifact, run_step: Make
) -> None:
    one, other = (run_step("corpus/tokens", [large, tokenizer], task_mb=n) for n in (1, 64))
    assert one.manifest["files"] == other.manifest["files"]


def test_names_of_sources_become_names_of_files() -> None:
    names = ["a/b", "a_b", "A_b", "../x", "..", "日本", "v1.0"]
    assert stems_of(names) == {
        "a/b": "a_b", "a_b": "a_b_2", "A_b": "A_b_3", "../x": "_x", "..": "_", "日本": "日本",
        "v1.0": "v1.0",
    }  # fmt: skip


def test_a_document_without_language_goes_to_unknown(
    make_corpus: Make, tokenizer: Artifact, run_step: Make
) -> None:
    made = run_step("corpus/tokens", [make_corpus(["a text", "another"]), tokenizer])
    assert set(made.facts["tokens"]) == {"unknown"}
    assert len(read(made, "unknown")[0]) == 2


# --- what the model sees ------------------------------------------------------------------


def test_without_a_mixture_languages_weigh_what_they_hold(shards: Artifact) -> None:
    mixture = read_mixture(shards.path)
    total = sum(shards.facts["tokens"].values())
    for name, count in shards.facts["tokens"].items():
        assert shards.facts["weights"][name] == pytest.approx(count / total)
        assert (mixture.shards[name].tokens, mixture.shards[name].files) == (count, [name])
    assert (mixture.vocabulary_size, mixture.end_id) == (400, 2)


def test_a_mixture_gives_the_weights_and_none_to_what_it_does_not_name(
    three_languages: Artifact, tokenizer: Artifact, run_step: Make
) -> None:
    made = run_step("corpus/tokens", [three_languages, tokenizer], mixture={"ja": 2, "en": 1})
    assert made.facts["weights"] == pytest.approx({"ja": 2 / 3, "en": 1 / 3, "code": 0.0})
    assert made.facts["tokens"]["code"] > 0
    assert made.manifest["inputs"][1]["digest"] == read_mixture(made.path).tokenizer


def test_phases_are_handed_on(
    three_languages: Artifact, tokenizer: Artifact, run_step: Make
) -> None:
    phases = [
        {"name": "main", "tokens": 1000, "weights": {"ja": 1, "en": 1}},
        {"name": "end", "budgets": {"code": 100}},
    ]
    made = run_step("corpus/tokens", [three_languages, tokenizer], phases=phases)
    assert [p.model_dump(exclude_defaults=True) for p in read_mixture(made.path).phases] == [
        {"name": "main", "tokens": 1000, "weights": {"ja": 1.0, "en": 1.0}},
        {"name": "end", "budgets": {"code": 100}},
    ]


# --- refusals, before any work ------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mixture": {"cod": 1}}, r"'cod', no shard of that name; did you mean 'code'\?"),
        ({"mixture": {"fr": 1}}, "'fr', no shard of that name; the shards are code, en, ja"),
        ({"mixture": {"ja": 0, "en": 0}}, "every weight of the mixture is zero"),
        ({"mixture": {"ja": 1}, "phases": [{"name": "a", "weights": {"ja": 1}}]}, "not both"),
        ({"phases": [{"name": "a", "budgets": {"en": 10**9}}]}, r"\d+ epochs, allowed 1"),
        ({"end": "<EOD>"}, "no piece '<EOD>' to end documents with"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused_before_a_token_is_made(
    keys: Any,
    message: str,
    three_languages: Artifact,
    tokenizer: Artifact,
    run_step: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(*_: Any) -> None:
        raise AssertionError("work has begun")

    monkeypatch.setattr("yoriai_corpus.shards.encoding.encode_stretch", nothing)
    with pytest.raises(UsageError, match=message):
        run_step("corpus/tokens", [three_languages, tokenizer], **keys)


def test_a_budget_is_refused_by_an_estimate_that_says_so(
    three_languages: Artifact, tokenizer: Artifact, run_step: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "WHOLE_BYTES", 0)
    phases = [{"name": "a", "budgets": {"en": 10**6}}]
    with pytest.raises(UsageError, match="their sizes are estimates from some documents"):
        run_step("corpus/tokens", [three_languages, tokenizer], phases=phases)
    allowed = [{"name": "a", "budgets": {"en": 10**6}, "max_epochs": {"en": 1000}}]
    assert run_step("corpus/tokens", [three_languages, tokenizer], phases=allowed)


WAYS = {  # to ask for ``count`` tokens of a shard that may be seen once
    "budget": lambda count: {"budgets": {"en": count}},
    "share": lambda count: {"weights": {"en": 1}, "tokens": count, "max_epochs": {"en": 1}},
    "two shares": lambda count: {
        "weights": {"en": 1, "ja": 1}, "tokens": 2 * count, "max_epochs": {"en": 1}
    },
    "cap": lambda count: {"budgets": {"en": 2 * count}, "max_epochs": {"en": 2}},
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_small_corpus_is_counted_so_a_budget_is_judged_to_the_token_before_encoding(
    way: str, shards: Artifact, three_languages: Artifact, tokenizer: Artifact, plan: Plan
) -> None:
    held = shards.facts["tokens"]["en"]
    keys = {"uses": "corpus/tokens", "from": [str(three_languages.path), str(tokenizer.path)]}
    fits, more = ([{"name": "a", **WAYS[way](held + extra)}] for extra in (0, 2))
    expected = plan({"tokens": {**keys, "phases": fits}})["tokens"]
    assert expected["tokens_held"] == shards.facts["tokens"]
    assert "give_or_take_percent" not in expected
    with pytest.raises(UsageError, match=r"recipe.yaml:\d+: steps.tokens: .* epochs, allowed"):
        plan({"tokens": {**keys, "phases": more}})
    apart = {"tokens": keys, "mix": {"uses": "corpus/mixture", "from": "tokens", "phases": more}}
    with pytest.raises(UsageError, match=r"steps.mix: .* epochs, allowed"):
        plan(apart)


@pytest.mark.parametrize("step", ["shards", "mix"])
def test_a_misspelt_source_is_refused_before_any_step_of_the_recipe_runs(
    step: str, write_jsonl: Callable[..., Path], plan: Plan
) -> None:
    rows = write_jsonl(["a text"])
    sources = [
        {"use": "corpus/jsonl", "paths": [str(rows)], "name": "manuals"},
        "corpus/python-topics",
    ]
    phases = {name: [{"name": "a", "weights": {name: 1}}] for name in ("manuals", "manual")}
    steps: dict[str, Any] = {
        "text": {"uses": "corpus/build", "sources": sources},
        "all": {"uses": "corpus/union", "from": "text"},
        "pieces": {"uses": "corpus/tokenizer", "from": "all"},
        "shards": {"uses": "corpus/tokens", "from": ["all", "pieces"], "split_by": "source"},
        "mix": {"uses": "corpus/mixture", "from": "shards", "phases": phases["manuals"]},
    }
    assert plan(steps)["shards"]["shards"] == ["manuals", "python-topics"]
    steps[step] = {**steps[step], "phases": phases["manual"]}
    with pytest.raises(UsageError, match=rf"steps.{step}: .*did you mean 'manuals'\?"):
        plan(steps)


def test_an_estimate_is_near_the_count_and_says_how_near(
    make_corpus: Make, tokenizer: Artifact, run_step: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"text": f"{'あいうえお' * (n % 7)} line {n} of some text", "lang": "ja"}
        for n in range(3000)
    ]
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 100)
    corpus = make_corpus(rows)
    monkeypatch.setattr(encoding, "WHOLE_BYTES", 0)
    paths = corpus.files_under("documents")
    sample = encoding.look(encoding.open_pieces(tokenizer), paths, "language", 2)
    facts = corpus.facts["by_language"]
    found = outlook.estimate({name: row["bytes"] for name, row in facts.items()}, sample)
    true = run_step("corpus/tokens", [corpus, tokenizer]).facts["tokens"]["ja"]
    assert found.tokens["ja"] == pytest.approx(true, rel=found.within["ja"])
    assert 0 < found.within["ja"] <= outlook.LEEWAY


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_a_weight_that_is_no_share_is_refused(weight: float, run_step: Make) -> None:
    with pytest.raises(pydantic.ValidationError, match="mixture"):
        run_step("corpus/tokens", mixture={"ja": weight})


def test_shards_need_a_corpus_and_one_tokenizer(
    three_languages: Artifact, tokenizer: Artifact, run_step: Make
) -> None:
    with pytest.raises(UsageError, match="needs one tokenizer"):
        run_step("corpus/tokens", [three_languages])
    with pytest.raises(UsageError, match="needs one corpus"):
        run_step("corpus/tokens", [tokenizer])


def test_a_tokenizer_that_cannot_spell_the_text_is_refused(
    make_corpus: Make, tokenizer: Artifact, run_step: Make, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("\n".join(f"only latin {n * 7919}" for n in range(500)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "tokenizer"), vocab_size=60,
        minloglevel=2,
    )  # fmt: skip
    manifest = {"kind": "tokenizer", "name": "r/latin@1", "digest": "0", "facts": {}, "config": {}}
    place = tmp_path / "tokenizer.model"
    facts = {"sha256": files.digest_file(place), "bytes": place.stat().st_size}
    latin = Artifact(tmp_path, {**manifest, "files": {"tokenizer.model": facts}})
    corpus = make_corpus([{"text": "本を読んでいます", "lang": "ja"}])
    with pytest.raises(UsageError, match=r"r/latin@1 does not know .*% of the pieces of 1 doc"):
        run_step("corpus/tokens", [corpus, latin])


def test_a_corpus_without_documents_is_refused(
    three_languages: Artifact, tokenizer: Artifact, run_step: Make
) -> None:
    facts = {**three_languages.facts, "by_language": {}}
    empty = Artifact(three_languages.path, {**three_languages.manifest, "facts": facts})
    with pytest.raises(YoriaiError, match="no document in test/text@1"):
        run_step("corpus/tokens", [empty, tokenizer])


# --- any number of workers, and kill -9 ---------------------------------------------------

ENGINE = '''
import os
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from yoriai import Engine, Entry, hookimpl

flush = os.fsync

class Halting(Engine):
    """Does tasks at once; stops for ever at the AT-th flush of a file, which is on disk by half."""

    def open(self):
        return nullcontext(Inline())

class Inline(Executor):
    def submit(self, fn, task):
        future, os.fsync = Future(), halting
        try:
            future.set_result(fn(task))
        except Exception as error:
            future.set_exception(error)
        finally:
            os.fsync = flush
        return future

def halting(handle):
    with open(os.environ["FLUSHES"], "a") as log:
        log.write("x")
    if os.path.getsize(os.environ["FLUSHES"]) == int(os.environ.get("AT", 0)):
        reached = os.open(os.environ["BARRIER"] + ".reached", os.O_WRONLY)
        os.write(reached, b"x")
        os.open(os.environ["BARRIER"] + ".never", os.O_RDONLY)  # until somebody writes: nobody does
    flush(handle)

@hookimpl
def yoriai_engines():
    return [Entry(name="halting", target="halt_plugin:Halting", summary="Stops.", since="0.1.0")]
'''
RECIPE = """
name: r
licence: CC0-1.0
engine: {engine}
steps:
  text:
    uses: corpus/build
    sources: [{{use: corpus/jsonl, paths: [docs.jsonl]}}]
    dedup: {{exact: false, near: null}}
  pieces: {{uses: corpus/tokenizer, from: text, size: 320}}
  shards: {{uses: corpus/tokens, from: [text, pieces], task_mb: 1, shard_mb: 1}}
"""


class Bench:
    """A folder with texts, a recipe whose first steps are done, and runs of its last one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        info = folder / "site" / "halt-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halt\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[yoriai]\nhalt = halt_plugin\n")
        (folder / "site" / "halt_plugin.py").write_text(ENGINE)
        rows = "".join(json.dumps(row) + "\n" for row in many_rows(3000))
        (folder / "docs.jsonl").write_text(rows)
        for engine in ("corpus/local", "halt/halting"):
            name = f"{engine.partition('/')[0]}.yaml"
            (folder / name).write_text(RECIPE.format(engine=engine))
        for name in ("reached", "never"):
            os.mkfifo(folder / f"barrier.{name}")
        self.run("corpus.yaml", "done", 1, "--until", "pieces")

    def start(self, recipe: str, out: str, workers: int, *words: str, at: int = 0) -> Any:
        path = os.pathsep.join([str(self.folder / "site"), os.environ.get("PYTHONPATH", "")])
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "YORIAI_WORKERS": str(workers),
            "FLUSHES": str(self.folder / f"{out}.log"),
            "BARRIER": str(self.folder / "barrier"),
            "AT": str(at),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "yoriai", "run", recipe, "--out", out, *words],
            cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, recipe: str, out: str, workers: int, *words: str) -> str:
        process = self.start(recipe, out, workers, *words)
        said, complained = process.communicate()
        assert process.returncode == 0, said + complained
        return str(complained)

    def digest(self, recipe: str, out: str, workers: int) -> str:
        if not (self.folder / out).exists():
            shutil.copytree(self.folder / "done", self.folder / out)
        self.run(recipe, out, workers)
        [manifest] = (self.folder / out).glob("shards@1/artifact.json")
        return str(json.loads(manifest.read_bytes())["digest"])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def undisturbed(bench: Bench) -> str:
    return bench.digest("halt.yaml", "whole", 1)


@pytest.fixture
def reached(bench: Bench) -> Iterator[int]:
    """The reading end of the barrier: says when it is reached, and when who waited is gone."""
    handle = os.open(bench.folder / "barrier.reached", os.O_RDONLY | os.O_NONBLOCK)
    yield handle
    os.close(handle)


@pytest.mark.slow
def test_two_workers_make_the_bytes_of_one(bench: Bench, undisturbed: str) -> None:
    assert bench.digest("corpus.yaml", "two", 2) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize(("share", "workers"), [(0.02, 2), (0.6, 2), (1, 1)])
def test_shards_that_were_killed_at_any_write_go_on_and_end_with_the_same_digest(
    share: float, workers: int, bench: Bench, undisturbed: str, reached: int
) -> None:
    flushes = (bench.folder / "whole.log").stat().st_size
    out = f"killed{share}"
    shutil.copytree(bench.folder / "done", bench.folder / out)
    process = bench.start("halt.yaml", out, 1, at=max(1, round(share * flushes)))
    ready, _, _ = select.select([reached], [], [], 60)
    assert ready, "nothing came to the barrier"
    assert os.read(reached, 1) == b"x"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list((bench.folder / out).glob("shards@1"))
    done = len(list((bench.folder / out).rglob("pieces/*.json")))
    assert (done > 0) == (share > 0.02)
    assert bench.digest("corpus.yaml", out, workers) == undisturbed


def test_a_changed_tokenizer_under_old_shards_is_refused(bench: Bench, undisturbed: str) -> None:
    process = bench.start("halt.yaml", "whole", 1, "--set", "pieces.size=321")
    _, complained = process.communicate()
    assert process.returncode == 4
    assert "pieces" in complained
    # The tokenizer made anew under a reason: now it is the shards that are refused.
    words = ("--set", "pieces.size=321", "--until", "pieces", "--allow-drift", "a test")
    bench.run("halt.yaml", "whole", 1, *words)
    process = bench.start("halt.yaml", "whole", 1, "--set", "pieces.size=321")
    _, complained = process.communicate()
    assert process.returncode == 4
    assert "shards" in complained
