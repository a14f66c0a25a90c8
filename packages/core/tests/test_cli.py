"""The command line: exit codes, JSON, errors that help."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from yoriai import artifact, cli, environment, files
from yoriai.commands import doctor
from yoriai.errors import EXIT_CODES

COMMAND = """
import click
from yoriai import Entry, hookimpl

@hookimpl
def yoriai_commands():
    return [
        Entry(name="greet", target="ant.tools:greet", summary="Greets.", licence="MIT"),
        Entry(name="three", target="ant.tools:three", summary="No command.", licence="MIT"),
    ]
"""
TOOLS = """
import click

three = 3

@click.command()
@click.option("--json", "as_json", is_flag=True)
def greet(as_json):
    click.echo("konnichiwa")
"""


@pytest.fixture
def done(recipe, yoriai):
    assert yoriai("run", str(recipe())).code == 0
    return Path("build/lab")


def flip(path):
    body = bytearray(path.read_bytes())
    body[0] ^= 1
    path.write_bytes(body)


@pytest.mark.parametrize("name", cli.CORE_COMMANDS)
def test_every_command_explains_itself_with_an_example(name, yoriai):
    answer = yoriai(name, "--help")
    assert answer.code == 0
    group = cli._import_command(cli.CORE_COMMANDS[name][0])
    for verb in getattr(group, "commands", {"": group}):
        text = yoriai(name, *([verb] if verb else []), "--help").out
        assert "Examples:" in text
        assert "--json" in text


def test_help_imports_no_command(process):
    answer = process("--help")
    assert "run " in answer.out
    code = (
        "import sys, yoriai.cli\ntry: yoriai.cli.main(['--help'])\nexcept SystemExit: "
        "print([m for m in sys.modules if m.startswith('yoriai.commands') or m == 'pydantic'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("run", "lab.yaml", "--set", "nonsense"), 2, "usage"),
        (("run", "lab.yaml", "--colour"), 2, "usage"),
        (("nonsense",), 2, "usage"),
        (("run",), 2, "usage"),
        (("list", "filtres"), 2, "usage"),
        (("run", "no.yaml"), 3, "not-found"),
        (("run", "lab.yaml", "--until", "txt"), 3, "not-found"),
        (("verify", "nowhere"), 3, "not-found"),
        (("lineage", "nowhere"), 3, "not-found"),
        (("records", "list"), 3, "not-found"),
        (("records", "check"), 3, "not-found"),
        (("run", "lab.yaml", "--set", "words.note=x"), 4, "refused"),
        (("lineage", "build/lab/text@1"), 4, "altered"),
        (("run", "lab.yaml", "--out", "else", "--set", "words.crash=x"), 1, "plugin-failed"),
    ],
)
def test_an_error_is_words_on_stderr_json_on_stdout_and_the_documented_code(
    words, code, name, done, yoriai
):
    if name == "altered":
        flip(done / "text@1" / "artifact.json")
    answer = yoriai(*words, "--json")
    assert answer.code == code
    assert code in EXIT_CODES
    assert answer.json["error"]["code"] == name
    assert answer.err.rstrip().splitlines()[-2:] != []
    assert answer.json["error"]["message"].splitlines()[0] in answer.err
    plain = yoriai(*words)
    assert (plain.code, plain.out) == (code, "")


def test_without_a_command_the_help_is_shown_and_not_called_an_error(yoriai):
    answer = yoriai()
    assert answer.code == 2
    assert answer.err.startswith("Usage: yoriai")


def test_a_misspelt_command_is_answered_with_the_nearest(yoriai):
    assert "did you mean verify" in yoriai("verfy").err


def test_debug_shows_the_traceback(yoriai):
    with pytest.raises(Exception, match="no recipe"):
        yoriai("--debug", "run", "no.yaml")


# --- commands of plugins ------------------------------------------------------------------------


def test_a_plugin_brings_its_own_commands(plant, yoriai):
    plant("ant", COMMAND, files={"tools.py": TOOLS})
    assert "greet" in yoriai("--help").out
    assert "Greets." in yoriai("ant", "--help").out
    assert yoriai("ant", "greet").out == "konnichiwa\n"
    assert "did you mean greet" in yoriai("ant", "gret").err


def test_help_lists_only_the_plugins_that_were_chosen(plant, yoriai):
    plant("ant", COMMAND, files={"tools.py": TOOLS})
    assert "greet" not in yoriai("--plugins", "none", "--help").out


def test_a_command_that_is_none_names_its_plugin(plant, yoriai):
    plant("ant", COMMAND, files={"tools.py": TOOLS})
    answer = yoriai("ant", "three")
    assert answer.code == 5
    assert "ant/three is no click.Command" in answer.err


def test_the_command_of_a_broken_plugin_says_what_is_broken(plant, yoriai):
    plant("ant", "import nothing_of_the_kind")
    answer = yoriai("ant", "greet")
    assert answer.code == 5
    assert "plugin 'ant' is import-failed" in answer.err
    assert "pip install nothing_of_the_kind" in answer.err


def test_a_package_that_is_not_installed_is_named_with_the_line_that_installs_it():
    error = cli._no_command("corpus", [])
    assert "pip install yoriai-corpus" in error.message


NOUN = """
from yoriai import Entry, hookimpl

