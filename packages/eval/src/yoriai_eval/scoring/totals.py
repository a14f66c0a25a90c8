"""From rows to scores: metrics, intervals, floors, reasons, categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from yoriai import Artifact, Sample
from yoriai.contracts import samples_digest
from yoriai_eval.scoring import statistics
from yoriai_eval.scoring.floors import floors
from yoriai_eval.scoring.metrics import METRICS
from yoriai_eval.scoring.protocol import Exam, Protocol
from yoriai_eval.scoring.sections import REASONS

PLACES = 4  # digits of a score: one in ten thousand
Facts = dict[str, Any]
Row = dict[str, Any]


def numbers(models: Sequence[str], tasks: Sequence[str]) -> list[str]:
    """What may be predicted of scores (:meth:`yoriai.Step.measured`)."""
    found = ["limit", "floors.*.*.*"]
    for model in models:
        found += [
            f"models.{model}.{rest}"
            for rest in ("average", "categories.*", "asked_with.*", "bits_per_byte.*.*",
                         "bits_per_byte_documents.*.*")
        ]  # fmt: skip
        found += [
            f"models.{model}.tasks.{task}.{rest}"
            for task in tasks
            for rest in ("score", "samples", "clusters", "metrics.*", "reasons.*", "floors.*",
                         "shots.*", "groups.*.score", "groups.*.samples")
        ]  # fmt: skip
    return found


def add(
    facts: Facts,
    exam: Exam,
    samples: Iterable[Sample],
    answers: Mapping[str, Iterable[Row]],
    corpora: Sequence[Artifact],
    seed: int,
) -> None:
    """Put what came of one exam into ``facts``, for every model."""
    questions = list(samples)
    if exam.form == "bits-per-byte":
        for corpus, language, floor, value in _text_floors(questions, corpora):
            place = facts["floors"].setdefault(floor, {}).setdefault(corpus, {})
            place[language] = round(value, PLACES)
        for model, rows in answers.items():
            _add_bits(facts["models"].setdefault(model, {}), rows, seed)
        return
    known = {} if exam.form == "gold" else floors(exam, questions)
    golds = [s.gold for s in questions]
    digest = samples_digest(questions)
    for model, rows in answers.items():
        tasks = facts["models"].setdefault(model, {}).setdefault("tasks", {})
        scores = score_gold(rows, seed) if exam.form == "gold" else score(exam, rows, golds, seed)
        if exam.short in tasks:  # asked in another form before: that form's score stands
            tasks[exam.short]["metrics"] |= scores["metrics"]
            continue
        tasks[exam.short] = {
            **scores,
            "samples_digest": digest,
            "floors": {name: round(value, PLACES) for name, value in known.items()},
        }
        if conditions := exam.task.conditions():
            tasks[exam.short]["conditions"] = dict(conditions)


def point(exam: Exam, rows: Sequence[Row], golds: Sequence[str]) -> float:
    """The score alone, as :func:`score` and :func:`score_gold` have it, without its interval."""
    if exam.form == "gold":
        size = sum(row["bytes"] for row in rows)
        return round(sum(row["bits"] for row in rows) / max(1.0, size), PLACES)
    metric = METRICS.get(exam.metrics[0])
    if metric is not None and metric.corpus is not None:
        return round(metric.corpus([row.get("answer", "") for row in rows], golds), PLACES)
    return round(sum(row["score"] for row in rows) / max(1, len(rows)), PLACES)


def score(exam: Exam, rows: Iterable[Row], golds: Sequence[str], seed: int) -> Facts:
    """Scores of one model in one exam over all of its samples, whatever became of each."""
    columns: dict[str, list[float]] = {}
    reasons: Counter[str] = Counter()
    shots: Counter[str] = Counter()
    groups: list[str] = []
    clusters: list[str] = []
    said: list[str] = []
    for row in rows:
        for name, value in row["scores"].items():
            columns.setdefault(name, []).append(value)
        reasons[row["reason"]] += 1
        groups.append(row["group"])
        clusters.append(row.get("cluster", ""))
        said.append(row.get("answer", ""))
        if "shots" in row:
            shots[str(row["shots"])] += 1
    count = len(groups)
    metrics, intervals = {}, {}
    for name in dict.fromkeys((*exam.metrics, *columns)):
        metric = METRICS.get(name)
        if metric is not None and metric.corpus is not None:
            metrics[name] = metric.corpus(said, golds)
            intervals[name] = statistics.paired_interval(metric.corpus, said, golds, seed)
        elif name in columns:
            metrics[name] = sum(columns[name]) / count
            intervals[name] = statistics.mean_interval(columns[name], clusters, seed)
    first = next(iter(metrics))
    values = columns.get(first, [])
    return {
        "metric": first,
        "score": round(metrics[first], PLACES),
        "interval": [round(bound, PLACES) for bound in intervals[first]],
        "samples": count,
        "clusters": len(set(statistics.cluster_places(clusters).tolist())),
        "reasons": {name: reasons[name] for name in REASONS if reasons[name]},
        "metrics": {name: round(value, PLACES) for name, value in metrics.items()},
        **({"groups": _groups(groups, values)} if 1 < len(set(groups)) <= 60 and values else {}),
        **({"shots": dict(sorted(shots.items()))} if len(shots) > 1 else {}),
    }


def _groups(groups: Sequence[str], values: Sequence[float]) -> dict[str, dict[str, float]]:
    """Score and size of each group."""
    found: dict[str, list[float]] = {}
    for group, value in zip(groups, values, strict=True):
        found.setdefault(group, []).append(value)
    return {
        group: {"score": round(sum(v) / len(v), PLACES), "samples": len(v)}
        for group, v in sorted(found.items())
    }


def score_gold(rows: Iterable[Row], seed: int) -> Facts:
    """Bits per byte of the right answers, all of them together."""
    bits, sizes, clusters = [], [], []
    lost = 0
    for row in rows:
        lost += row.get("reason") == "errored"
        bits.append(row["bits"])
        sizes.append(float(row["bytes"]))
        clusters.append(row.get("cluster", ""))
    value = sum(bits) / max(1.0, sum(sizes))
    low, high = statistics.ratio_interval(bits, sizes, seed, clusters=clusters)
    return {
        "metric": "gold_bits_per_byte",
        "score": round(value, PLACES),
        "interval": [round(low, PLACES), round(high, PLACES)],
        "samples": len(bits),
        **({"reasons": {"errored": lost}} if lost else {}),
        "metrics": {"gold_bits_per_byte": round(value, PLACES)},
    }


def average(facts: Facts, protocol: Protocol, models: Sequence[str]) -> None:
    """Means over the tasks of each category, and over categories, where all parts are there.

    Their intervals take tasks as independent: half the width adds up in squares.
    """
    for model in models:
        told = facts["models"].get(model, {})
        tasks = told.get("tasks", {})
        parts: dict[str, tuple[float, float]] = {
            name: (t["score"], statistics.half_width(t["interval"])) for name, t in tasks.items()
        }
        categories = _means(protocol.categories, parts)
        if not categories:
            continue
        told["categories"] = {c: round(v, PLACES) for c, (v, _) in categories.items()}
        whole = _means({"average": protocol.average}, categories)
        if whole:
            value, half = whole["average"]
            told["average"] = round(value, PLACES)
            told["average_interval"] = [
                round(max(0.0, value - half), PLACES),
                round(min(1.0, value + half), PLACES),
            ]


def _means(
    groups: Mapping[str, Sequence[str]], parts: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    means = {}
    for group, members in groups.items():
        if members and all(member in parts for member in members):
            values = [parts[member] for member in members]
            half = statistics.in_squares([(1 / len(values), h) for _, h in values])
            means[group] = (sum(v for v, _ in values) / len(values), half)
    return means


def _add_bits(place: Facts, rows: Iterable[Row], seed: int) -> None:
    groups: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        bits, sizes = groups.setdefault(row["group"], ([], []))
        bits.append(row["bits"])
        sizes.append(float(row["bytes"]))
    for group, (bits, sizes) in sorted(groups.items()):
        corpus, _, language = group.partition(".")
        value = round(sum(bits) / max(1.0, sum(sizes)), PLACES)
        low, high = statistics.ratio_interval(bits, sizes, seed)
        place.setdefault("bits_per_byte", {}).setdefault(corpus, {})[language] = value
        interval = place.setdefault("bits_per_byte_interval", {}).setdefault(corpus, {})
        interval[language] = [round(low, PLACES), round(high, PLACES)]
        counts = place.setdefault("bits_per_byte_documents", {}).setdefault(corpus, {})
        counts[language] = len(bits)


def _text_floors(
    samples: Sequence[Sample], corpora: Sequence[Artifact]
) -> Iterator[tuple[str, str, str, float]]:
    """(corpus, language, floor, value); unigram only where the corpus to count in is at hand."""
    import pyarrow.parquet as pq

    training: dict[str, list[str]] = {}
    for corpus in corpora:
        table = pq.read_table(corpus.files_under("documents"), columns=["text", "language"])
        for row in table.to_pylist():
            training.setdefault(f"{corpus.step}.{row['language']}", []).append(row["text"])
    known = {corpus.step for corpus in corpora}
    for group in sorted({s.group for s in samples}):
        name, _, language = group.partition(".")
        texts = [s.text for s in samples if s.group == group]
        if name in known:
            unigram = statistics.unigram_bits_per_byte(training.get(group, ()), texts)
            yield name, language, "unigram", unigram
        yield name, language, "gzip", statistics.gzip_bits_per_byte(texts)


def headline(facts: Facts) -> list[str]:
    """Readable lines: every score beside its floor."""
    lines = []
    beside = facts["floors"]
    for model, scores in facts["models"].items():
        for corpus, values in scores.get("bits_per_byte", {}).items():
            shown = []
            for language, value in values.items():
                known = ", ".join(
                    f"{floor} {beside[floor][corpus][language]:.2f}"
                    for floor in ("gzip", "unigram")
                    if language in beside.get(floor, {}).get(corpus, {})
                )
                counts = scores.get("bits_per_byte_documents", {}).get(corpus, {})
                documents = counts.get(language, 0)
                of = f" of {documents} document{'s' * (documents != 1)}" if documents else ""
                shown.append(f"{language} {value:.2f}{of} ({known})")
            lines.append(f"{model}: bits per byte on {corpus}: {', '.join(shown)}")
        lines += [f"{model}: {_line(name, task)}" for name, task in scores.get("tasks", {}).items()]
        if "average" in scores:
            low, high = scores["average_interval"]
            parts = ", ".join(f"{c} {v:.4f}" for c, v in scores["categories"].items())
            lines.append(
                f"{model}: average {scores['average']:.4f} ({low:.4f} to {high:.4f}; {parts})"
            )
    return lines


def _line(name: str, task: Facts) -> str:
    low, high = task["interval"]
    if task["metric"] == "gold_bits_per_byte":
        lost = task.get("reasons", {}).get("errored", 0)
        told = f" ({lost} of {task['samples']} did not fit, at 8 bits a byte)" if lost else ""
        return f"{name} {task['score']:.2f} bits per byte of the answer{told}"
    metric = "" if task["metric"] in ("accuracy", "exact_match") else f" {task['metric']}"
    known = "".join(f", {floor} {value:.1%}" for floor, value in task["floors"].items())
    lost = sum(task["reasons"].get(r, 0) for r in ("truncated", "refused", "errored", "unparsed"))
    told = f", {lost} of {task['samples']} without a usable answer" if lost else ""
    return f"{name}{metric} {task['score']:.1%} (95 % {low:.1%} to {high:.1%}{known}{told})"
