"""Loading plugins: whatever one of them does, the others work."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Entry, stopping
from yoriai.errors import NotFound, PluginBroken, UsageError
from yoriai.plugins import load_registry

HOOK = """
from yoriai import Entry, hookimpl

@hookimpl
def yoriai_filters({arguments}):
    {body}
"""
UPGRADE = "pip install -U bad"
# name, code of the plugin's module, what else plant() takes, status, a part of reason and remedy
BROKEN = {
    "missing-import": ("import no_such_module_here.deep", {}, "import-failed",
                       "No module named 'no_such_module_here'", "pip install no_such_module_here"),
    "bad-import": ("from yoriai import NoSuchName", {}, "import-failed", "NoSuchName", UPGRADE),
    "syntax": ("def (:\n", {}, "import-failed", "SyntaxError", UPGRADE),
    "exits": ("import sys; sys.exit(3)", {}, "import-failed", "SystemExit: 3", UPGRADE),
    "raises-base": ("raise BaseException('no')", {}, "import-failed", "no", UPGRADE),
    "signature": (HOOK.format(arguments="manager", body="return []"), {}, "rejected",
                  "manager", "tell its authors"),
    "unknown-hook": (HOOK.format(arguments="", body="return []").replace("_filters", "_filter"),
                     {}, "rejected", "did you mean 'yoriai_filters'", "tell its authors"),
    "raising": (HOOK.format(arguments="", body="raise KeyError('lost')"), {}, "raised",
                "yoriai_filters: KeyError: 'lost'", UPGRADE),
    "exiting-hook": (HOOK.format(arguments="", body="raise SystemExit(0)"), {}, "raised",
                     "SystemExit", UPGRADE),
    "no-answer": (HOOK.format(arguments="", body="return None"), {}, "raised",
                  "TypeError", UPGRADE),
    "newer-core": ("", {"requires": ("yoriai-core>=99",)}, "needs-newer-core",
                   "it wants yoriai-core>=99", "pip install 'yoriai-core>=99'"),
    "older-core": ("", {"requires": ("Yoriai_Core<0.0.2",)}, "rejected",
                   "it wants yoriai-core<0.0.2", UPGRADE),
    "no-module": ("VALUE = 3", {"point": "bad._plugin:VALUE"}, "rejected", "__dict__",
                  "tell its authors"),
    "no-metadata": ("import nothing_of_the_kind", {"metadata": False}, "import-failed",
                    "nothing_of_the_kind", "pip install nothing_of_the_kind"),
}  # fmt: skip


@pytest.fixture
def four_good(plant):
    for name in ("ant", "bee", "cat", "dog"):
        plant(name)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_a_row_and_the_four_good_ones_work(case, plant, four_good):
    code, options, status, reason, remedy = BROKEN[case]
    plant("bad", code, **options)
    registry = load_registry()
    row = next(p for p in registry.plugins if p.name == "bad")
    assert row.status == status
    assert reason in row.reason
    assert remedy in row.remedy
    names = [found.name for found in registry.found("filters")]
    assert names == ["ant/rule", "bee/rule", "cat/rule", "dog/rule"]


@pytest.mark.parametrize("case", ["missing-import", "signature", "raising", "newer-core"])
def test_the_command_shows_status_reason_and_remedy_and_strict_stops(
    case, plant, four_good, yoriai
):
    code, options, status, reason, remedy = BROKEN[case]
    plant("bad", code, **options)
    rows = {row["name"]: row for row in yoriai("plugins", "--json").json["plugins"]}
    assert rows["bad"]["status"] == status
    assert reason in rows["bad"]["reason"]
    assert remedy in rows["bad"]["remedy"]
    assert [rows[name]["status"] for name in ("ant", "bee", "cat", "dog")] == ["ok"] * 4
    assert rows["ant"]["entries"] == {"filters": 1}
    strict = yoriai("--strict", "plugins", "--json")
    assert strict.code == 5
    assert strict.json["error"]["code"] == "plugin-broken"
    assert "bad" in strict.json["error"]["message"]


def test_of_two_distributions_with_one_plugin_name_the_projects_own_wins(plant):
    plant("twin", distribution="acme-twin")
    plant("twin", distribution="yoriai-twin")
    first, second = [p for p in load_registry().plugins if p.name == "twin"]
    assert (first.distribution, first.status) == ("yoriai-twin", "ok")
    assert (second.distribution, second.status) == ("acme-twin", "duplicate")
    assert "yoriai-twin" in second.reason
    assert second.remedy == "pip uninstall acme-twin"


def test_a_requirement_on_a_package_with_a_similar_name_is_not_one_on_core(plant):
    plant("ant", requires=("yoriai-core-tools>=99", "yoriai-core>=99; extra == 'later'"))
    assert next(p for p in load_registry().plugins if p.name == "ant").status == "ok"


def test_what_a_plugin_prints_while_it_is_imported_does_not_spoil_json(plant, process):
    plant(
        "loud", "print('HELLO')\n" + HOOK.format(arguments="", body="print('MORE')\n    return []")
    )
    answer = process("plugins", "--json")
    assert answer.json["core"]
    assert "HELLO" in answer.err


def test_the_keyboard_still_interrupts_an_import(plant):
    code = "import os, signal, threading\nos.kill(os.getpid(), signal.SIGINT)\n"
    # A name of its own: what is interrupted may hold its module's import lock a moment longer.
    plant("interrupted", code + "while True: threading.Event().wait(0.01)")
    with pytest.raises(KeyboardInterrupt):
        load_registry()


# What a plugin may do to its process while it is imported or asked, and what its row says of it.
ROUGH = {
    "writes to descriptors": ("os.write(1, b'RAW'); os.write(2, b'RAW')", ""),
    "prints escapes": ("print('\\x1b[2J\\x1b]0;T\\x07')", ""),
    "prints a megabyte": ("os.write(1, b'x' * 10**6)", ""),
    "closes streams": ("sys.stdout.close(); sys.stderr.close(); sys.stdin.close()", ""),
    "closes hidden streams": ("sys.__stdout__.close(); sys.__stderr__.close()", ""),
    "closes descriptors": ("os.close(0); os.close(1); os.close(2)", ""),
    "takes streams away": ("sys.stdout = sys.stderr = sys.stdin = None", ""),
    "changes folder": ("os.chdir('/')", "working folder (put back)"),
    "enters a folder and deletes it": (
        "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')", "working folder (put back)"),
    "changes variables": ("os.environ.update(HOME='/x', NEW='1')", "HOME, NEW (put back)"),
    "clears variables": ("os.environ.clear()", "(put back)"),
    "replaces variables": ("os.environ = {}", "replaced os.environ (put back)"),
    "empties the path": ("sys.path.clear()", "changed sys.path (put back)"),
    "takes the finders away": ("sys.meta_path = None", "changed sys.meta_path (put back)"),
    "takes the hook away": ("sys.excepthook = None", "changed sys.excepthook (put back)"),
    "asks the user": ("sys.stdin.read()", ""),
}  # fmt: skip
DO = "import os, sys, threading, time\n"


@pytest.mark.parametrize("when", ["imported", "asked"])
@pytest.mark.parametrize("case", ROUGH)
def test_a_rough_plugin_leaves_the_process_as_it_was(case, when, plant, process):
    deed, note = ROUGH[case]
    body = f"{deed}; return []" if when == "asked" else "return []"
    plant("bad", DO + (deed if when == "imported" else "") + HOOK.format(arguments="", body=body))
    plant("good")
    answer = process("plugins", "--json", HOME="/home/somebody")
    rows = {row["name"]: row for row in answer.json["plugins"]}
    assert answer.code == 0
    assert [rows[name]["status"] for name in ("bad", "good")] == ["ok", "ok"], rows
    assert note in " ".join(rows["bad"]["notes"])
    assert bool(rows["bad"]["notes"]) == bool(note)
    assert "\x1b" not in answer.err
    assert len(answer.err) < 5_000


def test_the_place_and_the_variables_are_those_from_before(plant, tmp_path, monkeypatch):
    import os

    deeds = "os.chdir('/'); os.environ.clear()\n"
    plant("bad", DO + deeds + HOOK.format(arguments="", body="return []"))
    before = dict(os.environ)
    load_registry()
    assert os.environ == before
    assert os.getcwd() == str(tmp_path)


BASE = ["raise KeyboardInterrupt", "raise GeneratorExit", "raise BaseException('x')",
        "sys.exit(0)",
        "raise type('E', (BaseException,), {'__str__': lambda e: 1 / 0})()"]  # fmt: skip


@pytest.mark.parametrize("deed", BASE)
@pytest.mark.parametrize("when", ["imported", "asked", "asked for the second entry"])
def test_whatever_a_plugin_raises_is_a_row(deed, when, plant, four_good):
    code = {
        "imported": DO + deed,
        "asked": DO + HOOK.format(arguments="", body=deed),
        "asked for the second entry": DO
        + HOOK.format(
            arguments="",
            body=f"yield Entry(name='a', target='m:a', summary='s'); {deed}"
            if not deed.startswith("raise type")
            else f"yield Entry(name='a', target='m:a', summary='s')\n    {deed}",
        ),
    }[when]
    plant("bad", code)
    registry = load_registry()
    row = next(p for p in registry.plugins if p.name == "bad")
    assert row.status == ("import-failed" if when == "imported" else "raised")
    assert len(registry.found("filters")) == 4


@pytest.mark.parametrize(
    ("name", "deed"),
    [
        ("busy", "while True: pass"),
        ("waiting", "threading.Event().wait()"),
        ("stubborn", "while True:\n    try: time.sleep(9)\n    except BaseException: pass"),
        ("endless", HOOK.format(arguments="", body="yield from iter(int, 1)")),
        ("more", HOOK.format(
            arguments="",
            body="n = 0\n    while True:\n        n += 1\n"
                 "        yield Entry(name=f'e{n}', target='m:a', summary='s')")),
    ],
)  # fmt: skip
def test_a_plugin_that_does_not_end_is_left_behind_and_told(name, deed, plant, process):
    plant(name, DO + deed)
    endless = name in ("busy", "waiting", "stubborn")
    answer = process("plugins", "--json", YORIAI_PLUGIN_SECONDS="1" if endless else "120")
    [row] = [row for row in answer.json["plugins"] if row["name"] == name]
    assert answer.code == 0
    if endless:
        assert row["status"] == "too-slow"
        assert "did not end within 1 seconds" in row["reason"]
        assert f"--plugins -{name}" in row["remedy"]
    else:
        assert row["status"] == "raised"


def test_a_limit_that_is_no_number_of_seconds_is_refused(four_good, yoriai, monkeypatch):
    for told in ("nan", "-1", "0", "soon", "inf"):
        monkeypatch.setenv("YORIAI_PLUGIN_SECONDS", told)
        assert yoriai("plugins").code == 2


@pytest.mark.parametrize("deed", ["raise KeyboardInterrupt", "raise GeneratorExit"])
def test_whatever_a_moment_hook_raises_is_an_ordinary_error(deed, plant):
    plant("ant", HOOK.format(arguments="", body=deed).replace("filters", "run_started"))
    [(_, hook)] = list(load_registry().moments("yoriai_run_started"))
    with pytest.raises(RuntimeError, match=deed.split()[-1]):
        hook(run=None)


def test_a_moment_hook_that_answers_piece_by_piece_is_asked_for_all_of_it_at_once(plant):
    code = HOOK.format(arguments="", body="yield 1; raise KeyboardInterrupt")
    plant("ant", code.replace("filters", "sections"))
    [(_, hook)] = list(load_registry().moments("yoriai_sections"))
    with pytest.raises(RuntimeError, match="KeyboardInterrupt"):
        hook(artifact=None)


HOSTILE = "f\\x1b[31m\\x07"
SUMMARY = "s\\x1b]0;TITLE\\x07\\nFAKE ROW  ok \\u202e \\x9b2J"


@pytest.mark.parametrize("command", [["list", "filters"], ["plugins"], ["plugins", "--json"],
                                     ["list", "filters", "--json"], ["--help"]])  # fmt: skip
@pytest.mark.parametrize("field", ["name", "summary", "licence", "error"])
def test_a_terminal_is_never_sent_what_others_want_it_to_do(command, field, plant, process):
    words = {"name": HOSTILE if field == "name" else "rule",
             "summary": SUMMARY if field == "summary" else "s",
             "licence": SUMMARY if field == "licence" else ""}  # fmt: skip
    told = ", ".join(f"{key}='{value}'" for key, value in words.items())
    body = f"return [Entry({told}, target='a:b')]"
    if field == "error":
        body = f"raise ValueError('{SUMMARY}')"
    plant("bad", HOOK.format(arguments="", body=body))
    answer = process(*command)
    assert answer.code == 0
    for acting in "\x1b\x07\x9b\u202e":
        assert acting not in answer.out + answer.err
    assert not any(line.startswith("FAKE ROW") for line in answer.out.splitlines())


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a b", "a/b", "x" * 5000, "-a", "a,b"])
def test_a_plugin_whose_name_is_no_word_is_a_row(name):
    point = metadata.EntryPoint(name, "yoriai.entry", "yoriai")
    [row] = load_registry(entry_points=[point]).plugins
    assert row.status == "rejected"
    assert "\x1b" not in row.name
    assert len(row.name) < 300


@pytest.mark.parametrize(
    ("selection", "loaded"),
    [("none", []), ("ant,dog", ["ant", "dog"]), ("-ant", ["bee", "cat", "dog"])],
)
def test_plugins_are_chosen_by_option_and_by_environment(
    selection, loaded, four_good, yoriai, monkeypatch
):
    wanted = selection if selection != "-ant" else f"ant,bee,cat,dog,{selection}"

    def ok(answer):
        return [row["name"] for row in answer.json["plugins"] if row["status"] == "ok"]

    assert ok(yoriai("--plugins", wanted, "plugins", "--json")) == loaded
    monkeypatch.setenv("YORIAI_PLUGINS", wanted)
    assert ok(yoriai("plugins", "--json")) == loaded


def test_a_disabled_plugin_is_not_imported_and_is_no_fault_in_strict_mode(plant, yoriai):
    plant("bad", "raise RuntimeError('was imported')")
    answer = yoriai("--strict", "--plugins", "none", "plugins", "--json")
    assert answer.code == 0
    assert {row["status"] for row in answer.json["plugins"]} == {"disabled"}


def test_listing_imports_nothing_heavy(four_good, lab):
    code = """if True:
        import json, sys
        from yoriai.cli import main
        try:
            main(["list", "filters", "--json"])
        except SystemExit:
            print("@", json.dumps(sorted({m.partition(".")[0] for m in sys.modules})))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout.rpartition("@")[2]))
    assert "lab" in modules
    heavy = {"pydantic", "numpy", "torch", "yaml", "rich", "matplotlib", "pyarrow", "asyncio"}
    assert modules & heavy == set()


