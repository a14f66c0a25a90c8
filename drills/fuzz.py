"""Fuzzing: every reader of foreign bytes is given bytes that were made to confuse it.

    python drills/fuzz.py                   the readers, and how long each was fuzzed
    python drills/fuzz.py warc --minutes 10
    python drills/fuzz.py all --minutes 10  one minute of processor each in turn, until all had ten

With atheris (coverage-guided, https://github.com/google/atheris) installed its inputs are used,
else mutations of the good files. A reader may refuse with one of the project's errors, or set
things aside. Any other exception, an input that takes 60 seconds, 3 GB of memory, or the end of the
process is a find: the input is kept in ``build/fuzz/READER/finds``, named by error and place.
``build/fuzz/READER/told.json`` adds up seconds of processor time and inputs over all calls, and the
inputs that reached new lines stay in ``build/fuzz/READER/inputs`` for the next.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PLACE = HERE.parent / "build" / "fuzz"
LONGEST = 1 << 16  # bytes of an input
SECONDS_OF_ONE = 60
MEGABYTES = 3000
Read = Callable[[bytes], object]


def _of_source(use: str, ending: str, **options: Any) -> Callable[[Path], Read]:
    """A source of the corpus, given a file of these bytes, read to its end."""

    def make(folder: Path) -> Read:
        from yoriai.plugins import load_registry

        registry = load_registry("corpus")
        kind = registry.load(registry.get("sources", f"corpus/{use}"))
        path = folder / f"foreign.{ending}"
        source = kind(
            paths=[str(path)], name="foreign", language="ja", licence="CC0-1.0", **options
        )

        def read(data: bytes) -> None:
            path.write_bytes(data)
            for partition in source.partitions():
                for _ in source.read(partition):
                    pass

        return read

    return make


def _manifest(_: Path) -> Read:
    from yoriai import manifest

    return manifest.parse


def _artifact(folder: Path) -> Read:
    from yoriai import artifact

    (folder / "a.txt").write_bytes(b"a")

    def read(data: bytes) -> None:
        (folder / "artifact.json").write_bytes(_sealed(data))
        _, _ = artifact.verify(folder)
        artifact.lineage(artifact.open_checked(folder))

    return read


def _sealed(data: bytes) -> bytes:
    """The manifest with a seal and a digest that fit, where it can have them."""
    from yoriai import artifact, files

    try:
        value = json.loads(data)
        value["digest"] = files.digest_json({key: value[key] for key in artifact.IDENTITY})
        value["seal"] = files.digest_json({k: v for k, v in value.items() if k != "seal"})
        return files.canonical_json(value)
    except Exception:
        return data


def _yaml(_: Path) -> Read:
    from yoriai import safe_yaml

    return lambda data: safe_yaml.load(data, "foreign.yaml")


def _recipe(folder: Path) -> Read:
    from yoriai import recipe
    from yoriai.plugins import load_registry

    registry = load_registry("corpus")

    def read(data: bytes) -> None:
        path = folder / "foreign.yaml"
        path.write_bytes(data)
        recipe.load_recipe(path, registry)

    return read


def _record(folder: Path) -> Read:
    from yoriai import record_faults

    home = folder / "0001-foreign"
    home.mkdir()

    def read(data: bytes) -> None:
        front, _, page = data.partition(b"\x00")
        (home / "record.yaml").write_bytes(front)
        (home / "README.md").write_bytes(page)
        record_faults.check_records(folder)

    return read


def _markdown(_: Path) -> Read:
    from yoriai import plain_markdown

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        list(plain_markdown.find_markup(text))
        plain_markdown.neutralise(text)

    return read


def _run_file(folder: Path) -> Read:
    from yoriai import run_file

    def read(data: bytes) -> None:
        (folder / "20260101-000000-abcd.json").write_bytes(data)
        run_file.look(folder)

    return read


def _shard(folder: Path) -> Read:
    from yoriai import shards

    (folder / "a.bin").write_bytes(bytes(64))

    def read(data: bytes) -> None:
        (folder / "a.idx").write_bytes(data)
        shard = shards.Shard(folder / "a")
        list(shard.lengths)

    return read


def _mixture(folder: Path) -> Read:
    from yoriai import mixture

    def read(data: bytes) -> None:
        (folder / "mixture.yaml").write_bytes(data)
        mixture.read_mixture(folder)

    return read


def _array_file(folder: Path) -> Read:
    import numpy as np

    from yoriai_corpus.search import array_file

    def read(data: bytes) -> None:
        (folder / "a.arrays").write_bytes(data)
        array_file.load(folder / "a.arrays", {"a": np.uint8, "b": np.int64})

    return read


def _array_seeds() -> list[bytes]:
    import numpy as np

    from yoriai_corpus.search import array_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.arrays")
        array_file.save(path, {"a": np.arange(9, dtype=np.uint8), "b": np.arange(5)})
        return [path.read_bytes()]


def _tokenizer(folder: Path) -> Read:
    from yoriai_corpus.tokenizers import compare

    def read(data: bytes) -> None:
        path = folder / ("tokenizer.json" if data[:1] == b"{" else "a.model")
        path.write_bytes(data)
        opened = compare.open_tokenizer(path)
        opened.count(["これは a  試し", ""])

    return read


def _tokenizer_seeds() -> list[bytes]:
    value = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 0, "content": "<unk>", "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False, "special": True}],
        "normalizer": {"type": "NFKC"}, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁",
                                                        "prepend_scheme": "always", "split": True},
        "post_processor": None, "decoder": {"type": "ByteFallback"},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "byte_fallback": True,
                  "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3}, "merges": [["a", "b"]]},
    }  # fmt: skip
    # fmt: off
    unigram = {**value, "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": False,
                                  "vocab": [["<unk>", 0.0], ["a", -1.0], ["ab", -2.0]]}}
    # fmt: on
    return [json.dumps(value).encode(), json.dumps(unigram).encode(), _sentencepiece()]


def _sentencepiece() -> bytes:
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["これは試しの文です", "文を書く"] * 20), model_writer=out,
        vocab_size=24, hard_vocab_limit=False, minloglevel=9,
    )  # fmt: skip
    return out.getvalue()


def _weights(folder: Path) -> Read:
    from yoriai_train.model import weights

    def read(data: bytes) -> None:
        (folder / "model.safetensors").write_bytes(data)
        weights._find_tensors(folder)

    return read


def _safetensors() -> list[bytes]:
    head = json.dumps({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    return [len(head).to_bytes(8, "little") + head + bytes(16)]


def _instructions(folder: Path) -> Read:
    from yoriai_train.data.instructions import Jsonl

    path = folder / "rows.jsonl"
    source = Jsonl(path=str(path))

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for _ in source.examples([], 1):
            pass

    return read


def _values(_: Path) -> Read:
    from yoriai_eval.tasks.inside import values

    def read(data: bytes) -> None:
        with contextlib.suppress(values.NotPlain):
            values.decode(data)

    return read


def _knp(_: Path) -> Read:
    from yoriai_eval.sets import knp

    def read(data: bytes) -> None:
        try:
            document = knp.read(data.decode("utf-8", "replace"))
        except ValueError:  # what it raises of a line that is none
            return
        for write in (knp.reading, knp.entities, knp.dependencies, knp.arguments, knp.chains):
            write(document)

    return read


def _task(folder: Path) -> Read:
    from yoriai_eval.tasks.yaml_file import YamlTask

    path = folder / "task.yaml"
    (folder / "rows.jsonl").write_text('{"q": "a", "a": "b"}\n')

    def read(data: bytes) -> None:
        path.write_bytes(data)
        task = YamlTask(path=str(path))
        for sample in task.samples([]):
            task.score(sample, "b")

    return read


def _wikitext(_: Path) -> Read:
    from yoriai_corpus.sources import wikitext

    return lambda data: wikitext.plain_text(data.decode("utf-8", "replace"), title="題")


def _gettext(_: Path) -> Read:
    from yoriai_corpus.sources import gettext

    def read(data: bytes) -> None:
        with contextlib.suppress(ValueError):  # what it raises of a file that is none
            gettext.read_catalogue(data)

    return read


def _mo() -> bytes:
    texts = [(b"", b"Content-Type: text/plain; charset=UTF-8\n"), (b"a", "あ".encode())]
    table, strings, at = b"", b"", 28 + 16 * len(texts)
    for side in (0, 1):
        for row in texts:
            table += len(row[side]).to_bytes(4, "little") + (at + len(strings)).to_bytes(
                4, "little"
            )
            strings += row[side] + b"\0"
    head = [0x950412DE, 0, len(texts), 28, 28 + 8 * len(texts), 0, 28 + 16 * len(texts)]
    return b"".join(n.to_bytes(4, "little") for n in head) + table + strings


def _decode(_: Path) -> Read:
    from yoriai_corpus.sources import encodings

    def read(data: bytes) -> None:
        for declared in ("", ("shift_jis", "utf-16")):
            with contextlib.suppress(UnicodeError):  # what it raises where nothing is text
                encodings.decode(data, declared)

    return read


def _answers(_: Path) -> Read:
    from yoriai_corpus.sources import http_answers

    def read(data: bytes) -> None:
        head, _, body = http_answers.final_answer(data).partition(b"\r\n\r\n")
        with contextlib.suppress(ValueError):  # what it raises of a body that cannot be read
            http_answers.body_of(http_answers.header_fields(head), body, 1 << 20)

    return read


TEXT = "これは試しの文章です。機械が読む言葉を書く。" * 3
ROWS = "".join(
    json.dumps({"id": str(n), "text": TEXT, "date": "2026-01-01"}, ensure_ascii=False) + "\n"
    for n in range(3)
).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + gzip.compress(b"")[:20] + b"\r\n0\r\n\r\n"
)
MANIFEST = json.dumps(
    {
        "schema": 1, "kind": "corpus", "name": "a/text@1", "step": "corpus/build", "config": {},
        "code": "a", "seed": 1, "outside": {}, "inputs": [{"name": "a", "digest": "0" * 64}],
        "sources": [], "licence": "MIT", "facts": {"documents": 1},
        "files": {"a.txt": {"bytes": 1, "sha256": hashlib.sha256(b"a").hexdigest()}},
        "digest": "0" * 64, "circumstances": {"folders": ["../b"], "run": "r"}, "seal": "0" * 64,
    }
).encode()  # fmt: skip
RECORD = b"""title: a
status: valid
date: 2026-01-01
question: does it hold?
\0# A record

