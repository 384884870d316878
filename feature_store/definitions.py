"""The Feast repository: generated from the schema, applied to its registry."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from feature_store.config import OnlineStoreConfig
from feature_store.errors import DataError
from feature_store.schema import CREATED_TIME, EVENT_TIME, FeatureView, Field, Schema

if TYPE_CHECKING:
    from feast import FeatureStore

PROJECT = "antiphon"
DEFINITIONS = "definitions.py"
_FEAST_TYPES = {"string": "String", "int64": "Int64", "float32": "Float32"}
_HEADER = '''"""Feast entities and feature views. Generated from the schema: change that, not this file."""

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Float32, Int64, String
'''


def write_repository(folder: Path, schema: Schema, online: OnlineStoreConfig, project: str = PROJECT) -> None:
    """Writes ``feature_store.yaml`` and ``definitions.py`` into ``folder`` (created), a Feast repository.

    Its offline files are ``../<view>.parquet``, its SQLite store is ``../online.db``, its registry in it.
    Every path is relative, so the folder around it may be renamed; Feast's own historical reads therefore run
    with the repository as the working directory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = {"type": "sqlite", "path": "../online.db"}
    if online.kind == "redis":
        kind = {"redis_type": "redis_cluster"} if online.cluster else {}
        store = {"type": "redis", **kind, "connection_string": online.connection}
    config = {
        "project": project,
        "provider": "local",
        "registry": {"registry_type": "file", "path": "registry.db"},
        "offline_store": {"type": "duckdb"},
        "online_store": store,
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    parts = [_HEADER]
    for key in dict.fromkeys(("user_id", "item_id", *(view.key for view in online_views(schema)))):
        name = key.removesuffix("_id")
        parts.append(f'{name} = Entity(name="{name}", join_keys=["{key}"], value_type=ValueType.STRING)\n')
    parts += [_view(view) for view in online_views(schema)]
    (folder / DEFINITIONS).write_text("\n".join(parts), encoding="utf-8")


def online_views(schema: Schema) -> list[FeatureView]:
    """The views Feast knows: those with at least one feature."""
    return [view for view in schema.views() if view.features]


def _view(view: FeatureView) -> str:
    fields = "\n".join(
        f'        Field(name="{field.name}", dtype={_feast_type(field)}),' for field in view.features
    )
    return f'''{view.name} = FeatureView(
    name="{view.name}",
    entities=[{view.key.removesuffix("_id")}],
    schema=[
{fields}
    ],
    source=FileSource(
        name="{view.name}",
        path="../{view.name}.parquet",
        timestamp_field="{EVENT_TIME}",
        created_timestamp_column="{CREATED_TIME}",
    ),
)
'''


def _feast_type(field: Field) -> str:
    name = _FEAST_TYPES[field.dtype]
    return f"Array({name})" if field.is_list else name


def open_feast(repository: Path) -> FeatureStore:
    """Feast's own view of a repository.

    Raises:
        DataError: the folder is no Feast repository.
    """
    if not (repository / "feature_store.yaml").is_file():
        raise DataError("not a Feast repository: it has no feature_store.yaml", file=repository)
    os.environ.setdefault("FEAST_USAGE", "False")  # no telemetry
    from feast import FeatureStore

    return FeatureStore(repo_path=str(repository))


def apply(repository: Path) -> list[str]:
    """Applies ``definitions.py`` to the registry and the online store; returns the names of the views."""
    store = open_feast(repository)
    from feast import Entity
    from feast import FeatureView as FeastView

    found = runpy.run_path(str(repository / DEFINITIONS)).values()
    objects = [value for value in found if isinstance(value, Entity | FeastView)]
    store.apply(objects)
    return [value.name for value in objects if isinstance(value, FeastView)]
