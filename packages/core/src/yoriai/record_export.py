"""Records in the forms of others: citation, JSON, SQLite, Atom, and a Process Run Crate.

* CITATION.cff 1.2 and BibTeX, to cite one record.
* ``records.json`` and an SQLite file that Datasette opens, for all of them.
* Atom (RFC 4287), for readers that come back.
* RO-Crate 1.1 with the Process Run Crate profile 0.5 (https://w3id.org/ro/wfrun/process/0.5):
  each run file is a ``CreateAction``.
"""

from __future__ import annotations

import datetime
import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from yoriai import files
from yoriai.record import Filed
from yoriai.record_history import Stated, tree_id

SITE = "https://yoriai.github.io/yoriai/"
LICENCE = "https://spdx.org/licenses/CC-BY-4.0"
PROCESS = "https://w3id.org/ro/wfrun/process/0.5"
FORMATS = ("json", "sqlite", "atom", "ro-crate")


def title_of(filed: Filed, language: str = "en") -> str:
    titles = filed.record.title
    return next((titles[k] for k in (language, "en", "ja") if k in titles), "")


def address_of(filed: Filed) -> str:
    return f"{SITE}records/{filed.folder.name}/"


def citation(filed: Filed, style: str) -> str:
    """``bibtex`` or ``cff``."""
    record = filed.record
    people = [p.name for p in record.people] or ["The Yoriai contributors"]
    date = record.ended or record.opened
    if style == "cff":
        value = {
            "cff-version": "1.2.0",
            "message": "If you use this record, please cite it as below.",
            "title": title_of(filed),
            "type": "dataset",
            "authors": [
                {"name": p.name}
                | ({"orcid": f"https://orcid.org/{p.orcid}"} if p.orcid else {})
                | ({"affiliation": p.org} if p.org else {})
                for p in record.people
            ]
            or [{"name": people[0]}],
            "date-released": str(date),
            "url": address_of(filed),
            "license": record.licence or "CC-BY-4.0",
            "identifiers": [{"type": "swh", "value": f"swh:1:dir:{tree_id(filed.folder)}"}],
        }
        return yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    rows = {
        "title": "{" + _tex(title_of(filed)) + "}",
        "author": " and ".join("{" + _tex(name) + "}" for name in people),
        "year": str(date.year),
        "howpublished": f"Yoriai record {record.id}",
        "url": address_of(filed),
        "note": f"swh:1:dir:{tree_id(filed.folder)}",
    }
    body = ",\n".join(f"  {key} = {{{value}}}" for key, value in rows.items())
    return f"@misc{{yoriai{record.id},\n{body}\n}}\n"


