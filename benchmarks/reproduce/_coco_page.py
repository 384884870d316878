"""CoCo's page: a section for each of the paper's tables and figures, of what is known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from benchmarks.reproduce import _coco_pictures, _coco_published, _tables
from benchmarks.reproduce._coco_rows import (
    ABLATIONS,
    BASE,
    HEADLINE,
    HELD,
    HELD_BASE,
    LIKE,
    LIKENESS,
    SENSITIVITY,
    SIZES,
    SWITCHES,
    TEMPLATES,
    TOLD_NOTHING,
)
from benchmarks.reproduce._results import Result, Results
from benchmarks.reproduce._rows import Reference, Reproduction, Row
from trainer.statistics import Comparison

AT_5 = {"recall@5": "R@5", "ndcg@5": "N@5"}
BOTH = ("recall@5", "ndcg@10")


@dataclass(frozen=True)
class Section:
    """A table of ours.

    Attributes:
        recipes: of its rows. against: the recipe that gains are over.
        published: of a row. beside: pictures under it, by the ends of their names.
        repeated: the seeds' spread and the paired tests are told here.
    """

    title: str
    note: str
    recipes: Collection[str]
    against: str
    published: Callable[[Row], Reference | None] = lambda row: None
    beside: Sequence[str] = ()
    repeated: bool = False


_QWEN = "; ".join(f"{name} {recall:.4f} / {gain:.4f}" for name, (recall, gain) in _coco_published.TABLE_6.items())

SECTIONS = (
    Section(
        "Table 1: over the backbones",
        """\
A row's gain is over the base of its data set and backbone: relative, with the p value of seed 1's paired test over
users. What KAR and R⁴ec had a model write of users and items goes through KAR's experts and stands beside h_RS. The
picture of gains is of all seeds together where there are several.""",
        (*BASE, "kar", "r4ec", "coco"), "base", _coco_published.table_1, ("headline", "gains"), repeated=True,
    ),
    Section(
        "Table 3: without one part",
        """\
CoCo_Soft has four of the universal prompts for everybody, untrained, in place of the codebook, CoCo_Dec one piece of
knowledge for all prompts and no L_ortho, CoCo_Con a language model that stays as it is. Gains are over CoCo.""",
        ("coco", *ABLATIONS), "coco", _coco_published.table_3,
    ),
    Section(
        "What is not the language model's",
        """\
CoCo adds layers to the base, and an optimizer that starts anew. Here they are told next to nothing: of a user the first
letter of the newest title, embedded, in the place of knowledge. What a row gains over the base it owes to these.""",
        ("base", *TOLD_NOTHING, "coco_fea", "coco"), "base", repeated=True,
    ),
    Section(
        "What the paper leaves open",
        "The other reading of each point that the paper leaves open. Gains are over CoCo.",
        ("coco", *SWITCHES), "coco",
    ),
    Section(
        "Targets that are new to the base",
        """\
What the base knows by heart no language model can add to ("What titles could tell"). Here its recipe has items' titles
in their vectors from the beginning, and is trained without the last training target of each user; then three epochs
with these targets follow, without CoCo, with it, and with its layers told one letter. Gains are over that base.""",
        (*HELD_BASE, *HELD), "held_base", repeated=True,
    ),
    Section(
        "Likeness of titles beside the scores",
        f"""\
