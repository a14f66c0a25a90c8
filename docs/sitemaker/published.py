"""What was published of finished runs: a leaderboard, and a card for each model and corpus.

``docs/publish.py`` puts manifests and scores into ``published/``; every number here is theirs.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sitemaker.answers import answers_pages
from sitemaker.markdown import code, table, titled
from yoriai.plain_markdown import escape

Manifest = Mapping[str, Any]


@dataclass
class Published:
    """One run: manifests by step, and the scores of each step that scores."""

    name: str
    manifests: dict[str, Manifest] = field(default_factory=dict)
    scores: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def of_kind(self, kind: str) -> dict[str, Manifest]:
        return {name: one for name, one in self.manifests.items() if one["kind"] == kind}


def list_published(root: Path) -> list[Published]:
    runs = []
    for folder in sorted((root / "published").glob("*/")):
        run = Published(folder.name)
        for path in sorted(folder.glob("*.json")):
            stem = path.name.partition(".")[0].rpartition("-")[0]
            value = json.loads(path.read_bytes())
            if path.name.endswith(".artifact.json"):
                run.manifests[stem] = value
            elif path.name.endswith(".scores.json"):
                run.scores[stem] = value
        runs.append(run)
    return runs


def published_pages(root: Path) -> dict[str, str]:
    runs = list_published(root)
    pages = {
        "records/leaderboard.md": leaderboard(runs),
        "records/leaderboard.csv": as_csv(runs),
        "records/cards.md": _cards(runs),
        **answers_pages(root),
    }
    for run in runs:
        for kind, write in (("corpus", _data_card), ("model", _model_card)):
            for name, one in run.of_kind(kind).items():
                pages[f"records/cards/{run.name}-{name}.md"] = write(run, name, one)
        report = root / "published" / run.name / "transparency.html"
        if report.is_file():
            pages[f"records/cards/{run.name}-transparency.html"] = report.read_text("utf-8")
    return pages


# --- the leaderboard ----------------------------------------------------------------------


def leaderboard(runs: list[Published]) -> str:
    parts = [
        "# Leaderboard · 点数表",
        "Every model that was published, beside what needs no model. Intervals are of 95 %. "
        "Rows can be sorted by a click on a heading, and chosen by typing. · "
        "公開されたすべてのモデルを、モデルの要らない方法と並べます。区間は 95 % です。"
        "見出しを押すと並べ替え、文字を打つと絞り込めます。",
        "[Every number as CSV](leaderboard.csv) · [One question, two models](side-by-side.md) · "
        "[Cards](cards.md) · すべての数値は [CSV](leaderboard.csv) にもあり、"
        "[一問ずつ二つのモデルを比べる](side-by-side.md)こともできます。",
    ]
    for run in runs:
        for scores in run.scores.values():
            parts += [f"## {run.name}", *_board(run, scores)]
    if len(parts) == 2:
        parts.append("Nothing is published yet.")
    parts += [
        "## How these came here",
        "`python docs/publish.py build/NAME` checks every artifact of a finished run and takes "
        "their manifests and scores into `published/`; `--questions eval/ja-forms` adds "
        "the questions and answers of a set whose licence allows it. "
        "[Evaluate a model](../en/evaluation.md) says how scores are made, and "
        "`yoriai eval report` writes pages with every question and answer.",
    ]
    return "\n\n".join(parts)


def _board(run: Published, scores: Mapping[str, Any]) -> Iterator[str]:
    corpora = sorted({(c, g) for one in scores["models"].values()
                      for c, by in one["bits_per_byte"].items() for g in by})  # fmt: skip
    tasks = sorted({task for one in scores["models"].values() for task in one["tasks"]})
    facts = ["model", "parameters", "MB", "tokens read", "precision", "licence"]
    counts = next(iter(scores["models"].values()))["bits_per_byte_documents"]
    asked = {t: one["tasks"][t]["samples"] for one in scores["models"].values()
             for t in one["tasks"]}  # fmt: skip
    columns = [
        *facts,
        *(f"{c}: {g} (bits/byte, {counts[c][g]} documents)" for c, g in corpora),
        *(f"{task} ({asked[task]} questions)" for task in tasks),
    ]
    rows = []
    for name, one in scores["models"].items():
        rows.append([*_facts(run, name, one), *_bits(one, corpora), *_task_cells(one, tasks)])
    for name, bits in scores.get("floors", {}).items():
        cells = [_number(bits.get(c, {}).get(g)) for c, g in corpora]
        rows.append([f"*{name}*", "–", "–", "–", "–", "–", *cells, *("–" for _ in tasks)])
    floors = [_floor(scores, task) for task in tasks]
    rows.append(
        ["*chance or majority*", *("–" for _ in range(5)), *("–" for _ in corpora), *floors]
    )
    opened = '<div class="sortable" data-facets="precision,licence" markdown>'
    yield f"{opened}\n\n{table(columns, rows)}\n\n</div>"
    yield "Of bits per byte less is better. Few documents or questions mean wide intervals."
    yield "Metrics: " + ", ".join(_metric(scores, task) for task in tasks) + "."
    yield "Reading two columns matters: tuning wins a task and loses text, adaptation the reverse."


MEASURES = (
    "run", "model", "parameters", "bytes", "tokens_read", "precision", "licence", "kind",
    "measured_on", "value", "low", "high", "count", "counted",
)  # fmt: skip


def as_csv(runs: list[Published]) -> str:
    """Every number of the leaderboard: a row for each model, or floor, and thing measured."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n").writerow
    write(MEASURES)
    for run in runs:
        for scores in run.scores.values():
            for name, one in scores["models"].items():
                for row in _measured(one):
                    write([run.name, name, *_plain_facts(run, name, one), *map(_safe, row)])
            for name, bits in scores.get("floors", {}).items():
                for corpus, by in bits.items():
                    for group, value in by.items():
                        row = ["bits-per-byte", f"{corpus}: {group}", value, "", "", "", ""]
                        write([run.name, name, *("" for _ in range(5)), *map(_safe, row)])
    return out.getvalue()


