"""Signatures by Ed25519 (RFC 8032), by the ``cryptography`` library.

A signature says that the holder of a key saw exactly these bytes; whose key it is, is for people
to settle. Keys are PEM files (PKCS 8 and SubjectPublicKeyInfo), as ``openssl genpkey -algorithm
ed25519`` writes them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoriai import files
from yoriai.errors import Altered, NotFound, Refused, UsageError

MOST_KEY_BYTES = 2**16
ALGORITHM = "ed25519"


def library() -> Any:
    """``serialization`` and ``ed25519`` of cryptography, or :class:`UsageError` without it."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UsageError(
            "signatures need the cryptography library", hint="pip install 'yoriai-core[sign]'"
        ) from error
    return serialization, ed25519


def new_key(path: Path) -> str:
    """Write a private key to ``path``, for its owner alone, and the public one to ``path.pub``.

    Returns the public key's fingerprint. Raises :class:`Refused` where either file is there.
    """
    serialization, ed25519 = library()
    if path.name in ("", ".."):
        raise UsageError(f"{str(path)!r} names no file", hint="yoriai key FILE")
    public_path = path.with_name(path.name + ".pub")
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for place, data, mode in ((public_path, public, 0o644), (path, private, 0o600)):
        try:
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError as error:
            raise Refused(f"{place} is there already", hint="name another file") from error
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
    return fingerprint(key.public_key())


def read(path: Path) -> bytes:
    """The bytes of a key file; raises :class:`NotFound`, :class:`UsageError` for a long one."""
    try:
        return files.read_small(path, MOST_KEY_BYTES)
    except OSError as error:
        raise NotFound(
            f"the key {path.name} cannot be read: {error.strerror}", hint="yoriai key FILE"
        ) from error


def read_private(path: Path) -> Any:
    """Raises :class:`NotFound`, or :class:`UsageError` for what is no private Ed25519 key."""
    serialization, ed25519 = library()
    data, key = read(path), None
    with contextlib.suppress(ValueError, TypeError):
        key = serialization.load_pem_private_key(data, password=None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(
            f"{path.name} is no private Ed25519 key without a password", hint="yoriai key FILE"
        )
    return key


def read_public(path: Path) -> Any:
    """Raises :class:`NotFound`, or :class:`UsageError` for what is no public Ed25519 key."""
    serialization, ed25519 = library()
    data, key = read(path), None
    with contextlib.suppress(ValueError, TypeError):
        key = serialization.load_pem_public_key(data)
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise UsageError(f"{path.name} is no public Ed25519 key", hint="give the file FILE.pub")
    return key


def fingerprint(public: Any) -> str:
    """The sha256 of a public key's 32 bytes."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()


def sign(private: Any, data: bytes) -> dict[str, str]:
    """A signature of bytes, as JSON: algorithm, fingerprint of the key, signature in base64."""
    return {
        "algorithm": ALGORITHM,
        "key": fingerprint(private.public_key()),
        "signature": base64.b64encode(private.sign(data)).decode(),
    }


def check(public: Any, data: bytes, signature: Mapping[str, Any]) -> None:
    """Raises :class:`Altered` where it is not this key's signature of these bytes."""
    from cryptography.exceptions import InvalidSignature

    if signature.get("algorithm") != ALGORITHM:
        raise Altered(f"a signature by {str(signature.get('algorithm'))[:40]!r} is not known")
    if signature.get("key") != fingerprint(public):
        raise Altered("it is signed by another key", hint="give the key of its signer")
    try:
        public.verify(base64.b64decode(str(signature.get("signature")), validate=True), data)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise Altered("the signature is not of this: it was altered after signing") from error
