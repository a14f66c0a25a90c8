"""Cards of corpora and tokenizers in the Hub's form, from what is sealed with them."""

from __future__ import annotations

from itertools import pairwise

from yoriai import hub_licences
from yoriai.ancestry import Ancestry
from yoriai.artifact import Artifact
from yoriai.model_card import card_front, front_text, sources_of, table
from yoriai.plain_markdown import escape

SPLITS = {"documents": "train", "heldout": "test"}
"""Folders of a corpus and what a loader of data sets calls them."""


def dataset_card(corpus: Artifact, made_of: Ancestry, released: list[str]) -> str:
    """``README.md`` of a corpus; ``datasets.load_dataset`` finds its splits in the YAML."""
    facts = corpus.facts
    sources = sources_of(corpus, made_of)
    front = card_front(hub_licences.of_texts(sources), sources, ["yoriai"])
    front["task_categories"] = ["text-generation"]
    front["size_categories"] = [size_category(_documents(corpus))]
    files = [
        {"split": split, "path": f"{folder}/*.parquet"}
        for folder, split in SPLITS.items()
        if any(name.startswith(f"{folder}/") for name in released)
    ]
    front["configs"] = [{"config_name": "default", "data_files": files}]
    rows = [
        (source.get("name", ""), source.get("version", ""), ", ".join(source.get("languages", ())),
         source.get("licence") or "not stated", source.get("url", ""))
        for source in sources
    ]  # fmt: skip
    sizes = [
        (language, row.get("documents"), row.get("bytes"))
        for language, row in facts.get("by_language", {}).items()
    ]
    dropped = [(rule, count) for rule, count in (facts.get("dropped_by_rule") or {}).items()]
    parts = [
        front_text(front),
        f"# {escape(corpus.name.partition('@')[0])}",
        "\n".join(f"* {escape(line)}" for line in facts.get("headline", ())),
        "## Use",
        '```python\nfrom datasets import load_dataset\n\ntext = load_dataset("FOLDER")\n```',
        "## Sources",
        table(("source", "version", "languages", "licence", "address"), rows),
        "The texts stay under the licences of their sources; `LICENCES.md` lists them.",
        "## Size",
        table(("language", "documents", "bytes"), sizes),
    ]
    if dropped:
        parts += ["## Dropped", table(("rule", "documents"), dropped)]
    if any(name.startswith("dropped/") for name in released):
        parts.append("What was dropped is in `dropped/`, each document with the rule.")
    else:
        parts.append("Dropped text is not in this release; its account is in `ledger.json`.")
    parts += [
        "`datasheet.md` answers the questions of *Datasheets for Datasets* as far as the build"
        " measured them; `croissant.json` describes the files for catalogues.",
        f"Artifact `{escape(corpus.name)}`, digest `{corpus.digest}`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def tokenizer_card(tokenizer: Artifact, made_of: Ancestry) -> str:
    """``README.md`` of a tokenizer."""
    sources = sources_of(tokenizer, made_of)
    licence = hub_licences.of_whole(str(tokenizer.manifest["licence"]))
    front = card_front(licence, sources, ["yoriai", "tokenizer"])
    front["library_name"] = "transformers"
    facts = tokenizer.facts
    parts = [
        front_text(front),
        f"# {escape(tokenizer.name.partition('@')[0])}",
        "\n".join(f"* {escape(line)}" for line in facts.get("headline", ())),
        "## Use",
        "```python\nfrom transformers import AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")\n```',
        "## Data",
        table(
            ("source", "version", "licence"),
            [(s.get("name"), s.get("version"), s.get("licence") or "not stated") for s in sources],
        )
        if sources
        else "Not recorded.",
        f"Artifact `{escape(tokenizer.name)}`, digest `{tokenizer.digest}`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def size_category(documents: int) -> str:
    """The Hub's name for a number of rows."""
    low, names = 1_000, ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    if documents < low:
        return "n<1K"
    for one, two in pairwise(names):
        if documents < low * 10:
            return f"{one}<n<{two}"
        low *= 10
    return "n>1T"


def _documents(corpus: Artifact) -> int:
    return sum(int(row.get("documents", 0)) for row in corpus.facts.get("by_language", {}).values())