def _measured(one: Mapping[str, Any]) -> Iterator[list[Any]]:
    for corpus, by in one["bits_per_byte"].items():
        for group, value in by.items():
            low, high = one.get("bits_per_byte_interval", {}).get(corpus, {}).get(group, ("", ""))
            count = one["bits_per_byte_documents"][corpus][group]
            yield ["bits-per-byte", f"{corpus}: {group}", value, low, high, count, "documents"]
    for task, told in one["tasks"].items():
        low, high = told.get("interval") or ("", "")
        yield [told["metric"], task, told["score"], low, high, told["samples"], "questions"]


def _safe(value: Any) -> Any:
    """No cell is a formula in a spreadsheet: what begins like one gets a sign before it."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def _plain_facts(run: Published, name: str, one: Mapping[str, Any]) -> list[Any]:
    manifest = run.manifests.get(name, {})
    seen, parameters = _lineage(run, name)
    size = _weight_bytes(manifest)
    return [parameters or "", size or "", seen or "", _safe(_precision(manifest, one)),
            _safe(str(manifest.get("licence", "")))]  # fmt: skip


def _weight_bytes(manifest: Manifest) -> int:
    files = manifest.get("files", {}).items()
    weights = (file for path, file in files if path.endswith(".safetensors") and "/" not in path)
    return sum(int(file["bytes"]) for file in weights)


def _precision(manifest: Manifest, one: Mapping[str, Any]) -> str:
    bits = manifest.get("facts", {}).get("bits")
    return f"{bits} bits" if bits else str(one["asked_with"].get("dtype", ""))


def _facts(run: Published, name: str, one: Mapping[str, Any]) -> list[str]:
    manifest = run.manifests.get(name, {})
    seen, parameters = _lineage(run, name)
    size = _weight_bytes(manifest)
    return [
        f"[{escape(name)}](cards/{run.name}-{name}.md)",
        f"{parameters:,}" if parameters else "",
        f"{size / 1e6:.1f}" if size else "",
        f"{seen:,}" if seen else "",
        escape(_precision(manifest, one)),
        escape(str(manifest.get("licence", ""))),
    ]


def _lineage(run: Published, name: str) -> tuple[int, int]:
    """Tokens that were read on the way to a model, and its parameters, from its ancestors."""
    seen, parameters, step = 0, 0, name
    visited: set[str] = set()
    while step in run.manifests and step not in visited:
        visited.add(step)
        facts = run.manifests[step]["facts"]
        seen += int(facts.get("tokens_seen", 0))
        parameters = parameters or int(facts.get("parameters", 0))
        inputs = [
            i["name"].rpartition("/")[2].partition("@")[0] for i in run.manifests[step]["inputs"]
        ]
        step = next((i for i in inputs if run.manifests.get(i, {}).get("kind") == "model"), "")
    return seen, parameters


def _bits(one: Mapping[str, Any], corpora: list[tuple[str, str]]) -> list[str]:
    return [
        _number(one["bits_per_byte"].get(c, {}).get(g))
        + _between(one.get("bits_per_byte_interval", {}).get(c, {}).get(g), 1)
        for c, g in corpora
    ]


def _task_cells(one: Mapping[str, Any], tasks: list[str]) -> list[str]:
    cells = []
    for task in tasks:
        told = one["tasks"].get(task)
        cells.append(f"{told['score']:.1%}{_between(told.get('interval'), 100)}" if told else "–")
    return cells


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _between(pair: Any, scale: int) -> str:
    if not pair:
        return ""
    low, high = (f"{value * scale:.1f}" if scale > 1 else f"{value:.2f}" for value in pair)
    return f" ({low} to {high})"


def _floor(scores: Mapping[str, Any], task: str) -> str:
    told = next(one["tasks"][task] for one in scores["models"].values() if task in one["tasks"])
    return ", ".join(f"{name} {value:.1%}" for name, value in told["floors"].items())


def _metric(scores: Mapping[str, Any], task: str) -> str:
    told = next(one["tasks"][task] for one in scores["models"].values() if task in one["tasks"])
    return f"{code(task)} {escape(told['metric'])} of {told['samples']} questions"


# --- cards --------------------------------------------------------------------------------


def _cards(runs: list[Published]) -> str:
    rows = []
    for run in runs:
        for kind in ("corpus", "model"):
            for name, one in run.of_kind(kind).items():
                link = f"[{escape(run.name)}/{escape(name)}](cards/{run.name}-{name}.md)"
                rows.append((link, kind, escape(one["step"]), code(one["digest"][:12])))
    return "\n\n".join(
        [
            "# Cards of data and models · カード",
            "What is known of each published corpus and model, from its sealed manifest. "
            "The text and the weights are not here; the recipe makes them anew, and the digest "
            "says whether they are the same. · 公開されたコーパスとモデルについて、"
            "封印された目録から分かることです。文章と重みはここにありません。"
            "レシピから作り直せ、同じかどうかはダイジェストで分かります。",
            table(("name", "kind", "step", "digest"), rows)
            if rows
            else "Nothing is published yet.",
        ]
    )


def _head(run: Published, name: str, one: Manifest) -> list[str]:
    rows = [
        ("name", escape(one["name"])),
        ("made by", f"[`{one['step']}`](../../reference/steps.md)"),
        ("made", escape(str(one["circumstances"].get("made", "")))),
        ("run", code(str(one["circumstances"].get("run", "")))),
        ("licence", escape(one["licence"])),
        ("seed", str(one["seed"])),
        ("digest", code(one["digest"])),
        ("code", ", ".join(code(c) for c in one["code"])),
        ("size", f"{sum(f['bytes'] for f in one['files'].values()) / 1e6:.2f} MB in "
                 f"{len(one['files'])} files"),
    ]  # fmt: skip
    inputs = [_input(run, i) for i in one["inputs"]]
    rows += [("made from", ", ".join(inputs))] if inputs else []
    title = f"{run.name}/{name}"
    return [
        titled(title),
        f"# {escape(title)}",
        "[All cards](../cards.md) · [Leaderboard](../leaderboard.md)",
        table(("this artifact", "value"), rows),
    ]


def _input(run: Published, told: Mapping[str, str]) -> str:
    name = told["name"].rpartition("/")[2].partition("@")[0]
    if run.manifests.get(name, {}).get("kind") in ("corpus", "model"):
        return f"[{escape(told['name'])}]({run.name}-{name}.md)"
    return escape(told["name"])


def _sources(one: Manifest) -> str:
    rows = [
        (
            escape(s["name"]),
            escape(s.get("version", "")),
            escape(s["licence"]),
            escape(", ".join(s["languages"])),
            escape(s.get("note", "")),
        )
        for s in one["sources"]
    ]
    return table(("source", "version", "licence", "languages", "note"), rows)


def _data_card(run: Published, name: str, one: Manifest) -> str:
    facts = one["facts"]
    account = [
        (
            escape(source),
            *(str(row[key]) for key in ("in", "kept", "heldout", "dropped", "unreadable")),
        )
        for source, row in facts["by_source"].items()
    ]
    dropped = sorted(facts["dropped_by_rule"].items(), key=lambda pair: -pair[1])
    languages = [
        (escape(k), f"{v['documents']:,}", f"{v['bytes']:,}")
        for k, v in facts["by_language"].items()
    ]
    licences = [
        (escape(k), f"{v['documents']:,}", f"{v['bytes']:,}")
        for k, v in facts["by_licence"].items()
    ]
    return "\n\n".join(
        [
            *_head(run, name, one),
            "## Every document · すべての文書の行き先",
            table(("source", "in", "kept", "held out", "dropped", "unreadable"), account),
            "## Dropped by rule · 規則により落としたもの",
            table(("rule", "documents"), [(code(k), f"{v:,}") for k, v in dropped]),
            "## Languages and licences · 言語とライセンス",
            table(("language", "documents", "bytes"), languages),
            table(("licence", "documents", "bytes"), licences),
            "## Sources · 出典",
            _sources(one),
        ]
    )


def _model_card(run: Published, name: str, one: Manifest) -> str:
    facts = one["facts"]
    plain = {k: v for k, v in facts.items() if isinstance(v, (int, float, str)) and v != ""}
    parts = [
        *_head(run, name, one),
        "## What is known · 分かっていること",
        table(
            ("fact", "value"), [(escape(k.replace("_", " ")), _value(v)) for k, v in plain.items()]
        ),
    ]
    if lines := facts.get("headline"):
        parts += ["## In its maker's words", "\n".join(f"* {escape(line)}" for line in lines)]
    for step, scores in run.scores.items():
        if name in scores["models"]:
            parts += ["## Scores · 点数", *_own_scores(scores, name), f"From {code(step)}: "
                      "[the leaderboard](../leaderboard.md) has it beside others."]  # fmt: skip
    parts += [
        "## Limits · 限界",
        "It repeats what it read, personal data included. Scores are those of the held-out text "
        "and tasks named here, and say nothing of other text. · 読んだものを、個人情報も含めて"
        "繰り返します。点数はここにある文章と課題のものです。",
        "## Sources of its text · 文章の出典",
        _sources(one),
    ]
    return "\n\n".join(parts)


def _own_scores(scores: Mapping[str, Any], name: str) -> Iterator[str]:
    one = scores["models"][name]
    rows = []
    for corpus, by in one["bits_per_byte"].items():
        for group, value in by.items():
            floors = ", ".join(
                f"{floor} {bits[corpus][group]:.2f}"
                for floor, bits in scores.get("floors", {}).items()
                if group in bits.get(corpus, {})
            )
            interval = _between(one.get("bits_per_byte_interval", {}).get(corpus, {}).get(group), 1)
            what = f"{escape(corpus)}: {escape(group)}, bits per byte"
            rows.append((what, f"{value:.2f}{interval}", floors))
    for task, told in one["tasks"].items():
        floors = ", ".join(f"{floor} {value:.1%}" for floor, value in told["floors"].items())
        value = f"{told['score']:.1%}{_between(told.get('interval'), 100)}"
        reasons = told.get("reasons", {})
        cut = f"; {reasons['truncated']} answers were cut off" if reasons.get("truncated") else ""
        rows.append((f"{code(task)}, {told['samples']} questions", value + cut, floors))
    yield table(("on", "value", "without a model"), rows)


def _value(value: Any) -> str:
    if isinstance(value, (bool, str)):
        return escape(str(value))
    return f"{value:,}"
