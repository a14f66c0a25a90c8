"""Files of data sets: found, checked, downloaded once, refused when they are not what they were."""

import contextlib
import hashlib
import os
import socket
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pydantic
import pytest

from yoriai import NotFound, UsageError, YoriaiError
from yoriai.errors import Altered
from yoriai_eval.sets import store
from yoriai_eval.sets.store import File, Origin

CONTENT = "あいう\n".encode() * 1000
PATH = "data/あ b.tsv"


def origin_of(**changes):
    told = {
        "title": "Made",
        "repository": "some/made",
        "commit": "0" * 40,
        "licence": "CC0-1.0",
        "redistribution": "yes",
        "homepage": "https://example.org",
        "folder": "made",
        "files": {
            PATH: {"bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()},
            "blob.txt": {"git_blob": "ce013625030ba8dba906f756967f9e9ca394464a"},
        },
    }
    return Origin.model_validate(told | changes)


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty cache, no mirror, a registry of one set, no pauses, no proxy."""
    monkeypatch.setenv("YORIAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("YORIAI_MIRROR", raising=False)
    monkeypatch.setenv("YORIAI_DATA_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(store, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(store, "_unreachable", {})
    monkeypatch.setattr(store, "origins", lambda: {"made": origin_of()})
    return tmp_path


@pytest.fixture
def server(monkeypatch):
    """Answers requests by ``plan``: one (status, headers, body) after the other, the last stays."""

    class Handler(BaseHTTPRequestHandler):
        plan: list = []
        asked: list = []

        def do_GET(self):
            self.asked.append(self.path)
            status, headers, body = self.plan[min(len(self.asked), len(self.plan)) - 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    Handler.plan, Handler.asked = [], []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("YORIAI_DATA_URL", f"http://127.0.0.1:{running.server_port}")
    yield Handler
    running.shutdown()
    thread.join()
    running.server_close()


def whole(content=CONTENT):
    return (200, {"Content-Length": str(len(content))}, content)


def kept(root: Path):
    return [path for path in (root / "cache").rglob("*") if path.is_file()]


def put(root: Path, content=CONTENT, path=PATH):
    place = root / "made" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


# --- the registry -------------------------------------------------------------------------


def test_digests_are_those_of_sha256_and_of_git():
    assert store.digest_of(File(sha256="0" * 64), b"") == (
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    # What `git hash-object` says of an empty file and of "hello\n".
    blob = File(git_blob="0" * 40)
    assert store.digest_of(blob, b"") == "git-blob:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert store.digest_of(blob, b"hello\n") == "git-blob:ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize(
    "told", [{}, {"sha256": "0" * 64, "git_blob": "0" * 40}, {"sha256": "0" * 63}, {"md5": "0"}]
)
def test_a_file_is_pinned_by_exactly_one_digest(told):
    with pytest.raises(pydantic.ValidationError):
        File.model_validate(told)


def test_the_registry_names_a_full_commit_and_https_for_all_that_is_downloaded(monkeypatch):
    monkeypatch.undo()
    monkeypatch.delenv("YORIAI_DATA_URL", raising=False)
    found = store.origins()
    assert {"jamp", "janli", "jnli", "jsem", "jsick", "jemhopqa", "niilc", "jsquad"} <= set(found)
    for name, origin in found.items():
        assert origin.folder, name
        if origin.download:
            if not all(file.unverified for file in origin.files.values()):
                assert len(origin.commit) == 40, name
            for path in origin.files:
                url = origin.url(path)
                base = origin.address or "https://raw.githubusercontent.com/"
                assert url.startswith(f"{base.partition('{')[0]}{origin.repository}/")
                assert url.endswith(path)
    [train] = [p for p in found["jnli"].files if "train" in p]
    assert found["jnli"].files[train].checksum.startswith("git-blob:14d9948a")


@pytest.mark.skipif(not os.environ.get("YORIAI_DATA"), reason="YORIAI_DATA is not set")
def test_the_registered_sizes_and_digests_are_those_of_the_files(monkeypatch):
    monkeypatch.undo()
    roots = [Path(os.environ["YORIAI_DATA"], name) for name in ("eval", "tuning")]
    absent = []
    for name, origin in store.origins().items():
        if origin.extra:
            continue
        for path, known in origin.files.items():
            found = store.look(name, path, given=roots)
            if found.state == "missing":
                absent.append(path)
                continue
            assert found.state == "ok", path
            assert found.place.stat().st_size == known.bytes
    assert absent == ["datasets/jnli-v1.1/train-v1.1.json", "datasets/jsquad-v1.1/train-v1.1.json"]


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(NotFound, match="no data set 'mad'") as told:
        store.locate("mad", PATH)
    assert "made" in told.value.hint
    with pytest.raises(NotFound, match=r"no file of made 'blob\.tx'") as told:
        store.locate("made", "blob.tx")
    assert "blob.txt" in told.value.hint


def test_a_path_out_of_the_folder_is_no_file_of_the_set():
    with pytest.raises(NotFound):
        store.locate("made", "../../etc/passwd")


# --- mirrors and cache --------------------------------------------------------------------


def test_a_file_is_found_in_mirrors_first_then_in_the_cache(places, monkeypatch):
    one, other = places / "one", places / "other"
    in_cache = put(places / "cache" / "eval")
    in_other = put(other)
    one.mkdir()
    assert store.locate("made", PATH) == in_cache
    assert store.locate("made", PATH, given=[one, other]) == in_other
    monkeypatch.setenv("YORIAI_MIRROR", f"{one}{os.pathsep}{other}")
    assert store.locate("made", PATH) == in_other
    assert store.read("made", PATH) == CONTENT


def test_a_mirror_that_is_no_folder_is_refused(places, monkeypatch):
    with pytest.raises(UsageError, match="is no folder"):
        store.locate("made", PATH, given=[places / "absent"])
    monkeypatch.setenv("YORIAI_MIRROR", str(places / "absent"))
    with pytest.raises(UsageError, match="is no folder"):
        store.locate("made", PATH)


def test_a_changed_file_is_refused_by_name_even_if_the_cache_has_a_good_one(places):
    put(places / "cache" / "eval")
    changed = put(places / "mirror", CONTENT[:-1] + b"x")
    with pytest.raises(Altered) as told:
        store.locate("made", PATH, given=[places / "mirror"])
    message = told.value.message
    assert PATH in message
    assert hashlib.sha256(CONTENT).hexdigest() in message
    assert hashlib.sha256(changed.read_bytes()).hexdigest() in message
    assert str(changed) in told.value.hint


def test_a_corrupt_cache_file_is_refused_and_the_hint_repairs_it(places):
    place = put(places / "cache" / "eval", b"")
    with pytest.raises(Altered) as told:
        store.locate("made", PATH)
    assert f"rm {place}" in told.value.hint
    assert "yoriai eval data get made" in told.value.hint


def test_a_file_that_changes_between_two_uses_is_noticed(places):
    place = put(places / "mirror")
    assert store.locate("made", PATH, given=[places / "mirror"]) == place
    stat = place.stat()
    place.write_bytes(CONTENT[:-1] + b"!")
    os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(Altered):
        store.locate("made", PATH, given=[places / "mirror"])


def test_an_unchanged_file_is_digested_once_in_a_process(places, monkeypatch):
    put(places / "mirror")
    store.locate("made", PATH, given=[places / "mirror"])
    monkeypatch.setattr(store, "digest_of", lambda *arguments: pytest.fail("digested again"))
    store.locate("made", PATH, given=[places / "mirror"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error_in_words(places):
    put(places / "mirror").chmod(0)
    with pytest.raises(YoriaiError, match="cannot be read"):
        store.locate("made", PATH, given=[places / "mirror"])


def test_a_set_that_is_only_in_mirrors_is_never_asked_for(server, monkeypatch):
    monkeypatch.setattr(store, "origins", lambda: {"made": origin_of(download=False)})
    with pytest.raises(NotFound, match="upstream has no such file") as told:
        store.locate("made", PATH)
    assert f"made/{PATH}" in told.value.hint
    assert server.asked == []


def test_the_cache_has_a_place_without_being_told_one(monkeypatch):
    monkeypatch.delenv("YORIAI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert store.cache_folder() == Path("/x/yoriai/eval")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/y")
    assert store.cache_folder() == Path("/y/.cache/yoriai/eval")


# --- downloading --------------------------------------------------------------------------


def test_a_file_is_downloaded_once_by_its_commit_and_kept(server, places):
    server.plan = [whole()]
    first = store.locate("made", PATH)
    assert first == places / "cache/eval/made" / PATH
    assert store.locate("made", PATH) == first
    assert server.asked == [f"/some/made/{'0' * 40}/data/%E3%81%82%20b.tsv"]
    assert kept(places) == [first]


def test_a_file_known_by_its_git_blob_is_checked_by_it(server):
    server.plan = [whole(b"hello\n")]
    assert store.read("made", "blob.txt") == b"hello\n"
    server.asked.clear()
    server.plan = [whole(b"hullo\n")]
    store.locate("made", "blob.txt").unlink()
    with pytest.raises(Altered, match="git-blob:ce013625"):
        store.locate("made", "blob.txt")


def test_threads_that_want_the_same_file_make_one_request(server):
    server.plan = [whole()]
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(store.locate("made", PATH))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == len(server.asked) == 1


@pytest.mark.parametrize(
    "broken",
    [
        (200, {"Content-Length": str(len(CONTENT))}, CONTENT[:100]),
        (200, {}, CONTENT[:100]),
        (503, {}, b"busy"),
        (429, {}, b"slowly"),
    ],
    ids=["cut short", "cut short without a length", "503", "429"],
)
def test_a_transfer_that_breaks_is_tried_again_twice(server, places, broken):
    server.plan = [broken, broken, whole()]
    assert store.read("made", PATH) == CONTENT
    assert len(server.asked) == 3
    server.asked.clear()
    server.plan = [broken]
    kept(places)[0].unlink()
    with pytest.raises(NotFound) as told:
        store.locate("made", PATH)
    assert len(server.asked) == 3
    assert PATH in told.value.message
    assert "http://127.0.0.1" in told.value.message
    assert "--mirror DIR" in told.value.hint
    assert kept(places) == []


def test_wrong_content_is_refused_and_not_kept(server, places):
    server.plan = [whole(b"x" * len(CONTENT))]
    with pytest.raises(Altered, match="nothing was kept") as told:
        store.locate("made", PATH)
    assert hashlib.sha256(CONTENT).hexdigest() in told.value.message
    assert kept(places) == []
    assert len(server.asked) == 1


def test_a_page_that_is_gone_is_not_asked_for_again(server, places):
    server.plan = [(404, {}, b"")]
    with pytest.raises(NotFound, match="404") as told:
        store.locate("made", PATH)
    assert f"made/{PATH}" in told.value.hint
    assert "YORIAI_MIRROR" in told.value.hint
    assert len(server.asked) == 1
    assert kept(places) == []


@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(10 * len(CONTENT))}])
def test_more_than_is_wanted_is_not_read(server, places, headers):
    server.plan = [(200, headers, CONTENT * 10)]
    with pytest.raises(NotFound, match=str(len(CONTENT))):
        store.locate("made", PATH)
    assert kept(places) == []


def test_a_file_of_unknown_size_has_a_limit(server, monkeypatch):
    monkeypatch.setattr(store, "LIMIT_BYTES", 5)
    server.plan = [whole(b"hello\n")]
    with pytest.raises(NotFound, match="at most 5"):
        store.locate("made", "blob.txt")


def test_a_transfer_that_takes_too_long_is_given_up(server, monkeypatch):
    monkeypatch.setattr(store, "TRANSFER_SECONDS", -1.0)
    server.plan = [whole()]
    with pytest.raises(NotFound, match="takes longer"):
        store.locate("made", PATH)


def test_without_a_network_the_error_names_set_path_address_and_remedy(monkeypatch):
    asked = []

    def nobody(request, timeout):
        asked.append(timeout)
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr(urllib.request, "urlopen", nobody)
    with pytest.raises(NotFound) as told:
        store.locate("made", PATH)
    for part in ("made", PATH, "http://127.0.0.1:9/some/made", "Name or service not known"):
        assert part in told.value.message
    assert "--mirror DIR or YORIAI_MIRROR" in told.value.hint
    assert asked == [store.SOCKET_SECONDS]


@pytest.fixture
def hanging(monkeypatch):
    """A server that takes connections and never says a word; the count of connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken = []

    def take():
        with contextlib.suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    monkeypatch.setattr(store, "SOCKET_SECONDS", 0.05)
    monkeypatch.setenv("YORIAI_DATA_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    yield taken
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in taken:
        connection.close()


def test_only_the_first_file_waits_for_a_silent_host(hanging, places, monkeypatch):
    for path in (PATH, "blob.txt", PATH):
        with pytest.raises(NotFound) as told:
            store.locate("made", path)
        assert "127.0.0.1:" in told.value.message
        assert "cannot be reached: nothing came within" in told.value.message
        assert "--mirror DIR or YORIAI_MIRROR" in told.value.hint
    assert len(hanging) == 1
    monkeypatch.setattr(store, "SILENCE_SECONDS", -1.0)
    with pytest.raises(NotFound):
        store.locate("made", PATH)
    assert len(hanging) == 2


def test_a_host_that_refuses_is_tried_again_twice_and_then_left_alone(monkeypatch):
    asked = []

    def refuse(request, timeout):
        asked.append(request.full_url)
        raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for path in (PATH, "blob.txt"):
        with pytest.raises(NotFound, match=r"127\.0\.0\.1:9: it cannot be reached.*refused"):
            store.locate("made", path)
    assert len(asked) == store.ATTEMPTS


def test_a_server_that_is_there_is_asked_for_every_file(server, places):
    server.plan = [(404, {}, b""), whole()]
    with pytest.raises(NotFound, match="404"):
        store.locate("made", "blob.txt")
    assert store.read("made", PATH) == CONTENT


def test_a_length_that_is_no_number_is_passed_over(server, places):
    server.plan = [(200, {"Content-Length": "junk", "Connection": "close"}, CONTENT)]
    assert store.read("made", PATH) == CONTENT


def test_an_address_that_is_no_web_address_is_not_opened(places, monkeypatch):
    (places / "some").mkdir()
    monkeypatch.setenv("YORIAI_DATA_URL", places.as_uri())
    with pytest.raises(NotFound, match="no web address"):
        store.locate("made", PATH)
