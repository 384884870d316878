import pytest

from antiphon import llm, records, stages
from antiphon.config import Config
from antiphon.stages import Stage
from feature_store.config import DataConfig
from llm_offline.config import LlmConfig, SourceConfig
from trainer.config import CocoConfig, ModelConfig, TrainConfig


def config(tmp_path, **fields) -> Config:
    return Config(name="a", runs=str(tmp_path), **fields)


def writes(name: str, text: str):
    """The work of a stage that leaves one file."""

    def work(config: Config):
        config.folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        config.folder.joinpath(name).write_text(text)
        return {"wrote": name}

    return work


def stage(name="first", needs=(), settings=1, text="x", **fields) -> Stage:
    return Stage(name, (name,), needs, settings, (f"{name}/file",), writes(f"{name}/file", text), **fields)


def names(config: Config) -> list[str]:
    return [stage.name for stage in stages.plan(config)]


def test_the_plan_embeds_text_only_where_a_variant_reads_it(tmp_path):
    ids = TrainConfig()
    text = TrainConfig(model=ModelConfig(knowledge="item_text"))
    tail = ["evaluate", "export", "recommend", "report"]
    assert names(config(tmp_path, variants={"ids": ids})) == [
        "ingest",
        "features",
        "examples",
        "train-ids",
        *tail,
    ]
    assert names(config(tmp_path, variants={"ids": ids, "text": text})) == [
        "ingest",
        "embed",
        "features",
        "examples",
        "train-ids",
        "train-text",
        *tail,
    ]


def test_the_plan_computes_every_source_of_knowledge(tmp_path):
    sources = {"general": SourceConfig(), "kar": SourceConfig(kind="kar")}
    both = config(tmp_path, sources=sources)
    assert [each.products for each in stages.plan(both) if each.command[0] == "knowledge"] == [
        tuple(f"knowledge/general/{folder}" for folder in ("users", "shards", "features")),
        tuple(f"knowledge/kar/{folder}" for folder in ("users", "shards", "features", "items")),
    ]
    assert [each.name for each in stages.find(both, "knowledge")] == ["knowledge-general", "knowledge-kar"]
    assert [each.name for each in stages.find(both, "knowledge-kar")] == ["knowledge-kar"]
    with pytest.raises(ValueError, match="sources must name at least one source of knowledge"):
        stages.find(config(tmp_path), "knowledge")
    with pytest.raises(ValueError, match="sources: a name must not be that of another folder of knowledge"):
        config(tmp_path, sources={"codebook": SourceConfig()})


def test_every_stage_comes_after_those_it_needs(tmp_path):
    done = []
    for each in stages.plan(config(tmp_path, sources={"general": SourceConfig()})):
        assert set(each.needs) <= set(done)
        done.append(each.name)


def test_a_subcommand_stands_for_its_stages(tmp_path):
    both = config(tmp_path, variants={"ids": TrainConfig(), "text": TrainConfig()})
    assert [each.name for each in stages.find(both, "train")] == ["train-ids", "train-text"]
    assert [each.name for each in stages.find(both, "train-text")] == ["train-text"]
    assert [each.name for each in stages.find(both, "embed")] == ["embed"]
    assert [each.name for each in stages.find(both, "prompts")] == ["prompts"]
    with pytest.raises(ValueError, match="received 'trian'"):
        stages.find(both, "trian")


def test_a_done_stage_holds_until_a_setting_its_version_or_its_output_changes(tmp_path):
    run = config(tmp_path)
    assert not stages.holds(run, stage())
    assert stages.do(run, stage()) == {"wrote": "first/file"}
    assert stages.holds(run, stage())
    assert not stages.holds(run, stage(settings=2))
    assert not stages.holds(run, stage(version=2))
    (run.folder / "first" / "file").write_text("another")
    assert not stages.holds(run, stage())


