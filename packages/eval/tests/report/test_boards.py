"""Which scores share a table, what is at its floor, and who may have which rank."""

import json
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import NotFound, UsageError
from yoriai_eval.report import boards as leaderboard
from yoriai_eval.report.model import Given, Tally, Value
from yoriai_eval.scoring import protocol, totals

MEMBERS = protocol.load("v1.3").categories


def task(score=0.5, half=0.05, *, metric="exact_match", floors=None, samples=100, **more):
    return {
        "metric": metric,
        "score": score,
        "interval": [round(score - half, 4), round(score + half, 4)],
        "samples": samples,
        "clusters": samples,
        "reasons": {"correct": round(score * samples), "wrong": samples - round(score * samples)},
        "metrics": {metric: score},
        "floors": {"majority": 0.3} if floors is None else floors,
        **more,
    }


def artifact(digest, models, *, protocol="v1.3", split="test", limit=100, shots=4, **more):
    """Models by name, each with its tasks by short name."""
    facts = {"protocol": protocol, "split": split, "limit": limit, "floors": {}, "headline": []}
    tallies = [
        Tally(
            model=model,
            task=f"eval/{short}",
            form="generation",
            rows=told["samples"],
            shots={shots: told["samples"]},
            prompts=more.get("prompts", "same"),
            link=f"samples/{digest}/{model}-{short}-1.html",
        )
        for model, tasks in models.items()
        for short, told in tasks.items()
    ]
    names = dict.fromkeys(short for tasks in models.values() for short in tasks)
    config = {"tasks": [{"use": f"eval/{n}", **more.get("options", {})} for n in names]}
    return Given(
        name=more.get("name", f"nine/{digest}@1"),
        digest=digest,
        facts={**facts, "models": {m: {"tasks": tasks} for m, tasks in models.items()}},
        config=config,
        outside={f"eval/{n}#{i}": more.get("data", "d0") for i, n in enumerate(names, 1)},
        tallies=tallies,
    )


def test_artifacts_that_were_asked_in_the_same_way_share_a_table():
    one = artifact("a", {"x": {"jamp": task(0.5)}})
    two = artifact("b", {"y": {"jamp": task(0.6), "niilc": task(0.2)}})
    (board,) = leaderboard.boards([one, two])
    assert {line.label: sorted(line.cells) for line in board.lines} == {
        "x": ["jamp"],
        "y": ["jamp", "niilc"],
    }
    assert [c.key for c in board.columns] == ["jamp", "niilc"]
    assert board.columns[0].shots == 4


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("protocol", {"protocol": "oct2023"}),
        ("split", {"split": "dev"}),
        ("limit", {"limit": 0}),
        ("shots", {"shots": 0}),
        ("data", {"data": "d1"}),
        ("options", {"options": {"instruction": "x"}}),
        ("prompts", {"prompts": "other"}),
    ],
)
def test_scores_that_were_asked_otherwise_get_a_table_of_their_own(what, other):
    one = artifact("a", {"x": {"jamp": task()}})
    two = artifact("b", {"y": {"jamp": task()}}, **other)
    first, second = leaderboard.boards([one, two])
    assert [d.what for d in second.differences] == [what]
    assert second.differences[0].other == 1
    assert not first.differences


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("metric", task(metric="char_f1")),
        ("samples", task(samples=99)),
        ("floors", task(floors={"majority": 0.31})),
    ],
)
def test_other_questions_get_a_table_of_their_own(what, other):
    given_ = [artifact("a", {"x": {"jamp": task()}}), artifact("b", {"y": {"jamp": other}})]
    boards = leaderboard.boards(given_)
    assert [(d.what, d.task) for d in boards[1].differences] == [(what, "jamp")]


def test_a_third_artifact_joins_the_table_it_fits():
    boards = leaderboard.boards(
        [
            artifact("a", {"x": {"jamp": task()}}),
            artifact("b", {"y": {"jamp": task()}}, split="dev"),
            artifact("c", {"z": {"jamp": task()}}, split="dev"),
        ]
    )
    assert [[line.label for line in board.lines] for board in boards] == [["x"], ["y", "z"]]


def test_prompts_may_differ_where_examples_did_not_fit_or_a_task_asks_in_its_own_way():
    one = artifact("a", {"x": {"jamp": task()}})
    fewer = artifact("b", {"y": {"jamp": task()}}, prompts="other")
    tally = fewer.tallies[0]
    short = Tally(model=tally.model, task=tally.task, form=tally.form, rows=100,
                  shots={3: 1, 4: 99}, prompts="other")  # fmt: skip
    joined = Given(name="b", digest="b", facts=fewer.facts, config=fewer.config,
                   outside=fewer.outside, tallies=[short])  # fmt: skip
    assert len(leaderboard.boards([one, joined])) == 1
    own = {"x": {"ja-forms": task()}}
    assert len(leaderboard.boards([artifact("a", own), artifact("b", own, prompts="q")])) == 1


