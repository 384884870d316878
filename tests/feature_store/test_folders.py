import pytest

from feature_store.errors import DataError
from feature_store.folders import describe, new_folder, read_manifest, version, write_manifest


def test_an_error_leaves_no_folder(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), new_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("x")
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_writes_no_manifest_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="must write MANIFEST.json"), new_folder(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_replaces_the_old_one(tmp_path):
    for run in (1, 2):
        with new_folder(tmp_path / "out") as folder:
            (folder / str(run)).write_text("x")
            write_manifest(folder, {"run": run})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["2", "MANIFEST.json"]
    assert read_manifest(tmp_path / "out") == {"run": 2}


def test_a_broken_manifest_is_an_error_that_names_it(tmp_path):
    (tmp_path / "MANIFEST.json").write_text("{")
    with pytest.raises(DataError, match="MANIFEST.json: not valid JSON"):
        read_manifest(tmp_path)


def test_a_version_is_of_what_the_manifest_describes(tmp_path):
    versions = []
    for name, content in (("a", "x"), ("b", "x"), ("c", "y")):
        with new_folder(tmp_path / name) as folder:
            (folder / "file").write_text(content)
            write_manifest(folder, {"files": [describe(folder / "file", folder)]})
        versions.append(version(tmp_path / name))
    assert versions[0] == versions[1] != versions[2] and len(versions[0]) == 12