What titles could tell, in use: {LIKENESS["likeness"]:g} times the cosine of an item's title and those of the user's
newest items ({LIKENESS["knowledge_width"]} principal components of MiniLM's vectors) is added to an answer's scores;
training's loss has no part of it. The base has it, and so have concatenation and CoCo: what a language model that is
trained along adds to that is the difference between these. Gains are over the base without.""",
        ("base", *LIKE), "base", repeated=True,
    ),
    Section(
        "Table 6: the language model's size",
        f"""\
Gains are over CoCo, which has the first three of MiniLM's layers on Amazon's data and all six on MovieLens-100k.
Published, on the industrial data set, R@5 / N@5: {_QWEN}.""",
        ("base", "coco", *SIZES), "coco",
    ),
    Section(
        "Table 7: fusion",
        """\
CoCo_fea puts the mean of a user's knowledge beside h_RS, CoCo_mlp has a hidden layer more. Gains are over CoCo. The
published figures are of the industrial data set: only their gains can be set beside ours.""",
        ("coco", "coco_mlp", "coco_fea"), "coco", _coco_published.table_7,
    ),
    Section(
        "Figures 5 and 6: the size of the codebook and the threshold",
        "Gains are over CoCo as in the other tables. The dashed line is the base.",
        ("coco", *SENSITIVITY), "coco", beside=("sensitivity",),
    ),
    Section(
        "Figure 2: user groups and prompts",
        """\
Fixed templates one by one, all of them, and CoCo; gains over the base. The picture has the difference of R@5 to the
base by user group, user by user: by age and gender on MovieLens-100k, elsewhere by how many events a user has.""",
        ("base", *TEMPLATES, "coco_soft", "coco"), "base", beside=("groups",),
    ),
)  # fmt: skip

TITLES = {
    "the backbone": "the base",
    "likeness": "the base and w times the likeness of titles",
    "training zero seen": "a form learnt from training's last targets, from 0 on, what was met among the other items",
    "training zero": "the same without what was met",
    "training likeness": "the same, from w times the likeness on",
    "validation zero seen": "a form learnt from validation's targets, from 0 on, what was met among the other items",
    "validation zero": "the same without what was met",
    "validation likeness": "the same, from w times the likeness on",
    "training layer": "a linear layer over h_RS, learnt from training's last targets",
    "training layer titles": "a linear layer over h_RS and the user's titles, learnt from these",
    "validation layer": "a linear layer over h_RS, learnt from validation's targets",
    "validation layer titles": "a linear layer over h_RS and the user's titles, learnt from these",
}
TITLES_NOTE = """\
How much more the base would know with its items' titles, without any language model that is trained. To its scores is
added the likeness of an item's title to those of a user (the cosine of MiniLM's vectors, the newest weighing most) with
a weight that validation chose; or a bilinear form of both vectors, learnt with the base as it is: from the last targets
of training, which the base has been fitted to, or from those of validation, which it has not. The latter is no method,
as it learns from what others are only chosen by: it says what the former lacks. What a user has met is left out of what
a form learns from, as ranking leaves it out, but where the table says that it is not: then titles like the user's own
count as unwanted. The linear layers are CoCo_fea's fusion, which meets items' own vectors alone."""

FIGURES = {
    "helped": (
        "Users whom the knowledge does not help",
        "The share of a training epoch's users with M = 0 (Eq. 8): those from whom the language model learns.",
    ),
    "spaces": (
        "Figure 8: both spaces",
        """\
