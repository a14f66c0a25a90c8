"""Bad recipes: each ends in a documented exit code, with words and without a traceback.

Texts are made from the small recipe by cutting, doubling and swapping parts, by hostile values in
place of good ones, and by shapes that YAML allows and a recipe does not. They are only planned
(``--dry-run``), in this process.
"""

from __future__ import annotations

import contextlib
import io
import random
from collections import Counter
from pathlib import Path

from small import RECIPE

from yoriai.cli import main

VALUES = (
    "-1", "0", "1e999", ".nan", "-.inf", "true", "null", "[]", "{}", "9" * 90, "''", '"\\u0000"',
    "!!python/object/apply:os.system [id]", "&a [*a]", "../../etc/passwd", "~", "x" * 5000,
    "{<<: {a: 1}}", "2026-11-29", "0x7fffffffffffffff", '"\\e[2J"',
)  # fmt: skip
WHOLE = (
    "", "\x00", "\ufeff", "- a", "a: " + "[" * 500, "a: &a [1]\nb: *a", "{" * 300, "--- a\n--- b",
    "a: 1\na: 2", "%YAML 9.9\n---\n", "name: " + "x" * 100_000, "*a",
)  # fmt: skip


def drill(folder: Path, trials: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts by exit code, and what did not hold, in words."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = random.Random(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for trial in range(trials):
        text = WHOLE[trial] if trial < len(WHOLE) else _spoil(chosen)
        path = folder / "bad.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        said = io.StringIO()
        code: object = 0
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                main(
                    [
                        "--plugins",
                        "corpus",
                        "run",
                        str(path),
                        "--dry-run",
                        "--out",
                        str(folder / "o"),
                    ]
                )
        except SystemExit as end:
            code = end.code
        except BaseException as error:
            code = f"{type(error).__name__}"
        counts[f"exit {code}"] += 1
        counts["recipes"] += 1
        words = said.getvalue()
        if code not in (0, 2, 3, 4) or "Traceback" in words or "\x1b" in words:
            faults.append(f"recipe {trial}: exit {code}: {words[-300:]!r}")
        counts["complaints of more than 5,000 characters"] += len(words) > 5000
    return counts, faults


def _spoil(chosen: random.Random) -> str:
    lines = RECIPE.splitlines()
    for _ in range(chosen.randint(1, 3)):
        at = chosen.randrange(len(lines))
        turn = chosen.randrange(5)
        if turn == 0:
            del lines[at]
        elif turn == 1:
            lines.insert(at, lines[chosen.randrange(len(lines))])
        elif turn == 2:
            lines[at] = lines[at][: chosen.randrange(len(lines[at]) + 1)]
        elif turn == 3 and ":" in lines[at]:
            place = chosen.choice([n for n, letter in enumerate(lines[at]) if letter == ":"])
            lines[at] = f"{lines[at][: place + 1]} {chosen.choice(VALUES)}"
        else:
            place = chosen.randrange(len(lines[at]) + 1)
            lines[at] = (
                lines[at][:place] + chosen.choice("{}[]:,&*!|>'\"%@`\t\u202e") + lines[at][place:]
            )
        if not lines:
            break
    return "\n".join(lines) + "\n"
