"""A server of OpenAI's chat interface as a process of its own: `python chat_endpoint.py FAILURES`.

It answers the first FAILURES requests with 503, then each with what it was asked. A prompt that holds "refuse" gets
400, "garbage" an answer of another form, "slow" none for ten seconds. /requests tells how many, and the last.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    lock = threading.Lock()
    failures = 0
    requests = 0
    last: dict[str, Any] = {}

    def do_GET(self) -> None:
        self._send(200, {"requests": Handler.requests, "last": Handler.last})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with Handler.lock:
            Handler.requests += 1
            failing = Handler.requests <= Handler.failures
            Handler.last = {"path": self.path, "body": body, "key": self.headers.get("authorization")}
        text = body["messages"][-1]["content"]
        if failing:
            self._send(503, {"error": "starting"})
        elif "refuse" in text:
            self._send(400, {"error": "no such model"})
        elif "garbage" in text:
            self._send(200, {"choices": []})
        else:
            if "slow" in text:
                time.sleep(10)
            said = f"{len(body['messages'])} {body['temperature']} {body['seed']}: {text.split('.')[0]}"
            self._send(200, {"choices": [{"message": {"content": f" {said} "}}]})

    def _send(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def running(failures: int = 0) -> Iterator[str]:
    """The base URL of a server that runs for as long as the block lasts."""
    process = subprocess.Popen([sys.executable, __file__, str(failures)], stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    Handler.failures = int(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
