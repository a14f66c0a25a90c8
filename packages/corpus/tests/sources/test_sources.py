"""Text inside packages and Python, read where it lies."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from yoriai import Document, NotFound, Unreadable, UsageError
from yoriai_corpus.sources.gettext import Gettext
from yoriai_corpus.sources.packages import (
    PackageFiles,
    PythonCode,
    PythonTopics,
    package_card,
    read_file,
)


def require(package: str) -> None:
    """Skip where a package of the tour is not installed."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed: pip install 'yoriai-corpus[tour]'")


def test_python_topics_are_the_manual_that_help_shows() -> None:
    from pydoc_data.topics import topics

    items = list(PythonTopics().read("all"))
    assert {item.id: item.text for item in items if isinstance(item, Document)} == {
        name: text.strip() for name, text in topics.items()
    }


def test_python_code_reads_the_modules_asked_for_and_no_site_packages() -> None:
    source = PythonCode(include=["json/*.py", "abc.py"])
    items = list(source.read("all"))
    assert [item.id for item in items][:2] == ["abc.py", "json/__init__.py"]
    assert {item.language for item in items if isinstance(item, Document)} == {"code"}
    with pytest.raises(NotFound, match="no module"):
        PythonCode(include=["no-such/*.py"]).read("all").__next__()


@pytest.mark.parametrize("pattern", ["", "/etc/passwd", "../../../*", "json/../../../*"])
def test_a_pattern_that_leads_out_of_the_library_is_refused(pattern):
    with pytest.raises(UsageError, match="include"):
        PythonCode(include=[pattern]).fingerprint()


def test_a_package_without_a_name_is_not_there():
    with pytest.raises(NotFound, match="not installed"):
        Gettext(package="", language="ja").card()


def test_package_files_have_the_licence_of_the_package() -> None:
    items = list(PackageFiles(package="click", include=["click/*.py"], language="code").read("all"))
    assert len(items) > 5
    assert {item.licence for item in items if isinstance(item, Document)} == {"BSD-3-Clause"}
    with pytest.raises(NotFound, match="no file of click"):
        PackageFiles(package="click", include=["*.txtx"], language="en").fingerprint()


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"a\r\nb", "a\nb"), (b"\xef\xbb\xbfmark", "mark"), ("日本".encode(), "日本"), (b"", "")],
)
def test_a_file_is_read_as_utf8_without_mark_and_carriage_returns(
    data: bytes, text: str, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(data)
    item = read_file("s", "f", tmp_path / "f", "en", "", "")
    assert isinstance(item, Document)
    assert item.text == text


def test_a_file_in_another_encoding_or_gone_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes("日本".encode("euc-jp"))
    for name, reason in (("f", "not UTF-8 at byte 0"), ("gone", "cannot be read")):
        item = read_file("s", name, tmp_path / name, "ja", "", "")
        assert isinstance(item, Unreadable)
        assert reason in item.reason


@pytest.mark.parametrize(
    ("package", "language", "least"),
    [
        ("mercurial", "ja", 2000),
        ("Trac", "ja", 1000),
        ("jupyterlab-language-pack-ja-JP", "ja_JP", 1000),
    ],
)
def test_the_catalogues_of_the_tour_hold_japanese_with_ids_of_their_own(
    package: str, language: str, least: int
) -> None:
    require(package)
    source = Gettext(package=package, language=language)
    items = [item for name in source.partitions() for item in source.read(name)]
    documents = [item for item in items if isinstance(item, Document)]
    assert len(documents) == len(items) > least
    assert len({item.id for item in items}) == len(items)
    assert {document.language for document in documents} == {"ja"}
    assert source.card().licence not in ("", "unknown")
    assert source.fingerprint() == source.fingerprint()


def test_a_card_names_where_the_package_lives() -> None:
    # numpy is always here; its metadata names its home page.
    assert package_card("numpy", ("en",), "all").url == "https://numpy.org"
