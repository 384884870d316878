import pytest
import torch
from torch import nn
from transformers.activations import GELUActivation

from llm_offline.packed_linear import PackedLinear, pack_linears

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")


class Widening(nn.Module):
    """As BERT's: a linear layer and the activation beside it."""

    def __init__(self, activation):
        super().__init__()
        self.dense = nn.Linear(8, 16)
        self.intermediate_act_fn = activation

    def forward(self, x):
        return self.intermediate_act_fn(self.dense(x))


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 33])
def test_gives_what_the_linear_gave(bias, rows):
    linear = nn.Linear(8, 16, bias=bias)
    x = torch.randn(rows, 3, 8)
    assert torch.allclose(PackedLinear(linear)(x), linear(x), atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("activation", [GELUActivation(), nn.GELU(), nn.GELU("tanh"), nn.ReLU()])
def test_the_activation_stays_what_it_was(activation):
    module, x = Widening(activation), torch.randn(5, 8)
    before = module(x)
    assert pack_linears(module) == 1
    assert torch.allclose(module(x), before, atol=1e-6)


@torch.inference_mode()
def test_only_the_exact_gelu_is_fused():
    fused, apart = Widening(GELUActivation()), Widening(nn.GELU("tanh"))
    pack_linears(fused)
    pack_linears(apart)
    assert (fused.dense.activation, apart.dense.activation) == ("gelu", "none")


def test_a_subclass_of_linear_is_left_alone():
    class Scaled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    assert pack_linears(nn.Sequential(Scaled(2, 2))) == 0
