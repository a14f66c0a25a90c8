"""Text inside installed packages and Python itself: read where it lies, never copied."""

from __future__ import annotations

import fnmatch
import platform
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Document, NotFound, Source, SourceCard, Unreadable, UsageError, files


def distribution_files(package: str) -> list[tuple[str, Path]]:
    """(name inside the package, path on disk) of all its files, in order of name."""
    try:
        distribution = metadata.distribution(package)
    except (metadata.PackageNotFoundError, ValueError):  # ValueError: an empty name
        raise NotFound(
            f"the package {package} is not installed", hint="pip install 'yoriai-corpus[tour]'"
        ) from None
    rows = [(str(item), Path(str(item.locate()))) for item in distribution.files or ()]
    return sorted((name, path) for name, path in rows if path.is_file())


def fingerprint_files(rows: list[tuple[str, Path]]) -> str:
    """One digest over names and bytes."""
    return files.digest_json([[name, files.digest_file(path)] for name, path in rows])


def package_card(package: str, languages: tuple[str, ...], note: str) -> SourceCard:
    """The card of an installed distribution, from its own metadata."""
    try:
        info: Any = metadata.metadata(package)  # an email.message.Message
    except (metadata.PackageNotFoundError, ValueError):  # ValueError: an empty name
        raise NotFound(
            f"the package {package} is not installed", hint="pip install 'yoriai-corpus[tour]'"
        ) from None
    licence = info.get("License-Expression") or info.get("License") or "unknown"
    licence = licence.strip().splitlines()[0][:60] if licence.strip() else "unknown"
    if licence.startswith("Copyright"):
        classifiers = info.get_all("Classifier") or []
        licence = next(
            (c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License ::")), licence
        )
    return SourceCard(
        name=f"{package} ({note})",
        licence=licence,
        languages=languages,
        version=info["Version"],
        url=_home_page(info),
    )


def _home_page(info: metadata.PackageMetadata) -> str:
    """Where the package's authors say it lives; "" if they do not say."""
    named = dict(line.split(", ", 1) for line in info.get_all("Project-URL") or () if ", " in line)
    known = {name.lower(): url for name, url in named.items()}
    wanted = ("homepage", "home", "source", "repository")
    home = (info.get_all("Home-page") or [""])[0]
    return str(home or next((known[n] for n in wanted if n in known), ""))


class PackageFiles(Source):
    """Files of an installed package, one document a file."""

    version: ClassVar[str] = "1"
    package: str = Field(description="name of the installed distribution")
    include: list[str] = Field(description="patterns of file names, e.g. mercurial/helptext/*.txt")
    language: str = Field(description="language of these files, e.g. en or code")

    @property
    def source_name(self) -> str:
        """What documents name as their source."""
        return f"{self.package}-files"

    def card(self) -> SourceCard:
        return package_card(self.package, (self.language,), ", ".join(self.include))

    def fingerprint(self) -> str:
        return fingerprint_files(self._files())

    def read(self, partition: str) -> Iterator[Document | Unreadable]:  # noqa: ARG002
        card = self.card()
        for name, path in self._files():
            yield read_file(self.source_name, name, path, self.language, card.url, card.licence)

    def _files(self) -> list[tuple[str, Path]]:
        rows = [
            (name, path)
            for name, path in distribution_files(self.package)
            if any(fnmatch.fnmatch(name, pattern) for pattern in self.include)
        ]
        if not rows:
            raise NotFound(f"no file of {self.package} matches {self.include}")
        return rows


class PythonTopics(Source):
    """The language reference that ``help()`` shows: 466 KB of English prose."""

    version: ClassVar[str] = "1"

    @property
    def source_name(self) -> str:
        """What documents name as their source."""
        return "python-topics"

    def card(self) -> SourceCard:
        return SourceCard(
            name="Python's language reference (pydoc topics)",
            licence="PSF-2.0",
            languages=("en",),
            version=platform.python_version(),
            url="https://docs.python.org/3/reference/",
        )

    def fingerprint(self) -> str:
        return files.digest_json(self._topics())

    def read(self, partition: str) -> Iterator[Document | Unreadable]:  # noqa: ARG002
        card = self.card()
        for name, text in sorted(self._topics().items()):
            yield Document(self.source_name, name, text.strip(), "en", card.url, card.licence)

    def _topics(self) -> dict[str, str]:
        from pydoc_data.topics import topics

        return dict(topics)


class PythonCode(Source):
    """Modules of the standard library, as code."""

    version: ClassVar[str] = "1"
    include: list[str] = Field(
        ["*.py"], description="patterns of paths below the library, e.g. asyncio/*.py"
    )

    @property
    def source_name(self) -> str:
        """What documents name as their source."""
        return "python-code"

    def card(self) -> SourceCard:
        return SourceCard(
            name="Python's standard library",
            licence="PSF-2.0",
            languages=("code",),
            version=platform.python_version(),
            url="https://docs.python.org/3/library/",
        )

    def fingerprint(self) -> str:
        return fingerprint_files(self._files())

    def read(self, partition: str) -> Iterator[Document | Unreadable]:  # noqa: ARG002
        card = self.card()
        for name, path in self._files():
            yield read_file(self.source_name, name, path, "code", card.url, card.licence)

    def _files(self) -> list[tuple[str, Path]]:
        root = Path(sysconfig.get_path("stdlib"))
        try:
            if any(".." in Path(pattern).parts for pattern in self.include):
                raise ValueError("'..' leads out of the library")
            found = {path for pattern in self.include for path in root.glob(pattern)}
            rows = sorted(
                (path.relative_to(root).as_posix(), path)
                for path in found
                if path.is_file() and "site-packages" not in path.parts
            )
        except (ValueError, NotImplementedError) as error:  # empty or absolute
            raise UsageError(f"include: {str(error)[:200]}", hint="as in json/*.py") from error
        if not rows:
            raise NotFound(f"no module of the standard library matches {self.include}")
        return rows


def read_file(
    source: str, name: str, path: Path, language: str, url: str, licence: str
) -> Document | Unreadable:
    """One UTF-8 file as a document, or why it could not be read."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Unreadable(source, name, f"not UTF-8 at byte {error.start}")
    except OSError as error:
        return Unreadable(source, name, f"cannot be read: {error.strerror}")
    return Document(source, name, text.replace("\r\n", "\n"), language, url, licence)
