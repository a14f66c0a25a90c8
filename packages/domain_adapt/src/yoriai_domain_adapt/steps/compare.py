"""``domain-adapt/compare``: variants of a model side by side, and which no other beats."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from yoriai import Artifact, Job, Made, Step, UsageError, console, files
from yoriai_domain_adapt.measure import scores

TIMED_TEXTS, TIMED_CHARACTERS = 16, 600


class Compare(Step):
    """What each variant gained and lost against the first model, from one scores artifact.

    Takes the models and the ``scores`` of an ``eval/run`` that asked them all; with the corpora
    under ``from`` what was forgotten is told by source, too, and with ``speed`` each model is timed
    on their held-out text (tokens and bytes a second and peak memory, to the run file). A variant
    is on the Pareto front if no other is better on the domain and no worse in general, or the
    other way round; and the same for size and quality. With ``shares`` (what part of training was
    general text) it fits the forgetting curve and says which share would have been best.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "comparison"
    measures: ClassVar[tuple[str, ...]] = (
        "models.*.domain",
        "models.*.general",
        "models.*.bytes",
        "replay.**",
    )
    takes: ClassVar[tuple[str, ...]] = ("model", "scores")
    optional: ClassVar[tuple[str, ...]] = ("corpus",)
    circumstances: ClassVar[tuple[str, ...]] = ("speed",)

    domain: tuple[str, ...] = Field(
        (),
        description="groups of held-out text (corpus.language) that are the domain's; empty: those"
        " of the first corpus under 'from', or the first by name",
    )
    task: str = Field("heldout", description="the task whose bits per byte are compared")
    shares: dict[str, float] = Field({}, description="model: its share of general text")
    speed: bool = Field(False, description="time each model on held-out text")
    predicted: float | None = Field(
        None, ge=0, le=1, description="the share that was expected to be best, before the run"
    )

    def run(self, job: Job) -> Made:
        models = job.all_of("model")
        if len(models) < 2:
            raise UsageError(
                "compare needs the base and at least one variant", hint="from: [BASE, ONE, SCORES]"
            )
        rows = scores.read_rows(job.one("scores"))
        missing = [model.step for model in models if model.step not in rows]
        if missing:
            raise UsageError(
                f"the scores know no {missing[0]}; they know {', '.join(sorted(rows))}",
                hint="name every model under 'from' of the eval/run step, too",
            )
        base = models[0].step
        groups = {r.group for r in rows[base] if r.task == self.task}
        if not groups:
            raise UsageError(f"the scores have no task {self.task!r}", hint="task: heldout")
        domain = self.domain or _domain_of(job, groups)
        if bad := [group for group in domain if group not in groups]:
            raise UsageError(f"domain: no group {bad[0]!r}; there are {', '.join(sorted(groups))}")
        general = sorted(groups - set(domain))
        sources = _sources_of(job.all_of("corpus"))
        self._time(job, models)
        table: dict[str, Any] = {}
        for model in models:
            name = model.step
            told = (
                scores.by_source(rows[base], rows[name], self.task, sources, job.seed)
                if name != base
                else []
            )
            lost = scores.total(rows[name], self.task, general) if general else None
            compared = scores.compare(rows[base], rows[name], job.seed) if name != base else []
            table[name] = {
                "domain": round(scores.total(rows[name], self.task, domain), 4),
                "general": round(lost, 4) if lost is not None else None,
                "bytes": scores.folder_bytes(model.path),
                "differences": [difference.plain() for difference in compared],
                "by_source": [difference.plain() for difference in told],
            }
        facts: dict[str, Any] = {
            "base": base, "domain": list(domain), "general": general, "models": table,
            "front_size": scores.pareto(
                {n: (float(row["bytes"]), row["domain"]) for n, row in table.items()}
            ),
        }  # fmt: skip
        if general:
            both = {n: (row["domain"], row["general"]) for n, row in table.items()}
            facts["front_both_ways"] = scores.pareto(both)
        if self.shares:
            facts["replay"] = replay_curve(self.shares, table, self.predicted)
        files.write_atomically(job.out / "comparison.json", files.canonical_json(facts))
        return Made(facts=facts, headline=_headline(facts))

    def _time(self, job: Job, models: list[Artifact]) -> None:
        if not self.speed:
            return
        from yoriai_domain_adapt.measure.speed import measure_speed
        from yoriai_domain_adapt.steps.adapting import heldout_texts

        texts = heldout_texts(job.all_of("corpus"), TIMED_TEXTS, TIMED_CHARACTERS)
        if not texts:
            raise UsageError(
                "speed: there is no held-out text to read",
                hint="add the corpora under 'from'",
            )
        for model in job.progress(models, "time", len(models)):
            told = measure_speed(model.path, texts)
            job.metric(kind="variant", model=model.step, **told)
            console.note(
                f"  {model.step}: {told['tokens_per_second']:,.0f} tokens/s,"
                f" {told['bytes_per_second']:,.0f} bytes/s, {told['peak_memory_mb']:,.0f} MB"
            )


