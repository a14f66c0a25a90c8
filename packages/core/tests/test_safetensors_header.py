"""A header of safetensors is what somebody wrote: false ones are refused in words."""

import json
import os
import re

import pytest

from yoriai import Refused
from yoriai.safetensors_header import TensorPlace, read_header

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(folder, header, data=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_the_places_are_those_of_the_bytes(tmp_path):
    two = {"a": ENTRY, "b": {**ENTRY, "data_offsets": [8, 16]}, "__metadata__": {"format": "pt"}}
    path = write(tmp_path, two, b"\1" * 8 + b"\2" * 8)
    found = read_header(path)
    assert found["b"] == TensorPlace("F32", (2,), path.stat().st_size - 8, path.stat().st_size)
    assert path.read_bytes()[found["a"].first : found["a"].stop] == b"\1" * 8


FALSE = {
    "a list": ([], "no mapping"),
    "nesting without end": (b"[" * 100_000, "cannot be read"),
    "notes in a list": ({"__metadata__": [1]}, "__metadata__ is no mapping of texts"),
    "notes of notes": ({"__metadata__": {"format": {}}}, "__metadata__ is no mapping of texts"),
    "an entry that is none": ({"a": [1]}, "has no dtype"),
    "a dtype that is a list": ({"a": {**ENTRY, "dtype": ["F32"]}}, "has no dtype"),
    "a shape of words": ({"a": {**ENTRY, "shape": ["2"]}}, "has no shape"),
    "a shape that is a word": ({"a": {**ENTRY, "shape": "2"}}, "has no shape"),
    "a negative shape": ({"a": {**ENTRY, "shape": [-2]}}, "has no shape"),
    "a shape of truths": ({"a": {**ENTRY, "shape": [True, 2]}}, "has no shape"),
    "a shape beyond all": ({"a": {**ENTRY, "shape": [10**30]}}, "has no shape"),
    "many dimensions": ({"a": {**ENTRY, "shape": [1] * 65}}, "has no shape"),
    "a shape of nan": ({"a": {**ENTRY, "shape": [float("nan")]}}, "has no shape"),
    "no place": ({"a": {"dtype": "F32", "shape": [2]}}, "has no place"),
    "a place of words": ({"a": {**ENTRY, "data_offsets": ["0", "8"]}}, "has no place"),
    "a place of one": ({"a": {**ENTRY, "data_offsets": [0]}}, "has no place"),
    "a place turned round": ({"a": {**ENTRY, "data_offsets": [8, 0]}}, "has no place"),
    "two in one place": ({"a": ENTRY, "b": ENTRY}, "do not follow one another"),
    "a gap": ({"a": {**ENTRY, "data_offsets": [4, 8]}}, "do not follow one another"),
    "more than is there": ({"a": {**ENTRY, "data_offsets": [0, 800]}}, "its header asks for"),
    "tensors without end": ({str(n): {} for n in range(30_001)}, "more than 30,000 a file"),
    "a name that is no text": (b'{"\\ud800": ' + json.dumps(ENTRY).encode() + b"}", "surrogates"),
    "a name told twice": (
        json.dumps({"a": ENTRY, "b": {**ENTRY, "data_offsets": [0, 4]}})
        .replace('"b"', '"a"')
        .encode(),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("case", FALSE)
def test_a_false_header_is_refused_with_file_and_remedy(case, tmp_path):
    header, said = FALSE[case]
    path = write(tmp_path, header)
    with pytest.raises(Refused, match=re.escape(said)) as told:
        read_header(path)
    assert str(path) in told.value.message
    assert "copy the file again" in told.value.hint


@pytest.mark.parametrize("data", [b"", b"\1\2", b"\xff" * 8 + b"{}", b"\0" * 100])
def test_what_is_no_such_file_is_refused(data, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(Refused, match="no safetensors file"):
        read_header(tmp_path / "model.safetensors")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(Refused, match="it is no file"):
        read_header(tmp_path / "model.safetensors")
