"""What people see of work that is going on."""

from yoriai import console


def test_no_estimate_is_shown_before_it_means_something():
    assert console.time_left(1, 100, 0.0) == ""
    assert console.time_left(1, 100, 60.0) == ""
    assert console.time_left(5, 100, 60.0) == ""
    assert console.time_left(90, 100, 2.0) == ""
    assert console.time_left(50, None, 60.0) == ""


def test_an_estimate_leaves_out_the_start_up_of_the_first_item():
    assert console.time_left(11, 111, 20.0) == ", about 200 s left"


def test_lines_of_progress_say_what_is_done(monkeypatch, capsys):
    moments = iter([0.0, 30.0, 41.0, 43.0, 45.0, 47.0, 52.0, 53.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: False, raising=False)
    assert list(console.watch(range(7), "write", 7)) == list(range(7))
    assert capsys.readouterr().err.splitlines() == [
        "  write: 1/7",
        "  write: 2/7",
        "  write: 6/7, about 4 s left",
    ]
