"""Bytes on disk: canonical JSON, whole writes, locks."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import files
from yoriai.errors import Refused, UsageError, YoriaiError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_canonical_json_reads_back_equal(value):
    assert json.loads(files.canonical_json(value)) == value


@given(st.dictionaries(TEXT, VALUES, max_size=6), st.randoms(use_true_random=False))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value, random):
    keys = list(value)
    random.shuffle(keys)
    assert files.canonical_json({k: value[k] for k in keys}) == files.canonical_json(value)


def test_canonical_json_is_these_very_bytes():
    value = {"b": [1, 0.1], "a": "寄合"}
    expected = '{\n  "a": "寄合",\n  "b": [\n    1,\n    0.1\n  ]\n}\n'
    assert files.canonical_json(value) == expected.encode()


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_canonical_json_refuses_what_json_lacks(number):
    with pytest.raises(ValueError, match="Out of range"):
        files.canonical_json([number])


@given(data=st.binary(max_size=5000))
def test_a_files_digest_is_its_sha256(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("digest") / "file"
    path.write_bytes(data)
    assert files.digest_file(path) == hashlib.sha256(data).hexdigest()


def test_a_write_replaces_the_old_bytes_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "deep" / "file"
    files.write_atomically(path, b"old")
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_bytes_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_atomically(path, b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(YoriaiError, match="cannot write file: No space left on device") as caught:
        files.write_atomically(path, b"new")
    assert "--out DIR" in caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_a_file_where_a_folder_should_be_is_an_error_in_words(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(YoriaiError, match=r"cannot write x\.json"):
        files.write_atomically(tmp_path / "taken" / "x.json", b"")
    with (
        pytest.raises(YoriaiError, match=r"cannot write \.lock"),
        files.hold(tmp_path / "taken" / ".lock", busy=""),
    ):
        pass


def test_a_lock_has_one_holder_and_is_free_afterwards(tmp_path):
    lock = tmp_path / "lock"
    assert not files.is_held(lock)
    with files.hold(lock, busy="first"):
        assert files.is_held(lock)
        with pytest.raises(Refused, match="somebody"), files.hold(lock, busy="somebody is here"):
            pass
    assert not files.is_held(lock)


def test_a_worker_that_outlives_its_killed_parent_does_not_hold_the_lock(tmp_path):
    # The parent dies without a word; its forked child lives until its input is closed.
    code = f"""if True:
        import os
        from pathlib import Path
        from yoriai import files
        with files.hold(Path({str(tmp_path / "lock")!r}), busy=""):
            if os.fork() == 0:
                os.write(1, b"child")
                os.read(0, 1)
                os._exit(0)
            assert files.is_held(Path({str(tmp_path / "lock")!r}))
            os._exit(9)
    """
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as parent:
        assert os.read(parent.stdout.fileno(), 5) == b"child"
        assert parent.wait() == 9
        assert not files.is_held(tmp_path / "lock")
        parent.stdin.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_a_full_disk_a_quota_and_a_limit_on_file_sizes_are_trouble_of_the_disk(number):
    assert files.is_disk_trouble(OSError(number, os.strerror(number)))
    assert not files.is_disk_trouble(OSError(errno.ENOENT, "not there"))


def test_a_disk_error_of_a_library_that_gives_words_alone_keeps_its_words(tmp_path):
    told = files.disk_error(tmp_path / "model.gguf", OSError("96 requested and 16 written"))
    assert "cannot write model.gguf: 96 requested and 16 written (" in told.message
    assert "None" not in files.disk_error(tmp_path / "model.gguf", OSError()).message


def test_a_file_of_others_is_read_up_to_a_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read_small(path, 5) == b"12345"
    with pytest.raises(UsageError, match="file has more than 4 bytes"):
        files.read_small(path, 4)


def test_what_is_no_ordinary_file_is_refused_and_not_waited_for(tmp_path):
    def too_long(*_):
        raise AssertionError("a pipe was waited for")

    os.mkfifo(tmp_path / "pipe")
    former = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    try:
        for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
            with pytest.raises(UsageError, match="no ordinary file") as caught:
                files.read_small(path, 9)
            assert caught.value.hint == f"ls -l {path}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
