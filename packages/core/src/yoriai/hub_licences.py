"""Licences as the Hub names them, and as sources state them.

The names are those of https://huggingface.co/docs/hub/repositories-licenses; a card with another
one says ``other`` and gives its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from yoriai.plain_markdown import escape

_NAMES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0
cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl
ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1
ncsa unlicense zlib pddl llama2 llama3 llama3.1 llama3.2 llama3.3 gemma
"""
HUB = frozenset(_NAMES.split())
UNSAID = ("", "unknown", "unstated", "various")


def hub_name(licence: str) -> str:
    """The Hub's name for a licence; ``other`` where it has none, ``unknown`` if none is stated."""
    plain = licence.strip().lower()
    if plain in UNSAID:
        return "unknown"
    names = (plain, plain.removesuffix("-only"), plain.removesuffix("-or-later"))
    return next((name for name in names if name in HUB), "other")


def of_whole(licence: str) -> dict[str, Any]:
    """The YAML of a card for one licence: ``license``, and its own name where that is other."""
    name = hub_name(licence)
    if name == "other":
        return {"license": name, "license_name": "-".join(licence.lower().split())}
    return {"license": name}


def of_texts(sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The YAML of a data card: the licences of the texts, whatever the recipe says of itself."""
    names = sorted({hub_name(str(source.get("licence", ""))) for source in sources}) or ["unknown"]
    return {"license": names if len(names) > 1 else names[0]}


def by_licence(sources: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Sources under each licence as they state it; "not stated" for those that state none."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for source in sources:
        licence = str(source.get("licence", ""))
        found.setdefault("not stated" if licence in UNSAID else licence, []).append(source)
    return dict(sorted(found.items()))


def list_of(name: str, kind: str, licence: str, sources: Iterable[Mapping[str, Any]]) -> str:
    """``LICENCES.md``: the licence of the whole, and each source under its own.

    A corpus holds the texts themselves: what the recipe states covers its arrangement alone.
    """
    parts = [f"# Licences of {escape(name)}"]
    if licence in UNSAID:
        parts.append("No licence was stated for what is released here.")
    elif kind == "corpus":
        parts.append(
            f"Selection and arrangement are under: **{escape(licence)}**. Each text stays under the"
            " licence of its source."
        )
    else:
        parts.append(f"What is released here is under: **{escape(licence)}**.")
    rows = by_licence(sources)
    if rows and kind != "corpus":
        parts.append("It was made from these sources, each under its own licence.")
    for stated, some in rows.items():
        lines = [f"* {_named(source)}" for source in some]
        parts += [f"## {escape(stated)}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _named(source: Mapping[str, Any]) -> str:
    version = f" {source['version']}" if source.get("version") else ""
    url = f" ({source['url']})" if source.get("url") else ""
    note = f": {source['note']}" if source.get("note") else ""
    return escape(f"{source.get('name', '')}{version}{url}{note}")
