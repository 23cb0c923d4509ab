"""How much of the speaker is left in vectors or units: what a linear classifier tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from codec.core.errors import UserError
from codec.core.wording import counted
from codec.eval.interval import Interval
from codec.eval.pooled import pooled_ratio

_ITERATIONS = 500


@dataclass(frozen=True, eq=False)
class SpokenSegments:
    """One recording: who speaks, and a vector for each of its segments, `[segments, d]`.

    Raises:
        UserError: they are not vectors of finite numbers.
    """

    speaker: str
    segments: np.ndarray

    def __post_init__(self) -> None:
        if self.segments.ndim != 2 or not np.isfinite(self.segments).all():
            raise UserError(f"segments of {self.speaker} must be finite vectors [segments, d]: look at the features")


@dataclass(frozen=True)
class SpeakerScores:
    """What a linear probe tells of speakers.

    Attributes:
        accuracy: share of the test segments whose speaker it names, with the interval over test recordings.
        chance: what always naming the speaker with most training segments would reach, the best of equals.
        left_out: speakers with fewer than two recordings that have segments, sorted; they take no part.
    """

    accuracy: Interval
    chance: float
    num_speakers: int
    num_train_segments: int
    num_test_segments: int
    left_out: tuple[str, ...]


def segment_means(vectors: np.ndarray, *, frame_rate: float, segment_s: float) -> np.ndarray:
    """Mean vectors `[segments, d]` of the frames `[frames, d]` of each segment of `segment_s` seconds.

    What is left over at the end is dropped, but a recording shorter than a segment is one. No frames, no segments.

    Raises:
        UserError: a segment is shorter than a frame.
    """
    return _segments(vectors, frame_rate, segment_s).mean(axis=1, dtype=np.float64)


def segment_histograms(units: np.ndarray, *, num_units: int, frame_rate: float, segment_s: float) -> np.ndarray:
    """Share of the frames `[frames]` of each segment of `segment_s` seconds that every unit has, `[segments, K]`.

    Raises:
        UserError: a segment is shorter than a frame, or a unit is none of `num_units`.
    """
    if len(units) and not 0 <= units.min() <= units.max() < num_units:
        raise UserError(f"units go from {units.min()} to {units.max()}, but num_units={num_units}: give all of them")
    segments = _segments(units.astype(np.int64), frame_rate, segment_s)
    number, length = segments.shape
    apart = segments + num_units * np.arange(number)[:, None]  # numbers of its own for every segment
    return np.bincount(apart.ravel(), minlength=number * num_units).reshape(number, num_units) / length


def speaker_scores(recordings: Sequence[SpokenSegments], *, seed: int = 0) -> SpeakerScores:
    """How often multinomial logistic regression names the speaker of a segment.

    The first half of each speaker's recordings, in the order given, trains it, and the others test it, so that no
    recording is in both. Inputs are standardised by the training segments; the loss is the summed cross-entropy plus
    half the squared weights, convex, and minimised in float64 from zero: the same recordings give the same scores.

    Raises:
        UserError: fewer than two speakers have two recordings with segments, or vectors differ in width.
    """
    by_speaker: dict[str, list[np.ndarray]] = {recording.speaker: [] for recording in recordings}
    for recording in recordings:
        if len(recording.segments):
            by_speaker[recording.speaker].append(recording.segments)
    widths = {part.shape[1] for parts in by_speaker.values() for part in parts}
    if len(widths) > 1:
        raise UserError(f"segments have vectors of {sorted(widths)} numbers: take all of them from one model")
    left_out = tuple(sorted(speaker for speaker, parts in by_speaker.items() if len(parts) < 2))
    speakers = sorted(set(by_speaker) - set(left_out))
    if len(speakers) < 2:
        raise UserError(
            f"a speaker probe needs 2 speakers with 2 recordings each, but {len(speakers)} of "
            f"{counted(len(by_speaker), 'speaker')} have 2: add recordings, or name their speakers"
        )
    halves = {speaker: (len(by_speaker[speaker]) + 1) // 2 for speaker in speakers}
    train = [(n, part) for n, name in enumerate(speakers) for part in by_speaker[name][: halves[name]]]
    test = [(n, part) for n, name in enumerate(speakers) for part in by_speaker[name][halves[name] :]]
    truth = _segment_speakers(train)
    named = _fit_and_name(np.concatenate([part for _, part in train]), truth, [part for _, part in test])
    hits = np.array([(names == number).sum() for (number, _), names in zip(test, named, strict=True)])
    lengths = np.array([len(part) for _, part in test])
    accuracy = pooled_ratio(hits, lengths, seed=seed)
    assert accuracy is not None, "every test recording has segments"
    train_counts = np.bincount(truth, minlength=len(speakers))
    test_counts = np.bincount(_segment_speakers(test), minlength=len(speakers))
    return SpeakerScores(
        accuracy,
        chance=float(test_counts[train_counts == train_counts.max()].max() / test_counts.sum()),
        num_speakers=len(speakers),
        num_train_segments=int(train_counts.sum()),
        num_test_segments=int(test_counts.sum()),
        left_out=left_out,
    )


def _segments(frames: np.ndarray, frame_rate: float, segment_s: float) -> np.ndarray:
    """`frames` `[frames, ...]` cut into `[segments, length, ...]`."""
    whole = round(segment_s * frame_rate)
    if whole < 1:
        raise UserError(f"segment_s={segment_s} is less than one of {frame_rate} frames a second: take a longer one")
    length = min(whole, max(len(frames), 1))
    number = len(frames) // length
    return frames[: number * length].reshape(number, length, *frames.shape[1:])


def _segment_speakers(recordings: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """The number of the speaker of each segment of recordings in a row."""
    return np.repeat([number for number, _ in recordings], [len(part) for _, part in recordings])


def _fit_and_name(inputs: np.ndarray, truth: np.ndarray, test: list[np.ndarray]) -> list[np.ndarray]:
    """The speakers `[segments]` named in each of `test` by a probe fitted to `inputs` `[n, d]` and `truth` `[n]`."""
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0)
    spread = np.where(spread > 1e-12 * np.abs(inputs).max(axis=0), spread, np.inf)  # what never changes is left out
    weight, bias = _fit(torch.from_numpy((inputs - mean) / spread).double(), torch.from_numpy(truth).long())
    return [((part - mean) / spread @ weight + bias).argmax(axis=1) for part in test]


def _fit(inputs: torch.Tensor, truth: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Weights `[d, speakers]` and biases `[speakers]` of the least regularised loss."""
    num_speakers = int(truth.max()) + 1
    weight = torch.zeros(inputs.shape[1], num_speakers, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_speakers, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, tolerance_grad=1e-7, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(inputs @ weight + bias, truth) + weight.square().sum() / (2 * len(inputs))
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    return weight.detach().numpy(), bias.detach().numpy()
