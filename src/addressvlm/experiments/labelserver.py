"""A chat endpoint on loopback that times out, refuses and talks nonsense: what label jobs are tried on.

Its texts are those of the rule-based writer, made from the hint of each call. It keeps a ledger of its own,
so that what a job believes it has spent can be compared with what was asked of the server.
"""

import contextlib
import json
import random
import select
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

from addressvlm.dataset.describing import rule_based_describe

_WEB_PAGE = "<!doctype html><title>502</title><p>Bad gateway"
NOTED = 100
_TOLD = ("calls", "outcomes", "busy_s", "first", "last", "begun")
# Garbage of all sorts: pages of a proxy, torn bodies, other JSON, and texts that must not be learned.
_GARBAGE = ("page", "torn", "other", "empty", "refusal", "told")


@dataclass(frozen=True)
class Faults:
    """Shares of calls that go wrong, and how long the others take."""

    timeouts: float = 0.0
    rate_limits: float = 0.0
    garbage: float = 0.0
    service_s: float = 0.0
    """Mean time of an answer; single ones take half to one and a half times as long."""
    hang_s: float = 60.0
    """How long a call hangs that times out, unless the client leaves earlier."""
    seed: int = 0


@dataclass
class Log:
    """What was asked of the server. `busy_s` sums over all calls how long the server had them."""

    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    busy_s: float = 0.0
    first: float = 0.0
    last: float = 0.0
    begun: list[float] = field(default_factory=list)
    """When each of the first `NOTED` calls came."""
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of the first calls."""


class LabelServer(ThreadingHTTPServer):
    """The endpoint; `log` is its ledger."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, faults: Faults | None = None, port: int = 0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.faults = faults or Faults()
        self.log = Log()
        self.lock = threading.Lock()
        self.dice = random.Random(self.faults.seed)

    @property
    def url(self) -> str:
        """The endpoint's address."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients leave as they please."""

    def respond(self, body: Mapping[str, Any]) -> "Answer":
        """What to answer to a chat request."""
        with self.lock:
            fate, pause = self.dice.random(), self.faults.service_s * self.dice.uniform(0.5, 1.5)
            sort = self.dice.choice(_GARBAGE)
        faults = self.faults
        if fate < faults.timeouts:
            return Answer("timeout", wait_s=faults.hang_s, hang=True)
        if fate < faults.timeouts + faults.rate_limits:
            error = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            return Answer("rate_limit", 429, json.dumps(error), {"Retry-After": "1"})
        if fate < faults.timeouts + faults.rate_limits + faults.garbage:
            return Answer(f"garbage: {sort}", 200, garbage(sort), wait_s=pause)
        return Answer("label", 200, completion(label_of(body)), wait_s=pause)


@dataclass(frozen=True)
class Answer:
    """A response: what sort it is, status, body, headers, and how long it takes; `hang` gives none at all."""

    sort: str
    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    hang: bool = False


@contextlib.contextmanager
def serving(server: LabelServer) -> Iterator[LabelServer]:
    """Run a server in a thread for as long as the block lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def text_parts(body: Mapping[str, Any]) -> list[str]:
    """The texts of a request, in their order."""
    parts: Sequence[Mapping[str, Any]] = body["messages"][-1]["content"]
    return [part["text"] for part in parts if part["type"] == "text"]


def label_of(body: Mapping[str, Any]) -> str:
    """A label as good as the hint in the request."""
    return rule_based_describe((), "\n".join(text_parts(body)))


def completion(text: str, finish_reason: str = "stop") -> str:
    """A chat completion as servers send it."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish_reason,
    }
    usage = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})


def garbage(sort: str) -> str:
    """A body of this sort of garbage."""
    bodies = {
        "page": _WEB_PAGE,
        "torn": completion("torn")[:40],
        "other": json.dumps({"status": "ok"}),
        "empty": completion(""),
        "refusal": completion(
            "I'm sorry, but I cannot determine where this photo was taken, I really cannot."
        ),
        "told": completion(
            "According to the hint, the photo was taken where the provided address says it was."
        ),
    }
    return bodies[sort]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LabelServer

    def do_POST(self) -> None:
        begun = time.monotonic()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        log = self.server.log
        with self.server.lock:
            log.calls += 1
            log.first = log.first or begun
            if len(log.begun) < NOTED:
                log.begun.append(begun)
            log.headers = dict(self.headers)
            if len(log.requests) < 4:
                log.requests.append(body)
        answer = self.server.respond(body)
        with self.server.lock:
            log.outcomes[answer.sort] += 1
        if answer.hang:
            select.select([self.connection], [], [], answer.wait_s)  # until the client leaves
            self.close_connection = True
        else:
            time.sleep(max(0.0, answer.wait_s - (time.monotonic() - begun)))
            self._send(answer)
        ended = time.monotonic()
        with self.server.lock:
            log.busy_s += ended - begun
            log.last = ended

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(Answer("models", body=json.dumps({"object": "list", "data": [{"id": "parrot"}]})))
            return
        with self.server.lock:
            log = vars(self.server.log)
            told = json.dumps({key: log[key] for key in _TOLD})
        self._send(Answer("log", body=told))

    def _send(self, answer: Answer) -> None:
        data = answer.body.encode()
        page = answer.body.startswith("<")
        self.send_response(answer.status)
        self.send_header("Content-Type", "text/html" if page else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main(faults: Faults, port: Connection) -> None:
    """Serve in a process of its own, telling its port, until the other end is gone."""
    server = LabelServer(faults)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port.send(server.server_address[1])
    with contextlib.suppress(EOFError):
        port.recv()
