import json
import re
import signal

import browser
import pytest
import urllib3

OLD = "2026-01-30"
"""Day of the last sessions of the run."""


@pytest.fixture(scope="module")
def page():
    with browser.chromium() as found:
        yield found


def verdict(page):
    return page.run("return document.getElementById('verdict').dataset.outcome ?? ''")


def ask(page, user="u1"):
    """Types a user, presses Enter, and waits for what comes."""
    page.run("document.getElementById('user').value = ''; document.getElementById('user').focus()")
    page.type(user + browser.ENTER)
    page.wait(lambda: page.text("#status") != "Asking…" and (page.text("#status") or page.text("#error")))


def ask_until(page, outcome):
    """The reasoner's seconds may not be enough on a busy machine."""
    page.wait(lambda: ask(page) or verdict(page) == outcome)


def test_by_keyboard_alone_one_sees_context_query_and_intents_with_both_similarities(page, chat_service):
    page.resize(1100, 900)
    page.open(chat_service.url)
    for name in ("user", "entry_point"):
        page.type(browser.TAB)
        assert page.run("return document.activeElement.id") == name
    page.type("<b>R")  # chooses by its first letters
    page.type(browser.TAB + browser.ENTER)
    page.wait(lambda: page.text("#context"))
    assert page.text("#user") == "" and "Entry Point: <b>Refunds</b>" in page.text("#context")
    assert page.run("return document.querySelector('#context b')") is None  # told as text
    assert OLD in page.text("#since")
    ask_until(page, "answered")
    assert page.text("#verdict") == "The reasoner answered in time: its query has a part in every score."
    page.wait(lambda: page.text("#query") not in ("", "…"))
    assert page.run("return document.getElementById('wrote').hidden") is False
    told = page.run("return [...document.querySelectorAll('#intents li')].map(li => [li.dataset.intent, li.innerText])")
    assert len(told) == 3
    for place, (_, text) in enumerate(told, 1):
        user, query = (float(part.replace("−", "-")) for part in re.findall(r"= (−?[\d.]+)", text))
        score = float(re.search(r"score\s+(−?[\d.]+)", text)[1].replace("−", "-"))
        assert text.startswith(f"{place}. ") and score == pytest.approx(user + query, abs=2e-3)
    assert page.complaints() == []


def test_the_choice_is_in_the_address(page, chat_service):
    page.open(f"{chat_service.url}/?user=u3&entry_point=2")
    page.wait(lambda: page.text("#context"))
    assert "Entry Point: Order Page" in page.text("#context")
    assert page.run("return [document.getElementById('user').value, document.getElementById('entry_point').value]") == [
        "u3", "2"]  # fmt: skip


@pytest.mark.parametrize("width", [320, 390, 1100])
def test_nothing_runs_over_the_side_at_any_width(page, chat_service, width):
    page.resize(width, 800)
    page.open(f"{chat_service.url}/?user=u1")
    page.wait(lambda: page.text("#context"))
    assert page.run("return document.documentElement.scrollWidth") <= width
    columns = page.run("return getComputedStyle(document.getElementById('answer')).gridTemplateColumns")
    assert len(columns.split()) == (1 if width < 700 else 2)


def test_it_is_dark_where_that_is_preferred(page, chat_service):
    page.open(chat_service.url)
    seen = []
    for dark in (False, True):
        page.resize(1100, 900, dark)
        seen.append(page.run("return getComputedStyle(document.body).backgroundColor"))
    assert seen == ["rgb(252, 252, 250)", "rgb(23, 25, 28)"]


def test_what_goes_wrong_is_told_in_plain_words(page, chat_service):
    page.open(chat_service.url)
    ask(page, "nobody")
    assert page.text("#error") == "There is no session of user 'nobody'."
    assert page.run("return document.getElementById('answer').hidden") is True
    chat_service.reasoner.send_signal(signal.SIGSTOP)
    try:
        ask(page)
        assert verdict(page) in ("late", "rested") and "answered without its query" in page.text("#verdict")
        assert page.text("#error") == ""
    finally:
        chat_service.reasoner.send_signal(signal.SIGCONT)
    ask_until(page, "answered")
    page.offline(True)
    try:
        ask(page)
        assert page.text("#error") == "The server cannot be reached. Is it still running?"
    finally:
        page.offline(False)


def test_the_page_brings_all_it_needs_and_lets_nothing_else_run(page, chat_service):
    answer = urllib3.request("GET", chat_service.url)
    document = answer.data.decode()
    assert not re.search(r"(src|href)=\"(?!data:)", document)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page.open(chat_service.url)
    page.run("const s = document.createElement('script'); s.textContent = 'document.title = \"taken\"'; "
             "document.head.append(s)")  # fmt: skip
    assert page.run("return document.title") == "chat · chatbot · Antiphon"
    assert any("Content Security Policy" in said for said in page.complaints())
    assert json.loads(urllib3.request("GET", f"{chat_service.url}/v1/chatbot").data)["users"] == 7
