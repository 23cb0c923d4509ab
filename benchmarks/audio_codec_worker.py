"""One codec of sound in a process of its own: reads a line, does one round, writes its seconds as a line of JSON.

    PYTHON audio_codec_worker.py ours|encodec|dac SECONDS [MODEL]

A round encodes and decodes SECONDS of mono noise on one thread. Weights are random, except those of MODEL. Only the
codec that is asked for is imported, so that each can live in an environment of its own.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Coder = tuple[int, Callable[[torch.Tensor], Any], Callable[[Any], Any]]
"""Sample rate in Hz, encode `[1, 1, time]`, and decode what that gave."""


def ours(model: str) -> Coder:
    """This toolkit, all codebooks of the model, in its canonical windows."""
    from codec.checkpoint import load_model

    found: Any = load_model(model, device="cpu")
    return found.media.sample_rate, found.encode, found.decode


def encodec(_: str) -> Coder:
    """EnCodec, 24 kHz at 6 kbit/s (Defossez et al. 2022)."""
    from encodec import EncodecModel  # pyright: ignore[reportMissingImports]

    model = EncodecModel.encodec_model_24khz(pretrained=False)
    model.set_target_bandwidth(6.0)
    return model.sample_rate, model.encode, model.decode


def dac(_: str) -> Coder:
    """Descript Audio Codec, 16 kHz, 12 codebooks (Kumar et al. 2023)."""
    import dac  # pyright: ignore[reportMissingImports]

    model = dac.DAC(encoder_rates=[2, 4, 5, 8], decoder_rates=[8, 5, 4, 2], n_codebooks=12, sample_rate=16000).eval()
    return 16000, lambda signal: model.encode(signal)[0], model.decode


def timed(run: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What `run` gives, and its seconds of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = run()
    return result, {"clock": time.perf_counter() - clock, "processor": time.process_time() - processor}


def main() -> None:
    name, seconds, *model = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sample_rate, encode, decode = {"ours": ours, "encodec": encodec, "dac": dac}[name](*model or [""])
    signal = 0.1 * torch.randn(1, 1, round(float(seconds) * sample_rate))
    with torch.inference_mode():
        for _ in sys.stdin:
            codes, encode_s = timed(lambda: encode(signal))
            _, decode_s = timed(lambda codes=codes: decode(codes))
            print(json.dumps({"encode": encode_s, "decode": decode_s}), flush=True)


if __name__ == "__main__":
    sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).resolve().parent]
    main()
