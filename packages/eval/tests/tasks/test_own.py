"""The sets that ship with the package, and the task that reads a corpus."""

from collections import Counter
from itertools import pairwise

import pytest

from yoriai import Sample, UsageError
from yoriai_eval.tasks.own import Heldout, JaForms, JaLanguage


def test_ja_forms_are_120_pairs_half_of_them_the_other_way_round():
    samples = list(JaForms().samples([]))
    assert len({s.id for s in samples}) == len(samples) == 120
    assert Counter(s.answer for s in samples) == {0: 60, 1: 60}
    assert set(Counter(s.group for s in samples).values()) == {15}
    for sample in samples:
        assert len(sample.choices) == len(set(sample.choices)) == 2
        assert abs(len(sample.choices[0]) - len(sample.choices[1])) <= 1
    texts = [s.text + s.choices[int(s.answer)] for s in samples]
    assert len(set(texts)) == 120


def test_ja_language_is_90_snippets_30_of_each_kind_in_mixed_order():
    samples = list(JaLanguage().samples([]))
    assert len({s.id for s in samples}) == len({s.text for s in samples}) == 90
    assert Counter(s.answer for s in samples) == {"日本語": 30, "英語": 30, "コード": 30}
    answers = [s.answer for s in samples]
    assert sum(a != b for a, b in pairwise(answers)) > 45
    assert len({s.instruction for s in samples}) == 1


@pytest.mark.parametrize(
    ("output", "score"),
    [
        ("日本語", 1),
        (" 日本語。", 1),
        ("日本語\n### 指示:", 1),
        ("", 0),
        ("\n", 0),
        ("日本語です", 0),
        ("英語", 0),
        ("日本", 0),
    ],
)
def test_an_answer_must_be_exact_but_for_space_and_the_full_stop(output, score):
    sample = Sample(id="x", text="", answer="日本語")
    assert JaLanguage().score(sample, output) == score


def test_half_width_katakana_is_the_same_answer():
    assert JaLanguage().score(Sample(id="x", text="", answer="コード"), "ｺｰﾄﾞ") == 1


def test_heldout_reads_every_corpus_and_cuts_what_is_too_long(make):
    corpora = [
        make.corpus("text", [], [("あ" * 300, "ja"), ("", "ja"), ("short", "en")]),
        make.corpus("notes", [], [("メモ", "ja")]),
    ]
    samples = list(Heldout(longest=100).samples(corpora))
    assert [(s.id, s.group, len(s.text)) for s in samples] == [
        ("text/s/0", "text.ja", 100),
        ("text/s/2", "text.en", 5),
        ("notes/s/0", "notes.ja", 2),
    ]


def test_heldout_without_a_corpus_is_refused(make):
    with pytest.raises(UsageError, match="eval/heldout needs a corpus") as told:
        list(Heldout().samples([make.stub()]))
    assert "'from'" in told.value.hint
