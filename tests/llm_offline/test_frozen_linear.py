import pytest
import torch
from torch import nn

from llm_offline.frozen_linear import FrozenLinear, freeze_linears


@pytest.mark.parametrize("bias", [True, False])
def test_the_product_and_its_gradient_are_those_of_a_linear_layer_whose_weights_get_none(bias):
    torch.manual_seed(0)
    layer = nn.Linear(5, 3, bias=bias)
    frozen = FrozenLinear(nn.Linear(5, 3, bias=bias))
    frozen.load_state_dict(layer.state_dict())
    x = torch.randn(7, 2, 5).transpose(0, 1).requires_grad_()  # not contiguous
    upstream = torch.randn(2, 7, 3)
    expected = layer(x)
    found = frozen(x)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, x, upstream)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, x, upstream)[0])
    assert not any(value.requires_grad for value in frozen.parameters())


def test_float32_layers_are_replaced_and_names_stay():
    model = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.ModuleDict({"c": nn.Linear(3, 2, dtype=torch.float64)})})
    names = list(model.state_dict())
    assert freeze_linears(model) == 1
    assert isinstance(model["a"], FrozenLinear) and isinstance(model["b"]["c"], nn.Linear)
    assert list(model.state_dict()) == names
