"""Sending a release to the Hugging Face Hub, or a server that speaks as it does.

``huggingface_hub`` does the work: one commit, made when every large file is there. A push that was
interrupted is started again with the same command; large files that the server has are not sent
twice.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

from yoriai.errors import NotFound, UsageError, YoriaiError
from yoriai.release import KINDS, MANIFEST, check

TOKEN = "HF_TOKEN"


def push(
    folder: Path, repository: str, *, private: bool = False, endpoint: str | None = None
) -> str:
    """Upload a release to ``repository`` (``ORG/NAME``); the address of the commit.

    Raises :class:`UsageError` without a token or with a name that is none, :class:`Altered` if a
    file is not as it was released, and :class:`YoriaiError` with what the server said.
    """
    told = check(folder)
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UsageError(f"--push {repository!r} is no repository", hint="--push ORG/NAME")
    try:
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise NotFound(
            "pushing needs the package huggingface_hub", hint="pip install huggingface_hub"
        ) from error
    token = os.environ.get(TOKEN) or get_token()
    if not token:
        raise UsageError(
            "there is no token to push with; nothing was sent",
            hint=f"export {TOKEN}=…  (from https://huggingface.co/settings/tokens)",
        )
    api: Any = HfApi(endpoint=endpoint, token=token)
    kind = KINDS[told["kind"]]
    try:
        api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
        made = api.upload_folder(
            repo_id=repository,
            repo_type=kind,
            folder_path=folder,
            # Patterns: a file called "*" would let files pass that nobody looked at.
            allow_patterns=[glob.escape(name) for name in (*told["files"], MANIFEST)],
            commit_message=f"{told['artifact']} ({told['digest'][:12]})",
        )
    except HFValidationError as error:
        raise UsageError(f"--push {repository!r}: {error}", hint="--push ORG/NAME") from error
    except HfHubHTTPError as error:
        raise YoriaiError(
            f"the server refused {repository}: {_words(error)}",
            hint="look at the rights of the token, then start the same command again",
        ) from error
    except Exception as error:  # of httpx or hf_xet, which bring kinds of their own
        raise YoriaiError(
            f"nothing was published: {_words(error)}",
            hint="start the same command again: what arrived is not sent twice",
        ) from error
    return str(made.commit_url)


def _words(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said[:300] + ("…" if len(said) > 300 else "")
