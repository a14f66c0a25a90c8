"""A served model against a small server on this machine that misbehaves by script."""

import asyncio
import contextlib
import json
import math
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Generated, NotFound, UsageError, YoriaiError

pytest.importorskip("httpx2")

from yoriai_eval.backends import client, replies
from yoriai_eval.backends.served import Served, ServedModel

PATIENCE = 3600  # seconds after which a test that would hang fails instead
KEY = "a-key-of-a-test-only"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.serve(None)

    def do_POST(self):
        self.serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def serve(self, body):
        self.server.seen.append((self.path, body, dict(self.headers)))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            made = self.server.routes[self.path](self, body)
            if made is not None:
                self.reply(*made) if isinstance(made, tuple) else self.reply(200, made)

    def reply(self, status, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple] = []
        self.connections = 0
        self.routes: dict[str, Callable] = {
            "/v1/models": lambda h, b: {"data": [{"id": "m", "max_model_len": 64}]},
            "/tokenize": lambda h, b: (404, {}),
        }

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, request, address):
        pass  # a client that goes away is part of the script

    def writes(self, answer, path="/v1/completions"):
        self.routes[path] = answer

    def asked(self, path="/v1/completions"):
        return [body for where, body, _ in self.seen if where == path]


class Still(client.Clock):
    """A clock that stands, and notes how long somebody wanted to sleep."""

    def __init__(self):
        self.sleeps = []

    def now(self):
        return 0.0

    def date(self):
        return 1_000_000_000.0

    async def sleep(self, seconds):
        self.sleeps.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def server():
    made = Server()
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def clock():
    return Still()


@pytest.fixture
def opened(server, clock):
    models = []

    def build(**keys):
        keys = {"url": f"http://127.0.0.1:{server.server_port}/v1", "timeout_seconds": 600, **keys}
        models.append(ServedModel(Served(**keys), Path("m"), clock))
        return models[-1]

    yield build
    for model in models:
        model._client.close()


def said(text, reason="stop", **more):
    return {"choices": [{"text": text, "finish_reason": reason, **more}]}


def echo(handler, body):
    return said("to " + body["prompt"])


# --- order and concurrency --------------------------------------------------------------------


def test_answers_keep_the_order_of_the_prompts_when_the_server_answers_backwards(server, opened):
    done = [threading.Event() for _ in range(5)]
    done[4].set()

    def backwards(handler, body):
        number = int(body["prompt"])
        assert done[number + 1].wait(PATIENCE)
        handler.reply(200, said(f"to {number}"))
        done[number].set()

    server.writes(backwards)
    made = opened(concurrency=4).generate(list("0123"), max_new_tokens=3)
    assert [m.text for m in made] == ["to 0", "to 1", "to 2", "to 3"]


def test_as_many_requests_as_allowed_are_under_way_and_never_more(server, opened):
    # Each reply waits for three requests to be there at the same time.
    together = threading.Barrier(3)
    lock, under_way, most = threading.Lock(), 0, 0

    def counted(handler, body):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(PATIENCE)
        with lock:
            under_way -= 1
        return said("x")

    server.writes(counted)
    made = opened(concurrency=3).generate(["p"] * 12, max_new_tokens=3)
    assert {m.ended for m in made} == {"end"}
    assert most == 3
    assert server.connections <= 4


def test_a_connection_is_kept_for_the_next_requests_and_calls(server, opened):
    server.writes(echo)
    model = opened(concurrency=1)
    for _ in range(3):
        model.generate(["p"] * 5, max_new_tokens=3)
    assert server.connections == 1


def test_it_works_where_an_event_loop_runs_already(server, opened):
    server.writes(echo)

    async def notebook():
        return opened().generate(["p"], max_new_tokens=3)

    assert asyncio.run(notebook()) == [Generated("to p", "end")]


# --- tries ------------------------------------------------------------------------------------


def failing(times, status, **headers):
    left = iter(range(times))

    def answer(handler, body):
        if next(left, None) is None:
            return said("at last")
        return handler.reply(status, {"error": {"message": "busy"}}, **headers)

    return answer


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again(server, opened, clock, status):
    server.writes(failing(2, status))
    assert opened(retries=2).generate(["p"], max_new_tokens=3) == [Generated("at last", "end")]
    assert 0.375 <= clock.sleeps[0] <= 0.5
    assert 0.75 <= clock.sleeps[1] <= 1.0


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_cannot_pass_is_not_tried_again(server, opened, clock, status):
    server.writes(failing(1, status))
    [made] = opened().generate(["p"], max_new_tokens=3)
    assert (made.text, made.ended, made.note) == ("", "error", f"{status}: busy")
    assert clock.sleeps == []


