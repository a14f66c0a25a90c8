"""Bundles of OpenSSF Model Signing: read as its tool wrote one, and verified by it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from yoriai import UsageError, artifact, oms, signing

# What `model_signing sign key` of model-signing 1.1.1 wrote of four files, with a key on P-256.
FILES = {".hidden": b"h", "a.txt": b"one", "sub/b c.json": b'{"x": 1}\n', "z猫.txt": "猫".encode()}
PUBLIC = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzbIpz11A/8xZzk6DuXeV57CkgHjU/No48Uy6+/YZK09nAMTr"
    "90DTRxrUl3lorHtkwzmsRDbSU/FdNQtMVVGh+g=="
)
HINT = "ba038663131665e87bab54b55be1a151f2322fdc426f50fb58ca6fde4b52de07"
SIGNATURE = (
    "MEUCIBM6bWKpSHQiUk21zDFOJlJ91tV5MW+tulhcApeS14UWAiEAqkGR9LnBO/hTTR/Qs17PHeuWlYJQuKCr"
    "raO9K9qt+e4="
)
PAYLOAD = (
    "ewogICJfdHlwZSI6ICJodHRwczovL2luLXRvdG8uaW8vU3RhdGVtZW50L3YxIiwKICAic3ViamVjdCI6IFsK"
    "ICAgIHsKICAgICAgIm5hbWUiOiAibSIsCiAgICAgICJkaWdlc3QiOiB7CiAgICAgICAgInNoYTI1NiI6ICJj"
    "MWQ2NTM5YjRkZWJhMDAxZDkxODJiMDcyN2NmODMxMWQwMzJlYmFhNTdlMzYwYTU1MjQyZjg4YTcwNmRlYzVh"
    "IgogICAgICB9CiAgICB9CiAgXSwKICAicHJlZGljYXRlVHlwZSI6ICJodHRwczovL21vZGVsX3NpZ25pbmcv"
    "c2lnbmF0dXJlL3YxLjAiLAogICJwcmVkaWNhdGUiOiB7CiAgICAic2VyaWFsaXphdGlvbiI6IHsKICAgICAg"
    "Im1ldGhvZCI6ICJmaWxlcyIsCiAgICAgICJpZ25vcmVfcGF0aHMiOiBbCiAgICAgICAgIi5naXQiLAogICAg"
    "ICAgICIuZ2l0aHViIiwKICAgICAgICAiLmdpdGlnbm9yZSIsCiAgICAgICAgIi5naXRhdHRyaWJ1dGVzIgog"
    "ICAgICBdLAogICAgICAiaGFzaF90eXBlIjogInNoYTI1NiIsCiAgICAgICJhbGxvd19zeW1saW5rcyI6IGZh"
    "bHNlCiAgICB9LAogICAgInJlc291cmNlcyI6IFsKICAgICAgewogICAgICAgICJhbGdvcml0aG0iOiAic2hh"
    "MjU2IiwKICAgICAgICAibmFtZSI6ICIuaGlkZGVuIiwKICAgICAgICAiZGlnZXN0IjogImFhYTk0MDI2NjRm"
    "MWE0MWY0MGViYmM1MmM5OTkzZWI2NmFlYjM2NjYwMjk1OGZkZmFhMjgzYjcxZTY0ZGIxMjMiCiAgICAgIH0s"
    "CiAgICAgIHsKICAgICAgICAiYWxnb3JpdGhtIjogInNoYTI1NiIsCiAgICAgICAgIm5hbWUiOiAiYS50eHQi"
    "LAogICAgICAgICJkaWdlc3QiOiAiNzY5MmMzYWQzNTQwYmI4MDNjMDIwYjNhZWU2NmNkODg4NzEyMzIzNGVh"
    "MGM2ZTcxNDNjMGFkZDczZmY0MzFlZCIKICAgICAgfSwKICAgICAgewogICAgICAgICJhbGdvcml0aG0iOiAi"
    "c2hhMjU2IiwKICAgICAgICAibmFtZSI6ICJzdWIvYiBjLmpzb24iLAogICAgICAgICJkaWdlc3QiOiAiOTM2"
    "MzUzOTY1YjRiYTkxODBlM2FjYjc4MWQ4MWFhNjM0MzkwYWM5NWZkMjg3NGE5Y2JjNGM0ODQ2YjQ5ZmJkNCIK"
    "ICAgICAgfSwKICAgICAgewogICAgICAgICJhbGdvcml0aG0iOiAic2hhMjU2IiwKICAgICAgICAibmFtZSI6"
    "ICJ6XHU3MzJiLnR4dCIsCiAgICAgICAgImRpZ2VzdCI6ICJhODEwYmY4NDVhMzA3MzgyMTE4ZTZlNmFlZjIx"
    "YTc5ZjZhMjZiMWIzYWQyMjI1ZmU5N2I3ZWU0YzEyNWUzMzgwIgogICAgICB9CiAgICBdCiAgfQp9"
)


def pem_of(body: str) -> bytes:
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join(
        ["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""]
    ).encode()


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder, target = tmp_path / "out", tmp_path / "text@1"
    (folder / "sub").mkdir(parents=True)
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    identity = {
        "kind": "corpus", "name": "a/text@1", "step": "x/y", "config": {}, "code": [], "seed": 0,
        "outside": {}, "inputs": [], "sources": [], "licence": "", "facts": {},
    }  # fmt: skip
    artifact.seal(folder, target, identity=identity, circumstances={})
    return target


@pytest.fixture
def key(tmp_path: Path) -> Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    made, path = ec.generate_private_key(ec.SECP256R1()), tmp_path / "key.pem"
    path.write_bytes(made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ))  # fmt: skip
    path.with_suffix(".pub").write_bytes(made.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ))  # fmt: skip
    return path


def check(public: Any, value: Any) -> dict[str, Any]:
    """The statement of a bundle, whose signature is checked by the library alone."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    envelope = value["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    public.verify(
        base64.b64decode(envelope["signatures"][0]["sig"]), oms.encoding(payload),
        ec.ECDSA(hashes.SHA256()),
    )  # fmt: skip
    found: dict[str, Any] = json.loads(payload)
    return found


