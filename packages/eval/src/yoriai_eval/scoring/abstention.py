"""Answers that are none: a model says that it does not know, or will not say.

Read from what was written, by patterns in Japanese and English over the first sentence; they name
what is common and not all there is. An answer that goes on after such words ("I am not sure, but
Tokyo") is an answer. Where a task has a label like 不明 that word alone is an answer, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

Manner = Literal["abstained", "declined", ""]
MOST_CHARACTERS = 300  # of an answer that are looked at

_UNKNOWN = re.compile(
    r"(わか|分か|判)(り(ません|かね)|ら(ない|ず))|(知|存じ)(り|ら|上げ)?(ません|ない)|不明です|回答不能"
    r"|(情報|記載|記述|答え|該当)[^。]{0,8}(ありません|ございません|見つかりません|ない$|ないです)"
    r"|(書かれて|記載されて|述べられて|示されて|触れられて)い?(ません|ない)"
    r"|(判断|特定|断定|確認|回答)(は|が)?でき(ません|ない)|答えられ(ません|ない)"
    r"|\bI (really )?(do not|don't|don’t) know\b|\b(I am|I'm|I’m) not (sure|certain)\b"
    r"|\b(cannot|can't|can’t|can not) be (determined|answered)\b|\bnot (mentioned|stated|given)\b"
    r"|\bno (such )?information\b|\bunanswerable\b|^unknown\W*$",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"お(答え|手伝い|応え)[^。]{0,8}(でき(ません|ない|かね)|いたしかね)"
    r"|(対応|提供|協力|支援)[^。]{0,6}(でき(ません|かねます)|いたしかねます)|お断り"
    r"|(申し訳|すみません|恐れ入り)[^。]{0,40}(できません|できかねます|いたしかねます|控え)"
    r"|\bI('m| am|’m)? (sorry|unable)\b"
    r"|\b(cannot|can't|can’t|won't|won’t) (help|assist|provide|comply)"
    r"|\bas an? (AI|language model)\b",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"(ません|ない|ないです|できず)(が|けれども?|けど)、?\S|\b(but|however)\b\W*\w", re.IGNORECASE
)


def manner(text: str) -> Manner:
    """Whether a text says that its writer does not know, or will not answer; empty: neither."""
    sentence = re.split(r"[。\n]|(?<=[.!?])\s", text.strip()[:MOST_CHARACTERS])[0].strip()
    if _GOES_ON.search(sentence):
        # "I am sorry, but I cannot" goes on to refuse.
        rest = re.split(r"(?:が|けれども?|けど|but|however)[、,]?", sentence, maxsplit=1)[-1]
        if not (_REFUSED.search(rest) or _UNKNOWN.search(rest)):
            return ""
    if _REFUSED.search(sentence):
        return "declined"
    return "abstained" if _UNKNOWN.search(sentence) else ""


KINDS = ("right", "wrong", "abstained", "declined", "refused", "no answer", "errored")


def kind(row: Mapping[str, Any]) -> str:
    """What became of a written answer: one of :data:`KINDS`.

    ``wrong`` is something else than the right answer; ``abstained`` and ``declined`` are said in
    words, ``refused`` is the server's doing; ``no answer`` is empty, cut short, or no label.
    """
    reason = str(row.get("reason", ""))
    if reason in ("errored", "refused"):
        return reason
    if reason == "correct":
        return "right"
    said = manner(str(row.get("answer") or row.get("output") or ""))
    if said:
        return said
    return "no answer" if reason in ("unparsed", "truncated") else "wrong"
