"""The bundled model's image side against timm's own EfficientNet-Lite0, in float64."""

import pytest
import timm
import torch

from frenchcat.curate.clip.efficientnet import trunk


@pytest.mark.parametrize("side", [224, 96, 61])
def test_the_trunk_is_timms(side: int) -> None:
    """Odd sides too: "same" padding is not the same on both sides there."""
    torch.manual_seed(side)
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).double().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    state = {f"trunk.{name}": value for name, value in theirs.state_dict().items()}
    x = torch.rand(2, 3, side, side).double() * 2 - 1
    with torch.inference_mode():
        expected = theirs.blocks(theirs.bn1(theirs.conv_stem(x)))
        found = trunk(state)(x)
    torch.testing.assert_close(found, expected)
