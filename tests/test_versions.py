"""Versions of the site side by side: the main line at the root, releases, previews."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
try:
    import versions
finally:
    sys.path.remove(str(ROOT / "docs"))

PAGE = '<html lang="{}"><head><title>t</title></head><body><article class="a">text</article>'


@pytest.fixture
def site(tmp_path):
    for name, language in (("index", "en"), ("en/tour/index", "en"), ("ja/tour/index", "ja")):
        path = tmp_path / "site" / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PAGE.format(language))
    (tmp_path / "site" / "sitemap.xml").write_text("<urlset/>")
    return tmp_path / "site"


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_the_main_line_is_replaced_and_leaves_the_others(site, tmp_path):
    branch = tmp_path / "branch"
    versions.place(site, branch, "v0.1.0")
    versions.place(site, branch, "pr/7")
    (branch / "gone.html").write_text("of a former day")
    versions.place(site, branch, "main")
    assert not (branch / "gone.html").exists()
    assert {"index.html", "v/0.1.0/index.html", "pr/7/index.html", "v/index.html"} <= files(branch)
    assert (branch / "index.html").read_text() == PAGE.format("en")
    assert "sitemap.xml" in files(branch)
    assert "v/0.1.0/sitemap.xml" not in files(branch)


def test_a_page_of_a_release_says_so_in_its_language_and_leads_to_the_newest(site, tmp_path):
    versions.place(site, tmp_path / "branch", "v0.1.0")
    folder = tmp_path / "branch" / "v" / "0.1.0"
    for name, said in (
        ("en", "This is the manual of 0.1.0."),
        ("ja", "これは 0.1.0 の手引きです。"),
    ):
        page = (folder / name / "tour" / "index.html").read_text()
        assert said in page
        assert '<meta name="robots" content="noindex"></head>' in page
        there = page.partition('<a href="')[2].partition('"')[0]
        assert (folder / name / "tour" / there).resolve() == tmp_path / "branch"


def test_releases_are_listed_newest_first_and_previews_are_not(site, tmp_path):
    branch = tmp_path / "branch"
    for version in ("v0.9.0", "v0.10.0", "v0.10.0rc1", "pr/3"):
        versions.place(site, branch, version)
    told = [row["version"] for row in json.loads((branch / "versions.json").read_text())]
    assert told == ["main", "0.10.0", "0.10.0rc1", "0.9.0"]
    assert "pr/3" not in (branch / "v" / "index.html").read_text()
    versions.remove(branch, "pr/3")
    versions.remove(branch, "pr/3")
    assert not (branch / "pr" / "3").exists()


@pytest.mark.parametrize(
    "bad", ["../x", "v1", "pr/0", "pr/../main", "v0.1.0/..", "", "MAIN", "pr/"]
)
def test_what_is_no_version_is_refused(site, tmp_path, bad):
    with pytest.raises(SystemExit, match="no version"):
        versions.place(site, tmp_path / "branch", bad)


def test_a_site_with_a_link_is_refused(site, tmp_path):
    (site / "secret").symlink_to("/etc/passwd")
    with pytest.raises(SystemExit, match="is a link"):
        versions.place(site, tmp_path / "branch", "pr/1")


def test_a_site_is_pushed_to_its_branch_and_taken_away_again(site, tmp_path):
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)

    def push(*words):
        subprocess.run([ROOT / ".ci" / "push-site", str(remote), *words], check=True)
        line = ["git", "--git-dir", str(remote), "ls-tree", "-r", "--name-only", "gh-pages"]
        return set(subprocess.run(line, check=True, capture_output=True, text=True).stdout.split())

    assert "index.html" in push(str(site), "main")
    assert "v/0.1.0/ja/tour/index.html" in push(str(site), "v0.1.0")
    assert "pr/5/index.html" in push(str(site), "pr/5")
    assert push(str(site), "main") == push(str(site), "main")
    left = push("--remove", "pr/5")
    assert not any(name.startswith("pr/") for name in left)
    assert "v/0.1.0/ja/tour/index.html" in left
