"""``yoriai tokens``: from a real training back to its documents, and forth."""

import hashlib
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yoriai import artifact, cli
from yoriai.mixture import build_mixture
from yoriai.shards import ShardWriter

pytestmark = pytest.mark.slow
CONTEXT, BATCH, ACCUMULATE, STEPS, SEED = 32, 4, 2, 12, 77
WORDS = ["ファイル", "設定", "保存しました。", " open ", "settings ", "\n", "def f(x):", "を開く"]


def seal(out: Path, target: Path, kind: str, inputs=(), **facts):
    identity = {
        "kind": kind, "name": f"walk/{target.name}", "step": "", "config": {}, "code": [],
        "seed": 0, "outside": {}, "sources": [], "licence": "",
        "inputs": [{"name": i.name, "digest": i.digest} for i in inputs],
        "facts": {"headline": [], **facts},
    }  # fmt: skip
    told = {"folders": [f"./{i.path.name}" for i in inputs]}
    return artifact.seal(out, target, identity=identity, circumstances=told)


def write_corpus(out: Path) -> list[dict]:
    chooser, rows = random.Random(3), []
    for number in range(60):
        source, text = f"src{number % 3}", "".join(chooser.choices(WORDS, k=chooser.randint(1, 12)))
        text = text.strip() or "x"
        name = f"a/{number:03}"
        digest = hashlib.sha256(f"{source}\0{name}\0{text}".encode()).hexdigest()
        rows.append(
            {
                "source": source, "id": name, "text": text, "language": "ja",
                "url": f"https://example.org/{number}", "licence": ["CC0-1.0", ""][number % 2],
                "date": "", "record_sha256": digest,
            }
        )  # fmt: skip
    (out / "documents").mkdir()
    for part in (0, 1):
        table = pa.Table.from_pylist(rows[part * 30 : part * 30 + 30])
        pq.write_table(table, out / "documents" / f"0000{part}.parquet", row_group_size=7)
    return rows


def write_tokens(out: Path, rows: list[dict], pieces: artifact.Artifact) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pieces.file("tokenizer.json")))
    held: dict[str, list[dict]] = {"one": rows[:25], "two": rows[25:]}
    shards = {}
    for name, of in held.items():
        count, stems = 0, []
        for part in (0, 1):
            stem, here, sidecar = f"{name}-{part}", 0, []
            writer = ShardWriter(out / stem, tokenizer.get_vocab_size())
            for row in of[part::2]:
                size = writer.add([*tokenizer.encode(row["text"]).ids, 2])
                names = {key: row[key] for key in ("source", "id", "record_sha256")}
                sidecar.append({**names, "start": here, "tokens": size})
                here += size
            writer.close()
            pq.write_table(
                pa.Table.from_pylist(sidecar), out / f"{stem}.documents.parquet", row_group_size=5
            )
            count, stems = count + here, [*stems, stem]
        shards[name] = {"files": stems, "tokens": count, "documents": len(of)}
    phases = [
        {"name": "early", "tokens": 40 * CONTEXT, "weights": {"one": 1, "two": 1}},
        {"name": "late", "weights": {"two": 3, "one": 1}},
    ]
    told = {"tokenizer": pieces.digest, "vocabulary_size": tokenizer.get_vocab_size(), "end_id": 2}
    build_mixture({**told, "shards": shards, "phases": phases}).save(out)


@pytest.fixture(scope="module")
def walk(tmp_path_factory, make, pieces) -> SimpleNamespace:
    """A corpus, a tokenizer, tokens and a model, each in its place, trained by a recipe."""
    from yoriai.testing import run_cli

    root = tmp_path_factory.mktemp("walk")
    work = root / "build" / "walk"
    shutil.copytree(pieces.path, work / "pieces@1")
    placed = artifact.open_artifact(work / "pieces@1")
    (root / "text").mkdir()
    rows = write_corpus(root / "text")
    corpus = seal(root / "text", work / "text@1", "corpus")
    (root / "shards").mkdir()
    write_tokens(root / "shards", rows, placed)
    tokens = seal(root / "shards", work / "shards@1", "tokens", [corpus, placed])
    shape = {"use": "train/llama", **make.shape, "context": CONTEXT}
    base = {
        "uses": "train/pretrain", "from": [str(tokens.path), str(placed.path)], "model": shape,
        "steps": STEPS, "batch": BATCH, "accumulate": ACCUMULATE,
    }  # fmt: skip
    recipe = {"name": "walk", "seed": SEED, "steps": {"base": base}}
    (root / "walk.yaml").write_text(json.dumps(recipe))
    done = run_cli("run", "walk.yaml", cwd=root)
    assert done.code == 0, done.err
    return SimpleNamespace(root=root, work=work, rows=rows, tokens=tokens, base=work / "base@1")


