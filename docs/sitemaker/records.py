"""Experiment records as pages, and what did not work, by cause."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sitemaker.figures import COLOURS, bars
from sitemaker.markdown import code, table, titled
from sitemaker.project import REPOSITORY, relink
from yoriai.plain_markdown import escape, is_safe_link, neutralise
from yoriai.record import CAUSES, Filed, RecordPrediction, list_records
from yoriai.record_export import as_json, atom
from yoriai.record_history import Stated, list_stated, tree_id


def record_pages(root: Path) -> dict[str, str]:
    folder = root / "records"
    filed = list_records(folder) if folder.is_dir() else []
    stated = list_stated(folder, filed)
    pages = {
        "records/index.md": _record_index(filed),
        "records/what-did-not-work.md": _failures(filed),
        "records/compare.md": COMPARE,
        **_data(as_json(filed, stated)),
        "records/feed.xml": atom(filed),
        **failure_figures(filed),
    }
    for one in filed:
        page = _record(one, root, stated[one.folder.name])
        pages[f"records/{one.folder.name}.md"] = f"{page}\n\n{_ways_out(one, filed)}"
    return pages


def _data(whole: dict[str, Any]) -> dict[str, str]:
    """All records for programs, and each by itself for the page that compares two."""
    each = {record["id"]: record for record in whole["records"]}
    names = [{"id": number, "title": record["title"]} for number, record in each.items()]
    return {
        "records/records.json": json.dumps(whole, ensure_ascii=False, indent=1),
        "records/by-number/all.json": json.dumps(names, ensure_ascii=False),
        **{
            f"records/by-number/{number}.json": json.dumps(record, ensure_ascii=False)
            for number, record in each.items()
        },
    }


def record_titles(root: Path) -> dict[str, str]:
    """The page of each record and what the sidebar calls it."""
    folder = root / "records"
    return {
        f"records/{one.folder.name}.md": f"{one.record.id} {_plain_title(one)}"
        for one in (list_records(folder) if folder.is_dir() else [])
    }


def _plain_title(one: Filed) -> str:
    text = next(one.record.title[k] for k in ("en", "ja") if k in one.record.title)
    return re.sub(r"[<>&\"'`\[\]{}|\\#*_!]|\s+", " ", text).strip()[:80]


COMPARE = """# Compare two records

Choose two. What differs is shown; what is equal is counted. · 二つ選ぶと、違うところが並びます。
On the command line: `yoriai records diff 6 14`.

<div class="compare" data-records="../by-number/" markdown>

This needs JavaScript and a web server. · JavaScript とウェブサーバが要ります。

