"""The folder that the jobs work in: a made-up corpus, and one recipe with many endings."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from machines import LOGIN, Failed, Machines, until

WORDS = ("ファイル", "設定", "変更", "保存", "表示", "を", "が", "に", "します", "しました", "。")
TRAINING = {
    "uses": "train/pretrain",
    "model": {
        "use": "train/llama", "layers": 2, "width": 64, "heads": 4, "key_value_heads": 4,
        "feed_forward": 128, "context": 64,
    },
    "strategy": {"use": "train/deepspeed-2", "processes": 1},
    "steps": 6,
    "batch": 4,
    "accumulate": 2,
    "schedule": {"kind": "constant", "peak": 3e-3, "warmup_steps": 5},
    "checkpoint": {"every_steps": 1000},
}  # fmt: skip
ENDED = ("done", "failed", "stopped", "cancelled", "vanished")


class Workplace:
    """A folder with text, tokenizer and token shards, seen by all machines."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.folder = machines.scratch / "work"

    def prepare(self) -> None:
        self.folder.mkdir()
        chooser = random.Random(7)
        rows = [
            {"id": number, "text": "".join(chooser.choices(WORDS, k=300)), "language": "ja"}
            for number in range(400)
        ]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (self.folder / "text.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.recipe("data", self.data())
        self.yoriai("run", "data.yaml", "--out", "data")

    def data(self) -> dict[str, Any]:
        source = {"use": "corpus/jsonl", "paths": ["text.jsonl"], "language": "ja"}
        build = {"uses": "corpus/build", "sources": [source], "dedup": {"near": None}}
        return {
            "text": build,
            "pieces": {"uses": "corpus/tokenizer", "from": "text", "size": 300},
            "shards": {"uses": "corpus/tokens", "from": ["text", "pieces"]},
        }

    def recipe(self, file: str, steps: dict[str, Any], **keys: Any) -> None:
        value = {"name": file, "licence": "CC0-1.0", "seed": 11, "steps": steps, **keys}
        (self.folder / f"{file}.yaml").write_text(json.dumps(value))  # JSON is YAML

    def training(self, name: str, **changes: Any) -> None:
        """A recipe of one training step, on the data made before."""
        data = [f"data/{step}@1" for step in ("shards", "pieces")]
        self.recipe(name, {"base": {**TRAINING, "from": data, **changes}})

    def launch(self, name: str, machine: str = LOGIN, **keys: Any) -> str:
        """Submit the recipe NAME from a machine; returns the id of the job."""
        setup = [f"export PATH={Path(sys.executable).parent}:$PATH"]
        value = {"recipe": f"{name}.yaml", "setup": setup, **keys}
        value.setdefault("environment", {"OMP_NUM_THREADS": "1"})
        (self.folder / f"{name}.launch.yaml").write_text(json.dumps(value))
        told = self.yoriai("train", "launch", f"{name}.launch.yaml", "--json", machine=machine)
        return str(json.loads(told)["id"])

    def array(self, file: str, name: str, **keys: Any) -> list[str]:
        """Submit the cells of a matrix as an array; the ids of all jobs, in order."""
        setup = [f"export PATH={Path(sys.executable).parent}:$PATH"]
        value = {"recipe": f"build/{name}/recipe.yaml", "setup": setup, **keys}
        value["environment"] = {"OMP_NUM_THREADS": "1"}
        (self.folder / f"{name}.launch.yaml").write_text(json.dumps(value))
        told = self.yoriai("train", "matrix", file, "--array", f"{name}.launch.yaml", "--json")
        return [str(job["id"]) for job in json.loads(told)["jobs"]]

    def yoriai(self, *words: str, machine: str = LOGIN) -> str:
        command = [sys.executable, "-m", "yoriai", *words]
        return self.machines.run(machine, *command, cwd=self.folder)

    def status(self, job: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.yoriai("train", "status", job, "--json"))
        return value

    def end_of(self, job: str) -> dict[str, Any]:
        """Wait until a job has ended; how it is then."""
        found: list[dict[str, Any]] = []

        def ended() -> bool:
            found.append(self.status(job))
            return found[-1]["state"] in ENDED

        try:
            until(f"the end of {job}", ended)
        except Failed as error:
            raise Failed(f"{error}; {found[-1]}\n{self.log(job)[-3000:]}") from None
        return found[-1]

    def log(self, job: str) -> str:
        folder = self.folder / "build" / "launch"
        texts = [folder / f"{job}.{kind}" for kind in ("log", "out")]
        return "".join(p.read_text(errors="replace") for p in texts if p.is_file())

    def losses(self, name: str) -> dict[int, float]:
        """Loss by step, of a finished run or of one that is under way."""
        place = self.folder / "build" / name
        found = [
            *place.glob("base@*/training.jsonl"),
            *place.glob(".work/base-*/scratch/training.jsonl"),
        ]
        if not found:
            return {}
        lines = found[0].read_text().split("\n")[:-1]
        return {row["step"]: row["loss"] for row in map(json.loads, lines)}
