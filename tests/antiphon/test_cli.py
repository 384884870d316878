import subprocess
import sys

import pytest

from antiphon import processes
from antiphon.cli import exit_code, main
from antiphon.commands import STAGES, parser


def antiphon(*arguments, cwd=None):
    command = [sys.executable, "-m", "antiphon.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"name: a\nruns: {tmp_path}/runs\nvariants: {{ids: {{}}, text: {{}}}}\n")
    return str(path)


def test_help_names_every_command():
    told = antiphon("--help").stdout
    others = ("run", "llm", "serve", "recommend", "skew", "experiment", "simulate", "replay", "bench", "reproduce")
    for command in (*STAGES, *others):
        assert f"    {command}" in told


@pytest.mark.parametrize("command", [*STAGES, "run", "llm", "serve", "recommend"])
def test_every_command_takes_a_config_and_overrides(command):
    options = parser().parse_args([command, "-c", "x.yaml", "--set", "a.b=1", "--set", "c.d=2"])
    assert (options.command, options.config, options.overrides) == (command, "x.yaml", ["a.b=1", "c.d=2"])


def test_serve_takes_tf_servings_flags():
    options = parser().parse_args(["serve", "-c", "x.yaml", "--port=1", "--enable_batching", "--num_load_threads=2"])
    assert (options.grpc_port, options.enable_batching) == (1, True)


def test_serve_serves_the_model_unless_it_is_told_to_serve_the_chatbot():
    asked = [["serve", "-c", "x.yaml"], ["serve", "chatbot", "-c", "x.yaml", "--port=0"]]
    assert [parser().parse_args(each).what for each in asked] == ["model", "chatbot"]


def test_bad_input_is_one_line_and_exit_code_2(config):
    found = antiphon("run", "-c", config, "--set", "train.bacth=3")
    assert found.returncode == 2
    assert found.stderr.splitlines() == [
        f"antiphon: {config}: train.bacth: there is no such field; did you mean 'batch'? (received '3')"
    ]


def test_debug_shows_the_traceback(config):
    assert "Traceback" in antiphon("run", "-c", config, "--set", "train.bacth=3", "--debug").stderr


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["train", "--variant", "idds"], "--variant must be one of ids, text, received 'idds'"),
        (["knowledge", "--source", "kar"], "--source must be one of"),
        (["knowledge"], "sources must name at least one source of knowledge"),
        (["train", "--cluster", "ps=x"], 'expected "ps=2,workers=2"'),
        (["evaluate", "--cluster", "ps=x"], 'expected "ps=2,workers=2"'),
        (["align", "--cluster", "ps=x"], 'expected "ps=2,workers=2"'),
        (["llm"], "there are no training examples; `antiphon examples` makes them"),
        (["serve"], "there is no exported model; `antiphon export` makes it"),
        (["serve", "--port=70000"], "serve.grpc_port must lie in 0..65535, got 70000"),
        (["recommend", "--user", "1"], "features"),
        (["report"], "report needs ingest, which has not been done"),
        (["ingest", "--set", "data.reader=tables", "--set", "data.events=no/such.csv"], "no file matches"),
    ],
)
def test_what_cannot_be_done_is_told_with_exit_code_2(config, arguments, told):
    found = antiphon(arguments[0], "-c", config, *arguments[1:])
    assert told in found.stdout + found.stderr
    assert "Traceback" not in found.stderr
    assert found.returncode == 2


def test_under_tf_config_one_variant_must_be_named(config, monkeypatch, capsys):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {}, "task": {"type": "chief", "index": 0}}')
    assert main(["train", "-c", config]) == 2
    assert "with --variant, one of ids, text" in capsys.readouterr().err


def test_a_tf_config_that_is_not_one_is_told(config, monkeypatch, capsys):
    monkeypatch.setenv("TF_CONFIG", "chief")
    assert main(["train", "-c", config, "--variant", "ids"]) == 2
    assert "TF_CONFIG: must be JSON with task.type, received 'chief'" in capsys.readouterr().err


def test_an_error_that_asks_to_be_started_again_has_its_own_exit_code():
    from trainer.cluster.strategy import ParameterServerLost

    assert exit_code(ParameterServerLost("ps 1")) == 138
    assert exit_code(processes.StageFailed("train", 138)) == 138
    assert exit_code(processes.StageFailed("train", -9)) == 1
    assert (exit_code(ValueError("x")), exit_code(OSError("x"))) == (2, 1)


def test_a_benchmark_gets_its_own_arguments():
    options = parser().parse_args(["bench", "train", "--quick", "--set", "x"])
    assert (options.name, options.arguments) == ("train", ["--quick", "--set", "x"])
    assert "--quick" in antiphon("bench", "train", "--help").stdout


def test_an_unknown_benchmark_is_told():
    found = antiphon("bench", "nothing")
    assert found.returncode == 2
    assert "train" in found.stderr


def test_a_reproduction_is_found_by_its_name_and_tells_what_it_costs():
    options = parser().parse_args(["reproduce", "backbones", "--data", "beauty"])
    assert (options.name, options.arguments) == ("backbones", ["--data", "beauty"])
    assert "trainings" in antiphon("reproduce", "backbones", "--help").stdout
