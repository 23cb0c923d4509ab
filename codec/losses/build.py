"""From loss names to losses: the one place that tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from codec.core.errors import UserError
from codec.losses.pointwise import l1, mse
from codec.losses.spectral import MelLoss, SpectralConvergence

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def build_losses(
    names: Iterable[str], *, sample_rate: int | None = None, others: Iterable[str] = ()
) -> dict[str, Loss | nn.Module]:
    """Reconstruction losses by name, each `(reconstruction, target, mask) -> 0-d loss`.

    Args:
        names: of `mse`, `l1`, and for sound `mel`, `stft`.
        sample_rate: in Hz, for sound; None for pictures.
        others: losses that come from elsewhere (the quantizer), to be named to who asks for an unknown one.

    Raises:
        UserError: a name is unknown for this kind of signal.
    """
    builders: dict[str, Callable[[], Loss | nn.Module]] = {"mse": lambda: mse, "l1": lambda: l1}
    if sample_rate is not None:
        builders |= {"mel": lambda: MelLoss(sample_rate), "stft": SpectralConvergence}
    unknown = sorted(set(names) - set(builders))
    if unknown:
        raise UserError(
            f"unknown loss {unknown[0]!r}: this signal has {', '.join(builders)}, its quantizer "
            f"{', '.join(others) or 'none'}; name only these"
        )
    return {name: builders[name]() for name in names}
