"""Give every page of a built site its Content-Security-Policy.

``nox -s docs`` runs this after mkdocs. A policy in a ``meta`` element (static pages choose no
headers) names the digest of each script that the theme wrote (it stands in ``404.html``, too), so
nothing else runs: no ``onerror`` of a record, no ``javascript:`` link, nothing from another site.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_META = '<meta http-equiv="Content-Security-Policy" content="{}">'
_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)([^>]*)>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE)
_DATA = re.compile(rb"type=[\"']?(?:application|text)/(?!javascript)", re.IGNORECASE)
_CHARSET = re.compile(rb"<meta charset=[^>]*>", re.IGNORECASE)


# The theme names the way to the site's root in one script; it differs with a page's depth.
_ROOT_PATH = re.compile(rb'new URL\("[./\w-]*"')


def theme_scripts(page: bytes) -> set[bytes]:
    """The scripts in a page that holds nothing of a stranger (``404.html``)."""
    return {_ROOT_PATH.sub(b"", body) for _, body in _SCRIPT.findall(page)}


def policy_of(page: bytes, known: set[bytes]) -> str:
    """The policy of one page: its own files, and by digest the scripts that the theme wrote."""
    digests = {
        base64.b64encode(hashlib.sha256(body).digest()).decode()
        for attributes, body in _SCRIPT.findall(page)
        if not _DATA.search(attributes) and _ROOT_PATH.sub(b"", body) in known
    }
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in sorted(digests))])
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",  # the theme and figures style elements in place
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "worker-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
        ]
    )


def protect(site: Path) -> int:
    """Write the policy into every page below ``site`` that has none; returns how many."""
    count = 0
    known = theme_scripts((site / "404.html").read_bytes())
    for path in sorted(site.rglob("*.html")):
        page = path.read_bytes()
        if b"Content-Security-Policy" in page[:2000]:
            continue
        meta = _META.format(policy_of(page, known)).encode()
        done, found = _CHARSET.subn(lambda m, meta=meta: m[0] + meta, page, count=1)
        if not found:
            raise SystemExit(f"{path}: has no <meta charset>, so no place for its policy")
        path.write_bytes(done)
        count += 1
    return count


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("site", type=Path, nargs="?", default=ROOT / "build" / "site")
    site = parser.parse_args(argv).site
    print(f"{protect(site)} pages protected in {site}")


if __name__ == "__main__":
    main()
