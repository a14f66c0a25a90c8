"""A recipe from text to scores whose training is killed and goes on, and a model's answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from gpu_proof import processes
from gpu_proof.processes import Check, call, environment_of, reason


def recipe(folder: Path, *, on_gpu: bool) -> Path:
    """Text to scores in small: 200 documents, 30 steps, a checkpoint every ten."""
    folder.mkdir(parents=True, exist_ok=True)
    who = ("私は", "先生が", "友だちは", "古い時計が", "小さな猫は", "駅前の店は", "隣の子が")
    where = ("東京で", "静かな部屋で", "海の近くで", "雨の日に", "朝早くから")
    what = (
        "本を読む。",
        "歌をうたった。",
        "長く待っていた。",
        "写真機を直した。",
        "手紙を書いた。",
    )
    texts = [a + b + c for a in who for b in where for c in what]
    rows = [
        {"id": str(n), "text": "".join(texts[(n * k) % 175] for k in (1, 3, 11, 29)), "lang": "ja"}
        for n in range(200)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "text.jsonl").write_text(lines, encoding="utf-8")
    shape = {"use": "train/llama", "layers": 2, "width": 64, "heads": 4, "key_value_heads": 4,
             "feed_forward": 128, "context": 128}  # fmt: skip
    source = {"use": "corpus/jsonl", "paths": [str(folder / "text.jsonl")], "name": "made"}
    value = {
        "name": "gpu",
        "licence": "Apache-2.0",
        "steps": {
            "text": {"uses": "corpus/build", "sources": [source], "heldout": 0.1,
                     "dedup": {"exact": True, "near": None}},
            "pieces": {"uses": "corpus/tokenizer", "from": "text", "size": 340, "context": 128},
            "shards": {"uses": "corpus/tokens", "from": ["text", "pieces"]},
            "base": {"uses": "train/pretrain", "from": ["shards", "pieces"], "model": shape,
                     "steps": 30, "batch": 4, "checkpoint": {"every_steps": 10},
                     "precision": "bf16-mixed" if on_gpu else "32-true"},
            "scores": {"uses": "eval/run", "from": ["base", "text"], "tasks": ["eval/heldout"],
                       "limit": 10},
        },
    }  # fmt: skip
    path = folder / "gpu.yaml"
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def run_recipe(
    path: Path, out: Path, seconds: float, kill_at: int = 0, *, on_gpu: bool
) -> tuple[int, str]:
    """``yoriai run``; killed with all its processes once so many steps are in a checkpoint."""
    command = [sys.executable, "-m", "yoriai", "run", path, "--out", out]
    env = environment_of(on_gpu=on_gpu)
    if not kill_at:
        code, _, err = call(command, seconds, env)
        return code, err
    process = subprocess.Popen(
        list(map(str, command)), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        if any(int(p.name[5:]) >= kill_at for p in out.glob(".work/base-*/scratch/step-*")):
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    else:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait(), ""


def killed_and_resumed(seconds: float, *, on_gpu: bool) -> tuple[Check, Path | None]:
    """Whether a training that was killed gives the losses of one that was not; its model."""
    folder = processes.WORK / "recipe"
    shutil.rmtree(folder, ignore_errors=True)
    path = recipe(folder, on_gpu=on_gpu)
    part, expected = "kill and resume", "the losses of an uninterrupted run, bit for bit"
    began = time.monotonic()

    def left() -> float:
        return seconds - (time.monotonic() - began)

    code, err = run_recipe(path, folder / "whole", left(), on_gpu=on_gpu)
    if code:
        return Check(part, expected, reason(code, err), None if code == 124 else False), None
    run_recipe(path, folder / "killed", left(), kill_at=10, on_gpu=on_gpu)
    was_killed = not (folder / "killed" / "base@1").exists()
    code, err = run_recipe(path, folder / "killed", left(), on_gpu=on_gpu)
    model = folder / "whole" / "base@1"
    if code:
        return Check(part, expected, reason(code, err), None if code == 124 else False), model
    first, second = ((folder / out / "base@1" / "training.jsonl").read_bytes()
                     for out in ("whole", "killed"))  # fmt: skip
    if not was_killed:
        return Check(part, expected, "it was done before it could be killed", None), model
    found = "equal" if first == second else "they differ"
    return Check(part, expected, found, first == second), model


ANSWERS = """
import json, sys, time
from pathlib import Path
from yoriai_eval.backends.huggingface import HuggingFace
prefix = "東京で本を読み、古い時計を直した。" * 3
prompts = [f"{prefix}文書{n}番。" for n in range(int(sys.argv[2]))]
found = {}
for name, batch, reuse in (("loop", 1, False), ("reused", 16, True)):
    opened = HuggingFace(batch=batch, prefix_reuse=reuse).open(Path(sys.argv[1]))
    opened.generate(prompts[:1], max_new_tokens=1, stop=[], prefix="")
    began = time.perf_counter()
    made = opened.generate(prompts, max_new_tokens=8, stop=[], prefix=prefix if reuse else "")
    found[name] = {"seconds": time.perf_counter() - began, "texts": [one.text for one in made]}
print(json.dumps(found))
"""


def answers(model: Path, seconds: float, *, on_gpu: bool) -> Check:
    """The same answers with the prefix encoded once, and in how much of the time."""
    part, expected = "evaluation: prefix encoded once", "the answers of a loop over single prompts"
    command = [sys.executable, "-c", ANSWERS, model, 64 if on_gpu else 8]
    code, out, err = call(command, seconds, environment_of(on_gpu=on_gpu))
    if code:
        return Check(part, expected, reason(code, err), None if code == 124 else False)
    facts = json.loads(out.splitlines()[-1])
    loop, reused = facts["loop"], facts["reused"]
    equal = sum(a == b for a, b in zip(loop["texts"], reused["texts"], strict=True))
    times = loop["seconds"] / max(1e-9, reused["seconds"])
    found = f"{equal} of {len(loop['texts'])} equal, {times:.1f} times as fast"
    return Check(part, expected, found, equal == len(loop["texts"]))
