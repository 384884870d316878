import json

from benchmarks import ps


def test_a_quick_run_prints_its_figures_as_json_on_the_last_line(capsys):
    assert ps.main(["--quick"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    for case in ("batch_512", "batch_64"):
        for kind in ("ours", "stock"):
            assert figures[case][kind]["ratio"] > 0
            assert figures[case][kind]["single_examples_per_second"] > 0
    assert figures["machine"]["cores"] >= 1


def test_ids_of_a_feature_stay_within_its_table(tmp_path):
    import tensorflow as tf

    from benchmarks._ps_contestant import Settings, parse

    options = ps.parse(["--rows", "50", "--features", "3"])
    ps.write_examples(tmp_path / "examples", options)
    settings = Settings({}, str(tmp_path / "examples"), ps.EXAMPLES, 3, 50, 4, str(tmp_path))
    records = next(iter(tf.data.TFRecordDataset(settings.file).batch(ps.EXAMPLES)))
    ids, labels = parse(records, settings)
    assert ids.shape == (ps.EXAMPLES, 3) and labels.shape == (ps.EXAMPLES,)
    for feature in range(3):
        assert set(ids[:, feature].numpy()) == set(range(feature * 50, feature * 50 + 50))
