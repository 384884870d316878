"""Runs the tests in parts, two at a time, each part by a pytest of its own: `python tests/in_parts.py`.

TensorFlow keeps the graphs that a test has traced for as long as the process lives: one process for all tests would
take more memory than a small machine has.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parent
AT_ONCE = 2
FILES = 8
"""Of the files that train, in a part; the others are a part a folder."""
SLOWEST = ("--durations", "10", "--durations-min", "15")
"""What each part tells of its slowest tests."""


def parts() -> list[list[str]]:
    """Paths for each part, the longest first: the benchmarks, then those that train."""
    folders = {folder.name: folder for folder in sorted(TESTS.iterdir()) if list(folder.rglob("test_*.py"))}
    training = [str(file) for file in sorted(folders.pop("trainer").rglob("test_*.py"))]
    count = -(-len(training) // FILES)
    alone = [str(file) for file in sorted(TESTS.glob("test_*.py"))]
    longest = [str(folders.pop("benchmarks"))]
    rest = [[str(folder)] for folder in folders.values()]
    return [longest, *(training[first::count] for first in range(count)), *rest, alone]


def run(part: list[str]) -> int:
    """One part; what it printed follows when it is done."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "pytest", *SLOWEST, *part]
        code = subprocess.run(command, cwd=TESTS.parent, stdout=output, stderr=subprocess.STDOUT).returncode
        output.seek(0)
        text = output.read().decode(errors="replace")
    title = ", ".join(Path(path).relative_to(TESTS).as_posix() for path in part)
    print(f"{title}: code {code} after {time.monotonic() - began:.0f} s\n{text}", flush=True)
    return code


def main() -> int:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        codes = list(pool.map(run, parts()))
    print(f"{sum(code == 0 for code in codes)} of {len(codes)} parts passed", flush=True)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
