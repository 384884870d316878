import pytest

from antiphon.config import Config, dump, load
from antiphon.parse import ConfigError
from trainer.config import TrainConfig


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def message(*arguments) -> str:
    with pytest.raises(ConfigError) as error:
        load(*arguments)
    return str(error.value)


def test_a_missing_section_keeps_its_defaults(write):
    config = load(write("name: a"))
    assert config == Config(name="a")
    assert config.variants == {"model": TrainConfig()}
    assert str(config.folder) == "runs/a"


def test_a_variant_changes_only_what_it_names(write):
    config = load(
        write("""
        name: a
        train: {batch: 64, model: {d: 32, dropout: 0.1}}
        variants:
          ids:
          text: {model: {knowledge: item_text}}
    """)
    )
    assert config.variants["ids"] == config.train
    text = config.variants["text"]
    assert (text.batch, text.model.d, text.model.dropout, text.model.knowledge) == (64, 32, 0.1, "item_text")
    assert config.uses_knowledge


def test_overrides_are_read_as_the_type_of_their_field(write):
    path = write("name: a\ndata: {reader: amazon, path: x}\nvariants: {v: {}}")
    config = load(
        path,
        [
            "data.path=12",
            "train.batch=7",
            "train.optimizer.learning_rate=1e-4",
            "evaluate.cutoffs=[1, 2]",
            "variants.v.model.d=8",
            "embed.normalize=false",
        ],
    )
    assert config.data.path == "12"
    assert config.variants["v"].batch == 7
    assert config.train.optimizer.learning_rate == 1e-4
    assert config.evaluate.cutoffs == (1, 2)
    assert (config.train.model.d, config.variants["v"].model.d) == (64, 8)
    assert config.embed.normalize is False


def test_what_dump_writes_load_reads_back(write):
    config = load(write("name: a\nevaluate: {cutoffs: [3]}\nvariants: {x: {}, y: {epochs: 2}}"))
    assert load(write(dump(config))) == config


@pytest.mark.parametrize(
    "text, field, rule, value",
    [
        ("name: a\ntrain: {bacth: 3}", "train.bacth", "did you mean 'batch'", "3"),
        ("name: a\ntrainer: {}", "trainer", "did you mean 'train'", "{}"),
        ("name: a\nzzzz: 1", "zzzz", "the fields are name, runs, data", "1"),
        ("name: a\ntrain: {batch: many}", "train.batch", "must be a whole number", "'many'"),
        ("name: a\ntrain: {batch: true}", "train.batch", "must be a whole number", "True"),
        ("name: a\ntrain: {batch: 0}", "train.batch", "must be at least 1", "0"),
        ("name: a\ntrain: 3", "train", "must be a mapping", "3"),
        ("name: a\ntrain: {model: {heads: 3}}", "train.model.heads", "must divide d (64)", "3"),
        ("name: a\ntrain: {cluster: ps=two}", "train.cluster", "ps=2,workers=2", "ps=two"),
        ("name: a\nvariants: {v: {epochs: -1}}", "variants.v.epochs", "must be at least 1", "-1"),
        ("name: a\nvariants: {'a/b': {}}", "variants", "must start with a letter", "'a/b'"),
        ("name: a\nevaluate: {cutoffs: [5, x]}", "evaluate.cutoffs[1]", "must be a whole number", "'x'"),
        (
            "name: a\ntrain: {model: {max_length: 99}}",
            "model.max_length",
            "features.history_length (50)",
            "99",
        ),
        ("name: 3", "name", "must be text", "3"),
        ("data: {}", "name", "must be given", ""),
    ],
)
def test_an_error_names_the_file_the_field_the_rule_and_the_value(write, text, field, rule, value):
    path = write(text)
    told = message(path)
    assert told.startswith(path)
    for part in (field, rule, value):
        assert part in told


def test_an_unknown_file_names_those_that_are_there(write, tmp_path):
    write("name: a")
    assert "run.yaml" in message(tmp_path / "rum.yaml")


@pytest.mark.parametrize(
    "text, told",
    [
        ("name: [", "is not YAML"),
        ("name: a\nname: b", "the key 'name' is given twice"),
        ("- 1", "must hold a mapping"),
    ],
)
def test_a_file_that_is_no_config_is_told(write, text, told):
    assert told in message(write(text))


@pytest.mark.parametrize(
    "override, told",
    [
        ("train.batch", "must read section.field=value"),
        ("name.x=1", "holds a value, not a section"),
        ("train.bacth=1", "did you mean 'batch'"),
    ],
)
def test_an_override_that_fits_nowhere_is_told(write, override, told):
    assert told in message(write("name: a"), [override])


def test_environment_variables_are_put_into_values(write, monkeypatch):
    path = write("name: a\ndata: {reader: amazon, path: '${PLACE:-../else}/beauty'}")
    monkeypatch.delenv("PLACE", raising=False)
    assert load(path).data.path == "../else/beauty"
    monkeypatch.setenv("PLACE", "/mnt")
    assert load(path).data.path == "/mnt/beauty"


def test_an_environment_variable_without_a_value_is_told(write, monkeypatch):
    monkeypatch.delenv("PLACE", raising=False)
    assert "data.path: needs the environment variable PLACE" in message(
        write("name: a\ndata: {reader: amazon, path: '${PLACE}'}")
    )


def test_every_config_in_the_repository_loads(repository):
    found = sorted((repository / "configs").glob("*.yaml"))
    assert found
    for path in found:
        assert load(path).name


@pytest.mark.parametrize(
    ("starts", "told"),
    [
        ({"a": "a"}, r"variants.a.start_from must be another variant \(b\) or a path such as .*, received 'a'"),
        ({"a": "c"}, r"received 'c'"),
        ({"a": "b", "b": "a"}, r"variants.a.start_from must not lead back to 'a', received 'a <- b <- a'"),
    ],
)
def test_a_variant_starts_from_a_folder_or_from_one_that_does_not_wait_for_it(starts, told):
    with pytest.raises(ValueError, match=told):
        Config("x", variants={name: TrainConfig(start_from=starts.get(name, "")) for name in "ab"})
    Config("x", variants={"a": TrainConfig(start_from="b"), "b": TrainConfig(start_from="runs/y/models/z")})