@hookimpl
def yoriai_commands():
    return [Entry(name="nest.{verb}", target="{name}.tools:greet", summary="By {name}.")]
"""


def test_a_command_called_noun_verb_stands_under_its_noun_also_beside_those_of_others(
    plant, yoriai
):
    plant("ant", COMMAND, files={"tools.py": TOOLS})
    plant("bee", NOUN.format(verb="build", name="bee"), files={"tools.py": TOOLS})
    plant("wasp", NOUN.format(verb="paper", name="wasp"), files={"tools.py": TOOLS})
    assert "build, paper" in yoriai("--help").out
    shown = yoriai("nest", "--help").out
    assert "Commands of the plugins 'bee', 'wasp'." in shown
    assert "By bee." in shown
    assert "By wasp." in shown
    assert yoriai("nest", "build").out == "konnichiwa\n"
    assert yoriai("ant", "greet").out == "konnichiwa\n"
    assert "no command 'bee'" in yoriai("bee", "build").err
    assert "did you mean paper" in yoriai("nest", "papr").err


def test_two_plugins_that_want_the_same_words_are_named_and_the_others_go_on(plant, yoriai):
    plant("bee", NOUN.format(verb="build", name="bee"), files={"tools.py": TOOLS})
    plant("wasp", NOUN.format(verb="build", name="wasp"), files={"tools.py": TOOLS})
    answer = yoriai("nest", "build")
    assert answer.code == 5
    assert "bee/nest.build and wasp/nest.build both want to be yoriai nest build" in answer.err
    assert yoriai("--plugins", "bee", "nest", "build").out == "konnichiwa\n"


# --- verify and lineage -------------------------------------------------------------------------


def test_verify_looks_at_every_artifact_of_a_folder(done, yoriai):
    answer = yoriai("verify", str(done), "--json")
    assert answer.json["whole"] is True
    assert [row["name"] for row in answer.json["artifacts"]] == ["lab/text@1", "lab/words@1"]
    assert yoriai("verify", str(done / "text@1")).out.startswith("whole  build/lab/text@1  1 files")


@pytest.mark.parametrize(
    "file",
    ["text@1/text.txt", "words@1/words.txt", "words@1/deep/count.txt", "words@1/artifact.json"],
)
def test_verify_names_the_altered_file_and_fails(file, done, yoriai):
    flip(done / file)
    plain = yoriai("verify", str(done))
    assert plain.code == 4
    assert f"build/lab/{file}" in plain.err
    answer = yoriai("verify", str(done), "--json")
    assert answer.code == 4
    assert answer.json["whole"] is False
    [finding] = [f for row in answer.json["artifacts"] for f in row["findings"]]
    assert file.endswith(finding["file"])


def test_verify_notices_a_manifest_that_was_taken_away(done, yoriai):
    (done / "words@1" / "artifact.json").unlink()
    answer = yoriai("verify", str(done))
    assert answer.code == 4
    assert "words@1/artifact.json is missing" in answer.err


def move(done, name, to):
    (done / name).rename(done / to)


def replace(done, name, by):
    shutil.rmtree(done / name)
    shutil.copytree(done / by, done / name)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda done: move(done, "words@1", "word@1"), ["word@1 was sealed as words@1"]),
        (lambda done: shutil.copytree(done / "words@1", done / "copy"), ["copy was sealed as"]),
        (
            lambda done: shutil.rmtree(done / "words@1"),
            ["words@1 is gone: lab/words@1 (", "text@1 came from it"],
        ),
        (lambda done: move(done, "words@1", "../words@1"), ["words@1 is gone: lab/words@1 ("]),
        (lambda done: shutil.rmtree(done / "text@1"), ["text@1 is gone: lab/text@1 (", "left it"]),
        (
            lambda done: replace(done, "words@1", "text@1"),
            ["words@1 was sealed as text@1", "words@1 is not lab/words@1 (", "superseded/ either"],
        ),
        (lambda done: os.mkfifo(done / "pipe"), ["pipe is a named pipe"]),
        (lambda done: (done / "link").symlink_to("/etc"), ["link is a symbolic link"]),
        (lambda done: (done / "page" / "x").symlink_to("."), ["page/x is a symbolic link"]),
        (
            lambda done: (done / "words@2").symlink_to("words@1"),
            ["words@2 was sealed as words@1", "words@2 is a symbolic link"],
        ),
    ],
)
def test_verify_names_what_is_not_as_a_run_left_it_in_its_folder(harm, words, done, yoriai):
    harm(done)
    plain = yoriai("verify", str(done))
    assert plain.code == 4
    answer = yoriai("verify", str(done), "--json")
    assert (answer.code, answer.json["whole"]) == (4, False)
    told = [f"build/lab/{f['file']} {f['problem']}" for f in answer.json["findings"]]
    for word in words:
        assert f"build/lab/{word}" in plain.err or word in plain.err
        assert any(word in line for line in told)


def test_verify_tells_of_folders_that_no_run_writes_and_passes(done, yoriai):
    (done / "empty").mkdir()
    (done / "mine" / "deep").mkdir(parents=True)
    (done / "published" / "words").mkdir(parents=True)
    (done / "published" / "words" / "release.json").write_text("{}")
    plain = yoriai("verify", str(done))
    assert plain.code == 0
    assert "note: empty folders that no run writes: empty\n" in plain.err
    assert "not looked into: mine\n" in plain.err
    answer = yoriai("verify", str(done), "--json").json
    assert (answer["whole"], answer["findings"], len(answer["notes"])) == (True, [], 2)


def test_verify_passes_a_folder_whose_inputs_stood_elsewhere_and_says_which_are_gone(
    done, recipe, yoriai
):
    other = recipe("name: other\nlicence: MIT\nsteps: {text: {uses: lab/join, from: FROM}}".replace(
        "FROM", f"{done.resolve() / 'words@1'}"
    ))  # fmt: skip
    assert yoriai("run", str(other)).code == 0
    answer = yoriai("verify", "build/other")
    assert (answer.code, answer.err) == (0, "")
    shutil.rmtree(done / "words@1")
    answer = yoriai("verify", "build/other")
    assert answer.code == 0
    assert "is no longer where it stood: ../lab/words@1" in answer.err


def test_verify_passes_what_was_replaced_with_a_reason_while_the_former_is_kept(
    done, recipe, yoriai
):
    changed = [str(recipe()), "--set", "words.note=x", "--allow-drift", "why", "--until", "words"]
    assert yoriai("run", *changed).code == 0
    answer = yoriai("verify", str(done))
    assert (answer.code, answer.err) == (0, "")
    shutil.rmtree(done / "superseded")
    answer = yoriai("verify", str(done))
    assert answer.code == 4
    assert "words@1 is not lab/words@1 (" in answer.err


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("removals.jsonl", "artifacts", ""),
        (".removal.json", "changed", "tells of a removal that did not end"),
    ],
)
def test_verify_passes_what_a_removal_made_anew_or_was_about_to(name, key, words, done, yoriai):
    former = artifact.open_artifact(done / "words@1").digest
    shutil.rmtree(done / "words@1")
    told = {key: [{"before": former, "digest": former}]}
    line = json.dumps(told).encode() + b"\n"
    (done / name).write_bytes(line if key == "artifacts" else files.canonical_json(told))
    answer = yoriai("verify", str(done))
    assert answer.code == 0
    assert (
        f"({former[:12]}; text@1 came from it) was made anew or deleted by a removal" in answer.err
    )
    assert words in answer.err


def test_artifacts_that_were_copied_alone_are_whole_and_what_they_came_from_is_a_note(done, yoriai):
    shutil.copytree(done / "text@1", "mine/best-text")
    answer = yoriai("verify", "mine")
    assert answer.code == 0
    assert "mine/best-text was sealed as text@1" in answer.err
    assert "words@1 is gone: lab/words@1 (" in answer.err
    answer = yoriai("verify", "mine/best-text")
    assert (answer.code, answer.err) == (0, "")


def test_lineage_ends_at_the_sources(done, yoriai):
    lines = yoriai("lineage", str(done / "text@1")).out.splitlines()
    assert lines[0].startswith("lab/text@1  text by lab/join")
    assert lines[1].startswith("  lab/words@1  words by lab/words")
    assert lines[2] == "    source lab 1  [CC0-1.0]"


# --- run ----------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_plan_and_touches_nothing(recipe, yoriai):
    plan = yoriai("run", str(recipe()), "--dry-run", "--json").json
    assert [(row["step"], row["action"]) for row in plan["plan"]] == [
        ("words", "build"), ("text", "waits"),
    ]  # fmt: skip
    assert not Path("build").exists()
    yoriai("run", str(recipe()))
    text = yoriai("run", str(recipe()), "--dry-run", "--set", "words.note=x").out
    assert "REFUSED" in text
    assert "config.note:  is now x" in text


OUTLOOK = """
from yoriai import Entry, hookimpl

