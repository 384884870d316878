"""SASRec: self-attentive sequential recommendation (Kang & McAuley, ICDM 2018)."""

from __future__ import annotations

from trainer.models.backbone import Backbone


class SASRec(Backbone):
    """A causal transformer that at every position predicts the next item."""