@pytest.fixture
def yoriai(capsys):
    """Run a command in this process, which is quicker than a new one."""

    def run(*words, plugins="train"):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(["--plugins", plugins, "tokens", *map(str, words)])
        told = capsys.readouterr()
        return SimpleNamespace(
            code=ended.value.code,
            out=told.out,
            err=told.err,
            json=json.loads(told.out) if "--json" in words else None,
        )

    return run


def tokens_of(walk, sample):
    from yoriai_train.data.windows import Samples

    return Samples(walk.tokens.path, CONTEXT, SEED).batch([sample])[0].tolist()


def test_replay_and_where_are_inverse_to_one_another(walk, yoriai):
    seen = {}
    for step in range(1, STEPS + 1):
        for row in yoriai("replay", walk.base, "--step", step, "--json").json["documents"]:
            name = f"{row['source']}/{row['id']}"
            seen.setdefault(name, set()).add((step, row["sample"], row["window"]))
    assert len(seen) > 40
    for row in walk.rows:
        name = f"{row['source']}/{row['id']}"
        told = yoriai("where", walk.base, name, "--json").json
        here = {(s["step"], s["sample"], s["window"]) for p in told["places"] for s in p["seen"]}
        assert here == seen.get(name, set())
        assert told["steps"] == sorted({step for step, *_ in here})


def test_steps_whose_data_was_passed_over_saw_nothing_of_it(walk):
    from yoriai_train.data.documents import Sidecars
    from yoriai_train.data.provenance import training_of
    from yoriai_train.data.seen import places_of

    training = replace(training_of(artifact.open_artifact(walk.base)), skipped=((3, 5),), steps=6)
    samples, seen = training.samples(), {}
    for step in range(1, 7):
        span = training.span(step)
        for number, window in zip(*samples.order.draw(span), strict=True):
            text = samples.windows.texts[number]
            pieces = list(text.pieces(int(window) * CONTEXT, CONTEXT + 1))
            for name in Sidecars(training.tokens).names_of(pieces).values():
                seen.setdefault(f"{name.source}/{name.id}", set()).add(step)
    names = ["{source}/{id}".format(**row) for row in walk.rows]
    for name, places in places_of(training, names, 6).items():
        assert {s["step"] for place in places for s in place["seen"]} == seen.get(name, set())


def test_many_documents_are_asked_at_once_and_each_hop_names_its_own(walk, yoriai, pieces):
    from tokenizers import Tokenizer

    from yoriai.explaining import Point
    from yoriai_train.data.hops import hops

    base = artifact.open_artifact(walk.base)
    names = ["src0/a/000", "src9/none", "src1/a/001"]
    told = list(hops(Point(kind="documents", artifact=base, names=names)))
    assert [hop.facts["name"] for hop in told] == names
    assert [hop.state for hop in told] == ["checked", "broken", "checked"]
    tokenizer = Tokenizer.from_file(str(pieces.file("tokenizer.json")))
    texts = {f"{row['source']}/{row['id']}": row["text"] for row in walk.rows}
    for hop in (told[0], told[2]):
        encoded = tokenizer.encode(texts[hop.facts["name"]]).ids
        assert hop.facts["tokens"] == len(encoded) + 1  # and the mark of its end
        where = yoriai("where", walk.base, hop.facts["name"], "--json").json
        assert (hop.facts["steps"], hop.facts["of"]) == (where["steps"], STEPS)
        [alone] = hops(Point(kind="document", artifact=base, name=hop.facts["name"]))
        assert (alone.says, alone.facts) == (hop.says, hop.facts)


def test_replay_shows_the_very_texts_that_the_batch_holds(walk, yoriai, pieces):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pieces.file("tokenizer.json")))
    by_name = {(row["source"], row["id"]): row for row in walk.rows}
    told = yoriai("replay", walk.base, "--step", 5, "--json").json
    assert told["samples"] == [32, 40]
    assert told["notes"] == []
    whole = 0
    for sample in range(32, 40):
        ids, at = tokens_of(walk, sample), 0
        for row in (d for d in told["documents"] if d["sample"] == sample):
            assert row["column"] == at
            first, stop = row["tokens"]
            known = by_name[row["source"], row["id"]]
            expected = [*tokenizer.encode(known["text"]).ids, 2]
            assert ids[at : at + stop - first] == expected[first:stop]
            assert [row[k] for k in ("url", "licence", "record_sha256")] == [
                known[k] for k in ("url", "licence", "record_sha256")
            ]
            assert row["text_from"] == "corpus"
            assert row["text"] in known["text"]
            if [first, stop] == [0, row["of"]]:
                assert row["text"] == known["text"]
                whole += 1
            at += stop - first
        assert at == CONTEXT + 1
    assert whole > 0


