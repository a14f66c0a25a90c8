"""`yoriai eval data`: list, check, get and export."""

import hashlib
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from yoriai.cli import main
from yoriai.testing import CommandResult
from yoriai_eval.sets import store

DATA = os.environ.get("YORIAI_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="YORIAI_DATA is not set")
JEMHOPQA_DEV = "7364e2e5381f1355f53109c73f8f506616b6690d686e96bba681585976f13399"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The command as a user gives it, with an empty cache, no mirror and no way out."""

    def run(*words, **environment):
        clean = {
            "YORIAI_CACHE": str(tmp_path / "cache"),
            "YORIAI_MIRROR": "",
            "YORIAI_DATA_URL": "http://127.0.0.1:9",
            "no_proxy": "*",
        }
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in (clean | environment).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                main(["eval", "data", *words])
        return CommandResult(left.value.code, *capsys.readouterr())

    return run


def states(told):
    return {(row["dataset"], row["file"]): row["state"] for row in told.json["files"]}


@pytest.fixture
def mirror(tmp_path):
    """JEMHopQA's real files, in a folder that may be written to."""
    shutil.copytree(Path(DATA, "eval/jemhopqa/corpus"), tmp_path / "mirror/jemhopqa/corpus")
    for path in (tmp_path / "mirror").rglob("*"):
        path.chmod(0o755)
    return tmp_path / "mirror"


def test_the_list_says_where_each_set_comes_from(run):
    told = run("--json")
    assert told.code == 0, told.err
    assert told.out == run("list", "--json").out
    rows = {row["name"]: row for row in told.json["datasets"]}
    assert set(rows) == set(store.origins())
    assert rows["jsem"]["licence"] == "BSD-3-Clause"
    assert len(rows["jsem"]["files"]) == 22
    assert rows["jnli"]["commit"] == "6791a5003e6deaa6fb2458bcb3aa1f58dc52ef33"
    assert "jcommonsenseqa" in run().out


def test_missing_files_are_named_and_the_exit_code_says_so(run):
    told = run("check", "jemhopqa", "--json")
    assert told.code == 3
    assert set(states(told).values()) == {"missing"}
    assert not told.json["whole"]
    told = run("check", "jemhopqa", "niilc")
    assert told.code == 3
    assert "jemhopqa: corpus/dev.json is not here" in told.err
    assert "--mirror DIR" in told.err


def test_check_and_the_option_check_are_the_same(run):
    assert run("--check", "--json").out == run("check", "--json").out
    told = run("--check", "list")
    assert told.code == 2
    assert "options belong behind 'list'" in told.err


def test_a_set_that_only_a_mirror_holds_is_missed_only_if_it_is_named(run):
    assert states(run("check", "--json"))["llm_jp_eval_protocol", "protocol.json"] == "optional"
    assert run("check", "llm_jp_eval_protocol").code == 3


def test_unknown_sets_are_refused_with_the_nearest(run):
    for words in (("check", "jsquat"), ("get", "jsquat"), ("export", "jsquat")):
        told = run(*words)
        assert told.code == 3
        assert "did you mean 'jsquad'?" in told.err


def test_a_changed_file_is_refused_by_name(run, tmp_path):
    place = tmp_path / "mirror/jemhopqa/corpus/dev.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"[]")
    for how in ({"words": ("--mirror", str(tmp_path / "mirror"))}, {"YORIAI_MIRROR": "mirror"}):
        words = how.pop("words", ())
        if "YORIAI_MIRROR" in how:
            how["YORIAI_MIRROR"] = str(tmp_path / "mirror")
        told = run("check", "jemhopqa", *words, **how)
        assert told.code == 4
        assert "jemhopqa: corpus/dev.json is not the file that was registered" in told.err
        assert hashlib.sha256(b"[]").hexdigest() in told.err
        told = run("check", "jemhopqa", "--json", *words, **how)
        assert told.code == 4
        assert states(told)["jemhopqa", "corpus/dev.json"] == "changed"
        assert run("export", "jemhopqa", *words, **how).code == 4


def test_get_without_a_network_names_every_file(run):
    told = run("get", "niilc", "--json", YORIAI_DATA_URL="none://")
    assert told.code == 3
    assert set(states(told).values()) == {"failed"}
    assert all("no web address" in row["message"] for row in told.json["files"])


def test_export_wants_a_set_with_rows_and_a_version_of_llm_jp_eval(run):
    assert run("export", "jbbq").code == 3
    told = run("export", "--protocol", "v9", "jamp")
    assert told.code == 2
    assert "'v1.3', 'oct2023'" in told.err


@needs_data
def test_whole_files_pass_the_check(run, mirror):
    told = run("check", "jemhopqa", "--mirror", str(mirror), "--json")
    assert told.code == 0, told.err
    assert set(states(told).values()) == {"ok"}
    assert "2 of 2 files are whole" in run("check", "jemhopqa", "--mirror", str(mirror)).out


@needs_data
def test_export_writes_the_published_bytes_and_nothing_else(run, mirror, yoriai_cli):
    words = ("export", "--protocol", "v1.3", "--split", "dev", "--mirror", str(mirror))
    told = yoriai_cli("eval", "data", *words, "jemhopqa")
    assert told.code == 0, told.err
    assert hashlib.sha256(told.out.encode()).hexdigest() == JEMHOPQA_DEV
    told = run("export", "--protocol", "oct2023", "--mirror", str(mirror), "jemhopqa")
    assert told.code == 0, told.err
    assert len(told.json["few_shots"]) == 4
    assert len(told.json["samples"]) == 120


@needs_data
def test_get_downloads_into_the_cache_once_and_export_reads_it_there(run, mirror, tmp_path):
    origin = store.origin("jemhopqa")
    upstream = tmp_path / "upstream"
    shutil.copytree(mirror / "jemhopqa", upstream / origin.repository / origin.commit)
    asked = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(upstream)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        told = run("get", "jemhopqa", "--json", YORIAI_DATA_URL=url)
        assert told.code == 0, told.err
        assert set(states(told).values()) == {"ok"}
        assert len(asked) == 2
        assert run("get", "jemhopqa", YORIAI_DATA_URL=url).code == 0
        assert len(asked) == 2
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    told = run("export", "--split", "dev", "jemhopqa")
    assert hashlib.sha256(told.out.encode()).hexdigest() == JEMHOPQA_DEV
    assert run("check", "jemhopqa").code == 0
