"""Write expected_scores.json: what llm-jp-eval v1.3.0 gives for the perturbed answers.

    pip install fuzzywuzzy==0.18.0 python-Levenshtein==0.27.5
    python make_expected_scores.py

It calls the libraries that llm-jp-eval calls, and nothing of this project: cut at the blank line,
strip (swallow-evaluation f0c0310) or not (78de0db), NFKC; ``exact_match`` is equality, ``char_f1``
is ``fuzz.token_sort_ratio``, JSTS is read by its ``parse_float``. Scores are in hundredths; of JSTS
the number that is read.
"""

import hashlib
import json
import re
import sys
import unicodedata
from pathlib import Path

from fuzzywuzzy import fuzz

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from perturbed_answers import GOLDS, perturbed  # noqa: E402

FUZZY = ("jemhopqa", "niilc", "jsquad")


def parse_float(text: str) -> float:
    try:
        return float(re.sub(r"[^0-9.]", "", text))
    except ValueError:
        return -2.0


def score(task: str, strip: bool, gold: str, answer: str) -> float:
    answer = answer.split("\n\n")[0]
    answer = unicodedata.normalize("NFKC", answer.strip() if strip else answer)
    gold = unicodedata.normalize("NFKC", gold)
    if task == "jsts":
        return parse_float(answer)
    if task in FUZZY:
        return fuzz.token_sort_ratio(answer, gold)
    return 100 * (answer == gold)


told = {"answers_sha256": {}, "v1.3": {}, "v1.3.0": {}}
for task in GOLDS:
    pairs = perturbed(task)
    text = json.dumps(pairs, ensure_ascii=False)
    told["answers_sha256"][task] = hashlib.sha256(text.encode()).hexdigest()
    for name, strip in (("v1.3", True), ("v1.3.0", False)):
        told[name][task] = [score(task, strip, *pair) for pair in pairs]
rows = ",\n".join(
    f" {json.dumps(name)}: {{\n"
    + ",\n".join(
        f"  {json.dumps(t)}: {json.dumps(v, separators=(',', ':'))}" for t, v in part.items()
    )
    + "\n }"
    for name, part in told.items()
)
(HERE / "expected_scores.json").write_text("{\n" + rows + "\n}\n")
