"""Losses that see more of a picture than its pixels, against what they claim to compute."""

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional.image.lpips import _LPIPS  # pyright: ignore[reportPrivateUsage]

from codec.core.errors import UserError
from codec.losses import PerceptualLoss, build_losses, ms_ssim
from codec.losses.lpips import VGGFeatures, load_lpips
from tests.references import similarity


def _pair(height: int, width: int, *, noise: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height)
    coarse = torch.rand((2, 3, 6, 5), generator=generator) * 2 - 1
    target = nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(-1, 1)
    return (target + noise * torch.randn(target.shape, generator=generator)).clamp(-1, 1), target


def test_ms_ssim_is_one_less_what_the_paper_says():
    reconstruction, target = (signal[:1] for signal in _pair(176, 180))
    expected = 1 - similarity.ms_ssim(target[0].double().numpy(), reconstruction[0].double().numpy(), 2.0)
    assert ms_ssim(reconstruction, target).item() == pytest.approx(expected, abs=3e-5)  # float32 moments


@pytest.mark.parametrize(("side", "scales"), [(11, 1), (21, 1), (22, 2), (32, 2), (44, 3), (88, 4), (175, 4), (176, 5)])
def test_small_crops_use_as_many_scales_as_fit(side, scales, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "codec.losses.structural.multi_scale_similarity",
        lambda x, y, **options: asked.update(options) or torch.ones(len(x)),
    )
    ms_ssim(*_pair(side, 200))
    assert asked["num_scales"] == scales


@pytest.mark.parametrize("side", [11, 40, 176])
def test_equal_pictures_cost_nothing_and_noisier_ones_more(side):
    costs = [ms_ssim(*_pair(side, side, noise=noise)).item() for noise in (0.0, 0.05, 0.2, 0.6)]
    assert costs[0] == pytest.approx(0, abs=1e-6)
    assert costs == sorted(costs) and costs[-1] < 1


@pytest.mark.parametrize("signal", ["flat", "negative", "equal"])
def test_ms_ssim_has_a_finite_gradient_where_structure_is_missing_or_opposite(signal):
    _, target = _pair(176, 176)
    start = {"flat": torch.zeros_like(target), "negative": -target, "equal": target.clone()}[signal].requires_grad_()
    ms_ssim(start, target).backward()
    assert start.grad is not None and bool(torch.isfinite(start.grad).all())


def test_following_the_gradient_of_ms_ssim_leads_to_the_picture():
    _, target = _pair(44, 44)
    picture = (0.1 * target).requires_grad_()
    optimizer = torch.optim.Adam([picture], lr=0.02)
    first = ms_ssim(picture, target).item()
    for _ in range(60):
        optimizer.zero_grad()
        ms_ssim(picture, target).backward()
        optimizer.step()
    assert ms_ssim(picture, target).item() < 0.1 * first


def test_a_crop_smaller_than_the_window_is_refused_with_its_size():
    with pytest.raises(UserError, match=r"windows of 11 pixels, the crop has 10: enlarge data\.crop"):
        ms_ssim(*_pair(10, 40))


