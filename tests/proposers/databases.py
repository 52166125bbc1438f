"""A small web server that speaks as the Materials Project and as an OPTIMADE database do."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

KEY = "a-key-of-the-tests"

HALF = [0.5, 0.5, 0.5]
FACES = [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]


def perovskite(a: str, b: str, x: str, edge: float) -> tuple[list[Any], list[str], list[Any]]:
    """Lattice, species and fractional coordinates of a cubic perovskite."""
    lattice = [[edge, 0, 0], [0, edge, 0], [0, 0, edge]]
    return lattice, [a, b, x, x, x], [[0.0, 0.0, 0.0], HALF, *FACES]


MATERIALS = [
    ("mp-5229", *perovskite("Sr", "Ti", "O", 3.91), 0.0),
    ("mp-2998", *perovskite("Ba", "Ti", "O", 4.00), 0.01),
    ("mp-3834", *perovskite("Ba", "Zr", "O", 4.20), 0.2),
    ("mp-1", *perovskite("Ca", "Ti", "O", 3.85), 0.08),
    ("mp-2", *perovskite("K", "Ta", "O", 3.99), 0.0),
]


class Server(BaseHTTPRequestHandler):
    """Answers; what it shall do wrong stands in `server.wrong`, what it was asked in `asked`."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.server.asked.append((parts.path, query))
        wrong = self.server.wrong.pop(0) if self.server.wrong else None
        if wrong == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "https://example.invalid/")
            self.end_headers()
        elif isinstance(wrong, int):
            self._send({"detail": "as the test asks"}, wrong)
        elif wrong in {"drip", "drip headers"}:
            self._drip(headers=wrong == "drip headers")
        elif wrong == "nonsense":
            self._send(["nothing", "of", "use"])
        elif parts.path == "/materials/summary/":
            self._materials_project(query)
        elif parts.path == "/v1/structures":
            self._optimade(query)
        else:
            self._send({}, 404)

    def _materials_project(self, query: dict[str, str]) -> None:
        if self.headers.get("X-API-KEY") != KEY:
            self._send({"detail": "Invalid authentication credentials"}, 403)
            return
        found = [m for m in MATERIALS if self._wanted(m, query)]
        skip, limit = int(query["_skip"]), min(int(query["_limit"]), self.server.page)
        documents = [
            {
                "material_id": name,
                "energy_above_hull": above,
                "structure": {
                    "@module": "os",
                    "@class": "system",
                    "lattice": {"matrix": lattice},
                    "sites": [
                        {"species": [{"element": e, "occu": 1}], "abc": abc, "label": e}
                        for e, abc in zip(species, coords, strict=True)
                    ],
                },
            }
            for name, lattice, species, coords, above in found[skip : skip + limit]
        ]
        self._send({"data": documents, "meta": {"total_doc": len(found)}})

    @staticmethod
    def _wanted(material: tuple[Any, ...], query: dict[str, str]) -> bool:
        name, _, species, _, above = material
        system = "-".join(sorted(set(species)))
        return (
            name in query.get("material_ids", name).split(",")
            and query.get("chemsys", system) == system
            and above <= float(query.get("energy_above_hull_max", 9.0))
        )

    def _optimade(self, query: dict[str, str]) -> None:
        offset = int(query.get("page_offset", 0))
        documents = [
            {
                "type": "structures",
                "id": name,
                "attributes": {
                    "lattice_vectors": lattice,
                    "cartesian_site_positions": [[x * lattice[0][0] for x in c] for c in coords],
                    "species": [
                        {"name": f"{e}-kind", "chemical_symbols": [e], "concentration": [1.0]}
                        for e in sorted(set(species))
                    ],
                    "species_at_sites": [f"{e}-kind" for e in species],
                },
            }
            for name, lattice, species, coords, _ in MATERIALS
        ]
        after = offset + self.server.page
        port = self.server.server_address[1]
        following = urlencode(query | {"page_offset": after})
        more = after < len(documents)
        self._send(
            {
                "data": documents[offset:after],
                "links": {
                    "next": f"http://127.0.0.1:{port}/v1/structures?{following}" if more else None
                },
                "meta": {
                    "data_available": len(documents),
                    "data_returned": len(documents),
                    "more_data_available": more,
                    "query": {"representation": "/"},
                    "api_version": "1.1.0",
                },
            }
        )

    def _drip(self, *, headers: bool) -> None:
        """Sends a byte now and then, for three seconds or until nobody listens."""
        self.send_response(200)
        if not headers:
            self.send_header("Content-Length", "100000")
            self.end_headers()
        for _ in range(60):
            try:
                self.wfile.write(b" ")
            except OSError:
                return
            time.sleep(0.05)

    def _send(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def database(*wrong: object, page: int = 2):
    """Runs the server on a free port; yields its address and what it was asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    server.wrong, server.asked, server.page = list(wrong), [], page
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