def test_a_stage_holds_no_longer_when_what_it_builds_on_is_other(tmp_path):
    run = config(tmp_path)
    second = stage("second", needs=("first",))
    with pytest.raises(ValueError, match="second needs first, which has not been done"):
        stages.do(run, second)
    stages.do(run, stage())
    stages.do(run, second)
    stages.do(run, stage())  # done again, with the same outcome
    assert stages.holds(run, second)
    stages.do(run, stage(text="y"))
    assert not stages.holds(run, second)


def test_a_stage_that_fails_is_not_done(tmp_path):
    run = config(tmp_path)
    stages.do(run, stage())

    def fail(config: Config):
        raise OSError("disk full")

    with pytest.raises(OSError):
        stages.do(run, Stage("first", ("first",), (), 1, ("first/file",), fail))
    assert not stages.holds(run, stage())


def test_a_stage_that_leaves_nothing_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="ended without leaving other"):
        stages.do(config(tmp_path), Stage("first", ("first",), (), 1, ("other",), writes("file", "x")))


def test_a_resumable_stage_keeps_what_it_made_only_for_the_same_identity(tmp_path, capsys):
    run = config(tmp_path)

    def trained(epochs: int, d: int) -> Stage:
        return stage("train", settings=[epochs, d], identity=lambda config: {"d": d})

    stages.do(run, trained(1, 8))
    checkpoint = run.folder / "train" / "checkpoint"
    checkpoint.write_text("weights")
    stages.do(run, trained(2, 8))
    assert checkpoint.exists()
    stages.do(run, trained(2, 16))
    assert not checkpoint.exists()
    assert "was made from other inputs or settings; starting afresh" in capsys.readouterr().out


def test_a_variant_with_coco_is_another_with_another_language_model_or_other_prompts(tmp_path):
    prompts = tmp_path / "prompts.npy"
    variants = {"coco": TrainConfig(coco=CocoConfig(enabled=True, prompts=str(prompts))), "ids": TrainConfig()}

    def of(variant: str, **settings) -> tuple[object, object]:
        run = config(tmp_path, variants=variants, llm=LlmConfig(**settings))
        (found,) = (each for each in stages.plan(run) if each.name == f"train-{variant}")
        return str(found.settings), found.identity(run)

    first, alone = of("coco"), of("ids")
    assert of("coco", port=1)[1] == first[1]  # it only says where to listen
    other = of("coco", model="minilm")
    prompts.write_bytes(b"x")
    for changed in (other, of("coco")):
        assert changed[0] != first[0] and changed[1] != first[1]
    assert of("ids", model="minilm") == alone


def test_a_variant_that_starts_from_the_universal_prompts_has_them_made_first(tmp_path):
    coco = CocoConfig(enabled=True, prompts="universal")
    run = config(tmp_path, variants={"coco": TrainConfig(coco=coco), "ids": TrainConfig()})
    planned = {each.name: each for each in stages.plan(run)}
    names = list(planned)
    assert names.index("prompts") < names.index("train-coco")
    assert "prompts" in planned["train-coco"].needs and "prompts" not in planned["train-ids"].needs
    alone = config(tmp_path, variants={"ids": TrainConfig()})
    assert "prompts" not in [each.name for each in stages.plan(alone)]
    assert [each.name for each in stages.find(alone, "prompts")] == ["prompts"]