def test_one_request_that_fails_for_good_costs_no_other(server, opened):
    def answer(handler, body):
        return (500, {"error": "no"}) if body["prompt"] == "b" else echo(handler, body)

    server.writes(answer)
    made = opened(retries=2).generate(["a", "b", "c"], max_new_tokens=3)
    assert [m.text for m in made] == ["to a", "", "to c"]
    assert made[1].ended == "error"
    assert "3 tries" in made[1].note
    assert sum(body["prompt"] == "b" for body in server.asked()) == 3


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 0.0), ("Sun, 09 Sep 2001 01:46:52 GMT", 12.0)]
)
def test_the_server_says_when_to_come_back(server, opened, clock, header, seconds):
    server.writes(failing(1, 429, Retry_After=header))  # the clock stands at 01:46:40
    assert opened().generate(["p"], max_new_tokens=3)[0].text == "at last"
    assert clock.sleeps == [seconds]


def test_a_wait_of_hours_is_given_up_and_said(server, opened, clock):
    server.writes(failing(1, 429, Retry_After="7200"))
    [made] = opened().generate(["p"], max_new_tokens=3)
    assert "7200 s" in made.note
    assert clock.sleeps == []


def test_waits_double_and_differ_between_requests_but_not_between_runs():
    waits = [client.backoff(attempt, b"request") for attempt in range(8)]
    wholes = [0.5, 1, 2, 4, 8, 8, 8, 8]
    assert all(0.75 * w <= wait <= w for wait, w in zip(waits, wholes, strict=True))
    assert waits == [client.backoff(attempt, b"request") for attempt in range(8)]
    assert len({client.backoff(0, bytes([n])) for n in range(20)}) == 20


@pytest.mark.parametrize("value", ["soon", "", None, "nan", "inf", "-3"])
def test_a_header_that_says_no_time_is_no_time(value):
    assert client.retry_after(value, 0.0) in (None, 0.0)


def test_starts_are_spaced_by_requests_per_minute(server, opened, clock):
    server.writes(echo)
    opened(requests_per_minute=30, concurrency=8).generate(["p"] * 4, max_new_tokens=3)
    # One look at the models came first and took the start at 0.
    assert sorted(clock.sleeps) == [2.0, 4.0, 6.0, 8.0]


def test_starts_are_spaced_by_tokens_per_minute(server, opened, clock):
    server.writes(echo)
    prompts = ["x" * 7, "x" * 17, "x" * 27]  # with 3 tokens to write: 10, 20 and 30
    opened(tokens_per_minute=600, concurrency=1).generate(prompts, max_new_tokens=3)
    assert clock.sleeps == pytest.approx([1.0, 3.0])


# --- replies that are none --------------------------------------------------------------------

JUNK = [
    b"",
    b"<html><body>Bad gateway</body></html>",
    b"[]",
    b"{}",
    b"null",
    b'{"choices": []}',
    b'{"choices": null}',
    b'{"choices": [1]}',
    b'{"choices": {"0": 1}}',
    b'{"choices": [{"finish_reason": "stop"}]}',
    b'{"choices": [{"text": 5, "finish_reason": "stop"}]}',
    b'{"choices": [{"text": "x"}]}',
    b'{"choices": [{"text": "x", "finish_reason": null}]}',
    b'{"choices": [{"text": "x", "finish_reason": ["stop"]}]}',
    b'{"choices": [{"text": "x", "finish_reason": "abort"}]}',
    b'{"choices": [{"text": "x", "finish_reason": "stop"',
    b"[" * 100_000,
    b"\xff\xfe\x00",
]


@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_an_error_with_a_note_and_is_not_asked_for_again(server, opened, junk):
    server.writes(lambda h, b: (200, junk) if b["prompt"] == "b" else echo(h, b))
    made = opened().generate(["a", "b", "c"], max_new_tokens=3)
    assert [m.ended for m in made] == ["end", "error", "end"]
    assert made[1].note
    assert len(server.asked()) == 3


