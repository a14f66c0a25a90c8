"""Hostile plugins: whatever one of them does, the list is a list and the good plugin is in it.

Each trial puts a plugin with random misdeeds, at import, in a hook or in its entries, beside a
good one, and asks for ``yoriai plugins``, ``list filters`` and both with ``--json``. What must
hold: exit code 0, JSON that can be read, the good plugin's entry, no character on which a terminal
acts, no traceback, and an end.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from small import environment

GOOD = """
from yoriai import Entry, hookimpl

@hookimpl
def yoriai_filters():
    return [Entry(name="rule", target="good.rules:Rule", summary="A rule.", licence="MIT")]
"""
HOOK = """
import gc, os, signal, sys, threading, time, warnings
from yoriai import Entry, hookimpl
{at_import}

@hookimpl
def yoriai_{kind}({arguments}):
    {deed}
    return {answer}
"""
DEEDS = (
    "pass", "raise KeyError('x')", "raise SystemExit(0)", "raise BaseException('x')",
    "raise KeyboardInterrupt", "raise GeneratorExit", "raise MemoryError", "raise RecursionError",
    "raise StopIteration", "raise type('E', (BaseException,), {'__str__': lambda e: 1 / 0})()",
    "os.write(1, b'\\x1b[2J{not json')", "os.write(2, b'\\x1b]0;T\\x07')", "print('\\x1b[31m')",
    "os.chdir('/')", "os.environ.clear()", "os.environ.update(HOME='/x', PATH='')",
    "sys.stdout.close()", "sys.stderr.close()", "sys.stdout = sys.stderr = None", "os.close(1)",
    "sys.argv[:] = ['x']", "sys.path.clear()", "sys.modules.pop('json', None)",
    "threading.Event().wait()", "while True: time.sleep(1)", "sys.setrecursionlimit(60)",
    "gc.disable(); gc.freeze()", "warnings.simplefilter('error')", "os.umask(0o777)",
    "sys.excepthook = None", "sys.settrace(lambda *a: 1 / 0)", "sys.stdin.read()",
    "signal.signal(signal.SIGINT, signal.SIG_IGN)", "os.write(1, b'x' * 10**6)",
    "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()", "sys.flags = None",
)  # fmt: skip
ANSWERS = (
    "[]", "None", "3", "'text'", "{}", "iter(int, 1)", "[None]", "[[]]", "(x for x in [1 / 0])",
    "[Entry(name='\\x1b[2J', target='m:a', summary='s')]", "[Entry(name='a', target='m:a')]",
    "[Entry(name='a', target='m:a', summary='\\x1b]0;T\\x07 \\u202e')]",
    "[Entry(name=3, target=None, summary=[])]",
    "[Entry(name='a' * 10**5, target='a:b', summary='s')]",
    "[Entry(name='a', target='no.such:thing', summary='s' * 10**5)]",
    "[Entry(name='a', target='m:a', summary='s', requires=(1, 2))]",
    "[Entry(name='../a', target='/etc/passwd', summary='s')]",
    "[Entry(name='a', target='m:a', summary='s')] * 2",
    "[type('Entry', (), {'name': 'a'})()]", "[Entry(name='\\ud800', target='m:a', summary='s')]",
)  # fmt: skip
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PATIENCE = 60.0
ASKED = (("plugins",), ("list", "filters"))


def plant(folder: Path, name: str, code: str) -> None:
    """An installed distribution as pip would leave it, with one plugin."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8", errors="surrogatepass")
    about = folder / f"zz_{name}-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zz-{name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[yoriai]\n{name} = {name}\n")


def misdeed(chosen: random.Random) -> str:
    """The code of a plugin that does one to three things that it should not."""
    at_import = chosen.choice(DEEDS) if chosen.random() < 0.5 else "pass"
    deed = chosen.choice(DEEDS) if chosen.random() < 0.6 else "pass"
    answer = chosen.choice(ANSWERS)
    kind = chosen.choice(["filters", "filters", "steps", "commands", "no_such_hook"])
    arguments = chosen.choice(["", "", "", "manager", "*a, **k"])
    return HOOK.format(
        at_import=at_import, deed=deed, answer=answer, kind=kind, arguments=arguments
    )


def drill(folder: Path, trials: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts by what happened, and what did not hold, in words."""
    chosen = random.Random(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for trial in range(trials):
        place = folder / str(trial)
        place.mkdir(parents=True)
        code = misdeed(chosen)
        plant(place, "good", GOOD)
        plant(place, "bad", code)
        words = chosen.choice(ASKED)
        as_json = chosen.random() < 0.5
        counts["plugins"] += 1
        where = f"plugin {trial} ({' '.join(words)}{' --json' if as_json else ''})"
        env = {**environment(), "PYTHONPATH": str(place), "YORIAI_PLUGIN_SECONDS": "2"}
        asked = [sys.executable, "-m", "yoriai", "--plugins", "good,bad", *words]
        try:
            done = subprocess.run(
                [*asked, "--json"] if as_json else asked, capture_output=True, env=env,
                stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            faults.append(f"{where}: no end after {PATIENCE:.0f} s")
            continue
        out, err = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
        counts[f"exit {done.returncode}"] += 1
        if done.returncode or "Traceback" in err:
            faults.append(f"{where}: exit {done.returncode}: {err[-300:]!r}")
        elif "good" not in out:
            faults.append(f"{where}: the good plugin is not there: {out[-200:]!r}")
        elif ACTING.search(out + err):
            faults.append(f"{where}: acts on a terminal: {(out + err)[-200:]!r}")
        elif as_json:
            counts["answers in JSON"] += 1
            try:
                json.loads(out)
            except ValueError:
                faults.append(f"{where}: no JSON: {out[:200]!r}")
    return counts, faults
