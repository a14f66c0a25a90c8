"""Ours, as a run calls it: ``ours.py KIND FOLDER OUT THREADS``."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from measuring import measured

KIND, FOLDER, OUT, THREADS = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
import torch  # noqa: E402

if KIND != "merge":  # as the peer, which imports it before its work
    import transformers.models.llama.modeling_llama  # noqa: F401

from yoriai_domain_adapt.steps.merge import Merge  # noqa: E402
from yoriai_domain_adapt.steps.prune import Prune  # noqa: E402
from yoriai_domain_adapt.steps.quantise import Quantise  # noqa: E402


def artifact(name: str) -> Any:
    """What a step asks of an artifact."""
    place = FOLDER / name
    return SimpleNamespace(
        path=place, name=name, step=name, digest=name, manifest={"files": {}}, kind="model"
    )


def main() -> None:
    torch.set_num_threads(THREADS)
    models = [artifact("one"), artifact("other")][: 2 if KIND == "merge" else 1]
    held = {"model": models, "tokens": [artifact("tokens")], "corpus": []}
    (OUT / "made").mkdir(parents=True)
    job = SimpleNamespace(
        name=KIND, seed=1, out=OUT / "made", scratch=OUT / "scratch",
        one=lambda kind: held[kind][0], all_of=lambda kind: held[kind],
        progress=lambda items, *_: items, metric=lambda **_: None,
    )  # fmt: skip
    samples, length = map(int, FOLDER.name.split("x"))
    step: Any = {
        "quantise": lambda: Quantise(bits=4, group_size=32),
        "prune": lambda: Prune(method="wanda", share=0.5, samples=samples, length=length),
        "merge": lambda: Merge(method="linear"),
    }[KIND]()
    with measured():
        step.run(job)


if __name__ == "__main__":
    main()
