"""Secrets: what is secret on the way in is nowhere on the way out.

Each trial makes a secret, gives it to a run in one of the ways in which secrets come (a variable,
an option, a header, a URL, the shape of a provider), and makes the run end well or in an error
that tells of it. Then every file that the run wrote, and what it printed, is searched for it.
"""

from __future__ import annotations

import random
import string
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from small import command, environment, write_small

LETTERS = string.ascii_letters + string.digits
# How a provider's keys look: a mark, and letters behind it.
MARKS = (
    ("ghp_", 36), ("hf_", 34), ("sk-ant-api03-", 80), ("glpat-", 20), ("npm_", 36), ("AKIA", 16),
    ("xoxb-123456789012-", 24), ("AIza", 35), ("pypi-", 60), ("dckr_pat_", 27), ("github_pat_", 60),
)  # fmt: skip
VARIABLES = (
    "WANDB_API_KEY", "DB_PASSWORD", "SMTP_PASS", "SLACK_WEBHOOK", "GITHUB_PAT", "BASIC_AUTH",
    "SESSION_COOKIE", "AZURE_STORAGE_CONNECTION_STRING", "SSH_LOGIN_PASSWORD", "AWS_SECRET_KEYS",
)  # fmt: skip


def letters(chosen: random.Random, count: int) -> str:
    return "".join(chosen.choices(LETTERS, k=count))


def shaped(chosen: random.Random) -> str:
    mark, count = chosen.choice(MARKS)
    rest = letters(chosen, count)
    return mark + (rest.upper() if mark == "AKIA" else rest)


# How a secret gets into the words of a command: (words around it, the secret).
Way = Callable[[random.Random], tuple[str, str]]
WAYS: dict[str, Way] = {
    "shape": lambda c: (lambda s: (f"see {s} there", s))(shaped(c)),
    "URL login": lambda c: (lambda s: (f"https://me:{s}@example.org/x", s))(letters(c, 12)),
    "URL query": lambda c: (lambda s: (f"https://example.org/?api_key={s}", s))(letters(c, 24)),
    "key: value": lambda c: (lambda s: (f"password: {s}", s))(letters(c, 14)),
    "--flag=value": lambda c: (lambda s: (f"--api-key={s}", s))(letters(c, 24)),
    "--flag value": lambda c: (lambda s: (f"--password {s}", s))(letters(c, 14)),
    "header": lambda c: (lambda s: (f"Authorization: Bearer {s}", s))(letters(c, 32)),
    "assignment": lambda c: (lambda s: (f"{c.choice(VARIABLES)}={s}", s))(letters(c, 20)),
}


def drill(folder: Path, trials: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts by the way in, and what did not hold, in words."""
    recipe = write_small(folder, documents=40)
    chosen = random.Random(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    ways = [*WAYS, "variable"]
    for trial in range(trials):
        way = ways[trial % len(ways)]
        extra: dict[str, str] = {}
        if way == "variable":
            secret = letters(chosen, chosen.choice([6, 8, 20, 40]))
            text = f"it is {secret} here"
            extra = {chosen.choice(VARIABLES): secret}
        else:
            text, secret = WAYS[way](chosen)
        out = folder / f"out-{trial}"
        # It stands in a value that the manifest keeps, or in a path that the error names.
        ends_well = chosen.random() < 0.3
        place = "licence" if ends_well else "text.sources.0.paths.0"
        words = ["run", str(recipe), "--out", str(out), "--until", "text", "--set"]
        done = subprocess.run(
            command(*words, f"{place}='{text}'"), capture_output=True, text=True, check=False,
            env={**environment(), **extra},
        )  # fmt: skip
        counts["trials"] += 1
        counts[way] += 1
        counts[f"exit {done.returncode}"] += 1
        where = f"trial {trial}, {way}"
        if "Traceback" in done.stderr:
            faults.append(f"{where}: a traceback: {done.stderr[-200:]}")
        if done.returncode and out.exists() and "hidden" not in done.stderr:
            faults.append(f"{where}: nothing is said of what was hidden: {done.stderr[-300:]}")
        if secret in done.stdout + done.stderr:
            faults.append(f"{where}: printed")
        for path in sorted(out.rglob("*")):
            if path.is_file():
                counts["files searched"] += 1
                if secret.encode() in path.read_bytes():
                    faults.append(f"{where}: in {path.relative_to(out)}")
    return counts, faults
