"""The server that a new version is rolled out on: waiting until it is loaded, and asking it."""

from __future__ import annotations

import time
from pathlib import Path

CHUNK = 64
"""Histories in one request."""


def wait(server: str, model: str, version: int, seconds: float) -> str:
    """Waits until the server has loaded a version; returns "", or why it is not to be waited for any longer."""
    from serving.client import Client
    from serving.errors import ServingError

    end, last = time.monotonic() + seconds, "no answer"
    with Client(server, model) as client:
        while time.monotonic() < end:
            try:
                known = {each["version"]: each for each in client.status()}
                found = known.get(version, {"state": "unknown", "message": ""})
                if found["state"] == "AVAILABLE":
                    return ""
                last = f"{found['state']} {found['message']}".strip()
                if found["state"] == "END":
                    break
            except ServingError as error:
                last = str(error)
            time.sleep(0.5)
    return f"version {version} was not loaded by {server}: {last}"


def ask(server: str, model: str, examples: Path, seconds: float) -> int:
    """Asks the canary what the hold-out's users would; returns how many of the requests failed.

    The label is waited for: a server reads its model config file every so often.
    """
    from feature_store.examples import read_rows
    from serving.client import Client
    from serving.errors import ServingError

    histories = read_rows(examples, "test", ["history"])["history"].to_pylist()
    end, failed = time.monotonic() + seconds, 0
    with Client(server, model, label="canary") as client:
        for first in range(0, len(histories), CHUNK):
            while True:
                try:
                    client.recommend(histories[first : first + CHUNK], 1)
                except ServingError:
                    if first == 0 and time.monotonic() < end:
                        time.sleep(0.5)
                        continue
                    failed += 1
                break
    return failed
