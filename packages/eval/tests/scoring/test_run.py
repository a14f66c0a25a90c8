"""Scoring with models whose answers are known."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from pydantic import Field

from yoriai import Altered, NotFound, Sample, Task, UsageError, YoriaiError
from yoriai.contracts import samples_digest
from yoriai.files import digest_bytes
from yoriai_eval.backends.huggingface import HuggingFace
from yoriai_eval.backends.mock import Mock
from yoriai_eval.comparison.compare import compare
from yoriai_eval.comparison.contestants import contestants
from yoriai_eval.scoring import statistics
from yoriai_eval.scoring.protocol import identity
from yoriai_eval.tasks.own import JaForms, JaLanguage
from yoriai_eval.tasks.yaml_file import YamlTask

FORMS = {s.text + s.choices[int(s.answer)] for s in JaForms().samples([])}
KINDS = {s.text: str(s.answer) for s in JaLanguage().samples([])}


def right(context, continuation):
    return float(context + continuation in FORMS)


def wrong(context, continuation):
    return -right(context, continuation)


@pytest.mark.parametrize(
    ("likelihood", "accuracy"), [(right, 1.0), (wrong, 0.0), (lambda a, b: -1.0, 0.5)]
)
def test_ranked_choice_of_models_that_are_right_wrong_or_always_the_same(
    make, scripted, build_run, yoriai_job, likelihood, accuracy
):
    step = build_run(["eval/ja-forms"], scripted(likelihood=likelihood))
    scores = yoriai_job("scores", step, [make.stub()])
    low, high = statistics.wilson(accuracy * 120, 120)
    facts = scores.facts
    assert facts["models"]["base"]["tasks"]["ja-forms"]["floors"]["chance"] == 0.5
    told = facts["models"]["base"]["tasks"]["ja-forms"]
    assert (told["metric"], told["score"], told["samples"]) == ("accuracy", accuracy, 120)
    assert told["interval"] == [round(low, 4), round(high, 4)]
    right_ones = round(accuracy * 120)
    assert told["reasons"].get("correct", 0) == right_ones
    assert told["reasons"].get("wrong", 0) == 120 - right_ones


def test_generation_of_a_model_that_knows_and_of_one_that_is_silent(
    make, scripted, build_run, yoriai_job, read_rows
):
    def knows(prompt):
        return KINDS[prompt.partition("|")[2]]

    inputs = [make.stub()]
    made = yoriai_job("a", build_run(["eval/ja-language"], scripted(answer=knows)), inputs)
    assert made.facts["models"]["base"]["tasks"]["ja-language"]["score"] == 1.0
    made = yoriai_job("b", build_run(["eval/ja-language"], scripted()), inputs)
    told = made.facts["models"]["base"]["tasks"]["ja-language"]
    assert told["score"] == 0.0
    assert told["floors"]["majority"] == 0.3333
    assert sum(told["reasons"].values()) == 90
    assert {row["output"] for row in read_rows(made)} == {""}


def test_a_model_of_another_folder_that_was_sealed_and_altered_is_refused_by_any_backend(
    make, scripted, build_run, yoriai_job
):
    place = make.stub(content="abc").path
    (place / "config.json").write_text('{"content": "abd"}')
    step = build_run(["eval/ja-language"], scripted(), models={"mine": str(place)})
    with pytest.raises(Altered, match=r"config\.json has"):
        yoriai_job("scores", step, [])


def test_bits_per_byte_stand_beside_gzip_and_unigram_for_each_language(
    make, scripted, build_run, yoriai_job
):
    documents = [("あいうえお" * 9, "ja"), ("plain text", "en")]
    corpus = make.corpus("text", documents, [("あい", "ja"), ("うえお", "ja"), ("text", "en")])
    backend = scripted(likelihood=lambda a, text: -2 * math.log(2) * len(text.encode()))
    step = build_run(["eval/heldout"], backend)
    facts = yoriai_job("scores", step, [make.stub(), corpus]).facts
    assert facts["models"]["base"]["bits_per_byte"] == {"text": {"en": 2.0, "ja": 2.0}}
    assert facts["models"]["base"]["bits_per_byte_interval"]["text"]["ja"][0] < 2.0
    assert facts["models"]["base"]["bits_per_byte_interval"]["text"]["en"] == [
        0.0,
        21.36,
    ]  # of one document
    assert facts["models"]["base"]["bits_per_byte_documents"] == {"text": {"en": 1, "ja": 2}}
    unigram = statistics.unigram_bits_per_byte([documents[0][0]], ["あい", "うえお"])
    assert facts["floors"]["unigram"]["text"]["ja"] == round(unigram, 4)
    gzip = statistics.gzip_bits_per_byte(["text"])
    assert facts["floors"]["gzip"]["text"]["en"] == round(gzip, 4)
    assert "en 2.00 of 1 document (gzip" in facts["headline"][0]
    assert "ja 2.00 of 2 documents (gzip" in facts["headline"][0]


class Poems(Task):
    """Bits per byte on texts that come from no corpus."""

    form: ClassVar[str] = "bits-per-byte"

    def samples(self, artifacts) -> Iterator[Sample]:
        yield Sample(id="poems/1", text="古池や", group="poems.ja")


def test_a_task_with_texts_of_its_own_has_the_gzip_floor_only(
    make, scripted, build_run, yoriai_job
):
    poems = Poems()
    poems._entry = "acme/poems"
    step = build_run([poems], scripted(likelihood=lambda a, b: -3.0))
    facts = yoriai_job("scores", step, [make.stub()]).facts
    assert list(facts["floors"]) == ["gzip"]
    assert "unigram" not in facts["headline"][0]


def test_names_that_scores_could_not_tell_apart_are_refused(make, scripted, build_run, yoriai_job):
    def run(name, tasks, inputs):
        return yoriai_job(name, build_run(tasks, scripted()), inputs)

    with pytest.raises(UsageError, match="two models are called 'base'"):
        run("a", ["eval/ja-forms"], [make.stub(), make.stub(content="other")])
    with pytest.raises(UsageError, match="two tasks are called 'ja-forms'"):
        run("b", ["eval/ja-forms", "eval/ja-forms"], [make.stub()])
    corpora = [make.corpus("text", [], []), make.corpus("text", [], [])]
    with pytest.raises(UsageError, match="two corpora are called 'text'"):
        run("c", ["eval/ja-forms"], [make.stub(), *corpora])
    # A name of a key beside the models is no trouble: models stand under a key of their own.
    assert list(run("d", ["eval/ja-forms"], [make.stub("floors")]).facts["models"]) == ["floors"]


def test_a_dry_run_refuses_what_a_run_would_and_reads_nothing(build_run, scripted):
    def told(tasks, **options):
        return build_run(tasks, scripted(), **options).expect([])

    with pytest.raises(UsageError, match="two tasks are called 'ja-forms'"):
        told(["eval/ja-forms", "eval/ja-forms"])
    with pytest.raises(NotFound, match="v1"):
        told(["eval/ja-forms"], protocol="v1")
    # Data that is nowhere, and a model that some step has still to make.
    found = told(["eval/jnli"], models={"mine": "/there/is/no/such/folder"})
    assert found == {"tasks": 1, "protocol": "yoriai", "models from elsewhere": ["mine"]}


def test_errors_are_told_at_once_with_their_reason(
    make, build_run, yoriai_job, yoriai_registry, capfd
):
    from yoriai_eval.backends.mock import Mock

    step = build_run(["eval/ja-language"], Mock(context=20), protocol="v1.3")
    yoriai_job("scores", step, [make.stub()])
    told = capfd.readouterr().err
    assert "base on eval/ja-language: 90 of 90 answers ended by error and count as wrong" in told
    assert "fit into the context" in told


def test_a_task_without_samples_is_refused(make, scripted, build_run, yoriai_job):
    step = build_run(["eval/heldout"], scripted())
    with pytest.raises(YoriaiError, match="eval/heldout has no samples"):
        yoriai_job("scores", step, [make.stub(), make.corpus("text", [], [])])


@pytest.mark.parametrize("task", ["eval/ja-forms", "eval/heldout"])
def test_a_model_that_gives_no_number_is_named(make, scripted, build_run, yoriai_job, task):
    corpus = make.corpus("text", [("a", "ja")], [("い", "ja")])
    step = build_run([task], scripted(likelihood=lambda a, b: float("nan")))
    with pytest.raises(YoriaiError, match=r"test/base@1 gives no finite number on (ja|text)"):
        yoriai_job("scores", step, [make.stub(), corpus])


@pytest.mark.slow
def test_a_real_model_is_scored_on_everything(make, build_run, yoriai_job):
    from yoriai_eval.backends.huggingface import HuggingFace

    corpus = make.corpus("text", [("あい", "ja")], [("ファイルを開く。" * 9, "ja")])
    tasks = ["eval/heldout", "eval/ja-forms", "eval/ja-language"]
    step = build_run(tasks, HuggingFace())
    facts = yoriai_job("scores", step, [make.model(max_position_embeddings=256), corpus]).facts
    assert facts["models"]["base"]["bits_per_byte"]["text"]["ja"] > 5
    assert 0.2 < facts["models"]["base"]["tasks"]["ja-forms"]["score"] < 0.8
    assert facts["models"]["base"]["tasks"]["ja-language"]["score"] == 0.0


class FromFile(Task):
    """Questions of a file, with no fingerprint of its own."""

    form: ClassVar[str] = "generation"
    path: str

    def samples(self, artifacts):
        for number, line in enumerate(open(self.path, encoding="utf-8")):
            told = json.loads(line)
            yield Sample(id=str(number), text=told["q"], answer=told["a"])

    def shots(self, count):
        place = Path(self.path).with_name("shots.txt")
        texts = place.read_text().split() if place.exists() else []
        return [Sample(id=f"s{n}", text=text) for n, text in enumerate(texts)][:count]


def test_a_plugin_task_whose_rows_or_examples_changed_has_another_identity(tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text('{"q": "1+1=", "a": "2"}\n')
    task = FromFile(path=str(data))
    seen = [task.fingerprint(), task.fingerprint()]
    data.write_text('{"q": "1+1=", "a": "3"}\n')
    seen.append(task.fingerprint())
    (tmp_path / "shots.txt").write_text("one two")
    seen.append(task.fingerprint())
    assert seen[0] == seen[1] != ""
    assert len(set(seen)) == 3
    data.unlink()
    with pytest.raises(NotFound, match=r"data\.jsonl"):
        task.fingerprint()


def test_scores_say_the_digest_of_the_samples_that_were_asked(
    make, scripted, build_run, yoriai_job
):
    step = build_run(["eval/ja-language"], scripted())
    told = yoriai_job("scores", step, [make.stub()]).facts["models"]["base"]["tasks"]["ja-language"]
    assert told["samples_digest"] == samples_digest(JaLanguage().samples([]))


CHATS = """\
name: chats
title: examples as turns
source: written for this test
licence: CC0-1.0
prompt: {header: "計算せよ。", shot: "{input}={output}", query: "{input}="}
shot_count: 0
chat: turns
answer: {cut: "\\n", strip: true}
tasks: {}
"""


@pytest.fixture
def sums(tmp_path):
    """A YAML task of four sums with two examples, and a protocol that shows them as turns."""
    rows = [{"q": f"{n}+1", "a": str(n + 1)} for n in range(6)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = {
        "name": "sums", "licence": "CC0-1.0", "source": "made", "form": "generation",
        "data": "sums.jsonl", "text": "{q}", "answer": "{a}", "shots": [0, 1],
        "instruction": "", "metrics": ["exact_match"], "max_characters": 4,
    }  # fmt: skip
    (tmp_path / "sums.yaml").write_text(yaml.safe_dump(told))
    (tmp_path / "chats.yaml").write_text(CHATS)
    task = YamlTask(path=str(tmp_path / "sums.yaml"))
    task._entry = "eval/yaml"
    return task, str(tmp_path / "chats.yaml")


def test_each_model_is_asked_in_the_form_that_its_folder_says(
    make, build_run, yoriai_job, read_rows, sums, capsys
):
    task, chats = sums
    template = (
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    models = [
        make.model("with", template=template, max_position_embeddings=256),
        make.model("without", template=False, max_position_embeddings=256),
    ]
    scores = yoriai_job("scores", build_run([task], HuggingFace(), protocol=chats), models)
    told = {m: v["asked_with"]["chat_template"] for m, v in scores.facts["models"].items()}
    assert told == {"with": True, "without": False}
    assert "without has no chat template" in capsys.readouterr().err
    said = {row["model"]: row["prompt_sha256"] for row in read_rows(scores) if row["id"] == "2"}
    turns = (
        "[user] 計算せよ。0+1=\n[assistant] 1\n[user] 1+1=\n[assistant] 2\n[user] 2+1=\n[assistant]"
    )
    plain = "計算せよ。0+1=11+1=22+1="
    assert said == {"with": digest_bytes(turns.encode()), "without": digest_bytes(plain.encode())}
    # Two models in forms of their own can be compared, under a protocol that is a file.
    [made] = compare(contestants([(scores, "")]))
    assert made.p is not None
    assert made.notes == ["each asked in its own chat template on 4 samples"]
    assert scores.facts["protocol_outline"]["chat"] == "turns"


def test_two_protocols_of_one_name_are_two(make, build_run, yoriai_job, sums):
    task, chats = sums
    made = []
    for cut in ("\\n", "。"):
        Path(chats).write_text(CHATS.replace('"\\n"', f'"{cut}"'))
        step = build_run([task], Mock(answers=["3", "4"]), protocol=chats)
        made.append(yoriai_job(f"scores{len(made)}", step, [make.stub(f"m{len(made)}")]))
    assert identity(made[0].facts) != identity(made[1].facts)
    [found] = compare(contestants([(part, "") for part in made]))
    assert found.p is None
    assert found.notes[0].startswith("other protocol (chats (")


class AsGiven(Task):
    form: ClassVar[str] = "ranked"
    given: dict = Field({}, exclude=True)

    def samples(self, artifacts):
        yield Sample(
            **{"id": "a", "text": "問", "choices": ("甲", "乙"), "answer": 0, **self.given}
        )


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"answer": ["甲"]}, "its answer is a list"),
        ({"answer": 1.0}, "its answer is a float"),
        ({"answer": True}, "its answer is a bool"),
        ({"answer": None}, "its answer is a NoneType"),
        ({"answer": 2}, "its answer is choice 2 of 2"),
        ({"answer": -1}, "its answer is choice -1 of 2"),
        ({"choices": "甲乙"}, "its choices are a str"),
        ({"choices": (1, 2)}, "one of its choices is an int"),
        ({"answers": "甲"}, "its further answers are a str"),
        ({"text": None}, "its text is a NoneType"),
    ],
)
def test_a_sample_of_a_plugin_whose_answer_would_have_to_be_guessed_is_refused(
    make, build_run, yoriai_job, given, fault
):
    task = AsGiven(given=given)
    task._entry = "acme/as-given"
    with pytest.raises(YoriaiError, match=f"acme/as-given: sample a: {fault}"):
        yoriai_job("scores", build_run([task], Mock()), [make.stub()])
