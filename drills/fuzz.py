"""Fuzzing: every reader of foreign bytes is given bytes that were made to confuse it.

    python drills/fuzz.py                   the readers, and how long each was fuzzed
    python drills/fuzz.py warc --minutes 10
    python drills/fuzz.py --table en        the same as the table of the safety page (en or ja)
    python drills/fuzz.py --publish         keep the sums in published/fuzz.yaml
    python drills/fuzz.py all --minutes 10  one minute of processor each in turn, until all had ten

With atheris (coverage-guided, https://github.com/google/atheris) installed its inputs are used,
else mutations of the good files. A reader may refuse with one of the project's errors, or set
things aside. Any other exception, an input that takes 60 seconds, 3 GB of memory, or the end of the
process is a find: the input is kept in ``build/fuzz/READER/finds``, named by error and place.
``build/fuzz/READER/told.json`` adds up seconds of processor time and inputs over all calls, from
those of ``published/fuzz.yaml`` on, and the inputs that reached new lines stay in
``build/fuzz/READER/inputs`` for the next.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from hashlib import sha256
from pathlib import Path

import yaml
from fuzz_readers import READERS

HERE = Path(__file__).resolve().parent


PLACE = HERE.parent / "build" / "fuzz"
PUBLISHED = HERE.parent / "published" / "fuzz.yaml"
LONGEST = 1 << 16  # bytes of an input
SECONDS_OF_ONE = 60
MEGABYTES = 3000


def _published(name: str) -> dict[str, float]:
    """Seconds and inputs of a reader that are published: what other machines did counts, too."""
    value = yaml.safe_load(PUBLISHED.read_text()) if PUBLISHED.is_file() else {}
    return value.get("readers", {}).get(name, {})


def _publish() -> None:
    """Keep the sums, with the day and the commit of the readers that were fuzzed last."""
    git = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    told = {name: Told(name) for name in READERS}
    readers = {
        name: {"seconds": round(one.seconds), "inputs": one.inputs} for name, one in told.items()
    }
    value = {"day": str(datetime.date.today()), "commit": commit, "readers": readers}
    PUBLISHED.write_text(yaml.safe_dump(value, sort_keys=False, default_flow_style=None))


class Told:
    """Seconds, inputs and finds of one reader, added up over calls."""

    def __init__(self, name: str) -> None:
        self.folder = PLACE / name.replace(" ", "-")
        self.path = self.folder / "told.json"
        self.last = self.folder / "last"
        (self.folder / "inputs").mkdir(parents=True, exist_ok=True)
        (self.folder / "finds").mkdir(exist_ok=True)
        value = json.loads(self.path.read_bytes()) if self.path.is_file() else _published(name)
        self.seconds: float = value.get("seconds", 0.0)
        self.inputs: int = value.get("inputs", 0)
        self.finds: dict[str, str] = value.get("finds", {})

    def write(self, seconds: float, inputs: int) -> None:
        value = {"seconds": self.seconds + seconds, "inputs": self.inputs + inputs,
                 "finds": self.finds}  # fmt: skip
        self.path.write_text(json.dumps(value, indent=1, ensure_ascii=False))

    def find(self, error: BaseException, data: bytes) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "yoriai" in f.filename and Path(f.filename).parent != HERE]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        key = f"{type(error).__name__} at {place}"
        if key not in self.finds:
            self.finds[key] = str(error)[:200]
            (self.folder / "finds" / key.replace(" ", "-").replace("/", "-")).write_bytes(data)
            print(f"FOUND {key}: {str(error)[:200]}", flush=True)


def fuzz(name: str, seconds: float, seed: int) -> None:
    """Fuzz one reader in this process for some seconds of processor time; ends the process."""
    try:
        import atheris
    except ImportError:
        atheris = None
    make, seeds = READERS[name]
    told = Told(name)
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    ours = ["yoriai", *(f"yoriai_{name}" for name in ("corpus", "train", "eval"))]
    with atheris.instrument_imports(include=ours) if atheris else contextlib.nullcontext():
        import yoriai  # noqa: F401

        read = make(folder)
    from yoriai.errors import YoriaiError

    for number, data in enumerate(seeds()):
        (told.folder / "inputs" / f"seed-{number}").write_bytes(data)
    for _ in range(2):  # what is imported late is imported now
        for data in seeds():
            with contextlib.suppress(YoriaiError):
                read(data)
    began, inputs = time.process_time(), 0
    last = began
    kept = os.open(told.last, os.O_RDWR | os.O_CREAT | os.O_TRUNC)  # if the process ends of it

    def one(data: bytes) -> None:
        nonlocal inputs, last
        inputs += 1
        os.pwrite(kept, data, 0)
        os.truncate(kept, len(data))
        try:
            read(data)
        except YoriaiError:
            pass
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            told.find(error, data)
        now = time.process_time()
        if now - last > 5:
            last = now
            told.write(now - began, inputs)
        if now - began > seconds:
            told.write(now - began, inputs)
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)

    if atheris:
        words = [sys.argv[0], f"-max_len={LONGEST}", f"-timeout={SECONDS_OF_ONE}", f"-seed={seed}",
                 f"-rss_limit_mb={MEGABYTES}", f"-artifact_prefix={told.folder}/finds/",
                 "-verbosity=0", "-print_final_stats=0", str(told.folder / "inputs")]  # fmt: skip
        atheris.Setup(words, one)
        atheris.Fuzz()
    import readers

    chosen = random.Random(seed)
    good = [path.read_bytes() for path in sorted((told.folder / "inputs").iterdir())] or [b"a"]
    while True:
        data = chosen.choice(good)
        for _ in range(chosen.randint(1, 3)):
            data = readers.spoil(data or b"\0", chosen)
        one(data[:LONGEST])


def _fuzz_in_turn(names: list[str], minutes: float, slice_seconds: float) -> None:
    """A slice of processor time for each reader in turn, until each has had its minutes."""
    while left := [name for name in names if Told(name).seconds < minutes * 60 - 1]:
        for name in left:
            seconds = min(slice_seconds, minutes * 60 - Told(name).seconds)
            before = Told(name)
            words = [sys.executable, str(HERE / "fuzz.py"), name, "--here", f"--seconds={seconds}",
                     f"--seed={time.time_ns() % 10**6}"]  # fmt: skip
            done = subprocess.run(words, capture_output=True, text=True, errors="replace")
            for line in done.stdout.splitlines():
                if line.startswith("FOUND"):
                    print(f"{name}: {line}", flush=True)
            if done.returncode:
                told = Told(name)
                data = told.last.read_bytes() if told.last.is_file() else b""
                key = f"the process ended with {done.returncode} of {sha256(data).hexdigest()[:8]}"
                (told.folder / "finds" / key.replace(" ", "-")).write_bytes(data)
                print(f"{name}: {key}: {done.stderr[-1500:]}", flush=True)
                told.finds.setdefault(key, done.stderr[-300:])
                told.write(0.0, 0)
                if told.seconds <= before.seconds and told.inputs <= before.inputs:
                    names = [other for other in names if other != name]


def _table() -> str:
    rows = []
    for name in READERS:
        told = Told(name)
        rows.append(f"{name:22}{told.seconds / 60:7.1f} min{told.inputs:11,} inputs"
                    f"{len(told.finds):4} finds")  # fmt: skip
        rows += [
            f"    {key}: {words.splitlines()[-1] if words else ''}"
            for key, words in told.finds.items()
        ]
    return "\n".join(rows)


_WORDS = {
    "en": ("reader", "processor minutes", "inputs", "all"),
    "ja": ("読み込み", "プロセッサ時間（分）", "入力", "合計"),
}


def _page(language: str) -> str:
    """The table of the safety page."""
    reader, minutes, inputs, together = _WORDS[language]
    told = sorted(((name, Told(name)) for name in READERS), key=lambda row: -round(row[1].seconds))
    rows = [f"| {name} | {one.seconds / 60:.1f} | {one.inputs:,} |" for name, one in told]
    seconds, count = sum(one.seconds for _, one in told), sum(one.inputs for _, one in told)
    last = f"| **{together}** | **{seconds / 60:.0f}** | **{count:,}** |"
    return "\n".join([f"| {reader} | {minutes} | {inputs} |", "|---|---|---|", *rows, last])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="readers, or all")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--slice", type=float, default=60.0, help="seconds of a turn")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--table", choices=list(_WORDS), help="print the table of the safety page")
    parser.add_argument("--publish", action="store_true", help="keep the sums with the project")
    given = parser.parse_args()
    if given.table:
        print(_page(given.table))
        return
    if given.publish:
        _publish()
        return
    if given.here:
        fuzz(given.names[0], given.seconds, given.seed)
    names = list(READERS) if given.names == ["all"] else given.names
    if unknown := [name for name in names if name not in READERS]:
        sys.exit(f"no reader {unknown[0]!r}; there are {', '.join(READERS)}")
    _fuzz_in_turn(names, given.minutes, given.slice)
    print(_table())


if __name__ == "__main__":
    main()
