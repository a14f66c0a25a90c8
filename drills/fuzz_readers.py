"""Every reader of foreign bytes, as a function of bytes: what ``fuzz.py`` attacks."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_seeds import (
    ANSWER,
    CP932,
    KNP,
    MANIFEST,
    MIXTURE,
    RECORD,
    ROWS,
    RUN,
    TASK,
    TEXT,
    VALUE,
    WIKITEXT,
    array_files,
    foreign_files,
    index_file,
    mo_file,
    safetensors_files,
    small_recipe,
    these,
    tokenizer_files,
    zip_file,
    zstd_file,
)

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


def _tokenizer(folder: Path) -> Read:
    from yoriai_corpus.tokenizers import compare

    def read(data: bytes) -> None:
        path = folder / ("tokenizer.json" if data[:1] == b"{" else "a.model")
        path.write_bytes(data)
        opened = compare.open_tokenizer(path)
        opened.count(["これは a  試し", ""])

    return read


def _weights(folder: Path) -> Read:
    from yoriai_train.model import weights

    def read(data: bytes) -> None:
        (folder / "model.safetensors").write_bytes(data)
        weights._find_tensors(folder)

    return read


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


# What reads foreign bytes, how it is called, and good inputs to begin with.
READERS: dict[str, tuple[Callable[[Path], Read], Callable[[], list[bytes]]]] = {
    "warc": (_of_source("warc", "warc"), foreign_files("warc")),
    "warc.gz": (_of_source("warc", "warc.gz"), foreign_files("warc.gz")),
    "wet": (_of_source("wet", "warc.wet"), foreign_files("warc")),
    "parquet": (_of_source("parquet", "parquet"), foreign_files("parquet")),
    "jsonl": (_of_source("jsonl", "jsonl"), these(ROWS)),
    "jsonl.gz": (_of_source("jsonl", "jsonl.gz"), lambda: [gzip.compress(ROWS) * 2]),
    "jsonl.zst": (_of_source("jsonl", "jsonl.zst"), lambda: [zstd_file(), zstd_file() * 2]),
    "jsonl.bz2": (_of_source("jsonl", "jsonl.bz2"), lambda: [bz2.compress(ROWS) * 2]),
    "jsonl.xz": (_of_source("jsonl", "jsonl.xz"), lambda: [lzma.compress(ROWS) * 2]),
    "csv": (_of_source("csv", "csv"), foreign_files("csv")),
    "wikipedia": (_of_source("wikipedia", "xml"), foreign_files("xml")),
    "wikitext": (_wikitext, these(WIKITEXT)),
    "aozora.zip": (_of_source("aozora", "zip"), lambda: [zip_file()]),
    "html-files": (_of_source("html-files", "html"), foreign_files("html")),
    "text-files": (_of_source("text-files", "txt", encoding="detect"), these(CP932)),
    "encodings": (_decode, these(TEXT.encode("cp932"), TEXT.encode("utf-16"))),
    "HTTP answers": (_answers, these(ANSWER)),
    "gettext": (_gettext, lambda: [mo_file()]),
    "Megatron index": (_shard, lambda: [index_file()]),
    "safetensors": (_weights, safetensors_files),
    "tokenizers": (_tokenizer, tokenizer_files),
    "search index": (_array_file, array_files),
    "manifest": (_manifest, these(MANIFEST)),
    "artifact": (_artifact, these(MANIFEST)),
    "YAML": (_yaml, these(b"a: &x [1, {b: 2.5}]\nc: *x\nd: {<<: {e: 2026-01-01}}\n", RECORD)),
    "recipe": (_recipe, lambda: [small_recipe()]),
    "record": (_record, these(RECORD)),
    "Markdown": (_markdown, these(RECORD)),
    "mixture": (_mixture, these(MIXTURE)),
    "run file": (_run_file, these(RUN)),
    "instructions": (_instructions, these(b'{"instruction": "a", "output": "b"}\n'
                                           b'{"messages": [{"role": "user", "content": "a"},'
                                           b' {"role": "assistant", "content": "b"}]}\n')),
    "task file": (_task, these(TASK)),
    "answers of a program": (_values, these(VALUE)),
    "KNP": (_knp, these(KNP)),
}  # fmt: skip
