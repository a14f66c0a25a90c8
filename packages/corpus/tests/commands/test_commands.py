"""The commands of yoriai corpus: for people, and with --json for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from yoriai import Artifact, NotFound, Refused, UsageError
from yoriai.cli import Context
from yoriai.registry import Registry
from yoriai_corpus.commands import account, find, rules
from yoriai_corpus.commands import ngram as ngrams
from yoriai_corpus.commands import search as searching

Make = Callable[..., Artifact]


@pytest.fixture(scope="module")
def corpus(make_corpus: Make) -> Artifact:
    rows = [{"id": f"d/{n}", "text": f"ファイルを開く {n} " + "x" * n} for n in range(40)]
    rows += [{"id": "short", "text": "短い"}, {"id": "twice", "text": rows[0]["text"]}, {}]
    rows += [{"id": "mail", "text": "宛先は taro@example.jp です。"}]
    asked = [{"use": "corpus/min-length", "characters": 5}, "corpus/mask-email"]
    return make_corpus(rows, rules=asked, dedup={"near": None})


@pytest.fixture(scope="module")
def index(corpus: Artifact, run_step: Make) -> Artifact:
    return run_step("corpus/index", [corpus])


@pytest.fixture(scope="module")
def shared(yoriai_registry: Registry) -> Context:
    context = Context(None, False)
    context._registry = yoriai_registry
    return context


def call(command: click.Command, *words: object, obj: object = None, stdin: str = "") -> str:
    typed = [str(word) for word in words]
    result = CliRunner().invoke(command, typed, input=stdin, obj=obj, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_search_shows_total_state_rule_and_text(index: Artifact) -> None:
    said = call(searching.search, index.path, "ファイルを", "--limit", 3)
    assert said.startswith("41 times in 41 documents")
    assert said.count("ファイルを開く") == 3
    value = json.loads(call(searching.search, index.path, "短", "--state", "dropped", "--json"))
    assert (value["query"], value["documents"]) == ("短", 1)
    assert value["hits"][0]["rule"] == "corpus/min-length"
    assert value["hits"][0]["id"] == "short"


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_all_hits_are_exported_in_a_format_that_others_read(
    suffix: str, index: Artifact, tmp_path: Path
) -> None:
    import pandas

    path = tmp_path / f"hits.{suffix}"
    call(searching.search, index.path, "ファイル", "--limit", 0, "--export", path)
    readers = {"csv": pandas.read_csv, "parquet": pandas.read_parquet}
    read = readers.get(suffix, lambda file: pandas.read_json(file, lines=True))(path)
    assert (len(read), set(read["match"])) == (41, {"ファイル"})
    with pytest.raises(UsageError, match="says no format"):
        call(searching.search, index.path, "ファイル", "--export", tmp_path / "hits.doc")


def test_trace_names_the_documents_that_hold_what_was_written(index: Artifact) -> None:
    value = json.loads(call(searching.trace, index.path, "-", "--json", stdin="昨日、宛先は taro"))
    assert [span["text"] for span in value["spans"]] == []
    said = call(searching.trace, index.path, "昨日、ファイルを開く 7と言った", "--shortest", 5)
    assert "mine/d/7 (kept, unstated)" in said
    assert "ファイルを開く 7" in said


def test_why_says_it_in_a_sentence_and_as_data(
    index: Artifact, corpus: Artifact, rows_of: Callable[..., list[dict[str, Any]]]
) -> None:
    said = call(find.why, index.path, "mine/short")
    assert "mine/short was dropped (corpus test/text@1) by corpus/min-length" in said
    assert "measured 2, limit 5" in said
    assert "mine/d/0 was kept instead" in call(find.why, index.path, "mine/twice")
    (bad,) = rows_of(corpus, "unreadable")
    for place in (index, corpus):
        said = call(find.why, place.path, f"mine/{bad['id']}")
        assert f"was unreadable (corpus test/text@1): {bad['reason']}" in said
    (row,) = json.loads(call(find.why, index.path, "d/7", "--json"))["documents"]
    assert (row["source"], row["id"], row["state"]) == ("mine", "d/7", "kept")


def test_why_does_without_a_threshold_when_a_rule_gives_none() -> None:
    row = {
        "source": "s", "id": "1", "state": "dropped", "rule": "acme/x", "value": 3.0,
        "threshold": None, "duplicate_of": "", "span": "", "licence": "", "text": "t",
        "corpus": "c",
    }  # fmt: skip
    assert "by acme/x: measured 3\n" in find.sentence(row)


def test_a_name_nobody_has_is_not_found(index: Artifact) -> None:
    with pytest.raises(NotFound, match="no document 'nobody'"):
        call(find.why, index.path, "nobody")


def test_stats_shows_sources_and_rules(corpus: Artifact) -> None:
    said = call(account.stats, corpus.path)
    assert "mine" in said
    assert "corpus/min-length" in said
    value = json.loads(call(account.stats, corpus.path, "--json"))
    assert (value["in"], value["kept"], value["dropped"], value["unreadable"]) == (44, 41, 2, 1)


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (5, 5), (41, 41), (99, 41)])
def test_sample_shows_documents_spread_over_the_corpus(
    count: int, shown: int, corpus: Artifact
) -> None:
    value = json.loads(call(find.sample, corpus.path, "--count", count, "--json"))
    ids = [row["id"] for row in value["documents"]]
    assert (len(ids), value["total"]) == (shown, 41)
    whole = [*(f"d/{n}" for n in range(40)), "mail"]
    assert ids == whole[:: max(1, 41 // count)][:count]


def test_sample_of_a_rule_shows_what_it_dropped(corpus: Artifact) -> None:
    said = call(find.sample, corpus.path, "--dropped-by", "corpus/exact-duplicate")
    assert said.startswith("[mine/twice]")
    with pytest.raises(NotFound, match="'corpus/kana' dropped nothing") as caught:
        call(find.sample, corpus.path, "--dropped-by", "corpus/kana")
    assert "corpus/exact-duplicate, corpus/min-length" in caught.value.hint


@pytest.mark.parametrize("words", [("--count", "0"), ("--count", "-1")])
def test_a_count_of_nothing_is_refused(words: tuple[str, str], corpus: Artifact) -> None:
    result = CliRunner().invoke(find.sample, [str(corpus.path), *words])
    assert result.exit_code == 2


def test_a_command_given_another_kind_of_artifact_says_which_it_reads(
    corpus: Artifact, index: Artifact
) -> None:
    with pytest.raises(NotFound, match="is a corpus, this command reads a index"):
        call(searching.search, corpus.path, "text")
    with pytest.raises(NotFound, match="is a index, this command reads a corpus"):
        call(account.stats, index.path)


def test_the_installed_command_answers_in_json_and_with_exit_codes(
    index: Artifact, yoriai_cli: Any
) -> None:
    answer = yoriai_cli("corpus", "search", str(index.path), "ファイル", "--json")
    assert (answer.code, answer.json["documents"]) == (0, 41)
    assert yoriai_cli("corpus", "why", str(index.path), "nobody").code == 3


def test_ngram_counts_the_bytes_of_an_index(index: Artifact) -> None:
    told = json.loads(call(ngrams.ngram, index.path, "ファイル", "--json"))
    found = json.loads(call(searching.search, index.path, "ファイル", "--exact", "--json"))
    assert told["occurrences"] == told["used_occurrences"] == found["occurrences"]
    assert sum(told["by_source"].values()) == sum(row["count"] for row in told["next"])
    said = call(ngrams.ngram, index.path, "無いものファイル")
    assert "21 bytes" not in said.splitlines()[1]
    assert "its last 12 bytes" in said
    with pytest.raises(UsageError, match="is counted in bytes"):
        call(ngrams.ngram, index.path, "1 2", "--ids")


# --- why without an index, and what is related --------------------------------------------


def test_why_of_a_corpus_says_what_why_of_its_index_says(corpus: Artifact, index: Artifact) -> None:
    for name in ("mine/short", "mine/twice", "d/7", "mine/d/0"):
        (slow,) = json.loads(call(find.why, corpus.path, name, "--json"))["documents"]
        (quick,) = json.loads(call(find.why, index.path, name, "--json"))["documents"]
        for key in ("source", "id", "state", "text", "stood_for", "same_as", "contamination"):
            assert slow[key] == quick[key]


def test_why_names_duplicates_and_the_rules_that_edited_the_source(corpus: Artifact) -> None:
    said = call(find.why, corpus.path, "mine/d/0")
    assert "stands for 1 more: mine/twice (exact, 1)" in said
    assert "edited documents of this source: corpus/mask-email (1)" in said
    assert "a duplicate (exact, 1) of mine/d/0" in call(find.why, corpus.path, "mine/twice")
    with pytest.raises(NotFound, match="no document 'nobody'"):
        call(find.why, corpus.path, "nobody")


def test_why_of_a_held_out_document_says_how_it_was_chosen() -> None:
    item = {"task": "eval/x", "item": "7", "kind": "near", "share": 0.5}
    row = {
        "source": "s", "id": "1", "state": "held out", "licence": "MIT", "text": "t",
        "corpus": "c", "contamination": [item],
    }  # fmt: skip
    said = find.sentence(row)
    assert "was held out (corpus c): kept apart for evaluation" in said
    assert "holds the evaluation item eval/x/7 (near, 50% of it)" in said


# --- sample --------------------------------------------------------------------------------


def test_a_sample_by_seed_is_always_the_same_and_another_for_another(corpus: Artifact) -> None:
    one, again, other = (
        call(find.sample, corpus.path, "--count", 9, "--seed", seed, "--json") for seed in (1, 1, 2)
    )
    assert one == again != other
    assert len({row["id"] for row in json.loads(one)["documents"]}) == 9


def test_a_sample_of_a_source_or_language(three_languages: Artifact) -> None:
    said = call(find.sample, three_languages.path, "--language", "en", "--count", 99, "--json")
    value = json.loads(said)
    assert {row["language"] for row in value["documents"]} == {"en"}
    assert value["total"] == three_languages.facts["by_language"]["en"]["documents"]
    for option, name in (("--language", "fr"), ("--source", "nowhere")):
        with pytest.raises(NotFound, match=name):
            call(find.sample, three_languages.path, option, name)


# --- judge ---------------------------------------------------------------------------------

TWO = "[{use: corpus/min-length, characters: 5}, corpus/kana, corpus/mask-email]"


def test_replay_shows_every_rule_of_a_file(tmp_path: Path, shared: Context) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a@b.jp", encoding="utf-8")
    said = call(rules.judge, path, "--rules", TWO, "--language", "ja", obj=shared)
    assert "would be dropped by corpus/kana" in said
    assert "'a@b.jp' → 'xxxx@yyy.tld'" in said
    value = json.loads(call(rules.judge, path, "--rules", TWO, "--json", obj=shared))
    assert [row["verdict"] for row in value["rules"]] == ["keep", "not asked", "edit"]
    assert value["dropped_by"] == ""


def test_the_former_name_of_judge_answers_and_says_so(tmp_path, shared):
    path = tmp_path / "page.txt"
    path.write_text("短い", encoding="utf-8")
    same = call(rules.judge, path, "--rules", TWO, "--json", obj=shared)
    typed = [str(path), "--rules", TWO, "--json"]
    result = CliRunner().invoke(rules.replay, typed, obj=shared, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, same)
    assert "deprecated" in result.stderr


def test_replay_reads_standard_input(shared: Context) -> None:
    said = call(rules.judge, "-", "--rules", TWO, obj=shared, stdin="短い")
    assert "would be dropped by corpus/min-length" in said
    answer = call(rules.judge, "-", "--rules", TWO, "--json", obj=shared, stdin="短い")
    rule = json.loads(answer)["rules"][0]
    assert (rule["value"], rule["least"], rule["most"]) == (2, 5, None)


def test_replay_of_a_document_agrees_with_what_its_corpus_says(
    corpus: Artifact, shared: Context
) -> None:
    value = json.loads(call(rules.judge, "--of", corpus.path, "mine/short", "--json", obj=shared))
    assert value["dropped_by"] == value["recorded"][0]["rule"] == "corpus/min-length"
    assert value["rules"][0]["value"] == value["recorded"][0]["value"] == 2
    said = call(rules.judge, "--of", corpus.path, "mine/d/3", obj=shared)
    assert "passes every rule" in said
    assert "the corpus says: kept" in said
    with pytest.raises(NotFound, match="has no text of 'nobody'"):
        call(rules.judge, "--of", corpus.path, "nobody", obj=shared)


def test_rules_must_be_named_in_one_way(corpus: Artifact, shared: Context) -> None:
    for words in ((), ("--rules", TWO, "--rules-of", corpus.path)):
        with pytest.raises(UsageError, match="say which rules"):
            call(rules.judge, "-", *words, obj=shared)


# --- score-rules ---------------------------------------------------------------------------


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rows = [
        ("短", "drop"),
        ("一二三四五六", "keep"),
        ("雨", "keep"),
        ("長いが役に立たない", "drop"),
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": f"n{n}", "text": text, "label": label}) + "\n"
            for n, (text, label) in enumerate(rows)
        )
    )
    return path


def test_rules_are_scored_on_labels(labels: Path, shared: Context) -> None:
    words = (labels, "--rules", "{use: corpus/min-length, characters: 5}")
    value = json.loads(call(rules.score_rules, *words, "--json", obj=shared))
    rule, whole = value["rules"]
    assert (rule["precision"]["value"], rule["recall"]["value"]) == (0.5, 0.5)
    assert (rule["rule"], whole["rule"]) == ("corpus/min-length", "all rules")
    assert rule["wrongly"] == ["n2"]
    said = call(rules.score_rules, *words, obj=shared)
    assert "corpus/min-length wrongly drops n2" in said
    assert "4 documents, 2 of them to be dropped" in said


def test_a_score_below_what_is_asked_for_is_refused(labels: Path, shared: Context) -> None:
    words = (labels, "--rules", "{use: corpus/min-length, characters: 5}")
    call(rules.score_rules, *words, "--least-recall", 0.5, "--least-precision", 0.5, obj=shared)
    with pytest.raises(Refused, match=r"recall of all rules is 0.500, asked for is 0.6"):
        call(rules.score_rules, *words, "--least-recall", 0.6, obj=shared)


# --- stats, audit, datasheet ---------------------------------------------------------------


def test_stats_draws_a_page(corpus: Artifact, tmp_path: Path) -> None:
    for asked, path in ((tmp_path / "a.html", "a.html"), (tmp_path / "f", "f/index.html")):
        call(account.stats, corpus.path, "--plot", asked)
        text = (tmp_path / path).read_text()
        assert "How long documents are" in text
        assert "corpus/min-length: dropped below 5" in text
        assert "<script" not in text


def test_an_audit_shows_groups_and_rules(corpus: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "groups.jsonl"
    path.write_text('{"id": "short", "group": "terse"}\n')
    value = json.loads(call(account.audit, corpus.path, "--groups", path, "--json"))
    assert value["groups"] == {"terse": 1}
    rows = {row["rule"]: row for row in value["comparisons"]}
    assert (rows["corpus/min-length"]["dropped"], rows["corpus/min-length"]["rest_dropped"]) == (
        1, 0
    )  # fmt: skip
    assert rows["corpus/min-length"]["ratio"]["high"] is None
    assert "over-dropped" in call(account.audit, corpus.path, "--groups", path)
    assert "43 documents" in call(account.audit, corpus.path)
    with pytest.raises(NotFound, match="has no document in fr") as caught:
        call(account.audit, corpus.path, "--language", "fr")
    assert "unknown" in caught.value.hint


def test_a_datasheet_is_printed_or_written(corpus: Artifact, tmp_path: Path) -> None:
    assert call(account.datasheet, corpus.path).startswith("# Datasheet: test/text@1")
    call(account.datasheet, corpus.path, "--out", tmp_path, "--creator", "Example Lab")
    value = json.loads((tmp_path / "croissant.json").read_text())
    assert value["creator"]["name"] == "Example Lab"
    assert (tmp_path / "datasheet.md").read_text().startswith("# Datasheet")
    asked = json.loads(call(account.datasheet, corpus.path, "--json"))
    assert "creator" in asked["croissant_lacks"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from yoriai_corpus.commands import account, find, rules\n"
        "print(*{m.partition('.')[0] for m in sys.modules} & "
        "{'numpy', 'pyarrow', 'numba', 'pydantic', 'matplotlib'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
