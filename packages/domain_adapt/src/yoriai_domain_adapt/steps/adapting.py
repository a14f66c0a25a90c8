"""What every step that makes a model from a model does besides: measure both ways, and judge."""

from __future__ import annotations

import contextlib
import resource
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from yoriai import Artifact, Backend, Job, Made, NotFound, Step, Task, Uses, config, console
from yoriai.cost import Meter, Price
from yoriai.model_folder import AS_DATA, WEIGHTS, opening, whole
from yoriai.strict import Strict
from yoriai_domain_adapt.measure import scores
from yoriai_domain_adapt.measure.parity import Drift, Tolerance, drift_of_logits

GATE_TEXTS = 8  # held-out texts whose logits are compared at a hop
GATE_CHARACTERS = 600
GATE_TOKENS = 128  # of each: a foreign tokenizer may cut 600 characters into 1,200


class Measure(Strict):
    """What is asked before and after."""

    tasks: list[Annotated[Task, Uses("tasks")]] = Field(min_length=1, description="what to ask")
    backend: Annotated[Backend, Uses("backends")] = Field(
        "eval/hf", validate_default=True, description="how the models are run"
    )
    limit: int | None = Field(
        None, ge=1, description="the first so many samples of each group; null: all"
    )


class Accounted(Step):
    """A step that says what it took: seconds, energy, yen; to the run file, measuring included.

    What a subclass does stands in ``make``.
    """

    circumstances: ClassVar[tuple[str, ...]] = ("yen_per_gpu_hour",)

    yen_per_gpu_hour: Price = 0.0

    def run(self, job: Job) -> Made:
        forget_peak()
        meter = Meter()
        made = self.make(job)
        cost = meter.read(self.yen_per_gpu_hour)
        job.metric(kind="summary", **cost)
        units = {"seconds": "s", "energy_kwh": "kWh", "yen": "yen"}
        told = ", ".join(f"{cost[key]:,.4g} {unit}" for key, unit in units.items() if key in cost)
        console.note(f"  cost: {told}")
        return made

    def make(self, job: Job) -> Made:
        raise NotImplementedError


class Adapting(Accounted):
    """The keys of every step that changes a model.

    With a corpus under ``from`` its held-out text is read before and after (``eval/heldout``), by
    corpus and language, whatever else ``measure`` asks. The first corpus counts as the domain.
    """

    makes: ClassVar[str] = "model"
    measures: ClassVar[tuple[str, ...]] = ("bytes_before", "bytes_after", "gate.**")
    takes: ClassVar[tuple[str, ...]] = ("model",)
    optional: ClassVar[tuple[str, ...]] = ("corpus", "tokens")

    measure: Measure | None = Field(
        None, description="tasks asked before and after; null: held-out text of the corpora"
    )
    gate: Tolerance = Field(
        Tolerance(), description="how far the model may drift from the one it was made of"
    )

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The context of the model that is changed: none of these steps makes another."""
        return context_of(inputs)


def context_of(inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``context`` of the first model under ``from``, made or still to be made, where it is told."""
    for value in inputs:
        made = value.get("made")
        if made is not None and made.kind == "model":
            return context_in(made.path)
        if made is None and "context" in value:
            return {"context": value["context"]}
    return {}


def context_in(folder: Path) -> dict[str, Any]:
    """``context`` as a folder's ``config.json`` says it; empty where it says none."""
    from yoriai_domain_adapt.folders.tensors import read_config

    told = read_config(folder)
    found = told.get("max_position_embeddings") or told.get("n_positions")
    return {"context": int(found)} if found else {}


def measure_both_ways(step: Adapting, job: Job, before: Artifact) -> dict[str, Any]:
    """Ask the model before and the one in ``job.out``; the facts and the verdict of the gate.

    Speed, memory and cost go to the run file: they differ between two runs of the same thing.
    Raises :class:`yoriai.Refused` where the gate is not kept.
    """
    making = round(peak_memory_mb(), 1)
    job.metric(kind="adaptation", model="making", peak_memory_mb=making)
    console.note(f"  making: {making:,.0f} MB at most")
    facts: dict[str, Any] = {
        "bytes_before": scores.folder_bytes(before.path),
        "bytes_after": scores.folder_bytes(job.out),
        "gained_and_lost": [],
        "gate": {},
    }
    corpora = job.all_of("corpus")
    told = step.measure or _heldout(job, corpora)
    if told is None:
        facts["not_measured"] = "no corpus and no tasks were named: what was lost is not known"
        console.note(
            f"step {job.name!r}: what the model lost is not measured; add a corpus under 'from'"
        )
        _refuse_unjudged(step, facts)
        return facts
    found = {}
    for name, folder in (("before", before.path), ("after", job.out)):
        forget_peak()
        found[name], reading = ask_all(told, folder, job.inputs)
        cost = {**reading, "peak_memory_mb": round(peak_memory_mb(), 1)}
        job.metric(kind="adaptation", model=name, **cost)
        speed = (
            f"{cost['tokens_per_second']:,.0f} tokens/s, " if "tokens_per_second" in cost else ""
        )
        console.note(f"  {name}: {speed}{cost['peak_memory_mb']:,.0f} MB at most")
    differences = scores.compare(found["before"], found["after"], job.seed)
    facts["gained_and_lost"] = [difference.plain() for difference in differences]
    if corpora:
        facts["domain"] = corpora[0].step
    drift = drift_of_folders(before.path, job.out, corpora) if corpora else {}
    bits = [d.after - d.before for d, r in zip(differences, facts["gained_and_lost"], strict=True)
            if _is_bits(r, found["before"])]  # fmt: skip
    if bits:
        drift["bits_per_byte"] = max(bits)
    facts["gate"] = Drift(f"step {job.name!r}", drift).check(step.gate)
    _refuse_unjudged(step, facts)
    return facts


