"""One run's whole configuration: the rooms' config dataclasses, read strictly from YAML.

    config = load("configs/demo.yaml", ["train.batch=256", "variants.ids.model.d=32"])

Every field is checked against its dataclass: an unknown name, a wrong type or a value out of range is a
`ConfigError` that names the file, the field, the rule and the value.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from antiphon.choice import ExportConfig
from antiphon.parse import ConfigError, Override, convert, join, reject_unknown
from antiphon.retraining.config import RetrainConfig
from antiphon.strict_yaml import parse_yaml
from beam_jobs.options import BeamConfig, PriorConfig, SkewConfig
from feature_store.chat_config import ChatConfig
from feature_store.checks import require
from feature_store.config import DataConfig, ExampleConfig, ExperimentConfig, FeatureConfig
from feature_store.conversion_config import ConversionConfig
from feature_store.market.config import MarketConfig
from llm_offline.alignment_config import AlignConfig, HitsConfig, ServiceConfig
from llm_offline.config import EmbedConfig, LlmConfig, PromptConfig, SourceConfig
from llm_offline.profile_config import GroupConfig, ProfileConfig
from serving.config import ChatbotConfig, IndexConfig, ServeConfig
from trainer.config import EvaluateConfig, TrainConfig
from trainer.requests.config import RequestEvaluateConfig, RequestTrainConfig

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

ITEM_TEXT = "item_text"
"""As ``model.knowledge``: what the stage `embed` makes in this run."""

UNIVERSAL = "universal"
"""As ``coco.prompts``: what the stage `prompts` makes in this run."""


@dataclass(frozen=True)
class Config:
    """A run: its name, and what each stage is to do.

    `variants` are the models to train and compare. In YAML each one gives only what it changes of the `train`
    section; here each is a whole `TrainConfig`. Without that section there is one variant, named "model".
    The first is the baseline of every comparison.

    `market` is what `antiphon simulate market` makes; no stage reads it. `chat` is a service chatbot: with a path, the
    run's stages are those of `antiphon/chatbot.py`.

    `sources` are kinds of knowledge about users that are computed before training, by name; `experiments` are splits of
    the users who are served. With `profiles` every user gets one, and `groups` and `priors` are made of them.
    With `rankers` the run is one of conversion, whose stages are those of
    `antiphon/conversion.py`: each of them gives what it changes of the `ranker` section.
    """

    name: str
    runs: str = "runs"  # folder of run folders
    data: DataConfig = field(default_factory=DataConfig)
    market: MarketConfig = field(default_factory=MarketConfig)
    chat: ChatConfig = field(default_factory=ChatConfig)
    beam: BeamConfig = field(default_factory=BeamConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    examples: ExampleConfig = field(default_factory=ExampleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    variants: dict[str, TrainConfig] = field(default_factory=dict)
    llm: LlmConfig = field(default_factory=LlmConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    service: ServiceConfig = field(default_factory=ServiceConfig)
    hits: HitsConfig = field(default_factory=HitsConfig)
    prompts: PromptConfig = field(default_factory=PromptConfig)
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    profiles: ProfileConfig | None = None
    groups: GroupConfig = field(default_factory=GroupConfig)
    priors: PriorConfig = field(default_factory=PriorConfig)
    conversion: ConversionConfig = field(default_factory=ConversionConfig)
    ranker: RequestTrainConfig = field(default_factory=RequestTrainConfig)
    rankers: dict[str, RequestTrainConfig] = field(default_factory=dict)
    judge: RequestEvaluateConfig = field(default_factory=RequestEvaluateConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    chatbot: ChatbotConfig = field(default_factory=ChatbotConfig)
    retrain: RetrainConfig = field(default_factory=RetrainConfig)
    skew: SkewConfig = field(default_factory=SkewConfig)
    experiments: dict[str, ExperimentConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.variants:
            object.__setattr__(self, "variants", {"model": self.train})
        rule = "must start with a letter or digit and hold only letters, digits, '_', '.', '-'"
        require(NAME.fullmatch(self.name) is not None, "name", rule, self.name)
        for name in self.sources:
            require(NAME.fullmatch(name) is not None, "sources: a name", rule, name)
            taken = name in (ITEM_TEXT, "codebook")
            require(not taken, "sources: a name", "must not be that of another folder of knowledge", name)
        for name in self.rankers:
            require(NAME.fullmatch(name) is not None, "rankers: a name", rule, name)
        selected = list(dict.fromkeys(ranker.select for ranker in self.rankers.values()))
        require(len(selected) < 2, "rankers: select", "must be the same of all, which it chooses between", selected)
        for where, chosen, names in (
            ("retrain.variant", self.retrain.variant, self.variants),
            ("export.variant", self.export.variant, self.rankers or self.variants),
        ):
            require(not chosen or chosen in names, where, f"must be one of {', '.join(names)}", chosen)
        for name, train in self.variants.items():
            require(NAME.fullmatch(name) is not None, "variants: a name", rule, name)
            require(name != "popularity", "variants: a name", "must not be that of the baseline", name)
            if train.coco.refresh:
                told = train.coco.source
                require(not told, f"variants.{name}.coco.source", "must be empty with coco.refresh", told)
            if train.coco.stored:
                rule = f"must be one of sources ({', '.join(self.sources)})"
                require(train.coco.source in self.sources, f"variants.{name}.coco.source", rule, train.coco.source)
            if train.model.knowledge not in ("", ITEM_TEXT):
                tell = [name for name, source in self.sources.items() if source.kind != "template"]
                rule = f"must be '', {ITEM_TEXT!r} or a source that tells of items ({', '.join(tell)})"
                field = f"variants.{name}.model.knowledge"
                require(train.model.knowledge in tell, field, rule, train.model.knowledge)
            limit = self.features.history_length
            require(
                train.model.max_length <= limit,
                f"variants.{name}.model.max_length",
                f"must be at most features.history_length ({limit}), all that an example holds",
                train.model.max_length,
            )
            self._check_start(name)

    def _check_start(self, name: str) -> None:
        """That a variant starts from a folder, or from another variant that does not wait for it."""
        start, before = self.variants[name].start_from, [name]
        where = f"variants.{name}.start_from"
        others = [other for other in self.variants if other != name]
        rule = f"must be another variant ({', '.join(others) or 'there is none'}) or a path such as runs/x/models/y"
        require(not start or start in others or os.sep in start, where, rule, start)
        while start in self.variants:
            require(start not in before, where, f"must not lead back to {name!r}", " <- ".join([*before, start]))
            before.append(start)
            start = self.variants[start].start_from

    @property
    def folder(self) -> Path:
        """Where everything this run makes lies."""
        return Path(self.runs) / self.name

    def on_cluster(self, cluster: str) -> Config:
        """This config with every variant trained on a local cluster "ps=N,workers=N"."""
        variants = {name: replace(train, cluster=cluster) for name, train in self.variants.items()}
        rankers = {name: replace(ranker, cluster=cluster) for name, ranker in self.rankers.items()}
        return replace(self, train=replace(self.train, cluster=cluster), variants=variants, rankers=rankers)

    def evaluated_on_cluster(self, cluster: str) -> Config:
        """This config with every variant evaluated on a local cluster "ps=N,workers=N"."""
        return replace(self, evaluate=replace(self.evaluate, cluster=cluster))

    @property
    def uses_prompts(self) -> bool:
        """Whether some variant starts from the universal prompts."""
        return any(train.coco.enabled and train.coco.prompts == UNIVERSAL for train in self.variants.values())

    @property
    def uses_knowledge(self) -> bool:
        """Whether some variant needs the items' text to be embedded."""
        return any(train.model.knowledge == ITEM_TEXT for train in self.variants.values())


