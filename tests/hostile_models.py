"""Open a folder through every door of the project, on whatever terminal this runs on.

``python hostile_models.py FOLDER WORK`` prints one JSON object: for each door how it ended. The
folder's files name code; it is copied and sealed where a door takes an artifact.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from yoriai import artifact
from yoriai.cli import main
from yoriai.config import build
from yoriai.plugins import load_registry
from yoriai.testing import make_artifact


def seal(folder: Path, target: Path, kind: str) -> artifact.Artifact:
    out = target.with_name(f"{target.name}.out")
    shutil.copytree(folder, out)
    identity = {
        "kind": kind, "name": f"made/{target.name}@1", "step": "", "config": {}, "code": [],
        "seed": 0, "outside": {}, "inputs": [], "sources": [], "licence": "", "facts": {},
    }  # fmt: skip
    return artifact.seal(out, target, identity=identity, circumstances={})


def doors(folder: Path, work: Path) -> dict[str, Callable[[], Any]]:
    """By name; each opens the folder, and should refuse it."""
    import torch

    from yoriai_domain_adapt.folders import layers
    from yoriai_domain_adapt.measure import speed
    from yoriai_domain_adapt.steps.gguf import compare_logits
    from yoriai_eval.backends.huggingface import HuggingFace
    from yoriai_eval.probes.reading import open_folder
    from yoriai_train.data.chat import ChatForm
    from yoriai_train.job import loop, parity
    from yoriai_train.model import adapter, gate, generation, weights

    registry = load_registry()
    model = seal(folder, work / "model@1", "model")
    body = json.loads((folder / "config.json").read_text())

    beside = work / "adapter"
    beside.mkdir()
    shutil.copy(folder / "model.safetensors", beside / "adapter_model.safetensors")
    (beside / "adapter_config.json").write_text("{}")
    adapter.note_base(folder, "model", beside)

    def start(cuts: tuple[str, ...]) -> Any:
        return SimpleNamespace(
            start=str(folder), start_name="", seed=0, model={}, initial={},
            build_strategy=lambda: SimpleNamespace(cuts=cuts),
        )  # fmt: skip

    def step(entry: str, *inputs: artifact.Artifact, **keys: Any) -> Callable[[], Any]:
        def run() -> Any:
            made = build(registry.load(registry.get("steps", entry)), keys, registry)
            name = entry.partition("/")[2]
            return make_artifact(made, work / name / "x@1", inputs, registry)

        return run

    def command(*words: str) -> Callable[[], Any]:
        return lambda: command_line(*words)

    recipe = work / "scores.yaml"
    steps = {"scores": {"uses": "eval/run", "from": str(model.path), "tasks": ["eval/ja-forms"]}}
    recipe.write_text(json.dumps({"name": "scores", "licence": "MIT", "steps": steps}))
    return {
        "train: start, whole": lambda: loop.load_model(start(())),
        "train: start, cut": lambda: weights.outline(start(("parameters",))),
        "train: gate of the loss": lambda: gate.choose_head(body, boundaries=False),
        "train: chat form": lambda: ChatForm.read(folder),
        "train: generation": lambda: generation.continue_texts(folder, ["a"], tokens=1),
        "train: parity": lambda: parity.compare(
            torch.zeros((1, 2, 4)), torch.zeros((1, 2), dtype=torch.int64), folder, None
        ),
        "train: base of an adapter": lambda: adapter.merge(folder, beside, work / "merged"),
        "domain-adapt: outline": lambda: layers.outline(folder),
        "domain-adapt: whole": lambda: layers.open_model(folder),
        "domain-adapt: speed": lambda: speed._read(folder, ["a"]),
        "domain-adapt: llama.cpp": lambda: compare_logits(folder, None, [[0]]),
        "domain-adapt/quantise": step("domain-adapt/quantise", model),
        "domain-adapt/prune": step("domain-adapt/prune", model),
        "domain-adapt/merge": step("domain-adapt/merge", model, model),
        "domain-adapt/gguf": step("domain-adapt/gguf", model),
        "domain-adapt/outside-model": step(
            "domain-adapt/outside-model", path=str(folder), name="there", licence="MIT"
        ),
        "eval: backend": lambda: HuggingFace().open(folder),
        "eval: probes": lambda: open_folder(folder),
        "yoriai run, eval/run": command("run", str(recipe), "--out", str(work / "scores")),
        "yoriai eval probe run": command(
            "eval", "probe", "run", "eval/induction", str(folder), "--out", str(work / "probes")
        ),
        "yoriai train generate": command("train", "generate", str(model.path), "a"),
    }


def command_line(*words: str) -> None:
    """A command in this process; raises RuntimeError with what it said, unless it was done."""
    said = io.StringIO()
    with redirect_stderr(said):
        try:
            main(list(words))
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"{end.code}: {said.getvalue()}") from end


def outcome(door: Callable[[], Any]) -> str:
    try:
        door()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "opened"


if __name__ == "__main__":
    place, work = map(Path, sys.argv[1:])
    answer = {name: outcome(door) for name, door in doors(place, work).items()}
    Path(work, "answer.json").write_text(json.dumps(answer))
