import json
import subprocess
import sys
import time

import purchase_log
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.options import BeamConfig
from beam_jobs.profiles import MALFORMED, NOTHING_KNOWN, run, user_texts
from feature_store import folders
from llm_offline import profile_writer as writing
from llm_offline.profile_config import ProfileConfig, ProfileEncoderConfig, ProfileGenerateConfig

DAY = purchase_log.DAY
END = 100 * DAY
USERS = {"ann": ("Rome", 30, None), "bob": ("Oslo", None, 2.5), "cy": (None, None, None), "dee": ("Rome", 30, None)}
ITEMS = {"cot": ["Baby", "beds"], "rake": ["Garden"]}
EVENTS = [
    ("ann", "cot", END - DAY), ("ann", "rake", END - DAY + 5, "click"), ("cy", "rake", END + 1), ("bob", "rake", DAY),
]  # fmt: skip
SEARCHES = [("bob", "tea", END - 5), ("bob", "late", END)]
ENCODER = {"layers": 1, "dimensions": 5}


@pytest.fixture
def tables(tmp_path):
    return purchase_log.write(tmp_path / "tables", USERS, ITEMS, EVENTS, SEARCHES, test_start=END)


def rows_of(out):
    manifest = folders.read_manifest(out / "users")
    rows = pa.concat_tables([pq.read_table(out / "users" / part["file"]) for part in manifest["files"]]).to_pylist()
    return {row["user_id"]: row for row in rows}


def dead_letters(out):
    folders.read_manifest(out / "dead_letter")
    return [json.loads(line) for line in (out / "dead_letter" / "users.jsonl").open()]


def test_what_is_known_before_the_end_is_told(tables):
    texts = user_texts(("ann", "cy"), tables, ProfileConfig(), END).to_pylist()
    assert texts == [
        {"user_id": "ann", "text": "City: Rome.\nAge: 30.\nPurchases of the last 7 days: Baby (1), beds (1)."},
        {"user_id": "bob", "text": "City: Oslo.\nIncome: 2.5.\nEarlier purchases: Garden (1).\nRecent searches: tea."},
        {"user_id": "cy", "text": ""},
    ]
    chosen = user_texts(("dee", "dee"), tables, ProfileConfig(attributes=("age",)), END)
    assert chosen["text"].to_pylist() == ["Age: 30."]


def test_the_template_is_embedded_and_cut_and_who_is_not_known_is_a_dead_letter(tables, tiny_llm, tmp_path):
    out = tmp_path / "profiles"
    config = ProfileConfig(encoder=ProfileEncoderConfig(model=str(tiny_llm), **ENCODER))
    summary = run(tables, out, config, BeamConfig())
    rows = rows_of(out)
    assert {user: row["vector"] is None for user, row in rows.items()} == {
        "ann": False, "bob": False, "cy": True, "dee": False,
    }  # fmt: skip
    assert len(rows["ann"]["vector"]) == 10
    assert sum(value**2 for value in rows["ann"]["vector"]) == pytest.approx(2, abs=1e-5)
    assert summary["mode"] == "template" and summary["width"] == 10
    assert summary["dead_letters"] == {NOTHING_KNOWN: 1}
    assert dead_letters(out) == [{"user_id": "cy", "reason": NOTHING_KNOWN, "record": ""}]
    again = run(tables, out, config, BeamConfig())
    assert (summary["computed"], again["computed"], again["reused"]) == (3, 0, 3)


def test_a_model_writes_profiles_and_what_it_writes_badly_is_replaced_and_told(tables, chat_llm, tiny_llm, tmp_path):
    out = tmp_path / "profiles"
    config = ProfileConfig(
        mode="generate",
        generate=ProfileGenerateConfig(model=str(chat_llm), max_new_tokens=4, max_tokens=200, batch_tokens=4096),
        encoder=ProfileEncoderConfig(model=str(tiny_llm), **ENCODER),
    )
    summary = run(tables, out, config, BeamConfig())
    rows = rows_of(out)
    assert summary["outcome"] == {"fallback": 3}
    assert rows["ann"]["profile"] == rows["ann"]["text"] and rows["cy"]["vector"] is None
    letters = {letter["user_id"]: letter for letter in dead_letters(out)}
    assert {user: letter["reason"] for user, letter in letters.items()} == {
        "ann": MALFORMED, "bob": MALFORMED, "cy": NOTHING_KNOWN, "dee": MALFORMED,
    }  # fmt: skip
    assert letters["ann"]["record"] == rows["ann"]["rejected"] != ""


def test_a_well_formed_answer_is_the_profile(tables, tiny_llm, tmp_path, monkeypatch):
    good = "Core identity: A parent of one.\nKey interests: Beds and cots.\nConsumption philosophy: Buys once and well."

    class Fluent:
        def __init__(self, config):
            pass

        def answer(self, prompts):
            return ["Hm." if "Oslo" in prompt.text and not prompt.careful else f"Well:\n{good}" for prompt in prompts]

    monkeypatch.setattr(writing, "Generator", Fluent)
    config = ProfileConfig(
        mode="generate",
        ask="together",
        generate=ProfileGenerateConfig(model=str(tiny_llm)),
        encoder=ProfileEncoderConfig(model=str(tiny_llm), **ENCODER),
    )
    summary = run(tables, tmp_path / "profiles", config, BeamConfig())
    rows = rows_of(tmp_path / "profiles")
    assert summary["outcome"] == {"first": 2, "retried": 1}
    assert rows["bob"]["profile"] == rows["ann"]["profile"] == good
    assert rows["bob"]["outcome"] == "retried"


def test_a_column_that_users_do_not_have_is_named(tables, tmp_path):
    with pytest.raises(ValueError, match=r"profiles.attributes must be columns of the users .*, received \['shoe'\]"):
        run(tables, tmp_path / "profiles", ProfileConfig(attributes=("age", "shoe")), BeamConfig())


KILLED = """
import sys
from pathlib import Path
from beam_jobs import profiles
from beam_jobs.options import BeamConfig
from llm_offline.profile_config import ProfileConfig, ProfileEncoderConfig, ProfileGenerateConfig

tables, out, writer, encoder = sys.argv[1:]
profiles._WRITTEN_TEXTS = 2
config = ProfileConfig(
    mode="generate",
    generate=ProfileGenerateConfig(model=writer, max_new_tokens=4, max_tokens=200, batch_tokens=4096),
    encoder=ProfileEncoderConfig(model=encoder, layers=1, dimensions=5),
)
print(profiles.run(Path(tables), Path(out), config, BeamConfig())["computed"])
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(chat_llm, tiny_llm, tmp_path):
    users = {f"u{n:03d}": (f"City {n}", n, None) for n in range(60)}
    tables = purchase_log.write(tmp_path / "tables", users, ITEMS, [("u001", "cot", DAY)], test_start=END)

    def start(out):
        command = [sys.executable, "-c", KILLED, *map(str, (tables, out, chat_llm, tiny_llm))]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first = start(killed)
    unfinished = killed / ".users.unfinished"
    while len(list(unfinished.glob("*.parquet"))) < 3:
        assert first.poll() is None  # it is killed before its end
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert not (killed / "users").exists()
    left = sum(pq.read_metadata(path).num_rows for path in unfinished.glob("[!.]*.parquet"))
    computed = {out: int(start(out).communicate()[0].splitlines()[-1]) for out in (killed, whole)}
    assert computed == {killed: 60 - left, whole: 60}
    assert rows_of(killed) == rows_of(whole)