def load(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """The config in `path`, with each override "a.b=value" put over it.

    Raises:
        ConfigError: the file is missing or not YAML, or a field in it does not keep its rule.
    """
    tree = _read(Path(path))
    for text in overrides:
        _override(tree, text)
    try:
        tree = _expand(tree, "")
        reject_unknown(tree, Config, "")
        variants = _variants(tree, "train", "variants", TrainConfig)
        rankers = _variants(tree, "ranker", "rankers", RequestTrainConfig)
        rest = {key: value for key, value in tree.items() if key not in ("variants", "rankers")}
        return convert(rest, Config, "", variants=variants, rankers=rankers)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _variants(tree: Mapping[str, Any], base: str, section: str, kind: type) -> dict[str, Any]:
    """What `section` names, each with what it changes put over the section `base`."""
    common = _mapping(tree.get(base), base)
    convert(common, kind, base)  # first, so that its faults are told under its own name
    return {
        str(name): convert(_merge(common, _mapping(changes, f"{section}.{name}")), kind, f"{section}.{name}")
        for name, changes in _mapping(tree.get(section), section).items()
    }


def dump(config: Config) -> str:
    """`config` as YAML that `load` reads back to an equal config."""
    return yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = sorted(str(file) for file in path.parent.glob("*.yaml"))
        there = f"; there is {', '.join(found)}" if found else ""
        raise ConfigError(f"{path}: there is no such file{there}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold a mapping of sections, received {type(tree).__name__}")
    return tree


def _override(tree: dict[str, Any], text: str) -> None:
    """Set one "a.b=value" in the tree; its value is read as the type of the field it lands on."""
    field_path, equals, value = text.partition("=")
    names = field_path.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"--set {text}: must read section.field=value")
    for name in names[:-1]:
        branch = tree.get(name)
        if branch is not None and not isinstance(branch, dict):
            raise ConfigError(f"--set {text}: {name} holds a value, not a section")
        if branch is None:  # the section is missing, or named and left empty
            tree[name] = branch = {}
        tree = branch
    tree[names[-1]] = Override(value)


def _mapping(value: Any, path: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: must be a mapping, received {value!r}")
    return value


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def _expand(value: Any, path: str) -> Any:
    """Put environment variables into strings: ${NAME}, or ${NAME:-default} where it is unset or empty."""
    if isinstance(value, dict):
        return {key: _expand(item, join(path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if found is None:
            raise ConfigError(f"{path}: needs the environment variable {name}, which is not set: {value!r}")
        return found

    return type(value)(_VARIABLE.sub(replace, value))