def test_an_entry_that_lacks_a_distribution_names_it_before_anything_is_imported(plant, yoriai):
    plant("ant", GOOD_WITH_NEEDS)
    row = yoriai("list", "filters", "--json").json["filters"][0]
    assert row["missing"] == ["no-such-dist"]
    registry = load_registry()
    with pytest.raises(NotFound) as caught:
        registry.load(registry.get("filters", "ant/rule"))
    assert caught.value.hint == "pip install no-such-dist"


GOOD_WITH_NEEDS = HOOK.format(
    arguments="",
    body="return [Entry(name='rule', target='nowhere:X', summary='s', requires=('no-such-dist',))]",
)


@pytest.mark.parametrize("body", ["raise SystemExit(1)", "def (", "import nowhere_to_be", "X = 1"])
def test_a_target_that_cannot_be_imported_names_its_plugin(body, plant):
    plant("ant", files={"rules.py": body})
    registry = load_registry()
    with pytest.raises(PluginBroken, match=r"ant/rule cannot be loaded from ant\.rules:Rule"):
        registry.load(registry.get("filters", "ant/rule"))


def test_a_bare_name_is_enough_where_one_plugin_offers_it(four_good, plant):
    assert load_registry("ant").get("filters", "rule").name == "ant/rule"
    with pytest.raises(UsageError, match="ant/rule or bee/rule or cat/rule or dog/rule"):
        load_registry().get("filters", "rule")


