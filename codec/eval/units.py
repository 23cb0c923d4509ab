"""What units are worth: whether they carry the phones, drop the speaker, and how many bits that takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from codec.core.errors import UserError
from codec.core.runs import find_runs
from codec.core.wording import counted
from codec.eval.abx import AbxScore, FrameDistance, abx
from codec.eval.abx_items import build_items
from codec.eval.boundaries import BoundaryScores, boundary_scores, near_phones, phone_boundaries, run_boundaries
from codec.eval.clusters import ClusterScores, LabelledUnits, cluster_scores
from codec.eval.heard import Heard, phone_classes
from codec.eval.item_file import AbxItem
from codec.eval.phones import SILENCE, frame_labels
from codec.eval.speaker_probe import SpeakerScores, SpokenSegments, segment_histograms, segment_means, speaker_scores
from codec.eval.unit_bitrate import UnitBitrate, unit_bitrate
from codec.models.segmented import codebook_of
from codec.models.units import UnitModel

View = Literal["latents", "embeddings", "units"]
SEGMENT_S = 3.0  # of speech that the speaker is told by
_NOBODY = "?"  # who speaks where no speaker is named


@dataclass(frozen=True)
class UnitScores:
    """Scores of one model on one set of recordings.

    Attributes:
        model, codebook_size, frame_rate: of whom; units per second.
        num_recordings, duration_s: of how much speech; `num_labelled` of the recordings have phones.
        clusters: frames of units against phones; None without phones.
        boundaries: ends of runs of units against ends of phones, where phones are known; None without phones.
        abx: errors by "within" or "across" and view of the speech: latents and embeddings by `distance`, units by
            edits. Without two speakers of the same phones there is no "across".
        bitrate: of units frame by frame, and with repetitions left out.
        speakers: how well a speaker is told from three seconds of features, latents and units; empty without names.
        missing: what could not be scored, and why.
    """

    model: str
    codebook_size: int
    frame_rate: float
    num_recordings: int
    num_labelled: int
    duration_s: float
    clusters: ClusterScores | None
    classes: tuple[str, ...]
    boundaries: BoundaryScores | None
    abx: dict[str, dict[str, AbxScore]]
    distance: FrameDistance
    bitrate: dict[str, UnitBitrate]
    speakers: dict[str, SpeakerScores]
    missing: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a pair of phones, that of A and X first, is a key "a b"."""
        tree = asdict(self)
        if self.clusters is not None:
            tree["clusters"]["confusion"] = self.clusters.confusion.tolist()
        for by_view in tree["abx"].values():
            for score in by_view.values():
                score["by_pair"] = {f"{one} {other}": error for (one, other), error in score["by_pair"].items()}
        return tree


def score_units(
    model: UnitModel,
    recordings: Sequence[Heard],
    *,
    items: Sequence[AbxItem] | None = None,
    distance: FrameDistance = "angular",
    seed: int = 0,
) -> UnitScores:
    """Every score that what is known of `recordings` allows.

    Args:
        items: of the ABX task, in `recordings`; triphones of the phones if None.
        distance: of frames of latents and of embeddings in ABX; "kl" is of what is nowhere negative, as posteriors.

    Raises:
        UserError: there are no recordings.
    """
    if not recordings:
        raise UserError("there are no recordings to score")
    missing: dict[str, str] = {}
    labelled = [heard for heard in recordings if heard.phones]
    classes = phone_classes(labelled)
    if not labelled:
        missing["phones"] = "no recording has phone times: give --phones"
    elif items is None:
        items = _items(labelled, missing)
    durations = [heard.duration_s for heard in recordings]
    frames = [heard.units for heard in recordings]
    runs = [find_runs(units).units for units in frames]
    return UnitScores(
        model=model.name,
        codebook_size=model.codebook_size,
        frame_rate=model.frame_rate,
        num_recordings=len(recordings),
        num_labelled=len(labelled),
        duration_s=sum(durations),
        clusters=_clusters(labelled, classes, model.frame_rate, seed) if labelled else None,
        classes=classes,
        boundaries=_boundaries(labelled, model.frame_rate, seed) if labelled else None,
        abx=_abx(model, recordings, items, distance, missing, seed) if labelled or items else {},
        distance=distance,
        bitrate={
            "frames": unit_bitrate(frames, durations_s=durations, seed=seed),
            "runs": unit_bitrate(runs, durations_s=durations, seed=seed),
        },
        speakers=_attempt("speakers", partial(_speakers, model, recordings, seed), missing) or {},
        missing=missing,
    )