def test_a_model_and_its_tokens_with_the_same_settings_give_the_same_batch(walk, yoriai):
    settings = ("--batch", BATCH * ACCUMULATE, "--context", CONTEXT, "--seed", SEED)
    by_model = yoriai("replay", walk.base, "--step", 7, "--json").json
    assert yoriai("replay", walk.tokens.path, "--step", 7, *settings, "--json").json == by_model
    name = "{source}/{id}".format(**by_model["documents"][0])
    one = yoriai("where", walk.base, name, "--json").json
    two = yoriai("where", walk.tokens.path, name, *settings, "--steps", STEPS, "--json").json
    assert one == two
    assert 7 in one["steps"]


def test_in_words(walk, yoriai):
    told = yoriai("replay", walk.base, "--step", 1)
    assert told.code == 0
    assert "sample 0: window " in told.out
    assert "[CC0-1.0]  https://example.org/" in told.out
    assert "[licence unstated]" in told.out
    told = yoriai("where", walk.base, "src0/a/000")
    assert "src0/a/000: " in told.out
    assert "record " in told.out


def test_a_corpus_that_is_gone_is_named_and_the_rest_is_still_told(walk, yoriai, tmp_path):
    shutil.copytree(walk.work, tmp_path / "walk")
    (tmp_path / "walk" / "text@1").rename(tmp_path / "elsewhere")
    base = tmp_path / "walk" / "base@1"
    told = yoriai("replay", base, "--step", 2)
    assert told.code == 0
    assert "note: walk/text@1 is not here" in told.err
    assert "note: no corpus is here" in told.err
    assert "  record " in told.out
    value = yoriai("replay", base, "--step", 2, "--json").json
    assert {row["text_from"] for row in value["documents"]} == {"tokens"}
    assert all(row["url"] is None and row["record_sha256"] for row in value["documents"])
    named = yoriai("replay", base, "--step", 2, "--corpus", tmp_path / "elsewhere", "--json").json
    assert named == yoriai("replay", walk.base, "--step", 2, "--json").json


