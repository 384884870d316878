"""Backbones, which are models over item histories, and models of labelled requests, by the ``kind`` a config names."""

from trainer.models.base import Base
from trainer.models.bert4rec import BERT4Rec
from trainer.models.choirrec import ChoirRec
from trainer.models.fdsa import FDSA
from trainer.models.pinnerformer import PinnerFormer
from trainer.models.s3rec import S3Rec
from trainer.models.sasrec import SASRec

REQUEST_MODELS = {
    "base": Base,
    "choirrec": ChoirRec,
}

MODELS = {
    "bert4rec": BERT4Rec,
    "fdsa": FDSA,
    "pinnerformer": PinnerFormer,
    "s3rec": S3Rec,
    "sasrec": SASRec,
}
