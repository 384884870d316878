from antiphon import stages
from antiphon.config import load


def test_a_run_of_the_chatbot_goes_from_its_log_to_a_version():
    config = load("configs/chatbot_tiny.yaml")
    assert [each.name for each in stages.plan(config)] == [
        "ingest", "embed", "queries", "requests", "train-two_towers", "train-qe_rec", "evaluate", "hits", "export",
    ]  # fmt: skip
    done = []
    for each in stages.plan(config):
        assert set(each.needs) <= set(done)
        done.append(each.name)
    assert [each.name for each in stages.find(config, "embed")] == ["embed"]
    assert [each.name for each in stages.find(config, "train")] == ["train-two_towers", "train-qe_rec"]


def test_the_larger_config_is_whole():
    config = load("configs/chatbot.yaml")
    assert config.rankers["without_query"].towers.query == ""
    assert config.rankers["qe_rec"].towers.omega == 0.7
    assert config.chat.reward in config.rankers
