"""CoCo: a recommender and a language model trained by one loss (Mu et al., 2026; their Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from feature_store import prompt_codebook
from feature_store.checks import at_least
from feature_store.errors import DataError
from feature_store.knowledge_shards import Statistics
from trainer.config import CocoConfig
from trainer.layers.adapter import LinearAdapter
from trainer.layers.alignment import Alignment, Fusion
from trainer.layers.flat import weight_shapes
from trainer.layers.hybrid_experts import HybridExperts
from trainer.layers.prompt_codebook import FixedPrompts, PromptCodebook, Selection, unit
from trainer.models.backbone import Backbone


class Knowledge(NamedTuple):
    """What is known of B users beside their behaviour.

    Attributes:
      h: (B, m, d'). mask: (B, m) bool, False at padding; a user of whom nothing is known has none that is True.
    """

    h: tf.Tensor
    mask: tf.Tensor


Know = Callable[[Selection, tf.Tensor], Knowledge]
"""Users' prompts and their histories (B, H) -> what is known of them."""


class CoCo(tf_keras.Model):
    """Prompts and alignment around a backbone, whose weights and outputs stay its own.

    It holds the backbone, so that the weights of both lie and travel together. What makes knowledge of the prompts
    is somebody else's: `Know`.

    Args:
      config: with ``knowledge_width`` set, and where there are prompts ``width``. seed: of initial values.
      statistics: of stored knowledge, which its adapter starts from.

    Raises:
      ValueError: a width is not set.
      DataError: the prompts' file or folder does not hold what the config says.
    """

    def __init__(
        self, backbone: Backbone, config: CocoConfig, seed: int = 0, statistics: Statistics | None = None
    ) -> None:
        super().__init__(name="coco")
        for name in ("width", "knowledge_width") if config.prompted else ("knowledge_width",):
            at_least(f"coco.{name}", getattr(config, name), 1)
        self.backbone, self.config = backbone, config
        initial, shared = _initial(config, seed)
        if not config.selects:
            self.codebook: tf_keras.layers.Layer = FixedPrompts(initial, name="prompts")
        else:
            scale = float(np.sqrt(np.mean(initial**2)))
            self.codebook = PromptCodebook(
                config, initial, shared, config.scale or scale, seed, name="prompts"
            )
        d, residual, width = backbone.config.d, config.residual, config.knowledge_width
        self.adapter: LinearAdapter | HybridExperts | None = None
        if not config.prompted and config.adapter != "none":
            self.adapter, width = _adapter(d, config, statistics), d
            self.adapter.build(config.knowledge_width)
        if isinstance(self.adapter, HybridExperts):
            backbone.adapt(self.adapter.items, config.knowledge_width)
        if config.fusion == "attention":
            self.fusion: tf_keras.layers.Layer = Alignment(
                d, config.heads, residual, config.concatenation, name="alignment"
            )
        else:
            self.fusion = Fusion(d, config.fusion == "mlp", residual, name="fusion")
        self.codebook.build(tf.TensorShape((None, d)))
        self.fusion.build(width)
        self.built = True

    @property
    def own(self) -> list[str]:
        """Names of its weights beside the backbone's (``trainer.layers.flat.weight_shapes``)."""
        return [name for name in weight_shapes(self) if not name.startswith("backbone.")]

    def prompts(self, h: tf.Tensor, selected: Selection | None = None) -> Selection:
        """The prompts of users whose last h_RS is h (B, d), or the codes that were ``selected`` before."""
        return self.codebook(self._level(h), selected)

    def aligned(self, h: tf.Tensor, seen: tf.Tensor, knowledge: Knowledge) -> tf.Tensor:
        """h_RS (B, L, d) with its mask (B, L) and the users' knowledge -> h_aligned (B, d).

        Where scores are cosines it is as long as h_RS. A user without knowledge keeps its h_RS.
        """
        last, known = h[:, -1], knowledge.h if self.adapter is None else self.adapter(knowledge.h)
        found = self.fusion(self._level(h), seen, known, knowledge.mask)
        if self.backbone.config.temperature:
            square = tf.reduce_sum(tf.square(last), axis=-1, keepdims=True)
            found = unit(found) * tf.sqrt(tf.maximum(square, 1e-12))
        return tf.where(tf.reduce_any(knowledge.mask, axis=1, keepdims=True), found, last)

    def _level(self, h: tf.Tensor) -> tf.Tensor:
        """h_RS at the length √d that a layer norm gives, which backbones with a temperature change."""
        return unit(h) * self.backbone.config.d**0.5 if self.backbone.config.temperature else h


def helped(aligned: tf.Tensor, h: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """M of Eq. 8 (B,) bool: whether h_aligned (B, d) is nearer to the target's vector (B, d) than h_RS (B, d) is."""
    near = [tf.reduce_sum(unit(x) * unit(target), axis=-1) for x in (aligned, h)]
    return near[0] > near[1]


def _adapter(d: int, config: CocoConfig, statistics: Statistics | None) -> LinearAdapter | HybridExperts:
    if config.adapter == "linear":
        return LinearAdapter(d, statistics, name="adapter")
    return HybridExperts(d, config.shared_experts, config.dedicated_experts, statistics, name="adapter")


def _initial(config: CocoConfig, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The codes (K, D) at first, and the shared prompts (S, D) where ``config.prompts`` holds them.

    Knowledge that is not of prompts has none.
    """
    if not config.prompted:
        return np.zeros((0, 1), np.float32), None
    if not config.prompts:
        drawn = np.random.default_rng(seed).normal(size=(config.codes, config.width))
        return (drawn * (config.scale or 1.0)).astype(np.float32), None
    path, shared = Path(config.prompts), None
    if path.is_dir():
        written = prompt_codebook.read(path, config.codes)
        found, shared = written.private, written.shared
        if not config.fixed and len(shared) != config.shared:
            raise DataError(f"coco.shared must be {len(shared)}, as many as lie there", file=path, value=config.shared)
    elif path.is_file():
        found = np.load(path)
    else:
        raise DataError("coco.prompts: there is no such file or folder", file=path)
    rows = len(found) if config.fixed else config.codes
    if found.shape != (rows, config.width):
        wanted = f"(prompts, {config.width})" if config.fixed else f"{(rows, config.width)}"
        raise DataError(f"coco.prompts must be of shape {wanted}", file=path, value=found.shape)
    return found.astype(np.float32), shared
