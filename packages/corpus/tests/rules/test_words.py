"""Words of lists are counted as the published regular expressions count them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yoriai import Document, NotFound, UsageError
from yoriai_corpus.rules.words import (
    LISTS,
    Advertising,
    NgWords,
    find_list,
    find_words,
    read_words,
    trie_of,
)
from yoriai_corpus.text.batch import codes_of

KATAKANA = "[ァ-ヴー]"


def published(words: list[str], guard: bool) -> re.Pattern[str]:
    """HojiChar's pattern (``NgWordsFilterJa``), without its empty branch where a half is empty."""
    free = [re.escape(w) for w in words if not (guard and re.fullmatch(f"{KATAKANA}+", w))]
    guarded = [re.escape(w) for w in words if guard and re.fullmatch(f"{KATAKANA}+", w)]
    if guarded:
        free.append(f"(?<!{KATAKANA})(?:{'|'.join(guarded)})(?!{KATAKANA})")
    return re.compile("|".join(free))


# ヷ (U+30F7) and ・ are no katakana to HojiChar's guard; 𠮟 is beyond the first plane.
LETTERS = "アイヴーヷ・ァ漢字ab𠮟 "
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=4), min_size=1, max_size=8)


@given(
    WORDS, st.lists(st.text(LETTERS, max_size=40), min_size=1, max_size=4), st.booleans()
)  # fmt: skip
@example(["ab", "a", "b"], ["abab", "ba"], False)
@example(["a", "ab"], ["abab"], False)
@example(["アイ", "アイ漢", "ア"], ["アイ漢", "アイ", "ア", "アイー", "漢アイ"], True)
@example(["ア", "アア"], ["ア", "アア", "アアア", "アーア"], True)
@example(["漢字漢", "字漢字", "漢"], ["漢字漢字漢字"], True)
@example(["ア", "ア", "aア"], ["aアaア", "ア"], True)
def test_hits_are_those_of_the_regular_expression(
    words: list[str], texts: list[str], guard: bool
) -> None:
    pattern = published(words, guard)
    hits = find_words(trie_of(words, guard=guard), *codes_of(texts))
    for index, text in enumerate(texts):
        matches = list(pattern.finditer(text))
        assert hits.counts[index] == len(matches) == len(pattern.findall(text))
        first = matches[0].span() if matches else (-1, -1)
        assert (hits.begin[index], hits.end[index]) == first


@given(st.lists(st.text(LETTERS, max_size=12), max_size=5), st.integers(0, 5))
def test_a_text_is_searched_by_itself_wherever_it_stands_in_a_batch(
    texts: list[str], place: int
) -> None:
    trie = trie_of(["アイ", "漢字", "ア", "b a"], guard=True)
    alone = [int(find_words(trie, *codes_of([text])).counts[0]) for text in texts]
    assert find_words(trie, *codes_of(texts)).counts.tolist() == alone


@pytest.fixture
def write_list(new_folder: Callable[[], Path]) -> Callable[..., str]:
    def write(content: str | bytes) -> str:
        path = new_folder() / "list.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def ask(rule: NgWords, text: str) -> tuple[str, float | None, float | None, str]:
    verdict = rule.judge(Document("mine", "1", text))
    return verdict.action, verdict.value, verdict.threshold, verdict.span


def test_more_hits_than_allowed_drop_a_document_and_the_first_one_is_shown(
    write_list: Callable[..., str],
) -> None:
    rule = NgWords(words=write_list("悪い\nサック\n"), max_hits=2)
    assert ask(rule, "悪い、リュックサック、サック")[0] == "keep"
    assert ask(rule, "とてもサック、悪い、悪い")[0:] == ("drop", 3, 2, "サック")
    free = NgWords(words=rule.words, max_hits=2, katakana_guard=False)
    assert ask(free, "悪い、リュックサック、サック")[0] == "drop"
    assert ask(NgWords(words=rule.words), "悪い")[0] == "drop"
    assert rule.judge_batch([]) == []


def test_a_list_has_one_word_a_line_and_comments(write_list: Callable[..., str]) -> None:
    path = write_list("\ufeff# a comment\n 一 \r\n\n#tag\n二 三\n")
    assert read_words(Path(path)) == ["一", "#tag", "二 三"]


def test_a_changed_list_is_read_again_and_changes_the_identity(
    write_list: Callable[..., str],
) -> None:
    rule = NgWords(words=write_list("犬\n"))
    before = rule.fingerprint()
    assert ask(rule, "猫")[0] == "keep"
    Path(rule.words).write_text("大きな猫\n猫\n", encoding="utf-8")
    assert ask(rule, "猫")[0] == "drop"
    assert rule.fingerprint() != before


@pytest.mark.parametrize("content", ["", "\n \n", "# only a comment\n", b"\xff\xfe"])
def test_a_list_that_cannot_serve_is_refused(
    content: str | bytes, write_list: Callable[..., str]
) -> None:
    with pytest.raises(UsageError):
        NgWords(words=write_list(content)).judge(Document("mine", "1", "text"))


@pytest.mark.parametrize("name", ["no-such-list", "no/such/file.txt", "no_such_package:a.txt"])
def test_a_list_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(NotFound, match=re.escape(name.partition(":")[0])):
        NgWords(words=name).fingerprint()


def test_a_list_is_found_by_name_inside_a_package_and_by_path(
    write_list: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_list("猫\n")
    assert find_list("adult") == LISTS / "adult.txt"
    assert find_list("yoriai_corpus:rules/lists/adult.txt") == LISTS / "adult.txt"
    assert find_list(path) == Path(path)
    monkeypatch.chdir(Path(path).parent)
    assert ask(NgWords(words="list.txt"), "猫")[0] == "drop"


@pytest.mark.parametrize("path", sorted(LISTS.glob("*.txt")), ids=lambda path: path.stem)
def test_our_lists_are_clean_and_no_word_hides_behind_another(path: Path) -> None:
    words = read_words(path)
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert len(set(words)) == len(words)
    for later, word in enumerate(words):
        for earlier in words[:later]:
            assert not word.startswith(earlier), f"{earlier} comes before {word}"


def test_everyday_text_is_kept_by_our_lists() -> None:
    text = (
        "差別をなくすための法律について、市の図書館で話を聞いた。ニュースは殺人事件の裁判を伝えた。"
        "送料無料の店で本を買い、リュックサックに入れて帰った。ソーセージとアスパラガスを炒めた。"
    )
    for words in ("adult", "discrimination", "violence"):
        assert ask(NgWords(words=words), text)[0] == "keep"
    assert ask(Advertising(), text)[0] == "keep"
    assert ask(Advertising(max_hits=0), text) == ("drop", 1, 0, "送料無料")
