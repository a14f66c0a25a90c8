"""Items in documents: all that brute force finds, and nothing else."""

import math
import os
import random
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import run_hashes as runs
from yoriai.run_hashes import run_hashes
from yoriai.same_text import EvaluationText, fields, fold
from yoriai.text_index import TextIndex

TEXT = "縁側で三毛猫が丸くなって眠っているあいだに、祖母は台所で梅干しを漬けていた。"
CLEAN = "この関数は引数に渡された値を検査し、正しくなければ例外を送出します。" * 20


def item(*parts: str, task: str = "t", name: str = "0", cluster: str = "") -> EvaluationText:
    return EvaluationText(task, name, parts, cluster)


def kinds(index: TextIndex, *documents: str) -> list[tuple[int, int, str]]:
    return [(h.document, h.item, h.kind) for h in index.find(documents)]


# --- an oracle: the definitions, with strings and loops -------------------------------------


def runs_of(text: str, n: int, of_ascii: bool) -> set[str]:
    found = {text[i : i + n] for i in range(len(text) - n + 1)}
    return {run for run in found if run.isascii() == of_ascii}


def brute_force(items, documents, ngram, near):
    found = {}
    for d, document in enumerate(map(fold, documents)):
        for number, one in enumerate(items):
            parts = [text for text in map(fold, one.fields) if text]
            only_ascii = all(map(str.isascii, parts))
            every = [
                r for p in parts for r in runs_of(p, ngram, False) | runs_of(p, 3 * ngram, True)
            ]
            here = [run for run in every if run in document]
            if here:
                found[d, number, "exact"] = len(here) / len(every)
            shortest = ngram * (3 if only_ascii else 1) // 2
            long_enough = parts and max(map(len, parts)) >= shortest
            if not every and long_enough and all(p in document for p in parts):
                found[d, number, "exact"] = 1.0
            size = 15 if only_ascii else 5
            each = [{p[i : i + size] for i in range(len(p) - size + 1)} for p in parts]
            shingles = [s for p in each for s in p]
            share = sum(s in document for s in shingles) / max(1, len(shingles))
            if len(shingles) >= 20 and share * len(shingles) >= math.ceil(
                near * len(shingles) - 1e-9
            ):
                found[d, number, "near"] = share
    return found


letters = st.text(st.sampled_from("あいウｳa b"), max_size=60)


@st.composite
def planted(draw):
    """Items, and documents that hold pieces of them between other letters."""
    items = [
        item(*draw(st.lists(letters, min_size=1, max_size=2)), name=str(n))
        for n in range(draw(st.integers(1, 4)))
    ]
    pieces = [text for one in items for text in one.fields]
    documents = []
    for _ in range(draw(st.integers(1, 3))):
        parts = draw(st.lists(st.sampled_from(pieces) | letters, max_size=5))
        cut = draw(st.integers(0, 3))
        documents.append("\n".join(part[cut:] for part in parts))
    return items, documents


@settings(max_examples=150, deadline=None)
@given(planted(), st.sampled_from([5, 6, 9, 16]), st.sampled_from([0.3, 0.8, 1.0]))
def test_what_is_found_is_what_brute_force_finds(given_, ngram, near):
    items, documents = given_
    hits = TextIndex(items, ngram, near).find(documents)
    found = {(h.document, h.item, h.kind): h.share for h in hits}
    assert len(found) == len(hits)
    assert found == pytest.approx(brute_force(items, documents, ngram, near))
    for hit in hits:
        assert hit.span in fold(documents[hit.document])


@settings(max_examples=40, deadline=None)
@given(planted(), st.sampled_from([5, 9]))
def test_a_hash_is_never_taken_for_the_text(given_, ngram):
    items, documents = given_
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "_BASE", 0)  # the hash of a run is its last character
        hits = TextIndex(items, ngram, 0.8).find(documents)
    found = {(h.document, h.item, h.kind): h.share for h in hits}
    assert found == pytest.approx(brute_force(items, documents, ngram, 0.8))


@given(st.lists(st.integers(0, 0x10FFFF), max_size=80), st.integers(1, 50))
def test_hashes_of_runs_are_the_polynomial(points, size):
    wanted = []
    for at in range(len(points) - size + 1):
        value = 0
        for point in points[at : at + size]:
            value = (value * 0x9E3779B1 + point) % 2**32
        wanted.append(value)
    assert run_hashes(np.array(points, np.uint32), size).tolist() == wanted


# --- what people do to texts ----------------------------------------------------------------

WIDE = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)})


@pytest.mark.parametrize(
    "document",
    [
        TEXT,
        CLEAN + TEXT + CLEAN,
        "\n".join(TEXT),
        "　".join(TEXT[i : i + 7] for i in range(0, len(TEXT), 7)),
        f'{{"text": "{TEXT}"}}',
        CLEAN + TEXT[10:27] + CLEAN,
    ],
)
def test_a_text_is_found_however_it_stands_there(document):
    assert (0, 0, "exact") in kinds(TextIndex([item(TEXT)]), document)


def test_width_and_case_make_no_difference():
    question = "Ubuntu 24.04 のカーネルはどのバージョンですか?"
    for document in (
        question.translate(WIDE),
        question.upper(),
        question.replace("カーネル", "ｶｰﾈﾙ"),
    ):
        assert kinds(TextIndex([item(question)]), document)[0] == (0, 0, "exact")
    assert kinds(
        TextIndex([item("ガラスのコップとグラスを並べて置いた。")]), "ｶﾞﾗｽのｺｯﾌﾟとｸﾞﾗｽを並べて置いた。"
    )


