import json

import pytest

from antiphon.retraining.config import RetrainConfig
from antiphon.retraining.gate import judge
from feature_store.errors import DataError
from feature_store.folders import write_manifest


def measured(
    after=0.5, difference=0.0, p=1.0, size=100, p50=1.0, segment=(50, 0.5, 0.5), error=(40, 0.05), recall=0.99
):
    users, before_there, after_there = segment
    hits, misplaced = error
    index = {"kind": "ivf", "recall@50": recall, "recall_users": 9} if recall else None
    return {
        "users": 100,
        "quality": {"serving": {"ndcg@10": 0.5}, "candidate": {"ndcg@10": after}},
        "paired": {"ndcg@10": {"difference": difference, "low": -0.1, "high": 0.1, "p_value": p}},
        "segments": {
            "few events": {
                "users": users,
                "quality": {"serving": {"ndcg@10": before_there}, "candidate": {"ndcg@10": after_there}},
            }
        },
        "calibration": {
            "serving": {"hits": 40, "error": 0.05},
            "candidate": {"hits": hits, "error": misplaced},
        },
        "index": {"serving": {"kind": "exact", "recall@50": 1.0, "recall_users": 9}, "candidate": index},
        "size": {"serving": 100, "candidate": size},
        "latency": {"serving": {"p50": 1.0}, "candidate": {"p50": p50}},
    }


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (measured(), []),
        (measured(after=0.49, difference=-0.01, p=0.04), ["quality"]),  # worse at alpha 0.05
        (measured(after=0.49, difference=-0.01, p=0.06), []),
        (measured(after=0.51, difference=0.01, p=0.01), []),
        (measured(after=0.44, difference=-0.06, p=0.5), ["quality"]),  # loses 12%, more than 10%
        (measured(segment=(50, 0.5, 0.34)), ["segment: few events"]),  # 0.35 is 30% below 0.5
        (measured(segment=(29, 0.5, 0.1)), []),  # too few users to judge
        (measured(error=(40, 0.151)), ["calibration"]),  # over 0.05 + 0.1
        (measured(error=(40, 0.149)), []),
        (measured(error=(29, 0.9)), []),  # too few users to judge
        (measured(recall=0.979), ["index"]),  # 0.98 is asked for
        (measured(recall=0), ["index"]),  # the stable version has one
        (measured(size=201), ["size"]),
        (measured(p50=3.1), ["latency"]),
    ],
)
def test_each_rule_refuses_what_breaks_it(found, refused):
    findings = judge(found, [], RetrainConfig())
    rules = ["quality", "segment: few events", "calibration", "size", "latency", "index"]
    assert [finding.rule for finding in findings] == rules
    assert [finding.rule for finding in findings if not finding.passed] == refused


def test_a_limit_of_0_is_none():
    config = RetrainConfig(max_size_ratio=0, max_latency_ratio=0)
    assert all(finding.passed for finding in judge(measured(size=10**9, p50=99.0), [], config))


def test_a_report_is_a_rule_of_its_own(tmp_path):
    (tmp_path / "icons.json").write_text(json.dumps({"passes": True, "reasons": []}))
    (tmp_path / "skew").mkdir()
    write_manifest(tmp_path / "skew", {"verdict": {"passes": False, "reasons": ["age differs", "city differs"]}})
    (tmp_path / "half").mkdir()
    findings = {found.rule: found for found in judge(measured(), sorted(tmp_path.glob("[is]*")), RetrainConfig())}
    assert findings["icons"].passed and not findings["skew"].passed
    assert findings["skew"].why == "age differs; city differs"
    with pytest.raises(DataError, match="was not written to the end"):
        judge(measured(), [tmp_path / "half"], RetrainConfig())


def test_the_first_candidate_has_nothing_to_be_held_against_but_its_index():
    first = {"quality": {"candidate": {"ndcg@10": 0.1}}, "index": {"candidate": None}}
    quality, index = judge(first, [], RetrainConfig())
    assert quality.passed and "no stable version" in quality.why
    assert index.passed and index.why == "the version has none"
    first["index"]["candidate"] = {"kind": "ivf", "recall@50": 0.9, "recall_users": 5}
    found = {finding.rule: finding.passed for finding in judge(first, [], RetrainConfig())}
    assert found == {"quality": True, "index": False}
