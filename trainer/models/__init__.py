"""Models over item histories, by the ``kind`` a config names."""

from trainer.models.sasrec import SASRec

MODELS = {"sasrec": SASRec}
