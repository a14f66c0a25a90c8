"""Rows of the sets beyond the nine, from the upstream files.

Pure functions of bytes. Which sets: those that LLM-jp added on its way to fifty (llm-jp-eval,
DATASET.md) and whose data may be used freely. Questions and golds are those of upstream, put in
words of our own: no processed file of llm-jp-eval is rebuilt here.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from yoriai_eval.sets import knp
from yoriai_eval.sets.llm_jp import Builder, Split, UpstreamRecord

LETTERS = "ABCD"
# Subjects of JMMLU under CC BY-NC-ND (nlp-waseda/JMMLU:README.md, folder JMMLU_NC_ND).
NOT_FREE = ("japanese_idiom", "japanese_civics", "japanese_geography")


def _lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.split(b"\n") if line.strip()]


def _csv(data: bytes) -> list[list[str]]:
    text = data.decode("utf-8-sig")
    return [row for row in csv.reader(io.StringIO(text, newline="")) if row]


# --- judgements -----------------------------------------------------------------------------


def jcola(data: bytes, _path: str) -> list[UpstreamRecord]:
    """1: acceptable, 0: not. Rows of one source article are one cluster."""
    return [
        UpstreamRecord(f"文：{row['sentence']}", str(row["label"]), cluster=row["source"])
        for row in _lines(data)
    ]


def moral(data: bytes, _path: str) -> list[UpstreamRecord]:
    """1: wrong, 0: not. Two rows in turn are a pair that differs in a few words: one cluster."""
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    return [
        UpstreamRecord(f"文：{row['sent']}", row["label"], cluster=str(number // 2))
        for number, row in enumerate(rows)
    ]


# --- four choices ---------------------------------------------------------------------------


def _choice(cells: list[str], group: str, part: str = "") -> UpstreamRecord:
    """A row of MMLU's form: question, four choices, the letter of the right one."""
    question, *choices, letter = cells
    if len(choices) != 4 or letter not in LETTERS:
        raise ValueError(f"this is no question with four choices: {cells}")
    # 1,119 rows of JMMLU have choices padded with spaces, which a likelihood would count.
    kept = tuple(choice.strip() for choice in choices)
    return UpstreamRecord(question.strip(), letter, group=group, part=part, choices=kept)