@hookimpl
def yoriai_steps():
    names = ("far", "near")
    return [Entry(name=n, target=f"seer.steps:{n.title()}", summary="Sees.") for n in names]
"""
SEERS = '''
from yoriai import NotFound, Step


class Far(Step):
    """Its data is on another machine."""

    makes = "far"

    def fingerprint(self):
        raise NotFound("no file matches data/*.zst")

    def expect(self, inputs):
        return {"tokens": 1_000_000, "flop": 2e22, "reads": ["a", "b"]}


class Near(Step):
    """Knows what the one before it expects."""

    makes = "near"
    takes = ("far",)

    def expect(self, inputs):
        [far] = inputs
        return {"tokens_of": {"ja": far["tokens"] // 2}}
'''


def test_a_dry_run_says_what_steps_expect_also_where_their_data_is_not(plant, yoriai, tmp_path):
    plant("seer", OUTLOOK, files={"steps.py": SEERS})
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: r\nlicence: MIT\n"
        "steps:\n  one: {uses: seer/far}\n  two: {uses: seer/near, from: one}\n"
    )
    plan = yoriai("run", str(path), "--dry-run", "--json").json["plan"]
    assert [(row["action"], row["reasons"]) for row in plan] == [
        ("absent", ["no file matches data/*.zst"]), ("waits", []),
    ]  # fmt: skip
    assert plan[1]["expects"] == {"tokens_of": {"ja": 500_000}}
    lines = [line.strip() for line in yoriai("run", str(path), "--dry-run").out.splitlines()]
    assert lines[3].endswith("cannot run: its data is not here")
    assert lines[4:9] == [
        "no file matches data/*.zst", "tokens: 1,000,000", "flop: 2e+22", "reads: a", "reads: b",
    ]  # fmt: skip
    assert lines[10] == "tokens of: ja 500,000"
    assert yoriai("run", str(path)).code == 3


def test_a_run_prints_its_summary_on_stdout_and_its_progress_on_stderr(recipe, yoriai):
    answer = yoriai("run", str(recipe()))
    assert "3 words" in answer.out
    assert "yoriai verify build/lab" in answer.out
    assert "words: lab/words starts" in answer.err
    value = yoriai("run", str(recipe()), "--json").json
    assert value["state"] == "completed"
    assert value["facts"]["words"]["count"] == 3
    assert Path(value["page"]).is_file()
    assert Path(value["record"]).is_file()


# --- doctor ---------------------------------------------------------------------------------------


def test_the_doctor_is_content_with_a_sound_machine(lab, yoriai):
    answer = yoriai("doctor", "--json")
    names = {check["name"] for check in answer.json["checks"]}
    assert {"python", "plugin lab", "C++ compiler", "disk", "memory", "GPU"} <= names
    assert answer.json["ready"] is True
    assert answer.code == 0


def test_the_doctor_names_what_is_broken_and_what_to_do(plant, yoriai):
    plant("bad", "import nothing_of_the_kind")
    answer = yoriai("doctor", "--json")
    assert answer.code == 1
    [check] = [c for c in answer.json["checks"] if c["state"] == "bad"]
    assert check["remedy"] == "pip install nothing_of_the_kind"


def test_the_doctor_notices_a_full_disk_and_a_small_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "MINIMUM_FREE_MB", 2**60)
    monkeypatch.setattr(environment, "memory_mb", lambda: 2000)
    assert doctor._disk(tmp_path / "not" / "yet").state == "bad"
    assert doctor._memory().state == "note"


def test_the_doctor_finds_no_compiler_where_there_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    assert doctor._compiler().state == "note"


def test_json_is_one_object_for_every_listing(lab, yoriai):
    for words in (["plugins"], ["list"], ["list", "steps"], ["doctor"]):
        assert isinstance(json.loads(yoriai(*words, "--json").out), dict)


@pytest.mark.parametrize("given", [None, "active"])
def test_threads_sleep_while_they_wait_unless_the_environment_says_otherwise(given, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    with contextlib.suppress(SystemExit):
        cli.main(["--version"])
    assert os.environ["OMP_WAIT_POLICY"] == (given or "passive")


@pytest.mark.parametrize("module", ["pyarrow.lib", "safetensors_rust", "jinja2.exceptions", "zlib"])
def test_what_a_reader_of_files_raises_is_a_refusal_and_names_verify(yoriai, monkeypatch, module):
    damage = type("Damage", (Exception,), {"__module__": module})

    def fail(folder):
        raise damage("bad bytes " * 100)

    monkeypatch.setattr("yoriai.commands.runs._runs_of", fail)
    answer = yoriai("runs", "list", ".", "--json")
    assert answer.code == 4
    assert answer.json["error"]["code"] == "refused"
    assert "yoriai verify" in answer.json["error"]["hint"]
    assert "unexpected" not in answer.err
    assert len(answer.json["error"]["message"]) < 500


@pytest.mark.parametrize("facts", [{"a": 1}, {"a": []}, {"a": {"b": "x"}}, {}])
def test_an_artifact_whose_facts_have_another_form_is_refused_by_name(
    yoriai, monkeypatch, tmp_path, facts
):
    out = tmp_path / "out"
    out.mkdir()
    identity = {
        "kind": "corpus", "name": "made/text@1", "step": "", "config": {}, "code": [], "seed": 0,
        "outside": {}, "inputs": [], "sources": [], "licence": "", "facts": facts,
    }  # fmt: skip
    artifact.seal(out, tmp_path / "text@1", identity=identity, circumstances={})

    def read(folder):
        return artifact.open_artifact(folder / "text@1").facts["a"]["b"] / 2

    monkeypatch.setattr("yoriai.commands.runs._runs_of", read)
    answer = yoriai("runs", "list", str(tmp_path))
    assert answer.code == 4
    assert "text@1" in answer.err
    assert "unexpected" not in answer.err

    class PanicException(BaseException):
        """As pyo3 has it: what a library in Rust calls a panic."""

    def panic(folder):
        artifact.open_artifact(folder / "text@1")
        raise PanicException("retry-limit-in-match over")

    monkeypatch.setattr("yoriai.commands.runs._runs_of", panic)
    answer = yoriai("runs", "list", str(tmp_path))
    assert answer.code == 4
    assert "text@1: PanicException: retry-limit-in-match over" in answer.err
    monkeypatch.setattr("yoriai.commands.runs._runs_of", lambda folder: {}["a"])
    assert "unexpected KeyError" in yoriai("runs", "list", str(tmp_path)).err


@pytest.mark.parametrize("name", ["ENOSPC", "EROFS", "EDQUOT", "EACCES", "EISDIR", "EIO", "ENOENT"])
def test_a_file_that_cannot_be_read_or_written_is_named_by_every_command(yoriai, monkeypatch, name):
    number = getattr(errno, name)

    def fail(folder):
        raise OSError(number, os.strerror(number), "there/index.html")

    monkeypatch.setattr("yoriai.commands.runs._runs_of", fail)
    answer = yoriai("runs", "list", ".")
    assert answer.code == (3 if name == "ENOENT" else 1)
    assert "index.html" in answer.err
    assert os.strerror(number) in answer.err
    assert "unexpected" not in answer.err


@pytest.mark.parametrize("value", ["nan", "inf", "-5", "1e400", "-0.1", "9e99", "x"])
def test_a_time_limit_is_a_number_of_minutes(recipe, yoriai, value):
    answer = yoriai("run", str(recipe()), "--time-limit", value)
    assert answer.code == 2
    assert "--time-limit" in answer.err
    assert not Path("build").exists()


LONG = "x" * 5000


@pytest.mark.parametrize(
    "words",
    [
        ("run", LONG),
        ("run", "RECIPE", "--until", LONG),
        ("run", "RECIPE", "--time-limit", LONG),
        ("run", "RECIPE", "--out", LONG),
        ("run", "RECIPE", "--dry-run", "--set", f"{LONG}=1"),
        ("run", "RECIPE", "--dry-run", "--set", f"words.{LONG}=1"),
        ("run", "RECIPE", "--dry-run", "--set", f"words.words={'9' * 5000}"),
        ("run", "RECIPE", "--dry-run", "--set", f"words.uses={LONG}"),
        ("run", "RECIPE", "--dry-run", "--set", f"words.from={LONG}"),
        ("run", "RECIPE", f"--{LONG}"),
        (LONG,),
        ("list", LONG),
        ("--plugins", LONG, "list"),
        ("new", "plugin", LONG),
        ("verify", LONG),
        ("lineage", LONG),
        ("runs", "show", LONG),
        ("records", "show", LONG),
    ],
    ids=lambda words: " ".join(word[:20] for word in words),
)
def test_no_message_echoes_five_thousand_characters(recipe, yoriai, words):
    path = str(recipe())
    answer = yoriai(*[path if word == "RECIPE" else word for word in words])
    assert answer.code in (2, 3)
    assert len(answer.err) < 1500
    assert "unexpected" not in answer.err
