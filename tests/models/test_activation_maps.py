from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from featherlight.errors import UsageError
from featherlight.models.activation_maps import class_activation_maps
from featherlight.models.registry import create_model


class Pooled(nn.Module):
    """Ends in global pooling and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def test_pooled_linear_network_has_the_maps_of_zhou_et_al() -> None:
    torch.manual_seed(0)
    model, images, classes = Pooled().eval(), torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    maps = class_activation_maps(model, images, classes)
    with torch.no_grad():
        weighed = torch.einsum("nchw,nc->nhw", model.features(images), model.classifier.weight[classes]).relu()
    torch.testing.assert_close(maps, weighed / weighed.amax((1, 2), keepdim=True))


def test_a_network_that_sees_one_corner_looks_there() -> None:
    model = Pooled().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.features[0].weight[0, 0, 1, 1] = 1.0  # the red channel as it is
        model.classifier.weight[2, 0] = 1.0
    images = torch.zeros(1, 3, 8, 8)
    images[0, 0, 6, 1] = 1.0
    (found,) = class_activation_maps(model, images, torch.tensor([2]))
    assert found.flatten().argmax() == 6 * 8 + 1
    assert found.sum() == 1
    (nothing,) = class_activation_maps(model, images, torch.tensor([0]))
    assert nothing.sum() == 0  # nothing raises the class


@pytest.mark.parametrize(
    ("name", "size"), [("shufflenet_v2_x0_5", 32), ("shufflenet_v1_g3_x0_25", 32), ("mobilenet_v3_small", 64)]
)
def test_maps_agree_with_pytorch_grad_cam(name: str, size: int) -> None:
    grad_cam = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.manual_seed(0)
    model = create_model(name, 7, input_size=size).eval()
    images, classes = torch.randn(2, 3, size, size), torch.tensor([3, 5])
    maps = class_activation_maps(model, images, classes)
    layer = last_map(model, images)
    with grad_cam.GradCAM(model, [layer]) as reference:
        targets = [ClassifierOutputTarget(int(k)) for k in classes]
        expected = reference.get_cam_image(images, layer, targets, *_recorded(reference, images, targets), False)
    expected = np.maximum(expected, 0)
    expected /= np.maximum(expected.max((1, 2), keepdims=True), 1e-30)
    assert expected.max() == 1
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-5)


def last_map(model: nn.Module, images: torch.Tensor) -> nn.Module:
    seen = []
    hooks = [
        module.register_forward_hook(lambda module, _, output: seen.append((module, output)))
        for module in model.modules()
        if module is not model
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return [module for module, output in seen if output.ndim == 4 and output.shape[2] >= 4][-1]


def _recorded(reference: object, images: torch.Tensor, targets: list[object]) -> tuple[np.ndarray, np.ndarray]:
    outputs = reference.activations_and_grads(images)
    sum(target(output) for target, output in zip(targets, outputs, strict=True)).backward()
    record = reference.activations_and_grads
    return record.activations[0].numpy(), record.gradients[0].numpy()


def test_the_network_stays_as_it_is() -> None:
    model = create_model("shufflenet_v2_x0_5", 4, input_size=32).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    class_activation_maps(model, torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_without_a_map_says_so() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(UsageError, match="no map of at least 4 x 4 cells"):
        class_activation_maps(model, torch.zeros(1, 3, 2, 2), torch.tensor([0]))
