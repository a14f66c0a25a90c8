"""Logs for other tools: fields and digests as those tools write them, readable by them."""

import hashlib
import json
import math
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from yoriai import Generated, UsageError, YoriaiError
from yoriai.files import digest_file
from yoriai_eval.commands.export import export
from yoriai_eval.report import exports, inspect_log, lm_eval_log, wandb_log
from yoriai_eval.scoring import rescoring
from yoriai_eval.tasks.own import JaForms, JaLanguage

KINDS = {s.text: str(s.answer) for s in JaLanguage().samples([])}

# Keys of a line of samples_*.jsonl, generate_until and multiple_choice, in their order, and the
# digests of a prompt and of a target: from a run of lm-eval 0.4.13 with --log_samples.
KEYS = [
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
    "doc_hash", "prompt_hash", "target_hash",
]  # fmt: skip
PROMPT_HASH = "61d1ba5085eb5e46d6592e26ac87b07f736b0b4bc146a9efac5430bb30ca84b5"
TARGET_HASH = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
DOC = {"q": "一足す一は?", "a": "2", "choices": ["1", "2", "3"], "label": 1}
DOC_HASH = "08cfbbf09026072149e72866a6f074b0fbe5f60a13fc30c1064f5e5a6d5da5bf"
RESULT_KEYS = {
    "results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples",
    "config", "git_hash", "date", "task_hashes", "model_source", "model_name",
    "model_name_sanitized",
}  # fmt: skip


def answer(prompt):
    text = prompt.partition("|")[2]
    if len(text) % 7 == 0:
        return Generated("", "refused", "no")
    return KINDS[text] if len(text) % 2 else "日本語\ud83d"


@pytest.fixture
def scored(make, scripted, build_run, yoriai_job):
    corpus = make.corpus("text", [("あ", "ja")], [("いろは", "ja"), ("text", "en"), ("b", "en")])
    backend = scripted(
        answer=answer, likelihood=lambda before, after: -0.5 - 1.25 * len(after.encode())
    )
    step = build_run(["eval/ja-language", "eval/ja-forms", "eval/heldout"], backend)
    step_inputs = [make.stub("base"), make.stub("other"), corpus]
    return yoriai_job("scores", step, step_inputs), corpus


@pytest.fixture
def asked(scored, yoriai_registry):
    """The questions; the corpus of a job outside a recipe is handed over by hand."""
    found = rescoring.questions(scored[0], yoriai_registry)
    return rescoring.Questions(found.run, found.exams, (scored[1],))


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_digests_are_those_of_lm_evaluation_harness():
    assert exports.hashed("Q: 一足す一は?\nA:") == PROMPT_HASH
    assert exports.hashed("2") == TARGET_HASH
    assert exports.hashed(json.dumps(DOC, indent=2, ensure_ascii=False)) == DOC_HASH


def test_lm_eval_samples_have_its_fields_in_its_order(scored, asked, tmp_path):
    written = lm_eval_log.write(scored[0], asked, tmp_path / "out")
    assert [p.name.partition("_1970")[0] for p in written if p.suffix == ".jsonl"] == [
        "samples_ja-language", "samples_ja-forms", "samples_heldout"] * 2  # fmt: skip
    assert {p.parent.name for p in written} == {"base", "other"}
    by_name = {p.name.partition("_1970")[0]: lines(p) for p in written if p.suffix == ".jsonl"}
    generated = by_name["samples_ja-language"]
    assert [list(row)[: len(KEYS)] for row in generated] == [KEYS] * 90
    first, sample = generated[0], next(iter(JaLanguage().samples([])))
    assert first["doc"]["text"] == sample.text
    assert first["target"] == sample.answer
    assert first["arguments"]["gen_args_0"]["arg_0"].endswith(sample.text)
    assert first["arguments"]["gen_args_0"]["arg_1"]["do_sample"] is False
    assert first["metrics"] == ["acc"]
    assert len(first["resps"]) == len(first["filtered_resps"]) == 1
    ranked = by_name["samples_ja-forms"][0]
    choice = next(iter(JaForms().samples([])))
    assert [a["arg_1"] for a in ranked["arguments"].values()] == list(choice.choices)
    assert ranked["target"] == str(choice.answer)
    likelihoods = [float(answers[0][0]) for answers in ranked["resps"]]
    assert likelihoods == [-0.5 - 1.25 * len(c.encode()) for c in choice.choices]
    assert ranked["metrics"] == ["acc", "acc_norm", "acc_bytes", "acc_mutual_info"]
    assert ranked["prompt_hash"] == hashlib.sha256(choice.text.encode()).hexdigest()
    held = by_name["samples_heldout"][0]
    assert held["arguments"] == {"gen_args_0": {"arg_0": held["doc"]["text"]}}
    size = len(held["doc"]["text"].encode())
    assert float(held["resps"][0][0]) == pytest.approx(-0.5 - 1.25 * size, abs=1e-5)
    assert held["bits_per_byte"] == [pytest.approx(-0.5 - 1.25 * size, abs=1e-5), size]


