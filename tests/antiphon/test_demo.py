"""The whole demo on the example shop, through the command line: stopped in the middle, resumed, run again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from antiphon.processes import wait_for

STAGES = ["ingest", "embed", "features", "examples", "prompts", "train-ids", "train-ids_text", "train-coco", "evaluate",
          "export", "recommend", "report"]  # fmt: skip
COCO = {
    "start_from": "ids", "epochs": "2", "coco.enabled": "true", "coco.codes": "8", "coco.selected": "2",
    "coco.prompts": "universal",
}  # fmt: skip
LLM = {"model": "minilm", "layers": "1", "text": "titles", "max_titles": "4", "d": "8"}


class Demo:
    """One run folder, and the command that fills it."""

    def __init__(self, repository: Path, runs: Path):
        self.folder = runs / "tiny"
        self._cwd = repository
        settings = [f"variants.coco.{name}={value}" for name, value in COCO.items()]
        settings += [f"llm.{name}={value}" for name, value in LLM.items()]
        changes = [part for change in (f"runs={runs}", *settings) for part in ("--set", change)]
        self._command = [sys.executable, "-m", "antiphon.cli", "run", "-c", "configs/tiny.yaml", *changes]

    def start(self) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self) -> str:
        process = self.start()
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
        return output

    def state(self, stage: str) -> bool | None:
        """Whether the stage is done; None where it has not begun."""
        path = self.folder / "stages" / f"{stage}.json"
        return json.loads(path.read_text())["done"] if path.exists() else None

    def load(self, name: str):
        return json.loads((self.folder / name).read_text())


@pytest.fixture(scope="module")
def demo(repository, tmp_path_factory) -> Demo:
    return Demo(repository, tmp_path_factory.mktemp("runs"))


def skipped(output: str) -> list[str]:
    return re.findall(r"^\[\d+/\d+\] (\S+): unchanged, skipped$", output, re.M)


def ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def servers(process: subprocess.Popen) -> list[psutil.Process]:
    """The parameter servers and workers that descend from `process`."""
    family = psutil.Process(process.pid).children(recursive=True)
    return [member for member in family if "trainer.cluster.server" in member.cmdline()]


@pytest.fixture(scope="module")
def outputs(demo) -> list[str]:
    """What a run that is stopped in training, the one after it and a third print."""
    first = demo.start()
    wait_for(lambda: demo.state("train-ids") is False and len(servers(first)) == 4, 300, "the cluster", first)
    family = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(signal.SIGINT)
    stopped, _ = first.communicate(timeout=60)
    assert first.returncode == 130
    assert [member for member in family if not ended(member)] == []
    return [stopped, demo.run(), demo.run()]


def test_a_stopped_run_goes_on_where_it_was(demo, outputs):
    assert "stopped by SIGINT" in outputs[0]
    assert skipped(outputs[1]) == STAGES[:5]
    assert "7 stages done" in outputs[1]


def test_a_run_without_changes_skips_everything(demo, outputs):
    assert skipped(outputs[2]) == STAGES
    assert "0 stages done" in outputs[2]


def test_both_variants_trained_on_the_cluster_and_were_compared_user_by_user(demo, outputs):
    for variant in ("ids", "ids_text"):
        history = demo.load(f"models/{variant}/history.json")
        assert history["summary"]["cluster"] == "ps=2,workers=2"
        assert len(history["epochs"]) == 3
        metrics = demo.load(f"evaluation/{variant}/metrics.json")
        assert 0 <= metrics["test"]["ndcg@10"]["mean"] <= 1
    comparison = demo.load("evaluation/comparison_ids_text.json")
    assert (comparison["a"], comparison["b"]) == ("ids", "ids_text")
    assert 0 <= comparison["b_minus_a"]["ndcg@10"]["p_value"] <= 1


def test_coco_trained_from_its_base_over_the_link_and_shows_what_it_changed(demo, outputs):
    summary = demo.load("models/coco/history.json")["summary"]
    assert summary["cluster"] == "ps=2,workers=2"
    assert "models/ids/" in summary["start"]["checkpoint"]
    assert (demo.folder / "models" / "coco" / "llm").is_dir()
    titles = {row["title"] for row in pq.read_table(demo.folder / "tables" / "items.parquet").to_pylist()}
    shown = outputs[1][outputs[1].index("the model was told, newest first: ") :]
    assert shown.splitlines()[0].split(": ")[1].split("; ")[0] in titles
    assert "    prompt: " in shown and "by behaviour alone" in shown
    assert "What the language model changed in coco" in (demo.folder / "report.html").read_text(encoding="utf-8")


def test_the_variant_that_validation_prefers_was_exported(demo, outputs):
    chosen = demo.load("export/chosen.json")
    scores = {name: demo.load(f"models/{name}/history.json")["summary"]["valid_ndcg@10"]
              for name in ("ids", "ids_text", "coco")}  # fmt: skip
    assert scores[chosen["variant"]] == max(scores.values())
    version = demo.folder / "export" / chosen["variant"] / "1"
    assert (version / "saved_model.pb").is_file()
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()
    index = demo.load(f"export/{chosen['variant']}/1/assets.extra/manifest.json")["index"]
    assert (index["kind"], index["recall@50"]) == ("exact", 1.0)
    assert index == chosen["index"]


def test_users_were_answered_with_titles_of_items_they_had_not_seen(demo, outputs):
    users = demo.load("recommendations.json")["users"]
    assert len(users) == 6
    for user in users:
        assert user["items"] and all(item["title"] for item in user["items"])
        assert not {item["item_id"] for item in user["items"]} & {item["item_id"] for item in user["history"]}
        assert user["items"][0]["title"] in outputs[1]


def test_the_report_was_written_and_every_stage_recorded(demo, outputs):
    assert "Recommended" in (demo.folder / "report.html").read_text(encoding="utf-8")
    for stage in STAGES:
        assert demo.state(stage) is True
        assert (demo.folder / "logs" / f"{stage}.log").is_file()


def test_nothing_temporary_is_left(demo, outputs):
    left = [str(path) for path in demo.folder.rglob("*") if path.name.endswith((".part", ".old", ".writing"))]
    assert left == []


def test_new_settings_do_again_only_what_reads_them(demo, outputs):
    demo._command += ["--set", "export.top_k=5"]
    output = demo.run()
    assert skipped(output) == STAGES[:9]
    assert demo.load("export/chosen.json")["version"] == 2


def test_a_named_variant_is_exported_whatever_validation_prefers(demo, outputs, repository):
    (other, *_) = {"ids", "ids_text"} - {demo.load("export/chosen.json")["variant"]}
    shutil.move(demo.folder / "models" / "coco", demo.folder / "elsewhere")
    found = subprocess.run(
        [sys.executable, "-m", "antiphon.cli", "export", "-c", str(demo.folder / "config.yaml"),
         "--set", f"export.variant={other}"],
        cwd=repository, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    shutil.move(demo.folder / "elsewhere", demo.folder / "models" / "coco")
    assert found.returncode == 0, found.stderr
    assert demo.load("export/chosen.json")["variant"] == other
    assert (demo.folder / "export" / other / "1" / "saved_model.pb").is_file()


def test_a_running_server_answers_for_a_history_of_ids(demo, outputs, repository):
    found = subprocess.run(
        [sys.executable, "-m", "antiphon.cli", "recommend", "-c", str(demo.folder / "config.yaml"),
         "--history", "GA-01,GA-02"],
        cwd=repository, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "Seed tray, 24 cells" in found.stdout and " 1. " in found.stdout
