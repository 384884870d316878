"""CoCo's own figures (Mu et al., 2026): R@5, N@5."""

from __future__ import annotations

from benchmarks.reproduce._rows import Reference, Row

PAPER = "CoCo (Mu et al., 2026)"

TABLE_1 = {  # by data set and backbone: base, KAR, R⁴ec, CoCo
    "beauty": {
        "bert4rec": ((0.0203, 0.0124), (0.0206, 0.0127), (0.0207, 0.0129), (0.0213, 0.0134)),
        "fdsa": ((0.0267, 0.0163), (0.0272, 0.0166), (0.0275, 0.0167), (0.0280, 0.0170)),
        "s3rec": ((0.0387, 0.0244), (0.0388, 0.0246), (0.0389, 0.0247), (0.0398, 0.0253)),
        "sasrec": ((0.0387, 0.0249), (0.0395, 0.0255), (0.0402, 0.0258), (0.0414, 0.0265)),
        "pinnerformer": ((0.0516, 0.0373), (0.0522, 0.0377), (0.0536, 0.0383), (0.0549, 0.0405)),
    },
    "toys": {
        "bert4rec": ((0.0116, 0.0069), (0.0117, 0.0070), (0.0118, 0.0071), (0.0121, 0.0073)),
        "fdsa": ((0.0228, 0.0140), (0.0230, 0.0142), (0.0234, 0.0143), (0.0240, 0.0145)),
        "s3rec": ((0.0443, 0.0294), (0.0454, 0.0298), (0.0453, 0.0296), (0.0457, 0.0299)),
        "sasrec": ((0.0463, 0.0306), (0.0474, 0.0309), (0.0476, 0.0310), (0.0484, 0.0315)),
        "pinnerformer": ((0.0585, 0.0455), (0.0595, 0.0458), (0.0597, 0.0460), (0.0634, 0.0476)),
    },
}
TABLE_2 = {  # by data set
    "beauty": {
        "UniSRec": (0.0329, 0.0248), "TALLRec": (0.0403, 0.0295), "Recformer": (0.0439, 0.0317),
        "TIGER": (0.0454, 0.0321), "COBRA": (0.0537, 0.0395), "PinnerFormer": (0.0516, 0.0373),
        "PinnerFormer + CoCo": (0.0549, 0.0405),
    },
    "toys": {
        "UniSRec": (0.0429, 0.0292), "TALLRec": (0.0498, 0.0327), "Recformer": (0.0512, 0.0345),
        "TIGER": (0.0521, 0.0371), "COBRA": (0.0619, 0.0462), "PinnerFormer": (0.0585, 0.0455),
        "PinnerFormer + CoCo": (0.0634, 0.0476),
    },
}  # fmt: skip
TABLE_3 = {  # PinnerFormer on Beauty
    "coco": (0.0549, 0.0405), "coco_soft": (0.0531, 0.0390), "coco_dec": (0.0539, 0.0397), "coco_con": (0.0543, 0.0400),
}  # fmt: skip
TABLE_6 = {  # on the industrial data set
    "Qwen3-0.8B": (0.0706, 0.0478), "Qwen3-1.7B": (0.0725, 0.0486), "Qwen3-4.0B": (0.0752, 0.0497),
    "Qwen3-8.0B": (0.0773, 0.0503),
}  # fmt: skip
TABLE_7 = {  # on the industrial data set
    "pinnerformer": {"coco": (0.0752, 0.0497), "coco_mlp": (0.0745, 0.0494), "coco_fea": (0.0742, 0.0492)},
    "sasrec": {"coco": (0.0521, 0.0355), "coco_mlp": (0.0515, 0.0352), "coco_fea": (0.0513, 0.0351)},
}


def table_1(row: Row) -> Reference | None:
    """The figures of Table 1 for a row."""
    methods = ("base", "kar", "r4ec", "coco")
    if row.recipe not in methods or row.data not in TABLE_1:
        return None
    return _reference(TABLE_1[row.data][row.backbone][methods.index(row.recipe)], "Table 1")


def table_3(row: Row) -> Reference | None:
    """The figures of Table 3 for a row."""
    there = (row.data, row.backbone) == ("beauty", "pinnerformer") and row.recipe in TABLE_3
    return _reference(TABLE_3[row.recipe], "Table 3") if there else None


def table_7(row: Row) -> Reference | None:
    """The figures of Table 7 for a row, which are of other data."""
    found = TABLE_7.get(row.backbone, {}).get(row.recipe)
    return _reference(found, "Table 7, the industrial data set") if found else None


def _reference(values: tuple[float, float], table: str) -> Reference:
    return Reference("published", dict(zip(("recall@5", "ndcg@5"), values, strict=True)), f"{PAPER}, {table}")
