"""Connections whose other end is silent, at a real server on the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from yoriai_corpus.serve import server
from yoriai_corpus.serve.limits import ServeLimits

LARGE = b"x" * 2**20


async def app(scope: Any, receive: Any, send: Any) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    pieces = 64 if scope["path"] == "/large" else 0
    for _ in range(pieces):
        await send({"type": "http.response.body", "body": LARGE, "more_body": True})
    await send({"type": "http.response.body", "body": b"end"})


@contextlib.contextmanager
def serving(**more: int) -> Iterator[int]:
    limits = ServeLimits(unread_seconds=1, **more)
    with server.listen("127.0.0.1", 0, unread_seconds=1) as listening:
        made = server.make_server(app, limits)
        thread = threading.Thread(target=made.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            made.should_exit = True
            thread.join()


def answered(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    return len(connection.getresponse().read())


def test_who_never_reads_is_cut_off_and_others_are_answered() -> None:
    with serving() as port:
        with socket.create_connection(("127.0.0.1", port)) as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            assert answered(port, "/") == 3
            # The kernel tells of the cut by an error, or an end, once what it holds was read.
            with contextlib.suppress(ConnectionError):
                event = threading.Event()
                while silent.send(b"\r\n"):
                    event.wait(0.05)
            total = 0
            with contextlib.suppress(ConnectionError):
                while data := silent.recv(2**16):
                    total += len(data)
            assert total < 64 * len(LARGE)
        assert answered(port, "/large") == 64 * len(LARGE) + 3


def test_who_never_asks_is_cut_off() -> None:
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"GET / HT")
        with contextlib.suppress(ConnectionError):
            assert silent.recv(10) == b""
        assert answered(port, "/") == 3


@pytest.mark.parametrize(
    "begun",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT",
    ],
    ids=["body", "chunks", "second request"],
)
def test_who_never_ends_a_request_is_cut_off_however_often_a_byte_comes(begun: bytes) -> None:
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(begun)
        ended = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.1):
                    slow.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        with contextlib.suppress(ConnectionError):
            while slow.recv(2**16):
                pass
        ended.set()
        dripping.join()
        assert answered(port, "/") == 3


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000,
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"GET / HTTP/1.1\nHost: a\r\nX: a\r\n b\0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_is_no_http_is_refused_and_others_are_answered(sent: bytes) -> None:
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as wrong:
        with contextlib.suppress(ConnectionError):
            wrong.sendall(sent)
            assert wrong.recv(100).startswith(b"HTTP/1.1 400")
        assert answered(port, "/") == 3


def test_connections_beyond_the_room_are_told_so_and_make_room_again() -> None:
    with serving(connections=8) as port, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", port)
        many = [stack.enter_context(socket.create_connection(address)) for _ in range(40)]
        many[-1].sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert many[-1].recv(100).startswith(b"HTTP/1.1 503")
        for silent in many:
            with contextlib.suppress(ConnectionError):
                while silent.recv(2**16):
                    pass
        assert answered(port, "/") == 3


def test_small_answers_are_sent_at_once() -> None:
    # Else the kernel holds the second part of an answer back until the first is confirmed: 40 ms.
    async def option() -> int:
        seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made = writer.get_extra_info("socket")
            seen.set_result(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with server.listen("127.0.0.1", 0, unread_seconds=1) as listening:
            running = await asyncio.start_server(accepted, sock=listening)
            _, writer = await asyncio.open_connection(*listening.getsockname())
            found = await seen
            writer.close()
            running.close()
        return found

    assert asyncio.run(option()) == 1
