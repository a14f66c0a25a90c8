"""The sets beyond the nine: their files in upstream's form, made up here, read through a mirror."""

import io
import json
import re
import tarfile
import zipfile

import pytest
from click.testing import CliRunner

from yoriai import NotFound, UsageError
from yoriai.errors import Altered
from yoriai_eval.commands import data
from yoriai_eval.scoring import overlap, protocol
from yoriai_eval.sets import catalogue, further, knp, store
from yoriai_eval.sets.store import File
from yoriai_eval.tasks import datasets, execution
from yoriai_eval.tasks.further import JMMLU
from yoriai_eval.tasks.jhumaneval import JHumanEval

# Of tasks; a set that a probe reads (crows-pairs-ja) is tried where the probe is.
EXTRA = sorted(name for name, told in store.origins().items() if told.extra and told.task)
KNP = """\
# S-ID:wiki00000001-00 KNP:5.0 DATE:2022/04/11 SCORE:0
* 2D
+ 2D <NE:PERSON:太郎>
太郎 たろう 太郎 名詞 6 人名 5 * 0 * 0 NIL <NE:PERSON:single>
は は は 助詞 9 副助詞 2 * 0 * 0
* 2D
+ 2D <NE:ORGANIZATION:京都大学>
京都 きょうと 京都 名詞 6 地名 4 * 0 * 0
大学 だいがく 大学 名詞 6 普通名詞 1 * 0 * 0
に に に 助詞 9 格助詞 1 * 0 * 0
* -1D
+ -1D <rel type="ガ" target="太郎" sid="wiki00000001-00" id="0"/><rel type="ニ" target="大学" \
sid="wiki00000001-00" id="1"/><rel type="ヲ" target="不特定:物"/><rel type="ニ" mode="？" \
target="太郎" sid="wiki00000001-00" id="0"/>
行った いった 行く 動詞 2 * 0 子音動詞カ行促音便形 3 タ形 10
。 。 。 特殊 1 句点 1 * 0 * 0
EOS
# S-ID:wiki00000001-01 KNP:5.0
* 1D
+ 1D <rel type="=" target="太郎" sid="wiki00000001-00" id="0"/><NE:OPTIONAL:彼>
彼 かれ 彼 名詞 6 普通名詞 1 * 0 * 0
は は は 助詞 9 副助詞 2 * 0 * 0
* -1D
+ -1D <rel type="ガ" target="彼" sid="wiki00000001-01" id="0"/>
* * * 特殊 1 記号 5 * 0 * 0
学生だ がくせいだ/x 学生だ 名詞 6 普通名詞 1 * 0 * 0
EOS
"""


