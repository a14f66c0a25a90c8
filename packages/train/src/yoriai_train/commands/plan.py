"""``yoriai train plan``: what a training will need, before the first GPU-hour."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from yoriai import NotFound, UsageError, YoriaiError, console
from yoriai.cli import Context
from yoriai_train.plan.plan import MFU, Assumptions, Plan, plan
from yoriai_train.plan.words import rows as lines_of
from yoriai_train.plan.words import verdict

count = click.IntRange(1, 10**9)
positive = console.Finite(0, 1e15, min_open=True)


@click.command("plan", epilog="""\b
Examples:
  yoriai train plan llm-jp-3-13b --nodes 32 --gpus 8 --gpu h100
  yoriai train plan llm-jp-13b --set strategy.use=train/deepspeed-1
  yoriai train plan recipes/tour.yaml --step base --gpu cpu --vocabulary 8000 --json
  yoriai train plan llm-jp-3-13b --gpu h100 --nodes 32 --gpus 8 --mfu 0.34 --yen-per-gpu-hour 500

Exit code 1: it does not fit into the memory of the GPU or its node; what to change is printed.
""")  # fmt: skip
@click.argument("recipe", metavar="RECIPE|PRESET")
@click.option("--step", help="Which step to plan, if a recipe has several that pre-train.")
@click.option("--nodes", type=count, help="Nodes [the preset's, or 1].")
@click.option("--gpus", type=count, help="GPUs in a node [the preset's, or the strategy's].")
@click.option(
    "--gpu", help="a100-40, a100-80, h100, h200, b200, v100-32, l4, cpu … [the preset's]."
)
@click.option("--mfu", type=console.Finite(0, 1, min_open=True), help=f"Share of peak [{MFU}].")
@click.option("--vocabulary", "vocabulary_size", type=count, help="Pieces [the tokenizer's].")
@click.option("--disk-gb-per-second", type=positive, help="Speed of writing checkpoints [2].")
@click.option("--network-gbit-per-second", type=positive, help="Network of a node [data sheet].")
@click.option("--memory-gib", type=positive, help="Memory of a GPU [data sheet].")
@click.option("--host-memory-gib", type=positive, help="Host memory of a node [data sheet].")
@click.option("--peak-tflops", type=positive, help="Peak of a GPU [data sheet].")
@click.option("--chunked-loss/--whole-loss", default=True, help="Logits in chunks [chunked].")
@click.option("--attention-share", type=positive, help="0.5 counts causal attention as half [1].")
@click.option("--tensor-parallel", type=count, help="As in a published Megatron layout [1].")
@click.option("--pipeline-parallel", type=count, help="As in a published Megatron layout [1].")
@click.option("--pue", type=console.Finite(1, 100), help="Site's over machine's power [1.2].")
@click.option("--grams-co2-per-kwh", type=positive, help="Of the electricity [Japan 2023: 423].")
@click.option("--yen-per-gpu-hour", type=positive, help="Price [none].")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key.")
@console.json_option
@click.pass_obj
def command(
    shared: Context,
    /,
    recipe: str,
    step: str | None,
    nodes: int | None,
    gpus: int | None,
    gpu: str | None,
    vocabulary_size: int | None,
    settings: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Say what a training needs: memory by part, days, traffic, disk, energy and money.

    RECIPE is a recipe with a step that pre-trains, or the name of a preset. In a recipe --set
    takes STEP.KEY=VALUE, for a preset KEY=VALUE. Nothing is run and no GPU is needed.
    """
    config, told = _read(shared, recipe, step, settings)
    vocabulary_size = vocabulary_size or told.get("vocabulary_size")
    gpus = gpus or told.get("gpus")
    gpu = gpu or told.get("gpu")
    if not vocabulary_size:
        raise UsageError(
            f"the size of the vocabulary of {recipe} is not known", hint="--vocabulary 99487"
        )
    if not gpu:
        from yoriai_train.plan.hardware import gpus as known

        raise UsageError("which GPU?", hint=f"--gpu, one of: {', '.join(known())}")
    values = {f.name: given[f.name] for f in fields(Assumptions) if given[f.name] is not None}
    assumptions = Assumptions(**values)
    if told.get("at_a_time") and not any("batch" in s or "accumulate" in s for s in settings):
        config = _share_as_published(config, told["at_a_time"], gpus, nodes or told["nodes"], given)
    made = plan(
        config,
        vocabulary_size=int(vocabulary_size),
        gpus_per_node=int(gpus or _processes(config)),
        nodes=int(nodes or told.get("nodes") or config.get("nodes") or 1),
        gpu=str(gpu),
        mfu=assumptions.mfu,
        assumptions=assumptions,
    )
    lines = verdict(made)
    made = _with_layout(made, told.get("layout"))
    facts = {"name": recipe, **made.facts(), "verdict": lines}
    console.emit(facts, as_json=as_json, text=lambda: _drawn(recipe, made, lines))
    if not made.fits:
        if as_json:  # what was printed says it all: one object, no second one
            sys.exit(1)
        raise YoriaiError(lines[0], hint="; ".join(_remedy(lines)) or "use more or larger GPUs")