def test_a_score_whose_interval_reaches_its_best_floor_is_marked():
    floors = {"majority": 0.4, "chance": 0.25}
    tasks = {
        "jamp": task(0.46, 0.05, floors=floors),
        "jnli": task(0.45, 0.05, floors=floors),
        "jsem": task(0.1, 0.05, floors={}),
    }
    (board,) = leaderboard.boards([artifact("a", {"x": tasks})])
    cells = board.lines[0].cells
    assert {key: cell.value.at_floor for key, cell in cells.items()} == {
        "jamp": False,
        "jnli": True,
        "jsem": False,
    }
    assert cells["jamp"].value.floor == 0.4


def test_bits_per_byte_are_better_when_lower_and_their_floor_is_the_lowest():
    facts = {
        "protocol": "yoriai", "split": "test", "limit": 0,
        "floors": {"gzip": {"text": {"ja": 3.0}}, "unigram": {"text": {"ja": 2.5}}},
        "good": {"bits_per_byte": {"text": {"ja": 1.5}},
                 "bits_per_byte_interval": {"text": {"ja": [1.4, 1.6]}}},
        "bad": {"bits_per_byte": {"text": {"ja": 2.4}},
                "bits_per_byte_interval": {"text": {"ja": [2.2, 2.6]}}},
    }  # fmt: skip
    (board,) = leaderboard.boards([Given(name="t/s@1", digest="a", facts=facts)])
    values = {line.label: line.cells["text.ja"].value for line in board.lines}
    assert values["good"].rank == (1, 1)
    assert values["bad"].rank == (2, 2)
    assert values["good"].floor == 2.5
    assert (values["good"].at_floor, values["bad"].at_floor) == (False, True)
    assert board.texts
    assert not board.tasks


intervals = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 6)).map(lambda p: (p[0], p[0] + p[1])),
    min_size=2,
    max_size=5,
)


@settings(deadline=None, max_examples=60)
@given(intervals, st.booleans())
def test_ranks_are_the_places_in_all_orders_that_respect_what_is_separated(ends, lower):
    values = [Value(score=(a + b) / 2, low=a, high=b) for a, b in ends]
    found = leaderboard.rank(values, lower_is_better=lower)

    def allowed(order):
        for i, first in enumerate(order):
            for second in order[i + 1 :]:
                worse, better = ends[first], ends[second]
                if (better[1] < worse[0]) if lower else (better[0] > worse[1]):
                    return False
        return True

    orders = [o for o in permutations(range(len(ends))) if allowed(o)]
    expected = [
        (1 + min(o.index(i) for o in orders), 1 + max(o.index(i) for o in orders))
        for i in range(len(ends))
    ]
    assert found == expected


def test_one_model_alone_has_no_rank():
    (board,) = leaderboard.boards([artifact("a", {"x": {"jamp": task()}})])
    assert board.lines[0].cells["jamp"].value.rank is None


def test_paired_tests_decide_over_overlapping_intervals():
    models = {"x": {"jamp": task(0.5)}, "y": {"jamp": task(0.52)}}
    places = {("a", "x", "jamp"): (2, 2), ("a", "y", "jamp"): (1, 1)}
    (board,) = leaderboard.boards([artifact("a", models)], test=lambda group: places)
    assert {x.label: x.cells["jamp"].value.rank for x in board.lines} == {"x": (2, 2), "y": (1, 1)}
    assert board.columns[0].paired


def whole(score):
    return {
        short: task(score + place / 1000, 0.02, floors={"majority": 0.2})
        for place, short in enumerate(t for tasks in MEMBERS.values() for t in tasks)
    }


def averaged(digest, models):
    one = artifact(digest, models)
    facts = json.loads(json.dumps(one.facts))
    totals.average(facts, protocol.load("v1.3"), list(models))
    return Given(name=one.name, digest=digest, facts=facts, config=one.config,
                 outside=one.outside, tallies=one.tallies)  # fmt: skip


def test_means_have_the_intervals_of_the_run_and_the_means_of_floors():
    one = averaged("a", {"x": whole(0.5)})
    (board,) = leaderboard.boards([one])
    line = board.lines[0]
    assert [line.average.low, line.average.high] == one.of("x")["average_interval"]
    assert line.average.floor == pytest.approx(0.2)
    rc = line.categories["RC"]  # of one task: that task's own interval
    assert [rc.low, rc.high] == one.of("x")["tasks"]["jsquad"]["interval"]
    nli = line.categories["NLI"]  # five tasks of half width 0.02
    assert nli.high - nli.score == pytest.approx(0.02 / 5**0.5, abs=1e-4)


