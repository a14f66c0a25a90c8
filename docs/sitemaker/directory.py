"""The directory of plugins: what each offers, whose it is, how stable, under which licence.

Owners and licences are those of each distribution's ``pyproject.toml`` in this repository, and of
the installed metadata where a plugin comes from elsewhere.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from sitemaker.markdown import NOTE, code, slug, table
from sitemaker.project import REPOSITORY
from yoriai.plain_markdown import escape, is_safe_link
from yoriai.registry import Plugin, Registry


def directory_page(registry: Registry, root: Path) -> str:
    projects = _projects(root)
    rows, parts = [], []
    for plugin in registry.plugins:
        if plugin.status != "ok":
            continue
        told = projects.get(plugin.distribution) or _installed(plugin.distribution)
        owners = escape(", ".join(told["owners"])) or "nobody is named"
        stable = _stability(plugin)
        rows.append(
            (
                f"[`{plugin.name}`](#{slug(plugin.name)})",
                escape(told["summary"]),
                owners,
                stable,
                escape(told["licence"]),
            )
        )
        parts += [f"## {plugin.name}", *_plugin(plugin, told, owners)]
    return "\n\n".join(
        [
            "# Plugins · プラグイン一覧",
            NOTE,
            "A plugin begins as *experimental* and becomes *stable* by a vote; "
            "[Governance](../governance.md) says how. [Contribute a plugin](../en/plugin.md) says "
            "how to write one. `yoriai plugins` shows those on your machine, `yoriai plugins check "
            "NAME` runs one. · プラグインは*実験的*に始まり、投票で*安定*になります。"
            "書き方は[プラグインを提供する](../ja/plugin.md)にあります。",
            table(("plugin", "what it is", "owners", "entries", "licence"), rows),
            *parts,
        ]
    )


def _plugin(plugin: Plugin, told: Mapping[str, Any], owners: str) -> list[str]:
    facts = [
        ("install", code(f"pip install {plugin.distribution}")),
        ("version", escape(plugin.version)),
        ("owners", owners),
        ("licence of the code", escape(told["licence"])),
        ("licences of what it offers", escape(", ".join(_licences(plugin)))),
        ("works with", escape(", ".join(told["core"]) or "any core")),
    ]
    if told["place"]:
        facts.append(("source", f"[{told['place']}]({REPOSITORY}/tree/main/{told['place']})"))
    elif told["home"] and is_safe_link(told["home"]):
        facts.append(("home", f"<{told['home']}>"))
    offers = [
        (
            f"[{kind}]({'commands/index' if kind == 'commands' else kind}.md)",
            ", ".join(code(entry.name) for entry in entries),
            ", ".join(f"{n} {word}" for word, n in Counter(e.stability for e in entries).items()),
        )
        for kind, entries in plugin.entries.items()
    ]
    return [table(("this plugin", "value"), facts), table(("kind", "entries", "stability"), offers)]


def _stability(plugin: Plugin) -> str:
    counts = Counter(e.stability for entries in plugin.entries.values() for e in entries)
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))


def _licences(plugin: Plugin) -> list[str]:
    return sorted({e.licence for entries in plugin.entries.values() for e in entries if e.licence})


def _projects(root: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(root.glob("p*/*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        people = project.get("maintainers") or project.get("authors") or []
        found[project["name"]] = {
            "summary": project.get("description", ""),
            "owners": [person.get("name", "") for person in people],
            "licence": str(project.get("license", "")),
            "core": _core(project.get("dependencies", [])),
            "place": path.parent.relative_to(root).as_posix(),
            "home": "",
        }
    return found


def _installed(distribution: str) -> dict[str, Any]:
    told = metadata.metadata(distribution)
    names = (told.get("Maintainer"), told.get("Author"), told.get("Maintainer-email"))
    return {
        "summary": told.get("Summary") or "",
        "owners": [name for name in names if name][:1],
        "licence": told.get("License-Expression") or told.get("License") or "",
        "core": _core(told.get_all("Requires-Dist") or []),
        "place": "",
        "home": told.get("Home-page") or "",
    }


def _core(lines: list[str]) -> list[str]:
    return [line for line in lines if line.replace("_", "-").lower().startswith("yoriai-core")]
