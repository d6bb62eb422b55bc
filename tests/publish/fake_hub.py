"""A Hub on loopback that keeps its repositories in memory and can be told to fail.

Implements what huggingface_hub asks for on the way up (create, validate-yaml, preupload, LFS batch and PUT,
commit) and on the way down (HEAD and GET of resolve). Weights go through LFS, as on the real Hub.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from huggingface_hub import RepoCard

REPO = r"[\w.-]+/[\w.-]+"
COMMIT = hashlib.sha1(b"the only commit").hexdigest()


@dataclass
class Fault:
    """Fail requests whose path matches `path`, `times` times."""

    path: str
    status: int = 0
    """HTTP status; 0 drops the connection halfway through the request."""
    headers: tuple[tuple[str, str], ...] = ()
    stall: float = 0.0
    """Seconds to say nothing for, before closing the connection."""
    times: int = 1_000


class FakeHub:
    """Context manager; `url` is its HF_ENDPOINT."""

    def __init__(self, token: str, fault: Fault | None = None) -> None:
        self.token, self.fault = token, fault
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: list[str] = []
        self.requests: list[str] = []
        self.objects: dict[str, bytes] = {}
        self.stopping = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home: str) -> dict[str, str]:
        """Variables that point huggingface_hub here."""
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": self.token, "HF_HOME": home, "HF_HUB_DISABLE_XET": "1"}


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep pytest's output clean."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        hub.requests.append(f"{self.command} {path}")
        fault = hub.fault
        if fault and fault.times > 0 and re.search(fault.path, path):
            fault.times -= 1
            if fault.stall:
                hub.stopping.wait(fault.stall)
            if not fault.status:
                self._drop()
                return
            self._read()
            self._send(fault.status, {"error": "made to fail"}, dict(fault.headers))
            return
        body = self._read()
        # A presigned upload address carries its own permission; everything else needs the token.
        if not path.startswith("/upload/") and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._send(401, {"error": "Invalid username or password."}, {})
            return
        for pattern, method in self.routes.items():
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                getattr(self, method)(body, *match.groups())
                return
        self._send(404, {"error": "not found"}, {"X-Error-Code": "EntryNotFound"})

    routes: ClassVar = {
        "POST /api/repos/create": "_create",
        "POST /api/validate-yaml": "_validate",
        rf"POST /api/models/({REPO})/preupload/main": "_preupload",
        rf"POST /({REPO})\.git/info/lfs/objects/batch": "_batch",
        r"PUT /upload/(\w+)": "_put",
        rf"POST /api/models/({REPO})/commit/main": "_commit",
        rf"(?:GET|HEAD) /({REPO})/resolve/[^/]+/(.+)": "_resolve",
    }

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}"
        known = repo in self.hub.repositories
        self.hub.repositories.setdefault(repo, {})
        self.hub.private.setdefault(repo, asked.get("visibility") == "private")
        self._send(409 if known else 200, {"url": f"{self.hub.url}/{repo}"}, {})

    def _validate(self, body: bytes) -> None:
        data = RepoCard(json.loads(body)["content"]).data.to_dict()
        errors = [] if "license" in data else [{"message": '"license" is required'}]
        self._send(400 if errors else 200, {"errors": errors, "warnings": []}, {})

    def _preupload(self, body: bytes, repo: str) -> None:
        names = [file["path"] for file in json.loads(body)["files"]]
        modes = {n: "lfs" if n.endswith((".safetensors", ".png")) else "regular" for n in names}
        files = [{"path": n, "uploadMode": mode, "shouldIgnore": False} for n, mode in modes.items()]
        self._send(200, {"files": files}, {})

    def _batch(self, body: bytes, repo: str) -> None:
        objects = [
            {**o, "actions": {"upload": {"href": f"{self.hub.url}/upload/{o['oid']}"}}}
            for o in json.loads(body)["objects"]
        ]
        self._send(200, {"transfer": "basic", "objects": objects}, {})

    def _put(self, body: bytes, oid: str) -> None:
        complete = hashlib.sha256(body).hexdigest() == oid
        if complete:
            self.hub.objects[oid] = body
        self._send(200 if complete else 422, {}, {"ETag": f'"{oid}"'})

    def _commit(self, body: bytes, repo: str) -> None:
        files: dict[str, bytes] = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        self.hub.repositories[repo] |= files
        self.hub.commits.append(repo)
        self._send(200, {"commitUrl": f"{self.hub.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT}, {})

    def _resolve(self, body: bytes, repo: str, name: str) -> None:
        content = self.hub.repositories.get(repo, {}).get(name)
        if content is None:
            self._send(404, {"error": "no such file"}, {"X-Error-Code": "EntryNotFound"})
            return
        etag = hashlib.sha256(content).hexdigest()
        self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _drop(self) -> None:
        self.rfile.read(min(64, int(self.headers.get("Content-Length") or 0)))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, status: int, content: object, headers: dict[str, str]) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
