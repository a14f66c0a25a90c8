"""Pairs for DPO out of ``instruction_ja``: a person's Japanese answer, and the machine's.

    python pairs.py $YORIAI_DATA/tuning/instruction_ja/data/data.jsonl > pairs.jsonl

Each row of the data set keeps, under ``original_info``, the machine translation that a person then
corrected or wrote anew. The corrected answer is the chosen one, the machine's the rejected one;
rows where both are equal, or the question is another, prefer nothing and are left out.
"""

from __future__ import annotations

import json
import sys


def main(path: str) -> None:
    kept = left = 0
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            question, answer = (turn["text"] for turn in row["utterances"])
            [_, other] = row["original_info"]["utterances"]["machine_translated_ja"]
            if answer == other["text"]:
                left += 1
                continue
            kept += 1
            pair = {"prompt": question, "chosen": answer, "rejected": other["text"]}
            print(json.dumps(pair, ensure_ascii=False))
    print(f"{kept} pairs, {left} rows that prefer nothing", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
