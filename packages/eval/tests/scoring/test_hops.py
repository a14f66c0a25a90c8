"""From a row of scores to prompt, answer and model."""

import pytest

from yoriai.explaining import Point, explain


def walk(scores, registry, name, **options):
    point = Point(kind="sample", artifact=scores, name=name, registry=registry, **options)
    return explain(point, registry)


@pytest.fixture
def scores(make, scripted, build_run, yoriai_job):
    backend = scripted(likelihood=lambda a, b: -5.0, answer=lambda prompt: "日本語")
    return yoriai_job("scores", build_run(["eval/ja-forms", "eval/ja-language"], backend),
                      [make.stub("base"), make.stub("tuned")])  # fmt: skip


def test_the_score_the_prompt_and_the_answer_are_told_with_their_digests(scores, yoriai_registry):
    hops = {h.kind: h for h in walk(scores, yoriai_registry, "ja-language/001", model="tuned")}
    assert "tuned on eval/ja-language, sample ja-language/001" in hops["score"].says
    assert hops["score"].state == "checked"
    assert scores.manifest["files"]["samples.jsonl"]["sha256"][:12] in hops["score"].by
    assert (hops["answer"].says, hops["answer"].state) == ("日本語", "checked")
    # Scores that were made outside of a recipe do not say where the model stood.
    assert (hops["model"].state, hops["spans"].state) == ("broken", "broken")
    assert "nobody wrote down where it stood" in hops["model"].by


def test_a_prompt_is_built_again_and_compared(scores, yoriai_registry):
    [first] = [h for h in walk(scores, yoriai_registry, "ja-forms/001") if h.kind == "prompt"]
    assert first.state == "checked"
    assert "is that of the row" in first.by


def test_a_sample_that_is_not_there_and_rows_that_were_changed_break_the_chain(
    scores, yoriai_registry
):
    [hop] = walk(scores, yoriai_registry, "ja-forms/999")
    assert hop.state == "broken"
    assert "has no sample 'ja-forms/999'" in hop.by
    path = scores.path / "samples.jsonl"
    path.write_text(path.read_text().replace('"score": 0.0', '"score": 1.0', 1))
    [hop] = walk(scores, yoriai_registry, "ja-forms/001")
    assert hop.state == "broken"
    assert "has other bytes than were sealed" in hop.by
