"""The server: one process that listens on one address."""

from __future__ import annotations

import errno
import gc
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

from yoriai import UsageError, YoriaiError
from yoriai_corpus.serve.limits import ServeLimits

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def listen(host: str, port: int, *, unread_seconds: int) -> socket.socket:
    """A listening socket. Raises :class:`YoriaiError` for a port that is taken.

    A connection whose other end takes no bytes for ``unread_seconds`` is ended by the kernel.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{host!r} is no address of this machine") from error
    # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_seconds * 1000)
        made.bind((host, port))
        made.listen(128)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise YoriaiError(
                f"something else listens on port {port} of {host}", hint="--port 0 takes a free one"
            ) from error
        raise YoriaiError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return made


def check_open(host: str, token: str) -> None:
    """Refuse to serve other machines without a token."""
    try:
        loopback = host in LOOPBACK or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not token:
        raise UsageError(
            f"{host} can be reached by other machines, and no token is set",
            hint="--token-file FILE, or leave --host out",
        )


def _protocol(silent_seconds: float) -> type:
    """HTTP as uvicorn speaks it, but a connection whose other end is silent for so long is cut.

    Silent is who takes none of an answer, who sends nothing after connecting, and who began a
    request, its head or its body, and has not ended it, however many bytes come one by one. Closing
    would wait for the answer to be taken; so it is cut, and what was buffered is gone.
    """
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class PatientProtocol(H11Protocol):
        _alarm: Any = None

        def _wait(self) -> None:
            self._calm()
            self._alarm = self.loop.call_later(silent_seconds, self.transport.abort)

        def _calm(self) -> None:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            state = self.conn.their_state
            if state is h11.SEND_BODY or (state is h11.IDLE and self.conn.trailing_data[0]):
                if self._alarm is None:
                    self._wait()
            elif self.cycle is not None and not self.flow.write_paused:
                self._calm()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._wait()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._calm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._calm()
            super().connection_lost(exc)

    return PatientProtocol


def make_server(app: Any, limits: ServeLimits) -> Any:
    """A ``uvicorn.Server`` of an application, with bounds on connections."""
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off",
        ws="none", http=_protocol(limits.unread_seconds), loop="asyncio",
        limit_concurrency=limits.connections, timeout_keep_alive=5, timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=65_536, proxy_headers=False,
    )  # fmt: skip
    return uvicorn.Server(config)


def run(app: Any, made: socket.socket, limits: ServeLimits) -> None:
    """Serve until a signal ends it.

    What is there by now stays, so it is not looked through again for cycles: that stopped all
    requests for 0.09 s of CPU, three times in half a minute of 16 clients.
    """
    gc.freeze()
    make_server(app, limits).run(sockets=[made])


def names(host: str, allowed: Sequence[str]) -> list[str]:
    """By which names the server may be asked."""
    return [*LOOPBACK, host.lower(), *(name.lower() for name in allowed)]