def test_a_body_that_is_not_packed_as_it_says_is_an_error(server, opened):
    server.writes(lambda h, b: h.reply(200, b"not gzip", Content_Encoding="gzip"))
    assert opened().generate(["p"], max_new_tokens=3)[0].ended == "error"


def test_a_server_that_never_answers_is_left_after_the_time_limit(server, opened):
    over = threading.Event()
    server.writes(lambda h, b: over.wait(PATIENCE) and None)
    [made] = opened(timeout_seconds=0.2, retries=1).generate(["p"], max_new_tokens=3)
    over.set()
    assert made.ended == "error"
    assert "0.2 s (2 tries)" in made.note


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_byte_at_a_time_counts_as_one_exchange_for_the_time_limit(server, opened, part):
    over = threading.Event()

    def trickle(handler, body):
        if part == "body":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.01):
            handler.wfile.write(b" ")

    server.writes(trickle)
    [made] = opened(timeout_seconds=0.3, retries=0).generate(["p"], max_new_tokens=3)
    over.set()
    assert (made.ended, made.note) == ("error", "no whole answer within 0.3 s")


def test_a_reply_without_end_is_cut_off(server, opened, monkeypatch):
    monkeypatch.setattr(client, "LARGEST_REPLY_BYTES", 2**20)

    def flood(handler, body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            handler.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")

    server.writes(flood)
    [made] = opened().generate(["p"], max_new_tokens=3)
    assert (made.ended, made.note) == ("error", "a reply of more than 1 MB")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"])
def test_a_connection_that_breaks_is_tried_again(server, opened, start):
    broken = iter([True])

    def breaks(handler, body):
        if next(broken, False):
            handler.wfile.write(start)
            handler.close_connection = True
            return None
        return said("whole")

    server.writes(breaks)
    assert opened().generate(["p"], max_new_tokens=3) == [Generated("whole", "end")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "text", "message", "content", "refusal", "finish_reason"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional={"choices": st.lists(json_values, max_size=2)}))
def test_no_reply_is_read_with_an_exception(reply):
    made = replies.written(reply, ["x"], 3)
    assert isinstance(made.text, str)
    assert made.note or made.ended in ("stop", "end", "length")


# --- how an answer ended ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (said("a", "stop"), Generated("a", "end")),
        (said("a", "stop", stop_reason="\n"), Generated("a", "stop")),
        (said("a", "stop", stop_reason=2), Generated("a", "end")),
        (said("a", "length"), Generated("a", "length")),
        (said("", "stop"), Generated("", "end")),
        (said("half", "content_filter"), Generated("half", "refused", "content filter")),
        (said("one\ntwo", "length"), Generated("one", "stop")),
        (said("abcdefgh", "stop"), Generated("abcdef", "length")),
        (said("abcdef\n", "length"), Generated("abcdef", "stop")),
        (said("abcdefg\n", "stop"), Generated("abcdef", "length")),
    ],
)
def test_each_way_to_end_is_told_apart(server, opened, reply, expected):
    server.writes(lambda h, b: reply)
    made = opened().generate(["p"], max_new_tokens=9, stop=["\n"], max_characters=6)
    assert made == [expected]


def test_a_refusal_is_no_error(server, opened):
    server.writes(
        lambda h, b: (400, {"error": {"code": "content_filter", "message": "the policy"}})
    )
    assert opened().generate(["p"], max_new_tokens=3) == [
        Generated("", "refused", "400: the policy")
    ]
    message = {"content": None, "refusal": "I would rather not"}
    server.writes(
        lambda h, b: {"choices": [{"message": message, "finish_reason": "stop"}]},
        "/v1/chat/completions",
    )
    assert opened(endpoint="chat").generate(["p"], max_new_tokens=3) == [
        Generated("", "refused", "I would rather not")
    ]


def test_requests_are_greedy_and_hold_what_was_asked(server, opened):
    server.writes(echo)
    model = opened(extra={"top_k": 1, "seed": None})
    model.generate(["P"], max_new_tokens=5, stop=["1", "2", "3", "4", "5"])
    assert server.asked() == [
        {
            "model": "m",
            "prompt": "P",
            "max_tokens": 5,
            "temperature": 0,
            "stop": ["1", "2", "3", "4"],
            "top_k": 1,
        }
    ]


