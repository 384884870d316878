import re
from pathlib import Path

from benchmarks import _data


def test_the_variable_goes_before_the_default(monkeypatch):
    monkeypatch.setenv("ANTIPHON_DATA", "/data")
    assert _data.folder() == Path("/data")
    for unset in (lambda: monkeypatch.setenv("ANTIPHON_DATA", ""), lambda: monkeypatch.delenv("ANTIPHON_DATA")):
        unset()
        assert _data.folder() == Path("../shared/data")


def test_the_configs_have_the_same_default_and_the_documents_name_every_folder(repository):
    configs = "".join(path.read_text() for path in (repository / "configs").glob("*.yaml"))
    found = re.findall(r"\$\{ANTIPHON_DATA:-(.+?)\}/(\w+)", configs)
    assert {default for default, _ in found} == {_data.DEFAULT}
    operations = (repository / "docs" / "operations.md").read_text()
    assert [name for _, name in found if f"| `{name}` |" not in operations] == []
