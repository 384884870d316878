from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from serving import flags
from serving.config import ServeConfig


def parse(*arguments: str) -> tuple[ServeConfig, argparse.Namespace]:
    parser = argparse.ArgumentParser()
    flags.add_model(parser)
    flags.add(parser)
    options = parser.parse_args(arguments)
    return flags.applied(options, ServeConfig(poll_seconds=5)), options


def test_flags_go_over_the_config() -> None:
    config, options = parse("--port=9", "--rest_api_port=10", "--model_name=m", "--rest_api_timeout_in_ms=7")
    assert (config.grpc_port, config.rest_port, config.rest_timeout_ms) == (9, 10, 7)
    assert config.poll_seconds == 5
    assert options.model_name == "m"


def test_what_is_not_given_stays() -> None:
    assert parse()[0] == ServeConfig(poll_seconds=5)


@pytest.mark.parametrize(
    ("flag", "value"), [("", True), ("=true", True), ("=false", False), ("=1", True), ("=0", False)]
)
def test_a_switch_is_given_as_tf_serving_takes_it(flag: str, value: bool) -> None:
    assert parse(f"--enable_batching{flag}")[0].enable_batching is value


def test_refuses_what_is_neither_true_nor_false(capsys) -> None:
    with pytest.raises(SystemExit):
        parse("--enable_batching=perhaps")
    assert "must be true or false, got 'perhaps'" in capsys.readouterr().err


def test_batching_parameters_need_batching() -> None:
    with pytest.raises(ValueError, match="batching_parameters_file is set without setting"):
        parse("--batching_parameters_file=x")


def test_takes_flags_that_change_nothing_here() -> None:
    config, options = parse("--flush_filesystem_caches=false", "--num_load_threads=4", "--enable_profiler")
    assert config == ServeConfig(poll_seconds=5)
    assert flags.without_effect(options) == ["flush_filesystem_caches", "num_load_threads", "enable_profiler"]


def test_importing_it_loads_no_framework(repository: Path) -> None:
    code = "import sys, serving.flags; sys.exit(bool({'tensorflow', 'grpc'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=repository, timeout=60).returncode == 0
