"""From names and configs to losses and discriminators: the one place that tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from codec.core.errors import UserError
from codec.losses.discriminator import PatchDiscriminator, PatchDiscriminatorConfig
from codec.losses.intelligibility import IntelligibilityLoss
from codec.losses.loudness import LoudnessLoss
from codec.losses.perceptual import PerceptualLoss
from codec.losses.pointwise import l1, mse
from codec.losses.sound_discriminators import SoundDiscriminator, SoundDiscriminatorConfig
from codec.losses.spectral import ComplexSpectrumLoss, MelLoss, SpectralConvergence
from codec.losses.structural import ms_ssim

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
DiscriminatorConfig = PatchDiscriminatorConfig | SoundDiscriminatorConfig


def build_discriminator(config: DiscriminatorConfig, *, channels: int) -> PatchDiscriminator | SoundDiscriminator:
    """The discriminator that `config` describes, of signals with so many channels; both give a `Judgement`."""
    if isinstance(config, SoundDiscriminatorConfig):
        return SoundDiscriminator(config)
    return PatchDiscriminator(config, channels=channels)


def build_losses(
    names: Iterable[str],
    *,
    sample_rate: int | None = None,
    perceptual: PerceptualLoss | None = None,
    sparse: bool = False,
    others: Iterable[str] = (),
) -> dict[str, Loss | nn.Module]:
    """Reconstruction losses by name, each `(reconstruction, target, mask) -> 0-d loss`.

    Args:
        names: of `mse`, `l1`; for sound `mel`, `stft`, `complex`, `loudness`, `intelligibility`; for pictures
            `ms_ssim`, `perceptual`.
        sample_rate: in Hz, for sound; None for pictures.
        perceptual: the loss of that name, with the network that it looks through.
        sparse: `mel` and `complex` see every second window in training.
        others: losses that come from elsewhere (the model), to be named to who asks for an unknown one.

    Raises:
        UserError: a name is unknown for this kind of signal, or `perceptual` is wanted and not given.
    """
    builders: dict[str, Callable[[], Loss | nn.Module]] = {"mse": lambda: mse, "l1": lambda: l1}
    if sample_rate is None:
        builders |= {"ms_ssim": lambda: ms_ssim, "perceptual": lambda: _given(perceptual)}
    else:
        builders |= {
            "mel": lambda: MelLoss(sample_rate, sparse=sparse),
            "stft": SpectralConvergence,
            "complex": lambda: ComplexSpectrumLoss(sparse=sparse),
            "loudness": lambda: LoudnessLoss(sample_rate),
            "intelligibility": lambda: IntelligibilityLoss(sample_rate),
        }
    unknown = sorted(set(names) - set(builders))
    if unknown:
        raise UserError(
            f"unknown loss {unknown[0]!r}: this signal has {', '.join(builders)}, its model "
            f"{', '.join(others) or 'none'}; name only these"
        )
    return {name: builders[name]() for name in names}


def _given(perceptual: PerceptualLoss | None) -> PerceptualLoss:
    if perceptual is None:
        raise UserError(
            "loss 'perceptual' has no network to look through: give lpips=FILE with the weights of VGG-16, "
            "or in Python perceptual=PerceptualLoss(network)"
        )
    return perceptual
