"""LPIPS (Zhang et al. 2018): the perceptual loss with VGG-16 and the weights that were fitted to people's judgement."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import vgg16

from codec.core.errors import UserError
from codec.losses.perceptual import PerceptualLoss

LAYERS = (4, 9, 16, 23, 30)  # ends of conv1_2, conv2_2, conv3_3, conv4_3 and conv5_3, each with its ReLU
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pictures in [0, 1] that VGG-16 learned from


class VGGFeatures(nn.Module):
    """Five feature maps of VGG-16 of pictures `[b, 3, height, width]` in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        layers = list(vgg16(weights=None, init_weights=False).features.children())[: LAYERS[-1]]
        for layer in layers:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.features = nn.Sequential(*layers)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        maps, signal = [], ((pictures + 1) / 2 - self.mean) / self.deviation
        for end, layer in enumerate(self.features, start=1):
            signal = layer(signal)
            if end in LAYERS:
                maps.append(signal)
        return maps


def load_lpips(path: Path) -> PerceptualLoss:
    """LPIPS from a file of VGG-16's weights, `vgg16-397923af.pth` of torchvision; the fitted ones are torchmetrics'.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    network = VGGFeatures()
    wanted = network.state_dict()
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        network.load_state_dict({name: found[name] for name in wanted})
    except FileNotFoundError:
        raise UserError(f"no such file: {path}: fetch vgg16-397923af.pth from download.pytorch.org/models") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} does not hold torchvision's weights of VGG-16: {reason[:200]}") from None
    import torchmetrics

    bundled = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "vgg.pth"
    fitted = torch.load(bundled, map_location="cpu", weights_only=True)
    return PerceptualLoss(network, weights=[weight.flatten() for _, weight in sorted(fitted.items())])