def _share_as_published(
    config: dict[str, Any], at_a_time: int, gpus: Any, nodes: int, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The same sequences a step, as many at a time as the preset has, in a Megatron layout."""
    cut = (given["tensor_parallel"] or 1) * (given["pipeline_parallel"] or 1)
    batch = at_a_time * (int(gpus) * int(nodes) // cut)
    sequences = int(config.get("batch", 16)) * int(config.get("accumulate", 1))
    if cut == 1 or not batch or sequences % batch:
        return config
    return {**config, "batch": batch, "accumulate": sequences // batch}


def _with_layout(made: Plan, layout: tuple[int, int] | None) -> Plan:
    """A remark if the published run was laid out in another way."""
    planned = (made.setup.tensor_parallel, made.setup.pipeline_parallel)
    if layout is None or planned != (1, 1) or layout == planned:
        return made
    note = (
        f"the published run was cut otherwise: --tensor-parallel {layout[0]}"
        f" --pipeline-parallel {layout[1]} --set strategy.use=train/deepspeed-1"
    )
    return replace(made, notes=(*made.notes, note))


def _remedy(lines: list[str]) -> list[str]:
    """The changes of the verdict's last list."""
    heads = [number for number, line in enumerate(lines) if line.startswith("cheapest")]
    return [line.strip() for line in lines[heads[0] + 1 :]] if heads else []


def _drawn(name: str, made: Plan, lines: list[str]) -> str:
    setup = made.setup
    head = (
        f"{name}: {made.nodes:,} x {setup.gpus_per_node:,} {made.gpu.name}, {setup.strategy},"
        f" {setup.precision}"
    )
    if setup.tensor_parallel * setup.pipeline_parallel > 1:
        head += f", tensor {setup.tensor_parallel} x pipeline {setup.pipeline_parallel}"
    text = [head]
    rows = [(row.group, row.name, row.value, row.words) for row in lines_of(made)]
    # One table, so that all columns line up; a group is named where it begins.
    cells: list[tuple[str, ...]] = []
    for group, members in groupby(rows, key=lambda row: row[0]):
        for number, row in enumerate(members):
            cells.append(("" if number else group, *row[1:]))
    text.append(console.table(("", "", "", ""), cells).split("\n", 2)[2])
    text += [f"note: {note}" for note in made.notes]
    return "\n".join([*text, "", *lines])


def _processes(config: Mapping[str, Any]) -> int:
    strategy = config.get("strategy")
    return int(strategy.get("processes", 1)) if isinstance(strategy, Mapping) else 1


def _read(
    shared: Context, recipe: str, step: str | None, settings: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of the training, and what is known of its vocabulary and its machine."""
    path = Path(recipe)
    if path.is_file():
        return _from_recipe(shared, path, step, settings)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise NotFound(f"no recipe {recipe}", hint="ls recipes/")
    if step:
        raise UsageError("--step is for recipes; a preset is one training")
    return _from_preset(recipe, settings)


def _from_preset(name: str, settings: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    from yoriai.recipe import apply_setting
    from yoriai_train.settings import preset

    config = copy.deepcopy(preset.load(name))
    for setting in settings:
        apply_setting({"steps": {"preset": config}}, f"preset.{setting}")
    about = preset.about(name)
    machine = about.hardware
    told: dict[str, Any] = {"vocabulary_size": about.vocabulary_size, "gpu": machine.gpu}
    if machine.gpus and machine.nodes and not name.endswith(preset.SMALL):
        told |= {"nodes": machine.nodes, "gpus": machine.gpus // machine.nodes}
        told["at_a_time"] = int(config["batch"]) // ((about.nodes or 1) * _processes(config))
        told["layout"] = (machine.tensor_parallel or 1, machine.pipeline_parallel or 1)
    return config, told


def _from_recipe(
    shared: Context, path: Path, step: str | None, settings: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    from yoriai.artifact import open_artifact
    from yoriai.mixture import read_mixture
    from yoriai.recipe import load_recipe

    loaded = load_recipe(path, shared.registry, settings)
    trainings = {s.name: s for s in loaded.steps if s.entry == "train/pretrain"}
    if not trainings:
        raise NotFound(f"{path} has no step that pre-trains (train/pretrain)")
    if step and step not in trainings:
        from yoriai.config import unknown_name

        raise unknown_name(step, trainings, "step that pre-trains")
    if not step and len(trainings) > 1:
        raise UsageError(
            f"{path} pre-trains in several steps", hint=f"--step, one of: {', '.join(trainings)}"
        )
    chosen = trainings[step or next(iter(trainings))]
    config, known = chosen.config(), loaded.expectations()
    told: dict[str, Any] = {}
    steps = {planned.name: planned for planned in loaded.steps}
    for name in chosen.inputs:
        if name in known:
            told |= {k: v for k, v in known[name].items() if k == "vocabulary_size"}
            if steps[name].step.makes == "model" and steps[name].entry == "train/pretrain":
                config["model"] = steps[name].config()["model"]
            continue
        artifact = open_artifact(Path(name))
        if artifact.kind == "tokens":
            told["vocabulary_size"] = read_mixture(artifact.path, quick=True).vocabulary_size
        if artifact.kind == "model":
            config["model"] = json.loads(artifact.file("config.json").read_bytes())
            told.setdefault("vocabulary_size", config["model"]["vocab_size"])
    if config.get("start"):  # its shape is that of the model to go on from
        from yoriai_train.settings.spec import read_config

        config["model"] = read_config(Path(config["start"]), config["start"])
        told["vocabulary_size"] = config["model"]["vocab_size"]
    return config, told