def test_a_wrong_name_is_answered_with_the_nearest(four_good):
    with pytest.raises(NotFound, match="did you mean 'ant/rule'"):
        load_registry().get("filters", "ant/rul")
    with pytest.raises(UsageError) as caught:
        load_registry().found("filtres")
    assert caught.value.hint == "yoriai list filters"


def test_asking_for_an_entry_of_a_broken_plugin_says_why_it_is_not_there(plant):
    plant("bad", "import nothing_of_the_kind")
    with pytest.raises(NotFound, match="plugin 'bad' is import-failed") as caught:
        load_registry().get("strategies", "bad/zero")
    assert caught.value.message.startswith("no strategy ")
    assert caught.value.hint == "pip install nothing_of_the_kind"


def test_a_moment_hook_is_handed_only_what_it_asks_for(plant):
    plant(
        "ant",
        HOOK.format(arguments="", body="return {'a': 1}").replace("filters", "run_started"),
    )
    [(name, hook)] = list(load_registry().moments("yoriai_run_started"))
    assert (name, hook(run=None)) == ("ant", {"a": 1})


def test_without_any_plugin_the_registry_is_empty_and_sound():
    registry = load_registry(entry_points=list[metadata.EntryPoint]())
    registry.require_sound()
    assert registry.found("tasks") == []


