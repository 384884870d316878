"""Which of a run's models is exported, and what that waits for."""

import json
import shutil
from dataclasses import replace

import pytest

from antiphon import choice, stages
from antiphon.choice import ExportConfig
from antiphon.config import Config, load
from trainer.config import TrainConfig


@pytest.fixture
def models(tmp_path):
    for name, found in {"ids": {"valid_auc": 0.3}, "text": {"valid_auc": 0.4}, "coco": {"valid_auc": 0.2}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.json").write_text(json.dumps({"summary": found}))
    return tmp_path


def test_validation_chooses_where_nothing_is_named(models):
    metrics = dict.fromkeys(("ids", "text", "coco"), "auc")
    found = choice.choose(models, metrics, ExportConfig())
    assert found == ("text", {"ids": 0.3, "text": 0.4, "coco": 0.2})


def test_the_named_one_is_chosen_and_no_other_is_read(models):
    shutil.rmtree(models / "text")
    metrics = dict.fromkeys(("ids", "text", "coco"), "auc")
    assert choice.choose(models, metrics, ExportConfig(variant="ids")) == ("ids", {"ids": 0.3})


def test_the_export_of_a_named_variant_waits_for_its_training_alone(tmp_path):
    both = Config(name="a", runs=str(tmp_path), variants={"ids": TrainConfig(), "text": TrainConfig()})
    (of_all,) = stages.find(both, "export")
    assert of_all.needs == ("examples", "train-ids", "train-text", "evaluate")
    (of_one,) = stages.find(replace(both, export=ExportConfig(variant="text")), "export")
    assert of_one.needs == ("examples", "train-text")
    assert of_one.settings == of_all.settings


def test_rankers_are_chosen_between_as_variants_are(repository):
    config = load(repository / "configs" / "market_choirrec.yaml", ["export.variant=base"])
    (export,) = stages.find(config, "export")
    assert export.needs == ("requests", "train-base")


def test_there_must_be_one_of_that_name():
    with pytest.raises(ValueError, match="export.variant must be one of model, received 'ids'"):
        Config(name="a", export=ExportConfig(variant="ids"))
