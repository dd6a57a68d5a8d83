"""A server on this machine that answers as it is told, and remembers what it was asked."""

import http.server
import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from PIL import Image


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    kind: str = "image/png"
    headers: Mapping[str, str] = field(default_factory=dict)
    stall_s: float = 0.0


@dataclass
class Server:
    address: str
    asked: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[str], Reply]) -> Iterator[Server]:
    """A server whose `answer(path)` gives the replies."""
    server = Server("")
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            server.agents.append(self.headers["User-Agent"])
            reply = answer(self.path)
            over.wait(reply.stall_s)
            try:
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.kind)
                self.send_header("Content-Length", str(len(reply.body)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
            except OSError:  # the client has left
                pass

        def do_POST(self) -> None:
            server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        server.address = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            over.set()
            httpd.shutdown()
            thread.join()


def png(size_px: int = 256, colour: str = "green") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size_px, size_px), colour).save(stream, "PNG")
    return stream.getvalue()
