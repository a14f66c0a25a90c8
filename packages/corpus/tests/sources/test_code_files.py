"""Trees of code: what is code, under which licence, and what is none."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import pytest

from yoriai import Document, Unreadable
from yoriai_corpus.sources.code_files import CodeFiles, identify, is_licence, language_of, spdx_in

MIT = b"""The MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files"""
BSD3 = b"""Redistribution and use in source and binary forms, with or without
modification, are permitted ...
 * Redistributions in binary form must reproduce the above copyright
 * Neither the name of the author nor the names of its contributors"""


def tree(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def read(source: CodeFiles) -> dict[str, Document | Unreadable]:
    return {item.id: item for name in source.partitions() for item in source.read(name)}


def test_the_nearest_licence_counts_and_a_line_in_the_file_itself_more(tmp_path: Path) -> None:
    tree(
        tmp_path / "home/me/tree",
        {
            "LICENSE": MIT,
            "a.py": b"x = 1\n",
            "deep/er/b.c": b"int b;\n",
            "vendor/z/COPYING": BSD3,
            "vendor/z/src/c.go": b"package c\n",
            "vendor/z/d.rs": b"// SPDX-License-Identifier: Apache-2.0 OR MIT\n",
        },
    )
    items = read(CodeFiles(paths=[str(tmp_path / "home/me/tree")], licence="unknown"))
    assert {id_: getattr(item, "licence", "") for id_, item in items.items()} == {
        "a.py": "MIT",
        "deep/er/b.c": "MIT",
        "vendor/z/d.rs": "Apache-2.0 OR MIT",
        "vendor/z/src/c.go": "BSD-3-Clause",
    }
    assert {getattr(item, "language", "") for item in items.values()} == {"code"}


def test_binary_files_and_other_encodings_are_unreadable_and_other_files_are_none(
    tmp_path: Path,
) -> None:
    tree(
        tmp_path,
        {
            "a.py": b"x = 1\r\n",
            "b.py": b"\0\1\2",
            "c.py": "# 日本\n".encode("euc-jp"),
            "picture.png": b"\x89PNG",
            "notes.txt": b"text",
            ".git/hooks/d.py": b"x",
            "__pycache__/e.py": b"x",
            "Makefile": b"all:\n",
        },
    )
    items = read(CodeFiles(paths=[str(tmp_path)], licence="CC0-1.0"))
    assert sorted(items) == ["Makefile", "a.py", "b.py", "c.py"]
    assert items["a.py"] == Document("local", "a.py", "x = 1\n", "code", "", "CC0-1.0")
    assert getattr(items["b.py"], "reason", "") == "a binary file"
    assert "not UTF-8 at byte 2" in getattr(items["c.py"], "reason", "")
    only = read(CodeFiles(paths=[str(tmp_path)], languages=["makefile"]))
    assert list(only) == ["Makefile"]


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("a/b.py", "python"), ("x.CPP", "c++"), ("x.h", "c"), ("Dockerfile", "dockerfile"),
        ("src/CMakeLists.txt", "cmake"), ("a.tar.gz", ""), ("README", ""), (".py", ""),
        ("a.f90", "fortran"), ("a.py#2", "python"), ("x.unknown", ""), ("a.jl", "julia"),
    ],
)  # fmt: skip
def test_the_language_is_told_by_the_name(name: str, language: str) -> None:
    assert language_of(name) == language


@pytest.mark.parametrize("name", ["LICENSE", "licence.txt", "x/COPYING", "COPYING.LESSER",
                                  "LICENSE-MIT", "LICENSE-APACHE", "UNLICENSE"])  # fmt: skip
def test_licence_texts_are_told_by_their_names(name: str) -> None:
    assert is_licence(name)


@pytest.mark.parametrize("name", ["license.py", "LICENSES/a.c", "copying.c", "licensed.txt"])
def test_code_about_licences_is_no_licence_text(name: str) -> None:
    assert not is_licence(name)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Apache-2.0", "Apache-2.0"), ("GPL-2", "GPL-2.0"), ("GPL-3", "GPL-3.0"),
        ("LGPL-2", "LGPL-2.0"), ("LGPL-2.1", "LGPL-2.1"), ("LGPL-3", "LGPL-3.0"),
        ("MPL-2.0", "MPL-2.0"), ("CC0-1.0", "CC0-1.0"),
    ],
)  # fmt: skip
def test_full_texts_as_debian_ships_them_are_identified(file: str, name: str) -> None:
    path = Path("/usr/share/common-licenses", file)
    if not path.is_file():
        pytest.skip("no licence texts of Debian here")
    assert identify(path.read_bytes()) == name


def test_the_licences_of_installed_packages_are_those_their_metadata_name() -> None:
    """The oracle is what the authors wrote into License-Expression."""
    from importlib import metadata

    known = {"MIT", "BSD-3-Clause", "BSD-2-Clause", "Apache-2.0", "MPL-2.0", "ISC"}
    seen = 0
    for distribution in metadata.distributions():
        expression = distribution.metadata.get("License-Expression", "")
        texts = [
            f for f in distribution.files or () if "licenses/" in str(f) and is_licence(str(f))
        ]
        if expression not in known or len(texts) != 1:
            continue
        path = Path(str(texts[0].locate()))
        if path.is_file():
            found = identify(path.read_bytes())
            assert expression in found.split(", ") or not found, distribution.metadata["Name"]
            seen += found == expression
    assert seen or not list(metadata.distributions())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIT, "MIT"),
        (BSD3, "BSD-3-Clause"),
        (BSD3.partition(b" * Neither")[0], "BSD-2-Clause"),
        (BSD3 + b"All advertising materials mentioning features", "BSD-4-Clause"),
        (b"Permission to use, copy, modify, and/or distribute this\n * software for any", "ISC"),
        (b"This is free and unencumbered software released into the public domain.", "Unlicense"),
        (b"SPDX-License-Identifier: GPL-2.0-or-later", "GPL-2.0-or-later"),
        (b"All rights reserved.", ""),
        (b"\xff\xfe\0", ""),
    ],
)  # fmt: skip
def test_a_few_sure_phrases_identify_a_licence(text: bytes, name: str) -> None:
    assert identify(text) == name


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"/* SPDX-License-Identifier: MIT */", "MIT"),
        (b"# SPDX-License-Identifier: (GPL-2.0+ OR BSD-3-Clause)\n", "(GPL-2.0+ OR BSD-3-Clause)"),
        (b"<!-- SPDX-License-Identifier: CC0-1.0 -->", "CC0-1.0"),
        (b"no such line", ""),
    ],
)
def test_an_spdx_line_is_read_in_any_comment(head: bytes, name: str) -> None:
    assert spdx_in(head) == name


def test_the_standard_library_is_read_without_a_crash() -> None:
    folder = Path(sysconfig.get_path("stdlib"), "json")
    items = read(CodeFiles(paths=[str(folder / "**/*.py")]))
    assert set(items) == {p.relative_to(folder).as_posix() for p in folder.rglob("*.py")}
    assert items["__init__.py"].text == Path(json.__file__).read_text()  # type: ignore[union-attr]
