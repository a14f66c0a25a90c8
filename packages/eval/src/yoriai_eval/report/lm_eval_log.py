"""Scores as lm-evaluation-harness writes them with ``--log_samples``."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from yoriai import Artifact, Sample, files
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
from yoriai_eval.scoring import asking
from yoriai_eval.scoring.metrics import METRICS
from yoriai_eval.scoring.protocol import Exam
from yoriai_eval.scoring.rescoring import Questions
from yoriai_eval.scoring.rows import scored

# What it calls what we take; its acc_norm, too, is by the characters of a choice
# (lm_eval/api/task.py, process_results of multiple_choice).
LM_EVAL = {
    "accuracy": "acc",
    "accuracy_characters": "acc_norm",
    "accuracy_bytes": "acc_bytes",
    "accuracy_pmi": "acc_mutual_info",
}
OUTPUT_TYPES = {
    "generation": "generate_until",
    "ranked": "multiple_choice",
    "gold": "loglikelihood",
    "bits-per-byte": "loglikelihood_rolling",
}


def write(scores: Artifact, asked: Questions, out: Path) -> list[Path]:
    """``MODEL/results_DATE.json`` and ``MODEL/samples_TASK_DATE.jsonl`` of every model.

    As lm-evaluation-harness 0.4.13 writes them with ``--log_samples`` (lm_eval/loggers/
    evaluation_tracker.py, lm_eval/evaluator.py). Whether a continuation was the likeliest one is
    not known here and stands as ``None``. A task's second form has the form behind its name.
    """
    sums = totals(scores, asked)
    names = names_of(sums)
    date = made(scores)[:19].replace(":", "-") + ".000000"
    hashes: dict[str, dict[str, str]] = {}
    written = []
    rest = paired(scores, asked)
    ahead = next(rest, None)
    while ahead is not None:
        key = key_of(ahead[0])
        name, model = names[key], key[0]
        path = out / plain(model) / f"samples_{name}_{date}.jsonl"
        digest, number = hashlib.sha256(), 0
        with writing(path) as stream:
            while ahead is not None and key_of(ahead[0]) == key:
                row, exam, sample = ahead
                told = _lm_eval_sample(number, row, exam, sample)
                marks = told["doc_hash"] + told["prompt_hash"] + told["target_hash"]
                digest.update(marks.encode())
                stream.write(line(told) + b"\n")
                number, ahead = number + 1, next(rest, None)
        hashes.setdefault(model, {})[name] = digest.hexdigest()
        written.append(path)
    for model, told_hashes in hashes.items():
        mine = {names[key]: total for key, total in sums.items() if key[0] == model}
        path = out / plain(model) / f"results_{date}.json"
        told = _lm_eval_results(scores, model, mine, told_hashes)
        files.write_atomically(path, files.ordered_json(told))
        written.append(path)
    return written


def _lm_eval_sample(number: int, row: Row, exam: Exam, sample: Sample) -> dict[str, Any]:
    doc: dict[str, Any] = {"id": sample.id, "text": sample.text, "answer": sample.answer}
    for name in ("instruction", "choices", "answers", "group", "cluster"):
        if getattr(sample, name):
            value = getattr(sample, name)
            doc[name] = list(value) if isinstance(value, tuple) else value
    text, target = (
        asked_with(exam, sample, row),
        sample.gold if exam.form != "bits-per-byte" else "",
    )
    likelihood = str(-row["bits"] * math.log(2)) if "bits" in row else ""
    arguments: list[tuple[Any, ...]]
    answers: list[Any]
    if exam.form == "generation":
        arguments, answers = [(text, _limits(exam))], [row["output"]]
        filtered: list[Any] = [row["answer"]]
    elif exam.form == "ranked":
        arguments = [(text, choice) for choice in sample.choices]
        answers = filtered = [[str(value), "None"] for value in row["likelihoods"]]
        target = str(asking.right(sample))
    elif exam.form == "gold":
        arguments, answers = [(text, target)], [[likelihood, "None"]]
        filtered = answers
    else:
        arguments, answers = [(text,)], [likelihood]
        filtered = answers
    scores: dict[str, Any] = {
        LM_EVAL.get(name, name): value for name, value in values(row, exam).items()
    }
    if "bits" in row:  # what lm-eval hands to its weighted mean: (log-likelihood, bytes)
        scores = {name: [float(likelihood), row["bytes"]] for name in scores}
    return {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {
            f"gen_args_{i}": {f"arg_{j}": item for j, item in enumerate(one)}
            for i, one in enumerate(arguments)
        },
        "resps": [[answer] for answer in answers],
        "filtered_resps": filtered,
        "filter": "none",
        "metrics": list(scores),
        "doc_hash": hashed(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": row.get("prompt_sha256") or hashed(text),
        "target_hash": hashed(target),
        **scores,
        **({"reason": row["reason"]} if "reason" in row else {}),
    }


def _limits(exam: Exam) -> dict[str, Any]:
    told: dict[str, Any] = {"until": list(exam.stop), "do_sample": False}
    if exam.max_tokens:
        told["max_gen_toks"] = exam.max_tokens
    if exam.max_characters:
        told["max_characters"] = exam.max_characters
    return told


def _lm_eval_results(
    scores: Artifact, model: str, mine: Mapping[str, Total], hashes: Mapping[str, str]
) -> dict[str, Any]:
    facts, mine_facts = scores.facts, scored(scores.facts).get(model, {})
    results: dict[str, Any] = {}
    configs, higher = {}, {}
    for name, total in mine.items():
        told: dict[str, Any] = {"name": name, "alias": name, "sample_len": total.count}
        directions, listed = {}, []
        for metric, (value, error) in total.metrics(facts).items():
            known, theirs = METRICS.get(metric), LM_EVAL.get(metric, metric)
            told[f"{theirs},none"] = value
            told[f"{theirs}_stderr,none"] = "N/A" if error is None else error
            directions[theirs] = known is None or known.higher_is_better
            listed.append({"metric": theirs, "higher_is_better": directions[theirs]})
        results[name], higher[name] = told, directions
        exam = total.exam
        configs[name] = {
            "task": name,
            "dataset_path": exam.name,
            "test_split": exam.task.chosen_split or facts.get("split", ""),
            "description": exam.instruction,
            "target_delimiter": "",
            "fewshot_delimiter": exam.prompt.join,
            "num_fewshot": len(exam.shots),
            "metric_list": listed,
            "output_type": OUTPUT_TYPES[exam.form],
            **({"generation_kwargs": _limits(exam)} if exam.form == "generation" else {}),
            "repeats": 1,
            "metadata": {"version": type(exam.task).version, "protocol": facts.get("protocol")},
        }
    return {
        "results": results,
        "group_subtasks": {},
        "configs": configs,
        "versions": {name: type(total.exam.task).version for name, total in mine.items()},
        "n-shot": {name: len(total.exam.shots) for name, total in mine.items()},
        "higher_is_better": higher,
        "n-samples": {
            name: {"original": total.count, "effective": total.count}
            for name, total in mine.items()
        },
        "config": {
            "model": "yoriai",
            "model_args": {"model": model, **mine_facts.get("asked_with", {})},
            "limit": facts.get("limit") or None,
            "random_seed": scores.manifest["seed"],
        },
        "git_hash": None,
        "date": _seconds(made(scores)),
        "task_hashes": dict(hashes),
        "model_source": "yoriai",
        "model_name": model,
        "model_name_sanitized": plain(model),
        "yoriai_scores": {"name": scores.name, "digest": scores.digest},
    }


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
