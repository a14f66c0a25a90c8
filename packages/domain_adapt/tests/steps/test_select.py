"""Choosing documents: what was taken, what was not, and why, all written down."""

import json
import random

import pyarrow.parquet as pq
import pytest

from yoriai import UsageError
from yoriai_domain_adapt.steps.select import Select

SEA = "ship harbour captain waves cliffs storm sailor anchor tide"
LAW = "court party costs act statute appeal clause judge claim"


def texts(words: str, count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(words.split(), k=40)) for _ in range(count)]


@pytest.fixture
def both(make):
    domain = make.corpus("sea", texts(SEA, 20, 1))
    general = make.corpus("all", texts(LAW, 36, 2) + texts(SEA, 4, 3), heldout=["kept apart"])
    return [domain, general]


@pytest.mark.parametrize("method", ["n-grams", "classifier", "perplexity"])
def test_the_planted_documents_are_taken_and_every_document_is_accounted_for(
    both, yoriai_job, method
):
    made = yoriai_job("like", Select(method=method, share=0.1), both)
    rows = [json.loads(line) for line in (made.path / "selection.jsonl").open()]
    assert len(rows) == 40
    assert [row["id"] for row in rows if row["taken"]] == [f"documents-{n}" for n in range(36, 40)]
    for row in rows:
        assert row["taken"] == (row["score"] >= row["threshold"])
        assert ("why" in row) == row["taken"]
    kept = pq.read_table(made.path / "documents")["text"].to_pylist()
    assert len(kept) == made.facts["documents"] == 4
    assert all(reason.split()[0] in SEA for row in rows if row["taken"] for reason in row["why"])
    assert (made.path / "heldout/00000.parquet").is_file()


def test_a_sample_is_the_same_for_one_seed_and_another_for_another(both, yoriai_job):
    def taken(name: str, seed: int) -> str:
        made = yoriai_job(name, Select(sample=True, share=0.5), both, seed=seed)
        return made.facts["selection_sha256"]

    assert taken("one", 1) == taken("again", 1) != taken("other", 2)


def test_one_corpus_alone_is_refused_with_the_form(both, yoriai_job):
    with pytest.raises(UsageError, match="needs two corpora") as caught:
        yoriai_job("like", Select(), both[:1])
    assert caught.value.hint == "from: [DOMAIN, GENERAL]"