def _tex(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", r"\textbackslash "))


def as_json(filed: Sequence[Filed], stated: Mapping[str, Sequence[Stated]]) -> dict[str, Any]:
    """All records with where they lie and when each prediction was written."""
    return {
        "schema": 1,
        "records": [
            one.record.model_dump(mode="json", by_alias=True)
            | {
                "folder": one.folder.name,
                "url": address_of(one),
                "tree": f"swh:1:dir:{tree_id(one.folder)}",
                "stated": [
                    {"standing": s.standing, "commit": s.commit, "time": s.time}
                    for s in stated.get(one.folder.name, ())
                ],
            }
            for one in filed
        ],
    }


_TABLES = {
    "records": "id text primary key, title_en text, title_ja text, state text, execution text,"
    " verdict text, opened text, ended text, package text, hypothesis text, cost_hours real,"
    " lost_hours real, url text",
    "predictions": "record text references records(id), text text, relation text, measured real,"
    " verdict text, standing text",
    "failures": "record text references records(id), cause text, symptom text, found_by text,"
    " found_after_hours real, fix text, prevention text",
    "lessons": "record text references records(id), en text, ja text, confidence text",
    "tags": "record text references records(id), tag text",
}


def write_sqlite(path: Path, value: Mapping[str, Any]) -> None:
    """An SQLite file with one table for each list; facets of Datasette work as they are."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _TABLES}
    for r in value["records"]:
        number = r["id"]
        keys = ("state", "execution", "verdict", "opened", "ended", "package", "hypothesis",
                "cost_hours", "lost_hours", "url")  # fmt: skip
        rows["records"].append(
            (number, r["title"].get("en"), r["title"].get("ja"), *(r[key] for key in keys))
        )
        for p, s in zip(r["predictions"], r["stated"], strict=True):
            rows["predictions"].append(
                (number, p["text"], p["relation"], p["measured"], p["verdict"], s["standing"])
            )
        told = ("cause", "symptom", "found_by", "found_after_hours", "fix", "prevention")
        rows["failures"] += [(number, *(f[key] for key in told)) for f in r["failures"]]
        rows["lessons"] += [
            (number, x["text"].get("en"), x["text"].get("ja"), x["confidence"])
            for x in r["lessons"]
        ]
        rows["tags"] += [(number, tag) for tag in r["tags"]]
    with sqlite3.connect(temporary) as base:
        for name, columns in _TABLES.items():
            base.execute(f"create table {name} ({columns})")
            marks = ",".join("?" * (columns.count(",") + 1))
            base.executemany(f"insert into {name} values ({marks})", rows[name])
    base.close()
    temporary.replace(path)


def atom(filed: Sequence[Filed]) -> str:
    """The records as a feed, the newest first."""
    ordered = sorted(filed, key=lambda f: (str(f.record.ended or f.record.opened), f.record.id))
    entry = Markup(
        "<entry><title>{title}</title>"
        '<link href="{address}"/><id>{address}</id>'
        "<updated>{at}</updated><summary>{said}</summary></entry>"
    )
    entries = []
    for one in reversed(ordered):
        record = one.record
        said = [record.verdict or record.state, *(x.text.get("en", "") for x in record.lessons)]
        entries.append(
            entry.format(
                title=_printable(f"{record.id} {title_of(one)}"),
                address=_printable(address_of(one)),
                at=_date(one),
                said=_printable(" ".join(said)),
            )
        )
    return _FEED.format(
        site=SITE,
        at=_date(ordered[-1]) if ordered else "2026-01-01T00:00:00Z",
        entries=Markup("\n").join(entries),
    )


_FEED = Markup("""\
<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
<title>Yoriai: records of experiments</title>
<link href="{site}records/"/><link rel="self" href="{site}records.atom"/>
<id>{site}records/</id>
<updated>{at}</updated>
<author><name>The Yoriai contributors</name></author>
{entries}
</feed>
""")


def _date(filed: Filed) -> str:
    return f"{filed.record.ended or filed.record.opened}T00:00:00Z"


def _printable(text: str) -> str:
    """Without the control characters that XML 1.0 has no place for, escaped or not (its 2.2)."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "\ufffd", text)


# --- Process Run Crate ----------------------------------------------------------------------


def ro_crate(filed: Filed) -> dict[str, Any]:
    """``ro-crate-metadata.json`` of a record folder, after the Process Run Crate profile 0.5."""
    record = filed.record
    people = [
        {
            "@id": f"https://orcid.org/{p.orcid}" if p.orcid else f"#person-{n}",
            "@type": "Person",
            "name": p.name,
            **({"affiliation": {"@id": f"#org-{n}"}} if p.org else {}),
        }
        for n, p in enumerate(record.people, 1)
    ]
    organisations = [
        {"@id": f"#org-{n}", "@type": "Organization", "name": p.org}
        for n, p in enumerate(record.people, 1)
        if p.org
    ]
    authors = people or [{"@id": "#yoriai", "@type": "Organization",
                          "name": "The Yoriai contributors"}]  # fmt: skip
    software = {
        "@id": "https://github.com/yoriai/yoriai",
        "@type": "SoftwareApplication",
        "name": "yoriai",
        "url": "https://github.com/yoriai/yoriai",
        "version": "0.1.0",
    }
    parts = [
        {"@id": path.relative_to(filed.folder).as_posix(), "@type": "File", "name": path.name,
         "encodingFormat": _FORMS.get(path.suffix, "application/octet-stream"),
         "contentSize": str(path.stat().st_size)}
        for path in sorted(filed.folder.rglob("*"))
        if path.is_file() and path.name != "ro-crate-metadata.json"
    ]  # fmt: skip
    actions = [
        _action(path, authors[0], software) for path in sorted(filed.folder.glob("runs/*.json"))
    ]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": title_of(filed),
        "description": record.hypothesis or title_of(filed),
        "datePublished": str(record.ended or record.opened),
        "license": {"@id": LICENCE},
        "author": [{"@id": a["@id"]} for a in authors],
        "conformsTo": [{"@id": PROCESS}],
        "identifier": f"swh:1:dir:{tree_id(filed.folder)}",
        "hasPart": [{"@id": part["@id"]} for part in parts],
        "mentions": [{"@id": action["@id"]} for action in actions],
    }
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": "ro-crate-metadata.json",
                "@type": "CreativeWork",
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
                "about": {"@id": "./"},
            },
            root,
            {"@id": PROCESS, "@type": "CreativeWork", "name": "Process Run Crate",
             "version": "0.5"},
            {"@id": LICENCE, "@type": "CreativeWork", "name": "CC BY 4.0",
             "description": "Creative Commons Attribution 4.0 International"},
            *authors, *organisations, software, *parts, *actions,
        ],
    }  # fmt: skip


