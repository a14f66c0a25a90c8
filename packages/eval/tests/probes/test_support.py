"""Support of claims: shares by a brute-force search stand where the index of a sibling would."""

from __future__ import annotations

import json
from typing import Any

import pytest

from yoriai import ProbeInputs, UsageError
from yoriai.explaining import Hop
from yoriai.probe import obstacles
from yoriai_eval.probes.support import Support, sentences

CORPUS = [f"村の{n}番目の井戸は今も使われています。" for n in range(30)]
SHORTEST = 8  # characters of a span


def covered(text: str) -> float:
    """The share of a text in pieces of the corpus of SHORTEST or more characters."""
    inside = set()
    for begin in range(len(text)):
        for end in range(begin + SHORTEST, len(text) + 1):
            if any(text[begin:end] in one for one in CORPUS):
                inside.update(range(begin, end))
    return len(inside) / len(text)


class Searching:
    """A registry with one plugin that searches the corpus; with none if it is told so."""

    def __init__(self, broken: bool = False) -> None:
        self.state = "broken" if broken else "checked"

    def moments(self, hook: str):
        def hops(point):
            yield Hop(kind="spans", says="", state=self.state, by="",
                      facts={"covered": covered(point.text)})  # fmt: skip

        yield "searching", hops


ROWS = [
    {"model": "base", "task": "eval/t", "id": f"{n:03d}", "reason": "wrong" if n % 2 else "correct",
     "output": f"誰も知らない{n}件目の話をいたしますよ。" if n % 2 else f"{CORPUS[n]}はい。"}
    for n in range(24)
]  # fmt: skip
PICKED = {"model": "base", "task": "eval/ranked", "id": "0", "picked": 1}


@pytest.fixture
def given(make, tmp_path):
    """Makes what a probe is given of rows of scores."""

    def inputs(rows, registry=None) -> ProbeInputs:
        for name in ("scores", "index"):
            (tmp_path / name).mkdir()
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "scores" / "samples.jsonl").write_text(lines)
        (tmp_path / "index" / "part").write_text("")
        made = [make.seal(tmp_path / n, tmp_path / f"{n}@1", n) for n in ("scores", "index")]
        made.append(make.corpus("text", [(text, "ja") for text in CORPUS], []))
        searching: Any = registry or Searching()
        return ProbeInputs(model=None, artifacts=made, tasks=[], backend=None, seed=1,
                           registry=searching, scratch=tmp_path)  # fmt: skip

    return inputs


def test_sentences_end_at_their_signs_and_short_ones_do_not_count():
    text = "今日は晴れです。はい。3.5 is a number. It is!\nSo"
    assert sentences(text, 3) == ["今日は晴れです。", "はい。", "3.5 is a number.", "It is!"]
    assert sentences(text, 4)[1] == "3.5 is a number."
    assert "".join(sentences(text, 1)).replace(" ", "") == text.replace(" ", "").replace("\n", "")


def test_support_is_the_share_of_a_claim_that_stands_in_the_corpus(given):
    asked = given([*ROWS, PICKED])
    assert obstacles(Support(), asked) == []
    result = Support().run(asked)
    rows = list(result.rows)
    assert len(rows) == 24  # "はい。" is too short to claim anything
    assert all(row["support"] == pytest.approx(covered(row["claim"])) for row in rows)
    told = {measure.name: measure for measure in result.measures}
    mean = sum(row["support"] for row in rows) / len(rows)
    assert told["support, base"].value == pytest.approx(mean)
    assert told["sentences that stand in the corpus whole, base"].value == 0.5
    assert told["AUC of support: right answers against wrong, base"].value == 1.0
    assert result.validation.holds is True
    [figure] = result.figures
    [(_, none), *_, (_, whole)] = figure.series["base"]
    assert (whole, sum(share for _, share in figure.series["base"])) == (0.5, 1.0)
    assert none == sum(row["support"] == 0 for row in rows) / len(rows)


def test_so_many_claims_of_each_model_are_asked_and_the_rest_is_said(given):
    others = [{**row, "model": "tuned"} for row in ROWS[:3]]
    result = Support(claims=10).run(given([*ROWS, *others]))
    models = [row["model"] for row in result.rows]
    assert (models.count("base"), models.count("tuned")) == (10, 3)
    assert result.notes == ["24 sentences of base were written, 10 of them asked"]


def test_without_written_sentences_it_says_so(given):
    assert (
        "no answer in the scores has a written sentence" in obstacles(Support(), given([PICKED]))[0]
    )


def test_an_index_that_nobody_can_search_is_named(given):
    with pytest.raises(UsageError, match="no plugin could search test/index@1"):
        Support().run(given(ROWS, Searching(broken=True)))
