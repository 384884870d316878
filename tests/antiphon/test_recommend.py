from antiphon.recommend import show


def item(title: str) -> dict:
    return {"item_id": title.lower(), "title": title, "score": 1.0}


def test_what_was_seen_stands_newest_first_beside_what_is_recommended(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    answer = {"user_id": "7", "events": 30, "history": [item("Old"), item("New")], "items": [item("Next")]}
    assert show(answer).splitlines() == [
        "User 7 (30 events)",
        f"    {'last seen':<24}  recommended",
        f"    {'New':<24}   1. Next",
        "    Old",
    ]


def test_a_title_too_long_or_with_newlines_is_one_short_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    answer = {"user_id": "", "events": 1, "history": [item("A very\nlong title of an item")], "items": []}
    assert show(answer).splitlines()[2] == "    A very long title of an…"
