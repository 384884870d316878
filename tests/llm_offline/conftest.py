"""A cache of converted models that lasts as long as the session."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory):
    """ANTIPHON_CACHE in a folder of its own, removed at the end: the converted SmolLM2 is large."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTIPHON_CACHE", str(folder))
        yield folder
    shutil.rmtree(folder)