def _domain_of(job: Job, groups: set[str]) -> tuple[str, ...]:
    """The groups of the first corpus under ``from``; without one the first by name, and told."""
    if corpora := job.all_of("corpus"):
        own = sorted(g for g in groups if g.startswith(f"{corpora[0].step}."))
        if own:
            return tuple(own)
    first = min(groups)
    console.note(f"step {job.name!r}: {first} counts as the domain; domain: [GROUP] says another")
    return (first,)


def _sources_of(corpora: list[Artifact]) -> dict[str, str]:
    """The source of each held-out document, by the id that its sample has in the scores."""
    import pyarrow.parquet as pq

    found: dict[str, str] = {}
    for corpus in corpora:
        for path in corpus.files_under("heldout"):
            for row in pq.read_table(path, columns=["source", "id"]).to_pylist():
                found[f"{corpus.step}/{row['source']}/{row['id']}"] = row["source"]
    return found


def replay_curve(
    shares: dict[str, float], table: dict[str, Any], predicted: float | None
) -> dict[str, Any]:
    """The share at which domain and general bits per byte together are least.

    Their sum is fitted by a parabola in the share; the optimum is its lowest point inside the
    shares that were tried. Fewer than three shares have no curve.
    """
    import numpy as np

    if bad := [name for name in shares if name not in table]:
        raise UsageError(f"shares: no model {bad[0]!r}; there are {', '.join(sorted(table))}")
    points = sorted(
        (share, table[n]["domain"], table[n]["general"] or 0.0, n) for n, share in shares.items()
    )
    x = np.array([p[0] for p in points])
    total = np.array([p[1] + p[2] for p in points]) / 2
    told: dict[str, Any] = {
        "points": [{"model": p[3], "share": p[0], "domain": p[1], "general": p[2]} for p in points],
        "measured_best": float(x[int(total.argmin())]),
        "predicted_best": predicted,
    }
    if len(points) >= 3:
        a, b, _ = np.polyfit(x, total, 2)
        ends = (float(x[0]), float(x[-1]))
        lowest = -b / (2 * a) if a > 0 else ends[int(total[-1] < total[0])]
        told["fitted_best"] = round(float(min(max(lowest, ends[0]), ends[1])), 3)
    return told


def _headline(facts: dict[str, Any]) -> list[str]:
    lines = []
    base = facts["models"][facts["base"]]
    for name, row in facts["models"].items():
        general = f", general {row['general']:.4g}" if row["general"] is not None else ""
        gained = f" (domain {row['domain'] - base['domain']:+.3g}" if name != facts["base"] else ""
        if gained:
            lost = row["general"] - base["general"] if row["general"] is not None else None
            gained += f", general {lost:+.3g})" if lost is not None else ")"
        lines.append(
            f"{name}: domain {row['domain']:.4g}{general}, {row['bytes'] / 1e6:.2f} MB{gained}"
        )
    if "front_both_ways" in facts:
        lines.append(f"no other beats: {', '.join(facts['front_both_ways'])}")
    if replay := facts.get("replay"):
        lines.append(
            f"replay: best of those tried {replay['measured_best']:.0%}, by the curve"
            f" {replay.get('fitted_best', float('nan')):.0%}"
        )
    return lines
