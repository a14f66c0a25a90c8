"""The server: one process that listens on one address."""

from __future__ import annotations

import errno
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
    made = socket.socket(family, socket.SOCK_STREAM)
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


def run(app: Any, made: socket.socket, limits: ServeLimits) -> None:
    """Serve until a signal ends it."""
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off",
        ws="none", http="h11", loop="asyncio", limit_concurrency=limits.connections,
        timeout_keep_alive=5, timeout_graceful_shutdown=5, h11_max_incomplete_event_size=65_536,
        proxy_headers=False,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[made])


def names(host: str, allowed: Sequence[str]) -> list[str]:
    """By which names the server may be asked."""
    return [*LOOPBACK, host.lower(), *(name.lower() for name in allowed)]