def test_their_signature_is_of_what_we_would_sign() -> None:
    serialization, _ = signing.library()
    data = pem_of(PUBLIC)
    assert hashlib.sha256(data).hexdigest() == HINT
    envelope = {"payload": PAYLOAD, "signatures": [{"sig": SIGNATURE}]}
    theirs = check(serialization.load_pem_public_key(data), {"dsseEnvelope": envelope})
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    ours = json.loads(oms.statement("m", digests))
    theirs["predicate"]["serialization"]["ignore_paths"] = []  # theirs are those of git
    assert ours == theirs


def test_a_bundle_names_every_file_of_an_artifact(sealed: Path, key: Path) -> None:
    serialization, _ = signing.library()
    value = oms.make(artifact.open_checked(sealed), oms.read_private(key))
    public = serialization.load_pem_public_key(key.with_suffix(".pub").read_bytes())
    told = check(public, value)
    names = [row["name"] for row in told["predicate"]["resources"]]
    assert names == sorted([*FILES, "artifact.json"])
    assert told["subject"][0]["name"] == "text@1"


def test_a_key_that_the_format_does_not_know_is_refused(tmp_path: Path) -> None:
    signing.new_key(tmp_path / "ed")
    with pytest.raises(UsageError, match="P-256"):
        oms.read_private(tmp_path / "ed")


def test_their_tool_verifies_it_and_names_what_was_altered(sealed: Path, key: Path) -> None:
    python = os.environ.get("MODEL_SIGNING_PYTHON")
    if not python:
        pytest.skip("MODEL_SIGNING_PYTHON names no python that has model-signing")
    place = oms.place_of(sealed)
    value = oms.make(artifact.open_checked(sealed), oms.read_private(key))
    place.write_text(json.dumps(value))
    words = [
        python, "-m", "model_signing", "verify", "key", sealed, "--signature", place,
        "--public_key", key.with_suffix(".pub"),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, "succeeded" in done.stdout) == (0, True), done.stderr
    (sealed / "a.txt").chmod(0o644)
    (sealed / "a.txt").write_bytes(b"two")
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode
    assert "a.txt" in done.stdout + done.stderr
