"""What a training has left."""

from pathlib import Path

import numpy as np

from trainer import checkpoint


def parameters(model: Path) -> dict[str, np.ndarray]:
    """The arrays of a model's newest checkpoint, by name."""
    return {path.stem: np.load(path) for path in sorted(checkpoint.newest(model / "checkpoints").glob("*.npy"))}