class Layers(nn.Module):
    """Two maps: the pictures, and a strided convolution of them."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3, stride=2)
        self.dropout = nn.Dropout(0.5)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return [pictures, self.dropout(self.convolution(pictures))]


def test_perceptual_loss_is_equation_one_position_by_position():
    network, weights = Layers().eval(), [torch.rand(3), torch.rand(5)]
    reconstruction, target = _pair(9, 7)
    expected = 0.0
    with torch.no_grad():
        layers = zip(network(reconstruction), network(target), weights, strict=True)
        for ours, theirs, weight in layers:
            total, positions = 0.0, 0
            for b in range(ours.shape[0]):
                for y in range(ours.shape[2]):
                    for x in range(ours.shape[3]):
                        a, c = ours[b, :, y, x].double(), theirs[b, :, y, x].double()
                        total += float((weight * (a / a.norm() - c / c.norm()) ** 2).sum())
                        positions += 1
            expected += total / positions
    loss = PerceptualLoss(network, weights=weights)
    assert loss(reconstruction, target).item() == pytest.approx(expected, rel=1e-4)  # float32, floor of the length


def test_the_network_is_no_part_of_the_state_and_is_neither_trained_nor_set_to_training():
    loss = PerceptualLoss(Layers()).train()
    reconstruction, target = _pair(9, 7)
    reconstruction.requires_grad_()
    value = loss(reconstruction, target)
    value.backward()
    assert loss.state_dict() == {} and list(loss.parameters()) == []
    assert reconstruction.grad is not None and bool(reconstruction.grad.any())
    assert torch.equal(value, loss(reconstruction, target))  # its dropout is off


def test_the_network_moves_with_the_loss():
    network = Layers()
    PerceptualLoss(network, weights=[torch.ones(3), torch.ones(5)]).to(torch.float64)
    assert network.convolution.weight.dtype == torch.float64


def test_features_of_zeros_have_a_finite_gradient():
    reconstruction = torch.zeros(1, 3, 8, 8, requires_grad=True)
    PerceptualLoss(Layers())(reconstruction, _pair(8, 8)[1][:1]).backward()
    assert reconstruction.grad is not None and bool(torch.isfinite(reconstruction.grad).all())


@pytest.mark.parametrize("loss", [ms_ssim, PerceptualLoss(Layers())], ids=["ms_ssim", "perceptual"])
def test_padding_is_invisible(loss):
    reconstruction, target = _pair(24, 24)
    mask = torch.ones(2, 24, 24, dtype=torch.bool)
    mask[1, :, 13:] = False
    disturbed = reconstruction + 9.0 * ~mask.unsqueeze(1)
    assert torch.equal(loss(disturbed, target, mask), loss(reconstruction, target, mask))


def test_without_a_network_the_error_says_in_one_line_how_to_give_one():
    with pytest.raises(UserError, match=r"'perceptual'.*lpips=FILE.*PerceptualLoss\(network\)") as caught:
        build_losses(["perceptual"])
    assert "\n" not in str(caught.value)
    given = PerceptualLoss(Layers())
    assert build_losses(["perceptual", "ms_ssim"], perceptual=given) == {"perceptual": given, "ms_ssim": ms_ssim}
    with pytest.raises(UserError, match="unknown loss 'ms_ssim': this signal has mse, l1, mel, stft"):
        build_losses(["ms_ssim"], sample_rate=16000)


def test_lpips_is_that_of_torchmetrics_with_the_same_weights(tmp_path):
    theirs = _LPIPS(net="vgg", pnet_rand=True)
    ours = VGGFeatures()
    convolutions = [layer for layer in theirs.net.modules() if isinstance(layer, nn.Conv2d)]
    mine = [layer for layer in ours.modules() if isinstance(layer, nn.Conv2d)]
    for a, b in zip(mine, convolutions, strict=True):
        a.weight.data.copy_(nn.init.kaiming_normal_(b.weight.data))
        assert a.bias is not None and b.bias is not None
        a.bias.data.copy_(b.bias.data.uniform_(-0.1, 0.1))
    torch.save(ours.state_dict(), tmp_path / "vgg16.pth")
    reconstruction, target = _pair(36, 33)
    with torch.no_grad():
        expected = theirs(reconstruction, target).mean()
    assert load_lpips(tmp_path / "vgg16.pth")(reconstruction, target).item() == pytest.approx(expected.item(), rel=1e-3)


def test_a_file_without_the_weights_of_vgg_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*vgg16-397923af\.pth"):
        load_lpips(tmp_path / "vgg.pth")
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "vgg.pth")
    with pytest.raises(UserError, match="does not hold torchvision's weights"):
        load_lpips(tmp_path / "vgg.pth")
