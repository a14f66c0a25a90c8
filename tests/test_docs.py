"""The documentation is true: it covers everything, its links resolve, its commands exist."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pydantic
import pytest

from yoriai.cli import cli
from yoriai.entry import KINDS
from yoriai.errors import EXIT_CODES
from yoriai.plain_markdown import escape
from yoriai.plugins import load_registry
from yoriai.recipe import Recipe, load_recipe
from yoriai.record import Record
from yoriai.registry import Registry

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

sys.path.insert(0, str(DOCS))
try:
    import generate
    from sitemaker.keys import list_keys
    from sitemaker.markdown import join_japanese, slug
    from sitemaker.nav import config_with_records, source_of, twin_of
    from sitemaker.project import relink
    from sitemaker.records import record_titles
    from sitemaker.reference import (
        KIND_PLACES,
        KIND_TITLES,
        command_page,
        list_commands,
        list_hooks,
    )
finally:
    sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """The pages of the site, before mkdocs."""
    out = tmp_path_factory.mktemp("docs")
    generate.write_site(out, registry)
    return out


def reference(site: Path, name: str) -> str:
    return (site / "reference" / f"{name}.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """The part of a page below a heading, up to the next of the same level."""
    match = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert match, f"no section {heading!r}"
    return match[1]


# --- the reference is complete ----------------------------------------------------------


def test_every_hook_stands_in_the_reference_with_its_text(site):
    page = reference(site, "hooks")
    for name, function in list_hooks():
        assert f"### {name}\n" in page
        assert (function.__doc__ or "").strip(), f"{name} has no docstring"


def test_every_kind_of_entry_has_a_page(site):
    assert set(KIND_TITLES) | {"commands"} == set(KINDS)
    assert set(KIND_PLACES) == set(KIND_TITLES)
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(f"reference/{kind}.md" in nav for kind in KIND_TITLES)


@pytest.mark.parametrize("kind", list(KIND_TITLES))
def test_every_entry_and_each_of_its_keys_stands_in_the_reference(site, registry, kind):
    page = reference(site, kind)
    for found in registry.found(kind):
        text = section(page, found.name)
        assert escape(found.entry.summary) in page
        if not found.missing:
            for key, _ in list_keys(registry.load(found)):
                assert f"| `{key}` |" in text, f"{found.name}: {key}"


def test_every_command_and_each_of_its_options_stands_in_the_reference(site, registry):
    for words, command, context in list_commands(registry):
        page = (site / command_page(context)).read_text(encoding="utf-8")
        text = section(page, words)
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert all(name in text for name in parameter.opts), f"{words}: {parameter.opts}"


def test_every_exit_code_stands_in_the_reference(site):
    page = reference(site, "exit-codes")
    for number, meaning in EXIT_CODES.items():
        assert f"| `{number}` | {meaning} |" in page


def test_every_key_of_a_recipe_stands_in_the_reference(site):
    page = reference(site, "recipe")
    assert all(f"| `{key}` |" in page for key, _ in list_keys(Recipe))


def test_every_key_of_a_record_is_described_under_file_formats(site):
    text = section(reference(site, "formats"), "record.yaml")
    missing = [key for key, _ in list_keys(Record) if f"`{key.split('.')[-1]}`" not in text]
    assert missing == []


def test_every_file_of_a_manifest_and_a_run_is_described_under_file_formats(site):
    from yoriai.artifact import IDENTITY

    text = section(reference(site, "formats"), "artifact.json")
    assert all(f"`{key}`" in text for key in (*IDENTITY, "digest", "circumstances", "seal"))


# --- nothing is left without a word -----------------------------------------------------


def test_every_key_has_a_description(registry):
    models: dict[str, type[pydantic.BaseModel]] = {"recipe": Recipe}
    for kind in KIND_TITLES:
        models |= {f.name: registry.load(f) for f in registry.found(kind) if not f.missing}
    empty = [
        f"{name}: {key}"
        for name, model in models.items()
        for key, field in list_keys(model)
        if not (field.description or "").strip()
    ]
    assert empty == []


def test_every_entry_has_a_summary_and_its_class_a_docstring(registry):
    for kind in KIND_TITLES:
        for found in registry.found(kind):
            assert found.entry.summary.endswith((".", "?")), f"{found.name}: end the sentence"
            if not found.missing:
                assert (registry.load(found).__doc__ or "").strip(), found.name


def test_every_command_has_help_and_an_example_and_every_option_a_word(registry):
    silent = []
    for words, command, _ in list_commands(registry):
        if not (command.help or "").strip():
            silent.append(words)
        if not isinstance(command, click.Group) and f"  {words}" not in (command.epilog or ""):
            silent.append(f"{words}: no example")
        silent += [
            f"{words} {parameter.opts[0]}"
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.help
        ]
    assert silent == []


def test_every_command_prints_json_when_asked(registry):
    without = [
        words
        for words, command, _ in list_commands(registry)
        if not isinstance(command, click.Group) or command.invoke_without_command
        if words != "yoriai" and not any("--json" in p.opts for p in command.params)
    ]
    assert without == []


def test_every_group_shows_an_example(registry):
    for words, command, _ in list_commands(registry):
        if isinstance(command, click.Group):
            assert "  yoriai " in (command.epilog or ""), words


# --- links and languages ----------------------------------------------------------------


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", without_fences(text), re.MULTILINE)


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def test_every_internal_link_of_the_site_resolves(site):
    broken = []
    for page in site.rglob("*.md"):
        text = re.sub(r"`[^`\n]*`", "", without_fences(page.read_text(encoding="utf-8")))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            goal = (page.parent / path) if path else page
            if not goal.is_file():
                broken.append(f"{page.relative_to(site)}: {target}")
            elif anchor and goal.suffix == ".md":
                known = {slug(h) for h in headings(goal.read_text(encoding="utf-8"))}
                if anchor not in known:
                    broken.append(f"{page.relative_to(site)}: {target}")
    assert broken == []


def test_every_relative_link_of_the_repositorys_own_pages_resolves():
    broken = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("p*/*/README.md"), *ROOT.glob("records/*/*.md")]:
        text = without_fences(page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path = target.partition("#")[0]
            if path and not re.match(r"[a-z]+:", target) and not (page.parent / path).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


# Records are named in a build (see below), cards lie under their list.
OUT_OF_NAV = ("records/0", "records/cards/")


def test_every_record_stands_in_the_sidebar_of_a_build(site):
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    titles = record_titles(ROOT)
    built = config_with_records(config, titles)
    assert len(titles) == len(list(site.glob("records/0*.md")))
    assert all(f": {page}\n" in built for page in titles)
    assert "docs_dir: docs\n" in built


def test_a_record_has_ways_out(site):
    for path in site.glob("records/0*.md"):
        last = path.read_text(encoding="utf-8").partition("## Where next")[2]
        assert "(index.md)" in last
        assert f"../compare/#{path.name[:4]}" in last


def test_every_page_of_the_navigation_exists_and_every_written_page_is_in_it(site):
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    named = set(re.findall(r"([\w/-]+\.md)$", nav, re.MULTILINE))
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.md")}
    assert named - pages == set()
    assert {page for page in pages - named if not page.startswith(OUT_OF_NAV)} == set()


PAGES = ["index", *sorted(path.stem for path in (DOCS / "en").glob("*.md"))]
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def twins(page: str) -> list[str]:
    english = DOCS / ("index.md" if page == "index" else f"en/{page}.md")
    return [p.read_text(encoding="utf-8") for p in (english, DOCS / "ja" / f"{page}.md")]


def test_every_guide_has_a_twin():
    assert {p.name for p in (DOCS / "ja").glob("*.md")} == {
        "index.md",
        *(p.name for p in (DOCS / "en").glob("*.md")),
    }


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_same_parts_in_english_and_japanese(page):
    texts = twins(page)
    levels = [re.findall(r"^(#+) ", without_fences(text), re.MULTILINE) for text in texts]
    assert levels[0] == levels[1]
    tables = [len(re.findall(r"^\|", text, re.MULTILINE)) for text in texts]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("page", PAGES)
def test_a_code_block_differs_in_japanese_by_its_prose_only(page):
    blocks = [re.findall(r"^(```\w*)\n(.*?)^```$", text, re.M | re.S) for text in twins(page)]
    assert [kind for kind, _ in blocks[0]] == [kind for kind, _ in blocks[1]]
    for (_, english), (_, japanese) in zip(*blocks, strict=True):
        lines = zip(english.splitlines(), japanese.splitlines(), strict=True)
        for one, other in lines:
            assert one in (other, other.replace(" --language ja", "")) or JAPANESE.search(other)


def test_a_page_without_a_twin_says_so_and_one_with_a_twin_leads_there(site):
    for path in site.rglob("*.md"):
        name, text = path.relative_to(site).as_posix(), path.read_text(encoding="utf-8")
        if name.startswith(("records/", "reference/plugins")):
            continue  # these speak both languages
        twin = twin_of(name)
        if twin and (site / twin).is_file():
            assert re.search(rf"\]\([./]*{re.escape(twin)}\)\{{ \.twin lang=", text), name
        else:
            assert "only in English*{ .twin data-search-exclude }" in text, name


def test_every_page_leads_to_the_file_in_which_it_is_written(site):
    wrong = []
    for path in site.rglob("*.md"):
        name, text = path.relative_to(site).as_posix(), path.read_text(encoding="utf-8")
        source = source_of(name, ROOT)
        if not (ROOT / source).is_file() or f"/edit/main/{source}){{ .edit" not in text:
            wrong.append((name, source))
    assert wrong == []


def test_the_numbers_of_the_tour_are_the_same_in_both_languages():
    pages = [(DOCS / folder / "tour.md").read_text(encoding="utf-8") for folder in ("en", "ja")]
    numbers = [sorted(set(re.findall(r"\d+(?:,\d{3})+|\d+\.\d+", page))) for page in pages]
    assert numbers[0] == numbers[1]


# --- the generator ----------------------------------------------------------------------


def test_the_same_sources_give_the_same_pages(site, tmp_path, registry):
    generate.write_site(tmp_path / "again", registry)
    first = {p.relative_to(site): p.read_bytes() for p in site.rglob("*") if p.is_file()}
    again = tmp_path / "again"
    assert first == {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()}


def test_no_page_names_a_home_or_a_folder_of_a_machine(site):
    pattern = re.compile(r"/(?:home|Users|root|work|tmp)/\w+|object at 0x")
    named = [p.name for p in site.rglob("*.md") if pattern.search(p.read_text(encoding="utf-8"))]
    assert named == []


def test_the_site_is_built_without_records_and_shows_their_failures_with_them(tmp_path, registry):
    root = tmp_path / "repository"
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "index.md").write_text("# Home\n")
    generate.write_site(tmp_path / "empty", registry, root)
    assert "no record yet" in (tmp_path / "empty/records/index.md").read_text()

    folder = root / "records" / "0007-too-hot"
    folder.mkdir(parents=True)
    (folder / "record.yaml").write_text(
        "{schema: 1, id: '0007', title: {en: Too hot, ja: 熱すぎた}, state: ended,"
        " opened: 2026-01-02, execution: failed, verdict: not-tested,"
        " failures: [{cause: diverged, symptom: a | loss of 9}],"
        " lessons: [{text: {en: Warm up., ja: 温める。}}]}",
        encoding="utf-8",
    )
    (folder / "README.md").write_text("# Too hot\n\n## Question\n\nSee [this](../../README.md).\n")
    (root / "README.md").touch()
    generate.write_site(tmp_path / "full", registry, root)
    failures = (tmp_path / "full/records/what-did-not-work.md").read_text(encoding="utf-8")
    assert "## diverged\n" in failures
    assert "| [0007](0007-too-hot.md) | a &#124; loss of 9 |" in failures
    page = (tmp_path / "full/records/0007-too-hot.md").read_text(encoding="utf-8")
    assert "# 0007 Too hot\n\n[Edit · 直す](" in page
    assert "{ .edit data-search-exclude }\n\n**熱すぎた**\n" in page
    assert "Warm up. · 温める。" in page
    assert "[this](https://github.com/yoriai/yoriai/blob/main/README.md)" in page


def test_a_link_between_the_projects_documents_stays_on_the_site():
    text = "[a](SECURITY.md#reporting) [b](LICENSE) [c](https://x.org) [d](#e) [f](docs/)"
    assert relink(text, "", "governance.md", ROOT) == (
        "[a](security.md#reporting) [b](https://github.com/yoriai/yoriai/blob/main/LICENSE)"
        " [c](https://x.org) [d](#e) [f](https://github.com/yoriai/yoriai/tree/main/docs)"
    )


def test_lines_are_joined_between_japanese_characters_only():
    text = "文は\n続く。\nAnd here\nit goes.\n\n```\n文\n字\n```\n"
    assert join_japanese(text) == "文は続く。\nAnd here\nit goes.\n\n```\n文\n字\n```\n"


@pytest.mark.slow
def test_mkdocs_builds_the_site_without_a_warning(tmp_path, registry):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    generate.write_site(tmp_path / "docs", registry)
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    text = text.replace("build/docs", str(tmp_path / "docs"))
    text = text.replace("build/site", str(tmp_path / "site"))
    (tmp_path / "mkdocs.yml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(tmp_path / "mkdocs.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    loaded = re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=\"?(https?:[^\"\s>]+)", home)
    assert [u for u in loaded if not u.startswith("https://yoriai.github.io/")] == []


# --- the commands that the documentation shows ------------------------------------------


@dataclass(frozen=True)
class Shown:
    """One command in a console block."""

    place: str
    line: str

    @property
    def words(self) -> list[str]:
        return shlex.split(re.split(r" [<>|] ", self.line)[0], comments=True)

    def __str__(self) -> str:
        return f"{self.place} {self.line}"


def shown_commands() -> Iterator[Shown]:
    """Every command of every console block, without its prompt."""
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("p*/*/README.md")]
    for page in sorted(pages):
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            prompted = [line[2:] for line in lines if line.startswith("$ ")]
            for line in prompted or lines:
                for part in line.split("&&"):
                    yield Shown(page.relative_to(ROOT).as_posix(), part.strip())


SHOWN = [s for s in shown_commands() if re.match(r"yoriai(\s|$)", s.line)]


def is_cheap(words: list[str]) -> bool:
    """Whether a command only looks, and does so in a second or two."""
    if words[-1] in HELP:
        return True
    line = re.sub(r"^yoriai (--plugins \S+ |--strict )*", "", " ".join(words))
    return bool(
        re.match(r"(list|plugins(?! check)|doctor)\b|run recipes/tour\.yaml .*--dry-run", line)
    )


HELP = ("--help", "-h", "--version")
CHEAP = sorted({s.line for s in SHOWN if is_cheap(s.words)})


Known = dict[str, tuple[click.Command, click.Context]]


def known_commands(registry: Registry) -> Known:
    return {text: (command, context) for text, command, context in list_commands(registry)}


def parse(words: list[str], registry: Registry, known: Known | None = None) -> click.Command:
    """Find the command that the words name, and check its options; nothing is run.

    A file that an option names need not be there.
    """
    known = known or known_commands(registry)
    context = known["yoriai"][1]
    command: click.Command = cli
    name, rest = "yoriai", words
    while True:
        given, rest, _ = command.make_parser(context).parse_args(list(rest))
        for option in command.params:
            value = given.get(option.name or "")
            named = isinstance(option.type, click.Path)
            if isinstance(option, click.Option) and isinstance(value, str) and not named:
                option.type.convert(value, option, context)
        if not isinstance(command, click.Group) or set(rest[:1]) & set(HELP):
            break
        if not rest and set(words) & set(HELP):
            break
        if not rest and command.invoke_without_command:
            break
        assert rest, f"{name}: a command is missing"
        name, rest = f"{name} {rest[0]}", rest[1:]
        assert name in known, f"there is no command {name!r}"
        command, context = known[name]
    assert rest == [], f"{name}: {rest} is too much"
    arguments = [p for p in command.params if isinstance(p, click.Argument) and p.required]
    missing = [p.name for p in arguments if not isinstance(given.get(p.name or ""), (str, tuple))]
    assert missing == [] or set(words) & set(HELP), f"{name}: {missing} is missing"
    return command


def test_the_documentation_shows_commands():
    assert len(SHOWN) > 50
    assert len(CHEAP) >= 8


@pytest.mark.parametrize("shown", SHOWN, ids=str)
def test_a_shown_command_exists_with_its_options(shown, registry):
    parse(shown.words[1:], registry)


def test_every_example_in_the_help_of_a_command_is_parsed_by_that_command(registry):
    wrong, count, known = [], 0, known_commands(registry)
    for words, (command, _) in known.items():
        lines = (command.epilog or "").replace("\\\n", " ").splitlines()
        typed = (part.strip() for one in lines for part in one.split("&&"))
        for line in (one for one in typed if one.startswith("yoriai ")):
            count += 1
            try:
                parse(Shown(words, line).words[1:], registry, known)
            except (AssertionError, click.ClickException, ValueError) as error:
                wrong.append(f"{words}: {line}: {error}")
    assert not wrong, "\n".join(wrong)
    assert count > 100


@pytest.mark.parametrize(
    "line",
    ["ran recipes/tour.yaml", "run", "run a.yaml b.yaml", "run a.yaml --dry", "corpus", "list a b"],
)
def test_a_command_that_does_not_exist_would_be_noticed(line, registry):
    with pytest.raises((AssertionError, click.ClickException)):
        parse(shlex.split(line), registry)


@pytest.mark.parametrize(
    "shown", [s for s in SHOWN if s.words[1:3] == ["run", "recipes/tour.yaml"]], ids=str
)
def test_what_a_shown_run_sets_is_a_key_of_the_recipe(shown, registry, monkeypatch):
    monkeypatch.chdir(ROOT)
    settings = [value for key, value in itertools.pairwise(shown.words) if key == "--set"]
    loaded = load_recipe(Path("recipes/tour.yaml"), registry, settings)
    names = {step.name for step in loaded.steps}
    until = [value for key, value in itertools.pairwise(shown.words) if key == "--until"]
    assert set(until) <= names


@pytest.mark.parametrize("line", CHEAP)
def test_a_cheap_command_does_what_the_documentation_says(line, yoriai_cli, tmp_path):
    words = shlex.split(line, comments=True)[1:]
    if "--dry-run" in words:
        words += ["--out", str(tmp_path / "work")]
    answer = yoriai_cli(*words, cwd=ROOT)
    assert answer.code == 0, answer.err
    assert answer.out
    assert not (tmp_path / "work").exists()
    if "--json" in words:
        assert isinstance(answer.json, dict)


def test_every_session_of_nox_that_is_shown_exists():
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = set(re.findall(r"^@nox\.session.*?^def (\w+)", noxfile, re.MULTILINE | re.DOTALL))
    shown = {
        name
        for s in shown_commands()
        if re.match(r"(?:\.venv/bin/)?nox ", s.line)
        for name in re.search(r"-s ((?:\w+ ?)+)", s.line)[1].split()
    }
    assert shown
    assert shown <= sessions


def test_every_recipe_that_the_documentation_writes_out_is_valid(registry, tmp_path):
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("README*.md")]
    (tmp_path / "a.jsonl").write_text('{"text": "文章"}\n', encoding="utf-8")
    count = 0
    for page in pages:
        for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
            if block.startswith("name:"):
                path = tmp_path / f"{count}.yaml"
                path.write_text(block, encoding="utf-8")
                load_recipe(path, registry)
                count += 1
    assert count >= 3


@pytest.mark.parametrize("page", ["en/plugin.md", "ja/plugin.md"])
def test_the_filter_that_the_guide_writes_out_works(page):
    from yoriai import Document

    text = (DOCS / page).read_text(encoding="utf-8")
    [block] = [b for b in re.findall(r"```python\n(.*?)```", text, re.S) if "class " in b]
    names: dict[str, type] = {}
    exec(block, names)
    rule = names["NoShouting"]()
    assert rule.judge(Document("a", "1", "STOP THIS now")).value == 8 / 11
    assert rule.judge(Document("a", "2", "静かな文章です。")).action == "keep"


@pytest.mark.parametrize("page", ["en/records.md", "ja/records.md"])
def test_the_failure_that_the_guide_writes_out_is_valid(page):
    import yaml

    from yoriai.record import Failure

    text = (DOCS / page).read_text(encoding="utf-8")
    [block] = re.findall(r"```yaml\n(.*?)```", text, re.S)
    [failure] = yaml.safe_load(block)["failures"]
    assert Failure.model_validate(failure).cause == "config-slip"