def test_the_fifth_stop_text_is_cut_here(server, opened):
    server.writes(lambda h, b: said("one5two"))
    stop = ["1", "2", "3", "4", "5"]
    assert opened().generate(["p"], max_new_tokens=5, stop=stop) == [Generated("one", "stop")]


def test_a_chat_endpoint_gets_a_users_message_and_no_template(server, opened):
    reply = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}
    server.writes(lambda h, b: reply, "/v1/chat/completions")
    model = opened(endpoint="chat")
    prompt = model.render("Name it", "this")
    assert prompt == "Name it\nthis"
    assert model.generate([prompt], max_new_tokens=3) == [Generated("yes", "end")]
    assert server.asked("/v1/chat/completions")[0]["messages"] == [
        {"role": "user", "content": prompt}
    ]


TURNS = [("user", "1+1は？"), ("assistant", "2"), ("user", "1+2は？")]
MESSAGES = [{"role": role, "content": text} for role, text in TURNS]


def test_a_chat_endpoint_gets_examples_as_messages(server, opened):
    reply = {"choices": [{"message": {"content": "3"}, "finish_reason": "stop"}]}
    server.writes(lambda h, b: reply, "/v1/chat/completions")
    model = opened(endpoint="chat")
    prompts = model.chat([TURNS, TURNS[2:]])
    assert [json.loads(prompt) for prompt in prompts] == [MESSAGES, MESSAGES[2:]]
    model.generate(prompts[:1], max_new_tokens=3)
    assert server.asked("/v1/chat/completions")[0]["messages"] == MESSAGES
    server.routes["/tokenize"] = lambda h, b: {"tokens": list(range(len(b.get("messages", "a"))))}
    assert model.count(prompts) == [3, 1]


def test_a_completions_endpoint_uses_the_template_that_its_server_puts_prompts_into(server, opened):
    put = lambda h, b: {"prompt": "".join(f"<{m['content']}>" for m in b["messages"])}  # noqa: E731
    server.routes["/apply-template"] = put
    assert opened().chat([TURNS]) == ["<1+1は？><2><1+2は？>"]
    server.routes["/apply-template"] = lambda h, b: (404, {})
    assert opened().chat([TURNS]) == []
    server.routes["/apply-template"] = lambda h, b: {"prompt": "<1+1は？><1+2は？>"}
    with pytest.raises(UsageError, match="leaves out turns, the user's '1"):
        opened().chat([TURNS])


@pytest.mark.parametrize("reply", [(400, {"error": "no"}), {"prompt": 3}, [], b"<html>"])
def test_a_server_that_puts_no_prompt_into_its_template_is_an_error(server, opened, reply):
    server.routes["/apply-template"] = lambda h, b: reply
    with pytest.raises(YoriaiError, match="did not put a prompt into its template"):
        opened(retries=0).chat([TURNS])


# --- before work ------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_one_clear_error_at_once(server, opened, clock):
    server.shutdown()
    server.server_close()
    with pytest.raises(YoriaiError, match=r"no model server at http://127\.0\.0\.1") as caught:
        opened()
    assert caught.value.hint.startswith("curl http://127.0.0.1")
    assert clock.sleeps == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_one_clear_error(server, opened, status):
    server.routes["/v1/models"] = lambda h, b: (status, {"error": {"message": "bad key"}})
    with pytest.raises(YoriaiError, match="refuses access") as caught:
        opened()
    assert "api_key_variable" in caught.value.hint


def test_a_model_that_is_not_served_is_named_with_those_that_are(server, opened):
    with pytest.raises(NotFound, match="serves no model called 'other'") as caught:
        opened(model="other")
    assert caught.value.hint == "model: one of m"


@pytest.mark.parametrize("reply", [{}, {"data": 3}, {"data": [3, None]}, {"data": [{"id": 3}]}])
def test_a_list_of_models_that_is_junk_serves_none(server, opened, reply):
    server.routes["/v1/models"] = lambda h, b: reply
    with pytest.raises(NotFound):
        opened()


def test_a_server_without_a_list_of_models_is_asked_all_the_same(server, opened):
    server.routes["/v1/models"] = lambda h, b: (404, {})
    server.writes(echo)
    model = opened(model="any/name")
    assert (model.model, model.context) == ("any/name", 0)