def test_tokens_that_are_gone_are_named(walk, yoriai, tmp_path):
    shutil.copytree(walk.base, tmp_path / "base@1")
    told = yoriai("replay", tmp_path / "base@1", "--step", 2)
    assert told.code == 3
    assert "the tokens that walk/base@1 was trained on are not here" in told.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("replay", "base@1", "--step", "0"), 2, "0 is not in the range"),
        (("replay", "base@1", "--step", "13"), 2, "was trained for 12 steps; there is no step 13"),
        (("replay", "base@1", "--step", "1", "--batch", "3"), 2, "knows its batch"),
        (("replay", "shards@1", "--step", "1"), 2, "know nothing of a training"),
        (("replay", "pieces@1", "--step", "1"), 3, "neither tokens nor a model"),
        (("where", "base@1", "src0/no/such"), 3, "no document 'src0/no/such' is in walk/shards@1"),
        (("where", "shards@1", "x/y", "--batch", "1", "--context", "8"), 2, "--steps N"),
        (("plan", "base@1"), 3, "is a model, not tokens"),
        (("plan", "shards@1", "--steps", "9"), 2, "--steps needs --batch"),
        (("plan", "shards@1", "--steps", "9", "--tokens", "9"), 2, "give either --tokens"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(walk, yoriai, words, code, message):
    verb, place, *rest = words
    told = yoriai(verb, walk.work / place, *rest)
    assert (told.code, told.out) == (code, "")
    assert message in told.err


def test_a_plan_counts_what_training_sees(walk, yoriai, monkeypatch):
    from yoriai_train.data.windows import Samples

    monkeypatch.chdir(walk.root)
    [plan] = yoriai("plan", "walk.yaml", "--json").json["plans"]
    total = STEPS * BATCH * ACCUMULATE
    assert (plan["training"], plan["samples"], plan["tokens"]) == ("base", total, total * CONTEXT)
    samples = Samples(walk.tokens.path, CONTEXT, SEED)
    shard, _ = samples.order.draw(range(total))
    assert [p["first_sample"] for p in plan["phases"]] == [0, 40]
    for phase, part in zip(plan["phases"], (shard[:40], shard[40:]), strict=True):
        rows = {row["shard"]: row["tokens"] for row in phase["shards"]}
        assert [rows["one"], rows["two"]] == [int((part == n).sum()) * CONTEXT for n in (0, 1)]
    assert plan["refused"] == ""
    [longer] = yoriai("plan", "walk.yaml", "--set", "base.steps=90", "--json").json["plans"]
    assert longer["samples"] == 90 * BATCH * ACCUMULATE


def test_a_plan_of_shards_that_are_not_made_says_how_to_make_them(walk, yoriai, tmp_path):
    base = {"uses": "train/pretrain", "from": ["mix", str(walk.work / "pieces@1")]}
    mix = {"uses": "domain-adapt/replay", "from": [str(walk.tokens.path)] * 2}
    recipe = {"name": "other", "steps": {"mix": mix, "base": base}}
    (tmp_path / "other.yaml").write_text(json.dumps(recipe))
    pytest.importorskip("yoriai_domain_adapt")
    words = ("plan", tmp_path / "other.yaml", "--out", tmp_path / "work")
    told = yoriai(*words, plugins="train,domain-adapt")
    assert told.code == 3
    assert "base needs 'mix', which is not made yet" in told.err
    assert f"yoriai run {tmp_path / 'other.yaml'} --until mix" in told.err


def test_a_plan_warns_of_repetition_and_says_what_will_be_refused(walk, yoriai):
    told = yoriai("plan", walk.tokens.path, "--context", "32", "--tokens", "200000")
    assert "'two' is seen " in told.out
    assert "arXiv 2305.16264" in told.out
    assert "warning" not in yoriai("plan", walk.tokens.path, "--context", "32").out


def test_shares_and_budgets_of_shards_that_are_not_made_are_planned_by_the_recipe(
    walk, yoriai, tmp_path
):
    pytest.importorskip("yoriai_corpus")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a text"}\n')
    sources = [{"use": "corpus/jsonl", "paths": [str(rows)], "name": n} for n in ("wiki", "web")]
    phases = [
        {"name": "main", "tokens": 3200, "weights": {"wiki": 1, "web": 3}},
        {"name": "end", "budgets": {"wiki": 640}},
    ]
    steps = {
        "text": {"uses": "corpus/build", "sources": sources},
        "pieces": {"uses": "corpus/tokenizer", "from": "text"},
        "shards": {"uses": "corpus/tokens", "from": ["text", "pieces"], "split_by": "source"},
        "mix": {"uses": "corpus/mixture", "from": "shards", "phases": phases},
        "base": {
            "uses": "train/pretrain", "from": ["mix", "pieces"], "steps": 60, "batch": 2,
            "model": {"use": "train/gpt2", "layers": 1, "width": 32, "heads": 2, "context": 32},
        },
    }  # fmt: skip
    recipe = tmp_path / "other.yaml"
    recipe.write_text(json.dumps({"name": "other", "steps": steps}))
    words = ("plan", recipe, "--out", tmp_path / "work")
    [plan] = yoriai(*words, "--json", plugins="train,corpus").json["plans"]
    assert (plan["made"], plan["tokens"], plan["refused"]) == (False, 3840, "")
    seen = [{r["shard"]: r["tokens"] for r in p["shards"]} for p in plan["phases"]]
    assert seen == [{"web": 2400, "wiki": 800}, {"wiki": 640}]
    assert {row["epochs"] for p in plan["phases"] for row in p["shards"]} == {None}
    told = yoriai(*words, "--set", "base.steps=61", plugins="train,corpus").out
    assert "the phases of the mixture end after 3,840" in told
    assert f"exact numbers after: yoriai run {recipe} --until mix" in told


def test_a_sidecar_that_was_changed_is_refused_by_name(walk, yoriai, tmp_path):
    copy = tmp_path / "shards@1"
    shutil.copytree(walk.tokens.path, copy)
    path = copy / "one-0.documents.parquet"
    told = ("--batch", "8", "--context", "32")
    data = path.read_bytes()
    path.write_bytes(data[:-4] + b"oops")  # the same size, another footer
    for words in (("replay", copy, "--step", "1"), ("where", copy, "src0/a/000", "--steps", "9")):
        answer = yoriai(*words, *told)
        assert answer.code == 4
        assert f"{path} has other bytes than were sealed" in answer.err
        assert f"yoriai verify {copy}" in answer.err
