"""Trees of program code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from pydantic import Field

from yoriai import Document, Unreadable
from yoriai_corpus.sources.files import FileSource
from yoriai_corpus.sources.listing import SourceFile
from yoriai_corpus.sources.records import FilePart, RecordFault
from yoriai_corpus.sources.text_files import decode, whole_files

# Extensions and whole names of files of programming languages, by their common use.
EXTENSIONS: dict[str, str] = {
    extension: language
    for language, extensions in {
        "ada": "adb ads", "assembly": "asm s", "awk": "awk", "batchfile": "bat cmd",
        "c": "c h", "c#": "cs", "c++": "cc cpp cxx c++ hh hpp hxx h++ inl ipp tpp",
        "clojure": "clj cljs cljc edn", "cmake": "cmake", "cobol": "cbl cob cpy",
        "common lisp": "lisp lsp cl asd", "coffeescript": "coffee", "css": "css",
        "cuda": "cu cuh", "cython": "pyx pxd pxi", "d": "d", "dart": "dart", "diff": "diff patch",
        "elixir": "ex exs", "elm": "elm", "emacs lisp": "el", "erlang": "erl hrl",
        "f#": "fs fsi fsx",
        "fortran": "f f77 f90 f95 f03 f08 for", "glsl": "glsl vert frag", "go": "go",
        "graphql": "graphql gql", "groovy": "groovy gradle", "haskell": "hs lhs",
        "html": "html htm",
        "idl": "idl", "java": "java", "javascript": "js mjs cjs jsx", "json": "json",
        "julia": "jl", "jupyter": "ipynb", "kotlin": "kt kts", "less": "less", "lua": "lua",
        "makefile": "mk mak", "markdown": "md markdown", "meson": "meson", "nim": "nim nims",
        "nix": "nix", "objective-c": "m mm", "ocaml": "ml mli", "pascal": "pas pp dpr",
        "perl": "pl pm pod t", "php": "php phtml", "prolog": "pro", "powershell": "ps1 psm1 psd1",
        "protobuf": "proto", "python": "py pyi pyw", "r": "r rmd", "racket": "rkt",
        "restructuredtext": "rst", "ruby": "rb rake gemspec", "rust": "rs",
        "sass": "sass scss", "scala": "scala sc sbt", "scheme": "scm ss sld",
        "shell": "sh bash zsh ksh fish",
        "smalltalk": "st", "solidity": "sol", "sql": "sql", "standard ml": "sml sig fun",
        "stan": "stan", "svelte": "svelte", "swift": "swift", "systemverilog": "sv svh",
        "tcl": "tcl tk", "terraform": "tf tfvars", "tex": "tex sty cls bib", "toml": "toml",
        "typescript": "ts tsx mts cts", "vala": "vala vapi", "verilog": "v vh",
        "vhdl": "vhd vhdl", "vim script": "vim", "visual basic": "vb bas vbs", "vue": "vue",
        "webassembly": "wat wast", "xml": "xml xsd xsl xslt svg", "yacc": "y yy lex l",
        "yaml": "yaml yml", "zig": "zig",
    }.items()
    for extension in extensions.split()
}  # fmt: skip
NAMES: dict[str, str] = {
    "makefile": "makefile", "gnumakefile": "makefile", "dockerfile": "dockerfile",
    "containerfile": "dockerfile", "cmakelists.txt": "cmake", "rakefile": "ruby",
    "gemfile": "ruby", "jenkinsfile": "groovy", "sconstruct": "python", "sconscript": "python",
    "build": "starlark", "build.bazel": "starlark", "workspace": "starlark",
    "meson.build": "meson", "configure.ac": "m4", "go.mod": "go", "vagrantfile": "ruby",
    "justfile": "just", ".bashrc": "shell", ".vimrc": "vim script",
}  # fmt: skip

# Marks of version control, in which nothing was written by anybody.
_HIDDEN = re.compile(r"(?:^|/)(?:\.git|\.hg|\.svn|__pycache__)/")

_LICENCE_FILE = re.compile(
    r"(?:(?:un)?licen[cs]e|copying)(?:[-._](?:lesser|lib|mit|apache|bsd|[al]?gpl)[\w.-]*)?"
    r"(?:\.(?:txt|md|rst))?",
    re.IGNORECASE,
)
_SPDX = re.compile(rb"SPDX-License-Identifier:[ \t]*([\w.+() \t-]{2,120})")
HEAD = 4096  # bytes of a file in which its own licence is looked for

# Phrases that stand in one licence and in no other (SPDX's list of licence texts). Of a family
# the first that fits counts: the LGPL names the GPL, the BSD licences share their clauses.
_BSD = "redistribution and use in source and binary forms"
_PHRASES: tuple[tuple[tuple[str, tuple[str, ...]], ...], ...] = (
    (("CC0-1.0", ("cc0 1.0 universal",)),),
    (("Unlicense", ("this is free and unencumbered software released into the public domain",)),),
    (
        ("Apache-2.0", ("apache license version 2.0",)),
        ("Apache-2.0", ("licensed under the apache license version 2.0",)),
    ),
    (
        ("MPL-2.0", ("mozilla public license version 2.0",)),  # names the GPL as a second licence
        ("AGPL-3.0", ("gnu affero general public license version 3",)),
        ("LGPL-3.0", ("gnu lesser general public license version 3",)),
        ("LGPL-2.1", ("gnu lesser general public license version 2.1",)),
        ("LGPL-2.0", ("gnu library general public license version 2",)),
        ("GPL-3.0", ("gnu general public license version 3",)),
        ("GPL-2.0", ("gnu general public license version 2",)),
    ),
    (
        ("BSD-4-Clause", (_BSD, "all advertising materials mentioning features")),
        ("BSD-3-Clause", (_BSD, "neither the name")),
        ("BSD-3-Clause", (_BSD, "may not be used to endorse")),
        ("BSD-2-Clause", (_BSD, "binary form must reproduce")),
    ),
    (
        ("ISC", ("permission to use, copy, modify, and/or distribute this software for any",)),
        ("ISC", ("permission to use, copy, modify, and distribute this software for any",)),
    ),
    (("MIT", ("permission is hereby granted, free of charge, to any person obtaining a copy",)),),
)


class CodeFiles(FileSource):
    """Trees of source files, one document a file; its path, with the extension, is its id."""

    version: ClassVar[str] = "1"
    suffixes: ClassVar[tuple[str, ...]] = ("*",)
    tree: ClassVar[bool] = True
    gathers: ClassVar[bool] = True
    languages: list[str] = Field(
        [], description="programming languages to read, e.g. python, c++; empty: all that are known"
    )
    max_record_mb: int = Field(8, ge=1, description="largest file that is read")

    def files(self) -> list[SourceFile]:
        """Those of a known programming language, and licence texts with them."""
        return [
            file
            for file in super().files()
            if not _HIDDEN.search(f"/{file.name}")
            and (is_licence(file.name) or self._counts(language_of(file.name)))
        ]

    def _counts(self, language: str) -> bool:
        return bool(language) and (not self.languages or language in self.languages)

    def frames(self, part: FilePart) -> Iterator[tuple[str, bytes] | RecordFault]:
        return whole_files(part, self.max_record_mb)

    def parser(self) -> Callable[[str, bytes], Document | Unreadable | None]:
        texts: dict[str, list[SourceFile]] = {}
        for file in self.files():
            if is_licence(file.name):
                texts.setdefault(file.name.rpartition("/")[0], []).append(file)
        known: dict[str, str] = {}

        def licence_of(folder: str) -> str:
            """What the nearest texts say, going up."""
            if folder not in known:
                found = licence_in(texts.get(folder, ()))
                if not found and folder:
                    found = licence_of(folder.rpartition("/")[0])
                known[folder] = found
            return known[folder]

        def parse(name: str, content: bytes) -> Document | Unreadable | None:
            if not self._counts(language_of(name)):
                return None  # a licence text, read for what it says
            if b"\0" in content:
                return Unreadable(self.name, name, "a binary file")
            try:
                text = decode(content)
            except UnicodeDecodeError as error:
                return Unreadable(self.name, name, f"not UTF-8 at byte {error.start}")
            own = spdx_in(content[:HEAD])
            licence = own or licence_of(name.rpartition("/")[0]) or self.licence
            return Document(self.name, name, text, "code", "", licence)

        return parse


def licence_in(texts: Iterable[SourceFile]) -> str:
    """The licences of the texts in one folder; the LGPL alone where the GPL is its appendix."""
    found = set()
    for file in texts:
        for frame in whole_files(FilePart(file), 1):
            if not isinstance(frame, RecordFault):
                found.update(identify(frame[1]).split(", "))
    lesser = {name for name in found if name.startswith("LGPL")}
    return ", ".join(sorted((lesser or found) - {""}))


def language_of(name: str) -> str:
    """The programming language of a file by its name; "" if the table does not know it."""
    base = name.rpartition("/")[2].partition("#")[0]
    known = NAMES.get(base.lower())
    if known:
        return known
    stem, dot, extension = base.rpartition(".")
    if not dot or not stem:
        return ""
    return EXTENSIONS.get(extension.lower(), "")


def is_licence(name: str) -> bool:
    """Whether a file is a licence text by its name: LICENSE, LICENSE-MIT, COPYING.LESSER, …"""
    return bool(_LICENCE_FILE.fullmatch(name.rpartition("/")[2]))


def spdx_in(head: bytes) -> str:
    """The expression of an ``SPDX-License-Identifier`` line; "" if there is none."""
    match = _SPDX.search(head)
    if not match:
        return ""
    return " ".join(match[1].decode("ascii", "ignore").split()).rstrip("- ")


def identify(data: bytes) -> str:
    """The SPDX name of a licence text, by a few sure phrases; "" if none is in it.

    A text that holds several licences gives all of them (``Apache-2.0, BSD-3-Clause``): how
    they go together it says in words only.
    """
    words = re.sub(r"(?:[\s*#;]|//)+", " ", data.decode("utf-8", "replace")).lower()
    words = words.replace(", version", " version")
    found = []
    for family in _PHRASES:
        for name, phrases in family:
            if all(phrase in words for phrase in phrases):
                found.append(name)
                break
    return ", ".join(sorted(found)) or spdx_in(data[:HEAD])