</div>
"""


def _ways_out(one: Filed, filed: Sequence[Filed]) -> str:
    """Where to go from a record: the lists, its neighbours, and those nearest in tags."""
    place = [other.record.id for other in filed].index(one.record.id)
    near = sorted(
        (other for other in filed if other is not one),
        key=lambda other: (-_shared(one, other), other.record.id),
    )[:3]
    lines = [
        "* [All records](index.md) · [What did not work](what-did-not-work.md) · "
        f'<a href="../compare/#{one.record.id}">Compare with another</a>'
    ]
    for word, index in (("before", place - 1), ("after", place + 1)):
        if 0 <= index < len(filed):
            lines.append(f"* {word}: {_link(filed[index])}")
    lines += [f"* near: {_link(other)}" for other in near if _shared(one, other)]
    return "\n\n".join(["## Where next · 次に", "\n".join(lines)])


def _shared(one: Filed, other: Filed) -> int:
    same = one.record.package == other.record.package and bool(one.record.package)
    return 2 * len(set(one.record.tags) & set(other.record.tags)) + same


def _link(one: Filed) -> str:
    return f"[{one.record.id} {_title(one)}]({one.folder.name}.md)"


def failure_figures(filed: Sequence[Filed]) -> dict[str, str]:
    """Failures by cause, by who found them, and how long that took; only what records tell."""
    told = [(one, failure) for one in filed for failure in one.record.failures]
    causes = Counter(f.cause for _, f in told)
    finders = Counter(f.found_by for _, f in told)
    lost: Counter[str] = Counter()
    for one in filed:
        if one.record.lost_hours and one.record.failures:
            lost[one.record.failures[0].cause] += one.record.lost_hours
    cost: Counter[str] = Counter()
    for one in filed:
        if one.record.cost_hours and one.record.failures:
            cost[one.record.failures[0].cause] += one.record.cost_hours
    guards = Counter(_guard(f.prevention) for _, f in told)
    hours = sorted(
        (f.found_after_hours, f"{one.record.id} {f.cause}")
        for one, f in told
        if f.found_after_hours is not None
    )
    figures = {}
    for name, title, subtitle, rows, unit, places in (
        ("causes", "Failures by cause", f"{len(told)} failures in {len(filed)} records",
         causes.most_common(), "", 0),
        ("finders", "Who found them", "of the failures that say it", finders.most_common(),
         "", 0),
        ("lost", "Machine hours lost, by first cause", "of the records that say how many",
         lost.most_common(), " h", 1),
        ("cost", "Machine hours of records in which something failed, by first cause",
         "the whole experiment, not the loss alone", cost.most_common(), " h", 2),
        ("hours", "Time until it was found", "of the failures that say how long",
         [(label, value) for value, label in hours], " h", 2),
        ("guards", "What would have prevented it, and guards against it now",
         "a test: where the record names one", guards.most_common(), "", 0),
    ):  # fmt: skip
        if rows:
            drawn = [(str(label), float(value), COLOURS[0]) for label, value in rows]
            figures[f"assets/failures-{name}.svg"] = bars(
                title, subtitle, {"": drawn}, unit=unit, places=places
            )
    return figures


def _guard(prevention: str) -> str:
    """In what form a record says that a failure will not come again."""
    words = prevention.lower()
    if not words.strip() or words.startswith("none yet"):
        return "nothing yet"
    return "a test" if re.search(r"\btests?\b|test_", words) else "a check or a rule"


def _title(filed: Filed) -> str:
    return " · ".join(
        escape(filed.record.title[k]) for k in ("en", "ja") if k in filed.record.title
    )


def _record_index(filed: Sequence[Filed]) -> str:
    rows = [
        (
            one.record.id,
            f"[{_title(one)}]({one.folder.name}.md)",
            one.record.state,
            one.record.execution or "",
            one.record.verdict or "",
        )
        for one in filed
    ]
    body = (
        '<div class="sortable" markdown>\n\n'
        + table(("id", "question", "state", "did it run", "was the idea right"), rows)
        + "\n\n</div>"
        if rows
        else "There is no record yet."
    )
    return "\n\n".join(
        [
            "# Records · 記録",
            "Each record answers one question. Failures are part of it: "
            "[What did not work](what-did-not-work.md) groups them by cause. "
            "[Records of experiments](../en/records.md) says how to write one. "
            "[Two can be compared](compare.md), [all stand in a timeline](timeline.md). "
            "For programs: [records.json](records.json), "
            "[feed](feed.xml). · 記録は一つの問いに一つ答えます。失敗もその一部です。"
            "書き方は[実験の記録](../ja/records.md)にあります。",
            body,
        ]
    )


def _failures(filed: Sequence[Filed]) -> str:
    parts = [
        "# What did not work · うまくいかなかったこと",
        "Every failure in the records, by cause, and every idea that was refuted. "
        "Read it before you start: it is the cheapest experiment. · "
        "記録にあるすべての失敗を原因ごとに、反証された考えとともに並べます。"
        "始める前に読んでください。いちばん安い実験です。",
    ]
    names = {
        "causes": "Failures by cause", "cost": "Machine hours by cause",
        "lost": "Machine hours lost, by cause", "hours": "Time until it was found",
        "finders": "Who found them", "guards": "What would have prevented it",
    }  # fmt: skip
    made = failure_figures(filed)
    parts += [
        f"![{alt}](../assets/failures-{name}.svg)"
        for name, alt in names.items()
        if f"assets/failures-{name}.svg" in made
    ]
    for cause in CAUSES:
        rows = [
            (
                f"[{one.record.id}]({one.folder.name}.md)",
                *map(escape, (f.symptom, f.fix, f.prevention)),
            )
            for one in filed
            for f in one.record.failures
            if f.cause == cause
        ]
        if rows:
            parts += [
                f"## {cause}",
                table(("record", "symptom", "fix", "what would prevent it"), rows),
            ]
    refuted = [
        (f"[{one.record.id}]({one.folder.name}.md)", _title(one), escape(one.record.hypothesis))
        for one in filed
        if one.record.verdict == "refuted"
    ]
    if refuted:
        parts += ["## Ideas refuted", table(("record", "question", "hypothesis"), refuted)]
    if len(parts) == 2:  # no figure, no table
        parts.append("No record tells of a failure yet.")
    return "\n\n".join(parts)


def _record(filed: Filed, root: Path, stated: Sequence[Stated]) -> str:
    record = filed.record
    facts = [
        ("state", record.state),
        ("did it run", record.execution or ""),
        ("was the idea right", record.verdict or ""),
        ("opened", str(record.opened)),
        ("ended", str(record.ended or "")),
        ("machine hours", "" if record.cost_hours is None else f"{record.cost_hours:g}"),
        ("of which lost", "" if record.lost_hours is None else f"{record.lost_hours:g}"),
        ("package", escape(record.package)),
        ("tags", escape(", ".join(record.tags))),
    ]
    title, *others = [escape(record.title[k]) for k in ("en", "ja") if k in record.title]
    shown = next(record.title[k] for k in ("en", "ja") if k in record.title)
    parts = [titled(f"{record.id} {shown}"), f"# {record.id} {title}"]
    parts += [f"**{other}**" for other in others]
    parts.append(table(("this record", "value"), [row for row in facts if row[1]]))
    if record.hypothesis:
        parts += ["## Hypothesis", escape(record.hypothesis)]
    if record.predictions:
        rows = [
            (
                code(p.text),
                "" if p.measured is None else f"{p.measured:g}{_unit(p.unit)}",
                _limit(p),
                p.verdict,
                f"{row.words('en')} · {row.words('ja')}",
            )
            for p, row in zip(record.predictions, stated, strict=True)
        ]
        columns = ("prediction", "measured", "predicted", "verdict", "when it was written")
        parts += ["## Predictions", _standing(stated), table(columns, rows)]
    if record.argument:
        parts += ["**Why the verdict is another than the predictions make it:**"]
        parts += [escape(record.argument)]
    if record.failures:
        failures = [
            (
                f.cause,
                escape(f.symptom),
                f.found_by
                + (f", after {f.found_after_hours:g} h" if f.found_after_hours is not None else ""),
                escape(f.fix),
                escape(f.prevention),
            )
            for f in record.failures
        ]
        columns = ("cause", "symptom", "found by", "fix", "what would prevent it")
        parts += ["## Failures", table(columns, failures)]
    if record.lessons:
        lines = [
            f"* {' · '.join(escape(lesson.text[k]) for k in ('en', 'ja') if k in lesson.text)} "
            f"*(confidence: {lesson.confidence})*"
            for lesson in record.lessons
        ]
        parts += ["## Lessons", "\n".join(lines)]
    parts += list(_story(filed, root))
    parts += _others(filed)
    if record.links:
        parts += ["## Links", "\n".join(f"* {_web(link)}" for link in record.links)]
    return "\n\n".join(parts)


def _story(filed: Filed, root: Path) -> Iterator[str]:
    story = filed.folder / "README.md"
    if story.is_file():
        text = story.read_text(encoding="utf-8")
        text = re.sub(r"\A\s*# .*\n", "", text)
        place = filed.folder.relative_to(root).as_posix()
        yield neutralise(relink(text, place, f"records/{filed.folder.name}.md", root)).strip()
    names = sorted(path.name for path in (filed.folder / "runs").glob("*.json"))
    runs = [name for name in names if re.fullmatch(r"[\w-]+\.json", name, re.ASCII)]
    if runs:
        base = f"{REPOSITORY}/blob/main/{filed.folder.relative_to(root).as_posix()}/runs"
        yield "## Run files"
        yield "\n".join(f"* [{name}]({base}/{name})" for name in runs)


def _unit(unit: str) -> str:
    return f" {escape(unit)}" if unit else ""


def _limit(prediction: RecordPrediction) -> str:
    relation, limit = prediction.expectation() or ("", "")
    if isinstance(limit, tuple):
        return f"{limit[0]:g} to {limit[1]:g}{_unit(prediction.unit)}"
    return escape(f"{relation} {limit:g}" if relation else "") + _unit(prediction.unit)


def _standing(stated: Sequence[Stated]) -> str:
    kinds = {row.standing for row in stated}
    if kinds == {"afterwards"}:
        return "The predictions were **written afterwards**. · 予測は**後から書かれました**。"
    if kinds <= {"before-run", "before-result"}:
        return "Every prediction was committed first. · 予測はすべて先に commit されました。"
    return "When each prediction was written stands beside it. · 書かれた時は表にあります。"


def _others(filed: Filed) -> list[str]:
    """People, things by digest, withheld facts, validity, other records and the sealed whole."""
    record, parts = filed.record, []
    if record.validity and record.validity.status != "valid":
        v = record.validity
        parts.append(f"**{v.status}** by {escape(v.by)}: {escape(v.why)}")
    if record.withheld:
        rows = [(escape(w.what), escape(w.why), str(w.until), escape(w.contact))
                for w in record.withheld]  # fmt: skip
        parts += ["## Withheld", table(("what", "why", "until", "contact"), rows)]
    if record.people:
        people = [(escape(p.name), escape(p.org), p.orcid or "", escape(", ".join(p.roles)))
                  for p in record.people]  # fmt: skip
        parts += ["## People", table(("name", "organisation", "ORCID", "roles"), people)]
    for title, things in (("Inputs", record.inputs), ("Outputs", record.outputs)):
        if things:
            rows = [(escape(t.kind), escape(t.name), code(t.sha256 or "–"), escape(t.licence))
                    for t in things]  # fmt: skip
            parts += [f"## {title}", table(("kind", "name", "SHA-256", "licence"), rows)]
    if named := record.references():
        lines = [f"* {key.replace('_', ' ')}: {', '.join(ids)}" for key, ids in named.items()]
        parts += ["## Other records", "\n".join(lines)]
    errata = filed.folder / "errata.md"
    if errata.is_file():
        text = re.sub(r"\A\s*# .*\n", "", errata.read_text(encoding="utf-8"))
        parts += ["## Errata", neutralise(text).strip()]
    parts += ["## Identity", f"`swh:1:dir:{tree_id(filed.folder)}` (the git tree of the record)"]
    return parts


def _web(link: str) -> str:
    return f"[{escape(link)}]({link})" if is_safe_link(link) else escape(link)
