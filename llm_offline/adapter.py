"""LoRA's weights on disk, in PEFT's own format: PEFT and vLLM read the folder, and here it is merged into a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_store import folders
from feature_store.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

KIND = "adapter"
BASE = "base"  # the adapter version of a model as it was published
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


def write(
    out: Path, weights: Mapping[str, Tensor], model: str, model_id: str, alpha: float, name: str,
    described: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Writes a folder; its version is ``name`` and a hash of the weights. Returns the manifest.

    Args:
        weights: by the names they have in a model with a head: ``….q_proj.lora_A.default.weight``, (r, in), and lora_B,
            (out, r).
        model, model_id: the base, as a config names it, and its `identity.model_id`.
        described: what the manifest says besides: what the adapter was trained from.
    """
    from peft import LoraConfig
    from safetensors.torch import save_file

    named = {_PREFIX + key.replace(".default.", "."): value for key, value in weights.items()}
    kept = {key: value.detach().cpu().contiguous() for key, value in named.items()}
    rank = next(value.shape[0] for key, value in kept.items() if key.endswith(_A))
    targets = sorted({key.split(".lora_")[0].rpartition(".")[2] for key in kept})
    with folders.new_folder(out) as folder:
        save_file(kept, folder / _WEIGHTS)
        config = LoraConfig(
            r=rank, lora_alpha=alpha, target_modules=targets, task_type="CAUSAL_LM", base_model_name_or_path=model,
            inference_mode=True,
        )  # fmt: skip
        config.save_pretrained(folder)
        files = [folders.describe(folder / file, folder) for file in (_WEIGHTS, _CONFIG)]
        manifest = {"kind": KIND, "model_id": model_id, "adapter_version": f"{name}-{_digest(kept)}", "rank": rank,
                    "alpha": alpha, **described, "files": files}  # fmt: skip
        folders.write_manifest(folder, manifest)
    return manifest


def version_of(folder: Path | None) -> str:
    """The version of the adapter in a folder; None is the model as it was published.

    Raises:
        DataError: the folder is not whole, or not one of an adapter.
    """
    return BASE if folder is None else read(folder)["adapter_version"]


def read(folder: Path) -> dict[str, Any]:
    """The manifest of an adapter's folder; errors as `version_of`."""
    return folders.read_manifest_of(KIND, Path(folder), "an adapter")


def weights_of(folder: Path) -> dict[str, Tensor]:
    """The weights by the names that `write` was given; errors as `version_of`."""
    from safetensors.torch import load_file

    read(folder)
    found = load_file(Path(folder) / _WEIGHTS)
    return {
        key.removeprefix(_PREFIX).replace(_A, ".lora_A.default.weight").replace(_B, ".lora_B.default.weight"): value
        for key, value in found.items()
    }


def merge(model: nn.Module, folder: Path, model_id: str) -> str:
    """Adds (α / r) B A to the weights of a model, in place, with a head or without; returns the adapter's version.

    Raises:
        DataError: as `version_of`, or the adapter is of another base than ``model_id``; the dtype may be another.
    """
    manifest = read(folder)
    if _but_dtype(manifest["model_id"]) != _but_dtype(model_id):
        rule = f"is of another model: it must be of {model_id!r}"
        raise DataError(rule, file=folder, field="model_id", value=manifest["model_id"])
    weights, modules = weights_of(folder), dict(model.named_modules())
    scale = manifest["alpha"] / manifest["rank"]
    for key in sorted(key for key in weights if ".lora_A." in key):
        name = key.split(".lora_A.")[0]
        linear = modules.get(name) or modules[name.removeprefix("model.")]
        delta = scale * (_wide(weights[key.replace("lora_A", "lora_B")]) @ _wide(weights[key]))
        linear.weight.data = (_wide(linear.weight.data) + delta).to(linear.weight.dtype)
    return manifest["adapter_version"]


def _but_dtype(model_id: str) -> str:
    return model_id.rpartition("/")[0]


def _wide(weight: torch.Tensor) -> torch.Tensor:
    return weight.double()


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps({name: list(value.shape) for name, value in sorted(weights.items())}).encode())
    for _, value in sorted(weights.items()):
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:12]