@pytest.mark.parametrize(
    "wrong",
    [{"name": "a/b"}, {"name": ""}, {"name": " a"}, {"target": "module"}, {"summary": ""},
     {"requires": "torch"}, {"requires": (3,)}, {"requires": 3}, {"requires": ("a;b",)},
     {"name": 3}, {"name": "a b"}, {"name": "a\x1b[31m"}, {"name": "x" * 101}, {"summary": None},
     {"summary": "x" * 501}, {"target": b"m:a"}, {"target": "m:a.b"}, {"target": "m;x:a"},
     {"stability": "sure"}, {"since": 1}, {"licence": None}],
)  # fmt: skip
def test_an_entry_checks_itself(wrong):
    with pytest.raises((ValueError, TypeError)):
        Entry(**{"name": "a", "target": "m:a", "summary": "s", **wrong})


def test_an_entry_shows_what_it_was_told_and_does_nothing_on_a_terminal():
    entry = Entry(name="a", target="m:a", summary="s\x1b[2J\nFAKE", requires=["x"], licence="\x9b")
    assert entry.summary == r"s\x1b[2J FAKE"
    assert entry.licence == r"\x9b"
    assert entry.requires == ("x",)


# An entry that cannot be used, as its hook writes it, and a part of what is said of it.
BAD_ENTRIES = {
    "numbers in requires": ("Entry(name='x', target='m:a', summary='s', requires=(3,))", "not int"),
    "no summary": ("Entry(name='x', target='m:a')", "summary"),
    "unknown field": ("Entry(name='x', target='m:a', summary='s', colour=3)", "colour"),
    "no text": ("Entry(name=None, target=3, summary=[])", "name is text, not NoneType"),
    "escapes": ("Entry(name='x\\x1b[2J', target='m:a', summary='s')", "one word"),
    "no target": ("Entry(name='x', target='/etc/passwd', summary='s')", "package.module:attribute"),
    "dict": ("{'name': 'x'}", "is of type dict, expected yoriai.Entry"),
    "nothing": ("None", "is of type NoneType"),
    "twice": ("Entry(name='good', target='m:b', summary='other')", "the first is offered"),
    "changed later": ("changed", "requires is text, not int"),
    "unreadable": ("object.__new__(Unreadable)", "RuntimeError"),
    "ends the process": ("object.__new__(Exiting)", "SystemExit"),
}
SETUP = """
from yoriai import Entry

class Unreadable(Entry):
    def __getattribute__(self, name):
        raise RuntimeError(name)

class Exiting(Entry):
    def __getattribute__(self, name):
        raise SystemExit(0)

changed = Entry(name="x", target="m:a", summary="s")
object.__setattr__(changed, "requires", (3,))
"""


