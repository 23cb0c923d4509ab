"""What a codec of sound takes from the data before its first training step."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from codec.core import dist
from codec.data.loader import Batch, TrainingBatches
from codec.models.audio_codec import AudioCodec
from codec.models.base import CodecModel
from codec.nn.principal import find_transform
from codec.nn.spectral import SpectralBackend
from codec.quantize.base import Quantizer
from codec.quantize.codebook import CodebookQuantizer
from codec.quantize.residual import ResidualQuantizer
from codec.train.nonfinite import blame

NUM_BATCHES = 40


@torch.no_grad()
def find_start(model: CodecModel, data: TrainingBatches, *, device: torch.device, trained: bool = False) -> None:
    """Find the transform of a spectral backend that has one from the first batches, and codebooks of its latents.

    Other models stay as they are: their codebooks are filled by the first step. Every rank must call it.

    Args:
        device: where to compute; the model moves there.
        trained: the weights are those of another run: only codebooks that it did not have are found.

    Raises:
        UserError: a batch holds NaN or infinity (naming its files).
    """
    if not isinstance(model, AudioCodec):
        return
    backend = model.config.backend
    if not isinstance(backend, SpectralBackend) or not backend.transform:
        return
    if trained and not _unfilled(model.quantizer):
        return
    model.to(device)
    batches = [batch for _, batch in islice(data.prefetch(0), NUM_BATCHES)]
    for batch in batches:
        if dist.any_rank(not bool(batch.signal.isfinite().all()), device=device):
            raise blame("the data is", signal=batch.signal, names=batch.names, losses={})
    signals = [batch.signal.to(device) for batch in batches]
    masks = [real_codes(model, batch).to(device) for batch in batches]
    if not trained:
        find_transform(model.encoder, model.decoder, signals, masks=masks, envelope_latents=backend.envelope_latents)
    latents = torch.cat([model.encoder(signal) for signal in signals])
    _fill(model.quantizer, latents, torch.cat(masks))


def _unfilled(quantizer: Quantizer) -> list[CodebookQuantizer]:
    """Its codebooks that no batch has filled yet."""
    books = [part for part in quantizer.modules() if isinstance(part, CodebookQuantizer)]
    return [book for book in books if not bool(book.initialised)]


def _fill(quantizer: Quantizer, latents: Tensor, mask: Tensor) -> None:
    """Find the codebooks that are not there yet in `latents`, all of them in all samples; leave the others alone."""
    unfilled = _unfilled(quantizer)
    filled = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    stacks = [part for part in quantizer.modules() if isinstance(part, ResidualQuantizer)]
    dropouts = [stack.dropout for stack in stacks]
    for stack in stacks:
        stack.dropout = 0.0
    quantizer.train()(latents, mask=mask)
    for stack, dropout in zip(stacks, dropouts, strict=True):
        stack.dropout = dropout
    names = {part: name for name, part in quantizer.named_modules()}
    new = tuple(f"{names[book]}." if names[book] else "" for book in unfilled)
    quantizer.load_state_dict({name: x for name, x in filled.items() if not name.startswith(new)}, strict=False)


def real_codes(model: CodecModel, batch: Batch) -> Tensor:
    """Which codes `[b, n]` of a batch stand for a sample that is no padding."""
    mask = torch.ones_like(batch.signal[:, 0], dtype=torch.bool) if batch.mask is None else batch.mask
    real = model.level_mask(mask, model.downsample_factor)
    assert real is not None
    return real
