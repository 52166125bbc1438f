"""A lab that answers as AlabOS does, with what is odd about it.

An experiment is checked for doubles against rows that a loop writes later; a task type that the lab
does not know passes; an experiment is COMPLETED when its tasks have ended, also in errors; times
have no zone; nobody is asked who they are; what goes wrong is a 400.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ZONE = "Asia/Tokyo"
ENDED = {"COMPLETED", "ERROR", "CANCELLED"}


def now() -> str:
    return datetime.now(ZoneInfo(ZONE)).replace(tzinfo=None).isoformat(sep=" ")


class FakeAlabos:
    """Its database, its manager's loop and its robot."""

    def __init__(self, *, interval: float = 0.2, work: float = 0.02) -> None:
        self.interval, self.work = interval, work
        self.experiments: list[dict[str, Any]] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.ran: list[str] = []
        self.broken: str = ""
        self.lose_replies = 0
        self.failing: set[str] = set()
        self.lock = threading.RLock()

    def submit(self, order: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            for task in order["tasks"]:
                if task["task_id"] in self.tasks:
                    words = f"Task id {task['task_id']} already exists in the database!"
                    return 400, {"status": "error", "errors": words}
            experiment = {**order, "id": f"{len(self.experiments):024x}", "status": "PENDING"}
            self.experiments.append(experiment)
            return 200, {"status": "success", "data": {"exp_id": experiment["id"]}}

    def take_up(self) -> None:
        """What the manager's loop does: only now are there tasks."""
        with self.lock:
            for experiment in self.experiments:
                if experiment["status"] != "PENDING":
                    continue
                experiment["status"] = "RUNNING"
                if any(t["type"] == "Unknown" for t in experiment["tasks"]):
                    continue  # the loop raised on it
                for n, task in enumerate(experiment["tasks"]):
                    self.tasks[task["task_id"]] = {
                        "_id": task["task_id"],
                        "type": task["type"],
                        "status": "WAITING" if n else "READY",
                        "parameters": task["parameters"],
                        "created_at": now(),
                        "message": "",
                        "next": [t["task_id"] for t in experiment["tasks"][n + 1 : n + 2]],
                    }

    def do_work(self) -> None:
        """What the robot does next: one task, which takes a moment."""
        with self.lock:
            ready = [t for t in self.tasks.values() if t["status"] == "READY"]
            if not ready:
                return
            task = ready[0]
            task |= {"status": "RUNNING", "started_at": now()}
            self.ran.append(task["_id"])
        time.sleep(self.work)
        with self.lock:
            if task["status"] != "RUNNING":
                return
            if task["type"] in self.failing:
                task |= {"status": "ERROR", "message": "The arm dropped\nit."}
                self._end(task["next"], "CANCELLED")
                return
            result = {"scan": {"energy": -8.0 - len(task["type"]), "sigma": 0.1}}
            task |= {"status": "COMPLETED", "completed_at": now(), "result": result}
            for following in task["next"]:
                if self.tasks[following]["status"] == "WAITING":
                    self.tasks[following]["status"] = "READY"

    def cancel(self, task_id: str) -> tuple[int, dict[str, Any]]:
        with self.lock:
            if task_id not in self.tasks:
                return 400, {"status": "error", "errors": f"No task exists: {task_id}"}
            self._end([task_id], "CANCELLED")
            return 200, {"status": "success"}

    def task(self, task_id: str) -> tuple[int, dict[str, Any]]:
        with self.lock:
            if task_id not in self.tasks:
                words = f"No task exists with provided task id: {task_id}"
                return 400, {"status": "error", "errors": words}
            return 200, {"status": "success", "data": dict(self.tasks[task_id])}

    def results(self, number: int) -> dict[str, Any]:
        """The summary that says COMPLETED whatever happened."""
        with self.lock:
            experiment = self.experiments[number]
            states = [self.tasks[t["task_id"]]["status"] for t in experiment["tasks"]]
            status = "COMPLETED" if set(states) <= ENDED else experiment["status"]
            return {"status": status, "tasks": [{"status": s} for s in states]}

    def _end(self, task_ids: list[str], status: str) -> None:
        for task_id in task_ids:
            task = self.tasks[task_id]
            if task["status"] not in ENDED:
                task["status"] = status
                self._end(task["next"], status)


def _handler(lab: FakeAlabos) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            order = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = lab.submit(order)
            if lab.lose_replies:
                lab.lose_replies -= 1
                self.close_connection = True
                return
            self._answer(*answer)

        def do_GET(self) -> None:
            *_, kind, name = self.path.rsplit("/", 2)
            if lab.broken:
                self._answer(400, {"status": "error", "errors": lab.broken})
            elif name == "get_all_ids":
                self._answer(200, {"status": "success", "experiment_ids": []})
            elif kind == "cancel":
                self._answer(*lab.cancel(name))
            else:
                self._answer(*lab.task(name))

        def _answer(self, status: int, data: Mapping[str, Any]) -> None:
            raw = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def alabos(port: int = 0, **more: Any) -> Iterator[tuple[FakeAlabos, str]]:
    """Serves it and yields it with its address."""
    lab = FakeAlabos(**more)
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(lab))
    server.daemon_threads = True
    ended = threading.Event()

    def manager() -> None:
        while not ended.wait(lab.interval):
            lab.take_up()

    def robot() -> None:
        while not ended.wait(0.005):
            lab.do_work()

    threads = [threading.Thread(target=f) for f in (manager, robot)]
    threads.append(threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}))
    for thread in threads:
        thread.start()
    try:
        yield lab, f"http://127.0.0.1:{server.server_port}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()


def serve(workdir: Path, config: Mapping[str, Any], ended: threading.Event) -> None:
    """An operator: such a lab at the address that the settings name."""
    with alabos(int(str(config["url"]).rpartition(":")[2])):
        ended.wait()
