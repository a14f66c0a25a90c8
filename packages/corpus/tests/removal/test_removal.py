"""Documents taken out of everything: no byte of them is left, and everything else stays."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from yoriai import Altered, Artifact, NotFound, Refused, UsageError, files, release, signing
from yoriai.artifact import open_artifact, verify
from yoriai.mixture import read_mixture
from yoriai_corpus import tables
from yoriai_corpus.account import removals
from yoriai_corpus.removal import absence, folder, journal
from yoriai_corpus.removal.selection import RemovalRequest
from yoriai_corpus.search.query import SearchQuery
from yoriai_corpus.search.search import SearchIndex

Make = Callable[..., Artifact]
SECRET = "秘密の花園には名前のない猫が住んでいたという。"
NEAR = SECRET * 6
ROWS = [
    *({"id": f"n/{n}", "lang": "ja", "text": f"これは{n}番目の文書です。猫と犬の話を{n}回書いた。",
       "url": f"https://example.jp/{n}"} for n in range(30)),
    *({"id": f"m/{n}", "lang": "ja", "text": f"{who}が{where}で{what}。" * (2 + n % 3)}
      for n, (who, where, what) in enumerate(itertools.product(
          ("先生", "友だち", "駅員", "運転手", "子ども"), ("東京", "海辺", "図書館", "公園"),
          ("本を読んでいる", "歌をうたった", "長いあいだ待った", "時計を直した"))))  ,
    {"id": "secret", "text": NEAR, "lang": "ja", "url": "https://example.jp/secret"},
    {"id": "near", "text": NEAR + "おわり。", "lang": "ja"},
    {"id": "copy", "text": NEAR, "lang": "ja"},
    {"id": "short", "text": "猫", "lang": "ja"},
]  # fmt: skip


@pytest.fixture(scope="module")
def made(make_corpus: Make, run_step: Make) -> list[Artifact]:
    corpus = make_corpus(
        ROWS, heldout=0.1, dedup={"exact": True, "near": 0.8},
        rules=[{"use": "corpus/min-length", "characters": 3}],
    )  # fmt: skip
    pieces = run_step("corpus/tokenizer", [corpus], name="pieces", size=350, context=64)
    shards = run_step("corpus/tokens", [corpus, pieces], name="shards")
    mixed = run_step("corpus/mixture", [shards], name="mix", phases=[
        {"name": "all", "weights": {"ja": 1}}
    ])  # fmt: skip
    index = run_step("corpus/index", [corpus], name="index")
    counted = run_step("corpus/ngrams", [shards], name="ngrams")
    return [corpus, pieces, shards, mixed, index, counted]


@pytest.fixture
def root(made: list[Artifact], tmp_path: Path) -> Path:
    place = tmp_path / "work"
    for artifact in made:
        shutil.copytree(artifact.path, place / f"{artifact.path.name}@1")
    return place


def request(**keys: Any) -> RemovalRequest:
    return RemovalRequest(**{"reason": "asked by its author", **keys})


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*")) if path.is_file()
    }  # fmt: skip


def states(root: Path) -> dict[str, str]:
    corpus = open_artifact(root / "text@1")
    found = {}
    for table in ("documents", "heldout", "dropped"):
        paths = sorted((corpus.path / table).glob("*.parquet"))
        found |= {row["id"]: table for row in tables.read_rows(paths)}
    return found


@pytest.mark.parametrize(
    "aim",
    [
        {"ids": ("mine/secret",)},
        {"ids": ("mine/copy",)},
        {"urls": ("https://example.jp/secret",)},
        {"queries": ("秘密の花園",)},
    ],
)
def test_a_removed_text_is_nowhere_and_everything_is_whole(root: Path, aim: dict[str, Any]) -> None:
    before = states(root)
    before_files = {place.path for place in absence.look(root, [SECRET]).found}
    assert {"ngrams@1/00000.ngrams", "shards@1/ja.bin", "mix@1/ja.bin"} <= before_files
    entry = folder.apply(folder.plan(root, request(**aim)))
    # What a tokenizer learnt are pieces, no text: it is named, not changed.
    assert not (root / "ngrams@1").exists()
    report = absence.look(root, [SECRET, NEAR])
    assert report.found == []
    assert entry["documents"] == 3
    for path in root.glob("*@1"):
        artifact, findings = verify(path)
        assert artifact is not None
        assert findings == []
    assert states(root) == {
        name: table for name, table in before.items() if name not in ("secret", "near", "copy")
    }
    index = SearchIndex(open_artifact(root / "index@1"))
    assert index.count("秘密") == 0
    assert list(index.explain("mine/secret")) == []
    assert index.find(SearchQuery(text="secret", names=True)).occurrences == 0
    assert index.count("番目の文書") == 30


def test_the_account_still_adds_up(root: Path) -> None:
    folder.apply(folder.plan(root, request(ids=("mine/secret", "mine/n/3"))))
    facts = open_artifact(root / "text@1").facts
    outcomes = ("kept", "heldout", "dropped", "unreadable", "removed")
    for counted in (facts, *facts["by_source"].values()):
        assert counted["in"] == sum(counted.get(name, 0) for name in outcomes)
    documents = list(tables.read_rows(sorted((root / "text@1/documents").glob("*.parquet"))))
    assert facts["kept"] == len(documents)
    assert sum(row["documents"] for row in facts["by_language"].values()) == len(documents)
    size = sum(len(row["text"].encode()) for row in documents)
    assert sum(row["bytes"] for row in facts["by_language"].values()) == size
    assert facts["by_source"]["mine"]["bytes"] == size
    assert json.loads((root / "text@1/ledger.json").read_bytes())["removed"] == facts["removed"]


def test_tokens_of_others_stay_where_they_were(root: Path) -> None:
    before = {n: d for n, d in contents(root).items() if n.endswith((".bin", ".idx"))}
    side = {
        n: pq.read_table(root / n.replace(".bin", ".documents.parquet")).to_pylist()
        for n in before if n.endswith(".bin")
    }  # fmt: skip
    planned = folder.plan(root, request(queries=("秘密の花園", "これは3番目")))
    names = planned.chosen.names
    folder.apply(planned)
    after = contents(root)
    masked = 0
    for name, data in before.items():
        if name.endswith(".idx"):
            assert after[name] == data
            continue
        end = read_mixture(root / name.partition("/")[0]).end_id
        old, new = (np.frombuffer(d, dtype="<u2") for d in (data, after[name]))
        for row in side[name]:
            place = slice(row["start"], row["start"] + row["tokens"])
            if (row["source"], row["id"]) in names:
                assert set(new[place].tolist()) == {end}
                masked += 1
            else:
                assert np.array_equal(new[place], old[place])
        rows = pq.read_table(root / name.replace(".bin", ".documents.parquet")).to_pylist()
        assert [row["start"] for row in rows] == [row["start"] for row in side[name]]
    assert masked == 2 * open_artifact(root / "mix@1").facts["removed"]["documents"] > 0


def test_one_of_the_near_duplicates_is_kept_if_asked(root: Path) -> None:
    before = states(root)
    winner = next(name for name in ("secret", "near", "copy") if before[name] != "dropped")
    entry = folder.apply(folder.plan(root, request(ids=(f"mine/{winner}",), twins="promote")))
    left = {name for name in ("secret", "near", "copy") if name in states(root)}
    assert winner not in left
    if winner != "near":
        assert left == {"near"}  # the copy has the very same text
        assert entry["promoted"] == 1
        assert states(root)["near"] == "documents"
        (told,) = SearchIndex(open_artifact(root / "index@1")).explain("mine/near")
        assert told["state"] == "kept"


def test_a_dry_run_changes_nothing(root: Path) -> None:
    before = contents(root)
    planned = folder.plan(root, request(ids=("mine/secret",))).plain()
    assert contents(root) == before
    assert planned["documents"] == 3
    assert {row["name"].partition("@")[0] for row in planned["artifacts"]} >= {
        "test/text", "test/shards", "test/mix", "test/index"
    }  # fmt: skip
    assert [row["kind"] for row in planned["saw"]] == ["tokenizer"]


def test_what_was_not_meant_keeps_its_bytes(root: Path) -> None:
    before = contents(root)
    folder.apply(folder.plan(root, request(ids=("mine/short",))))  # dropped: in no shard
    after = contents(root)
    same = [n for n in before if n.endswith((".bin", ".idx")) or n.startswith("pieces@1/")]
    assert all(after[name] == before[name] for name in same)
    inputs = open_artifact(root / "shards@1").manifest["inputs"]
    assert open_artifact(root / "text@1").digest in {row["digest"] for row in inputs}


def test_the_log_says_what_was_done_and_no_word_of_the_text(root: Path) -> None:
    folder.apply(folder.plan(root, request(ids=("mine/secret",), by="the office")))
    folder.apply(folder.plan(root, request(ids=("mine/n/1",))))
    data = (root / removals.LOG).read_text(encoding="utf-8")
    first, second = removals.logged(root)
    for word in ("秘密", "secret", "n/1", "example.jp"):
        assert word not in data
    assert removals.name_digest("mine", "secret") in first["names_sha256"]
    assert (first["by"], second["documents"]) == ("the office", 1)
    with pytest.raises(removals.Removed, match="mine/n/1 was removed on 20") as told:
        removals.check_not_removed([root], "mine", "n/1")
    assert "asked by its author" in str(told.value.hint)
    removals.check_not_removed([root], "mine", "n/2")
    for row in second["artifacts"]:
        assert row["before"] != row["after"]
    changed = {row["name"]: row["after"] for row in second["artifacts"]}
    assert changed["test/index@1"] == open_artifact(root / "index@1").digest


def test_a_new_build_is_taken_the_same_documents_from(root: Path, made: list[Artifact]) -> None:
    folder.apply(folder.plan(root, request(ids=("mine/secret",))))
    shutil.rmtree(root / "text@1")
    shutil.copytree(made[0].path, root / "text@1")  # as a run of the recipe would make it
    digests = frozenset(d for e in removals.logged(root) for d in e["names_sha256"])
    folder.apply(folder.plan(root, request(name_digests=digests)))
    assert absence.look(root, [SECRET]).found == []


CHANGES = (
    (Path, "rename"),
    (Path, "replace"),
    (Path, "unlink"),
    (shutil, "rmtree"),
    (os, "replace"),
)


class Killed(BaseException):
    """Ends it as SIGKILL would: nothing catches it, and nothing is tidied up."""


def killed(act: Callable[[], object], number: int, changes: Any = CHANGES) -> bool:
    """Whether it was ended before its ``number``-th change of a name. No process is forked: the
    child would wait for locks of threads that it has not."""
    left = iter(range(number))

    def counting(change: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: Any, **keys: Any) -> object:
            if next(left, None) is None:
                raise Killed
            return change(*args, **keys)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in changes:
            patch.setattr(owner, name, counting(getattr(owner, name)))
        try:
            act()
        except Killed:
            return True
    return False


@pytest.mark.slow
def test_a_removal_killed_anywhere_is_resumed_to_the_same_bytes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release.assemble(open_artifact(root / "text@1"), root / "published/text")
    whole, place = tmp_path / "whole", tmp_path / "place"
    shutil.copytree(root, whole)
    aim = request(queries=("秘密の花園",))
    folder.apply(folder.plan(whole, aim))

    def all_of(work: Path) -> dict[str, bytes]:
        found = contents(work)
        assert found.pop(".lock") == b""
        entry = json.loads(found.pop(removals.LOG))
        return {**found, "entry": json.dumps(entry | {"date": ""}).encode()}

    wanted, kills = all_of(whole), 0
    assert not any(name.startswith(("published", ".")) for name in wanted)
    while True:
        shutil.copytree(root, place)
        planned = folder.plan(place, aim)
        if not killed(lambda planned=planned: folder.apply(planned), kills):  # type: ignore[misc]
            break
        if (place / journal.PENDING).exists():
            with pytest.raises(Refused, match="begun"):
                folder.plan(place, aim)
            planned = folder.resume(place)
        elif not (place / removals.LOG).exists():
            planned = folder.plan(place, aim)
        if (place / journal.PENDING).exists() or not (place / removals.LOG).exists():
            folder.apply(planned)
        assert all_of(place) == wanted, kills
        shutil.rmtree(place)
        kills += 1
    assert kills > 15
    assert all_of(place) == wanted


def test_what_was_built_while_a_removal_was_under_way_loses_the_documents_too(root: Path) -> None:
    former = root.with_name("former")
    shutil.copytree(root / "text@1", former)
    planned = folder.plan(root, request(queries=("秘密の花園",)))
    # What an artifact was is deleted when it has been replaced.
    assert killed(lambda: folder.apply(planned), 0, [(shutil, "rmtree")])
    assert open_artifact(root / "text@1").digest != open_artifact(former).digest
    former.rename(root / "again@1")
    entry = folder.apply(folder.resume(root))
    assert absence.look(root, [SECRET]).found == []
    assert [row["name"] for row in entry["artifacts"]].count("test/text@1") == 2


def test_unfinished_work_and_altered_bytes_stop_it_before_anything_is_changed(root: Path) -> None:
    planned = folder.plan(root, request(ids=("mine/secret",)))
    (root / ".work/text-0").mkdir(parents=True)
    with pytest.raises(Refused, match="unfinished"):
        folder.apply(planned)
    shutil.rmtree(root / ".work")
    path = root / "index@1/parts/00000.names"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    before = contents(root)
    with pytest.raises(Exception, match=r"00000\.names"):
        folder.apply(planned)
    assert {n: d for n, d in contents(root).items() if n != ".lock"} == before


def test_a_request_without_reason_aim_or_document_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="reason"):
        folder.plan(root, request(ids=("a",), reason=" "))
    with pytest.raises(UsageError, match="nothing is named"):
        folder.plan(root, request())
    with pytest.raises(NotFound, match="no document"):
        folder.plan(root, request(ids=("mine/nobody",)))


def test_the_commands_say_what_would_be_done_do_it_and_look_for_it(
    root: Path, yoriai_cli: Callable[..., Any], tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    signing.new_key(key)
    asked = ("corpus", "remove", str(root), "--id", "mine/secret", "--reason", "as asked")
    dry = yoriai_cli(*asked, "--dry-run")
    assert dry.code == 0
    assert "3 documents would be removed" in dry.out
    found = yoriai_cli("corpus", "absent", str(root), SECRET, "--json")
    assert found.code == 1
    assert {row["as"] for row in found.json["found"]} >= {"index", "tokens", "column text"}
    done = yoriai_cli(*asked, "--key", str(key), "--json").json
    assert "mine/secret" in done["names"]
    gone = yoriai_cli("verify", str(root), "--absent", SECRET)
    assert (gone.code, "absent from" in gone.out) == (0, True)
    (entry,) = removals.logged(root)
    signature = entry.pop("signature")
    public = signing.read_public(tmp_path / "key.pem.pub")
    signing.check(public, files.canonical_json(entry), signature)
    with pytest.raises(Altered):
        signing.check(public, files.canonical_json({**entry, "documents": 2}), signature)


@pytest.mark.parametrize(
    "line", [b"[]", b"1", b"{}", b'{"names_sha256": 5}', b"[" * 9000, b"\xff", b"9" * 5000]
)
def test_a_log_that_was_altered_is_refused_with_its_line(tmp_path: Path, line: bytes) -> None:
    (tmp_path / removals.LOG).write_bytes(b'{"names_sha256": [], "kept": 1}\n' + line + b"\n")
    with pytest.raises(Refused, match=f"{removals.LOG}:2 is not as it was written"):
        removals.logged(tmp_path)


def test_a_log_or_a_plan_that_is_a_device_is_refused(tmp_path: Path) -> None:
    for name in (removals.LOG, journal.PENDING):
        (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="no ordinary file"):
        removals.logged(tmp_path)
    with pytest.raises(UsageError, match="no ordinary file"):
        folder.resume(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/r.json").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="no ordinary file"):
        folder._runs(tmp_path, ["0" * 64])


PENDING = {
    "reason": "r", "by": "", "twins": "all", "names": [["mine", "a"]], "records": [],
    "promoted": [[["mine", "a"], ["mine", "b"]]], "saw": [{"name": "t/base@1"}], "runs": ["r-1"],
    "changed": [{"path": "text@1", "name": "t/text@1", "kind": "corpus", "digest": "0" * 64,
                 "holds": {"documents": 1}}],
    "logged": 0,
}  # fmt: skip
ROW = PENDING["changed"][0]


@pytest.mark.parametrize(
    "change",
    [
        *({key: wrong} for key in PENDING for wrong in (None, -5, [1], [[1]], {"a": 1})),
        {"names": [["a", "b", "c"]]}, {"twins": "none"}, {"more": 1},
        *({"changed": [ROW | {"path": path}]} for path in ("/etc", "../text@1", "a//b", "", ".")),
    ],
)  # fmt: skip
def test_a_plan_that_was_altered_is_not_gone_on_with(tmp_path: Path, change: Any) -> None:
    place = tmp_path / journal.PENDING
    place.write_text(json.dumps(PENDING | change))
    with pytest.raises(Refused, match="is not as it was written") as caught:
        folder.resume(tmp_path)
    assert f"yoriai verify {tmp_path}" in str(caught.value.hint)


def test_a_plan_of_which_a_key_was_lost_is_not_gone_on_with(tmp_path: Path) -> None:
    place = tmp_path / journal.PENDING
    for key in PENDING:
        place.write_text(json.dumps({k: v for k, v in PENDING.items() if k != key}))
        with pytest.raises(Refused, match=f"{key}: Field required"):
            folder.resume(tmp_path)
