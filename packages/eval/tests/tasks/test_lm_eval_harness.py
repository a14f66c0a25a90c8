"""Tasks of lm-evaluation-harness: its prompts, its filters, its metrics, and its very scores.

Where lm-eval is installed the real one is asked; elsewhere a stand-in with the parts of its API
that the adapter uses.
"""

import importlib.util
import json
import sys
import types

import pytest

from yoriai import Generated, NotFound, UsageError
from yoriai_eval.scoring import asking, protocol, totals
from yoriai_eval.tasks.lm_eval_harness import HarnessTask

REAL = importlib.util.find_spec("lm_eval") is not None
needs_real = pytest.mark.skipif(not REAL, reason="lm-eval is not installed")
SPEC = {
    "capitals": """
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/capitals.jsonl, train: FOLDER/capitals.jsonl}}
output_type: multiple_choice
test_split: test
fewshot_split: train
num_fewshot: 2
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: label
doc_to_choice: "{{choices}}"
metric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_mutual_info}]
metadata: {version: 2.5}
""",
    "sums": """
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/sums.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{question}} ="
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n", "e"], max_gen_toks: 12, do_sample: false}
filter_list:
  - name: strict
    filter: [{function: regex, regex_pattern: "([a-z0-9]+)"}, {function: take_first}]
  - {name: loose, filter: [{function: take_first}]}
metric_list: [{metric: exact_match, ignore_case: true}]
metadata: {version: 1.0}
""",
    "prose": """
task: prose
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/prose.jsonl}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: bits_per_byte}]
metadata: {version: 1.0}
""",
    "told": """
task: told
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/sums.jsonl}}
output_type: loglikelihood
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}]
""",
}
ROWS = {
    "capitals": [
        {"question": f"capital of {c}?", "choices": list(choices), "label": label}
        for c, choices, label in (
            ("France", ("Paris", "Rome", "Ulaanbaatar"), 0),
            ("Italy", ("Oslo", "Rome", "Paramaribo city"), 1),
            ("Japan", ("Nara", "Kyoto", "Tokyo"), 2),
            ("Norway", ("Oslo", "Bergen", "Longyearbyen"), 0),
            ("Peru", ("Cusco", "Lima", "Antananarivo"), 1),
            ("Mali", ("Bamako", "Gao", "Timbuktu of old"), 0),
        )
    ],
    "sums": [{"question": f"{n}+{n}", "answer": str(2 * n)} for n in range(1, 6)],
    "prose": [{"text": "A short text, read whole."}, {"text": "あいうえお"}],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Tasks and data that need no network."""
    for name, rows in ROWS.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    for name, text in SPEC.items():
        (tmp_path / f"{name}.yaml").write_text(text.replace("FOLDER", str(tmp_path)))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    if not REAL:
        stand_in(monkeypatch)
    return tmp_path


def stand_in(monkeypatch):
    """The calls of lm_eval 0.4.13 that the adapter makes, over the same rows."""

    def mean(values):
        return sum(values) / len(values)

    class Made:
        def __init__(self, name):
            kinds = {"capitals": "multiple_choice", "sums": "generate_until"}
            kinds |= {"prose": "loglikelihood_rolling", "told": "loglikelihood"}
            self.name, self.OUTPUT_TYPE = name, kinds[name]
            self.config = {"metadata": {"version": 2.5}}
            self._metric_fn_list = {"acc": 1, "acc_mutual_info": 1}
            keep = types.SimpleNamespace
            self._filters = [
                keep(name="strict", apply=lambda found: self._apply(found, "strict", str.split)),
                keep(name="loose", apply=lambda found: self._apply(found, "loose", lambda x: [x])),
            ]

        def _apply(self, found, name, function):
            for request in found:
                request.filtered_resps[name] = (function(request.resps[0]) or ["[invalid]"])[0]

        def get_config(self, key):
            return self.config.get(key)

        def set_config(self, key, value):
            self.config[key] = value

        def set_fewshot_seed(self, seed):
            self.seed = seed

        def dump_config(self):
            return {"task": self.name, "function": mean, **self.config}

        def build_all_requests(self, **options):
            self.instances = []
            for number, doc in enumerate(ROWS[self.name]):
                if self.name == "capitals":
                    pairs = [(f"Q: {doc['question']}\nA:", f" {c}") for c in doc["choices"]]
                elif self.name == "sums":
                    settings = {"until": ["\n", "e"], "max_gen_toks": 12}
                    pairs = [(f"{doc['question']} =", settings)]
                else:
                    pairs = [(doc["text"],)]
                keep = types.SimpleNamespace
                self.instances += [keep(doc_id=number, doc=doc, args=p, resps=[]) for p in pairs]

        def doc_to_choice(self, doc):
            return doc["choices"]

        def doc_to_target(self, doc):
            return doc["label"] if "label" in doc else doc["answer"]

        def aggregation(self):
            names = {"capitals": ("acc", "acc_norm"), "sums": ("exact_match",), "prose": ()}
            return dict.fromkeys(names[self.name], mean)

        def process_results(self, doc, results):
            if self.name == "sums":
                return {"exact_match": float(results[0] == doc["answer"])}
            values = [value for value, _ in results]
            sizes = [len(choice) for choice in doc["choices"]]
            norm = [value / size for value, size in zip(values, sizes, strict=True)]
            return {
                "acc": float(values.index(max(values)) == doc["label"]),
                "acc_norm": float(norm.index(max(norm)) == doc["label"]),
            }

    class TaskManager:
        def __init__(self, include_path=None, include_defaults=True):
            self.all_subtasks = list(SPEC)

        def load(self, names):
            return {"tasks": {name: Made(name) for name in names}, "groups": {}}

    for name, members in {
        "lm_eval": {"__version__": "0.0"},
        "lm_eval.tasks": {"TaskManager": TaskManager},
        "lm_eval.api": {},
        "lm_eval.api.metrics": {"mean": mean},
    }.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)


def task_of(name, folder, **options):
    made = HarnessTask(task=name, include_path=str(folder), **options)
    made._entry = "eval/lm-eval"
    return made


def test_a_task_is_called_by_its_own_name(folder):
    [exam] = protocol.exams(protocol.load("v1.3"), task_of("capitals", folder))
    assert (exam.name, exam.short) == ("eval/lm-eval/capitals", "capitals")
    assert (exam.form, exam.metrics) == ("ranked", ("acc", "acc_norm"))


def test_choices_carry_the_delimiter_and_the_prompt_is_theirs(folder):
    first = next(iter(task_of("capitals", folder, num_fewshot=0).samples([])))
    assert first.text == "Q: capital of France?\nA:"
    assert first.choices == (" Paris", " Rome", " Ulaanbaatar")
    assert first.answer == 0


def test_their_length_does_not_count_the_delimiter(folder):
    task = task_of("capitals", folder, num_fewshot=0)
    sample = next(iter(task.samples([])))
    # Per character: -1 and -.9 without the delimiter, -.83 and -.72 of a longer text with it.
    assert task.rank(sample, [-5.0, -3.6, -12.0]) == {"acc": 0.0, "acc_norm": 0.0}
    assert task.rank(sample, [-3.0, -3.2, -12.0]) == {"acc": 1.0, "acc_norm": 1.0}


def test_answers_go_through_every_filter(folder):
    task = task_of("sums", folder)
    [exam] = protocol.exams(protocol.load("yoriai"), task)
    assert exam.stop == ("\n", "e")
    assert (exam.max_tokens, exam.plain, exam.chat) == (12, True, False)
    sample = next(iter(task.samples([])))
    assert (sample.text, sample.answer) == ("1+1 =", "2")
    assert task.scores(sample, "2") == {"exact_match": 1.0, "exact_match,loose": 1.0}
    assert task.scores(sample, " 2 ") == {"exact_match": 1.0, "exact_match,loose": 0.0}
    assert task.score(sample, "") == 0.0


def test_the_fingerprint_says_versions_and_changes_with_the_rows(folder):
    first = task_of("capitals", folder).fingerprint()
    assert "capitals version 2.5, settings " in first
    assert first == task_of("capitals", folder).fingerprint()
    assert first != task_of("sums", folder).fingerprint()


def test_what_cannot_be_asked_is_refused(folder):
    with pytest.raises(UsageError, match="told has output_type loglikelihood"):
        protocol.exams(protocol.load("yoriai"), task_of("told", folder))
    with pytest.raises(NotFound, match="no single task 'nobody'"):
        protocol.exams(protocol.load("yoriai"), task_of("nobody", folder))


def test_a_run_scores_it_beside_other_tasks(folder, make, scripted, build_run, yoriai_job):
    backend = scripted(
        likelihood=lambda before, after: -float(len(after)),
        answer=lambda prompt: Generated("2 e", "end"),
    )
    tasks = [task_of("capitals", folder, num_fewshot=0), task_of("sums", folder), "eval/ja-forms"]
    scores = yoriai_job("scores", build_run(tasks, backend), [make.stub()])
    found = scores.facts["models"]["base"]["tasks"]
    assert set(found) == {"capitals", "sums", "ja-forms"}
    assert found["capitals"]["metric"] == "acc"
    assert found["capitals"]["score"] == round(2 / 6, 4)  # the shortest choice, the first of two
    assert found["sums"]["score"] == 0.2
    assert found["sums"]["metrics"] == {"exact_match": 0.2, "exact_match,loose": 0.0}


@needs_real
@pytest.mark.parametrize("name", ["capitals", "sums", "prose"])
def test_scores_equal_those_of_simple_evaluate(name, folder, make):
    lm_eval = pytest.importorskip("lm_eval")
    pytest.importorskip("accelerate", reason="HFLM needs accelerate")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from yoriai_eval.backends.huggingface import HuggingFace

    model = make.model(max_position_embeddings=256, template=False)
    theirs = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(model.path), dtype="float32", batch_size=1, device="cpu"),
        tasks=[name],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )
    task = task_of(name, folder)
    [exam] = protocol.exams(protocol.load("yoriai"), task)
    samples = list(task.samples([]))
    # The harness begins a text that is read with the start mark, and a prompt with none.
    backend = HuggingFace(start="always" if name == "prose" else "never")
    ours = asking.ask(backend.open(model.path), exam, samples)
    wanted = {key: v for key, v in theirs["results"][name].items() if isinstance(v, float)}
    logged = {row["doc_id"]: row for row in theirs["samples"][name]}
    if name == "prose":
        bits = sum(row["bits"] for row in ours) / sum(row["bytes"] for row in ours)
        assert bits == pytest.approx(wanted["bits_per_byte,none"], rel=1e-5)
        return
    golds = [s.gold for s in samples]
    found = totals.score(exam, ours, golds, 0)["metrics"]
    if name == "capitals":
        assert found["acc"] == pytest.approx(wanted["acc,none"], abs=1e-4)
        assert found["acc_norm"] == pytest.approx(wanted["acc_norm,none"], abs=1e-4)
        for number, row in enumerate(ours):
            theirs_here = [float(r[0][0]) for r in logged[number]["resps"]][:3]
            assert row["likelihoods"] == pytest.approx(theirs_here, abs=1e-4)
        return
    assert found["exact_match"] == pytest.approx(wanted["exact_match,strict"], abs=1e-4)
    assert found["exact_match,loose"] == pytest.approx(wanted["exact_match,loose"], abs=1e-4)
    for number, row in enumerate(ours):
        assert row["output"] == logged[number]["resps"][0][0]