def test_lines_stand_by_rank_and_by_name_where_they_are_not_separated():
    models = {"zeta": whole(0.50), "beta": whole(0.501), "alpha": whole(0.3), "best": whole(0.8)}
    (board,) = leaderboard.boards([averaged("a", models)])
    assert [line.label for line in board.lines] == ["best", "beta", "zeta", "alpha"]
    assert [line.average.rank for line in board.lines] == [(1, 1), (2, 3), (2, 3), (4, 4)]
    order = [t for tasks in MEMBERS.values() for t in tasks]
    assert [c.key for c in board.columns] == order


def test_averages_have_the_places_of_paired_tests_too():
    one = averaged("a", {"x": whole(0.5), "y": whole(0.5)})
    keys = {"average": (1, 1), "average:NLI": (1, 1), "jsquad": (1, 1)}
    places = {("a", "y", key): place for key, place in keys.items()}
    places |= {("a", "x", key): (2, 2) for key in keys}
    (board,) = leaderboard.boards([one], test=lambda group: places)
    assert [line.label for line in board.lines] == ["y", "x"]
    assert [line.average.rank for line in board.lines] == [(1, 1), (2, 2)]
    for name, rank in {"NLI": (2, 2), "RC": (2, 2), "QA": (1, 2)}.items():
        assert board.lines[1].categories[name].rank == rank


def test_a_radar_holds_six_models_and_needs_three_categories():
    (board,) = leaderboard.boards([averaged("a", {f"m{n}": whole(0.5) for n in range(8)})])
    assert len(leaderboard.radar(board)) == 6
    (board,) = leaderboard.boards([artifact("a", {"x": {"jamp": task()}})])
    assert leaderboard.radar(board) == []


def test_models_of_one_name_are_told_apart():
    tasks = {"base": {"jamp": task()}}
    boards = leaderboard.boards(
        [
            artifact("a" * 9, tasks, name="p/one@1"),
            artifact("b" * 9, tasks, name="q/one@1"),
            artifact("c" * 9, tasks, name="q/two@1"),
        ]
    )
    assert [line.label for line in boards[0].lines] == [
        "base (one@1) (aaaaaaaa)",
        "base (one@1) (bbbbbbbb)",
        "base (two@1)",
    ]


def test_halves_of_a_ledger_stand_beside_the_scores_it_was_made_from():
    half = {"score": 0.4, "interval": [0.3, 0.5], "samples": 60}
    ledger = {
        "split": "test",
        "of": ["a"],
        "corpora": {"text": {}},
        "tasks": {"jamp": {"samples": 100, "exact": 3, "near": 1, "dirty": 4}},
        "scores": {"x": {"jamp": {"clean": half, "dirty": {"samples": 0}}}},
    }
    given_ = [artifact("a", {"x": {"jamp": task()}}), artifact("b", {"x": {"jamp": task()}})]
    (board,) = leaderboard.boards(given_, [ledger])
    first, second = (line.cells["jamp"] for line in board.lines)
    assert (first.clean.score, first.clean.samples, first.dirty) == (0.4, 60, None)
    assert second.clean is None
    assert board.columns[0].overlap["dirty"] == 4
    assert board.searched == ["text"]
    ledger["scores"] = {"nine/b@1:x": {"jamp": {"clean": half, "dirty": half}}}
    ledger["of"] = ["a", "b"]
    (board,) = leaderboard.boards(given_, [ledger])
    assert [line.cells["jamp"].dirty is None for line in board.lines] == [True, False]


def test_halves_in_the_facts_of_the_scores_are_shown_too():
    half = {"score": 0.4, "samples": 6}
    tasks = {"jamp": task(clean=half, dirty={**half, "score": 0.9})}
    (board,) = leaderboard.boards([artifact("a", {"x": tasks})])
    cell = board.lines[0].cells["jamp"]
    assert (cell.clean.score, cell.dirty.score) == (0.4, 0.9)


def test_what_cannot_be_shown_is_refused():
    one = artifact("a", {"x": {"jamp": task()}})
    with pytest.raises(UsageError, match="given twice"):
        leaderboard.boards([one, one])
    old = Given(name="tour/scores@1", digest="b", facts={"floors": {}, "x": {"accuracy": {}}})
    with pytest.raises(NotFound, match="protocol"):
        leaderboard.boards([old])
    with pytest.raises(NotFound, match="holds no scores"):
        leaderboard.boards([artifact("c", {})])


def test_plain_data_survives_json():
    (board,) = leaderboard.boards([averaged("a", {"x": whole(0.5), "y": whole(0.9)})])
    told = json.loads(json.dumps(leaderboard.as_json(board)))
    assert told["models"][0]["model"] == "y"
    assert told["models"][0]["average"]["ranks"] == [1, 1]
    assert told["tasks"]["jamp"]["ranked_by"] == "overlap of intervals"
