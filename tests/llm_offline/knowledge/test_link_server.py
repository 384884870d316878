from types import SimpleNamespace

import pytest

from llm_offline.knowledge import link_server


def test_what_a_side_process_cannot_begin_with_is_told_with_the_setting_and_the_way_out(tmp_path):
    expected = rf"llm.start: cannot begin with {tmp_path} \('anew' begins without\): .* has no MANIFEST.json"
    with pytest.raises(ValueError, match=expected):
        link_server._begin_with(SimpleNamespace(start_from=None), str(tmp_path))
