"""A server that speaks the Hub's protocol, on the loopback address, in memory.

What it answers follows https://huggingface.co/docs/hub/api and git-lfs's batch API; large files
are those whose name ends in .safetensors or .parquet.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

TOKEN = "hf_" + "a" * 30
LARGE = (".safetensors", ".parquet")


class HubServer:
    """``refused``: how many bytes a large file may have before it is refused, to break a push."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.commits: list[list[dict[str, Any]]] = []
        self.created: list[dict[str, Any]] = []
        self.largest: int | None = None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _answer(self, value: Any, status: int = 200) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    return self._answer({"error": "Invalid credentials"}, 401)
                return self._answer({"id": "lab/tour-base", "sha": "0" * 40, "siblings": []})

            def do_PUT(self) -> None:
                body, oid = self._body(), self.path.rpartition("/")[2]
                if hub.largest is not None and len(body) > hub.largest:
                    return self._answer({"error": "no more"}, 403)
                hub.objects[oid] = body
                hub.uploads.append(oid)
                return self._answer({})

            def do_POST(self) -> None:
                body = self._body()
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    return self._answer({"error": "Invalid credentials"}, 401)
                path = self.path.partition("?")[0]
                if path == "/api/repos/create":
                    hub.created.append(json.loads(body))
                    told = json.loads(body)
                    name = f"{told['organization']}/{told['name']}"
                    return self._answer({"url": f"{hub.address}/{name}"})
                if path == "/api/validate-yaml":
                    return self._answer({"errors": [], "warnings": []})
                if "/preupload/" in path:
                    return self._answer({"files": [
                        {
                            "path": row["path"], "shouldIgnore": False,
                            "uploadMode": "lfs" if row["path"].endswith(LARGE) else "regular",
                        }
                        for row in json.loads(body)["files"]
                    ]})  # fmt: skip
                if path.endswith("/info/lfs/objects/batch"):
                    return self._answer({"transfer": "basic", "objects": [
                        row if row["oid"] in hub.objects else {
                            **row,
                            "actions": {"upload": {"href": f"{hub.address}/put/{row['oid']}"}},
                        }
                        for row in json.loads(body)["objects"]
                    ]})  # fmt: skip
                if "/commit/" in path:
                    hub.commits.append([json.loads(line) for line in body.splitlines()])
                    oid = f"{len(hub.commits):040x}"
                    url = f"{hub.address}/lab/tour-base/commit/{oid}"
                    return self._answer({"commitUrl": url, "commitOid": oid})
                return self._answer({"error": path}, 404)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def names(self) -> set[str]:
        """The paths in the last commit."""
        return {row["value"]["path"] for row in self.commits[-1] if row["key"] != "header"}

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._server.shutdown()
        self._server.server_close()