def test_lm_eval_results_repeat_the_scores_and_the_digest_of_all_samples(scored, asked, tmp_path):
    written = lm_eval_log.write(scored[0], asked, tmp_path / "out")
    path = next(p for p in written if p.name.startswith("results_") and p.parent.name == "base")
    told = json.loads(path.read_text())
    assert set(told) > RESULT_KEYS
    facts = scored[0].facts["base"]
    assert told["results"]["ja-language"]["acc,none"] == pytest.approx(
        facts["tasks"]["ja-language"]["score"], abs=1e-4
    )
    assert told["results"]["ja-forms"]["acc_stderr,none"] > 0
    sizes = [len(text.encode()) for text in ("いろは", "text", "b")]
    bits = sum(0.5 + 1.25 * size for size in sizes) / math.log(2) / sum(sizes)
    assert told["results"]["heldout"]["bits_per_byte,none"] == pytest.approx(bits, abs=1e-5)
    assert told["higher_is_better"]["heldout"] == {"bits_per_byte": False}
    assert told["n-samples"]["ja-forms"] == {"original": 120, "effective": 120}
    assert told["configs"]["ja-forms"]["output_type"] == "multiple_choice"
    rows = lines(next(p for p in written if p.name.startswith("samples_ja-forms")))
    marks = "".join(r["doc_hash"] + r["prompt_hash"] + r["target_hash"] for r in rows)
    assert told["task_hashes"]["ja-forms"] == hashlib.sha256(marks.encode()).hexdigest()


@pytest.mark.parametrize("write", [lm_eval_log.write, inspect_log.write])
def test_the_same_scores_give_the_same_bytes(scored, asked, tmp_path, write):
    one, two = write(scored[0], asked, tmp_path / "a"), write(scored[0], asked, tmp_path / "b")
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    assert [p.relative_to(tmp_path / "a") for p in one] == [
        p.relative_to(tmp_path / "b") for p in two
    ]
    assert not list(tmp_path.rglob("*.part"))


def test_inspect_logs_hold_every_sample_with_its_scores(scored, asked, tmp_path):
    written = inspect_log.write(scored[0], asked, tmp_path)
    assert len(written) == 6
    told = json.loads(written[0].read_text())
    assert (told["version"], told["status"]) == (2, "success")
    assert list(told)[-1] == "samples"
    assert told["eval"]["model"] == "yoriai/base"
    assert len(told["samples"]) == told["results"]["total_samples"] == 90
    metric = told["results"]["scores"][0]["metrics"]["mean"]["value"]
    values = [s["scores"]["accuracy"]["value"] for s in told["samples"]]
    assert metric == pytest.approx(sum(values) / 90)
    refused = [s for s in told["samples"] if s["metadata"]["reason"] == "refused"]
    assert refused
    for sample in refused:
        assert sample["output"]["choices"][0]["stop_reason"] == "content_filter"
        assert sample["scores"]["accuracy"]["reason"] == "refusal"
    ranked = json.loads(written[1].read_text())["samples"][0]
    assert len(ranked["choices"]) == 2
    assert ranked["target"] in ranked["choices"]


def test_inspect_itself_reads_the_logs(scored, asked, tmp_path):
    log = pytest.importorskip("inspect_ai.log", reason="inspect-ai is not installed")
    for path in inspect_log.write(scored[0], asked, tmp_path):
        head = log.read_eval_log(str(path), header_only=True)
        whole = log.read_eval_log(str(path))
        assert head.results == whole.results
        assert len(whole.samples) == whole.results.total_samples
        assert whole.samples[0].scores


def test_wandb_gets_two_tables_and_stays_offline(scored, tmp_path, monkeypatch):
    calls = {}

    class Table:
        def __init__(self, columns):
            self.columns, self.rows = columns, []

        def add_data(self, *values):
            assert len(values) == len(self.columns)
            self.rows.append(values)

    def init(**options):
        calls.update(options)
        return SimpleNamespace(log=calls.update, finish=lambda: calls.update(done=True))

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Table=Table))
    wandb_log.write(scored[0], tmp_path / "mirror")
    assert calls["mode"] == "offline"
    assert calls["done"]
    assert sorted(row[:2] for row in calls["scores"].rows) == [
        (m, t) for m in ("base", "other") for t in ("ja-forms", "ja-language")
    ]
    assert len(calls["samples"].rows) == 2 * (90 + 120 + 3)


def test_the_command_writes_into_a_new_folder_only(make, scripted, build_run, yoriai_job, tmp_path):
    step = build_run(["eval/ja-forms"], scripted())
    made = yoriai_job("scores", step, [make.stub()])
    words = [str(made.path), "--format", "lm-eval", str(tmp_path / "out")]
    done = CliRunner().invoke(export, [*words, "--json"])
    assert done.exit_code == 0, done.exception
    assert len(json.loads(done.output)["files"]) == 2
    again = CliRunner().invoke(export, words)
    assert isinstance(again.exception, UsageError)
    assert "not empty" in again.exception.message


def test_rows_that_are_not_what_was_asked_are_refused(scored, asked, tmp_path):
    path = scored[0].file("samples.jsonl")
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([rows[1], rows[0], *rows[2:]]))
    scored[0].manifest["files"]["samples.jsonl"]["sha256"] = digest_file(path)  # sealed so
    with pytest.raises(YoriaiError, match="is not what was asked there"):
        lm_eval_log.write(scored[0], asked, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.jsonl"))