_FORMS = {".yaml": "application/yaml", ".md": "text/markdown", ".json": "application/json",
          ".jsonl": "application/jsonl", ".svg": "image/svg+xml", ".png": "image/png"}  # fmt: skip
_STATUS = {"completed": "CompletedActionStatus", "running": "ActiveActionStatus"}


def _action(path: Path, agent: Mapping[str, Any], software: Mapping[str, Any]) -> dict[str, Any]:
    run = json.loads(path.read_bytes())
    status = _STATUS.get(str(run.get("state")), "FailedActionStatus")
    name = f"runs/{path.name}"
    error = run.get("error") if isinstance(run.get("error"), dict) else {}
    return {
        "@id": f"#run-{path.stem}",
        "@type": "CreateAction",
        "name": f"Run of {run.get('recipe', '')}",
        "description": f"yoriai {' '.join(map(str, run.get('argv', [])))}",
        "startTime": str(run.get("started", "")),
        **({"endTime": str(run["ended"])} if run.get("ended") else {}),
        "actionStatus": {"@id": f"http://schema.org/{status}"},
        **({"error": str(error["message"])} if error.get("message") else {}),
        "agent": {"@id": agent["@id"]},
        "instrument": {"@id": software["@id"]},
        "object": [{"@id": "record.yaml"}],
        "result": [{"@id": name}],
    }


def export(
    filed: Sequence[Filed], stated: Mapping[str, Sequence[Stated]], out: Path, form: str
) -> list[Path]:
    """Write one form below ``out``; returns what was written."""
    if form == "ro-crate":
        written = []
        for one in filed:
            path = out / one.folder.name / "ro-crate-metadata.json"
            for source in sorted(one.folder.rglob("*")):
                if source.is_file() and not source.is_symlink():
                    goal = path.parent / source.relative_to(one.folder)
                    files.write_atomically(goal, source.read_bytes())
            files.write_atomically(path, files.ordered_json(ro_crate(one)))
            written.append(path)
        return written
    path = out / {"json": "records.json", "sqlite": "records.db", "atom": "records.atom"}[form]
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "atom":
        files.write_atomically(path, atom(filed).encode())
    elif form == "json":
        files.write_atomically(path, files.ordered_json(as_json(filed, stated)))
    else:
        write_sqlite(path, as_json(filed, stated))
    return [path]


def requirements(filed: Filed) -> list[str]:
    """The packages of the record's newest run, as lines for pip."""
    found: list[tuple[datetime.datetime, dict[str, Any]]] = []
    for path in sorted(filed.folder.glob("runs/*.json")):
        run = json.loads(path.read_bytes())
        found.append((datetime.datetime.fromisoformat(run["started"]), run))
    if not found:
        return []
    environment = max(found, key=lambda row: row[0])[1].get("environment") or {}
    packages = environment.get("packages") or {}
    lines = [f"{name}=={version}" for name, version in sorted(packages.items()) if version]
    return [line for line in lines if re.fullmatch(r"[\w.-]+==[\w.+!-]+", line)]
