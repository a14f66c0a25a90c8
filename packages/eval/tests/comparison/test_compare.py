"""Comparisons of models whose difference is known."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import NotFound, UsageError
from yoriai_eval.comparison import compare as comparison
from yoriai_eval.comparison.contestants import contestants
from yoriai_eval.scoring import statistics


def row(model, number, score, **more):
    return {
        "model": model, "task": "acme/quiz", "form": "generation", "id": f"test/{number}",
        "group": "", "prompt_sha256": f"p{number}", "answer": "", "output": "",
        "reason": "correct" if score == 1 else "wrong", "scores": {"accuracy": score},
        "score": score, **more,
    }  # fmt: skip


@pytest.fixture
def sealed(make, tmp_path):
    """Scores made by hand: ``sealed(rows, protocol="yoriai", metric="accuracy")``."""
    numbers = itertools.count()

    def build(rows, *, metric="accuracy", outside=None, **facts):
        from yoriai import artifact

        out = tmp_path / f"out{next(numbers)}"
        out.mkdir()
        lines = [json.dumps(r, ensure_ascii=False) + "\n" for r in rows]
        (out / "samples.jsonl").write_text("".join(lines))
        told = {"floors": {}, "protocol": "yoriai", "split": "test", "limit": 0, **facts}
        for r in rows:
            tasks = told.setdefault(r["model"], {"tasks": {}})["tasks"]
            tasks[r["task"].rpartition("/")[2]] = {
                "metric": metric, "score": 0.5, "interval": [0.4, 0.6], "samples": 1, "metrics": {},
            }  # fmt: skip
        identity = {
            "kind": "scores", "name": f"test/{out.name}@1", "step": "eval/run", "config": {},
            "code": [], "seed": 0, "outside": outside or {}, "inputs": [], "sources": [],
            "licence": "", "facts": told,
        }  # fmt: skip
        target = tmp_path / f"{out.name}@1"
        return artifact.seal(out, target, identity=identity, circumstances={})

    return build


def two(both, a_only, b_only, neither):
    """Rows of models a and b by how many samples each has right."""
    scores = [(1, 1)] * both + [(1, 0)] * a_only + [(0, 1)] * b_only + [(0, 0)] * neither
    return [row("a", n, float(a)) for n, (a, _) in enumerate(scores)] + [
        row("b", n, float(b)) for n, (_, b) in enumerate(scores)
    ]


def test_paired_answers_separate_what_two_scores_alone_do_not(sealed):
    made = comparison.compare(contestants([(sealed(two(110, 30, 12, 68)), "")]))[0]
    assert made.test == "McNemar"
    assert made.p == pytest.approx(0.0079, abs=5e-5)
    assert made.better == "a"
    assert made.verdict == "a is better"
    assert (made.samples, made.clusters) == (220, 220)
    assert made.only_first == [f"test/{n}" for n in range(110, 140)]
    assert made.only_second == [f"test/{n}" for n in range(140, 152)]
    low, high = made.interval
    assert made.difference == pytest.approx(18 / 220)
    assert 0 < low < made.difference < high


def test_what_is_not_separated_is_not_ranked_and_says_what_could_be_seen(sealed):
    people = contestants([(sealed(two(40, 8, 5, 47)), "")])
    made = comparison.compare(people)[0]
    assert made.better == ""
    detectable = statistics.minimum_detectable_effect(
        statistics.standard_error([1.0] * 8 + [-1.0] * 5 + [0.0] * 87)
    )
    assert made.detectable == pytest.approx(detectable)
    wanted = f"a difference under {detectable:.3f} cannot be seen with 100 samples"
    assert wanted in made.verdict
    standing = comparison.standings([made])["quiz"]
    assert [(s.best, s.worst, s.letters) for s in standing] == [(1, 2, "a"), (1, 2, "a")]


def test_models_that_answer_alike_are_not_separated_by_less_than_a_test_needs(sealed):
    made = comparison.compare(contestants([(sealed(two(50, 0, 0, 50)), "")]))[0]
    assert made.p == 1
    # 2 / 2^5 > 0.05 >= 2 / 2^6: six samples, all for one model, are the fewest that are enough.
    assert made.detectable == pytest.approx(0.06)
    assert made.interval[0] < 0 < made.interval[1]


def test_every_p_is_corrected_for_all_tests_and_the_bar_of_what_is_seen_rises(sealed):
    models = {"a": 0.9, "b": 0.7, "c": 0.68, "d": 0.3}
    rows = [row(m, n, float(n % 50 < 50 * share)) for m, share in models.items() for n in range(50)]
    found = comparison.compare(contestants([(sealed(rows), "")]))
    assert len(found) == 6
    assert [c.corrected for c in found] == statistics.holm([c.p for c in found])
    other = comparison.compare(contestants([(sealed(rows), "")]), correct="bh")
    assert [c.corrected for c in other] == statistics.benjamini_hochberg([c.p for c in other])
    pairs = zip(found, other, strict=True)
    assert all(one.detectable > two.detectable for one, two in pairs if one.error)
    order = comparison.standings(found)["quiz"]
    assert [s.name for s in order] == ["a", "b", "c", "d"]
    assert order[3].letters not in (order[0].letters, order[1].letters)
    assert (order[3].best, order[3].worst) == (4, 4)
    assert set(order[1].letters) & set(order[2].letters)


def test_averages_stand_beside_their_tasks_unless_one_task_or_metric_is_chosen(sealed):
    rows = [
        {**r, "task": f"eval/{task}"} for task in ("jemhopqa", "niilc") for r in two(30, 9, 1, 20)
    ]
    people = contestants([(sealed(rows), "")])
    found = {made.task: made for made in comparison.compare(people)}
    assert set(found) == {"jemhopqa", "niilc", "average:QA"}
    average = found["average:QA"]
    assert (average.samples, average.difference) == (120, pytest.approx(16 / 120))
    assert average.better == "a"
    order = comparison.standings(found.values())
    assert [s.name for s in order["average:QA"]] == ["a", "b"]
    assert [made.task for made in comparison.compare(people, task="niilc")] == ["niilc"]
    assert len(comparison.compare(people, metric="accuracy")) == 2


def test_samples_of_one_cluster_are_exchanged_together(sealed):
    rows = two(20, 12, 0, 20)
    for r in rows:
        r["cluster"] = f"c{int(r['id'][5:]) // 4}"
    made = comparison.compare(contestants([(sealed(rows), "")]))[0]
    assert made.test == "permutation of clusters"
    assert made.clusters == 13
    assert made.p == pytest.approx(2 / 2**3)  # the twelve samples are three clusters
    assert made.better == ""


def test_bits_per_byte_are_compared_by_group_and_fewer_are_better(sealed):
    rows = []
    for n in range(40):
        for model, extra in (("a", 0.0), ("b", 3.0 + n % 5 / 7)):
            rows.append(
                {"model": model, "task": "eval/heldout", "form": "bits-per-byte", "id": f"{n}",
                 "group": "text.ja", "bits": 100.0 + n + extra, "bytes": 50 + n}
            )  # fmt: skip
    facts = {m: {"bits_per_byte": {}, "tasks": {}} for m in "ab"}
    artifact = sealed(rows, **facts)
    made = comparison.compare(contestants([(artifact, "")]), task="heldout")[0]
    assert (made.task, made.metric) == ("heldout text.ja", "bits_per_byte")
    assert made.better == "a"
    assert made.difference < 0
    assert made.scores[0] == pytest.approx(sum(100 + n for n in range(40)) / sum(range(50, 90)))


def test_models_asked_otherwise_are_compared_only_if_told_to(sealed):
    rows = two(40, 20, 2, 38)
    a, b = ([r for r in rows if r["model"] == m] for m in "ab")
    cases = {
        "other protocol (yoriai, v1.3)": sealed(
            [{**r, "task": "eval/jnli"} for r in b], protocol="v1.3"
        ),
        "other limit (all, 60)": sealed([{**r, "task": "eval/jnli"} for r in b[:60]], limit=60),
        "other prompts on 100 samples": sealed(
            [{**r, "task": "eval/jnli", "prompt_sha256": "x"} for r in b]
        ),
        "other data": sealed(
            [{**r, "task": "eval/jnli"} for r in b], outside={"eval/jnli#1": "other"}
        ),
        "other form (generation, ranked)": sealed(
            [{**r, "task": "eval/jnli", "form": "ranked"} for r in b]
        ),
    }
    first = sealed([{**r, "task": "eval/jnli"} for r in a], outside={})
    for said, second in cases.items():
        people = contestants([(first, ""), (second, "")])
        made = comparison.compare(people)[0]
        assert made.p is None, said
        assert said in made.verdict
        assert comparison.standings([made]) == {}
        made = comparison.compare(people, common=True)[0]
        assert made.p is not None
        assert made.samples == (60 if "limit" in said else 100)
        assert said in made.notes


def test_a_metric_that_one_model_has_not_is_no_matter_of_how_it_was_asked(sealed):
    other = [row("b", n, 1.0, scores={"exact_match": 1.0}) for n in range(4)]
    rows = [*(row("a", n, 1.0) for n in range(4)), *other]
    (made,) = comparison.compare(contestants([(sealed(rows), "")]))
    assert made.notes == ["b has no accuracy here"]
    assert not made.otherwise
    parts = [sealed([row("a", n, 1.0) for n in range(4)]), sealed([row("b", 0, 1.0)])]
    (made,) = comparison.compare(contestants([(part, "") for part in parts]))
    assert made.otherwise


def test_models_with_their_own_chat_templates_are_compared_with_a_note(sealed):
    rows = two(40, 20, 2, 38)
    rows = [{**r, "prompt_sha256": r["model"] + r["id"]} for r in rows]
    made = comparison.compare(contestants([(sealed(rows), "")]))[0]
    assert made.p is not None
    assert made.notes == ["each asked in its own chat template on 100 samples"]
    shown = [{**r, "shots": 4 if r["model"] == "a" else 3} for r in rows]
    made = comparison.compare(contestants([(sealed(shown), "")]))[0]
    assert made.notes == ["asked with another number of examples on 100 samples"]


def test_correlations_are_compared_by_exchanging_answers(sealed):
    golds = {f"test/{n}": str(n % 6) for n in range(60)}
    rows = []
    for n in range(60):
        near, far = str((n % 6) + (n % 2) / 2), str((n * 5 + n // 6) % 6)
        for model, answer in (("a", near), ("b", far)):
            rows.append(
                row(model, n, 0.0, task="eval/jsts", answer=answer, scores={}, reason="wrong")
            )
    people = contestants([(sealed(rows, metric="pearson"), "")])
    made = comparison.compare(people, golds=lambda scores, task, form: golds)[0]
    assert made.better == "a"
    assert made.p < 0.01
    without = comparison.compare(people)[0]
    assert without.p is None
    assert "pearson needs the right answers" in without.verdict


def test_names_tell_models_apart_and_unknown_ones_are_refused(sealed):
    rows = two(4, 2, 2, 2)
    one, other = sealed(rows), sealed(rows)
    assert [p.name for p in contestants([(one, "")])] == ["a", "b"]
    both = contestants([(one, "a"), (other, "a")])
    assert [p.name for p in both] == [f"{one.name}:a", f"{other.name}:a"]
    twice = contestants([(one, "a"), (one, "b")])
    assert all(p.exams for p in twice)
    with pytest.raises(UsageError, match="only one model"):
        contestants([(one, "a")])
    with pytest.raises(NotFound, match="'c'"):
        contestants([(one, "c")])
    with pytest.raises(NotFound, match="no two of the models"):
        comparison.compare(both, task="nothing")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.data())
def test_two_models_share_a_letter_exactly_if_they_are_not_separated(count, data):
    names = [f"m{n}" for n in range(count)]
    pairs = [frozenset(p) for p in itertools.combinations(names, 2)]
    apart = {p for p in pairs if data.draw(st.booleans())}
    marks = comparison.letters(names, apart)
    assert all(marks.values())
    for one, other in itertools.combinations(names, 2):
        shared = set(marks[one]) & set(marks[other])
        assert bool(shared) == (frozenset((one, other)) not in apart)


def test_letters_go_from_the_best_down():
    marks = comparison.letters(["x", "y", "z"], {frozenset("xz")})
    assert marks == {"x": "a", "y": "ab", "z": "b"}


def test_a_better_verdict_needs_a_corrected_p():
    made = comparison.Comparison("t", "accuracy", "a", "b", p=0.03, difference=0.1)
    comparison._judge([made], "holm")
    assert made.better == "a"
    pair = [
        comparison.Comparison("t", "accuracy", "a", "b", p=0.03, difference=0.1),
        comparison.Comparison("u", "accuracy", "a", "b", p=0.9, difference=0.1),
    ]
    comparison._judge(pair, "holm")
    assert pair[0].better == ""
