from __future__ import annotations

from pathlib import Path

import pytest

from serving import model_config
from serving.model_config import ModelConfig
from serving.version_policy import All, Latest, Specific


def read(tmp_path: Path, text: str) -> list[ModelConfig]:
    path = tmp_path / "models.config"
    path.write_text(text)
    return model_config.read(path)


def entry(name: str, base_path: Path, more: str = "") -> str:
    return f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {more} }}'


def test_reads_models_policies_and_labels(tmp_path: Path) -> None:
    text = "model_config_list {" + "\n".join(
        [
            entry("one", tmp_path),
            entry("two", tmp_path, "model_version_policy { latest { num_versions: 2 } }"),
            entry("all", tmp_path, "model_version_policy { all {} }"),
            entry(
                "named",
                tmp_path,
                "model_version_policy { specific { versions: 3 versions: 5 } } "
                'version_labels { key: "stable" value: 3 }',
            ),
        ]
    )
    assert read(tmp_path, text + "}") == [
        ModelConfig("one", tmp_path),
        ModelConfig("two", tmp_path, Latest(2)),
        ModelConfig("all", tmp_path, All()),
        ModelConfig("named", tmp_path, Specific(frozenset({3, 5})), {"stable": 3}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list { config { nme: 'x' } }", "models.config: not a ModelServerConfig: 1:30"),
        ("", "the model config must hold a model_config_list"),
        (
            'model_config_list { config { name: "x" model_platform: "onnx" } }',
            "Model x requests unsupported platform onnx",
        ),
    ],
)
def test_refuses_another_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_refuses_a_name_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Illegal to list model one multiple times in config list"):
        read(tmp_path, f"model_config_list {{ {entry('one', tmp_path)} {entry('one', tmp_path)} }}")


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a:predict"])
def test_refuses_a_name_no_request_could_use(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="must not be empty nor hold '/' or ':'"):
        ModelConfig(name, tmp_path)


def test_refuses_a_base_path_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="model m: base_path .*/missing is not a folder"):
        ModelConfig("m", tmp_path / "missing")


def test_refuses_a_version_folder_as_base_path(exported: Path) -> None:
    with pytest.raises(
        ValueError, match="is itself a SavedModel; give the folder that holds its version folders"
    ):
        ModelConfig("m", exported / "1")
