import pytest

from feature_store.request_context import RequestContext


def test_what_is_told_comes_back():
    told = RequestContext(("ü1", "u2"), {"event_count": [3, 4]}, ({"ranking": "b"}, {}))
    assert told.to_header().isascii()
    assert RequestContext.from_header(told.to_header()) == told
    assert RequestContext.from_header(told.to_header().encode()) == told
    assert RequestContext().to_header() == "{}"


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"features": 3}', '{"exposures": ["a"]}', b"\xff\xfe"])
def test_a_header_that_says_nothing_reads_as_an_empty_context(text):
    assert RequestContext.from_header(text) == RequestContext()


def test_a_context_that_no_header_holds_is_refused():
    with pytest.raises(ValueError, match="must take at most 8192 bytes, received 8"):
        RequestContext(["u" * 8192]).to_header()
