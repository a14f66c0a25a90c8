"""The web application: pages that work without scripts, and the same answers as JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from yoriai import NotFound, UsageError, YoriaiError
from yoriai_corpus.search.seen import Trainings
from yoriai_corpus.serve import answers, pages
from yoriai_corpus.serve.answer_cache import AnswerCache
from yoriai_corpus.serve.asked import SEARCH_FIELDS, Fields, body_text, search_query
from yoriai_corpus.serve.guard import COOKIE, Guard, Refusal, Scope, SearchSlots, read_body
from yoriai_corpus.serve.limits import Deadline, ServeLimits, TooBusy
from yoriai_corpus.serve.openapi import describe
from yoriai_corpus.serve.served_index import ServedIndex
from yoriai_corpus.serve.words import choose

PAGE_HITS = 20
_SEEN = ("/document", "/api/document")  # where the steps that saw a document are told
MOST_OFFSET = 10**12
Handler = Callable[[Request], Awaitable[Response]]


def make_app(
    served: ServedIndex,
    *,
    limits: ServeLimits,
    hosts: Sequence[str],
    token: str = "",
    trainings: Trainings | None = None,
) -> Guard:
    """The application as ASGI; ``token``: what every request must show, if any.

    With ``trainings`` the steps that saw a document are told of each that is named.
    """
    site = Site(served, limits, trainings or Trainings((), (), None))
    routes = [
        Route("/", site.search_page),
        Route("/document", site.document_page),
        Route("/dropped", site.dropped_page),
        Route("/trace", site.trace_page, methods=["GET", "POST"]),
        Route("/api", site.api_page),
        Route("/style.css", site.style),
        Route("/api/search", site.search),
        Route("/api/document", site.document),
        Route("/api/trace", site.trace, methods=["POST"]),
        Route("/api/overview", site.overview),
        Route("/openapi.json", site.openapi),
    ]

    async def failed(request: Request, error: Exception) -> Response:
        return refuse(request.scope, error)

    def refuse(scope: Scope, error: Exception) -> Response:
        return site.refusal(scope, error)

    async def enter(request: Request) -> Response:
        data = await read_body(request.receive, limits.body_bytes)
        if not guard.is_token(Fields.of(data, ("token",)).one("token")):
            raise Refusal(401, "this is not the access token")
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=86_400)
        return answer

    if token:
        routes.append(Route("/token", enter, methods=["POST"]))
    handlers: Any = {YoriaiError: failed, HTTPException: failed}
    inner = Starlette(routes=routes, exception_handlers=handlers)
    guard = Guard(inner, refuse, limits=limits, hosts=hosts, token=token)
    return guard


class Site:
    """The handlers; what takes time is done by threads, some at a time.

    Searches that were answered before are answered from a cache; see :class:`AnswerCache`.
    """

    def __init__(self, served: ServedIndex, limits: ServeLimits, trainings: Trainings) -> None:
        self._served, self._limits, self._trainings = served, limits, trainings
        self._turns = SearchSlots(limits)
        self._cache = AnswerCache(limits.cache_bytes)

    # --- JSON ---

    async def search(self, request: Request) -> Response:
        return await self._remembered(request, self._search_json)

    def _search_json(self, request: Request) -> Response:
        fields = Fields.of(request.scope["query_string"], SEARCH_FIELDS)
        return _json(self._search(fields, 10))

    async def document(self, request: Request) -> Response:
        return await self._remembered(request, self._document_json)

    def _document_json(self, request: Request) -> Response:
        fields = Fields.of(request.scope["query_string"], ("name", "offset", "ui"))
        return _json({"documents": self._document(fields)})

    async def trace(self, request: Request) -> Response:
        near = Fields.of(request.scope["query_string"], ("near",)).switch("near")
        text = await self._text(request)
        return await self._turns.run(lambda: _json(self._trace(text, near)))

    async def overview(self, request: Request) -> Response:
        Fields.of(request.scope["query_string"], ())
        return await self._turns.run(lambda: _json(answers.overview(self._served.get())))

    async def openapi(self, _request: Request) -> Response:
        return _json(describe(self._limits))

    async def _remembered(self, request: Request, make: Callable[[Request], Response]) -> Response:
        """The answer to the same request, if the folders hold the same; else it is made.

        What trainings saw is in other folders: with some of them documents are always made anew.
        """
        scope = request.scope
        language = choose("", request.headers.get("accept-language", ""))
        key = (scope["path"], scope["query_string"].decode("latin-1"), language)
        try:
            state = self._served.state()
        except YoriaiError:
            self._cache.clear()
            raise
        answer = self._cache.get(state, key)
        if answer is None:
            answer = await self._turns.run(lambda: make(request))
            lasting = answer.status_code == 200 and not (key[0] in _SEEN and self._trainings)
            if lasting and self._served.state() == state:
                self._cache.put(state, key, answer)
        return answer

    def _search(self, fields: Fields, hits: int) -> dict[str, Any]:
        query = search_query(fields, self._limits)
        offset = fields.number("offset", 0, MOST_OFFSET)
        limit = fields.number("limit", hits, self._limits.hits)
        check = Deadline(self._limits.search_seconds)
        return answers.search(self._served.get(), query, offset=offset, limit=limit, check=check)

    def _document(self, fields: Fields) -> list[dict[str, Any]]:
        name, offset = fields.one("name"), fields.number("offset", 0, MOST_OFFSET)
        if not name:
            raise UsageError("no document is named", hint="name=SOURCE/ID, or an address")
        return answers.document(
            self._served.get(), name, offset=offset, limits=self._limits, trainings=self._trainings
        )

    async def _text(self, request: Request) -> str:
        data = await read_body(request.receive, self._limits.body_bytes)
        kind = request.headers.get("content-type", "")
        return body_text(data, kind, self._limits)

    def _trace(self, text: str, near: bool) -> dict[str, Any]:
        check = Deadline(self._limits.search_seconds)
        return answers.trace(
            self._served.get(), text, near=near, check=check, trainings=self._trainings
        )

    # --- pages ---

    async def search_page(self, request: Request) -> Response:
        return await self._remembered(request, self._search_page)

    def _search_page(self, request: Request) -> Response:
        fields = Fields.of(request.scope["query_string"], SEARCH_FIELDS)
        found, overview, error, status = None, None, None, 200
        if fields.one("q"):
            try:
                found = self._search(fields, PAGE_HITS)
            except YoriaiError as raised:
                error, status = raised, _status(raised)
        else:
            overview = answers.overview(self._served.get())
        values = {"found": found, "overview": overview, "error": error, "bars": pages.bars,
                  "facets": pages.FACETS, "page_hits": PAGE_HITS,
                  "hits": pages.shown_hits(self._language(request, fields), found["hits"])
                  if found else []}  # fmt: skip
        return self._page(request, "search", fields, status, **values)

    async def document_page(self, request: Request) -> Response:
        return await self._remembered(request, self._document_page)

    def _document_page(self, request: Request) -> Response:
        fields = Fields.of(request.scope["query_string"], ("name", "offset", "ui"))
        rows, step = self._document(fields), self._limits.shown_characters
        return self._page(
            request, "document", fields, 200, rows=rows, step=step, notes=self._trainings.notes
        )

    async def dropped_page(self, request: Request) -> Response:
        fields = Fields.of(request.scope["query_string"], ("rule", "offset", "ui"))
        rule, offset = fields.one("rule"), fields.number("offset", 0, MOST_OFFSET)

        def work() -> Response:
            index = self._served.get()
            rules = answers.overview(index)["facets"].get("rule", {})
            rows = answers.dropped(index, rule, offset=offset) if rule else []
            counted = {
                name: {"occurrences": n, "documents": n} for name, n in rules.items() if name
            }
            if rule and rule not in counted:
                raise NotFound(f"no document was dropped by {rule[:100]!r}")
            return self._page(
                request, "dropped", fields, 200, rows=rows, rules=pages.bars(counted), rule=rule,
                offset=offset, total=rules.get(rule, 0), step=answers.DROPPED,
            )  # fmt: skip

        return await self._turns.run(work)

    async def trace_page(self, request: Request) -> Response:
        fields = Fields.of(request.scope["query_string"], ("ui", "near"))
        if request.method != "POST":
            return self._trace_page(request, fields, "")
        try:
            text = await self._text(request)
        except YoriaiError as raised:
            return self._trace_page(request, fields, "", raised)
        return await self._turns.run(lambda: self._trace_page(request, fields, text))

    def _trace_page(
        self, request: Request, fields: Fields, text: str, error: YoriaiError | None = None
    ) -> Response:
        found = None
        if text:
            try:
                found = self._trace(text, fields.switch("near"))
            except YoriaiError as raised:
                error = raised
        marked = pages.marked(text, found["spans"]) if found else []
        status = _status(error) if error else 200
        return self._page(
            request, "trace", fields, status, found=found, error=error, text=text, marked=marked,
            most=self._limits.traced_characters, notes=self._trainings.notes,
        )  # fmt: skip

    async def api_page(self, request: Request) -> Response:
        fields = Fields.of(request.scope["query_string"], ("ui",))
        described = describe(self._limits)
        return self._page(request, "api", fields, 200, described=described)

    async def style(self, _request: Request) -> Response:
        return Response((pages.FOLDER / "style.css").read_bytes(), media_type="text/css")

    @staticmethod
    def _language(request: Request, fields: Fields) -> str:
        return choose(fields.one("ui"), request.headers.get("accept-language", ""))

    def _page(
        self, request: Request, name: str, fields: Fields, status: int, **values: Any
    ) -> Response:
        language = self._language(request, fields)
        try:
            newer = self._served.newer()
        except YoriaiError:
            newer = []
        text = pages.render(
            name, language=language, fields=fields, path=request.url.path, newer=newer, **values
        )
        return HTMLResponse(text, status_code=status)

    def refusal(self, scope: Scope, error: Exception) -> Response:
        """An error in words: JSON below /api/, a page elsewhere."""
        own: dict[str, str] = {}
        if isinstance(error, HTTPException):
            own = dict(error.headers or {})  # Allow, of a method that is not
            error = Refusal(error.status_code, error.detail)
        known = error if isinstance(error, YoriaiError) else YoriaiError("this failed")
        status = _status(known)
        if isinstance(known, TooBusy):
            own["Retry-After"] = str(known.retry_seconds)
        if scope["path"].startswith("/api/"):
            answer = _json({"error": known.message, "hint": known.hint or ""}, status)
        else:
            request = Request(scope)
            try:
                fields = Fields.of(scope.get("query_string", b""), SEARCH_FIELDS)
            except YoriaiError:
                fields = Fields({})
            language = choose(fields.one("ui"), request.headers.get("accept-language", ""))
            text = pages.render(
                "error", language=language, fields=Fields({}), path="/", error=known, newer=[],
                ask_token=status == 401,
            )  # fmt: skip
            answer = HTMLResponse(text, status_code=status)
        answer.headers.update(own)
        return answer


def _status(error: YoriaiError) -> int:
    own = getattr(error, "status", None)
    if own is not None:
        return int(own)
    return 404 if isinstance(error, NotFound) else 400 if isinstance(error, UsageError) else 503


def _json(value: Any, status: int = 200) -> Response:
    data = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(data, status, media_type="application/json")
