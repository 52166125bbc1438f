"""A local server that speaks as much of the Hugging Face hub's protocol as a download needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "7cf9973" + "0" * 33


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    repository: str
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        self.asked.append(f"{self.command} {path}")
        api, files = f"/api/models/{self.repository}", f"/{self.repository}/resolve/"
        if path.startswith(files):
            revision, _, name = path.removeprefix(files).partition("/")
            file = self.folder / name
            if revision in {COMMIT, "main", "v1"} and file.is_file():
                self._send(file.read_bytes(), body, etag=True)
                return
        elif path in {api, *(f"{api}/revision/{r}" for r in (COMMIT, "main", "v1"))}:
            found = [f for f in sorted(self.folder.rglob("*")) if f.is_file()]
            names = [{"rfilename": str(f.relative_to(self.folder))} for f in found]
            answer = {"id": self.repository, "sha": COMMIT, "siblings": names}
            self._send(json.dumps(answer).encode(), body)
            return
        elif path.startswith(f"{api}/tree/"):
            found = [f for f in sorted(self.folder.rglob("*")) if f.is_file()]
            rows = [
                {
                    "type": "file",
                    "path": str(f.relative_to(self.folder)),
                    "size": f.stat().st_size,
                    "oid": "0" * 40,
                }
                for f in found
            ]
            self._send(json.dumps(rows).encode(), body)
            return
        wrong = "RevisionNotFound" if path.startswith(api) else "EntryNotFound"
        if not path.startswith((api, files)):
            wrong = "RepoNotFound"
        self.send_response(404)
        self.send_header("X-Error-Code", wrong)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, body: bool, *, etag: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if etag:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(folder: Path, repository: str) -> Iterator[tuple[str, list[str]]]:
    """Gives the address of a hub that holds one repository, and the list of what it is asked."""
    asked: list[str] = []
    handler = type(
        "Handler", (_Handler,), {"folder": folder, "repository": repository, "asked": asked}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
