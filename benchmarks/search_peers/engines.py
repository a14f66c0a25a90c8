"""One peer of the search benchmark: ``engines.py NAME TEXTS.json QUERIES.json CONTEXTS.json
FOLDER``.

Prints JSON: CPU seconds to build, bytes of the index, milliseconds of each count, the counts.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLLOWING: Any = None  # what comes next after bytes, of an engine that knows it
Count = Callable[[str], int]


def sqlite(texts: list[str], folder: Path) -> tuple[Count, int, str]:
    import sqlite3

    database = sqlite3.connect(folder / "index.sqlite")
    database.execute("CREATE VIRTUAL TABLE words USING fts5 (text, tokenize='trigram')")
    database.executemany("INSERT INTO words VALUES (?)", ((text,) for text in texts))
    database.execute("INSERT INTO words(words) VALUES('optimize')")
    database.commit()

    def count(query: str) -> int:
        if len(query) < 3:
            asked = ("SELECT count(*) FROM words WHERE instr(text, ?)", query)
        else:
            quoted = '"' + query.replace('"', '""') + '"'
            asked = ("SELECT count(*) FROM words WHERE words MATCH ?", quoted)
        return int(database.execute(asked[0], (asked[1],)).fetchone()[0])

    return count, (folder / "index.sqlite").stat().st_size, "documents, case ignored"


def tantivy(texts: list[str], folder: Path) -> tuple[Count, int, str]:
    import tantivy as library

    builder = library.SchemaBuilder()
    builder.add_text_field("text", stored=True, tokenizer_name="pairs", index_option="position")
    schema = builder.build()
    index = library.Index(schema, path=str(folder))
    pairs = library.Tokenizer.ngram(min_gram=2, max_gram=2, prefix_only=False)
    index.register_tokenizer("pairs", library.TextAnalyzerBuilder(pairs).build())
    writer = index.writer(heap_size=300_000_000, num_threads=1)
    for text in texts:
        writer.add_document(library.Document(text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def count(query: str) -> int:
        terms = [query[at : at + 2] for at in range(len(query) - 1)]
        if len(terms) > 1:
            asked = library.Query.phrase_query(schema, "text", terms)
        else:
            asked = library.Query.term_query(schema, "text", terms[0] if terms else query)
        return int(searcher.search(asked, limit=1, count=True).count)

    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return count, size, "documents; from two characters on"


def fm_index(texts: list[str], folder: Path) -> tuple[Count, int, str]:
    import fm_index as library

    index = library.FMIndex("\0".join(texts))
    return index.count, len(pickle.dumps(index)), "occurrences; whole in memory"


def suffix_array(texts: list[str], folder: Path) -> tuple[Count, int, str]:
    import numpy as np
    import pydivsufsort

    whole = b"\xff".join(text.encode() for text in texts)
    order = pydivsufsort.divsufsort(np.frombuffer(whole, dtype=np.uint8).copy())

    def count(query: str) -> int:
        wanted = query.encode()

        def first(after: bool) -> int:
            low, high = 0, len(order)
            while low < high:
                middle = (low + high) // 2
                piece = whole[order[middle] : order[middle] + len(wanted)]
                if piece < wanted or (after and piece == wanted):
                    low = middle + 1
                else:
                    high = middle
            return low

        return first(True) - first(False)

    return count, len(whole) + order.nbytes, "occurrences"


def infini_gram(texts: list[str], folder: Path) -> tuple[Count, int, str]:
    stub = types.ModuleType("transformers")  # imported for tokenizers, of which bytes need none
    stub.utils = types.SimpleNamespace(  # type: ignore[attr-defined]
        logging=types.SimpleNamespace(set_verbosity=lambda level: None)
    )
    sys.modules["transformers"] = stub
    from infini_gram import indexing
    from infini_gram.engine import InfiniGramEngine

    data, saved = folder / "data", folder / "saved"
    data.mkdir()
    with (data / "texts.jsonl").open("w") as stream:
        # Its mark stands before a document: one more, so that the last has a mark behind it, too.
        stream.writelines(json.dumps({"text": text}) + "\n" for text in [*texts, ""])
    most = str(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    sys.argv = ["indexing", "--data_dir", str(data), "--save_dir", str(saved), "--token_dtype",
                "u8", "--cpus", "1", "--mem", "4", "--ulimit", most]  # fmt: skip
    indexing.main()
    engine = InfiniGramEngine(
        index_dir=str(saved), eos_token_id=254, vocab_size=255, token_dtype="u8"
    )  # it takes no 256 for bytes; 254 stands in no text, and is what it calls a document's end
    size = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())

    def following(context: bytes) -> list[Any]:
        told = engine.infgram_ntd(list(context), max_support=10**9)
        rows = told["result_by_token_id"].items()
        counts = {255 if byte == 254 else byte: row["cont_cnt"] for byte, row in rows}
        return [told["suffix_len"], told["prompt_cnt"], counts, told["approx"]]

    globals()["FOLLOWING"] = following
    return lambda query: int(engine.count(list(query.encode()))["count"]), size, "occurrences"


def main() -> None:
    name, texts, queries, contexts, folder = sys.argv[1:]
    loaded = json.loads(Path(texts).read_text())
    printed = os.dup(1)
    os.dup2(2, 1)  # some print while they work
    began = sum(os.times()[:4])
    count, size, what = globals()[name](loaded, Path(folder))
    seconds = sum(os.times()[:4]) - began
    times, counts = [], []
    for query in json.loads(Path(queries).read_text()):
        start = time.process_time()
        counts.append(count(query))
        times.append((time.process_time() - start) * 1e3)
    value = {"seconds": seconds, "bytes": size, "ms": times, "counts": counts, "what": what}
    if FOLLOWING is not None:
        asked = json.loads(Path(contexts).read_text())
        value["following"] = [FOLLOWING(bytes.fromhex(context)) for context in asked]
    os.write(printed, json.dumps(value).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
