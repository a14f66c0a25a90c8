"""The command: from artifacts to files, and nothing else touched."""

import json
import re
import tracemalloc
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from yoriai import NotFound, Refused, UsageError, artifact
from yoriai.errors import Altered
from yoriai.redaction import Redactor
from yoriai_eval.backends.mock import Mock
from yoriai_eval.commands import report as command
from yoriai_eval.report import sample_pages
from yoriai_eval.report import write as report

ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "p", "a", "h1", "nav", "b", "input", "label",
    "div", "table", "tbody", "tr", "th", "td", "small", "code", "bdi", "br",
}  # fmt: skip


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.tags, self.links, self.rows, self.text = [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.tags.append(tag)
        if told.get("href"):
            self.links.append(told["href"])
        if tag == "tr" and told.get("class", "").startswith("is-"):
            self.rows.append(told["class"].removeprefix("is-"))

    def handle_data(self, data):
        self.text += data


def row(number, output="はい", reason="correct", **more):
    return {
        "model": "base", "task": "eval/jamp", "form": "generation", "id": f"test/{number}",
        "group": "", "prompt_sha256": f"{number:064d}", "shots": 4, "output": output,
        "ended": "end", "answer": output[:20], "reason": reason,
        "scores": {"exact_match": float(reason == "correct")}, "score": float(reason == "correct"),
        **more,
    }  # fmt: skip


def told(count):
    return {"metric": "exact_match", "score": 0.5, "interval": [0.4, 0.6], "samples": count,
            "reasons": {"correct": count}, "metrics": {"exact_match": 0.5},
            "floors": {"majority": 0.3}}  # fmt: skip


@pytest.fixture
def sealed(tmp_path):
    """A scores artifact (or another kind) of these facts and rows."""
    numbers = iter(range(99))

    def make(rows=(), facts=None, kind="scores", name="scores", inputs=()):
        rows = list(rows)
        out = tmp_path / f"out{next(numbers)}"
        out.mkdir()
        with (out / "samples.jsonl").open("w", encoding="ascii") as stream:
            stream.writelines(json.dumps(r) + "\n" for r in rows)
        base = {"protocol": "v1.3", "split": "test", "limit": 0, "floors": {}}
        identity = {
            "kind": kind, "name": f"t/{name}@1", "step": "", "config": {}, "code": [], "seed": 0,
            "outside": {}, "inputs": [{"name": a.name, "digest": a.digest} for a in inputs],
            "sources": [], "licence": "",
            "facts": {**base, "base": {"tasks": {"jamp": told(len(rows))}}}
            if facts is None else facts,
        }  # fmt: skip
        target = tmp_path / "made" / f"{name}{next(numbers)}@1"
        return artifact.seal(out, target, identity=identity, circumstances={})

    return make


def snapshot(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture
def scored(make, build_run, yoriai_job):
    """Two real runs of small tasks with the mock backend, of the same protocol."""

    def run(name, answers, likelihood="length"):
        tasks = ["eval/ja-forms", "eval/ja-language", "eval/heldout"]
        corpus = make.corpus("text", [("あいう", "ja")], [("春はあけぼの", "ja"), ("plain", "en")])
        step = build_run(tasks, Mock(answers=answers, likelihood=likelihood), limit=60)
        return yoriai_job(name, step, [make.stub(f"model-{name}"), corpus])

    return run


def test_the_report_of_two_runs_by_command(scored, tmp_path):
    runs = [scored("a", ["日本語"]), scored("b", ["英語"], "seeded")]
    out = tmp_path / "report"
    words = [str(r.path) for r in runs]
    done = CliRunner().invoke(command.report, [*words, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert [m["model"] for m in answer["tables"][0]["models"]] == ["model-a", "model-b"]
    assert len(answer["tables"]) == 1
    assert answer == json.loads((out / "report.json").read_bytes())
    # Rows of both runs: 60 and 60 samples of two tasks, and two texts.
    assert answer["samples"] == 2 * (60 + 60 + 2)
    found = list(out.rglob("*.html"))
    assert len(found) == answer["pages"]
    for path in found:
        for link in Page(path).links:
            assert (path.parent / link).resolve().is_file(), link
    text = Page(out / "en.html").text
    assert "text.ja" in text
    assert "gzip" in text
    assert "ja-forms" in text
    assert "ranks by paired tests" in text


def test_the_same_artifacts_give_the_same_bytes_and_nothing_outside_is_written(scored, tmp_path):
    run = scored("a", ["日本語", "<b>"])
    before = snapshot(tmp_path)
    report.write([run], tmp_path / "one")
    report.write([run], tmp_path / "two")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    report.write([run], tmp_path / "one")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    after = snapshot(tmp_path)
    assert {k: v for k, v in after.items() if not k.startswith(("one/", "two/"))} == before
    for name, data in snapshot(tmp_path / "one").items():
        assert str(tmp_path).encode() not in data, name


def test_a_replaced_report_keeps_no_old_page_and_loses_no_foreign_file(sealed, tmp_path):
    out = tmp_path / "report"
    report.write([sealed([row(n) for n in range(450)])], out)
    assert len(list(out.glob("samples/*/*.html"))) == 3
    (out / "CNAME").write_text("example.org")
    report.write([sealed([row(0)])], out)
    assert len(list(out.glob("samples/*/*.html"))) == 1
    assert (out / "CNAME").read_text() == "example.org"


def test_a_folder_that_is_no_report_is_refused_and_left_alone(sealed, tmp_path):
    scores = sealed([row(0)])
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    (out / "report.json").write_text('{"kind": "something else"}')
    done = CliRunner().invoke(command.report, [str(scores.path), "--out", str(out)])
    assert isinstance(done.exception, Refused)
    assert sorted(p.name for p in out.iterdir()) == ["report.json", "thesis.tex"]
    inside = scores.path / "report"
    done = CliRunner().invoke(command.report, [str(scores.path), "--out", str(inside)])
    assert isinstance(done.exception, UsageError)
    assert not inside.exists()


def test_links_out_of_the_report_are_not_followed(sealed, tmp_path):
    scores, out, elsewhere = sealed([row(0)]), tmp_path / "report", tmp_path / "elsewhere"
    report.write([scores], out)
    elsewhere.mkdir()
    (elsewhere / "mine.html").write_text("mine")
    (out / "samples" / "9").symlink_to(elsewhere)
    with pytest.raises(Refused, match="is a link"):
        report.write([scores], out)
    assert (elsewhere / "mine.html").read_text() == "mine"


def test_bad_input_is_refused_before_the_old_report_is_touched(sealed, tmp_path):
    out = tmp_path / "report"
    report.write([sealed([row(0)])], out)
    before = snapshot(out)
    broken = sealed([row(0), row(1)])
    path = broken.path / "samples.jsonl"
    path.write_bytes(path.read_bytes().replace(b"test/1", b"test/7"))
    with pytest.raises(Altered, match="other bytes"):
        report.write([broken], out)
    path.write_bytes(b"no row\n")
    with pytest.raises(Altered, match=":1 is no sample"):
        report.write([broken], out)
    with pytest.raises(NotFound, match="is a corpus"):
        report.write([sealed(kind="corpus", facts={})], out)
    with pytest.raises(NotFound, match="no scores"):
        report.write([], out)
    assert snapshot(out) == before


def test_rows_are_paged_in_order_and_filtered_by_reason(sealed, tmp_path):
    reasons = ["correct", "wrong", "truncated"]
    rows = [row(n, reason=reasons[n % 3]) for n in range(450)]
    report.write([sealed(rows)], tmp_path / "r")
    found = [Page(p) for p in sorted((tmp_path / "r" / "samples" / "1").glob("*.html"))]
    assert [len(page.rows) for page in found] == [200, 200, 50]
    assert [r for page in found for r in page.rows] == [r["reason"] for r in rows]
    assert re.findall(r"test/\d+", "".join(p.text for p in found)) == [r["id"] for r in rows]
    assert all(r["prompt_sha256"][:16] in found[0].text for r in rows[:200])
    style = (tmp_path / "r" / "en.html").read_text()
    for reason in reasons:
        assert f"#f-{reason}:checked ~ .wide tr:not(.is-{reason})" in style


HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "\u202etxt.exe\u2066 \u0639\u0631\u0628\u064a",
    "nul \x00 escape \x1b[31m",
    "half \ud800 pair \udfff",
    "x" * 1_000_000,
    "]]> --> <!-- &lt;b&gt; javascript:alert(1)",
    "",
]


def test_no_output_can_become_part_of_a_page(sealed, tmp_path):
    rows = [
        row(n, output, reason="wrong", group=output[:40], note=output, gold=output)
        for n, output in enumerate(HOSTILE)
    ]
    report.write([sealed(rows)], tmp_path / "r")
    (path,) = (tmp_path / "r").glob("samples/*/*.html")
    data = path.read_bytes()
    text = data.decode("utf-8")
    assert set(Page(path).tags) <= ALLOWED
    assert "script-src 'none'" in text
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e\u2066-\u2069]", text)
    assert "⟦U+D800⟧" in text
    assert "⟦U+0000⟧" in text
    assert len(data) < 60_000
    assert "1,000,000 characters" in text


def test_notes_and_settings_lose_their_paths(sealed, tmp_path):
    facts = {"protocol": "v1.3", "split": "test", "limit": 0, "floors": {},
             "base": {"tasks": {"jamp": told(1)},
                      "asked_with": {"backend": "vllm", "folder": "/srv/models/base"}}}  # fmt: skip
    scores = sealed([row(0, note="no file /srv/models/base/x.bin", reason="errored")], facts)
    report.write([scores], tmp_path / "r")
    for name, data in snapshot(tmp_path / "r").items():
        assert b"/srv" not in data, name
    assert "no file …/x.bin" in next((tmp_path / "r").glob("samples/*/*.html")).read_text()


def test_names_that_no_file_can_have_become_files(sealed, tmp_path):
    rows = [row(0, model="../../etc/x"), row(1, model="日本語"), row(2, model="a" * 300)]
    rows += [row(3, model="Ab"), row(4, model="ab"), row(5, model="")]
    models = {r["model"] or " ": {"tasks": {"jamp": told(1)}} for r in rows}
    facts = {"protocol": "v1.3", "split": "test", "limit": 0, "floors": {}, **models}
    report.write([sealed(rows, facts)], tmp_path / "r")
    names = [p.name for p in (tmp_path / "r" / "samples" / "1").iterdir()]
    assert len({n.lower() for n in names}) == 6
    assert all(re.fullmatch(r"[a-z0-9._-]{1,100}", n) for n in names)


def test_rows_of_one_exam_that_do_not_stand_together_are_refused(sealed, tmp_path):
    rows = [row(0), row(1, task="eval/jnli"), row(2)]
    with pytest.raises(Exception, match="do not stand together"):
        report.write([sealed(rows)], tmp_path / "r")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    def peak(count):
        def rows():
            return (row(n, "長い出力" * 50) for n in range(count))

        tracemalloc.start()
        tallies = sample_pages.survey(rows(), "1")
        sample_pages.write(tmp_path / str(count), rows(), tallies, Redactor({}))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(200)  # caches
    assert peak(4000) < 1.3 * peak(400)


def test_a_contamination_artifact_adds_halves_and_a_stranger_is_named(sealed, tmp_path, capsys):
    scores = sealed([row(0)])
    half = {"score": 0.25, "interval": [0.1, 0.4], "samples": 40}
    halves = {"clean": half, "dirty": {**half, "score": 0.75}}
    counts = {"samples": 50, "exact": 10, "near": 0, "dirty": 10}
    facts = {"tasks": {"jamp": counts}, "scores": {"base": {"jamp": halves}}}
    ledger = sealed(kind="contamination", facts=facts, name="overlap", inputs=[scores])
    report.write([scores, ledger], tmp_path / "r")
    text = Page(tmp_path / "r" / "en.html").text
    assert "25.0 (10.0–40.0; 40)" in text
    assert "+50" in text
    capsys.readouterr()
    other = sealed([row(1)])
    report.write([other, ledger], tmp_path / "r")
    assert "made from other scores" in capsys.readouterr().err
    assert "25.0 (10.0–40.0; 40)" not in Page(tmp_path / "r" / "en.html").text


def test_beyond_what_memory_should_hold_intervals_decide_the_ranks(scored, tmp_path, monkeypatch):
    runs = [scored("a", ["日本語"]), scored("b", ["英語"])]
    monkeypatch.setattr(report, "MOST_TESTED", 100)
    report.write(runs, tmp_path / "r")
    text = Page(tmp_path / "r" / "en.html").text
    assert "ranks by whether intervals overlap" in text
    assert "ranks by paired tests" not in text
