"""Put a built site into its place among the versions that are published together.

    python docs/versions.py build/site BRANCH main
    python docs/versions.py build/site BRANCH v0.2.0
    python docs/versions.py build/site BRANCH pr/12
    python docs/versions.py --remove BRANCH pr/12

``BRANCH`` is a checkout of the branch that is served. The main line stands at its root, so that
addresses of records stay what they were; a release stands in ``v/0.2.0``, the preview of a pull
request in ``pr/12``. A page that is not of the main line says so, leads to the newest, and is not
for search engines. ``v/index.html`` lists what there is, ``versions.json`` the same for programs.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

KEPT = (".git", "v", "pr", "versions.json")  # at the root, whatever the main line brings
_RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)((?:a|b|rc)\d+)?")
_PREVIEW = re.compile(r"pr/[1-9]\d{0,8}")
_ARTICLE = re.compile(r"(<article[^>]*>)")
_ROBOTS = '<meta name="robots" content="noindex">'
_LIST = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Versions · 版 - Yoriai</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.6 sans-serif; margin: 2rem }}
</style>
</head>
<body>
<main>
<h1>Versions of the manual · 手引きの版</h1>
<p>Records are always those of the main line. · 記録は、つねに最新のものです。</p>
<ul>
{rows}
</ul>
</main>
</body>
</html>
"""


def folder_of(version: str) -> str:
    """The folder of a version: none for ``main``, ``v/0.2.0``, ``pr/12``; anything else fails."""
    if version == "main":
        return ""
    if _RELEASE.fullmatch(version):
        return f"v/{version[1:]}"
    if _PREVIEW.fullmatch(version):
        return version
    raise SystemExit(f"{version!r} is no version: main, vX.Y.Z or pr/N")


def place(site: Path, branch: Path, version: str) -> Path:
    """Copy a built site to its folder, whose former content goes; returns the folder."""
    folder = folder_of(version)
    if not (site / "index.html").is_file():
        raise SystemExit(f"{site} holds no built site: nox -s docs makes one")
    if links := [path for path in site.rglob("*") if path.is_symlink()]:
        raise SystemExit(f"{links[0]} is a link: a site is files and folders")
    target = branch / folder
    remove(branch, version)
    hidden = shutil.ignore_patterns(*KEPT) if not folder else None
    shutil.copytree(site, target, dirs_exist_ok=True, ignore=hidden)
    if folder:
        for path in sorted(target.rglob("*.html")):
            name = path.relative_to(target).as_posix()
            up = "../" * (name.count("/") + folder.count("/") + 1)
            page = mark_version(path.read_text(encoding="utf-8"), version, up)
            path.write_text(page, encoding="utf-8")
        for path in target.glob("sitemap.xml*"):
            path.unlink()
    (branch / ".nojekyll").touch()
    write_list(branch)
    return target


def remove(branch: Path, version: str) -> None:
    """Take a version away; one that is not there is taken away already."""
    target = branch / folder_of(version)
    if target != branch:
        shutil.rmtree(target, ignore_errors=True)
    else:
        for path in branch.glob("*"):
            if path.name not in KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_list(branch)


def mark_version(page: str, version: str, up: str) -> str:
    """A page that says which version it is of; ``up`` leads to the root of the branch."""
    japanese = '<html lang="ja"' in page
    if version.startswith("pr/"):
        said = (
            "A preview of a change that is not accepted yet.",
            "受け入れられる前の変更の下見です。",
        )
    else:
        said = (f"This is the manual of {version[1:]}.", f"これは {version[1:]} の手引きです。")
    newest = ("The newest is here.", "最新はこちらです。")
    note = f'<p class="version-note">{said[japanese]} <a href="{up}">{newest[japanese]}</a></p>'
    page = _ARTICLE.sub(lambda m: m[1] + note, page, count=1)
    return page.replace("</head>", f"{_ROBOTS}</head>", 1)


def list_versions(branch: Path) -> list[str]:
    """The releases that stand in a branch, newest first; a preview is no version."""
    found = [m for path in branch.glob("v/*/") if (m := _RELEASE.fullmatch(f"v{path.name}"))]
    # Of one number, what carries a letter (0.2.0rc1) came before what carries none.
    order = {m[0]: (*map(int, m.groups()[:3]), m[4] is None, m[4] or "") for m in found}
    return sorted(order, key=lambda version: order[version], reverse=True)


def write_list(branch: Path) -> None:
    releases = list_versions(branch)
    rows = ['<li><a href="../">main</a> (newest · 最新)</li>']
    rows += [f'<li><a href="{version[1:]}/">{version[1:]}</a></li>' for version in releases]
    (branch / "v").mkdir(parents=True, exist_ok=True)
    page = _LIST.format(rows="\n".join(rows))
    (branch / "v" / "index.html").write_text(page, encoding="utf-8")
    told = [{"version": "main", "path": ""}]
    told += [{"version": version[1:], "path": f"{folder_of(version)}/"} for version in releases]
    (branch / "versions.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--remove", action="store_true", help="take the version away")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("version")
    asked = parser.parse_args(argv)
    if len(asked.folders) != (1 if asked.remove else 2):
        parser.error("give SITE BRANCH VERSION, or --remove BRANCH VERSION")
    if asked.remove:
        remove(asked.folders[0], asked.version)
    else:
        print(f"{place(*asked.folders, asked.version)}: {asked.version}")


if __name__ == "__main__":
    main()