def test_a_variant_with_stored_knowledge_has_it_computed_first_and_needs_no_language_model(tmp_path):
    coco = CocoConfig(enabled=True, source="general")
    variants = {"base": TrainConfig(), "stored": TrainConfig(coco=coco)}

    def of(**fields):
        run = config(tmp_path, variants=variants, **fields)
        planned = {each.name: each for each in stages.plan(run)}
        return run, list(planned), planned["train-stored"]

    run, names, stage = of(sources={"general": SourceConfig()})
    assert names.index("knowledge-general") < names.index("train-stored")
    assert stage.needs == ("examples", "knowledge-general") and stage.grace == TrainConfig().grace_seconds
    assert stage.identity(run)["coco"]["source"] == "general" and "llm" not in stage.identity(run)
    other = of(sources={"general": SourceConfig()}, llm=LlmConfig(model="minilm"))[2]
    assert str(other.settings) == str(stage.settings)
    with llm.beside(run, "stored") as settings:
        assert settings is variants["stored"]
    with pytest.raises(ValueError, match=r"variants.stored.coco.source must be one of sources \(kar\)"):
        of(sources={"kar": SourceConfig(kind="kar")})


def test_raw_files_are_known_by_name_size_and_time(tmp_path):
    (tmp_path / "events.csv").write_text("a")
    data = DataConfig(reader="tables", path=str(tmp_path), events="*.csv")
    before = stages.fingerprint(config(tmp_path), stages.plan(config(tmp_path, data=data))[0])
    assert before == stages.fingerprint(config(tmp_path), stages.plan(config(tmp_path, data=data))[0])
    (tmp_path / "events.csv").write_text("ab")
    assert before != stages.fingerprint(config(tmp_path), stages.plan(config(tmp_path, data=data))[0])


def as_manifest(settings: str = "", text: str = "x") -> Stage:
    """The first stage where what it leaves is known by its content."""
    return Stage("first", ("first",), (), settings, ("first",), writes("first/MANIFEST.json", text))


def test_what_builds_on_a_stage_holds_when_that_leaves_the_same_again(tmp_path):
    """Raw files that were copied have another time of change, and what was trained on them is not thrown away."""
    run, second = config(tmp_path), stage("second", needs=("first",))
    for each in (as_manifest(), second):
        stages.do(run, each)
    stages.do(run, as_manifest(settings="other files"))
    assert stages.holds(run, second)
    stages.do(run, as_manifest(text="other content"))
    assert not stages.holds(run, second)


@pytest.mark.parametrize("product", ["first", "first/file"])
def test_without_a_manifest_what_a_stage_was_made_of_counts_too(tmp_path, product):
    """Of a folder only names and sizes are known, and a file may only point at what was made."""
    run, second = config(tmp_path), stage("second", needs=("first",))

    def first(settings: int) -> Stage:
        return Stage("first", ("first",), (), settings, (product,), writes("first/file", "x"))

    for each in (first(1), second, first(2)):
        stages.do(run, each)
    assert not stages.holds(run, second)


def test_a_record_tells_how_long_a_stage_took_and_what_it_gave(tmp_path):
    run = config(tmp_path)
    stages.do(run, stage())
    record = records.read(run.folder, "first")
    assert record.done and record.seconds >= 0 and record.summary == {"wrote": "first/file"}


def test_a_variant_is_trained_after_the_one_it_starts_from_and_again_when_that_is(tmp_path):
    variants = {"last": TrainConfig(start_from="next"), "first": TrainConfig(), "next": TrainConfig(start_from="first")}
    run = config(tmp_path, variants=variants)
    trained = [each for each in stages.plan(run) if each.command[0] == "train"]
    assert [each.name for each in trained] == ["train-first", "train-next", "train-last"]
    assert [each.needs for each in trained] == [
        ("examples",), ("examples", "train-first"), ("examples", "train-next"),
    ]  # fmt: skip


def test_a_folder_to_start_from_is_an_input(tmp_path):
    folder = tmp_path / "other" / "models" / "ids"
    run = config(tmp_path, variants={"ids": TrainConfig(start_from=str(folder)), "anew": TrainConfig()})
    before, alone = (stages.find(run, f"train-{name}")[0].settings for name in ("ids", "anew"))
    folder.mkdir(parents=True)
    (folder / "history.json").write_text("{}")
    assert stages.find(run, "train-ids")[0].settings != before
    assert "start_from" not in alone  # so that what was trained before there was the setting holds
