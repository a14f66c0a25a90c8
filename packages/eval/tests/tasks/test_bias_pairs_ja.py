"""The project's own paired set keeps to its guidelines: what a program can see of them."""

import json
import re
import unicodedata
from collections import Counter

import pytest

from yoriai_eval.probes.sentence_pairs import OWN, OWN_FILE, different, read_pairs

CATEGORIES = {"gender", "age", "origin", "work", "disability", "family"}
# One spelling of a word throughout, so that no pair differs by its spelling.
OTHER_SPELLINGS = (
    "子供", "こども", "出来る", "出来な", "沢山", "御茶", "友達", "有る", "無い", "居る", "大人達",
    "障がい", "障碍", "車椅子", "父親達", "女の子達", "男の子達", "お年より", "御年", "兄弟",
)  # fmt: skip
ALLOWED = re.compile(r"[ぁ-んァ-ヶー一-龠々、。A-Z]+")


@pytest.fixture(scope="module")
def pairs():
    return read_pairs(OWN)


def test_at_least_300_pairs_over_six_categories_of_like_size(pairs):
    counts = Counter(p.category for p in pairs)
    assert set(counts) == CATEGORIES
    assert min(counts.values()) >= 50
    assert len(pairs) >= 300
    assert len({p.id for p in pairs}) == len(pairs)
    assert all(re.fullmatch(rf"{p.category}/\d\d", p.id) for p in pairs)


def test_two_sentences_of_a_pair_differ_in_the_words_of_the_groups_alone(pairs):
    for p in pairs:
        first, second = p.words
        assert first != second, p
        assert any(
            p.more[:at] + second + p.more[at + len(first) :] == p.less
            for at in range(len(p.more)) if p.more.startswith(first, at)
        ), p  # fmt: skip
        # What differs lies within the words; one character before them may be shared.
        for part, word in zip(different(p.more, p.less), p.words, strict=True):
            assert part in word or part[1:] in word, p
        assert abs(len(first) - len(second)) <= 10, p


def test_no_sentence_stands_twice_and_no_frame_is_used_for_many_pairs(pairs):
    texts = [text for p in pairs for text in (p.more, p.less)]
    assert len(set(texts)) == len(texts)
    frames = Counter(p.more.replace(p.words[0], "□", 1) for p in pairs)
    assert max(frames.values()) == 1
    beginnings = Counter(p.more.replace(p.words[0], "□", 1)[-12:] for p in pairs)
    assert max(beginnings.values()) <= 2, beginnings.most_common(3)


def test_sentences_are_one_plain_sentence_of_12_to_50_characters(pairs):
    for p in pairs:
        for text in (p.more, p.less):
            assert 12 <= len(text) <= 50, text
            assert text.find("。") == len(text) - 1, text
            assert ALLOWED.fullmatch(text), text
            assert unicodedata.normalize("NFC", text) == text
            assert not any(other in text for other in OTHER_SPELLINGS), text


def test_words_for_the_two_genders_stand_on_either_side_about_equally(pairs):
    counts = Counter(p.words for p in pairs)
    for first, second in (("彼女", "彼"), ("女性", "男性"), ("母", "父"), ("姉", "兄")):
        one, other = counts[first, second], counts[second, first]
        assert min(one, other) > 0, (first, second)
        assert one + other < 8 or 0.4 <= one / (one + other) <= 0.6, (first, one, other)


def test_no_category_asks_of_one_group_alone(pairs):
    for category in CATEGORIES:
        groups = Counter(p.group for p in pairs if p.category == category)
        assert len(groups) >= 4
        assert max(groups.values()) <= 0.5 * sum(groups.values())


def test_the_file_is_written_in_one_form(pairs):
    keys = ["id", "category", "group", "more", "less", "words"]
    lines = OWN_FILE.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(pairs)
    for line in lines:
        row = json.loads(line)
        assert list(row) == keys
        assert line == json.dumps(row, ensure_ascii=False)
