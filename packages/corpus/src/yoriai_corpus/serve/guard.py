"""What stands before every answer: who may ask, how often, and what a browser may do with it."""

from __future__ import annotations

import asyncio
import hmac
import http.cookies
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from yoriai import UsageError, YoriaiError
from yoriai_corpus.serve.limits import RequestRate, ServeLimits, TooBusy

COOKIE = "yoriai_token"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with "no-referrer" the own forms would have no Origin
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",  # what is taken down is in nobody's cache
}
_HEADER_PAIRS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
OPEN_PATHS = ("/style.css", "/token")

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Refusal(YoriaiError):
    """A request that is answered by a status alone."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Guard:
    """An ASGI application around another one."""

    def __init__(
        self,
        inner: Any,
        refuse: Callable[[Scope, YoriaiError], Any],
        *,
        limits: ServeLimits,
        hosts: Sequence[str],
        token: str = "",
    ) -> None:
        """``hosts``: names by which the server may be asked (``*``: any). ``refuse`` makes the
        answer of an error."""
        self._inner, self._refuse = inner, refuse
        self._limits, self._hosts, self._token = limits, tuple(hosts), token
        self._rate = RequestRate(limits.per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADER_PAIRS]}
            async with asyncio.timeout(self._limits.unread_seconds):
                await send(message)

        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            self._check(scope, headers)
        except YoriaiError as error:
            await self._refuse(scope, error)(scope, receive, guarded)
            return
        await self._inner(scope, receive, guarded)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
        if "*" not in self._hosts and name.lower() not in self._hosts:
            # A page of another site may let its own name point here (DNS rebinding).
            raise Refusal(421, f"this server is not {name[:100]!r}", hint="--allow-host NAME")
        self._check_origin(scope, headers, host)
        client = scope.get("client") or ("", 0)
        self._rate.take(str(client[0]), time.monotonic())
        if self._token and scope["path"] not in OPEN_PATHS and not self._known(headers):
            raise Refusal(401, "an access token is needed", hint="Authorization: Bearer TOKEN")

    def _check_origin(self, scope: Scope, headers: dict[bytes, bytes], host: str) -> None:
        """Refuse what a page of another site sends or loads from here; a link to here may be
        followed. Browsers tell both (Fetch Metadata, and Origin with every POST)."""
        site, mode = headers.get(b"sec-fetch-site", b""), headers.get(b"sec-fetch-mode", b"")
        reads = scope["method"] in ("GET", "HEAD")
        origin = headers.get(b"origin", b"").decode("latin-1")
        foreign = site in (b"cross-site", b"same-site") and not (reads and mode == b"navigate")
        if foreign or (origin and origin.partition("://")[2].lower() != host.lower()):
            raise Refusal(403, "a page of another site asks", hint="open the address itself")

    def _known(self, headers: dict[bytes, bytes]) -> bool:
        given = headers.get(b"authorization", b"").decode("latin-1")
        word, _, token = given.partition(" ")
        if word.lower() != "bearer":
            cookies: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
            try:
                cookies.load(headers.get(b"cookie", b"").decode("latin-1"))
            except http.cookies.CookieError:
                return False
            token = cookies[COOKIE].value if COOKIE in cookies else ""
        return self.is_token(token.strip())

    def is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


class SearchSlots:
    """So many searches at a time, so many that wait, and no more."""

    def __init__(self, limits: ServeLimits) -> None:
        self._free = asyncio.Semaphore(limits.searches)
        self._room = limits.searches + limits.waiting

    async def run(self, work: Callable[[], Any]) -> Any:
        """Have a thread do it. Raises :class:`TooBusy` where too many wait already."""
        if self._room <= 0:
            raise TooBusy("too many searches wait already", hint="ask again in some seconds")
        self._room -= 1
        try:
            async with self._free:
                return await asyncio.to_thread(work)
        finally:
            self._room += 1


async def read_body(receive: Receive, most: int) -> bytes:
    """A request's body. Raises :class:`UsageError` for one that is too long."""
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise UsageError("the request ended before its body")
        data += message.get("body", b"")
        if len(data) > most:
            raise UsageError(f"a body of more than {most:,} bytes")
        if not message.get("more_body"):
            return bytes(data)
