"""What pre-training and tuning share: what they begin with, and what they say of what they made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from yoriai import Backend, Job, NotFound, Scorer, Task, UsageError, Uses, config, files
from yoriai.artifact import check_folder
from yoriai.strict import Strict
from yoriai_train.plan.decoder import Shape
from yoriai_train.settings import checkpoints
from yoriai_train.settings import spec as specs
from yoriai_train.settings.checkpoints import Policy
from yoriai_train.settings.strategies import Single


def default_strategy() -> Any:
    strategy = Single()
    strategy._entry = "train/single"
    return strategy


def flops_per_token(body: Mapping[str, Any], context: int) -> float:
    """Of a forward and a backward pass; 0 for a kind of model whose formulas are not known."""
    try:
        return Shape.of(body).flops_per_token(context)
    except UsageError:
        return 0.0


def parameters_of(body: Mapping[str, Any]) -> int:
    """Of a configuration; 0 for a kind of model whose formulas are not known."""
    try:
        return Shape.of(body).total_parameters
    except UsageError:
        return 0


def finish(out: Path, tokenizer: Path, rows: list[dict[str, Any]]) -> None:
    """Put the tokenizer and the loss curve beside the weights."""
    from yoriai_train.model.export import copy_tokenizer  # imports torch

    copy_tokenizer(tokenizer, out)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    files.write_atomically(out / "training.jsonl", text.encode())


def describe(rows: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    """Facts of a trained model: its size and where its loss began and ended."""
    tail = rows[-max(1, len(rows) // 10) :]
    return {
        "parameters": sum(map(count_parameters, out.glob("*.safetensors"))),
        "steps": len(rows),
        "first_loss": round(rows[0]["loss"], 4),
        "last_loss": round(sum(r["loss"] for r in tail) / len(tail), 4),
    }


def headline(facts: dict[str, Any]) -> list[str]:
    seen = f", {facts['tokens_seen']:,} tokens seen" if "tokens_seen" in facts else ""
    return [
        f"{facts['parameters']:,} parameters, {facts['steps']:,} steps{seen}",
        f"loss {facts['first_loss']:.3f} at the first step, {facts['last_loss']:.3f} over the last"
        " tenth",
        *(f"{prompt} ⇒{text}".replace("\n", "⏎") for prompt, text in facts.get("continued", ())),
    ]


def count_parameters(path: Path) -> int:
    """Numbers stored in a safetensors file, from its header alone."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            size = 1
            for side in tensor["shape"]:
                size *= side
            total += size
    return total


class Evaluate(Strict):
    """Scores on tasks while a model is being trained."""

    every_steps: int = Field(100, ge=1, description="steps between evaluations; the last is one")
    tasks: list[Annotated[Task, Uses("tasks")]] = Field(min_length=1, description="what to ask")
    backend: Annotated[Backend, Uses("backends")] = Field(
        "eval/hf", validate_default=True, description="how the model is run"
    )
    scorer: Annotated[Scorer, Uses("scorers")] = Field(
        "eval/protocol", validate_default=True, description="how answers become scores"
    )
    limit: int | None = Field(
        None, ge=1, description="the first so many samples of each task; null: all"
    )


def described(rules: Evaluate | None) -> dict[str, Any] | None:
    """The rules as JSON from which a rank builds them again."""
    if rules is None:
        return None
    return {
        "every_steps": rules.every_steps,
        "tasks": [config.describe(task) for task in rules.tasks],
        "backend": config.describe(rules.backend),
        "scorer": config.describe(rules.scorer),
        "limit": rules.limit,
    }


def digest_start(start: str) -> str:
    """Digest of a folder from elsewhere to go on from; empty without one."""
    if not start:
        return ""
    folder = Path(start)
    if not folder.is_dir():
        raise NotFound(f"start: there is no folder {folder}", hint="put the model there")
    if not (folder / "config.json").is_file():
        raise UsageError(f"start: {folder} is no Hugging Face folder: it has no config.json")
    names = sorted(p for p in folder.iterdir() if p.is_file())
    return files.digest_json({p.name: files.digest_file(p) for p in names})


def start_of(start: str, job: Job) -> tuple[Path | None, str]:
    """The folder to go on from, if any, and what to call it."""
    if start and job.all_of("model"):
        raise UsageError("both 'start' and a model under 'from': which one to go on from?")
    if start:
        check_folder(Path(start))
        return Path(start), start
    if job.all_of("model"):
        model = job.one("model")
        return model.path, model.name
    return None, ""


def keep(job: Job, policy: Policy, steps: int) -> None:
    """Take over what training wrote beside the model: events, scores, kept checkpoints."""
    for name in (specs.EVENTS, specs.SCORES):
        if (job.scratch / name).is_file():
            shutil.copyfile(job.scratch / name, job.out / name)
    for step, folder in checkpoints.kept(job.scratch, policy):
        place = job.out / "checkpoints" / f"step-{step:07d}" / "model"
        shutil.copytree(folder, place)
    for _, folder in checkpoints.kept_states(job.scratch, policy, steps):
        place = job.out / "checkpoints" / folder.name
        checkpoints.remove(place)
        shutil.copytree(folder, place)


def told_by(job: Job) -> dict[str, Any]:
    """Facts of what happened on the way: data passed over, the last scores, and the gate."""
    facts: dict[str, Any] = {}
    skipped = job.scratch / specs.SKIPPED
    if skipped.is_file():
        facts["skipped_data_steps"] = json.loads(skipped.read_bytes())
    if scores := specs.read_rows(job.out / specs.SCORES):
        facts["last_evaluation"] = scores[-1]["tasks"]
    parity = job.scratch / specs.PARITY
    if parity.is_file():
        facts["gate"] = json.loads(parity.read_bytes())
    else:
        facts["gate_not_asked"] = "the model is too large to be opened beside its training"
    return facts
