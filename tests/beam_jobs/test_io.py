import apache_beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.io import advance, by_shard, progress, run_pipeline, split, staging_folder, write_parquet
from beam_jobs.options import BeamConfig

LETTERS = pa.record_batch({"id": pa.array(list("abcde"))})


def test_split_keeps_the_rows_order():
    parts = {n: part["id"].to_pylist() for n, part in split(LETTERS, np.array([3, 1, 3, 1, 3]))}
    assert parts == {1: ["b", "d"], 3: ["a", "c", "e"]}


def test_an_empty_batch_splits_into_nothing():
    assert list(split(LETTERS.slice(0, 0), np.array([], np.int64))) == []
    assert list(by_shard(LETTERS.slice(0, 0), "id", 4)) == []


@given(st.lists(st.text(max_size=3), max_size=30), st.integers(1, 5))
def test_equal_ids_share_a_shard_and_none_is_lost(ids, shards):
    parts = dict(by_shard(pa.record_batch({"id": pa.array(ids, pa.string())}), "id", shards))
    found = {shard: part["id"].to_pylist() for shard, part in parts.items()}
    assert sorted(sum(found.values(), [])) == sorted(ids)
    assert set(found) <= set(range(shards))
    assert sum(len(set(part)) for part in found.values()) == len(set(ids))


def test_a_shard_is_the_same_in_every_process():
    found = {shard: part["id"].to_pylist() for shard, part in by_shard(LETTERS, "id", 2)}
    assert found == {0: ["d", "e"], 1: ["a", "b", "c"]}


def test_the_staging_folder_goes_even_after_an_error(tmp_path):
    with pytest.raises(KeyError), staging_folder(tmp_path / "tables") as folder:
        (folder / "part").touch()
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_whole(tmp_path):
    write_parquet(tmp_path / "a.parquet", pa.Table.from_batches([LETTERS]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert pq.read_table(tmp_path / "a.parquet")["id"].to_pylist() == list("abcde")


def test_steps_move_the_bar(capfd):
    def build(pipeline):
        _ = pipeline | apache_beam.Create([2, 3]) | apache_beam.Map(lambda n: advance("job", n))

    with progress("job", "row", 5):
        run_pipeline(BeamConfig(), build)
    assert "5.00/5.00" in capfd.readouterr().err


def test_a_step_that_fails_fails_the_job():
    def build(pipeline):
        _ = pipeline | apache_beam.Create(["x"]) | apache_beam.Map(int)

    with pytest.raises(ValueError, match="invalid literal for int"):
        run_pipeline(BeamConfig(), build)
