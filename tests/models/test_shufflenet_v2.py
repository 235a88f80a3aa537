from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from featherlight.errors import UsageError
from featherlight.models.registry import create_model
from featherlight.models.shufflenet_v2 import shufflenet_v2


@pytest.mark.parametrize("width", ["x0_5", "x1_0", "x1_5", "x2_0"])
def test_torchvision_weights_load_unmapped_and_give_the_same_logits(width: str) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, f"shufflenet_v2_{width}")(weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    ours = create_model(f"shufflenet_v2_{width}", stem="imagenet").eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs(x)
        assert expected.std() > 0.01  # the comparison says something
        torch.testing.assert_close(ours(x), expected, rtol=1e-6, atol=1e-6)


def test_unknown_width_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no width 0\.75; its widths are 0\.5, 1\.0, 1\.5, 2\.0"):
        shufflenet_v2(0.75)