def zipped(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def cola(*labels):
    rows = [
        {"uid": n, "source": f"s{n // 2}", "label": label, "sentence": f"文{n}。", "original": ""}
        for n, label in enumerate(labels)
    ]
    return lines(*rows)


def moral(*labels):
    rows = [f"{n},文{n}した,{label}" for n, label in enumerate(labels)]
    return "\n".join([",sent,label", *rows, ""]).encode()


def parquet(count):
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    choices = {f"choice{c}": f"答{c}" for c in range(4)}
    rows = [
        {
            "qid": f"q{n}",
            "category": "law",
            "question": f"問{n}？",
            **choices,
            "answer_index": n % 4,
        }
        for n in range(count)
    ]
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def tarred(**files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in files.items():
            content = text.encode()
            told = tarfile.TarInfo(name)
            told.size = len(content)
            archive.addfile(told, io.BytesIO(content))
    return stream.getvalue()


def question(n, letter):
    return f'"問{n}、どれ？",甲,"乙,丙",丁,甲,{letter}\n'


def ids(name):
    return f"URL.{name}\thttp://example.org/{name}\n".encode()


def sentences(mark):
    keys = ["SNT.1.1", "SNT.1.2", "SNT.2.1", "SNT.3.1", "SNT.3.3", "SNT.3.4", "SNT.3.5"]
    return "".join(f"{key}\t{mark} {key}\n" for key in keys) + "SNT.3.2\t\n"


FILES = {
    "jcola": {
        "data/jcola-v1.0/in_domain_train-v1.0.json": cola(*([1, 0] * 10)),
        "data/jcola-v1.0/in_domain_valid-v1.0.json": cola(1, 1, 0),
        "data/jcola-v1.0/out_of_domain_valid-v1.0.json": cola(0, 1),
    },
    "commonsensemoralja": {
        "data/data_test.csv": moral(1, 0, 1, 0),
        "data/data_val.csv": moral(0, 0),
        "data/data_train.csv": moral(1, 0, 1, 0, 0),
    },
    "jmmlu": {
        "JMMLU.zip": zipped(
            **{
                "JMMLU/test/virology.csv": "\ufeff" + question(1, "A") + question(2, "B"),
                "JMMLU/test/anatomy.csv": question(3, "D"),
                "JMMLU/test/japanese_idiom.csv": question(4, "C"),
                "__MACOSX/JMMLU/test/._virology.csv": "junk",
            }
        )
    },
    "mmlu_en": {
        "data.tar": tarred(
            **{
                "data/test/virology_test.csv": question(1, "A"),
                "data/dev/virology_dev.csv": question(2, "B") * 4,
                "data/val/virology_val.csv": question(3, "C"),
                "data/auxiliary_train/race.csv": "never read",
            }
        )
    },
    "jamcqa": {
        "v1.0/test-00000-of-00001.parquet": parquet(5),
        "v1.0/dev-00000-of-00001.parquet": parquet(4),
    },
    "mgsm": {"mgsm/mgsm_ja.tsv": '「あ」は"何"個？\t2,125\n次は？\t3\n'.encode()},
    "jhumaneval": {
        "data/jhuman-eval.jsonl": lines(
            {
                "task_id": "JHumanEval/0",
                "prompt_en": "",
                "prompt": 'def twice(n):\n    """二倍する"""\n',
                "entry_point": "twice",
                "canonical_solution": "    return 2 * n\n",
                "test": "def check(f):\n    assert f(2) == 4\n    assert f(0) == 0\n",
            }
        )
    },
    "wiki_annotated": {
        "v1.1.2.zip": zipped(
            **{
                "Corpus-1.1.2/id/train.id": "wiki00000003\nwiki00000004\n",
                "Corpus-1.1.2/id/dev.id": "wiki00000002\n",
                "Corpus-1.1.2/id/test.id": "wiki00000001\n",
                **{
                    f"Corpus-1.1.2/knp/wiki0000/wiki0000000{n}.knp": KNP.replace("1-", f"{n}-")
                    for n in (1, 2, 3, 4)
                },
            }
        )
    },
    "alt": {
        further.ALT: zipped(
            **{"ALT/data_en.txt": sentences("en"), "ALT/data_ja.txt": "\ufeff" + sentences("ja")}
        ),
        "URL-test.txt": ids(1),
        "URL-dev.txt": ids(2),
        "URL-train.txt": ids(3),
    },
}


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror with all made files, and a registry that knows their rows and digests."""
    for folder, files in FILES.items():
        for path, content in files.items():
            place = tmp_path / folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    known = {}
    for name, origin in store.origins().items():
        if name not in EXTRA:
            known[name] = origin
            continue
        made = {
            path: File(sha256=store.digest_of(File(sha256="0" * 64), content)[7:])
            for path, content in FILES[origin.folder].items()
            if path in origin.files
        }
        if name == "jhumaneval":
            made = {path: file.model_copy(update={"rows": 1}) for path, file in made.items()}
        assert set(made) == set(origin.files), name
        known[name] = origin.model_copy(update={"files": made})
    monkeypatch.setattr(store, "origins", lambda: known)
    monkeypatch.setenv("YORIAI_MIRROR", str(tmp_path))
    monkeypatch.setenv("YORIAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("YORIAI_DATA_URL", "http://127.0.0.1:9")
    return tmp_path


@pytest.fixture
def task(yoriai_registry, mirror):
    def build(name, **options):
        made = yoriai_registry.load(yoriai_registry.get("tasks", f"eval/{name}"))(**options)
        made._entry = f"eval/{name}"
        return made

    return build


def told(name, split="test"):
    return [(row.input, row.output) for row in datasets.rows(name, split)]


# --- the registry -------------------------------------------------------------------------


def test_there_are_more_than_ten_sets_and_each_says_licence_and_splits():
    assert len(EXTRA) == 15
    for name in EXTRA:
        origin = store.origin(name)
        assert all((origin.licence, origin.redistribution, origin.files)), name
        assert origin.homepage.startswith("https://")
        assert "test" in origin.splits


def test_what_nobody_could_check_is_marked_in_registry_and_summary(yoriai_registry, yoriai_cli):
    for name in EXTRA:
        loose = any(file.unverified for file in store.origin(name).files.values())
        assert ("unverified" in yoriai_registry.get("tasks", f"eval/{name}").entry.summary) == loose
    rows = yoriai_cli("eval", "data", "list", "--json").json["datasets"]
    assert {row["name"]: row["unverified"] for row in rows}["alt-e-to-j"] == 4
    assert "unverified" in yoriai_cli("eval", "data", "list").out


def test_files_without_a_checksum_are_read_and_counted(mirror, monkeypatch):
    known = dict(store.origins())
    loose = {"URL-test.txt": File(unverified=True), "URL-gone.txt": File(unverified=True)}
    known["alt-e-to-j"] = known["alt-e-to-j"].model_copy(update={"files": loose})
    monkeypatch.setattr(store, "origins", lambda: known)
    assert store.read("alt-e-to-j", "URL-test.txt") == FILES["alt"]["URL-test.txt"]
    told = CliRunner().invoke(data.data, ["check", "alt-e-to-j", "--json"])
    states = [row["state"] for row in json.loads(told.stdout)["files"]]
    assert (states, told.exit_code) == (["unverified", "missing"], 3)
    with pytest.raises(NotFound, match="URL-gone"):
        store.read("alt-e-to-j", "URL-gone.txt")


def test_nobody_fetches_or_misses_them_without_a_name(mirror, monkeypatch):
    asked = []
    monkeypatch.setattr(store, "locate", lambda name, path, **_: asked.append(name) or mirror)
    CliRunner().invoke(data.data, ["get", "--json"])
    assert "jamp" in asked
    assert not set(asked) & set(EXTRA)
    (mirror / "mgsm/mgsm/mgsm_ja.tsv").unlink()
    told = CliRunner().invoke(data.data, ["check", "--json"])
    states = {row["dataset"]: row["state"] for row in json.loads(told.stdout)["files"]}
    assert (states["mgsm"], states["jamp"], states["jmmlu"]) == ("optional", "missing", "ok")


def test_addresses_hold_the_commit(monkeypatch):
    monkeypatch.delenv("YORIAI_DATA_URL", raising=False)
    assert store.origin("jmmlu").url("JMMLU.zip") == (
        "https://huggingface.co/datasets/nlp-waseda/JMMLU/resolve/"
        "341e2e126ad53eef6792a7061c6daaf44d8e0bfe/JMMLU.zip"
    )
    assert store.origin("alt-e-to-j").url("URL-test.txt") == (
        "https://www2.nict.go.jp/astrec-att/member/mutiyama/ALT/URL-test.txt"
    )
    assert store.origin("wiki_ner").url("v1.1.2.zip") == (
        "https://github.com/ku-nlp/WikipediaAnnotatedCorpus/archive/refs/tags/v1.1.2.zip"
    )


def test_another_number_of_rows_than_registered_is_refused(mirror, monkeypatch):
    known = dict(store.origins())
    files = {p: file.model_copy(update={"rows": 7097}) for p, file in known["jmmlu"].files.items()}
    known["jmmlu"] = known["jmmlu"].model_copy(update={"files": files})
    monkeypatch.setattr(store, "origins", lambda: known)
    with pytest.raises(Altered, match="has 3 rows, 7097 are registered"):
        datasets.rows("jmmlu", "test")


# --- rows ---------------------------------------------------------------------------------


def test_judgements_have_their_upstream_labels(mirror):
    assert told("jcola-in-domain") == [("文：文0。", "1"), ("文：文1。", "1"), ("文：文2。", "0")]
    assert [len(told("jcola-in-domain", split)) for split in ("train", "dev")] == [18, 2]
    assert told("jcola-out-of-domain") == [("文：文0。", "0"), ("文：文1。", "1")]
    assert told("jcola-out-of-domain", "train") == told("jcola-in-domain", "train")
    assert told("commonsensemoralja")[:2] == [("文：文0した", "1"), ("文：文1した", "0")]
    assert [len(told("commonsensemoralja", s)) for s in ("test", "dev", "train")] == [4, 2, 5]
    clusters = [row.cluster for row in datasets.rows("commonsensemoralja", "test")]
    assert clusters == ["0", "0", "1", "1"]


def test_subjects_whose_licence_is_not_free_are_left_out(mirror):
    rows = datasets.rows("jmmlu", "test")
    assert [(row.group, row.input, row.output) for row in rows] == [
        ("anatomy", "問3、どれ？", "D"),
        ("virology", "問1、どれ？", "A"),
        ("virology", "問2、どれ？", "B"),
    ]
    assert rows[0].choices == ("甲", "乙,丙", "丁", "甲")
    with pytest.raises(ValueError, match="no question with four choices"):
        further.jmmlu(zipped(**{"a/b.csv": "問,甲,乙,丙,丁,E\n"}), "JMMLU.zip")


@pytest.fixture
def clone(mirror, monkeypatch):
    """A git clone of JMMLU in the mirror, under either name, and no zip file."""
    known = dict(store.origins())
    [(path, file)] = known["jmmlu"].files.items()
    registered = File.model_validate(catalogue.read()["jmmlu"]["files"][path])
    change = {"folders": registered.folders, "rows": 3}
    files = {path: file.model_copy(update=change)}
    known["jmmlu"] = known["jmmlu"].model_copy(update={"files": files})
    monkeypatch.setattr(store, "origins", lambda: known)

    def place(name):
        root = mirror / name
        for folder, file, text in (
            ("JMMLU", "virology.csv", "\ufeff" + question(1, "A") + question(2, "B")),
            ("JMMLU", "anatomy.csv", question(3, "D")),
            ("JMMLU_NC_ND", "japanese_idiom.csv", question(4, "C")),
            (".git", "HEAD", "ref: refs/heads/main"),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / file).write_text(text, encoding="utf-8")
        return root

    return place


@pytest.mark.parametrize("name", ["jmmlu", "JMMLU"])
def test_a_git_clone_stands_for_the_zip_file_unverified(name, mirror, clone, yoriai_cli):
    of_the_file = datasets.rows("jmmlu", "test")
    before = JMMLU().fingerprint()
    (mirror / "jmmlu/JMMLU.zip").unlink()
    root = clone(name)
    assert datasets.rows("jmmlu", "test") == of_the_file
    assert JMMLU().fingerprint() != before  # not the bytes that are pinned
    for command in ("check", "get"):
        told = yoriai_cli("eval", "data", command, "jmmlu", "--json")
        [row] = json.loads(told.out)["files"]
        assert (row["state"], row["place"]) == ("unverified", str(root / "JMMLU"))
    assert JMMLU().absent() == []
    (root / "JMMLU/anatomy.csv").write_text(question(3, "C"), encoding="utf-8")
    assert datasets.rows("jmmlu", "test") != of_the_file


def test_of_a_clone_rows_are_counted_and_what_is_no_row_is_named(mirror, clone):
    (mirror / "jmmlu/JMMLU.zip").unlink()
    root = clone("jmmlu")
    (root / "JMMLU/virology.csv").write_text(question(1, "A"), encoding="utf-8")
    with pytest.raises(Altered, match="has 2 rows, 3 are registered"):
        datasets.rows("jmmlu", "test")
    (root / "JMMLU/virology.csv").write_text("問,甲,乙,丙,丁,E\n", encoding="utf-8")
    with pytest.raises(Altered, match=r"cannot be read: .*no question with four choices"):
        datasets.rows("jmmlu", "test")


def test_the_file_counts_before_a_clone_and_links_out_of_it_are_not_followed(mirror, clone):
    root = clone("jmmlu")
    assert store.look("jmmlu", "JMMLU.zip").state == "ok"
    (mirror / "jmmlu/JMMLU.zip").unlink()
    (mirror / "outside.csv").write_text(question(4, "A"), encoding="utf-8")
    (root / "JMMLU/zoology.csv").symlink_to(mirror / "outside.csv")
    assert len(datasets.rows("jmmlu", "test")) == 3


def test_mmlu_has_its_own_three_splits(mirror):
    assert [told("mmlu_en", s) for s in ("test", "dev", "train")] == [
        [("問1、どれ？", "A")],
        [("問3、どれ？", "C")],
        [("問2、どれ？", "B")] * 4,
    ]


def test_thousands_lose_their_commas(mirror):
    assert told("mgsm") == [('問題：「あ」は"何"個？', "2125"), ("問題：次は？", "3")]
    assert told("mgsm", "train") == []


def test_translations_are_cut_by_article(mirror):
    assert told("alt-e-to-j") == [("en SNT.1.1", "ja SNT.1.1"), ("en SNT.1.2", "ja SNT.1.2")]
    assert told("alt-j-to-e", "dev") == [("ja SNT.2.1", "en SNT.2.1")]
    assert len(told("alt-j-to-e", "train")) == 4  # 3.2 is empty
    assert {row.cluster for row in datasets.rows("alt-e-to-j", "test")} == {"1"}


def test_the_annotated_corpus_gives_five_golds(mirror):
    text = "文章：太郎は京都大学に行った。彼は*学生だ"
    golds = {
        "reading": "たろうはきょうとだいがくにいった。かれは*がくせいだ",
        "ner": "太郎(人名)\n京都大学(組織名)",
        "dependency": "太郎は -> 行った。\n京都大学に -> 行った。\n彼は -> *学生だ",
        "pas": "行った ガ:太郎 ニ:大学\n学生だ ガ:彼",
        "coreference": "太郎 = 彼",
    }
    for name, gold in golds.items():
        assert told(f"wiki_{name}") == [(text, gold)], name
        assert len(told(f"wiki_{name}", "dev")) == 1


def test_a_text_without_what_is_asked_for_says_so():
    document = knp.read(re.sub("<NE:[^>]*>", "", KNP.split("EOS")[0]))
    assert knp.entities(document) == knp.chains(document) == knp.NONE


@pytest.mark.parametrize(
    "text", ["太郎 たろう", "# S-ID:a-0\n太郎 た 太郎 名詞", "# S-ID:a\n+ 1D\nx"]
)
def test_a_file_that_is_not_knp_is_refused(text):
    with pytest.raises(ValueError, match=r"line \d"):
        knp.read(text)


# --- tasks --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in EXTRA if n != "jhumaneval"])
def test_every_set_is_asked_under_our_protocol(name, task):
    # The small files here hold the same rows in every split, so no example of them is fresh.
    rules = protocol.load("yoriai").model_copy(update={"fresh_shots": False})
    made = protocol.exams(rules, task(name))
    assert [exam.form for exam in made] == list(rules.tasks[name].forms)
    for exam in made:
        samples = [exam.put(sample) for sample in exam.task.samples([])]
        assert samples
        for sample in samples:
            prompt = exam.question(sample)
            assert prompt.startswith(rules.tasks[name].instruction)
            assert prompt.endswith("\n答え：")
            if exam.form == "ranked":
                assert sample.gold in sample.choices
            if exam.labels:
                assert sample.gold in exam.labels
        if name.startswith("wiki_") and name != "wiki_reading":
            assert exam.answer.cut == "\n\n"
    if name != "jmmlu":
        assert made[0].shots


@pytest.mark.parametrize("name", [n for n in EXTRA if n != "jhumaneval"])
def test_the_right_answer_scores_one_and_nonsense_less(name, task):
    one = task(name)
    if one.form != "generation":
        return
    for sample in one.samples([]):
        assert one.score(sample, sample.gold) == 1.0
        assert one.score(sample, "zzz") < 1.0


def test_letters_can_be_ranked_instead_of_texts(task):
    [first, *_] = task("jmmlu").samples([])
    assert (first.text, first.choices) == ("質問：問3、どれ？", ("甲", "乙,丙", "丁", "甲"))
    assert first.answer == 3  # two choices have the same text
    [first, *_] = task("jmmlu", style="letter").samples([])
    assert first.text == "質問：問3、どれ？\nA. 甲\nB. 乙,丙\nC. 丁\nD. 甲"
    assert (first.choices, first.answer) == (("A", "B", "C", "D"), 3)


def test_a_set_is_another_when_an_unverified_file_is(task, mirror, monkeypatch):
    known = dict(store.origins())
    files = {path: File(unverified=True) for path in known["jmmlu"].files}
    known["jmmlu"] = known["jmmlu"].model_copy(update={"files": files})
    monkeypatch.setattr(store, "origins", lambda: known)
    before = JMMLU().fingerprint()
    place = mirror / "jmmlu/JMMLU.zip"
    place.write_bytes(zipped(**{"t/anatomy.csv": question(3, "C")}))
    assert JMMLU().fingerprint() != before
    place.unlink()
    assert JMMLU().fingerprint() != before


def test_nothing_is_executed_unless_it_is_asked_for(task, mirror, monkeypatch):
    monkeypatch.setattr(execution, "run", lambda *_: pytest.fail("a program was run"))
    one = task("jhumaneval")
    assert [exam.form for exam in protocol.exams(protocol.load("yoriai"), one)] == ["gold"]
    [sample] = one.samples([])
    assert sample.gold == "    return 2 * n\n"
    with pytest.raises(UsageError, match="unless it is told to"):
        one.score(sample, "    return 2 * n\n")


def test_completions_are_run_against_the_tests(task, scripted, make, build_run, yoriai_job):
    one = task("jhumaneval", execute=True, limits={"unisolated": True})
    [sample] = one.samples([])
    assert one.scores(sample, "    return n + n\n") == {"pass_at_1": 1.0}
    assert one.scores(sample, "    return n\n") == {"pass_at_1": 0.0}
    assert one.scores(sample, "  \n") == {"pass_at_1": 0.0}
    asked = []

    def answer(prompt):
        asked.append(prompt)
        return "    return n * 2\n\ndef other():\n    raise SystemExit"

    scores = yoriai_job("scores", build_run([one], scripted(answer=answer)), [make.stub()])
    assert asked == [sample.text]  # the head of the function and nothing else
    found = scores.facts["models"]["base"]["tasks"]["jhumaneval"]
    assert (found["metric"], found["score"], found["floors"]) == ("pass_at_1", 1.0, {})
    assert "gold_bits_per_byte" in found["metrics"]
    assert found["conditions"] == {"isolation": execution.isolation()}


def test_without_isolation_the_task_is_refused_before_a_model_is_opened(task, monkeypatch):
    monkeypatch.setattr(execution, "isolation", lambda: "none")
    with pytest.raises(UsageError, match="no namespaces"):
        protocol.exams(protocol.load("yoriai"), task("jhumaneval", execute=True))


def test_a_wrong_number_of_problems_is_refused(task, mirror, monkeypatch):
    known = dict(store.origins())
    files = {p: f.model_copy(update={"rows": 164}) for p, f in known["jhumaneval"].files.items()}
    known["jhumaneval"] = known["jhumaneval"].model_copy(update={"files": files})
    monkeypatch.setattr(store, "origins", lambda: known)
    with pytest.raises(Altered, match="has 1 rows, 164 are registered"):
        list(JHumanEval().samples([]))


# --- chrF ---------------------------------------------------------------------------------

# sacrebleu 2.6.0: sentence_chrf(hypothesis, references).score / 100, default settings.
CHRF = [
    ("今日は晴れです。", ("今日は晴れです。",), 1.0),
    ("今日は雨です", ("今日は晴れです。",), 0.215214),
    ("It is raining today.", ("It rains today.",), 0.473739),
    ("昨日、会議があった。", ("昨日会議が開かれた。", "昨日会議があった。"), 0.704281),
    ("a", ("ab",), 0.555556),
]


@pytest.mark.parametrize(("prediction", "golds", "wanted"), CHRF)
def test_chrf_is_that_of_sacrebleu(prediction, golds, wanted):
    assert overlap.chrf(prediction, golds) == pytest.approx(wanted, abs=1e-6)


def test_chrf_of_hand_cases():
    assert overlap.chrf("abc def", ["abcdef"]) == 1.0  # white space is nothing
    assert overlap.chrf("abc", ["xyz"]) == overlap.chrf("", ["x"]) == overlap.chrf("x", []) == 0.0
    # "ab" to "ac": of the two orders that both have, one character of two and no pair match.
    assert overlap.chrf("ab", ["ac"]) == pytest.approx(0.25)
    assert overlap.chrf("ab", ["ac", "ab"]) == 1.0
