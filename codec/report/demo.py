"""The demo: a few files through a model and its rivals, onto a page and into the terminal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from codec.checkpoint import load_model
from codec.core.errors import UserError
from codec.core.wording import counted
from codec.data.audio import audio_info, read_audio
from codec.data.image import read_image
from codec.data.manifest import kind_of
from codec.eval.excerpt import excerpt
from codec.eval.items import Item, code_item, rival_items, warm_up
from codec.eval.machine import machine_facts
from codec.eval.rivals import RivalFailure
from codec.models.base import CodecModel
from codec.report.figures import Exhibit
from codec.report.page import write_page
from codec.report.samples import Sample, installed_photographs, installed_speech
from codec.report.terminal import print_exhibit

BUNDLED = {"audio": "speech-16k", "image": "image-vqvae"}
MOST_SECONDS = 30.0


def run_demo(
    inputs: Sequence[str | Path] | None = None,
    out: str | Path = "demo",
    *,
    models: Mapping[str, CodecModel] | None = None,
    device: str | torch.device = "auto",
    num_active: int | None = None,
    console: Console | None = None,
) -> Path:
    """Code recordings and pictures, print their figures, and write `out/report.html`; the files go to `out/files`.

    Args:
        inputs: files of any kind and rate; clips and photographs of installed packages if there are none.
        out: folder, made if need be.
        models: models by medium ("audio", "image"); the bundled ones if not given.
        device: for bundled models.
        num_active: use the first codebooks only.
        console: where the tables are printed.

    Returns:
        The path of the page.

    Raises:
        UserError: an input cannot be read, or there is neither an input nor an installed sample.
    """
    console = console or Console()
    samples = [_sample(Path(path)) for path in inputs] if inputs else _installed_samples(console)
    found = {
        kind: models[kind] if models and kind in models else load_model(BUNDLED[kind], device=device)
        for kind in dict.fromkeys(sample.kind for sample in samples)
    }
    for model in found.values():
        warm_up(model)
    page, kept = Path(out) / "report.html", Path(out) / "files"
    exhibits = []
    with tempfile.TemporaryDirectory(prefix="codec-demo-") as scratch:
        for number, sample in enumerate(samples, start=1):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            with console.status(f"coding {sample.title}"):
                exhibit = _exhibit(sample, found[sample.kind], folder, num_active)
            print_exhibit(console, exhibit)
            exhibits.append(exhibit)
            _keep(exhibit.items, kept, f"{number:02d}-{sample.path.stem}")
        with console.status("writing the page"):
            where = next(found[samples[0].kind].parameters()).device
            write_page(page, exhibits, machine=machine_facts(where), models=[_describe(m) for m in found.values()])
    console.print(f"\nOpen {page} in a browser; the compressed files are in {kept}.", highlight=False, soft_wrap=True)
    return page


def _sample(path: Path) -> Sample:
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    return Sample(path, kind_of(path) or _kind_by_content(path), path.name)


def _kind_by_content(path: Path) -> Literal["audio", "image"]:
    readers: dict[Literal["audio", "image"], Callable[[Path], object]] = {"audio": audio_info, "image": read_image}
    for kind, read in readers.items():
        with suppress(UserError):
            read(path)
            return kind
    raise UserError(f"{path} is neither sound that libsndfile reads nor a picture that Pillow reads")


def _installed_samples(console: Console) -> list[Sample]:
    speech, photographs = installed_speech(), installed_photographs()
    if speech is None and not photographs:
        raise UserError("no samples are installed: pip install 'vq-codec[app]', or give a file: codec demo my.wav")
    for what, present in (("speech clip", speech), ("photographs", photographs)):
        if not present:
            console.print(f"No {what} installed (pip install 'vq-codec\\[app]'): going on without.", style="yellow")
    return ([speech] if speech else []) + photographs


def _exhibit(sample: Sample, model: CodecModel, folder: Path, num_active: int | None) -> Exhibit:
    notes: list[str] = []
    source, original, rate = sample.path, None, None
    if sample.kind == "audio":
        source, original, rate = _excerpt(sample, folder, notes)
    ours = code_item(source, model, folder, num_active=num_active)
    outcomes = rival_items(ours, folder)
    notes += [f"{rival.name} failed: {rival.reason}." for rival in outcomes if isinstance(rival, RivalFailure)]
    return Exhibit(
        title=sample.title,
        original=ours.reference if original is None else original,
        original_rate=rate,
        ours=ours,
        rivals=[rival for rival in outcomes if isinstance(rival, Item)],
        levels=model.levels,
        credit=sample.credit,
        notes=notes,
    )


def _excerpt(sample: Sample, folder: Path, notes: list[str]) -> tuple[Path, torch.Tensor, int]:
    """The stretch to play, and its file: the sample's own where all of it is taken."""
    info = audio_info(sample.path)
    wanted = (sample.stop_s or sample.start_s + MOST_SECONDS) - sample.start_s
    path = excerpt(sample.path, folder, start_s=sample.start_s, seconds=min(wanted, MOST_SECONDS))
    if path != sample.path and sample.stop_s is None:
        notes.append(
            f"These are the first {MOST_SECONDS:.0f} of {info.duration_s:.0f} seconds; "
            "`codec encode` takes recordings of any length."
        )
    return path, *read_audio(path)


def _keep(items: Sequence[Item], folder: Path, stem: str) -> None:
    """Copy the compressed files to where the person finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        shutil.copyfile(item.coded, folder / f"{stem}{item.coded.suffix}")


def _describe(model: CodecModel) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    grids = ", ".join(
        f"{counted(grid.num_codebooks, 'codebook')} of {grid.codebook_size} codes, "
        f"one code per {grid.downsample_factor} {'samples' if model.ndim == 1 else 'pixels a side'}"
        for grid in model.levels
    )
    return f"{model.name} ({model.fingerprint}): {parameters:.1f} million parameters; {grids}."
