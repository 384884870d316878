from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from llm_offline.alignment_config import ReasonerConfig
from llm_offline.embedder import Embedder
from llm_offline.int8 import Int8Linear, quantize_linears
from llm_offline.language_model import load

TEXTS = ["Where is my parcel?", "I want my money back", "The card was declined", "How do I return a lamp?"]


def test_a_product_by_hand():
    linear = nn.Linear(2, 2)
    linear.weight.data = torch.tensor([[127.0, -64.0], [0.5, 0.25]])  # scales 1 and 0.5 / 127
    linear.bias.data = torch.tensor([1.0, -1.0])
    found = Int8Linear(linear)(torch.tensor([[2.0, 1.0], [0.0, 0.0]]))
    # x is 127 and 63.5, which is 64 − 127 / 254, times 2 / 127, so exact; W is (127, −64) and (127, 64) times scales.
    expected = [191.0, (127 * 127 + 63.5 * 64) * 2 / 127 * 0.5 / 127 - 1]  # exact would be 191 and 0.25
    assert found.tolist() == [pytest.approx(expected, rel=1e-5), [1.0, -1.0]]


def test_a_huge_number_leaves_the_others_their_digits():
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32), torch.randn(8, 64)
    x[:, 5] = 1000.0
    with torch.inference_mode():
        apart = linear(x) - linear(x).mean(0)
        close = Int8Linear(linear)(x)
        # Of the weights' own rounding the part of the huge number is the same in all rows.
        error = close - close.mean(0) - apart
    assert error.pow(2).mean().sqrt() < 0.03 * apart.pow(2).mean().sqrt()


def test_a_row_does_not_depend_on_the_rows_beside_it():
    torch.manual_seed(0)
    layer, x = Int8Linear(nn.Linear(16, 4)), torch.randn(5, 16)
    x[3] *= 100
    torch.testing.assert_close(layer(x)[:3], layer(x[:3]))


def test_every_linear_layer_is_replaced_and_stays_close():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Sequential(nn.Linear(96, 8, bias=False)))
    x = torch.randn(3, 5, 64)
    with torch.inference_mode():
        exact = model(x)
        assert quantize_linears(model) == 2
        close = model(x)
    assert close.shape == exact.shape
    assert (close - exact).abs().max() < 0.05 * exact.abs().max()


def test_an_embedder_s_vectors_stay_close():
    exact = Embedder(ReasonerConfig(model="minilm", pooling="mean", max_tokens=64)).encode(TEXTS)
    close = Embedder(ReasonerConfig(model="minilm", pooling="mean", max_tokens=64), weights="int8").encode(TEXTS)
    apart, off = exact - exact.mean(0), close - exact
    assert np.sqrt((off**2).sum() / (apart**2).sum()) < 0.05  # in deviations between texts
    assert ((exact @ exact.T).argsort(1)[:, -2:] == (close @ close.T).argsort(1)[:, -2:]).all()
    assert np.abs(exact - close).max() > 0


def test_a_bfloat16_config_has_8_bit_weights_all_the_same():
    config = ReasonerConfig(model="minilm", pooling="mean", max_tokens=64, dtype="bfloat16")
    found = Embedder(config, weights="int8")
    layers = [type(layer) for layer in found._language_model.model.modules()]
    assert layers.count(Int8Linear) > 0 == layers.count(nn.Linear)
    exact = Embedder(replace(config, dtype="float32"), weights="int8")
    np.testing.assert_array_equal(found.encode(TEXTS), exact.encode(TEXTS))
    assert found.model_id == Embedder(config).model_id


def test_a_model_without_a_layer_to_make_8_bit_is_refused():
    config = ReasonerConfig(model="minilm", pooling="mean", max_tokens=64, dtype="bfloat16")
    with pytest.raises(ValueError, match=r"reasoner.model: with weights int8 must leave .* 'minilm' in bfloat16"):
        Embedder(config, weights="int8", loaded=load(config))


@pytest.mark.slow
def test_a_decoder_s_vectors_still_tell_sessions_apart():
    """In deviations between sessions. With inputs of a single 8-bit number the error is 1.1, two cosines of 0.997."""
    told = [f"Order status: {a}. Entry point: {b}." for a in ("shipped", "paid", "returned") for b in ("help", "order")]
    exact, close = (Embedder(ReasonerConfig(), weights=weights).encode(told) for weights in ("float32", "int8"))
    apart, off = exact - exact.mean(0), close - exact
    assert np.sqrt(((off - off.mean(0)) ** 2).sum() / (apart**2).sum()) < 0.3
