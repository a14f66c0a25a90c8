"""The card of a model, written from its lineage: what it was made of, how, and how well it does.

The form is the Hub's (https://huggingface.co/docs/hub/model-cards): YAML at the top, Markdown
below, scores in ``model-index``. Everything comes from sealed artifacts; what nobody measured or
wrote down is named as not recorded. Strings from outside are escaped: a card opens in a browser.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from yoriai import hub_licences
from yoriai.ancestry import Ancestry
from yoriai.artifact import Artifact
from yoriai.plain_markdown import escape

Front = dict[str, Any]
NOT_RECORDED = "Not recorded."
FACTS_OF_PROBES = "probes.json"
_FEW = 30  # keys of a step's settings that a card shows


def model_card(
    model: Artifact,
    made_of: Ancestry,
    *,
    scores: Sequence[Artifact] = (),
    asked: Artifact | None = None,
    contamination: Sequence[Artifact] = (),
    probes: Sequence[Artifact] = (),
    energy_kwh: float | None = None,
    failures: str = "",
) -> str:
    """``README.md`` of a model's release.

    ``scores`` may be those of ``asked``, a model that this one was made of: a form that no task was
    put to; ``probes`` may have looked into such a one, too. ``failures`` is what people wrote about
    its failures.
    """
    front = _front(model, made_of, scores)
    parts = [
        front_text(front),
        f"# {escape(model.name.partition('@')[0])}",
        "\n".join(f"* {escape(line)}" for line in model.facts.get("headline", ())),
        "## Use",
        _use(model),
        "## How it was made",
        _recipe(made_of),
        "## Data",
        _data(model, made_of),
        "## Scores",
        *([f"Of {escape(asked.step)}, which this was made of."] if asked else []),
        _scores(asked or model, scores),
        *_section("## Transparency", _transparency(made_of, probes)),
        *_section("## Gained and lost", _gained(made_of)),
        *_section("## Parity from form to form", _gates(made_of)),
        "## Contamination",
        _contamination(made_of, contamination),
        "## Known failures",
        _failures(asked or model, made_of, scores, failures),
        "## Energy",
        NOT_RECORDED
        if energy_kwh is None
        else f"{energy_kwh:.4g} kWh were counted in training and adaptation.",
        "## Provenance",
        _provenance(model, made_of),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; cells are shown as they are."""

    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    made = [line(row) for row in rows]
    return "\n".join([line(columns), "|" + " --- |" * len(columns), *made])


def sources_of(artifact: Artifact, made_of: Ancestry) -> list[Mapping[str, Any]]:
    """The sources that an artifact carries, and those of what it was made of; each once."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in (artifact, *made_of.artifacts):
        for source in one.manifest["sources"]:
            found.setdefault(json.dumps(source, sort_keys=True), source)
    return sorted(found.values(), key=lambda source: (str(source.get("name")), str(source)))


def card_front(licence: Front, sources: Iterable[Mapping[str, Any]], tags: Sequence[str]) -> Front:
    """What every card's YAML begins with: licence, languages that the Hub has, tags."""
    named = {str(language) for source in sources for language in source.get("languages", ())}
    codes = sorted({code for name in named if 2 <= len(code := name.partition("_")[0]) <= 3})
    return {
        **licence,
        **({"language": codes} if codes else {}),
        "tags": list(tags),
    }


def _front(model: Artifact, made_of: Ancestry, scores: Sequence[Artifact]) -> Front:
    gguf = any(name.endswith(".gguf") for name in model.manifest["files"])
    entry = str(model.manifest["step"])
    front = card_front(
        hub_licences.of_whole(str(model.manifest["licence"])),
        sources_of(model, made_of),
        ["yoriai", *_tag(entry)],
    )
    front["pipeline_tag"] = "text-generation"
    if not gguf:
        front["library_name"] = "transformers"
    if results := list(_results(model, scores)):
        front["model-index"] = [{"name": model.step, "results": results}]
    return front


def _tag(entry: str) -> list[str]:
    return [entry.rpartition("/")[2]] if entry else []


def _results(model: Artifact, scores: Sequence[Artifact]) -> Iterator[Front]:
    """The Hub's ``model-index``: one task result a row; only what a task's own score says."""
    for name, told, _ in _scored(model, scores):
        for task, row in told.get("tasks", {}).items():
            yield {
                "task": {"type": "text-generation"},
                "dataset": {"name": task, "type": task},
                "metrics": [
                    {
                        "type": str(row.get("metric", "score")),
                        "value": row["score"],
                        "name": f"{task} ({name})",
                    }
                ],
            }


def front_text(front: Front) -> str:
    import yaml

    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---"


def _section(title: str, text: str) -> list[str]:
    return [title, text] if text else []


def _use(model: Artifact) -> str:
    if any(name.endswith(".gguf") for name in model.manifest["files"]):
        return '```\nllama-cli -m model.gguf -p "..."\n```'
    return (
        "```python\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")\n'
        'model = AutoModelForCausalLM.from_pretrained("FOLDER")\n'
        "```"
    )


