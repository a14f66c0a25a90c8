"""Tasks as a YAML file, and the tutorial's examples, word for word."""

import hashlib
import http.server
import json
import threading

import pytest

from yoriai import NotFound, UsageError, YoriaiError
from yoriai.errors import Altered
from yoriai_eval.scoring import protocol
from yoriai_eval.sets import store
from yoriai_eval.tasks.yaml_file import YamlTask

# What the tutorial shows (docs, new-task.md).
ROWS = """\
{"id": "p1", "q": "猿も木から", "ends": ["落ちる", "降りる"], "right": "落ちる", "kind": "animal"}
{"id": "p2", "q": "石の上にも", "ends": ["十年", "三年"], "right": "三年", "kind": "time"}
{"id": "p3", "q": "花より", "ends": ["団子", "お茶"], "right": "団子", "kind": "food"}
{"id": "p4", "q": "七転び", "ends": ["八起き", "九起き"], "right": "八起き", "kind": "number"}
"""
TASK = """\
# proverbs.yaml
name: proverbs
licence: CC0-1.0
source: written for this page
form: ranked
data: proverbs.jsonl
id: "{id}"
text: "{q}"
choices: "{ends}"
answer: "{right}"
group: "{kind}"
shots: [3]
instruction: ことわざの続きを答えてください。
metrics: [accuracy, accuracy_characters]
"""
RECIPE = """\
name: try-proverbs
licence: Apache-2.0
steps:
  scores:
    uses: eval/run
    tasks: [{use: eval/yaml, path: proverbs.yaml}]
    backend: {use: eval/mock, likelihood: seeded}
    models: {nobody: proverbs.yaml}
"""
CODE = '''\
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Artifact, Sample, Task


class Products(Task):
    """Products of two numbers, written as digits."""

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["generation"]] = "generation"
    largest: int = Field(9, ge=1, description="largest factor")

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:
        for a in range(1, self.largest + 1):
            for b in range(1, self.largest + 1):
                yield Sample(id=f"{a}x{b}", text=f"{a} × {b} = ", answer=str(a * b), group=str(a))

    def score(self, sample: Sample, output: str) -> float:
        words = output.split()
        return float(bool(words) and words[0] == sample.answer)
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "proverbs.jsonl").write_text(ROWS, encoding="utf-8")
    (tmp_path / "proverbs.yaml").write_text(TASK, encoding="utf-8")
    return tmp_path


def task_of(place):
    made = YamlTask(path=str(place))
    made._entry = "eval/yaml"
    return made


@pytest.fixture
def write(tmp_path):
    """A YAML task over rows: keys on top of a small generation task."""

    def made(rows, file="rows.jsonl", **keys):
        if isinstance(rows, list):
            rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        (tmp_path / file).write_bytes(rows)
        told = {
            "name": "made", "licence": "CC0-1.0", "source": "a test", "form": "generation",
            "data": file, "text": "{q}", "answer": "{a}",
        }  # fmt: skip
        place = tmp_path / "made.yaml"
        place.write_text(json.dumps(told | keys, ensure_ascii=False), encoding="utf-8")
        return task_of(place)

    return made


# --- the tutorial -------------------------------------------------------------------------


def test_the_recipe_of_the_tutorial_runs(folder, monkeypatch, yoriai_cli):
    (folder / "try-proverbs.yaml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.chdir(folder)
    told = yoriai_cli("run", "try-proverbs.yaml")
    assert told.code == 0, told.err
    told = yoriai_cli("eval", "samples", "build/try-proverbs/scores@1")
    assert told.code == 0, told.err
    assert "eval/yaml/proverbs" in told.out
    facts = json.loads((folder / "build/try-proverbs/scores@1/scores.json").read_bytes())
    found = facts["models"]["nobody"]["tasks"]["proverbs"]
    assert (found["samples"], found["metric"]) == (3, "accuracy")
    assert found["floors"] == {"chance": 0.5, "majority": 0.6667}
    assert set(found["groups"]) == {"animal", "time", "food"}


def test_the_class_of_the_tutorial_is_asked_and_scored(make, scripted, build_run, yoriai_job):
    names = {}
    exec(CODE, names)
    task = names["Products"](largest=3)
    task._entry = "mine/products"
    backend = scripted(answer=lambda prompt: "4 of course")
    scores = yoriai_job("scores", build_run([task], backend), [make.stub()])
    found = scores.facts["models"]["base"]["tasks"]["products"]
    assert (found["score"], found["samples"]) == (round(1 / 9, 4), 9)


# --- what is asked ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["yoriai", "v1.3"])
def test_it_is_put_as_the_protocol_puts_questions(folder, name):
    rules = protocol.load(name)
    [exam] = protocol.exams(rules, task_of(folder / "proverbs.yaml"))
    assert (exam.name, exam.short, exam.own) == ("eval/yaml/proverbs", "proverbs", False)
    first = next(iter(exam.task.samples([])))
    assert (first.id, first.group, first.answer) == ("p1", "animal", 0)
    put = rules.prompt
    shown = put.shot.replace("{input}", "七転び").replace("{output}", "八起き")
    header = put.header.replace("{instruction}", "ことわざの続きを答えてください。")
    assert exam.question(first) == header + shown + put.query.replace("{input}", "猿も木から")


def test_examples_are_not_asked(folder):
    samples = list(task_of(folder / "proverbs.yaml").samples([]))
    assert [s.id for s in samples] == ["p1", "p2", "p3"]


def test_its_own_template_and_cut_come_first(write):
    task = write(
        [{"q": "一", "a": "1"}], prompt={"query": "Q {input}\nA"}, reading={"cut": "。"},
        max_characters=5, metrics=["char_f1", "exact_match"],
    )  # fmt: skip
    [exam] = protocol.exams(protocol.load("yoriai"), task)
    [sample] = task.samples([])
    assert exam.question(sample) == "Q 一\nA"
    assert (exam.stop, exam.max_characters) == (("。",), 5)
    assert exam.metrics == ("char_f1", "exact_match")
    assert task.score(sample, "1") == 1.0


def test_a_field_is_filled_in_and_never_run(write):
    task = write([{"q": "{a} {0.__class__} {q}", "a": "x", "template": "t"}], text="{q}|{template}")
    assert next(iter(task.samples([]))).text == "{a} {0.__class__} {q}|t"


def test_values_that_are_no_text_are_written_as_json(write):
    [sample] = write([{"q": 1.5, "a": None}], text="{q} {a}", answer="{q}").samples([])
    assert (sample.text, sample.answer) == ("1.5 ", "1.5")


@pytest.mark.parametrize(
    ("choices", "answer", "place"),
    [
        (["{x}", "{y}"], "{y}", 1),
        (["{x}", "{y}"], "{n}", 1),
        (["2", "1", "0"], "{n}", 1),  # the text goes before the number
        ("{both}", "{x}", 0),
        ("both", "0", 0),
    ],
)
def test_the_answer_is_a_text_or_a_number(write, choices, answer, place):
    rows = [{"q": "?", "x": "甲", "y": "乙", "n": 1, "both": ["甲", "乙"]}]
    [sample] = write(rows, form="ranked", choices=choices, answer=answer).samples([])
    assert sample.answer == place


# --- data ---------------------------------------------------------------------------------


def test_csv_tsv_and_parquet_say_the_same_as_jsonl(write):
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"q": '一、"二"', "a": "甲,乙"}, {"q": "三", "a": ""}]
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    wanted = list(write(rows).samples([]))
    for name, content in {
        "r.csv": '\ufeffq,a\n"一、""二""","甲,乙"\n三,\n'.encode(),
        "r.tsv": 'q\ta\n"一、""二"""\t甲,乙\n三\t\n'.encode(),
        "r.parquet": stream.getvalue(),
    }.items():
        assert list(write(content, name).samples([])) == wanted, name


def test_a_changed_row_or_word_is_another_task(folder):
    before = task_of(folder / "proverbs.yaml").fingerprint()
    assert before == task_of(folder / "proverbs.yaml").fingerprint()
    (folder / "proverbs.jsonl").write_text(ROWS.replace("十年", "百年"), encoding="utf-8")
    changed = task_of(folder / "proverbs.yaml").fingerprint()
    (folder / "proverbs.yaml").write_text(TASK.replace("続き", "つづき"), encoding="utf-8")
    assert len({before, changed, task_of(folder / "proverbs.yaml").fingerprint()}) == 3


@pytest.fixture
def served(tmp_path, monkeypatch):
    """An address that gives the rows, and counts how often."""
    content, asked = ROWS.encode(), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("YORIAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/rows.jsonl?v=1", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_rows_from_the_web_are_pinned_and_fetched_once(folder, served):
    url, asked = served
    digest = hashlib.sha256(ROWS.encode()).hexdigest()
    place = folder / "web.yaml"
    place.write_text(TASK.replace("proverbs.jsonl", f'{{url: "{url}", sha256: "{digest}"}}'))
    assert len(list(task_of(place).samples([]))) == 3
    assert len(list(task_of(place).samples([]))) == 3
    assert len(asked) == 1
    (store.cache_folder() / "pinned" / digest).write_bytes(b"{}")
    with pytest.raises(Altered, match="was changed"):
        list(task_of(place).samples([]))
    place.write_text(TASK.replace("proverbs.jsonl", f'{{url: "{url}", sha256: "{"0" * 64}"}}'))
    with pytest.raises(Altered, match="is another file"):
        list(task_of(place).samples([]))


# --- bad input ----------------------------------------------------------------------------

ONE = [{"q": "?", "a": "z"}]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"from": "ranked"}, "from: unknown key"),
        ({"form": "ranked"}, "form ranked needs choices"),
        ({"choices": ["a", "b"]}, "no other form has them"),
        ({"metrics": ["acuracy"]}, "no metric 'acuracy' of this form; there are exact_match"),
        ({"metrics": ["accuracy"]}, "no metric 'accuracy' of this form"),
        ({"licence": ""}, "licence: "),
        ({"name": "a/b"}, "name: "),
        ({"data": {"url": "https://x", "sha256": "1"}}, "sha256"),
    ],
)
def test_a_wrong_key_is_named(write, keys, said):
    with pytest.raises(UsageError) as told:
        list(write([{"q": "?", "a": "!"}], **keys).samples([]))
    assert said in told.value.message


@pytest.mark.parametrize(
    ("rows", "name", "keys", "said"),
    [
        ([{"q": "?"}], "r.jsonl", {}, "row 0 has no field 'a'"),
        (b"[1, 2]\n", "r.jsonl", {}, "row 0 of r.jsonl has no fields"),
        (b'{"q":\n', "r.jsonl", {}, "r.jsonl cannot be read"),
        (b"q,a\n1,2,3\n", "r.csv", {}, "or too many"),
        (b"junk", "r.parquet", {}, "r.parquet cannot be read"),
        (b"q a", "r.txt", {}, "is none of .jsonl"),
        (ONE, "r.jsonl", {"form": "ranked", "choices": ["x", "y"]}, "none of its 2"),
        (ONE, "r.jsonl", {"form": "ranked", "choices": "{q}"}, "no list of choices"),
    ],
)
def test_a_bad_row_is_named(write, rows, name, keys, said):
    with pytest.raises(YoriaiError) as told:
        list(write(rows, name, **keys).samples([]))
    assert said in told.value.message


def test_an_example_that_is_not_there_is_refused(write):
    task = write([{"q": "?", "a": "!"}], shots=[1])
    with pytest.raises(Altered, match="shows row 1; there are 1"):
        protocol.exams(protocol.load("yoriai"), task)


def test_files_that_are_not_there_are_named(folder):
    with pytest.raises(NotFound, match=r"nothing\.yaml cannot be read"):
        task_of(folder / "nothing.yaml").fingerprint()
    (folder / "proverbs.jsonl").unlink()
    with pytest.raises(NotFound, match=r"proverbs\.jsonl cannot be read"):
        task_of(folder / "proverbs.yaml").fingerprint()
    (folder / "list.yaml").write_text("- a\n")
    with pytest.raises(UsageError, match="holds no keys"):
        list(task_of(folder / "list.yaml").samples([]))


def test_two_yaml_tasks_run_together_and_doubles_are_refused(
    folder, write, make, scripted, build_run, yoriai_job
):
    both = [task_of(folder / "proverbs.yaml"), write([{"q": "?", "a": "!"}])]
    backend = scripted(answer=lambda prompt: "!\n?")
    scores = yoriai_job("scores", build_run(both, backend), [make.stub()])
    assert scores.facts["models"]["base"]["tasks"]["made"]["score"] == 1.0
    assert set(scores.facts["models"]["base"]["tasks"]) == {"proverbs", "made"}
    with pytest.raises(UsageError, match="two tasks are called 'made'"):
        yoriai_job("again", build_run([both[1], both[1]], backend), [make.stub()])


@pytest.mark.parametrize("name", ["proverbs.yaml", "proverbs.jsonl"])
def test_a_task_or_its_data_that_is_a_device_is_refused(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    with pytest.raises(UsageError, match=f"{name} is no ordinary file"):
        list(YamlTask(path=str(folder / "proverbs.yaml")).samples([]))