def test_an_edited_text_is_found_nearly():
    # One character in thirteen is another: no sixteen in a row are left.
    edited = "".join("〇" if n % 13 == 12 else c for n, c in enumerate(TEXT))
    [hit] = TextIndex([item(TEXT)], near=0.5).find([CLEAN + edited + CLEAN])
    assert hit.kind == "near"
    assert 0.5 <= hit.share < 0.8
    assert fold(edited)[10:20] in hit.span
    assert TextIndex([item(TEXT)], near=0.8).find([CLEAN + edited + CLEAN]) == []
    assert TextIndex([item(TEXT)], near=None).find([CLEAN + edited + CLEAN]) == []


def test_pairs_of_short_sentences_must_both_stand_in_one_document():
    index = TextIndex([item("男性が海辺で走っている", "海辺に男性がいる")])
    assert kinds(index, "男性が海辺で走っている。海辺に男性がいる。") == [(0, 0, "exact")]
    assert kinds(index, "男性が海辺で走っている。", "海辺に男性がいる。") == []


def test_texts_without_items_give_none():
    items = [item(TEXT, name=str(n)) for n in range(3)]
    assert TextIndex(items).find([CLEAN, "", "眠っている三毛猫と梅干し", TEXT[:15]]) == []
    assert TextIndex(items).find([]) == []
    assert TextIndex([]).find([TEXT]) == []


def test_ascii_must_share_three_times_as_many_characters():
    code = "self.assertEqual(response.status_code, 200)  # the page is there"
    index = TextIndex([item(f"次のコードの誤りはどれですか。{code}")], ngram=16, near=None)
    assert index.find(["x = 1; " + fold(code)[:40]]) == []
    assert kinds(index, code) == [(0, 0, "exact")]
    question = "What is the name of the highest mountain in all of Japan and Korea?"
    english = TextIndex([item(question)], near=None)
    assert kinds(english, "so what is the name of the highest mountain in all of JAPAN and") != []
    assert kinds(english, "what is the name of the highest mountain on earth?") == []


def test_items_that_are_too_short_are_named():
    index = TextIndex([item("短い"), item(""), item(TEXT), item("海辺に男性がいる")])
    assert index.missed == [0, 1]
    assert kinds(index, "短い") == []


def test_what_is_in_many_questions_of_a_task_is_its_template():
    frame = "次の文章を読んで、正しいものを選んでください。"
    names = [chr(0x4E00 + 40 * n) * 9 for n in range(40)]
    items = [item(frame + text, name=str(n)) for n, text in enumerate(names)]
    assert TextIndex(items, near=None).find([frame]) == []
    assert kinds(TextIndex(items, near=None), frame + names[3]) == [(0, 3, "exact")]
    # A passage that many questions share is one passage.
    shared = [item(TEXT, name=str(n), cluster="p") for n in range(40)]
    assert len(TextIndex(shared, near=None).find([TEXT])) == 40


def test_labels_are_no_part_of_what_is_looked_for():
    assert fields("前提：犬が走る。\n仮説：犬がいる。") == ("犬が走る。\n", "犬がいる。")
    assert fields("文章：見出し\n時刻は12:30。\n質問：何時？") == (
        "見出し\n時刻は12:30。\n",
        "何時？",
    )
    assert fields("ラベルのない文。") == ("ラベルのない文。",)
    assert fields("導入\n質問：何時？") == ("導入\n質問：何時？",)


# --- real items in real documents -----------------------------------------------------------


@pytest.mark.skipif("YORIAI_DATA" not in os.environ, reason="YORIAI_DATA names no data")
def test_real_items_planted_in_real_documents_are_all_found(monkeypatch):
    import io
    import json

    zstandard = pytest.importorskip("zstandard")
    from yoriai_eval.tasks import datasets

    root = Path(os.environ["YORIAI_DATA"])
    monkeypatch.setenv("YORIAI_MIRROR", str(root / "eval"))
    names = (
        "jamp",
        "janli",
        "jnli",
        "jsem",
        "jsick",
        "jemhopqa",
        "niilc",
        "jsquad",
        "jcommonsenseqa",
    )
    items = [
        EvaluationText(name, str(n), fields(row.input), row.cluster)
        for name in names
        for n, row in enumerate(datasets.rows(name, "test")[:300])
    ]
    index = TextIndex(items)
    with (root / "text" / "ja.jsonl.zst").open("rb") as stream:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(stream), "utf-8")
        documents = [json.loads(next(lines))["text"] for _ in range(300)]
    clean = {(h.document, h.item) for h in index.find(documents)}
    assert len(clean) < 10

    draw = random.Random(zlib.crc32(b"planted"))
    missed = set(index.missed)
    chosen = draw.sample([n for n in range(len(items)) if n not in missed], 200)
    for place, number in enumerate(chosen):
        text = documents[place]
        at = draw.randrange(len(text) + 1)
        inside = "\n".join(items[number].fields)
        documents[place] = text[:at] + draw.choice([inside, inside.translate(WIDE)]) + text[at:]
    found = {(h.document, h.item) for h in index.find(documents)}
    assert {(place, number) for place, number in enumerate(chosen)} <= found