def test_the_name_under_models_is_the_name_at_the_server(server, clock):
    server.routes["/v1/models"] = lambda h, b: {"data": [{"id": "org/name"}]}
    keys = Served(url=f"http://127.0.0.1:{server.server_port}/v1/")
    assert ServedModel(keys, Path("org/name"), clock).model == "org/name"


def test_a_busy_server_is_waited_for(server, opened, clock):
    left = iter(range(2))
    models = server.routes["/v1/models"]
    server.routes["/v1/models"] = lambda h, b: (
        models(h, b) if next(left, None) is None else (503, {"error": "loading"})
    )
    assert opened().context == 62  # two places of 64 are the server's
    assert clock.sleeps


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://127.0.0.1/v1", "http://", "http:///v1"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(UsageError, match="no address"):
        Served(url=url).open(Path("m"))


def test_a_server_that_goes_away_stops_the_run_instead_of_filling_it_with_errors(server, opened):
    server.writes(lambda h, b: setattr(h, "close_connection", True))
    model = opened(retries=0)
    assert model.generate(["p"], max_new_tokens=3)[0].ended == "error"  # it is still there
    server.routes["/v1/models"] = lambda h, b: setattr(h, "close_connection", True)
    with pytest.raises(YoriaiError, match="no model server"):
        model.generate(["p"], max_new_tokens=3)


# --- keys and addresses -----------------------------------------------------------------------


