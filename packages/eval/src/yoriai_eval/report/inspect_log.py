"""Scores as logs of Inspect (https://inspect.aisi.org.uk), schema version 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yoriai import Artifact, Sample
from yoriai_eval.report.exports import (
    Row,
    Total,
    asked_with,
    hashed,
    key_of,
    line,
    made,
    names_of,
    paired,
    plain,
    totals,
    values,
    writing,
)
from yoriai_eval.scoring.protocol import Exam
from yoriai_eval.scoring.rescoring import Questions
from yoriai_eval.scoring.rows import scored

_STOPS = {"stop": "stop", "end": "stop", "length": "max_tokens", "refused": "content_filter"}
_REASONS = {
    "unparsed": "invalid_response_format",
    "refused": "refusal",
    "errored": "no_response",
}


def write(scores: Artifact, asked: Questions, out: Path) -> list[Path]:
    """One ``.json`` log of schema version 2 for every model and exam, for Inspect's viewer.

    Read by ``inspect_ai.log.read_eval_log`` (checked with 0.3.285: inspect_ai/log/_log.py). The
    samples come last in the file, so that it can be written, and its head read, as a stream.
    """
    sums = totals(scores, asked)
    names = names_of(sums)
    date = made(scores).replace(":", "-")
    written = []
    rest = paired(scores, asked)
    ahead = next(rest, None)
    while ahead is not None:
        key = key_of(ahead[0])
        mark = hashed(f"{scores.digest} {key}")[:22]
        path = out / f"{date}_{plain(key[0])}-{names[key]}_{mark}.json"
        with writing(path) as stream:
            head = _inspect_head(scores, sums[key], names[key], mark)
            stream.write(line(head)[:-1] + b', "samples": [')
            first = True
            while ahead is not None and key_of(ahead[0]) == key:
                stream.write((b"\n" if first else b",\n") + line(_inspect_sample(*ahead)))
                first, ahead = False, next(rest, None)
            stream.write(b"\n]}\n")
        written.append(path)
    return written


def _inspect_head(scores: Artifact, total: Total, name: str, mark: str) -> dict[str, Any]:
    facts, exam, moment = scores.facts, total.exam, made(scores)
    results = []
    for metric, (value, error) in total.metrics(facts).items():
        found = {"mean": {"name": "mean", "value": value}}
        if error is not None:
            found["stderr"] = {"name": "stderr", "value": error}
        results.append({"name": metric, "scorer": metric, "metrics": found})
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": mark,
            "run_id": str(scores.manifest["circumstances"].get("run", "")),
            "created": moment,
            "task": name,
            "task_id": mark,
            "task_version": type(exam.task).version,
            "task_args": {
                "task": exam.name,
                "form": exam.form,
                "protocol": facts.get("protocol"),
                "split": facts.get("split"),
            },
            "dataset": {"name": exam.name, "samples": total.count, "shuffled": False},
            "model": f"yoriai/{total.model}",
            "model_args": dict(scored(facts).get(total.model, {}).get("asked_with", {})),
            "config": {"epochs": 1, "limit": facts.get("limit") or None},
            "packages": _packages(scores),
            "metadata": {"scores": scores.name, "digest": scores.digest},
        },
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}}]},
        "results": {
            "total_samples": total.count,
            "completed_samples": total.count,
            "scores": results,
        },
        "stats": {"started_at": moment, "completed_at": moment},
    }


def _packages(scores: Artifact) -> dict[str, str]:
    """Version by distribution, from the marks of the code that made the scores."""
    return {
        name: version
        for name, _, version in (str(c).partition(" ") for c in scores.manifest["code"])
    }


def _inspect_sample(row: Row, exam: Exam, sample: Sample) -> dict[str, Any]:
    text, model = asked_with(exam, sample, row), f"yoriai/{row['model']}"
    target = sample.gold if exam.form != "bits-per-byte" else ""
    said = str(row.get("output", ""))
    reason = row.get("reason", "")
    scored: dict[str, Any] = {}
    for name, value in values(row, exam).items():
        number = value / max(1, row["bytes"]) if "bits" in row else value
        scored[name] = {"value": number, "answer": row.get("answer", said), "explanation": reason}
        if reason in _REASONS:
            scored[name]["reason"] = _REASONS[reason]
    kept = ("group", "cluster", "reason", "shots", "prompt_sha256", "likelihoods", "picked")
    metadata = {key: row[key] for key in (*kept, "bits", "bytes", "note") if key in row}
    told: dict[str, Any] = {
        "id": sample.id,
        "epoch": 1,
        "input": text,
        "target": [target, *sample.answers] if sample.answers else target,
        "messages": [{"role": "user", "content": text}],
        "output": {"model": model, "choices": []},
        "scores": scored,
        "metadata": metadata,
    }
    if sample.choices:
        told["choices"] = list(sample.choices)
    if "output" in row:
        message = {"role": "assistant", "content": said, "source": "generate", "model": model}
        told["messages"].append(message)
        stop = _STOPS.get(row.get("ended", "end"), "unknown")
        told["output"]["choices"] = [{"message": message, "stop_reason": stop}]
        if row.get("ended") == "error":
            told["output"]["error"] = row.get("note", "")
    return told