def headline_of(facts: dict[str, Any]) -> list[str]:
    """One line a group, as the summary prints it."""
    return [
        f"{row['task']} {row['group']}".strip() + f": {row['before']:.4g} became {row['after']:.4g}"
        f" ({row['after'] - row['before']:+.2g}, {row['verdict']})"
        for row in facts.get("gained_and_lost", ())
    ]


def empty_folder(folder: Path) -> Path:
    """The folder, without what an interrupted run left in it."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def move_into(folder: Path, out: Path) -> None:
    for path in sorted(folder.iterdir()):
        path.replace(out / path.name)


def forget_peak() -> None:
    """Count the most that this process holds from now on, where the system can (Linux).

    ``5`` resets the peak (proc_pid_clear_refs(5)); elsewhere it is that of the whole process.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """The most that this process held since :func:`forget_peak`, in MB."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        said = Path("/proc/self/status").read_text()
        return int(said.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # KiB on Linux


def heldout_texts(corpora: Sequence[Artifact], count: int, characters: int) -> list[str]:
    """The beginnings of held-out documents, the same number of each corpus."""
    import pyarrow.parquet as pq

    texts: list[str] = []
    for corpus in corpora:
        if not any(name.startswith("heldout/") for name in corpus.manifest["files"]):
            continue
        table = pq.read_table(corpus.files_under("heldout"), columns=["text"])
        some = [text[:characters] for text in table["text"].to_pylist() if text.strip()]
        texts += some[: max(1, count // len(corpora))]
    return texts


def drift_of_folders(before: Path, after: Path, corpora: Sequence[Artifact]) -> dict[str, float]:
    """Logits of both folders on held-out text, where both read it as the same ids."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = heldout_texts(corpora, GATE_TEXTS, GATE_CHARACTERS)
    if not texts:
        return {}
    tokenizers = []
    for folder in (before, after):
        with opening(folder):
            tokenizers.append(AutoTokenizer.from_pretrained(folder, **AS_DATA))
    encoded = [[t.encode(text, add_special_tokens=False) for text in texts] for t in tokenizers]
    if encoded[0] != encoded[1]:
        return {}
    logits = []
    for folder in (before, after):
        with opening(folder):
            loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **WEIGHTS)
        model = whole(loaded, folder).eval()
        context = int(getattr(model.config, "max_position_embeddings", 0) or GATE_TOKENS)
        limit = min(context, GATE_TOKENS)
        with torch.inference_mode():
            logits.append(
                [model(torch.tensor([ids[:limit]])).logits[0] for ids in encoded[0] if ids]
            )
        del model
    pairs = [drift_of_logits(a, b) for a, b in zip(*logits, strict=True) if a.shape == b.shape]
    if not pairs:
        return {}
    return {
        "logits": max(pair["logits"] for pair in pairs),
        "divergence": sum(pair["divergence"] for pair in pairs) / len(pairs),
    }


def ask_all(
    told: Measure, folder: Path, inputs: Sequence[Artifact]
) -> tuple[list[scores.ScoredAnswer], dict[str, float]]:
    """The answers of a model to all tasks, and how fast it read running text.

    Opening it is not counted, and neither are tasks of other forms: an answer is written, and a
    choice is read once for each of its endings.
    """
    from yoriai_domain_adapt.folders import vocabulary

    model = told.backend.open(folder)
    rows: list[scores.ScoredAnswer] = []
    seconds, size, texts = 0.0, 0.0, []
    for task in told.tasks:
        start = time.perf_counter()
        some = scores.ask(model, task, _short(task), inputs, told.limit)
        rows += some
        if task.form == "bits-per-byte":
            seconds += time.perf_counter() - start
            size += sum(row.weight for row in some)
            chosen = scores.first_of_groups(task.samples(inputs), told.limit)
            texts += [sample.text for sample in chosen]
    if not seconds:
        return rows, {}
    reading = {"seconds": round(seconds, 2), "bytes_per_second": round(size / seconds, 1)}
    if (folder / "tokenizer.json").is_file():
        tokens = vocabulary.fertility(vocabulary.read_tokenizer(folder), texts)["tokens"]
        reading["tokens_per_second"] = round(tokens / seconds, 1)
    return rows, reading


def _heldout(job: Job, corpora: Sequence[Artifact]) -> Measure | None:
    if not corpora:
        return None
    try:
        task = job.registry.load(job.registry.get("tasks", "eval/heldout"))
        backend = job.registry.load(job.registry.get("backends", "eval/hf"))
    except NotFound:
        console.note("held-out text is not read: the package yoriai-eval is not installed")
        return None
    made = [config.build(task, {}, job.registry), config.build(backend, {}, job.registry)]
    made[0]._entry, made[1]._entry = "eval/heldout", "eval/hf"
    return Measure(tasks=[made[0]], backend=made[1])


def _short(task: Task) -> str:
    return task.entry.rpartition("/")[2] or type(task).__name__


def _is_bits(row: dict[str, Any], rows: Sequence[scores.ScoredAnswer]) -> bool:
    return any(r.task == row["task"] and r.lower_is_better for r in rows)


def _refuse_unjudged(step: Adapting, facts: dict[str, Any]) -> None:
    """A tolerance that nothing was measured against is no gate."""
    from yoriai import UsageError

    stated = {k for k, v in step.gate.model_dump().items() if v is not None}
    if missing := sorted(stated - set(facts["gate"])):
        raise UsageError(
            f"gate: {', '.join(missing)} is judged, but nothing under 'from' measures it",
            hint="add a corpus with held-out text under 'from'",
        )