def test_the_key_is_sent_and_never_told(server, opened, monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    server.writes(lambda h, b: (400, {"error": {"message": f"what about {KEY}?"}}))
    model = opened(api_key_variable="TEST_KEY")
    [made] = model.generate(["p"], max_new_tokens=3)
    assert {headers["Authorization"] for _, _, headers in server.seen} == {f"Bearer {KEY}"}
    assert made.note == "400: what about [redacted]?"
    assert KEY not in str(model.describe())
    assert KEY not in model.backend.model_dump_json()


def test_a_key_that_is_not_set_is_asked_for(opened, monkeypatch):
    monkeypatch.delenv("TEST_KEY", raising=False)
    with pytest.raises(UsageError, match="TEST_KEY is not set"):
        opened(api_key_variable="TEST_KEY")


def test_a_login_in_the_address_is_not_told(server, opened):
    port = server.server_port
    model = opened(url=f"http://somebody:secret@127.0.0.1:{port}/v1?x=secret")
    assert model.describe() == {
        "backend": "openai",
        "url": f"http://127.0.0.1:{port}/v1",
        "model": "m",
        "endpoint": "completions",
        "start": "as the server adds it",
    }


def test_nothing_follows_a_redirect(server, opened, monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    other = Server()
    threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
    place = f"http://localhost:{other.server_port}/v1/completions"
    server.writes(lambda h, b: h.reply(307, b"", Location=place))
    [made] = opened(api_key_variable="TEST_KEY").generate(["p"], max_new_tokens=3)
    other.shutdown()
    other.server_close()
    assert (made.ended, made.note) == ("error", "it redirects to localhost, which is not followed")
    assert other.seen == []


# --- tokenizers and likelihoods ---------------------------------------------------------------

PIECES = ["<s>", "ab", "bc", "日本", *"abcdefgh xyz日本語の文。"]


def encode(text, start=True):
    """The longest piece each time; the first is the start mark."""
    ids = [0] if start else []
    while text:
        piece = max((p for p in PIECES[1:] if text.startswith(p)), key=len)
        ids.append(PIECES.index(piece))
        text = text[len(piece) :]
    return ids


def value(ids, place):
    """A made-up likelihood that depends on all that came before."""
    return -1.0 - (sum((i + 1) * x for i, x in enumerate(ids[: place + 1])) % 97) / 10


def likely(handler, body):
    """What vLLM says to echo and logprobs, with one token written."""
    prompt = body["prompt"]
    ids = encode(prompt) if isinstance(prompt, str) else prompt
    assert body["max_tokens"] == 1
    assert len(ids) < 64
    if not body.get("echo"):
        likelihood = value([*ids, PIECES.index("a")], len(ids))
        reply = said("a", logprobs={"tokens": ["a"], "token_logprobs": [likelihood]})
        return {**reply, "usage": {"prompt_tokens": len(ids)}}
    told = [None, *(value(ids, place) for place in range(1, len(ids)))]
    shown = {"token_logprobs": [*told, -0.5], "tokens": [*(PIECES[i] for i in ids), "a"]}
    text = "".join(PIECES[i] for i in ids) + "a"
    return {
        "choices": [{"text": text, "finish_reason": "length", "logprobs": shown}],
        "usage": {"prompt_tokens": len(ids)},
    }


def vllm_tokens(handler, body):
    if "messages" in body:
        return {"count": 9, "tokens": [5] * (len(body["messages"][0]["content"]) + 3)}
    ids = encode(body["prompt"])
    return {"count": len(ids), "max_model_len": 64, "tokens": ids}


def llama_tokens(handler, body):
    return {"tokens": encode(body["content"])} if "content" in body else {"tokens": []}


PAIRS = [
    ("xa", "b"),
    ("xa", "c"),
    ("ya", "c"),
    ("", "日本語"),
    ("日", "本"),
    ("日", "の"),
    ("a", ""),
]


def expected(context, others):
    """By brute force: the border is the first place where any choice differs from the context."""
    alone = encode(context)
    borders = []
    for choice in others:
        ids = encode(context + choice)
        place = 0
        while place < min(len(ids), len(alone)) and ids[place] == alone[place]:
            place += 1
        borders.append(place)
    wholes = [encode(context + choice) for choice in others]
    return [
        math.fsum(value(ids, place) for place in range(min(borders), len(ids))) for ids in wholes
    ]


TOTALS = [
    *expected("xa", ["b", "c"]),
    *expected("ya", ["c"]),
    *expected("", ["日本語"]),
    *expected("日", ["本", "の"]),
    0.0,
]


def test_likelihoods_are_of_the_pieces_after_the_border(server, opened):
    server.routes["/tokenize"] = vllm_tokens
    server.writes(likely)
    assert opened().loglikelihood(PAIRS) == pytest.approx(TOTALS, abs=1e-12)
    assert all(isinstance(body["prompt"], list) for body in server.asked()[2:])


def test_without_a_tokenizer_the_pieces_that_come_back_show_the_border(server, opened):
    server.writes(likely)
    assert opened().loglikelihood(PAIRS) == pytest.approx(TOTALS, abs=1e-12)


def test_a_text_is_read_in_windows_that_touch(server, opened):
    server.routes["/tokenize"] = vllm_tokens
    server.writes(likely)
    text = "日本語の文。xyz " * 15
    ids, total = encode(text), 0.0
    for place in range(0, len(ids) - 1, 62):  # 64, of which one is to be written
        window = ids[place : place + 63]
        total += math.fsum(value(window, i) for i in range(1, len(window)))
    assert len(ids) > 124
    assert opened().rolling_loglikelihood([text, "", "a"]) == pytest.approx(
        [total, 0.0, value([0, encode("a")[1]], 1)], abs=1e-9
    )


def test_a_text_without_a_tokenizer_is_read_whole(server, opened):
    server.writes(likely)
    ids = encode("abcabc")
    total = math.fsum(value(ids, i) for i in range(1, len(ids)))
    assert opened().rolling_loglikelihood(["abcabc", ""]) == pytest.approx([total, 0.0])


def test_pieces_that_do_not_spell_the_prompt_are_refused(server, opened):
    def half(handler, body):
        reply = likely(handler, body)
        told = reply["choices"][0]["logprobs"]
        told["tokens"] = ["\ufffd" for _ in told["tokens"]]
        return reply

    server.writes(half)
    with pytest.raises(YoriaiError, match="do not spell the prompt"):
        opened().loglikelihood([("日", "本")])


@pytest.mark.parametrize("tokens", [vllm_tokens, llama_tokens])
def test_a_server_without_likelihoods_is_named_with_what_has_them(server, opened, tokens):
    server.routes["/tokenize"] = tokens
    server.writes(lambda h, b: said("a"))
    with pytest.raises(UsageError, match="no likelihoods of a prompt") as caught:
        opened().loglikelihood(PAIRS)
    assert "eval/hf" in caught.value.hint
    assert len(server.asked()) == 1


def test_likelihoods_of_written_tokens_alone_are_not_taken_for_the_prompts(server, opened):
    def written(handler, body):  # the text comes back, and likelihoods of what was written
        text = body["prompt"] + "a" if body.get("echo") else "a"
        reply = said(text, logprobs={"tokens": ["a"], "token_logprobs": [-0.1]})
        return {**reply, "usage": {"prompt_tokens": 5}}

    server.writes(written)
    with pytest.raises(UsageError, match="no likelihoods of a prompt"):
        opened().loglikelihood([("a", "b")])


@pytest.mark.parametrize("keys", [{"endpoint": "chat"}, {"likelihoods": "none"}])
def test_likelihoods_that_cannot_be_had_are_refused_before_any_request(server, opened, keys):
    model = opened(**keys)
    for ask in (lambda: model.loglikelihood(PAIRS), lambda: model.rolling_loglikelihood(["a"])):
        with pytest.raises(UsageError) as caught:
            ask()
        assert "eval/vllm" in caught.value.hint
    assert len(server.seen) == 1


def test_likelihoods_that_are_not_those_of_the_servers_own_writing_are_refused(server, opened):
    def shifted(handler, body):  # as llama-cpp-python's server says them
        reply = likely(handler, body)
        told = reply["choices"][0]["logprobs"]
        if body.get("echo"):
            told["token_logprobs"] = [None, *told["token_logprobs"][2:], -7.0]
        return reply

    server.writes(shifted)
    with pytest.raises(UsageError, match="not those of its own writing"):
        opened().loglikelihood([("a", "b")])


def test_a_start_mark_may_be_hidden(server, opened):
    def hidden(handler, body):
        reply = likely(handler, body)
        told = reply["choices"][0]["logprobs"]
        told["tokens"] = ["" if piece == "<s>" else piece for piece in told["tokens"]]
        return reply

    server.writes(hidden)
    assert opened().loglikelihood(PAIRS) == pytest.approx(TOTALS, abs=1e-12)


@pytest.mark.parametrize("tokenizer", [True, False])
def test_a_first_piece_without_a_start_mark_has_no_likelihood(server, opened, tokenizer):
    def bare(handler, body):
        prompt = body["prompt"]
        ids = encode(prompt, start=False) if isinstance(prompt, str) else prompt
        return likely(handler, {**body, "prompt": ids})

    server.writes(bare)
    if tokenizer:
        server.routes["/tokenize"] = lambda h, b: {"tokens": encode(b["prompt"], start=False)}
    model = opened()
    assert model.loglikelihood([("ab", "c")]) == [value(encode("abc", start=False), 1)]
    with pytest.raises(UsageError, match="start mark") as caught:
        model.loglikelihood([("", "c")])
    assert "start_mark" in caught.value.hint
    marked = opened(start_mark="x")
    assert marked.loglikelihood([("", "c")]) == [value(encode("xc", start=False), 1)]
    assert marked.rolling_loglikelihood(["c"]) == [value(encode("xc", start=False), 1)]


def test_a_likelihood_that_fails_for_good_is_an_error_and_no_number(server, opened):
    server.routes["/tokenize"] = vllm_tokens
    server.writes(lambda h, b: (500, {}) if b["prompt"] == encode("xyz") else likely(h, b))
    with pytest.raises(YoriaiError, match="gave no likelihood"):
        opened(retries=0).loglikelihood([("a", "b"), ("xy", "z")])


@pytest.mark.parametrize("tokens", [vllm_tokens, llama_tokens])
def test_tokens_are_counted_by_the_servers_tokenizer(server, opened, tokens):
    server.routes["/tokenize"] = tokens
    assert opened().count(["", "ab", "日本語"]) == [1, 2, 3]


def test_a_chat_prompt_is_counted_with_its_template_or_not_at_all(server, opened):
    server.routes["/tokenize"] = vllm_tokens
    assert opened(endpoint="chat").count(["ab"]) == [5]
    server.routes["/tokenize"] = llama_tokens
    assert opened(endpoint="chat").count(["ab"]) == []


@pytest.mark.parametrize("reply", [(404, {}), {"tokens": ["a"]}, {"tokens": 3}, b"<html>"])
def test_a_server_without_a_tokenizer_counts_nothing(server, opened, reply):
    server.routes["/tokenize"] = lambda h, b: reply
    assert opened().count(["a"]) == []