t-SNE by cosine of test users' h_RS and of what the language model knows of them, as the alignment attention reads it.
Before: the model that CoCo starts from, and all that is new untrained. Mixed is the mean share of a vector's ten
nearest others that are of the other space: 0 where the spaces lie apart, about 0.5 where they are one cloud.""",
    ),
    "selected": (
        "Figure 9: how many prompts a user gets",
        "m, the codes above θ, of test users; `train.coco.selected` is the most there can be. Above it how many sets\n"
        "of codes they have: with one for all, prompts would be nobody's own.",
    ),
}


def body(reproduction: Reproduction, results: Results) -> Iterable[str]:
    """See `Reproduction`."""
    drawn = _coco_pictures.pictures(reproduction, results)
    for section in SECTIONS:
        found = [
            results.rows[row] for row in reproduction.all_rows(further=True)
            if row in results.rows and row.recipe in section.recipes
        ]  # fmt: skip
        if any(result.row.recipe not in BASE and result.row.recipe != section.against for result in found):
            yield from _section(reproduction, results, section, found)
            yield from (_image(reproduction, name) for name in section.beside if f"{reproduction.name}_{name}" in drawn)
            yield from _table_2(reproduction, results) if section is SECTIONS[0] else []
    yield from _told_by_titles(reproduction, results)
    for name, (title, note) in FIGURES.items():
        if f"{reproduction.name}_{name}" in drawn:
            yield f"## {title}"
            yield note
            yield from _mixed(reproduction, results) if name == "spaces" else []
            yield _image(reproduction, name)


def _section(reproduction: Reproduction, results: Results, section: Section, found: Sequence[Result]) -> Iterable[str]:
    yield f"## {section.title}"
    yield section.note
    for data in dict.fromkeys(result.row.data for result in found):
        here = [result for result in found if result.row.data == data]
        first = [result for result in here if result.row.seed == 1]
        yield f"{reproduction.titles[data]}, {here[0].users:,} users; {here[0].protocol}:"
        yield _table(reproduction, results, section, first)
        if section.repeated:
            yield from _tables.over_seeds(reproduction, here)
            yield from _tables.user_by_user(reproduction, results.comparisons(result.row for result in here))


def _table(reproduction: Reproduction, results: Results, section: Section, found: Sequence[Result]) -> str:
    published = {result.row: section.published(result.row) for result in found}
    beside = any(published.values())
    head = ["backbone", "row", *AT_5.values(), *(f"gain in {label}" for label in AT_5.values())]
    head += ["published R@5 / N@5", "published gain"] if beside else []
    rows = []
    for result in found:
        row = result.row
        cells = [reproduction.titles[row.backbone], reproduction.titles.get(row.recipe, row.recipe)]
        cells += [_tables.interval(result.test[metric]) for metric in AT_5]
        cells += [_gain(results, row, replace(row, recipe=section.against), metric) for metric in AT_5]
        if beside:
            other = section.published(replace(row, recipe=section.against))
            cells += [_tables.pair(published[row]), _published_gain(published[row], other)]
        rows.append([*cells, _tables.epochs(result), _tables.minutes(result)])
    sources = sorted({reference.source for reference in published.values() if reference})
    note = f"\n\nPublished: {'; '.join(sources)}." if sources else ""
    return _tables.table([*head, "best of epochs", "training min"], rows) + note


def _gain(results: Results, row: Row, against: Row, metric: str) -> str:
    """Relative to `against`; with the p value, where the paired test is there."""
    if row == against or against not in results.rows:
        return ""
    value = results.rows[row].test[metric].mean / results.rows[against].test[metric].mean - 1
    paired = results.paired.get((row, against))
    return _percent(value) + (f", p {paired.differences[metric].p_value:.2g}" if paired else "")


def _published_gain(one: Reference | None, other: Reference | None) -> str:
    if one is None or other is None or one.values == other.values:
        return ""
    return " / ".join(_percent(one.values[metric] / other.values[metric] - 1) for metric in AT_5)


def _percent(value: float) -> str:
    return _tables.signed(100 * value, "+.1f") + "%"


def _table_2(reproduction: Reproduction, results: Results) -> Iterable[str]:
    """The published figures of other methods, and all rows of ours that stand beside them."""
    rows = []
    for data, methods in _coco_published.TABLE_2.items():
        ours = [row for row in reproduction.all_rows() if row.data == data and row.seed == 1 and row in results.rows]
        ours = [row for row in ours if row.recipe in (*BASE, *HEADLINE)]
        if not ours:
            continue
        title = reproduction.titles[data]
        rows += [[title, name, "published", *(f"{value:.4f}" for value in values)] for name, values in methods.items()]
        for row in ours:
            figures = [_tables.interval(results.rows[row].test[metric]) for metric in AT_5]
            rows.append([title, reproduction.called(row), "ours", *figures])
    if rows:
        yield "## Table 2: beside other methods"
        yield (
            "The methods that the paper compares with are not run here but for KAR and R⁴ec; their figures are the "
            "paper's. Its backbones stand far below the best recipes of ours, so gains say more than figures."
        )
        yield _tables.table(["data", "method", "", *AT_5.values()], rows)


def _told_by_titles(reproduction: Reproduction, results: Results) -> Iterable[str]:
    """What the titles of bases add, as `_coco_titles` found it."""
    rows, surprises = [], []
    for row in _coco_pictures.observed(reproduction, results, "titles", "base"):
        told = results.rows[row].told["titles"]
        place = [reproduction.titles[name] for name in (row.data, row.backbone)]
        for name, found in told["test"].items():
            title = f"{TITLES[name]}, w = {told['weight']:g}" if name == "likeness" else TITLES[name]
            figures = [f"{found['mean'][metric]:.4f}" for metric in BOTH]
            less = found.get("less")
            tests = [_tables.difference(Comparison(**less[metric])) if less else "" for metric in BOTH]
            rows.append([*place, title, *figures, *tests])
        surprises.append([*place, *(f"{told['surprise'][where]:.2f}" for where in ("training", "valid", "test"))])
    if rows:
        yield "## What titles could tell"
        yield TITLES_NOTE
        yield _tables.table(["data", "backbone", "scores", "R@5", "N@10", "R@5 less the base's", "N@10 less"], rows)
        yield "The base's mean cross-entropy over all items, at the last targets of training and at those held out:"
        yield _tables.table(["data", "backbone", "training", "validation", "test"], surprises)


def _mixed(reproduction: Reproduction, results: Results) -> Iterable[str]:
    rows = []
    for row in _coco_pictures.observed(reproduction, results, "spaces"):
        spaces = results.rows[row].told["spaces"]
        figures = [f"{spaces[when]['mixed']:.3f}" for when in ("before", "after")]
        rows.append([reproduction.titles[row.data], reproduction.called(row), *figures])
    yield _tables.table(["data", "row", "mixed before", "mixed after"], rows)


def _image(reproduction: Reproduction, name: str) -> str:
    title = FIGURES[name][0] if name in FIGURES else name.capitalize()
    return f"![{title}]({reproduction.name}_{name}.svg)"