def jmmlu(data: bytes, _path: str) -> list[UpstreamRecord]:
    """Subjects in order of their names; those whose licence is not free are left out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {
            name.stem: archive.read(str(name))
            for name in map(PurePosixPath, sorted(archive.namelist()))
            if name.suffix == ".csv"
            and not name.name.startswith(".")
            and "__MACOSX" not in name.parts
        }
    subjects = sorted(set(files) - set(NOT_FREE))
    return [_choice(cells, s, "test") for s in subjects for cells in _csv(files[s])]


def mmlu(data: bytes, _path: str) -> list[UpstreamRecord]:
    """``data/test/SUBJECT_test.csv`` and so on; train is the five examples of each subject."""
    parts = {"test": "test", "val": "dev", "dev": "train"}
    rows = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {PurePosixPath(m.name): m for m in archive.getmembers() if m.isfile()}
        for name in sorted(members):
            if name.suffix == ".csv" and name.parent.name in parts:
                content = archive.extractfile(members[name])
                subject = name.stem.rpartition("_")[0]
                found = _csv(content.read()) if content else []
                rows += [_choice(cells, subject, parts[name.parent.name]) for cells in found]
    return rows


def jamcqa(data: bytes, _path: str) -> list[UpstreamRecord]:
    """Groups are the eight categories."""
    import pyarrow.parquet as pq

    return [
        UpstreamRecord(
            row["question"],
            LETTERS[row["answer_index"]],
            group=row["category"],
            choices=tuple(row[f"choice{n}"] for n in range(4)),
        )
        for row in pq.read_table(io.BytesIO(data)).to_pylist()
    ]


# --- numbers --------------------------------------------------------------------------------


def mgsm(data: bytes, _path: str) -> list[UpstreamRecord]:
    """Two columns without a header; the thousands of four golds are grouped by commas."""
    rows = csv.reader(
        io.StringIO(data.decode(), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    return [
        UpstreamRecord(f"問題：{question}", answer.replace(",", "")) for question, answer in rows
    ]


# --- the annotated corpus of Wikipedia ------------------------------------------------------


def _wiki(
    told: Callable[[list[knp.Sentence]], str],
) -> Callable[[bytes, str], list[UpstreamRecord]]:
    """Rows are documents, in the order of the id files; ``told`` makes the gold."""

    def read(data: bytes, _path: str) -> list[UpstreamRecord]:
        rows = []
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = {PurePosixPath(name).parts[1:]: name for name in archive.namelist()}
            for part in ("train", "dev", "test"):
                for id_ in archive.read(names["id", f"{part}.id"]).decode().split():
                    content = archive.read(names["knp", id_[:8], f"{id_}.knp"]).decode()
                    document = knp.read(content)
                    text = "".join(sentence.text for sentence in document)
                    rows.append(UpstreamRecord(f"文章：{text}", told(document), part=part))
        return rows

    return read


# --- translation ----------------------------------------------------------------------------

ALT = "ALT-Parallel-Corpus-20191206.zip"


def _alt(source: str, target: str) -> Callable[[Mapping[str, bytes]], list[UpstreamRecord]]:
    """Sentences of one article (a URL number) are one cluster; the URL files name the articles."""

    def join(files: Mapping[str, bytes]) -> list[UpstreamRecord]:
        with zipfile.ZipFile(io.BytesIO(files[ALT])) as archive:
            names = {PurePosixPath(name).name: name for name in archive.namelist()}
            sides = [
                dict(_sentences(archive.read(names[f"data_{language}.txt"])))
                for language in (source, target)
            ]
        wanted = {
            line.split("\t")[0].removeprefix("URL.").strip()
            for path, content in files.items()
            if path != ALT
            for line in content.decode().split("\n")
            if line.strip()
        }
        return [
            UpstreamRecord(text, sides[1][key], cluster=key.split(".")[1])
            for key, text in sides[0].items()
            if key.split(".")[1] in wanted and text and sides[1].get(key)
        ]

    return join


def _sentences(data: bytes) -> Iterator[tuple[str, str]]:
    for line in data.decode("utf-8-sig").split("\n"):
        key, tab, text = line.partition("\t")
        if tab:
            yield key, text.strip()


# --- all of them ----------------------------------------------------------------------------


def _one(path: str) -> dict[Split, tuple[str, ...]]:
    """One file that holds all three splits."""
    return {"test": (path,), "dev": (path,), "train": (path,)}


def _each(**paths: str) -> dict[Split, tuple[str, ...]]:
    names: tuple[Split, ...] = ("test", "dev", "train")
    return {name: (paths[name],) for name in names if name in paths}


WIKI = "v1.1.2.zip"
_COLA = "data/jcola-v1.0/{}-v1.0.json"
BUILDERS: dict[str, Builder] = {
    "jcola-in-domain": Builder(
        jcola,
        rest=(_COLA.format("in_domain_train"),),
        test=(_COLA.format("in_domain_valid"),),
    ),
    "jcola-out-of-domain": Builder(
        jcola,
        rest=(_COLA.format("in_domain_train"),),
        test=(_COLA.format("out_of_domain_valid"),),
    ),
    "commonsensemoralja": Builder(
        moral,
        cut="parts",
        parts=_each(
            test="data/data_test.csv", dev="data/data_val.csv", train="data/data_train.csv"
        ),
    ),
    "jmmlu": Builder(jmmlu, cut="parts", parts=_each(test="JMMLU.zip")),
    "mmlu_en": Builder(mmlu, cut="parts", parts=_one("data.tar")),
    "jamcqa": Builder(
        jamcqa,
        cut="parts",
        parts=_each(
            test="v1.0/test-00000-of-00001.parquet",
            dev="v1.0/dev-00000-of-00001.parquet",
            train="v1.0/dev-00000-of-00001.parquet",
        ),
    ),
    "mgsm": Builder(mgsm, cut="parts", parts=_each(test="mgsm/mgsm_ja.tsv")),
    **{
        f"wiki_{name}": Builder(_wiki(told), cut="parts", parts=_one(WIKI))
        for name, told in (
            ("reading", knp.reading),
            ("ner", knp.entities),
            ("dependency", knp.dependencies),
            ("pas", knp.arguments),
            ("coreference", knp.chains),
        )
    },
    **{
        f"alt-{name}": Builder(
            lambda _data, _path: [],
            cut="parts",
            parts={
                "test": (ALT, "URL-test.txt"),
                "dev": (ALT, "URL-dev.txt"),
                "train": (ALT, "URL-train.txt"),
            },
            join=_alt(*sides),
        )
        for name, sides in (("e-to-j", ("en", "ja")), ("j-to-e", ("ja", "en")))
    },
}
