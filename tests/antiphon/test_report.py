import json
from html.parser import HTMLParser

import pytest

from antiphon import report
from antiphon.config import Config
from antiphon.records import Record, write
from trainer.config import TrainConfig

HOSTILE = "<script>alert('x')</script> & co"


class Page(HTMLParser):
    """Checks that tags are balanced and collects the page's text."""

    VOID = {"meta", "br", "img", "link"}

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}


@pytest.fixture
def run(tmp_path) -> Config:
    """A run's folder as the stages leave it, with hostile titles."""
    config = Config(name="shop", runs=str(tmp_path), variants={"ids": TrainConfig(), "text": TrainConfig()})

    def put(name: str, content) -> None:
        path = config.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

    put(
        "tables/MANIFEST.json",
        {
            "tables": {
                "users": {"rows": 60, "duplicates": 0, "dead_letters": {}},
                "events": {"rows": 1611, "duplicates": 4, "dead_letters": {f"no such item {HOSTILE}": 7}},
            },
            "window": {"first": 1772438400000000, "last": 1778486400000000},
        },
    )
    put(
        "examples/MANIFEST.json",
        {"splits": {"train": {"examples": 60, "targets": 431}, "test": {"examples": 60}}},
    )
    for number, name in enumerate(["ids", "text"]):
        epochs = [
            {
                "epoch": epoch,
                "loss": 3 / epoch,
                "seconds": 1.0,
                "targets_per_second": 431.0,
                "valid/ndcg@10": 0.1 * epoch + 0.01 * number,
            }
            for epoch in (1, 2, 3)
        ]
        summary = {"epochs": 3, "best_epoch": 3, "valid_ndcg@10": 0.3, "cluster": "ps=2,workers=2"}
        put(f"models/{name}/history.json", {"summary": summary, "epochs": epochs})
    for number, name in enumerate(["popularity", "ids", "text"]):
        test = {"recall@10": interval(0.1 * number), "ndcg@10": interval(0.05 * number), "users": 60}
        put(f"evaluation/{name}/metrics.json", {"protocol": "leave one out", "test": test})
    put(
        "evaluation/comparison.json",
        {
            "b_minus_a": {
                "recall@10": {"difference": 0.1, "low": 0.05, "high": 0.15, "p_value": 0.0012},
                "ndcg@10": {"difference": -0.01, "low": -0.02, "high": 0.01, "p_value": 0.4},
            }
        },
    )
    put("export/chosen.json", {"variant": "text", "version": 3})
    put(
        "recommendations.json",
        {
            "variant": "text",
            "version": 3,
            "users": [
                {
                    "user_id": "c001",
                    "events": 1234,
                    "history": [{"item_id": "a", "title": HOSTILE}],
                    "items": [{"item_id": "b", "title": "Bamboo canes", "score": 1.234}],
                },
            ],
        },
    )
    for stage in ("ingest", "train-text"):
        write(config.folder, Record(stage, "f", "", True, 12.5, "o"))
    return config


def test_the_report_shows_what_the_stages_left(run):
    report.write(run)
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    shown = " ".join(Page(text).text.split())
    for part in [
        "Exported: text",
        "Recall@10",
        "NDCG@10",
        "+0.1000",
        "0.0012",
        "1,234",
        "Bamboo canes",
        "1.23",
        "c001",
        "ps=2,workers=2",
        "1,611",
        "7 no such item",
        "train-text",
        "12 s",
        "history_length: 50",
    ]:
        assert part in shown


def test_text_from_the_data_stays_text(run):
    report.write(run)
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert HOSTILE in page.text


def test_the_page_needs_nothing_beside_it(run):
    report.write(run)
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    assert not {tag for tag, _ in Page(text).tags} & {"link", "img", "iframe", "script"}
    attributes = {value for _, given in Page(text).tags for value in given.values() if value}
    assert {value for value in attributes if "//" in value} <= {"http://www.w3.org/2000/svg"}
    assert "url(" not in text and "@import" not in text


def test_a_difference_is_marked_only_where_its_interval_leaves_zero_out(run):
    report.write(run)
    classes = [
        attributes.get("class")
        for tag, attributes in Page((run.folder / "report.html").read_text(encoding="utf-8")).tags
        if tag == "span"
    ]
    assert classes.count("better") == 1
    assert classes.count("worse") == 0


def test_a_single_variant_is_compared_with_popularity_alone(run):
    alone = Config(name="shop", runs=run.runs, variants={"ids": TrainConfig()})
    report.write(alone)
    assert "paired" not in (run.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name, title", [("recall@5", "Recall@5"), ("ndcg@10", "NDCG@10"), ("mrr@20", "MRR@20")]
)
def test_metrics_are_named_as_people_write_them(name, title):
    assert report.metric_title(name) == title
