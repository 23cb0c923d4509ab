"""What a codec of sound takes from the data before its first training step."""

from __future__ import annotations

from itertools import islice

import torch

from codec.data.loader import TrainingBatches
from codec.models.audio_codec import AudioCodec
from codec.models.base import CodecModel
from codec.nn.principal import find_transform
from codec.nn.spectral import SpectralBackend

NUM_BATCHES = 40


@torch.no_grad()
def find_start(model: CodecModel, data: TrainingBatches) -> None:
    """Find the transform of a spectral backend that has one from the first batches, and codebooks of its latents.

    Other models stay as they are: their codebooks are filled by the first step.
    """
    if not isinstance(model, AudioCodec):
        return
    backend = model.config.backend
    if not isinstance(backend, SpectralBackend) or not backend.transform:
        return
    batches = [batch for _, batch in islice(data.prefetch(0), NUM_BATCHES)]
    signals = [batch.signal for batch in batches]
    find_transform(model.encoder, model.decoder, signals, envelope_latents=backend.envelope_latents)
    latents = torch.cat([model.encoder(batch.signal) for batch in batches])
    real = [torch.ones_like(b.signal[:, 0], dtype=torch.bool) if b.mask is None else b.mask for b in batches]
    model.quantizer.train()(latents, mask=model.level_mask(torch.cat(real), model.downsample_factor))