[a](https://example.org) `code` <b>
"""
TASK = b"""name: own
licence: CC0-1.0
source: made up
form: generation
data: rows.jsonl
text: "{q}"
answer: "{a}"
"""
KNP = "\n".join(
    (
        "# S-ID:1", "* 1D", '+ 1D <rel type="ガ" target="人" sid="1" id="0"/>', "人 ひと 人 名詞",
        "* -1D", "+ -1D", "来る くる 来る 動詞", "EOS", "",
    )
).encode()  # fmt: skip


RUN = b'{"id": "20260101-000000-abcd", "state": "ok", "steps": {"a": {}}}'
VALUE = b'["l",["n","ff"],["f","0x1p3"],null,"a",["d","a",["r","0","9","1"]]]'


CP932 = TEXT.encode("cp932")
WIKITEXT = f"{TEXT}[[山|川]]{{{{雨|1}}}}<ref>a</ref>{{|\n|a\n|}}".encode()


def _foreign(ending: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        import readers

        return [readers.good()[ending][1]]

    return seeds


def _zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "a.txt", f"題\n著者\n\n{TEXT}｜山《やま》［＃改ページ］\n\n底本：本\n".encode("cp932")
        )
    return out.getvalue()


def _zstd() -> bytes:
    import zstandard

    return bytes(zstandard.compress(ROWS))


def _idx() -> bytes:
    import struct

    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, 2, 3)
    return (
        head + struct.pack("<ii", 16, 16) + struct.pack("<qq", 0, 32) + struct.pack("<qqq", 0, 1, 2)
    )


def _these(*data: bytes) -> Callable[[], list[bytes]]:
    return lambda: list(data)


# What reads foreign bytes, how it is called, and good inputs to begin with.
READERS: dict[str, tuple[Callable[[Path], Read], Callable[[], list[bytes]]]] = {
    "warc": (_of_source("warc", "warc"), _foreign("warc")),
    "warc.gz": (_of_source("warc", "warc.gz"), _foreign("warc.gz")),
    "wet": (_of_source("wet", "warc.wet"), _foreign("warc")),
    "parquet": (_of_source("parquet", "parquet"), _foreign("parquet")),
    "jsonl": (_of_source("jsonl", "jsonl"), _these(ROWS)),
    "jsonl.gz": (_of_source("jsonl", "jsonl.gz"), lambda: [gzip.compress(ROWS) * 2]),
    "jsonl.zst": (_of_source("jsonl", "jsonl.zst"), lambda: [_zstd(), _zstd() * 2]),
    "jsonl.bz2": (_of_source("jsonl", "jsonl.bz2"), lambda: [bz2.compress(ROWS) * 2]),
    "jsonl.xz": (_of_source("jsonl", "jsonl.xz"), lambda: [lzma.compress(ROWS) * 2]),
    "csv": (_of_source("csv", "csv"), _foreign("csv")),
    "wikipedia": (_of_source("wikipedia", "xml"), _foreign("xml")),
    "wikitext": (_wikitext, _these(WIKITEXT)),
    "aozora.zip": (_of_source("aozora", "zip"), lambda: [_zipped()]),
    "html-files": (_of_source("html-files", "html"), _foreign("html")),
    "text-files": (_of_source("text-files", "txt", encoding="detect"), _these(CP932)),
    "encodings": (_decode, _these(TEXT.encode("cp932"), TEXT.encode("utf-16"))),
    "HTTP answers": (_answers, _these(ANSWER)),
    "gettext": (_gettext, lambda: [_mo()]),
    "Megatron index": (_shard, lambda: [_idx()]),
    "safetensors": (_weights, _safetensors),
    "tokenizers": (_tokenizer, _tokenizer_seeds),
    "search index": (_array_file, _array_seeds),
    "manifest": (_manifest, _these(MANIFEST)),
    "artifact": (_artifact, _these(MANIFEST)),
    "YAML": (_yaml, _these(b"a: &x [1, {b: 2.5}]\nc: *x\nd: {<<: {e: 2026-01-01}}\n", RECORD)),
    "recipe": (_recipe, lambda: [_small_recipe()]),
    "record": (_record, _these(RECORD)),
    "Markdown": (_markdown, _these(RECORD)),
    "mixture": (_mixture, list),
    "run file": (_run_file, _these(RUN)),
    "instructions": (_instructions, _these(b'{"instruction": "a", "output": "b"}\n'
                                           b'{"messages": [{"role": "user", "content": "a"},'
                                           b' {"role": "assistant", "content": "b"}]}\n')),
    "task file": (_task, _these(TASK)),
    "answers of a program": (_values, _these(VALUE)),
    "KNP": (_knp, _these(KNP)),
}  # fmt: skip


def _small_recipe() -> bytes:
    import small

    return small.RECIPE.encode()


class Told:
    """Seconds, inputs and finds of one reader, added up over calls."""

    def __init__(self, name: str) -> None:
        self.folder = PLACE / name.replace(" ", "-")
        self.path = self.folder / "told.json"
        (self.folder / "inputs").mkdir(parents=True, exist_ok=True)
        (self.folder / "finds").mkdir(exist_ok=True)
        value = json.loads(self.path.read_bytes()) if self.path.is_file() else {}
        self.seconds: float = value.get("seconds", 0.0)
        self.inputs: int = value.get("inputs", 0)
        self.finds: dict[str, str] = value.get("finds", {})

    def write(self, seconds: float, inputs: int) -> None:
        value = {"seconds": self.seconds + seconds, "inputs": self.inputs + inputs,
                 "finds": self.finds}  # fmt: skip
        self.path.write_text(json.dumps(value, indent=1, ensure_ascii=False))

    def find(self, error: BaseException, data: bytes) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "yoriai" in f.filename and "fuzz.py" not in f.filename]
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

    def one(data: bytes) -> None:
        nonlocal inputs, last
        inputs += 1
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
                key = f"the process ended with {done.returncode}"
                print(f"{name}: {key}: {done.stderr[-1500:]}", flush=True)
                told.finds.setdefault(key, done.stderr[-300:])
                told.write(0.0, 0)
                if told.seconds <= before.seconds:
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="readers, or all")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--slice", type=float, default=60.0, help="seconds of a turn")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        fuzz(given.names[0], given.seconds, given.seed)
    names = list(READERS) if given.names == ["all"] else given.names
    if unknown := [name for name in names if name not in READERS]:
        sys.exit(f"no reader {unknown[0]!r}; there are {', '.join(READERS)}")
    _fuzz_in_turn(names, given.minutes, given.slice)
    print(_table())


if __name__ == "__main__":
    main()
