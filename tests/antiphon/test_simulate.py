import pyarrow.parquet as pq

from antiphon.cli import main

TINY = ["-c", "configs/market_tiny.yaml", "--set", "market.users=50"]


def test_the_market_of_a_config_is_written_where_it_will_be_read(tmp_path, capsys):
    log = tmp_path / "log"
    assert main(["simulate", "market", *TINY, "--set", f"data.path={log}"]) == 0
    assert "50 users" in capsys.readouterr().out
    assert pq.read_metadata(log / "users.parquet").num_rows == 50
    assert pq.read_schema(log / "truth.parquet").names == ["impression_id", "p_click", "p_convert"]


def test_without_a_reader_of_markets_a_folder_must_be_given(tmp_path, capsys):
    arguments = ["simulate", "market", "-c", "configs/tiny.yaml", "--set", "market.users=5"]
    assert main(arguments) == 2
    assert "data.reader must be 'market', or --out given, received 'tables'" in capsys.readouterr().err
    assert main([*arguments, "--out", str(tmp_path / "log")]) == 0


def test_a_market_setting_out_of_range_is_told(capsys):
    assert main(["simulate", "market", "-c", "configs/market_tiny.yaml", "--set", "market.users=0"]) == 2
    assert "market.users must be at least 1, received 0" in capsys.readouterr().err


def test_a_chatbot_is_simulated_and_ingested(tmp_path, capsys):
    log, runs = tmp_path / "log", tmp_path / "runs"
    config = ["-c", "configs/chatbot_tiny.yaml", "--set", f"chat.path={log}", "--set", f"runs={runs}"]
    assert main(["simulate", "chatbot", *config, "--set", "chat.simulate.users=120"]) == 0
    assert "sessions of 120 users" in capsys.readouterr().out
    assert main(["ingest", *config]) == 0
    folder = runs / "chatbot_tiny"
    assert pq.read_metadata(folder / "intents" / "intents.parquet").num_rows >= 150
    texts = pq.read_table(folder / "session_texts" / "sessions.parquet")
    assert len(texts) == pq.read_metadata(log / "sessions.parquet").num_rows
    assert set(texts["split"].unique().to_pylist()) == {"train", "valid", "test"}
    assert "Context: " in texts["text"][0].as_py()


def test_without_a_chatbot_s_path_a_folder_must_be_given(capsys):
    assert main(["simulate", "chatbot", "-c", "configs/tiny.yaml"]) == 2
    assert "chat.path must be given, or --out, received ''" in capsys.readouterr().err
