"""Real speech and real photographs that come along with installed packages, for a demo without a network."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Sample:
    """A clip or picture.

    Attributes:
        path: where it lies.
        kind: "audio" or "image".
        title: what it is.
        credit: who to thank, and under which terms.
        start_s, stop_s: the stretch of sound to take.
    """

    path: Path
    kind: Literal["audio", "image"]
    title: str
    credit: str = ""
    start_s: float = 0.0
    stop_s: float | None = None


def installed_speech() -> Sample | None:
    """The first speech clip found; Gradio's film clip is the last resort, because it may not be passed on."""
    candidates = (
        (
            "moonshine_voice",
            "assets/two_cities.wav",
            "A Tale of Two Cities, read aloud",
            "Text by Charles Dickens; recording from the moonshine-voice package, MIT licence",
            0.9,
            13.1,
        ),
        (
            "moonshine_onnx",
            "assets/beckett.wav",
            "A reading voice",
            "Recording from the useful-moonshine-onnx package, MIT licence",
            0.0,
            None,
        ),
        (
            "gradio",
            "media_assets/audio/cate_blanch.mp3",
            "A line from a film",
            "Clip from the gradio package; not openly licensed: keep this page to yourself",
            0.0,
            None,
        ),
    )
    for package, name, title, credit, start_s, stop_s in candidates:
        path = _inside(package, name)
        if path is not None:
            return Sample(path, "audio", title, credit, start_s, stop_s)
    return None


def installed_photographs() -> list[Sample]:
    """Photographs of scikit-image: public domain or CC0."""
    candidates = (
        ("astronaut.png", "Eileen Collins, astronaut", "NASA, public domain"),
        ("chelsea.png", "Chelsea the cat", "Stéfan van der Walt, CC0"),
        ("coffee.png", "A cup of coffee", "Rachel Michetti, CC0"),
        ("rocket.jpg", "Rocket on the pad", "SpaceX, CC0"),
    )
    found = [(_inside("skimage", f"data/{name}"), title, credit) for name, title, credit in candidates]
    return [
        Sample(path, "image", title, f"{credit}; from the scikit-image package")
        for path, title, credit in found
        if path is not None
    ]


def _inside(package: str, name: str) -> Path | None:
    """A file of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / name
        if path.is_file():
            return path
    return None
