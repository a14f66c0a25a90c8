"""Lines and paragraphs that repeat from document to document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact
from yoriai_corpus.text import lines
from yoriai_corpus.text.batch import codes_of

PIECES = [
    "これは二十文字よりも長いひとつの行なのですよ。",
    "短い行",
    "",
    "  ",
    "another line that is long enough",
]


def units(text: str, unit: str) -> list[tuple[int, str]]:
    """(first line, text without space) of every unit that is long enough, written plainly."""
    found, begin, current = [], 0, ""
    for number, line in enumerate(text.split("\n")):
        if unit == "line":
            begin, current = number, line
        elif line.strip():
            current += line
        if unit == "line" or not line.strip():
            found.append((begin, current))
            begin, current = number + 1, ""
    if current:
        found.append((begin, current))
    bare = [(first, "".join(piece.split())) for first, piece in found]
    return [(first, piece) for first, piece in bare if len(piece) >= lines.MIN_CHARACTERS]


@given(
    texts=st.lists(st.lists(st.sampled_from(PIECES), max_size=8).map("\n".join), max_size=5),
    unit=st.sampled_from(["line", "paragraph"]),
)
def test_units_are_found_with_their_document_and_first_line(texts: list[str], unit: Any) -> None:
    hashes, documents, firsts = lines.unit_hashes(codes_of(texts), unit)
    expected = [(d, first, piece) for d, t in enumerate(texts) for first, piece in units(t, unit)]
    assert list(zip(documents.tolist(), firsts.tolist(), strict=True)) == [
        (document, first) for document, first, _ in expected
    ]
    same = {}
    for value, (_, _, piece) in zip(hashes.tolist(), expected, strict=True):
        assert same.setdefault(value, piece) == piece
    assert len(same) == len({piece for _, _, piece in expected})


@pytest.mark.parametrize("unit", ["line", "paragraph"])
def test_what_an_earlier_document_has_is_removed_and_refrains_stay(
    unit: str, make_corpus: Callable[..., Artifact], rows_of: Any
) -> None:
    banner = "このサイトについて、利用規約、プライバシーポリシー、お問い合わせ"
    refrain = "くりかえしの文句はここではなんどでもゆるされる"
    texts = [
        f"{banner}\n\n{refrain}\n\nひとつめの本文。\n\n{refrain}",
        f"ふたつめの本文。\n\n{banner}\n\nそのつづき。",
        banner,
    ]
    rows = [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    off = {"exact": False, "near": None}
    corpus = make_corpus(rows, dedup={**off, "repeated": unit})
    kept = {row["id"]: row["text"] for row in rows_of(corpus, "documents")}
    gap = "\n\n\n" if unit == "line" else "\n\n"
    assert kept == {"0": texts[0], "1": f"ふたつめの本文。{gap}そのつづき。"}
    (dropped,) = rows_of(corpus, "dropped")
    assert (dropped["id"], dropped["rule"]) == ("2", f"corpus/repeated-{unit}s")
    edits = corpus.facts["edited_by_rule"][f"corpus/repeated-{unit}s"]
    assert edits["documents"] == 1
    assert edits["characters"] == len(texts[1]) - len(kept["1"])
