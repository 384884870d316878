from dataclasses import replace

from antiphon import reasoner
from antiphon.config import Config
from llm_offline.alignment_config import AlignConfig, ServiceConfig


def test_the_newest_whole_adapter_is_served(tmp_path):
    config = Config(name="chat", runs=str(tmp_path), align=AlignConfig(rounds=3))
    assert reasoner.adapter(config) is None
    for number in (1, 2, 3):
        folder = tmp_path / "chat" / "align" / str(number) / "refine"
        folder.mkdir(parents=True)
        if number < 3:  # the third is not whole
            (folder / "MANIFEST.json").write_text("{}")
    assert reasoner.adapter(config) == tmp_path / "chat" / "align" / "2" / "refine"
    named = replace(config, service=ServiceConfig(adapter="elsewhere"))
    assert str(reasoner.adapter(named)) == "elsewhere"
