"""Give every page of a built site its language: ``lang``, its twin, and the theme's own words.

``nox -s docs`` runs this after mkdocs and before the policy is written. The theme has one language
for a whole site; here Japanese and English stand side by side, with one search for both. So the
words that the theme wrote on Japanese pages are exchanged for those of its own Japanese file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

ROOT = Path(__file__).resolve().parent.parent
SITE = "https://yoriai.github.io/yoriai/"
JAPANESE = "ja"
# What mkdocs.yml calls things, for Japanese readers; what is English only is called so.
LABELS = {
    "Home": "表紙（英語）",
    "Guide": "手引き（英語）",
    "Reference": "リファレンス（英語）",
    "Records": "記録",
    "Project": "プロジェクト（英語）",
    "Yoriai 寄合": "Yoriai 寄合",
    "Light": "明るい表示",
    "Dark": "暗い表示",
    "Permanent link": "この見出しへのリンク",
    "Search": "検索",
}
_DIALOG = '<div class="md-search" data-md-component="search" role="dialog"'

_ENTRY = re.compile(r'^\s*"([\w.]+)": "((?:[^"\\]|\\.)*)"', re.MULTILINE)
_ARTICLE = re.compile(r"(<article.*?</article>)", re.DOTALL)
_CONFIG = re.compile(r'(<script id="__config" type="application/json">)(.*?)(</script>)', re.DOTALL)


def theme_words() -> dict[str, str]:
    """The theme's English words and what its Japanese file says for each."""
    import material

    folder = Path(str(material.__file__)).parent / "templates" / "partials" / "languages"
    read = {
        name: dict(_ENTRY.findall((folder / f"{name}.html").read_text(encoding="utf-8")))
        for name in ("en", JAPANESE)
    }
    pairs = {text: read[JAPANESE].get(key, "") for key, text in read["en"].items()}
    return {one: other for one, other in pairs.items() if one and other and one != other}


def translate(page: str, words: Mapping[str, str]) -> str:
    """A page whose frame is Japanese; what its author wrote is left as it is."""
    page = re.sub(r'<html lang="en"', f'<html lang="{JAPANESE}"', page, count=1)
    page = _CONFIG.sub(lambda m: m[1] + _config(m[2], words) + m[3], page)
    parts = _ARTICLE.split(page)
    parts[::2] = [_frame(part, words) for part in parts[::2]]
    return "".join(parts).replace('title="Permanent link"', f'title="{words["Permanent link"]}"')


def _config(text: str, words: Mapping[str, str]) -> str:
    value = json.loads(text)
    said = value.get("translations", {})
    value["translations"] = {key: words.get(word, word) for key, word in said.items()}
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c")


def _frame(text: str, words: Mapping[str, str]) -> str:
    def attribute(match: re.Match[str]) -> str:
        word = Markup(match[2]).unescape()
        first, colon, title = word.partition(": ")  # "Next: NAME" is the theme's word and a title
        if word not in words and first in words:
            said = f"{words[first]}{colon}{title}"
        else:
            said = words.get(word, word)
        return Markup('{}"{}"').format(Markup(match[1]), said)

    def node(match: re.Match[str]) -> str:
        word = Markup(match[2].strip()).unescape()
        if word not in words:
            return match[0]
        return Markup(">{}{}{}<").format(match[1], words[word], match[3])

    text = re.sub(r'((?:aria-label|title|placeholder)=)"([^"]*)"', attribute, text)
    return re.sub(r">(\s*)([^<>]+?)(\s*)<", node, text)


def twin_of(name: str) -> str:
    """The page of the other language: ``en/tour`` and ``ja/tour``, ``index`` and ``ja/index``."""
    if name == "index.html":
        return "ja/index.html"
    if name == "ja/index.html":
        return "index.html"
    here, _, rest = name.partition("/")
    return {"en": f"ja/{rest}", "ja": f"en/{rest}"}.get(here, "")


def write_sitemap(site: Path) -> int:
    """Name the twin of each page in ``sitemap.xml`` (hreflang); returns how many have one.

    Not in the pages: where the theme finds such links it fetches the sitemaps they point to, which
    on a reader's own copy of the site is a request to somewhere else.
    """
    path = site / "sitemap.xml"
    text = path.read_text(encoding="utf-8").replace(
        "<urlset xmlns=", '<urlset xmlns:xhtml="http://www.w3.org/1999/xhtml" xmlns=', 1
    )
    count = 0

    def add(match: re.Match[str]) -> str:
        nonlocal count
        name = f"{match[1].removeprefix(SITE)}index.html"
        twin = twin_of(name)
        if not twin or not (site / twin).is_file():
            return match[0]
        count += 1
        japanese = name.startswith("ja/")
        pages = {"ja": name if japanese else twin, "en": twin if japanese else name}
        links = "".join(
            f'<xhtml:link rel="alternate" hreflang="{language}" href="{SITE}{_address(page)}"/>'
            for language, page in (*pages.items(), ("x-default", pages["en"]))
        )
        return f"{match[0]}{links}"

    text = re.sub(r"<loc>([^<]+)</loc>", add, text)
    path.write_text(text, encoding="utf-8")
    with gzip.GzipFile(site / "sitemap.xml.gz", "wb", mtime=0) as packed:
        packed.write(text.encode())
    return count


def _address(page: str) -> str:
    return page.removesuffix("index.html")


def write_languages(site: Path) -> Iterator[str]:
    """Change every page below ``site``; yields the names of those that are Japanese."""
    words = {**theme_words(), **LABELS}
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        # The theme's search is a dialog without a name.
        page = path.read_text(encoding="utf-8").replace(_DIALOG, f'{_DIALOG} aria-label="Search"')
        if name.startswith("ja/"):
            page = translate(page, words)
            yield name
        path.write_text(page, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("site", type=Path, nargs="?", default=ROOT / "build" / "site")
    site = parser.parse_args(argv).site
    print(f"{len(list(write_languages(site)))} Japanese pages, {write_sitemap(site)} with a twin")


if __name__ == "__main__":
    main()
