"""Evaluation that is killed, and started again with the same scratch folder."""

import json

import pytest

from yoriai import Job
from yoriai_eval.scoring import chunks as logs

CHUNK = 64


@pytest.fixture(autouse=True, scope="module")
def small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "CHUNK", CHUNK)
        yield


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


@pytest.fixture
def work(tmp_path, yoriai_registry):
    """Run a step; ``after`` chunks it is killed."""
    numbers = iter(range(99))

    def run(step, inputs, scratch, after=None):
        chunks = iter(range(10_000))

        def watch(items, label, total):
            for item in items:
                if after is not None and next(chunks) == after:
                    raise Killed
                yield item

        out = tmp_path / f"out{next(numbers)}"
        for folder in (out, scratch):
            folder.mkdir(exist_ok=True)
        job = Job(
            name="scores", out=out, scratch=scratch, inputs=tuple(inputs), seed=5,
            registry=yoriai_registry, metric=lambda **values: None, watch=watch,
        )  # fmt: skip
        step.run(job)
        return {path.name: path.read_bytes() for path in sorted(out.iterdir())}

    return run


@pytest.fixture(scope="module")
def inputs(make):
    heldout = [(f"ファイル{n}を開きます。" * (1 + n % 5), "ja") for n in range(CHUNK + 20)]
    return [make.model("base"), make.model("other", seed=4), make.corpus("text", [], heldout)]


@pytest.fixture
def step(build_run):
    from yoriai_eval.backends.huggingface import HuggingFace

    tasks = ["eval/heldout", "eval/ja-language", "eval/ja-forms"]
    return build_run(tasks, HuggingFace(batch=7))


@pytest.mark.slow
def test_killed_at_any_chunk_and_within_a_line_it_ends_with_the_same_bytes(
    work, step, inputs, tmp_path
):
    whole = work(step, inputs, tmp_path / "whole")
    assert set(whole) == {"samples.jsonl", "scores.json"}
    assert whole == work(step, inputs, tmp_path / "again")
    scratch = tmp_path / "scratch"
    for after in (1, 2, 4):
        with pytest.raises(Killed):
            work(step, inputs, scratch, after=after)
        log = max(scratch.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        with log.open("ab") as stream:  # the next line, half written
            stream.write(log.read_bytes()[: log.stat().st_size // 3])
    assert work(step, inputs, scratch) == whole
    assert work(step, inputs, scratch) == whole  # nothing left to ask


def noting(asked):
    """A model that notes each context it is asked with, but for the neutral one."""
    return lambda before, after: (before and asked.append(before)) or -1.0


def test_only_what_is_missing_is_asked_again(make, work, scripted, build_run, tmp_path):
    asked = []
    step = build_run(["eval/ja-forms"], scripted(likelihood=noting(asked)))
    with pytest.raises(Killed):
        work(step, [make.stub()], tmp_path / "scratch", after=1)
    assert len(asked) == CHUNK * 2
    work(step, [make.stub()], tmp_path / "scratch")
    assert len(asked) == 120 * 2


def test_the_log_of_another_model_is_not_used_and_the_new_one_is(
    make, work, scripted, build_run, tmp_path
):
    asked = []
    step = build_run(["eval/ja-forms"], scripted(likelihood=noting(asked)))
    work(step, [make.stub()], tmp_path / "scratch")
    other = make.stub(content="changed")
    work(step, [other], tmp_path / "scratch")
    assert len(asked) == 4 * 120
    work(step, [other], tmp_path / "scratch")
    assert len(asked) == 4 * 120


def test_answers_may_hold_every_kind_of_line_end(make, work, scripted, build_run, tmp_path):
    answer = "日本語\u2028\x85\u2029\x0b\r\n\x1e"
    asked = []
    step = build_run(
        ["eval/ja-language"], scripted(answer=lambda prompt: asked.append(prompt) or answer)
    )
    first = work(step, [make.stub()], tmp_path / "scratch")
    assert work(step, [make.stub()], tmp_path / "scratch") == first
    assert len(asked) == 90
    rows = [json.loads(line) for line in first["samples.jsonl"].split(b"\n") if line]
    assert {row["output"] for row in rows} == {answer}


def test_a_whole_line_without_its_end_is_asked_again(tmp_path):
    log = tmp_path / "log.jsonl"
    logs.append(log, "d", [{"id": "a"}])
    line = log.read_text()
    log.write_text(line + line.rstrip())
    assert logs.open_log(log, "d") == 1
    assert log.read_text() == line
    assert list(logs.read(log)) == [{"id": "a"}]
    assert logs.open_log(log, "another model") == 0
    assert log.read_text() == ""


def test_a_row_with_half_of_a_surrogate_pair_is_kept(tmp_path):
    log = tmp_path / "log.jsonl"
    logs.append(log, "d", [{"output": "a\ud83d"}])
    assert list(logs.read(log)) == [{"output": "a\ud83d"}]
