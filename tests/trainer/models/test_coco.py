import numpy as np
import pytest
import tensorflow as tf

from feature_store import folders, prompt_codebook
from trainer.config import CocoConfig, ModelConfig, TrainConfig
from trainer.models.coco import CoCo, Knowledge, helped
from trainer.models.sasrec import SASRec

COCO = CocoConfig(enabled=True, codes=4, selected=2, width=6, knowledge_width=3, scale=0.5)


def made(config=COCO, **changes):
    backbone = SASRec(ModelConfig(d=4, blocks=1, max_length=3, **changes))
    backbone.build((None, 3, 4))
    return CoCo(backbone, config, seed=1)


def test_a_user_is_helped_where_the_aligned_vector_is_nearer_to_the_target():
    h, target = tf.constant([[1.0, 0.0]] * 4), tf.constant([[0.0, 2.0]] * 4)
    aligned = tf.constant([[1.0, 1.0], [9.0, 0.1], [1.0, 0.0], [1.0, -1.0]])
    assert helped(aligned, h, target).numpy().tolist() == [True, True, False, False]  # of two alike, no


def test_the_backbone_stays_its_own():
    backbone = SASRec(ModelConfig(d=4, blocks=1, max_length=3))
    backbone.build((None, 3, 4))
    before = [weight.numpy() for weight in backbone.trainable_variables]
    coco = CoCo(backbone, COCO)
    mine = {weight.ref() for weight in coco.trainable_variables}
    assert {weight.ref() for weight in backbone.trainable_variables} < mine
    for weight, value in zip(backbone.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    names = {weight.name.split("/")[0] for weight in coco.trainable_variables}
    assert coco.codebook.codes.shape == (4, 6) and coco.codebook.shared.shape == (2, 6), names


@pytest.mark.parametrize("temperature", [0.0, 0.25])
def test_where_scores_are_cosines_the_aligned_vector_is_as_long_as_h_rs(temperature):
    coco = made(temperature=temperature)
    coco.fusion.value.kernel.assign(np.eye(4))
    h = tf.constant([[[0.0, 0.0, 0.0, 4.0], [4.0, 0.0, 0.0, 0.0]]])
    knowledge = Knowledge(tf.constant([[[1.0, 2.0, 3.0]]]), tf.constant([[True]]))
    aligned = coco.aligned(h, tf.constant([[True, True]]), knowledge)
    assert np.abs(aligned[0] - h[0, 1]).max() > 0.1
    assert (abs(np.linalg.norm(aligned) - 4) < 1e-5) == bool(temperature)
    nothing = coco.aligned(h, tf.constant([[True, True]]), knowledge._replace(mask=tf.constant([[False]])))
    np.testing.assert_array_equal(nothing, h[:, 1])


def test_prompts_come_from_a_file_or_at_the_language_model_s_scale(tmp_path):
    given = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    np.save(tmp_path / "prompts.npy", given)
    file = str(tmp_path / "prompts.npy")
    with_file = made(CocoConfig(**{**vars(COCO), "prompts": file}))
    np.testing.assert_array_equal(with_file.codebook.codes, given)
    drawn = made(CocoConfig(**{**vars(COCO), "codes": 64, "width": 64, "scale": 0.02})).codebook.codes
    assert np.sqrt(np.mean(np.square(drawn))) == pytest.approx(0.02, rel=0.05)
    fixed = made(CocoConfig(**{**vars(COCO), "prompts": file, "fixed": True, "shared": 0}))
    assert fixed.prompts(tf.ones((2, 4))).prompts.shape == (2, 4, 6)
    for change, told in (({"codes": 5}, r"must be of shape \(5, 6\)"), ({"prompts": "no.npy"}, "no such file")):
        with pytest.raises(ValueError, match=told):
            made(CocoConfig(**{**vars(COCO), "prompts": file, **change}))


def test_prompts_come_from_the_folder_that_the_command_writes(tmp_path):
    random = np.random.default_rng(0)
    codes, shared = random.normal(size=(7, 6)).astype(np.float32), random.normal(size=(2, 6)).astype(np.float32)
    with folders.new_folder(tmp_path / "codebook") as folder:
        prompt_codebook.write(folder, codes, [f"prompt {i}" for i in range(7)], shared, {"model_id": "tiny"})
    settings = {**vars(COCO), "prompts": str(tmp_path / "codebook")}
    codebook = made(CocoConfig(**settings)).codebook
    np.testing.assert_array_equal(codebook.codes, codes[:4])
    np.testing.assert_array_equal(codebook.shared, shared)
    faults = ({"codes": 8}, "from 1 to 7"), ({"shared": 1}, "coco.shared must be 2"), ({"width": 5}, "shape")
    for change, told in faults:
        with pytest.raises(ValueError, match=told):
            made(CocoConfig(**{**settings, **change}))


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: CocoConfig(threshold=1.5), "threshold must be from -1 to 1, received 1.5"),
        (lambda: CocoConfig(codes=4), "selected must be at most codes"),
        (lambda: CocoConfig(fixed=True), "prompts must name a file with fixed"),
        (lambda: CocoConfig(gate="soft"), "gate must be one of"),
        (lambda: TrainConfig(coco=CocoConfig(enabled=True, heads=3)), "coco.heads must divide model.d"),
        (lambda: TrainConfig(coco=CocoConfig(enabled=True), held_back=1), "held_back must be 0 with coco"),
    ],
)
def test_faulty_settings_are_told(make, told):
    with pytest.raises(ValueError, match=told):
        make()