@pytest.mark.parametrize("case", BAD_ENTRIES)
def test_a_bad_entry_costs_its_own_row_and_the_others_of_its_plugin_are_offered(
    case, plant, yoriai
):
    written, reason = BAD_ENTRIES[case]
    made = "Entry(name='{}', target='bad.rules:Rule', summary='s')"
    body = f"return [{made.format('good')}, {written}, {made.format('last')}]"
    plant("bad", SETUP + HOOK.format(arguments="", body=body), files={"rules.py": "Rule = 3"})
    yoriai = functools.partial(yoriai, "--plugins", "bad")
    rows = yoriai("plugins", "--json").json["plugins"]
    [row] = [row for row in rows if row["name"] == "bad"]
    assert (row["status"], row["entries"]) == ("ok", {"filters": 2})
    [refused] = row["refused"]
    assert refused["kind"] == "filters"
    assert reason in refused["reason"]
    listed = yoriai("list", "filters", "--json").json
    assert [item["name"] for item in listed["filters"]] == ["bad/good", "bad/last"]
    assert [item["reason"] for item in listed["refused"]] == [refused["reason"]]
    assert "1 more were refused" in yoriai("list").err
    for words in (["plugins"], ["list", "filters"]):
        shown = yoriai(*words).out
        assert refused["reason"] in shown
        assert "\x1b" not in shown
    registry = load_registry("bad")
    assert registry.load(registry.get("filters", "bad/last")) == 3
    with pytest.raises(PluginBroken, match="bad: filters"):
        registry.require_sound()


