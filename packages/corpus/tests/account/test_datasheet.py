"""The datasheet and the Croissant description say what the account says, and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoriai import Artifact
from yoriai_corpus import tables
from yoriai_corpus.account import croissant, datasheet

Make = Callable[..., Artifact]


@pytest.fixture(scope="module")
def corpus(make_corpus: Make) -> Artifact:
    rows = [
        {"id": f"d/{n}", "text": f"文書の番号は{n}です。", "lang": "ja", "licence": "CC-BY-4.0"}
        for n in range(9)
    ]
    rows += [{"id": "mail", "text": "宛先は taro@example.jp です。", "lang": "ja"}, {"text": "x"}]
    rules = [{"use": "corpus/min-length", "characters": 5}, "corpus/mask-email"]
    return make_corpus(rows, rules=rules)


def sheet(corpus: Artifact, **more: Any) -> str:
    return datasheet.describe(corpus.facts, corpus.manifest["sources"], corpus.config, **more)


def rows_below(text: str, first: str) -> list[list[str]]:
    """The cells of the Markdown table whose first column has this name."""
    found = re.search(rf"^\| {re.escape(first)} \|.*\n\|[-:|]+\|\n((?:\|.*\n?)*)", text, re.M)
    assert found
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in found[1].splitlines()
    ]


def test_the_account_stands_in_the_datasheet(corpus: Artifact) -> None:
    text = sheet(corpus, name="test/text@1", licence="CC-BY-4.0", seed=7)
    assert ["mine", "11", "10", "0", "1", "0", "90.9%", "–"] in rows_below(text, "source")
    assert ["corpus/min-length", "1", "9.09%", "0", "0"] in rows_below(text, "rule")
    (edit,) = [row for row in rows_below(text, "rule") if row[0] == "corpus/mask-email"]
    assert edit[3] == "1"
    licences = {row[0]: row[3] for row in rows_below(text, "licence")}
    assert set(licences) == {"CC-BY-4.0", "unknown"}
    assert sum(float(share.rstrip("%")) for share in licences.values()) == pytest.approx(100)
    assert "(seed 7)" in text
    assert "`" not in text
    assert "characters: 5" in text


def test_what_nobody_measured_is_listed_and_not_answered(corpus: Artifact) -> None:
    text = sheet(corpus)
    titles = re.findall(r"^## (.*)$", text, re.M)
    assert titles == list(datasheet.QUESTIONS)
    motivation = text.partition("## Motivation")[2].partition("## ")[0].strip().splitlines()
    assert motivation[0].startswith("Not recorded")
    assert all(line.startswith("*") for line in motivation[1:] if line)


def test_the_same_corpus_gives_the_same_datasheet(corpus: Artifact, tmp_path: Path) -> None:
    facts, sources = corpus.facts, corpus.manifest["sources"]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        lacks = datasheet.write(tmp_path / name, facts, sources, corpus.config, name="t/x@3")
    assert lacks == ["url", "creator", "datePublished"]
    for file in ("datasheet.md", "croissant.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_an_account_that_knows_little_still_gives_a_datasheet() -> None:
    text = datasheet.describe({}, [], {})
    assert "No rule was applied" in text
    assert croissant.missing(croissant.describe({}, [], name="x")) == [
        "license", "url", "creator", "datePublished"
    ]  # fmt: skip


def test_evaluation_tasks_that_were_looked_for_are_named() -> None:
    facts = {"contamination": {"eval/x": {"texts": 9, "too_short": 2}}}
    text = datasheet.describe(facts, [], {})
    assert rows_below(text, "evaluation task") == [["eval/x", "9", "2"]]


def test_names_cannot_break_a_table() -> None:
    facts = {"in": 1, "by_source": {"a|b\n<script>": {"in": 1, "kept": 1}}}
    text = datasheet.describe(facts, [], {})
    assert "| a\\|b &lt;script> |" in text


def describe(corpus: Artifact, **more: Any) -> dict[str, Any]:
    return croissant.describe(
        corpus.facts,
        corpus.manifest["sources"],
        name="tour/text@2",
        licence="CC-BY-4.0",
        files=corpus.manifest["files"],
        **more,
    )


def test_croissant_holds_everything_the_specification_requires(corpus: Artifact) -> None:
    value = describe(
        corpus, url="https://example.jp/text", creator="Example Lab", published="2026-01-02"
    )
    assert croissant.missing(value) == []
    assert value["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert value["license"] == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert (value["name"], value["version"]) == ("tour-text", "2.0.0")
    assert value["inLanguage"] == ["ja"]
    json.dumps(value, allow_nan=False)


def test_without_a_licence_of_its_own_a_corpus_has_those_of_its_documents(
    corpus: Artifact,
) -> None:
    value = croissant.describe(corpus.facts, corpus.manifest["sources"], name="x")
    assert value["license"] == ["https://spdx.org/licenses/CC-BY-4.0.html"]


def test_every_file_is_listed_with_its_digest(corpus: Artifact) -> None:
    objects = [x for x in describe(corpus)["distribution"] if x["@type"] == "cr:FileObject"]
    assert {x["@id"]: x["sha256"] for x in objects} == {
        name: facts["sha256"] for name, facts in corpus.manifest["files"].items()
    }


def test_every_column_of_every_table_is_a_field(corpus: Artifact) -> None:
    sets = {x["@id"]: x for x in describe(corpus)["recordSet"]}
    assert {
        name: [field["name"] for field in records["field"]] for name, records in sets.items()
    } == {name: schema.names for name, schema in tables.SCHEMAS.items()}
    ids = [x["@id"] for x in describe(corpus)["distribution"]]
    for records in sets.values():
        for field in records["field"]:
            assert field["source"]["fileSet"]["@id"] in ids
    assert sets["dropped"]["field"][-3]["dataType"] == "sc:Float"


def test_the_reference_implementation_reads_the_documents(corpus: Artifact, tmp_path: Path) -> None:
    reference = pytest.importorskip("mlcroissant", reason="the reference implementation is a peer")
    import shutil

    folder = tmp_path / "text"
    shutil.copytree(corpus.path, folder)
    value = describe(corpus, url="", creator="Example Lab", published="2026-01-02")
    (folder / "croissant.json").write_text(json.dumps(value))
    dataset = reference.Dataset(jsonld=str(folder / "croissant.json"))
    assert list(dataset.metadata.ctx.issues.errors) == []
    read = {row["documents/id"].decode(): row for row in dataset.records("documents")}
    assert len(read) == corpus.facts["kept"]
    assert read["d/3"]["documents/text"].decode() == "文書の番号は3です。"