def _recipe(made_of: Ancestry) -> str:
    rows = [
        (one.step, one.manifest["step"], _settings(one.config), one.manifest["digest"][:12])
        for one in made_of.in_order()
    ]
    text = table(("step", "made by", "settings", "digest"), rows)
    if made_of.missing:
        gone = ", ".join(escape(name) for name in made_of.missing)
        text += f"\n\nNot here when this was written: {gone}."
    return text


def _settings(config: Mapping[str, Any]) -> str:
    kept = [
        f"{key}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in config.items()
        if isinstance(value, (int, float, str, bool)) and value not in ("", None)
    ]
    return ", ".join(kept[:_FEW])


def _data(model: Artifact, made_of: Ancestry) -> str:
    sources = sources_of(model, made_of)
    if not sources:
        return NOT_RECORDED
    rows = [
        (
            source.get("name", ""), source.get("version", ""),
            ", ".join(source.get("languages", ())), source.get("licence") or "not stated",
            source.get("url", ""), source.get("note", ""),
        )
        for source in sources
    ]  # fmt: skip
    parts = [table(("source", "version", "languages", "licence", "address", "note"), rows)]
    sizes = [
        (corpus.step, language, row.get("documents"), row.get("bytes"))
        for corpus in made_of.of_kind("corpus")
        for language, row in corpus.facts.get("by_language", {}).items()
    ]
    if sizes:
        parts.append(table(("corpus", "language", "documents", "bytes"), sizes))
    counted = [name for name, some in hub_licences.by_licence(sources).items() for _ in some[:1]]
    parts.append(f"Licences by source: {escape(', '.join(counted))}. `LICENCES.md` lists them all.")
    return "\n\n".join(parts)


def _scored(
    model: Artifact, scores: Sequence[Artifact]
) -> Iterator[tuple[str, Mapping[str, Any], Artifact]]:
    """(protocol, what was measured, artifact) of each scores artifact that asked the model."""
    for artifact in scores:
        told = artifact.facts.get("models", {}).get(model.step)
        if told:
            yield f"protocol {artifact.facts.get('protocol', '')}", told, artifact


def _scores(model: Artifact, scores: Sequence[Artifact]) -> str:
    rows: list[Sequence[object]] = []
    bits: list[Sequence[object]] = []
    for protocol, told, artifact in _scored(model, scores):
        for task, row in told.get("tasks", {}).items():
            floors = row.get("floors", {})
            rows.append(
                (
                    task, row.get("metric", ""), row["score"], _interval(row.get("interval")),
                    ", ".join(f"{name} {value:.3g}" for name, value in floors.items()),
                    row.get("samples", ""), protocol.removeprefix("protocol "),
                )
            )  # fmt: skip
        for corpus, languages in told.get("bits_per_byte", {}).items():
            for language, value in languages.items():
                interval = told.get("bits_per_byte_interval", {}).get(corpus, {}).get(language)
                counts = told.get("bits_per_byte_documents", {}).get(corpus, {})
                floors = artifact.facts.get("floors", {})
                known = ", ".join(
                    f"{name} {by[corpus][language]:.3g}"
                    for name, by in floors.items()
                    if language in by.get(corpus, {})
                )
                bits.append(
                    (f"{corpus} {language}", value, _interval(interval), known,
                     counts.get(language, ""))
                )  # fmt: skip
    parts = []
    if rows:
        columns = ("task", "metric", "score", "95 %", "floors", "samples", "protocol")
        parts.append(table(columns, rows))
    if bits:
        heads = ("held-out text", "bits per byte", "95 %", "floors", "documents")
        parts.append(table(heads, bits))
    return "\n\n".join(parts) or "Not measured: no scores were given for this model."


def _interval(pair: Any) -> str:
    return f"{pair[0]:.4g} to {pair[1]:.4g}" if pair else ""


def _transparency(made_of: Ancestry, probes: Sequence[Artifact]) -> str:
    """What probes measured of the nearest model of the line, with limits, and what they did not."""
    model = made_of.artifacts[0]
    told: list[tuple[str, Mapping[str, Any]]] = []
    for here in reversed(made_of.line()):
        if not told:
            model, told = here, _looked_into(here, probes)
    rows: list[Sequence[object]] = []
    lines = []
    for name, found in told:
        if found["state"] != "ran":
            lines.append(f"{name}: not measured ({'; '.join(found['reasons'])})")
            continue
        holds = {True: "holds", False: "does not hold", None: "not tried"}
        verdict = holds[found["validation"]["holds"]]
        for measure in found["order"][:_FEW]:
            row = found["measures"][measure]
            rows.append((name, measure, row["value"], _interval(row["interval"]) or row["note"],
                         row["chance"], row["items"], verdict))  # fmt: skip
        if (more := len(found["order"]) - _FEW) > 0:
            lines.append(f"{name}: {more} more measures in {FACTS_OF_PROBES}")
        if limits := found["limits"].get("en"):
            lines.append(f"{name} cannot show everything: {limits}")
    columns = ("probe", "measure", "value", "95 %", "chance", "items", "validation")
    parts = [table(columns, rows)] if rows else []
    if told and model is not made_of.artifacts[0]:
        parts = [f"Of {escape(model.step)}, which this was made of.", *parts]
    return "\n\n".join([*parts, *(["\n".join(f"* {escape(x)}" for x in lines)] if lines else [])])


