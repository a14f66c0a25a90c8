"""Two hundred perturbed answers to each set of llm-jp-eval v1.3, the same on every machine."""

import random

GOLDS = {
    "jamp": ["entailment", "contradiction", "neutral"],
    "janli": ["entailment", "non-entailment"],
    "jnli": ["entailment", "contradiction", "neutral"],
    "jsem": ["yes", "no", "unknown", "undef"],
    "jsick": ["entailment", "contradiction", "neutral"],
    "jcommonsenseqa": ["0", "1", "2", "3", "4"],
    "jemhopqa": ["YES", "NO", "京都府", "2003年", "ジョン・F・ケネディ", "Étude Op.10"],
    "niilc": ["一,二", "夏目漱石", "3,776m", "Ｗｉｎｄｏｗｓ９５", "○", "大化の改新"],
    "jsquad": ["平成２年", "ﾊﾝｶｸ", "「枕草子」", "約 30 %", "New York", "徳川 家康"],
    "mawps": ["18", "2.5", "0", "1200"],
    "jsts": ["0.0", "2.6", "5.0", "3.2"],
}
NOISE = ("", "", "", " ", "\n", "\r\n", "\u3000", "\n\n", "\t", "。", "です", "\nそして", "1",
         "\n\n### 入力:", "、", "\u00a0", "?!", "-", "\x0b", "\u200b")  # fmt: skip
CHANGES = (
    lambda text: text, lambda text: text, lambda text: text, str.upper, str.title,
    lambda text: text[:-1], lambda text: text[1:], lambda text: text + text,
    lambda text: " ".join(text), lambda text: text[::-1],
    lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
)  # fmt: skip


def perturbed(task: str) -> list[tuple[str, str]]:
    """(gold, answer) of a set."""
    draw = random.Random(task)
    made = []
    for _ in range(200):
        gold = draw.choice(GOLDS[task])
        said = gold if draw.random() < 0.8 else draw.choice(GOLDS[task])
        said = draw.choice(CHANGES)(said)
        made.append((gold, draw.choice(NOISE) + said + draw.choice(NOISE) + draw.choice(NOISE)))
    return made