def _clusters(labelled: Sequence[Heard], classes: Sequence[str], frame_rate: float, seed: int) -> ClusterScores:
    pairs = [
        LabelledUnits(
            heard.units,
            frame_labels(heard.phones, frame_rate=frame_rate, num_frames=len(heard.units), classes=classes),
        )
        for heard in labelled
    ]
    silence = classes.index(SILENCE) if SILENCE in classes else None
    return cluster_scores(pairs, silence=silence, seed=seed)


def _boundaries(labelled: Sequence[Heard], frame_rate: float, seed: int) -> BoundaryScores:
    found = [near_phones(run_boundaries(heard.units, frame_rate=frame_rate), heard.phones) for heard in labelled]
    reference = [phone_boundaries(heard.phones, duration_s=heard.duration_s) for heard in labelled]
    return boundary_scores(found, reference, seed=seed)


def _items(labelled: Sequence[Heard], missing: dict[str, str]) -> list[AbxItem]:
    """Triphones of the recordings with a speaker; if there are none, of all, as if one had spoken them."""
    named = [heard for heard in labelled if heard.speaker is not None]
    asked = named or labelled
    if unnamed := len(labelled) - len(asked):
        missing["abx of some recordings"] = f"{counted(unnamed, 'recording')} with phones have no speaker"
    if not named:
        missing["abx across"] = 'speakers are not named; "within" takes all for one speaker'
    speakers = {heard.stem: heard.speaker or _NOBODY for heard in asked}
    return build_items({heard.stem: heard.phones for heard in asked}, speakers)


def _abx(
    model: UnitModel,
    recordings: Sequence[Heard],
    items: Sequence[AbxItem] | None,
    distance: FrameDistance,
    missing: dict[str, str],
    seed: int,
) -> dict[str, dict[str, AbxScore]]:
    if not items:
        missing["abx"] = "no phone that was heard has one before and one after it"
        return {}
    stems, speakers = {item.stem for item in items}, {item.speaker for item in items}
    if len(speakers) == 1:
        missing.setdefault("abx across", f"all phones are by one speaker, {next(iter(speakers))}")
    asked = [heard for heard in recordings if heard.stem in stems]
    codebook = codebook_of(model).cpu().numpy()
    views: dict[View, dict[str, np.ndarray]] = {
        "latents": {heard.stem: heard.latents for heard in asked},
        "embeddings": {heard.stem: codebook[heard.units] for heard in asked},
        "units": {heard.stem: heard.units for heard in asked},
    }
    scores: dict[str, dict[str, AbxScore]] = {}
    for mode in ("within", "across") if len(speakers) > 1 else ("within",):
        for view, features in views.items():
            by = "edit" if view == "units" else distance
            ask = partial(abx, items, features, frame_rate=model.frame_rate, mode=mode, distance=by, seed=seed)
            score = _attempt(f"abx {mode}", ask, missing)
            if score is not None:
                scores.setdefault(mode, {})[view] = score
    return scores


def _speakers(model: UnitModel, recordings: Sequence[Heard], seed: int) -> dict[str, SpeakerScores]:
    known = [(heard.speaker, heard) for heard in recordings if heard.speaker is not None]
    feature_rate = model.frame_rate * model.config.frames_per_unit
    segments: dict[str, Callable[[Heard], np.ndarray]] = {
        "features": lambda heard: segment_means(heard.features, frame_rate=feature_rate, segment_s=SEGMENT_S),
        "latents": lambda heard: segment_means(heard.latents, frame_rate=model.frame_rate, segment_s=SEGMENT_S),
        "units": lambda heard: segment_histograms(
            heard.units, num_units=model.codebook_size, frame_rate=model.frame_rate, segment_s=SEGMENT_S
        ),
    }
    return {
        name: speaker_scores([SpokenSegments(speaker, of(heard)) for speaker, heard in known], seed=seed)
        for name, of in segments.items()
    }


def _attempt(name: str, score: Callable[[], Any], missing: dict[str, str]) -> Any:
    """The score, or None and why not in `missing`."""
    try:
        return score()
    except UserError as error:
        missing[name] = str(error)
        return None
