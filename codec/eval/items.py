"""One item through a codec: encoded to a file, decoded from it, scored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.core.wording import counted
from codec.data.audio import read_audio
from codec.data.image import read_image
from codec.eval.codes import stored_codes
from codec.eval.excerpt import excerpt
from codec.eval.picture_codecs import picture_rivals, picture_sweep
from codec.eval.recognition import Hearing
from codec.eval.rivals import RivalFailure, RivalResult
from codec.eval.speech_codecs import speech_rivals, speech_sweep
from codec.files import decode_file, encode_file
from codec.files.prior import PriorChoice
from codec.metrics import Score, score_audio, score_image
from codec.models.base import CodecModel
from codec.models.media import AudioMedia


@dataclass(frozen=True)
class Item:
    """A signal, what became of it, and what that cost.

    Attributes:
        path: the source.
        codec: who coded it, and `setting` in which way.
        reference, estimate: `[c, time]` at `sample_rate`, or `[3, height, width]` (`sample_rate` is None).
        num_bytes: of the compressed file on disk.
        encode_s, decode_s: wall-clock seconds from file to file.
        scores: by name.
        codes: per level `[rows, q, *space]`; none for rivals.
        coded: the compressed file.
        note: what to know when comparing.
    """

    path: Path
    codec: str
    setting: str
    reference: Tensor
    estimate: Tensor
    sample_rate: int | None
    num_bytes: int
    encode_s: float
    decode_s: float
    scores: dict[str, Score]
    coded: Path
    codes: tuple[Tensor, ...] = ()
    note: str = ""

    @property
    def is_audio(self) -> bool:
        return self.sample_rate is not None

    @property
    def duration_s(self) -> float:
        """Seconds of sound."""
        assert self.sample_rate is not None
        return self.reference.shape[1] / self.sample_rate

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.reference.shape[1] * self.reference.shape[2]

    @property
    def extent(self) -> float:
        """What bits and seconds are divided by: seconds of sound, or pixels."""
        return self.duration_s if self.is_audio else float(self.pixels)

    @property
    def rate(self) -> float:
        """Bits on disk per second of sound (bitrate_bps), or per pixel (bits_per_pixel)."""
        return 8 * self.num_bytes / self.extent

    @property
    def encode_speed(self) -> float:
        """Times real time, or megapixels per second."""
        return self._work / max(self.encode_s, 1e-9)

    @property
    def decode_speed(self) -> float:
        """Times real time, or megapixels per second."""
        return self._work / max(self.decode_s, 1e-9)

    @property
    def _work(self) -> float:
        return self.duration_s if self.is_audio else self.pixels / 1e6

    def row(self) -> dict[str, Any]:
        """The figures as JSON: a score that is absent or infinite is null, and `notes` says why."""
        extent = (
            {"duration_s": self.duration_s, "bitrate_bps": self.rate}
            if self.is_audio
            else {"height": self.reference.shape[1], "width": self.reference.shape[2], "bits_per_pixel": self.rate}
        )
        notes = {name: score.note for name, score in self.scores.items() if score.note}
        notes |= {name: "perfect" for name, score in self.scores.items() if score.perfect}
        return {
            "path": str(self.path),
            "codec": self.codec,
            "setting": self.setting,
            "bytes": self.num_bytes,
            **extent,
            "encode_s": self.encode_s,
            "decode_s": self.decode_s,
            "scores": {name: score.finite for name, score in self.scores.items()},
            "notes": notes,
        }


def warm_up(model: CodecModel) -> None:
    """Run the model once on a short signal, so that the first item's time does not pay for its first use."""
    signal = torch.zeros(1, model.media.channels, *(4 * model.downsample_factor,) * model.ndim)
    model.decode(model.encode(signal))


