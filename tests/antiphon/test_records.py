from antiphon import records
from antiphon.records import Record


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = Record("train-ids", "abc", True, 1.5, "def", {"name": "Ærø", "n": 1})
    records.write(tmp_path, record)
    assert records.read(tmp_path, "train-ids") == record
    assert [path.name for path in (tmp_path / "stages").iterdir()] == ["train-ids.json"]


def test_a_record_that_cannot_be_read_is_none(tmp_path):
    assert records.read(tmp_path, "ingest") is None
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "ingest.json").write_text('{"stage": "ingest"')
    assert records.read(tmp_path, "ingest") is None


def test_a_fingerprint_does_not_depend_on_the_order_of_keys():
    assert records.fingerprint({"a": 1, "b": [2]}) == records.fingerprint({"b": [2], "a": 1})
    assert records.fingerprint({"a": 1}) != records.fingerprint({"a": 2})


def test_an_output_is_its_manifest_where_there_is_one(tmp_path):
    (tmp_path / "tables").mkdir()
    manifest = tmp_path / "tables" / "MANIFEST.json"
    manifest.write_text("{}")
    before = records.output_hash(tmp_path, ("tables",))
    (tmp_path / "tables" / "cache").write_text("x")
    assert records.output_hash(tmp_path, ("tables",)) == before
    manifest.write_text('{"rows": 1}')
    assert records.output_hash(tmp_path, ("tables",)) != before


def test_an_output_without_a_manifest_is_its_files(tmp_path):
    (tmp_path / "best").mkdir()
    before = records.output_hash(tmp_path, ("best",))
    (tmp_path / "best" / "weights").write_text("123")
    assert records.output_hash(tmp_path, ("best",)) != before


def test_a_missing_output_has_no_hash(tmp_path):
    assert records.output_hash(tmp_path, ("report.html",)) is None
