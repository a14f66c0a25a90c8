"""What the JSON API takes and gives, as OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from yoriai_corpus.search.part import FILTERS
from yoriai_corpus.serve.limits import ServeLimits

_SEARCH = {
    "q": "text to look for",
    "or": "or this, in its place; may be repeated",
    "and": "documents that hold this, too; may be repeated",
    "not": "none that hold this; may be repeated",
    "exact": "1: width and case matter",
    "names": "1: in names, addresses, rules and spans instead of texts",
    **{name: f"only documents of this {name}" for name in FILTERS},
    "since": "only of this date or later (ISO 8601)",
    "until": "only of this date or earlier",
}


def describe(limits: ServeLimits) -> dict[str, Any]:
    """The description; sizes are those of the running server."""

    def answer(summary: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
        errors = {
            "400": "a field is unknown, too long or of the wrong form",
            "401": "an access token is needed",
            "404": "nothing is there",
            "410": "the document was removed",
            "429": "too many requests a minute",
            "503": "too many searches, or one that took too long",
        }
        failed = {"$ref": "#/components/schemas/Problem"}
        return {
            "summary": summary,
            **more,
            "responses": {
                "200": _content("the answer", {"type": "object", "properties": properties}),
                **{code: _content(text, failed) for code, text in errors.items()},
            },
        }

    count, text, rows = {"type": "integer"}, {"type": "string"}, {"type": "array"}
    offset = _parameter("offset", "leave out so many first", count)
    search = [_parameter(name, what, text, required=name == "q") for name, what in _SEARCH.items()]
    search += [offset, _parameter("limit", f"hits in the answer, at most {limits.hits}", count)]
    named = _parameter("name", "SOURCE/ID, or an address", text, required=True)
    body = {
        "type": "object", "required": ["text"], "additionalProperties": False,
        "properties": {"text": {**text, "maxLength": limits.traced_characters}},
    }  # fmt: skip
    found = {
        "occurrences": count, "documents": count, "facets": {"type": "object"},
        "offset": count, "hits": rows,
    }  # fmt: skip
    seen = {"seen": {**rows, "description": "empty unless the server was started with "
                     "--model: the steps of the trainings that saw it"}}  # fmt: skip
    place = {"type": "object", "properties": seen}
    span = {
        "type": "object",
        "properties": {
            "begin": count, "end": count, "text": text, "occurrences": count, "documents": count,
            "licences": {"type": "object", "description": "documents by licence"},
            "bits": {"type": "number"}, "places": {**rows, "items": place},
        },
    }  # fmt: skip
    near = {
        "type": "object", "description": "a copy with some characters changed",
        "properties": {
            "begin": count, "end": count, "text": text, "stands": text, "edits": count,
            "score": count, "place": place,
        },
    }  # fmt: skip
    traced = {
        "characters": count, "covered": count, "spans": {**rows, "items": span},
        "spans_count": count, "near": {**rows, "items": near}, "near_count": count,
        "near_frequent_seeds": count, "near_stretches_left_out": count,
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "Yoriai corpus search", "version": "1"},
        "paths": {
            "/api/search": {
                "get": answer("Places of a text, and counts", found, parameters=search)
            },
            "/api/document": {
                "get": answer(
                    "What became of a document",
                    {"documents": {**rows, "items": {"type": "object", "properties": seen}}},
                    parameters=[named, offset],
                )
            },
            "/api/trace": {
                "post": answer(
                    "Pieces of a text that stand in the corpus", traced,
                    parameters=[_parameter("near", "1: also those that nearly do", text)],
                    requestBody={"required": True, **_content("", body)},
                )
            },
            "/api/overview": {
                "get": answer("All documents, by facet", {"indexes": rows, "parts": count,
                                                          "facets": {"type": "object"}})
            },
        },
        "components": {
            "schemas": {
                "Problem": {"type": "object", "properties": {"error": text, "hint": text}}
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }  # fmt: skip


def _parameter(name: str, what: str, schema: Any, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": what, "schema": schema,
            "required": required}  # fmt: skip


def _content(description: str, schema: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"application/json": {"schema": schema}}}
    return {"description": description, **found} if description else found
