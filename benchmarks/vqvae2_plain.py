"""The paper's two-level VQ-VAE-2 as it is usually written, for `benchmarks/vqvae2.py` to compare with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainQuantizer(nn.Module):
    """Moving-average codebook over the last axis, by a matrix of all distances and one of one-hot rows."""

    def __init__(self, dim: int, size: int, decay: float = 0.99):
        super().__init__()
        self.decay = decay
        entries = torch.randn(dim, size)
        self.register_buffer("entries", entries)
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", entries.clone())

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        rows = latents.reshape(-1, latents.shape[-1])
        lengths, norms = rows.pow(2).sum(1, keepdim=True), self.entries.pow(2).sum(0, keepdim=True)
        codes = (lengths - 2 * rows @ self.entries + norms).argmin(1)
        found = F.embedding(codes.view(latents.shape[:-1]), self.entries.t())
        if self.training:
            with torch.no_grad():
                chosen = F.one_hot(codes, self.entries.shape[1]).type(rows.dtype)
                self.counts.mul_(self.decay).add_(chosen.sum(0), alpha=1 - self.decay)
                self.sums.mul_(self.decay).add_(rows.t() @ chosen, alpha=1 - self.decay)
                total = self.counts.sum()
                smooth = (self.counts + 1e-5) / (total + self.entries.shape[1] * 1e-5) * total
                self.entries.copy_(self.sums / smooth)
        commitment = (found.detach() - latents).pow(2).mean()
        return latents + (found - latents).detach(), commitment


class PlainUnit(nn.Module):
    """Residual block."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.branch = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, width, 1)
        )

    def forward(self, signal: Tensor) -> Tensor:
        return signal + self.branch(signal)


def _units() -> list[nn.Module]:
    return [PlainUnit(128, 32), PlainUnit(128, 32), nn.ReLU()]


class Plain(nn.Module):
    """The two-level model as it is usually written."""

    def __init__(self, device: torch.device):
        super().__init__()
        down, up, same = self._down, self._up, self._same
        self.encode_fine = nn.Sequential(down(3, 64), nn.ReLU(), down(64, 128), nn.ReLU(), same(128, 128), *_units())
        self.encode_coarse = nn.Sequential(down(128, 64), nn.ReLU(), same(64, 128), *_units())
        self.to_coarse, self.to_fine = nn.Conv2d(128, 64, 1), nn.Conv2d(192, 64, 1)
        self.quantizers = nn.ModuleList([PlainQuantizer(64, 512), PlainQuantizer(64, 512)])
        self.decode_coarse = nn.Sequential(same(64, 128), *_units(), up(128, 64))
        self.widen = up(64, 64)
        self.decode = nn.Sequential(same(128, 128), *_units(), up(128, 64), nn.ReLU(), up(64, 3))
        self.to(device)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=3e-4)

    @property
    def model(self) -> nn.Module:
        return self

    @staticmethod
    def _down(before: int, after: int) -> nn.Module:
        return nn.Conv2d(before, after, 4, stride=2, padding=1)

    @staticmethod
    def _up(before: int, after: int) -> nn.Module:
        return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)

    @staticmethod
    def _same(before: int, after: int) -> nn.Module:
        return nn.Conv2d(before, after, 3, padding=1)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        coarse_quantizer, fine_quantizer = self.quantizers
        fine = self.encode_fine(signal)
        coarse, coarse_loss = coarse_quantizer(self.to_coarse(self.encode_coarse(fine)).permute(0, 2, 3, 1))
        coarse = coarse.permute(0, 3, 1, 2)
        joined = self.to_fine(torch.cat([self.decode_coarse(coarse), fine], 1))
        fine, fine_loss = fine_quantizer(joined.permute(0, 2, 3, 1))
        return self.decode(torch.cat([self.widen(coarse), fine.permute(0, 3, 1, 2)], 1)), coarse_loss + fine_loss

    def prepare(self, signal: Tensor) -> Tensor:
        return signal

    def loss(self, signal: Tensor) -> Tensor:
        reconstruction, commitment = self(signal)
        return F.mse_loss(reconstruction.float(), signal) + 0.25 * commitment

    def quantize(self, quantizer: nn.Module, latents: Tensor) -> Tensor:
        found, commitment = quantizer(latents)
        return found.mean() + commitment
