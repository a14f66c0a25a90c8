"""A corpus described in Croissant 1.0, for catalogues and loaders of data sets.

The specification: http://mlcommons.org/croissant/1.0 (``mlcommons/croissant:
docs/croissant-spec.md``), JSON-LD over schema.org's ``Dataset``. Only what the account knows is
written; what the specification requires and nobody said is named by :func:`missing`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from yoriai_corpus import tables

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
REQUIRED = ("description", "license", "name", "url", "creator", "datePublished")
"""The specification's required properties that a value must be known for."""
_TABLES = {
    "documents": "What a model may be trained on.",
    "heldout": "Documents kept apart for evaluation.",
    "dropped": "Documents that were dropped, each with the rule, its measured value and limit.",
    "unreadable": "Records that could not be read, with the reason.",
    "clusters": "Which document was kept for which duplicates.",
    "contamination": "Which evaluation items were found in which documents.",
}
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_UNSAID = ("", "unknown", "unstated")
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


def describe(
    facts: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    *,
    name: str,
    licence: str = "",
    files: Mapping[str, Mapping[str, Any]] | None = None,
    url: str = "",
    creator: str = "",
    published: str = "",
) -> dict[str, Any]:
    """The description as JSON-LD.

    ``name`` is that of the artifact (``recipe/step@version``). ``files`` maps the names of its
    files to ``sha256`` and ``bytes``, as its manifest does: each is then listed with its digest;
    without them only the folders of the tables are. ``published`` is a date (YYYY-MM-DD).
    """
    short, _, version = name.partition("@")
    present = [t for t in _TABLES if files is None or any(f.startswith(f"{t}/") for f in files)]
    value: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": re.sub(r"[^\w.-]+", "-", short, flags=re.ASCII),
        "description": "\n".join(facts.get("headline", ())) or f"The text corpus {name}.",
        "conformsTo": CONFORMS_TO,
        "license": _licences(licence, facts, sources),
        "version": f"{version}.0.0" if version.isdigit() else "",
        "url": url,
        "creator": {"@type": "sc:Organization", "name": creator} if creator else None,
        "datePublished": published,
        "inLanguage": [
            language for language in facts.get("by_language", {}) if language not in _UNSAID
        ],
        "isBasedOn": [_source(source) for source in sources],
        "distribution": [
            *(_folder(table) for table in present),
            *(_file(path, facts_, url) for path, facts_ in sorted((files or {}).items())),
        ],
        "recordSet": [_records(table) for table in present],
    }
    return {key: item for key, item in value.items() if item}


def missing(value: Mapping[str, Any]) -> list[str]:
    """What the specification requires and the description lacks."""
    return [key for key in REQUIRED if key not in value]


def _licences(
    licence: str, facts: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The licence that was stated for the whole, or else all that documents and sources have."""
    found = [str(source.get("licence", "")) for source in sources]
    stated = [licence] if licence else [*facts.get("by_licence", ()), *found]
    return list(dict.fromkeys(_licence(item) for item in stated if item not in _UNSAID))


def _licence(text: str) -> str:
    """The address of an SPDX licence, as the specification recommends; other text as it is."""
    return f"https://spdx.org/licenses/{text}.html" if _SPDX.fullmatch(text) else text


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    licence = str(source.get("licence", ""))
    value = {
        "@type": "sc:CreativeWork",
        "name": source.get("name"),
        "version": source.get("version"),
        "url": source.get("url"),
        "license": _licence(licence) if licence not in _UNSAID else "",
        "inLanguage": list(source.get("languages", ())),
        "description": source.get("note"),
    }
    return {key: item for key, item in value.items() if item}


def _folder(table: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{table}-files",
        "name": f"{table}-files",
        "description": _TABLES[table],
        "encodingFormat": "application/x-parquet",
        "includes": f"{table}/*.parquet",
    }


def _file(path: str, facts: Mapping[str, Any], url: str) -> dict[str, Any]:
    kinds = {"parquet": "application/x-parquet", "json": "application/json",
             "md": "text/markdown"}  # fmt: skip
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": f"{url.rstrip('/')}/{path}" if url else path,
        "contentSize": f"{facts['bytes']} B",
        "encodingFormat": kinds.get(path.rpartition(".")[2], "application/octet-stream"),
        "sha256": facts["sha256"],
    }


def _records(table: str) -> dict[str, Any]:
    schema = tables.SCHEMAS[table]
    value: dict[str, Any] = {
        "@type": "cr:RecordSet",
        "@id": table,
        "name": table,
        "description": _TABLES[table],
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{table}/{column.name}",
                "name": column.name,
                "dataType": "sc:Float" if pa.types.is_floating(column.type) else "sc:Text",
                "source": {
                    "fileSet": {"@id": f"{table}-files"},
                    "extract": {"column": column.name},
                },
            }
            for column in schema
        ],
    }
    if schema.names[:2] == ["source", "id"] and table != "unreadable":
        value["key"] = [{"@id": f"{table}/source"}, {"@id": f"{table}/id"}]
    return value
