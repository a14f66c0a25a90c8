"""llm-jp-eval's processed splits, rebuilt bit for bit from the upstream files.

Pure functions of bytes. Rules from llm-jp-eval v1.3 (``src/llm_jp_eval/datasets/*.py``, vendored
by swallow-llm/swallow-evaluation at 78de0db) and its README; the dev files that come out have the
sha256 that LLM-jp publishes (llm-jp/scripts, ``evaluation/installers/llm-jp-eval-v1.3.1/resources/
sha256sums.csv``, and the same of v1.4.1).
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from yoriai.files import digest_bytes

Split = Literal["test", "dev", "train"]
Reader = Callable[[bytes, str], list["UpstreamRecord"]]
SEED = 42
# JSeM: judgements of acceptability and problems without an answer (datasets/jsem.py).
NO_INFERENCE = ("", "infelicitous", "unacceptable", "weakacceptable")


@dataclass(frozen=True, slots=True)
class UpstreamRecord:
    """One record of an upstream file, as it is put to a model.

    ``kept`` is false for a record that no split holds; it is counted where shots name rows by
    number. ``part`` is the split that the file itself names. Rows of one ``cluster`` share text.
    ``choices`` are those of this row, where they are not the same for all rows of the set.
    """

    input: str
    output: str
    group: str = ""
    cluster: str = ""
    part: str = ""
    kept: bool = True
    choices: tuple[str, ...] = ()

    def sha256(self) -> str:
        """The name by which protocols quote it: of input, newline and output."""
        return digest_bytes(f"{self.input}\n{self.output}".encode())


@dataclass(frozen=True, slots=True)
class Builder:
    """How a data set becomes rows and splits.

    ``test`` and ``rest`` are paths; ``cut`` says what is made of them. ``given``: test as it is,
    train and dev are the shuffled rest, 90/10; ``column``: the same, but a column of the file says
    what is test; ``none``: all rows are shuffled and cut 80/10/10; ``halves``: dev and test are the
    halves of the shuffled test rows, and train is the rest as it is; ``parts``: upstream has all
    three, each in files of its own (``parts``) or marked in each row.
    """

    read: Reader
    rest: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    cut: Literal["given", "column", "none", "halves", "parts"] = "given"
    parts: Mapping[Split, tuple[str, ...]] = field(default_factory=dict)
    join: Callable[[Mapping[str, bytes]], list[UpstreamRecord]] | None = (
        None  # where rows need several files
    )

    def files(self, split: Split) -> tuple[str, ...]:
        """The files that a split is made of."""
        if self.cut == "parts":
            return self.parts.get(split, ())
        if self.cut == "halves":
            return self.rest if split == "train" else self.test
        return self.test if split == "test" and self.test else self.rest


# --- readers, one for each form of file ---------------------------------------------------


def _nli(premise: str, hypothesis: str) -> str:
    return f"前提：{premise}\n仮説：{hypothesis}"


def _mark(text: str) -> str:
    """A short name for a text that several rows share."""
    return digest_bytes(text.encode())[:12]


def _table(data: bytes) -> list[dict[str, str]]:
    """Tab-separated values with a header; quotation marks mean nothing."""
    lines = data.decode().removesuffix("\n").split("\n")
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.split(b"\n") if line]


def jamp(data: bytes, _path: str) -> list[UpstreamRecord]:
    """Rows share a template (``template_num``); groups are its temporal category."""
    return [
        UpstreamRecord(
            _nli(row["premise"], row["hypothesis"]),
            row["gold_label"],
            group=row["category"],
            cluster=row["template_num"],
        )
        for row in _table(data)
    ]


def janli(data: bytes, _path: str) -> list[UpstreamRecord]:
    """The file holds 144 templates, 100 rows of each in turn; groups are heuristics."""
    return [
        UpstreamRecord(
            _nli(row["sentence_A_Ja"], row["sentence_B_Ja"]),
            row["entailment_label_Ja"],
            group=row["heuristics"],
            cluster=str(number // 100),
            part=row["split"],
        )
        for number, row in enumerate(_table(data))
    ]


def jsick(data: bytes, _path: str) -> list[UpstreamRecord]:
    """Pairs share their first sentence (3,348 of them in the 4,927 test pairs)."""
    return [
        UpstreamRecord(
            _nli(row["sentence_A_Ja"], row["sentence_B_Ja"]),
            row["entailment_label_Ja"],
            cluster=_mark(row["sentence_A_Ja"]),
        )
        for row in _table(data)
    ]


def jnli(data: bytes, _path: str) -> list[UpstreamRecord]:
    """Pairs share an image, which the first part of ``yjcaptions_id`` names."""
    return [
        UpstreamRecord(_nli(row["sentence1"], row["sentence2"]), row["label"], cluster=_image(row))
        for row in _lines(data)
    ]


def jsts(data: bytes, _path: str) -> list[UpstreamRecord]:
    """As JNLI; two images are one cluster of their own."""
    return [
        UpstreamRecord(
            f"文1：{row['sentence1']}\n文2：{row['sentence2']}",
            str(row["label"]),
            cluster=_image(row),
        )
        for row in _lines(data)
    ]


def _image(row: dict[str, Any]) -> str:
    return str(row["yjcaptions_id"]).partition("-")[0]


def jcommonsenseqa(data: bytes, _path: str) -> list[UpstreamRecord]:
    """The answer is the digit of the choice."""
    rows = []
    for row in _lines(data):
        choices = ",".join(f"{number}.{row[f'choice{number}']}" for number in range(5))
        rows.append(
            UpstreamRecord(f"質問：{row['question']}\n選択肢：{choices}", str(row["label"]))
        )
    return rows


def jsquad(data: bytes, _path: str) -> list[UpstreamRecord]:
    """Questions share a passage; only the first answer is gold (datasets/jsquad.py)."""
    return [
        UpstreamRecord(
            f"文章：{passage['context']}\n質問：{question['question']}",
            question["answers"][0]["text"],
            cluster=_mark(passage["context"]),
        )
        for article in json.loads(data)["data"]
        for passage in article["paragraphs"]
        for question in passage["qas"]
    ]


def jemhopqa(data: bytes, _path: str) -> list[UpstreamRecord]:
    """Groups are the two types of question, comparison and compositional."""
    return [
        UpstreamRecord(f"質問：{row['question']}", row["answer"], group=row["type"])
        for row in json.loads(data)
    ]


def niilc(data: bytes, _path: str) -> list[UpstreamRecord]:
    """Answers are joined with a comma; a question whose answer is ``-`` has none."""
    rows = []
    for question in _elements(data, "question"):
        # One question of the dev file has an empty answer in its list: it counts as no answer.
        answers = [text for node in question.iter("answer") if (text := _text(node))]
        output = ",".join(answers)
        rows.append(
            UpstreamRecord(f"質問：{_text(question.find('text'))}", output, kept=output != "-")
        )
    return rows


def jsem(data: bytes, path: str) -> list[UpstreamRecord]:
    """Premises are joined without a mark; rows share them. Groups are the files."""
    rows = []
    for problem in _elements(data, "problem"):
        premise = "".join(_text(node.find("script")) for node in problem.findall("p"))
        hypothesis = _text(problem.find("h/script"))
        answer = problem.get("answer") or ""
        rows.append(
            UpstreamRecord(
                _nli(premise, hypothesis),
                answer,
                group=PurePosixPath(path).stem,
                cluster=_mark(premise),
                kept=answer not in NO_INFERENCE,
            )
        )
    return rows


def _elements(data: bytes, tag: str) -> Iterable[Any]:
    from xml.etree import ElementTree

    return ElementTree.fromstring(data).iter(tag)


def _text(node: Any) -> str:
    # As xmltodict.parse reads it: white space at both ends is dropped, the full-width kind too.
    return (node.text or "").strip() if node is not None else ""


def mawps(data: bytes, _path: str) -> list[UpstreamRecord]:
    """Problems up to the mark of the answer; of an example, the last number is the answer."""
    rows = []
    for row in json.loads(data):
        question, _, solution = (row.get("question") or row["shot_example"]).partition("\n解答：")
        numbers = re.findall(r"-?\d+(?:\.\d+)?", solution)
        rows.append(UpstreamRecord(question, row["answer"] if "answer" in row else numbers[-1]))
    return rows


# By name, as bytes sort: NP stands before NewAdjective.
_JSEM = """
Adjectives Adverb Attitudes AuxiliaryVerb CaseParticle Comparatives CompoundAdjective CompoundVerb
Conditional Conjunction Coordination Ellipsis GeneralizedQuantifier Modality NP NewAdjective
NominalAnaphora Plurals Question TemporalReference Toritate Verbs
"""


def _jglue(name: str, read: Reader) -> Builder:
    path = f"datasets/{name}-v1.1/{{}}-v1.1.json"
    return Builder(read, rest=(path.format("train"),), test=(path.format("valid"),))


BUILDERS: dict[str, Builder] = {
    "jamp": Builder(jamp, rest=("dataset/train_all.tsv",), test=("dataset/test_2.tsv",)),
    "janli": Builder(janli, rest=("janli.tsv",), test=("janli.tsv",), cut="column"),
    "jnli": _jglue("jnli", jnli),
    "jsem": Builder(
        jsem, rest=tuple(f"data/v1.0/{name}.xml" for name in _JSEM.split()), cut="none"
    ),
    "jsick": Builder(jsick, rest=("jsick/train.tsv",), test=("jsick/test.tsv",)),
    "jemhopqa": Builder(jemhopqa, rest=("corpus/train.json",), test=("corpus/dev.json",)),
    "niilc": Builder(
        niilc,
        rest=("data/NIILC-ECQA2015_dev.xml",),
        test=("data/NIILC-ECQA2015_test.xml",),
    ),
    "jsquad": _jglue("jsquad", jsquad),
    "jcommonsenseqa": _jglue("jcommonsenseqa", jcommonsenseqa),
    "jsts": _jglue("jsts", jsts),
    "mawps": Builder(
        mawps,
        rest=("dataset/mawps/zero_shot_example.json",),
        test=("dataset/mawps/test.json",),
        cut="halves",
    ),
}


# --- splits and the processed file --------------------------------------------------------


def build(builder: Builder, split: Split, read: Callable[[str], bytes]) -> list[UpstreamRecord]:
    """The rows of a split in their order; ``read`` gives the content of an upstream path."""
    if builder.join is not None:
        return builder.join({path: read(path) for path in builder.files(split)})
    rows = [
        row for path in builder.files(split) for row in builder.read(read(path), path) if row.kept
    ]
    if builder.cut == "parts":
        return [row for row in rows if row.part in ("", split)]
    if builder.cut == "none":
        rows = shuffled(rows)
        ends = [0, int(len(rows) * 0.8), int(len(rows) * 0.9), len(rows)]
        place = ("train", "dev", "test").index(split)
        return rows[ends[place] : ends[place + 1]]
    if builder.cut == "halves":
        half = len(rows) // 2
        if split == "train":
            return rows
        return shuffled(rows)[:half] if split == "dev" else shuffled(rows)[half:]
    if builder.cut == "column":
        rows = [row for row in rows if (row.part == "test") == (split == "test")]
    if split == "test":
        return rows
    end = int(len(rows) * 0.9)
    return shuffled(rows)[:end] if split == "train" else shuffled(rows)[end:]


def shuffled(rows: Sequence[UpstreamRecord]) -> list[UpstreamRecord]:
    """As ``random.seed(42); random.shuffle(rows)`` leaves them, without the global state."""
    copy = list(rows)
    random.Random(SEED).shuffle(copy)
    return copy


def as_float32(row: UpstreamRecord) -> UpstreamRecord:
    """The row as JGLUE v1.0 wrote it: similarities were 32-bit floats (3.8 as 3.7999999523…)."""
    import struct

    [value] = struct.unpack("f", struct.pack("f", float(row.output)))
    return replace(row, output=str(value))


def document(
    rows: Iterable[UpstreamRecord],
    *,
    instruction: str,
    output_length: int,
    metrics: Sequence[str],
    few_shots: Iterable[UpstreamRecord] = (),
) -> bytes:
    """llm-jp-eval's file of a split: keys in its order, indented by four, no newline at the end."""
    value = {
        "instruction": instruction,
        "output_length": output_length,
        "metrics": list(metrics),
        "few_shots": [{"input": row.input, "output": row.output} for row in few_shots],
        "samples": [{"input": row.input, "output": row.output} for row in rows],
    }
    return json.dumps(value, indent=4, ensure_ascii=False).encode()
