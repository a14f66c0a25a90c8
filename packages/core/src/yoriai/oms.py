"""Signatures in the format of OpenSSF Model Signing, for whoever verifies with its tools.

A Sigstore bundle (https://docs.sigstore.dev/about/bundle/, v0.3) around a DSSE envelope
(https://github.com/secure-systems-lab/dsse, protocol 1.0.0) around an in-toto statement
(https://in-toto.io/Statement/v1) whose predicate, ``model_signing/signature/v1.0``, names each
file of a folder with its sha256. Written as model-signing 1.1.1 writes it with a key: the curves
are P-256, P-384 and P-521 (ECDSA with SHA-256, SHA-384, SHA-512); Ed25519 is not among them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoriai import files, signing
from yoriai.artifact import MANIFEST, Artifact
from yoriai.errors import UsageError

SUFFIX = ".oms.json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
HASHES = {256: "SHA256", 384: "SHA384", 521: "SHA512"}  # by the bits of the curve


def place_of(folder: Path) -> Path:
    """Where the bundle of the artifact in ``folder`` lies."""
    folder = folder.absolute()
    return folder.with_name(folder.name + SUFFIX)


def read_private(path: Path) -> Any:
    """Raises :class:`NotFound`, or :class:`UsageError` for what is no private key on a curve."""
    serialization, _ = signing.library()
    from cryptography.hazmat.primitives.asymmetric import ec

    data, key = signing.read(path), None
    with contextlib.suppress(ValueError, TypeError):
        key = serialization.load_pem_private_key(data, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in (
        "secp256r1", "secp384r1", "secp521r1",
    ):  # fmt: skip
        raise UsageError(
            f"{path.name} is no private key on P-256, P-384 or P-521 without a password",
            hint="openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE",
        )
    return key


def digests(artifact: Artifact) -> dict[str, str]:
    """The sha256 of each file of an artifact, its manifest included, in order of the names."""
    found = {name: facts["sha256"] for name, facts in artifact.manifest["files"].items()}
    found[MANIFEST] = files.digest_file(artifact.path / MANIFEST)
    return dict(sorted(found.items()))


def statement(name: str, found: Mapping[str, str]) -> bytes:
    """The in-toto statement of a folder's files; its subject is the digest of their digests."""
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in found.values()))
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": name, "digest": {"sha256": whole.hexdigest()}}],
            "predicateType": "https://model_signing/signature/v1.0",
            "predicate": {
                "serialization": {
                    "method": "files", "hash_type": "sha256", "allow_symlinks": False,
                    "ignore_paths": [],
                },
                "resources": [
                    {"name": name, "algorithm": "sha256", "digest": digest}
                    for name, digest in found.items()
                ],
            },
        }
    ).encode()  # fmt: skip


def encoding(payload: bytes) -> bytes:
    """What is signed of a payload (DSSE's pre-authentication encoding)."""
    kind = PAYLOAD.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def bundle(payload: bytes, private: Any) -> dict[str, Any]:
    """The signed statement as JSON; the hint is the sha256 of the public key's PEM."""
    serialization, _ = signing.library()
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    algorithm = ec.ECDSA(getattr(hashes, HASHES[private.curve.key_size])())
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(public).hexdigest()}, "tlogEntries": []
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD,
            "signatures": [
                {"sig": base64.b64encode(private.sign(encoding(payload), algorithm)).decode(),
                 "keyid": ""}
            ],
        },
    }  # fmt: skip


def make(artifact: Artifact, private: Any) -> dict[str, Any]:
    """The bundle of an artifact whose bytes were compared."""
    return bundle(statement(artifact.path.absolute().name, digests(artifact)), private)