def _looked_into(
    model: Artifact, probes: Sequence[Artifact]
) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (name, subjects[model.step])
        for artifact in probes
        for name, subjects in artifact.facts.get("probes", {}).items()
        if model.step in subjects
    ]


def _gained(made_of: Ancestry) -> str:
    rows = [
        (one.step, row["task"], row["group"], row["before"], row["after"],
         _interval(row["interval_of_difference"]), row["verdict"])
        for one in made_of.line()
        for row in one.facts.get("gained_and_lost", ())
    ]  # fmt: skip
    columns = ("step", "task", "group", "before", "after", "95 % of the difference", "verdict")
    return table(columns, rows) if rows else ""


def _gates(made_of: Ancestry) -> str:
    rows = [
        (one.step, name, row["found"],
         "not judged" if row["tolerance"] is None else row["tolerance"])
        for one in made_of.line()
        for name, row in one.facts.get("gate", {}).items()
    ]  # fmt: skip
    parts = []
    if rows:
        parts += [
            "How far each form drifted from the one it was made of. Logits and divergence are in"
            " nats, ids a share of texts; a hop beyond its tolerance would have failed.",
            table(("hop to", "measured", "drift", "tolerance"), rows),
        ]
    parts += [
        f"Not asked of {escape(one.step)}: {escape(one.facts['gate_not_asked'])}."
        for one in made_of.line()
        if "gate_not_asked" in one.facts
    ]
    return "\n\n".join(parts)


def _contamination(made_of: Ancestry, ledgers: Sequence[Artifact]) -> str:
    rows = [
        (corpus.step, task, row.get("texts", 0), row.get("too_short", 0))
        for corpus in made_of.of_kind("corpus")
        for task, row in (corpus.facts.get("contamination") or {}).items()
    ]
    parts = []
    if rows:
        parts += [
            "Documents that hold text of these tasks were dropped from the corpora:",
            table(("corpus", "task", "texts looked for", "too short to be found"), rows),
        ]
    found = [
        (ledger.step, task, row.get("samples", ""), row.get("dirty", ""))
        for ledger in ledgers
        for task, row in ledger.facts.get("tasks", {}).items()
    ]
    if found:
        parts += [
            "Samples of tasks that were found in what the model was trained on:",
            table(("ledger", "task", "samples", "found"), found),
        ]
    outside = [s["name"] for one in made_of.artifacts if one.facts.get("left_behind") is not None
               for s in one.manifest["sources"]]  # fmt: skip
    if outside:
        names = ", ".join(escape(name) for name in outside)
        parts.append(f"What {names} was trained on is not known, so it was not looked at.")
    return "\n\n".join(parts) or "Not looked for: no corpus was compared with evaluation tasks."


def _failures(model: Artifact, made_of: Ancestry, scores: Sequence[Artifact], written: str) -> str:
    lines = []
    for _, told, _artifact in _scored(model, scores):
        for task, row in told.get("tasks", {}).items():
            floor = max(row.get("floors", {}).values(), default=None)
            interval = row.get("interval")
            if floor is not None and interval and interval[0] <= floor:
                lines.append(
                    f"{task}: {row['score']:.3g} is not surely above its floor {floor:.3g}"
                )
    for one in made_of.line():
        lines += [
            f"{one.step}: lost on {row['task']} {row['group']}".rstrip()
            + f" ({row['before']:.4g} became {row['after']:.4g})"
            for row in one.facts.get("gained_and_lost", ())
            if row["verdict"] == "lost"
        ]
        if why := one.facts.get("not_measured"):
            lines.append(f"{one.step}: {why}")
        if why := one.facts.get("not_checked"):
            lines.append(f"{one.step}: not checked ({why})")
        if texts := one.facts.get("texts_with_other_ids"):
            lines.append(f"{one.step}: some texts are cut otherwise, such as {texts[0]!r}")
    found = "\n".join(f"* {escape(line)}" for line in dict.fromkeys(lines))
    said = written.strip()
    return "\n\n".join(filter(None, (found, said))) or "None was found by what was measured."


def _provenance(model: Artifact, made_of: Ancestry) -> str:
    run = model.manifest["circumstances"].get("run", "")
    return (
        f"Artifact `{escape(model.name)}`, digest `{model.digest}`, run `{escape(run)}`."
        f" {len(made_of.artifacts):,} artifacts lead to it: `provenance.json` holds their digests"
        " and settings, `release.json` the digest of every file here."
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    # A number and a dot, or a dash, begin a list at the start of a line only, which a cell is not.
    return "" if value is None else escape(value).replace("&#46;", ".").replace("&#45;", "-")
