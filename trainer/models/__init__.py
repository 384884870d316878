"""Backbones, which are models over item histories, and models of labelled requests, by the ``kind`` a config names."""

from trainer.models.base import Base
from trainer.models.bert4rec import BERT4Rec
from trainer.models.choirrec import ChoirRec
from trainer.models.cold_transformer import ColdTransformer
from trainer.models.fdsa import FDSA
from trainer.models.melt import Melt
from trainer.models.pinnerformer import PinnerFormer
from trainer.models.poso import Poso
from trainer.models.qe_rec import QERec
from trainer.models.s3rec import S3Rec
from trainer.models.sasrec import SASRec
from trainer.models.two_towers import TwoTowers
from trainer.models.uie import Uie

REQUEST_MODELS = {
    "base": Base,
    "choirrec": ChoirRec,
    "cold_transformer": ColdTransformer,
    "melt": Melt,
    "poso": Poso,
    "qe_rec": QERec,
    "two_towers": TwoTowers,
    "uie": Uie,
}

MODELS = {
    "bert4rec": BERT4Rec,
    "fdsa": FDSA,
    "pinnerformer": PinnerFormer,
    "s3rec": S3Rec,
    "sasrec": SASRec,
}