def test_who_asks_for_a_refused_entry_is_told_why(plant):
    body = "return [Entry(name='x', target='m:a', summary='s', requires=(3,))]"
    plant("bad", HOOK.format(arguments="", body=body))
    with pytest.raises(NotFound, match="was refused: requires is text, not int") as caught:
        load_registry().get("filters", "bad/x")
    assert caught.value.hint == UPGRADE


def test_a_thousand_bad_entries_are_counted_and_twenty_shown(plant, yoriai):
    plant("bad", HOOK.format(arguments="", body="return [None] * 1000"))
    shown = yoriai("--plugins", "bad", "list", "filters").out
    assert "and 980 more were refused" in shown
    assert len(shown.splitlines()) < 30


ENDLESS = {
    "busy": "while True: pass",
    "waiting": "threading.Event().wait()",
    "sleeping": "time.sleep(10**6)",
    "reads": "os.read(os.pipe()[0], 1)",
}
STUBBORN = "while True:\n    try: time.sleep(9)\n    except BaseException: pass"


@pytest.mark.parametrize("case", ENDLESS)
def test_an_entry_whose_import_does_not_end_is_broken_off_and_told(case, plant, monkeypatch):
    name = f"endless_{case}"
    plant(name, files={"rules.py": DO + ENDLESS[case]})
    monkeypatch.setenv("YORIAI_PLUGIN_SECONDS", "0.3")
    former = signal.getsignal(signal.SIGVTALRM)
    registry = load_registry()
    with pytest.raises(PluginBroken, match=r"did not end within 0\.3 seconds"):
        registry.load(registry.get("filters", f"{name}/rule"))
    assert signal.getsignal(signal.SIGVTALRM) == former
    assert f"{name}.rules" not in sys.modules


def test_in_another_thread_too_an_endless_import_is_broken_off(plant, monkeypatch):
    plant("elsewhere", files={"rules.py": "while True: pass"})
    monkeypatch.setenv("YORIAI_PLUGIN_SECONDS", "0.3")
    registry = load_registry()
    found = registry.get("filters", "elsewhere/rule")
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(registry.load, found).exception()
    assert isinstance(error, PluginBroken)
    assert "did not end" in error.message


def test_an_import_that_catches_everything_ends_the_process_with_words(plant, process):
    code = f"""
from yoriai import foreign_code
foreign_code._TOLD_TIMES = 1
{DO}
def stubborn():
{textwrap.indent(STUBBORN, "    ")}
foreign_code.within(stubborn, 0.2, "importing bad/rule")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == PluginBroken.exit_code
    assert "importing bad/rule did not end within 0.2 seconds" in done.stderr


def test_a_signal_of_the_scheduler_during_an_import_is_no_fault_of_the_plugin(plant):
    plant("ant", files={"rules.py": DO + "import signal; os.kill(os.getpid(), signal.SIGTERM)"})
    registry = load_registry()
    with stopping.orderly_end(), pytest.raises(stopping.StopRequest):
        registry.load(registry.get("filters", "ant/rule"))


def test_a_misspelt_name_in_a_selection_is_refused_with_the_nearest():
    points = [metadata.EntryPoint("corpus", "yoriai.entry", "yoriai")]
    with pytest.raises(UsageError) as caught:
        load_registry("corpsu", entry_points=points)
    assert "corpsu" in caught.value.message
    assert "'corpus'" in caught.value.hint


def test_a_plugin_to_leave_out_need_not_be_installed():
    points = [metadata.EntryPoint("corpus", "yoriai.entry", "yoriai")]
    assert load_registry("-acme", entry_points=points).plugins[0].status == "ok"


def test_the_public_names_are_those_of_the_lazy_table():
    import yoriai

    assert yoriai.__all__ == sorted({"Entry", "hookimpl", *yoriai._MODULE_OF})
    assert all(getattr(yoriai, name) is not None for name in yoriai.__all__)


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=3),
    st.lists(st.integers(0, 12), min_size=2, max_size=3),
    st.lists(st.integers(0, 12), min_size=3, max_size=3),
)
def test_the_quick_look_at_a_version_range_never_contradicts_packaging(low, high, here):
    from packaging.requirements import Requirement

    from yoriai.core_range import _plainly_here

    core = ".".join(map(str, here))
    for parts in (
        (f">={dotted(low)}", f"<{dotted(high)}"),
        (f"<{dotted(high)}", f">={dotted(low)}"),
    ):
        line = f"yoriai-core{','.join(parts)}"
        if _plainly_here(line, core):
            assert Requirement(line).specifier.contains(core)


def dotted(parts):
    return ".".join(map(str, parts))
