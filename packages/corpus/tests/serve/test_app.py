"""The web application, asked as a server would ask it."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shutil
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

pytest.importorskip("starlette")

from starlette.responses import Response

from yoriai import Artifact, UsageError, YoriaiError
from yoriai.explaining import Hop
from yoriai_corpus.account.removals import LOG, name_digest
from yoriai_corpus.search.query import SearchQuery
from yoriai_corpus.search.search import SearchIndex
from yoriai_corpus.search.seen import SeenBy, Trainings
from yoriai_corpus.serve import answers, pages, server, words
from yoriai_corpus.serve.answer_cache import OVERHEAD_BYTES, AnswerCache
from yoriai_corpus.serve.app import make_app
from yoriai_corpus.serve.limits import Deadline, RequestRate, ServeLimits, TooBusy, TooOften
from yoriai_corpus.serve.served_index import ServedIndex

Make = Callable[..., Artifact]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"'>{{7*7}} \x1b[31m \u202e 猫"
ROWS = [
    {"id": "cat", "text": "吾輩は猫である。名前はまだ無い。", "licence": "CC0-1.0",
     "url": "https://example.jp/cat"},
    {"id": "bad", "text": HOSTILE, "licence": "<b>MIT</b>", "url": "javascript:alert(3)"},
    {"id": "<script>id", "text": "犬 and 猫 " * 5, "licence": "MIT"},
    {"id": "short", "text": "猫"},
]  # fmt: skip


@pytest.fixture(scope="module")
def index(make_corpus: Make, run_step: Make) -> Artifact:
    rules = [{"use": "corpus/min-length", "characters": 3}]
    return run_step("corpus/index", [make_corpus(ROWS, rules=rules)])


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: Any, path: str, *, body: bytes | None = None, kind: str = "", **headers: str
) -> Answer:
    target, _, query = path.partition("?")
    sent: list[dict[str, Any]] = []
    given = {"host": "127.0.0.1:8765", **({"content-type": kind} if kind else {}), **headers}
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET" if body is None else "POST",
        "path": target, "raw_path": target.encode(), "query_string": query.encode("latin-1"),
        "root_path": "", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 1),
        "headers": [(n.replace("_", "-").encode(), v.encode()) for n, v in given.items()],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body or b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, *rest = sent
    return Answer(
        start["status"], {n.decode(): v.decode() for n, v in start["headers"]},
        b"".join(message.get("body", b"") for message in rest),
    )  # fmt: skip


@pytest.fixture
def app(index: Artifact) -> Any:
    # Functions are compiled in the first search, which takes long on a busy machine.
    return make(index.path, search_seconds=600)


def make(*folders: Path, token: str = "", **limits: Any) -> Any:
    served = ServedIndex(folders)
    return make_app(served, limits=ServeLimits(**limits), hosts=server.LOOPBACK, token=token)


def test_the_api_answers_what_the_library_answers(app: Any, index: Artifact) -> None:
    opened = SearchIndex(index)
    found = opened.find(SearchQuery(text="猫", without=("犬",)))
    answer = ask(app, f"/api/search?q={quote('猫')}&not={quote('犬')}&limit=2").json
    assert answer["occurrences"] == found.occurrences
    assert answer["documents"] == found.documents
    assert answer["facets"] == found.facets
    assert answer["hits"] == [hit.plain() for hit in opened.page(found, limit=2)]
    (told,) = ask(app, "/api/document?name=mine/cat").json["documents"]
    assert told["text"] == ROWS[0]["text"]
    assert ask(app, "/api/document?name=https://example.jp/cat").json["documents"] == [told]
    overview = ask(app, "/api/overview").json
    assert overview["facets"]["state"] == {"dropped": 1, "kept": 3}


def test_a_trace_marks_what_stands_in_the_corpus(app: Any) -> None:
    text = "昔、吾輩は猫である。名前はと書いた。"
    data = ask(
        app, "/api/trace", body=json.dumps({"text": text}).encode(), kind="application/json"
    ).json
    (span,) = data["spans"]
    assert span["text"] == "吾輩は猫である。名前は"
    assert [place["id"] for place in span["places"]] == ["cat"]
    assert "near" not in data
    page = ask(app, "/trace", body=urlencode({"text": text}).encode())
    assert page.status == 200
    assert '<mark><a href="#span-1">吾輩は猫である。名前は</a></mark>' in page.text


def test_near_spans_are_looked_for_where_they_are_asked_for(app: Any) -> None:
    text = "昔、犬 and 猫 犬 and 猫犬 and 猫 犬と書いた。"
    body = json.dumps({"text": text}).encode()
    data = ask(app, "/api/trace?near=1", body=body, kind="application/json").json
    assert data["near_count"] == len(data["near"]) > 0
    assert ask(app, "/api/trace?near=yes", body=body, kind="application/json").status == 400
    assert ask(app, "/api/trace?far=1", body=body, kind="application/json").status == 400
    page = ask(app, "/trace?near=1&ui=en", body=urlencode({"text": text}).encode())
    assert page.status == 200
    assert "Nearly so: " in page.text


class Model:
    """A model, as far as nothing of it is opened."""

    name, kind, path = "mine/base@1", "model", Path("nowhere")
    manifest = {"inputs": [], "circumstances": {}}


class Told:
    """A registry whose one plugin knows the steps of some documents."""

    def moments(self, hook: str) -> Any:
        def told(point: Any) -> Any:
            for name in point.names:
                facts = {"name": name, "model": "mine/<b>", "of": 480}
                known = {"steps": [7, 9], "tokens": 1234} if name == "mine/cat" else {}
                yield Hop(kind="steps", says="", state="checked", by="<i>nobody</i> knows",
                          facts=facts | known)  # fmt: skip

        yield "told", told


def test_the_steps_that_saw_a_document_are_told_of_each(index: Artifact) -> None:
    model: Any = Model()
    registry: Any = Told()
    trainings = Trainings([model], [index], registry)
    app = make_app(
        ServedIndex([index.path]), limits=ServeLimits(), hosts=server.LOOPBACK, trainings=trainings
    )
    (row,) = ask(app, "/api/document?name=mine/cat").json["documents"]
    assert [(s["model"], s["steps"], s["count"], s["of"]) for s in row["seen"]] == [
        ("mine/<b>", [7, 9], 2, 480)
    ]
    page = ask(app, "/document?name=mine/cat").text
    assert "mine/&lt;b&gt;: 2 of 480 steps" in page
    assert "(7, 9), <bdi>1,234 tokens" in page or "(7, 9), 1,234 tokens" in page
    assert "was not trained on a corpus of this index" in page
    (short,) = ask(app, "/api/document?name=mine/short").json["documents"]
    assert (short["seen"][0]["count"], "not trained on" in short["seen"][0]["by"]) == (0, True)
    text = json.dumps({"text": "吾輩は猫である。名前は 犬 and 猫 犬 and"}).encode()
    spans = ask(app, "/api/trace", body=text, kind="application/json").json["spans"]
    seen = {p["id"]: p["seen"][0]["count"] for span in spans for p in span["places"]}
    assert seen == {"cat": 2, "<script>id": None}
    assert spans[0]["licences"] == {"CC0-1.0": 1}
    pasted = urlencode({"text": "吾輩は猫である。名前 犬 and 猫 犬"}).encode()
    page = ask(app, "/trace?ui=ja", body=pasted)
    assert "全 480 ステップのうち 2 ステップ</bdi> (7, 9)" in page.text
    assert "&lt;i&gt;nobody&lt;/i&gt; knows" in page.text


ADDRESSES = [
    "/", "/?q=%E7%8C%AB", "/?q=%3Cscript%3E", "/?q=%E7%8C%AB&ui=ja", "/?q=zzz",
    "/document?name=mine/bad", "/document?name=mine/%3Cscript%3Eid", "/dropped",
    "/dropped?rule=corpus/min-length", "/api", "/trace", "/?q=script&names=1", "/nowhere",
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("language", ["en", "ja"])
def test_no_page_runs_or_carries_what_a_document_says(
    app: Any, address: str, language: str
) -> None:
    answer = ask(app, address, accept_language=language)
    assert answer.status == (404 if address == "/nowhere" else 200)
    assert "<script" not in answer.text
    assert "onerror=alert" not in html.unescape(re.sub(r">[^<]*<", "><", answer.text))
    assert not re.search(r'href="\s*javascript:', answer.text)
    assert "\x1b" not in answer.text
    assert "\u202e" not in answer.text
    assert "49" not in re.sub(r"<[^>]*>", "", answer.text)  # {{7*7}}
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "style=" not in answer.text
    assert f'<html lang="{language if "ui=" not in address else "ja"}">' in answer.text


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/api/search?q=%FF", 400, "no UTF-8"),
        ("/api/search?q=" + "a" * 1001, 400, "1,001"),
        ("/api/search?q=a&sauce=b", 400, "unknown field 'sauce'"),
        ("/api/search?q=", 404, "empty query"),
        ("/api/search?q=a&limit=101", 400, "limit"),
        ("/api/search?q=a&offset=-1", 400, "offset"),
        ("/api/search?q=a" + "&or=b" * 8, 400, "9 texts"),
        ("/api/search?" + "q=a&" * 65, 400, "64 fields"),
        ("/api/document?name=nobody", 404, "no document"),
        ("/api/document", 400, "no document is named"),
        ("/api/nothing", 404, "Not Found"),
    ],
)
def test_what_cannot_be_answered_is_named(app: Any, address: str, status: int, said: str) -> None:
    answer = ask(app, address)
    assert answer.status == status
    assert said in answer.json["error"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"{", "application/json", 400, "no JSON"),
        (b"[" * 100_000, "application/json", 400, "no JSON"),
        (b'{"text": 1}', "application/json", 400, "not as it should be"),
        (b"text=%FF", "", 400, "no UTF-8"),
        (b"text=+", "", 404, "empty text"),
        (b"text=" + b"a" * 20_001, "", 400, "20,001"),
        (b"text=" + b"a" * 300_000, "", 400, "262,144 bytes"),
    ],
)
def test_a_trace_of_no_text_is_refused(
    app: Any, body: bytes, kind: str, status: int, said: str
) -> None:
    answer = ask(app, "/api/trace", body=body, kind=kind)
    assert (answer.status, said in answer.json["error"]) == (status, True)


def test_a_taken_down_document_is_served_no_more(
    make_corpus: Make, run_step: Make, index: Artifact, tmp_path: Path
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(index.path, folder)
    app = make(folder)
    assert ask(app, f"/api/search?q={quote('吾輩')}").json["occurrences"] == 1
    without = run_step("corpus/index", [make_corpus(ROWS[1:])])
    folder.rename(tmp_path / "former")
    assert ask(app, f"/api/search?q={quote('吾輩')}").status == 404
    shutil.copytree(without.path, folder)
    assert ask(app, f"/api/search?q={quote('吾輩')}").json["occurrences"] == 0
    assert ask(app, "/api/document?name=mine/cat").status == 404
    entry = {"date": "2026-11-29", "reason": "by request"}
    names = [name_digest("mine", "cat")]
    (tmp_path / LOG).write_text(json.dumps({**entry, "names_sha256": names}) + "\n")
    answer = ask(app, "/api/document?name=mine/cat")
    assert answer.status == 410
    assert "removed on 2026-11-29" in answer.json["error"]
    assert "by request" in answer.json["hint"]
    assert ask(app, "/api/document?name=mine/nobody").status == 404


def test_another_name_for_this_machine_is_refused(app: Any) -> None:
    assert ask(app, "/", host="evil.example").status == 421
    assert ask(app, "/", host="localhost:8765").status == 200
    assert ask(app, "/", host="[::1]:8765").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://evil.example/127.0.0.1:8765"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"},
    ],
)
def test_a_form_of_another_site_is_refused(app: Any, headers: dict[str, str]) -> None:
    body = urlencode({"text": "吾輩は猫である。"}).encode()
    for path in ("/trace", "/api/trace"):
        assert ask(app, path, body=body, **headers).status == 403
    own = {"origin": "http://127.0.0.1:8765", "sec_fetch_site": "same-origin"}
    assert ask(app, "/trace", body=body, **own).status == 200


def test_a_page_of_another_site_may_link_here_but_loads_nothing(app: Any) -> None:
    for mode in ("no-cors", "cors", "websocket"):
        foreign = {"sec_fetch_site": "cross-site", "sec_fetch_mode": mode}
        assert ask(app, "/api/search?q=a", **foreign).status == 403
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert ask(app, "/?q=a", **link).status == 200
    assert ask(app, "/?q=a", sec_fetch_site="none", sec_fetch_mode="navigate").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/style.css/../../pages.py",
        "//etc/passwd",
        "/static/\0.css",
        "/style.css%00",
        "/document?name=%00",
        "/document?name=../../../etc/passwd",
        "/document?name=file:///etc/passwd",
        "/dropped?rule=%00..%2f..%2f",
        "/?q=%00&source=%00&since=%00",
        "/?q=%ff",
        "/?q=a&offset=9999999999999999",
        "/?ui=../../x",
        "/?q=" + "a" * 100_000,
        "/?" + "&".join(f"or={n}" for n in range(1_000)),
    ],
)
def test_addresses_that_lead_elsewhere_are_told_in_a_page_and_read_no_file(
    app: Any, path: str
) -> None:
    answer = ask(app, path)
    assert answer.status in (200, 400, 404)
    assert "root:" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_is_said_without_the_token(index: Artifact) -> None:
    app = make(index.path, token="t" * 16)
    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": "yoriai_token=wrong"}):
        answer = ask(app, "/?q=a", **headers)
        assert answer.status == 401
        assert 'type="password"' in answer.text
    assert ask(app, "/api/overview").status == 401
    assert ask(app, "/api/overview", authorization=f"Bearer {'t' * 16}").status == 200
    assert ask(app, "/token", body=b"token=wrong").status == 401
    answer = ask(app, "/token", body=b"token=" + b"t" * 16)
    assert answer.status == 303
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert ask(app, "/", cookie=answer.headers["set-cookie"].split(";")[0]).status == 200


def test_who_asks_too_often_is_told_to_wait(index: Artifact) -> None:
    app = make(index.path, per_minute=2)
    answers = [ask(app, "/api/overview") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) > 0
    rate = RequestRate(60)
    for at in range(60):
        rate.take("a", at / 1000)
    with pytest.raises(TooOften):
        rate.take("a", 0.1)
    rate.take("b", 0.1)
    rate.take("a", 1.5)


def test_a_search_that_takes_too_long_is_given_up(index: Artifact) -> None:
    answer = ask(make(index.path, search_seconds=-1), "/api/search?q=a")
    assert (answer.status, "took more than" in answer.json["error"]) == (503, True)
    with pytest.raises(TooBusy):
        Deadline(-1)()


def test_searches_beyond_the_room_for_them_are_refused(index: Artifact) -> None:
    answer = ask(make(index.path, searches=1, waiting=-1), "/api/search?q=a")
    assert (answer.status, "wait already" in answer.json["error"]) == (503, True)


def test_a_second_server_on_a_port_is_refused_by_name() -> None:
    with server.listen("127.0.0.1", 0, unread_seconds=1) as first:
        port = first.getsockname()[1]
        with pytest.raises(YoriaiError, match=f"port {port}"):
            server.listen("127.0.0.1", port, unread_seconds=1)
        assert first.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000


def test_other_machines_are_served_only_with_a_token() -> None:
    with pytest.raises(UsageError, match="other machines"):
        server.check_open("0.0.0.0", "")
    server.check_open("0.0.0.0", "a token")
    server.check_open("127.0.0.2", "")


def test_the_description_of_the_api_names_all_its_paths(app: Any) -> None:
    described = ask(app, "/openapi.json").json
    assert described["openapi"].startswith("3.")
    for path, methods in described["paths"].items():
        body = b'{"text": "abc"}' if "post" in methods else None
        assert ask(app, path, body=body, kind="application/json" if body else "").status != 405
        page = ask(app, "/api").text
        assert path in page


def test_the_rarest_span_marks_where_two_lie_over_one_another() -> None:
    spans = [{"begin": 0, "end": 4, "bits": 1.0}, {"begin": 2, "end": 6, "bits": 9.0}]
    assert pages.marked("abcdefgh", spans) == [("ab", 1), ("cdef", 2), ("gh", 0)]


def test_every_word_is_there_in_both_languages() -> None:
    for key, both in words._WORDS.items():
        assert all(both), key
        assert both[0].count("{") == both[1].count("{"), key


def cache_of(app: Any) -> AnswerCache:
    cache: AnswerCache = app._inner.routes[0].endpoint.__self__._cache
    return cache


class Saw(Trainings):
    def __init__(self) -> None:
        self.notes = []

    def __bool__(self) -> bool:
        return True

    def saw(self, documents: Iterable[tuple[str, str]]) -> dict[str, list[SeenBy]]:
        return {name: [] for name, _ in documents}


def test_what_was_answered_before_is_answered_alike_without_a_search(
    index: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make(index.path)
    paths = (
        f"/api/search?q={quote('猫')}",
        f"/?q={quote('猫')}&ui=ja",
        "/",
        "/document?name=mine/cat",
    )
    first = [ask(app, path) for path in paths]
    for name in ("search", "overview", "document"):
        monkeypatch.delattr(answers, name)
    again = [ask(app, path) for path in paths]
    assert first == again == [ask(app, path) for path in paths]
    assert [answer.status for answer in first] == [200] * 4
    assert '<html lang="ja">' not in first[2].text
    monkeypatch.undo()
    assert '<html lang="ja">' in ask(app, "/", accept_language="ja").text


def test_nothing_is_kept_of_an_index_that_is_gone(index: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    shutil.copytree(index.path, folder)
    guard = make(folder)
    cache = cache_of(guard)
    for path in ("/?q=a", "/api/search?q=a", "/document?name=mine/cat"):
        assert ask(guard, path).status == 200
    assert cache.held_bytes > 0
    folder.rename(tmp_path / "former")
    assert ask(guard, "/document?name=mine/cat").status == 404
    assert (cache.held_bytes, len(cache._answers)) == (0, 0)


def test_refusals_and_documents_with_their_trainings_are_not_kept(index: Artifact) -> None:
    served = ServedIndex([index.path])
    app = make_app(
        served, limits=ServeLimits(query_characters=5), hosts=server.LOOPBACK, trainings=Saw()
    )
    cache = cache_of(app)
    for path, status in (("/?q=abcdefg", 400), ("/document?name=mine/cat", 200)):
        assert ask(app, path).status == status
    assert cache.held_bytes == 0


def test_the_cache_holds_no_more_bytes_than_it_may() -> None:
    cache = AnswerCache(3 * (OVERHEAD_BYTES + 101))
    state = ("one",)
    for number in range(9):
        assert cache.get(state, (str(number),)) is None
        cache.put(state, (str(number),), Response(b"x" * 100))
        cache.get(state, ("0",))
    assert cache.held_bytes == 3 * (OVERHEAD_BYTES + 101)
    assert [n for n in range(9) if cache.get(state, (str(n),))] == [0, 7, 8]
    cache.put(("other",), ("9",), Response(b""))  # made before the folders changed
    assert cache.get(state, ("9",)) is None
    cache.put(state, ("large",), Response(b"x" * 100_000))
    assert cache.held_bytes == 0
    assert cache.get(("other",), ("0",)) is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--token-file", "/dev/zero"), "no ordinary file"),
        (("--token-file", "nowhere"), "cannot be read"),
        (("--seconds", "nan"), "no finite number"),
        (("--seconds", "inf"), "range"),
        (("--searches", "9" * 20), "range"),
    ],
)
def test_what_serves_without_end_is_refused(
    index: Artifact, words: tuple[str, str], told: str, yoriai_cli: Callable[..., Any]
) -> None:
    answer = yoriai_cli("corpus", "serve", str(index.path), "--host", "0.0.0.0", *words)
    assert (answer.code, told in answer.err, "try: " in answer.err) == (2, True, True)