def code_item(
    path: Path,
    model: CodecModel,
    folder: Path,
    *,
    num_active: int | None = None,
    prior: PriorChoice = "auto",
    seconds: float | None = None,
    hears: Hearing | None = None,
) -> Item:
    """Encode `path` to a .vqc file in `folder`, decode that file again, and score what came back.

    Sound is scored at the model's sample rate, whatever the rate of the source.

    Args:
        prior: goes to `encode_file` and `decode_file`.
        seconds: of a recording take no more than the first of them.
        hears: tells the word error rate.

    Raises:
        UserError: the source cannot be read or is of another medium than the model.
    """
    rate = model_rate(model)
    source = path if rate is None else excerpt(path, folder, seconds=seconds)
    coded = folder / f"{path.stem}.vqc"
    decoded = folder / "decoded" / f"{path.stem}.{'png' if rate is None else 'wav'}"
    reference = read_signal(source, rate)
    start = time.perf_counter()
    report = encode_file(source, coded, model, num_active=num_active, prior=prior)
    encoded_at = time.perf_counter()
    decode_file(coded, decoded, model, prior=prior, model_rate=True)
    decode_s = time.perf_counter() - encoded_at
    estimate, codes = read_signal(decoded, rate), stored_codes(coded, model, prior=prior)
    scores = _score(reference, estimate, rate, hears)
    active = max(level.shape[1] for level in codes)
    return Item(
        path=path,
        codec=model.name,
        setting=counted(active, "codebook") + (f", prior {report.prior}" if report.prior else ""),
        reference=reference,
        estimate=estimate,
        sample_rate=rate,
        num_bytes=coded.stat().st_size,
        encode_s=encoded_at - start,
        decode_s=decode_s,
        scores=scores,
        coded=coded,
        codes=codes,
    )


def model_rate(model: CodecModel) -> int | None:
    """The sample rate of a model of sound in Hz, None of pictures."""
    return model.media.sample_rate if isinstance(model.media, AudioMedia) else None


def read_signal(path: Path, rate: int | None) -> Tensor:
    """A recording `[c, time]` at `rate` Hz, or where that is None a picture `[3, height, width]`."""
    return read_image(path).flattened() if rate is None else read_audio(path, sample_rate=rate)[0]


def _score(reference: Tensor, estimate: Tensor, rate: int | None, hears: Hearing | None) -> dict[str, Score]:
    if rate is None:
        return score_image(reference, estimate)
    scores = score_audio(reference, estimate, sample_rate=rate)
    return scores if hears is None else scores | {"wer": hears(estimate, rate)}


def rival_items(item: Item, folder: Path, *, hears: Hearing | None = None) -> list[Item | RivalFailure]:
    """The same signal through the classical codecs of this machine, at the size nearest to `item`'s."""
    if item.sample_rate is not None:
        results = speech_rivals(item.reference, item.sample_rate, folder, bitrate_bps=item.rate)
    else:
        results = picture_rivals(item.reference, folder, num_bytes=item.num_bytes)
    return [
        result
        if isinstance(result, RivalFailure)
        else rival_item(result, item.path, item.reference, sample_rate=item.sample_rate, hears=hears)
        for result in results
    ]


def rival_sweep(reference: Tensor, rate: int | None, folder: Path) -> Iterator[RivalResult | RivalFailure]:
    """What `read_signal` gave through the classical codecs of this machine, at all settings that a curve wants."""
    return picture_sweep(reference, folder) if rate is None else speech_sweep(reference, rate, folder)


def rival_item(
    result: RivalResult,
    path: Path,
    reference: Tensor,
    *,
    sample_rate: int | None = None,
    hears: Hearing | None = None,
) -> Item:
    """A rival's result on the signal `reference` out of `path`, scored as the model's are."""
    return Item(
        path=path,
        codec=result.name,
        setting=result.setting,
        reference=reference,
        estimate=result.signal,
        sample_rate=sample_rate,
        num_bytes=result.num_bytes,
        encode_s=result.encode_s,
        decode_s=result.decode_s,
        scores=_score(reference, result.signal, sample_rate, hears),
        coded=result.path,
        note=result.note,
    )
