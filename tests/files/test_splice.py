"""Claims about parts of files: cut and put together on borders, codes are moved and never made anew."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.cli import main
from codec.core.errors import UserError
from codec.data.audio import read_audio
from codec.files import decode_file, encode_file, read_info
from codec.files.container import read_header
from codec.files.errors import DamagedChunkError, SpliceError, TruncatedFileError, WrongMediaError, WrongModelError
from codec.files.splice import concat_files, slice_file
from codec.models.tiny import tiny_model
from codec.models.vqvae import VQVAE
from tests.files.coding import fitted_prior
from tests.files.media import scene, tone
from tests.files.test_round_trip import as_png, as_wav, stored_codes

CHUNK = 64 * 16  # samples in a chunk of the tiny model


def again(file: io.BytesIO) -> io.BytesIO:
    """The same bytes, at their start."""
    return io.BytesIO(file.getvalue())


def coded(num_samples: int, model: VQVAE, *, sample_rate: int = 16000, channels: int = 1, **options) -> io.BytesIO:
    out = io.BytesIO()
    encode_file(as_wav(tone(num_samples, sample_rate, channels), sample_rate), out, model, **options)
    out.seek(0)
    return out


def sliced(source: io.BytesIO, **interval) -> io.BytesIO:
    out = io.BytesIO()
    slice_file(again(source), out, **interval)
    return out


def joined(*sources: io.BytesIO, model: VQVAE | None = None) -> io.BytesIO:
    out = io.BytesIO()
    concat_files([again(source) for source in sources], out, model)
    return out


def decoded(source: io.BytesIO, model: VQVAE, **options) -> torch.Tensor:
    out = io.BytesIO()
    decode_file(again(source), out, model, **options)
    return read_audio(again(out))[0]


@settings(max_examples=25)
@given(st.data(), st.integers(1, 2), st.sampled_from([16000, 8000, 44100, 11025, 16001]))
def test_slices_put_together_again_are_the_file_byte_for_byte(
    audio_model: VQVAE, data: st.DataObject, channels: int, sample_rate: int
) -> None:
    num_samples = data.draw(st.integers(1, 6 * CHUNK)) * sample_rate // 16000 + 1
    whole = coded(num_samples, audio_model, sample_rate=sample_rate, channels=channels)
    chunks = read_info(again(whole)).num_chunks
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, chunks - 1)))) - {chunks})
    edges = [0, *cuts, None]
    parts = [
        sliced(whole, start_s=start * CHUNK / 16000, stop_s=None if stop is None else stop * CHUNK / 16000)
        for start, stop in itertools.pairwise(edges)
    ]
    assert joined(*parts, model=audio_model).getvalue() == whole.getvalue()
    (codes,) = stored_codes(whole.getvalue(), audio_model)
    assert torch.equal(torch.cat([stored_codes(part.getvalue(), audio_model)[0] for part in parts], -1), codes)
    for part in parts:
        info = read_info(again(part))
        assert info.intact and decoded(part, audio_model).shape == (channels, info.num_samples)


@pytest.mark.parametrize("sample_rate", [11025, 8001, 44100])
def test_chunks_whose_borders_lie_between_samples_stand_alone_and_together(
    audio_model: VQVAE, sample_rate: int
) -> None:
    whole = coded(5 * CHUNK * sample_rate // 16000 + 7, audio_model, sample_rate=sample_rate)
    parts = [sliced(whole, start_s=k * CHUNK / 16000, stop_s=(k + 1) * CHUNK / 16000) for k in range(5)]
    parts.append(sliced(whole, start_s=5 * CHUNK / 16000))
    for part in parts:
        info = read_info(again(part))
        assert (info.num_chunks, info.intact) == (1, True)
        assert decoded(part, audio_model).shape[1] == info.num_samples
    total = read_info(again(joined(*parts, model=audio_model)))
    assert total.num_chunks == read_info(again(whole)).num_chunks
    assert abs((total.num_samples or 0) - (read_info(again(whole)).num_samples or 0)) <= len(parts)


def test_a_slice_reads_no_chunk_outside_and_survives_damage_there(audio_model: VQVAE) -> None:
    whole = coded(5 * CHUNK, audio_model)
    contents = read_header(whole)
    hurt = bytearray(whole.getvalue())
    for index in (0, 3, 4):
        hurt[contents.offsets[index]] ^= 255
    hurt = hurt[: contents.offsets[4] + 5]
    interval = {"start_s": CHUNK / 16000, "stop_s": 3 * CHUNK / 16000}
    assert sliced(io.BytesIO(hurt), **interval).getvalue() == sliced(whole, **interval).getvalue()
    with pytest.raises(DamagedChunkError, match=r"chunk 4 of 5.*damaged"):
        sliced(io.BytesIO(hurt), start_s=CHUNK / 16000, stop_s=4 * CHUNK / 16000)
    with pytest.raises(TruncatedFileError, match=r"chunk 5 of 5.*missing"):
        sliced(io.BytesIO(hurt), start_s=4 * CHUNK / 16000)


def test_away_from_a_seam_the_sound_is_that_of_each_file(audio_model: VQVAE) -> None:
    """The decoder's context is well below a chunk here."""
    one, two = coded(3 * CHUNK, audio_model), coded(2 * CHUNK + 77, audio_model)
    both = decoded(joined(one, two), audio_model)
    assert both.shape == (1, 5 * CHUNK + 77)
    assert torch.equal(both[:, : 2 * CHUNK], decoded(one, audio_model)[:, : 2 * CHUNK])
    assert torch.equal(both[:, 4 * CHUNK :], decoded(two, audio_model)[:, CHUNK:])


def test_edges_move_to_the_nearest_border_and_the_report_says_so(audio_model: VQVAE) -> None:
    whole = coded(4 * CHUNK + 100, audio_model)
    report = slice_file(again(whole), io.BytesIO(), start_s=0.07, stop_s=0.2)  # borders every 0.064 s
    assert report.num_samples == 2 * CHUNK
    assert [note.split(" moved")[0] for note in report.notes] == ["start", "stop"]
    assert "0.07 s to the border at 0.064 s" in report.notes[0]
    assert slice_file(again(whole), io.BytesIO(), start_s=0.064, stop_s=9.0).notes == ()
    for start, stop in ((0.07, 0.08), (0.1, 0.1), (0.2, 0.1), (0.26, None), (9, None), (-1, None), (float("nan"), 1)):
        with pytest.raises(SpliceError):
            slice_file(again(whole), io.BytesIO(), start_s=start, stop_s=stop)


def test_a_stop_after_the_end_is_the_end(audio_model: VQVAE) -> None:
    whole = coded(4 * CHUNK + 100, audio_model)
    assert all(sliced(whole, stop_s=stop_s).getvalue() == whole.getvalue() for stop_s in (9.0, 1e17, float("inf")))


def test_a_file_that_ends_inside_a_chunk_can_only_be_the_last(audio_model: VQVAE) -> None:
    whole, ragged = coded(2 * CHUNK, audio_model), coded(2 * CHUNK + 100, audio_model)
    short = coded(100, audio_model)
    assert read_info(again(joined(whole, whole, ragged))).num_samples == 6 * CHUNK + 100
    assert read_info(again(joined(whole, short))).num_samples == 2 * CHUNK + 100
    for parts, way_out in (((ragged, whole), "slice it to 0.128 s first"), ((short, whole), "put it last")):
        with pytest.raises(SpliceError, match=way_out):
            joined(*parts)
    with pytest.raises(SpliceError, match=r"slice it to 0\.064 s"):
        joined(coded(2 * CHUNK - 3, audio_model), whole)  # ends in the last code of a chunk, and not with it


def test_files_of_single_chunks_need_the_model_to_be_known(audio_model: VQVAE, tmp_path: Path) -> None:
    full, short = coded(CHUNK, audio_model), coded(CHUNK - 32, audio_model)
    assert read_info(again(joined(full, short, model=audio_model))).num_samples == 2 * CHUNK - 32
    with pytest.raises(UserError, match="tiny-audio"):
        joined(full, short)
    with pytest.raises(SpliceError, match="border"):
        joined(short, short, model=audio_model)
    assert joined(short).getvalue() == short.getvalue()


def test_files_of_other_models_rates_and_channels_do_not_fit_and_leave_nothing(
    audio_model: VQVAE, tmp_path: Path
) -> None:
    one = coded(2 * CHUNK, audio_model)
    others = {
        "model": coded(2 * CHUNK, tiny_model("audio", seed=1)),
        "number of codebooks": coded(2 * CHUNK, audio_model, num_active=1),
        "sample rate": coded(CHUNK, audio_model, sample_rate=8000),
        "number of channels": coded(2 * CHUNK, audio_model, channels=2),
    }
    for what, other in others.items():
        with pytest.raises(SpliceError, match=what) as caught:
            concat_files((again(one), again(other)), tmp_path / "out.vqc")
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    picture = io.BytesIO()
    encode_file(as_png(scene(20, 20)), picture, tiny_model("image"))
    for call in (lambda: joined(one, picture), lambda: sliced(picture)):
        with pytest.raises(WrongMediaError, match="picture"):
            call()
    with pytest.raises(SpliceError, match="no files"):
        joined()


def test_files_with_a_prior_keep_it_where_a_chunk_was_coded_with_it(audio_model: VQVAE) -> None:
    hum = (0.5 * torch.sin(2 * torch.pi * torch.arange(2 * CHUNK) / 16))[None]
    prior = fitted_prior(audio_model.encode(hum[None]), audio_model, heads=("categorical",))
    out = io.BytesIO()
    encode_file(as_wav(hum, 16000), out, audio_model, prior=prior)
    plain = coded(2 * CHUNK, audio_model)
    assert read_info(again(out)).version == 2 and read_info(again(plain)).version == 1
    both = joined(plain, out)
    info = read_info(again(both))
    assert (info.version, info.prior, info.predicted_chunks) == (2, prior.name, read_info(again(out)).predicted_chunks)
    apart = torch.cat([decoded(plain, audio_model), decoded(out, audio_model, prior=prior)], -1)
    together = decoded(both, audio_model, prior=prior)
    assert torch.equal(together[:, :CHUNK], apart[:, :CHUNK])
    assert sliced(both, stop_s=2 * CHUNK / 16000).getvalue() == plain.getvalue()  # version 1 again
    prior.fingerprint = "d" * 16
    other = io.BytesIO()
    encode_file(as_wav(hum, 16000), other, audio_model, prior=prior)
    with pytest.raises(SpliceError, match="prior"):
        joined(out, other)


def test_a_spliced_file_of_a_wrong_model_is_refused_like_any_other(audio_model: VQVAE) -> None:
    whole = joined(coded(2 * CHUNK, audio_model), coded(5, audio_model))
    with pytest.raises(WrongModelError):
        decoded(whole, tiny_model("audio", seed=1))


@settings(max_examples=20)
@given(st.integers(1, 5 * CHUNK), st.sampled_from([16000, 44100, 8000, 11025]), st.integers(1, 2), st.data())
def test_a_decoded_interval_is_a_slice_of_the_whole(
    audio_model: VQVAE, num_samples: int, sample_rate: int, channels: int, data: st.DataObject
) -> None:
    source = coded(num_samples, audio_model, sample_rate=sample_rate, channels=channels)
    whole = decoded(source, audio_model)
    start, length = data.draw(st.integers(0, num_samples - 1)), data.draw(st.integers(1, num_samples))
    part = decoded(source, audio_model, start_s=start / sample_rate, duration_s=length / sample_rate)
    assert torch.equal(part, whole[:, start : start + length])
    rest = decoded(source, audio_model, start_s=start / sample_rate, model_rate=True)
    all_of_it = decoded(source, audio_model, model_rate=True)
    assert torch.equal(rest, all_of_it[:, -rest.shape[1] :])


@pytest.mark.parametrize("sample_rate", [22050, 8000])
def test_an_interval_is_a_slice_across_the_cells_that_are_resampled_one_by_one(
    audio_model: VQVAE, monkeypatch: pytest.MonkeyPatch, sample_rate: int
) -> None:
    monkeypatch.setattr("codec.files.sinks._CELL_VALUES", 3000)
    source = coded(20000, audio_model, sample_rate=sample_rate)
    whole = decoded(source, audio_model)
    for start, length in ((0, 20000), (2999, 3), (7000, 9000), (19999, 1)):
        part = decoded(source, audio_model, start_s=start / sample_rate, duration_s=length / sample_rate)
        assert torch.equal(part, whole[:, start : start + length])
    monkeypatch.undo()
    # One resampling and many agree but for the rounding of float32, which may tip a 16-bit step.
    torch.testing.assert_close(decoded(source, audio_model), whole, rtol=0, atol=1.01 / 32768)


def test_an_interval_reads_only_what_it_depends_on(audio_model: VQVAE) -> None:
    whole = coded(6 * CHUNK, audio_model)
    contents = read_header(whole)
    hurt = bytearray(whole.getvalue())
    for index in (0, 4, 5):
        hurt[contents.offsets[index]] ^= 255
    interval = {"start_s": 2.5 * CHUNK / 16000, "duration_s": CHUNK / 32000}
    part = decoded(io.BytesIO(hurt[:-1]), audio_model, **interval)
    assert torch.equal(part, decoded(whole, audio_model)[:, 2 * CHUNK + CHUNK // 2 : 3 * CHUNK])
    with pytest.raises(DamagedChunkError, match="chunk 5 of 6"):
        decoded(io.BytesIO(hurt), audio_model, start_s=4.5 * CHUNK / 16000)
    with pytest.raises(DamagedChunkError, match="all of that part"):
        decoded(io.BytesIO(hurt), audio_model, start_s=4.5 * CHUNK / 16000, skip_damaged=True)


@pytest.mark.parametrize(
    ("interval", "reason"),
    [
        ({"start_s": 9.0}, "cannot start at 9 s"),
        ({"start_s": -1.0}, "cannot start"),
        ({"start_s": float("nan")}, "cannot start"),
        ({"duration_s": 0.0}, "more than 0"),
    ],
)
def test_an_interval_that_is_not_there_is_refused(audio_model: VQVAE, interval, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        decoded(coded(100, audio_model), audio_model, **interval)


def test_a_picture_has_no_interval() -> None:
    picture, model = io.BytesIO(), tiny_model("image")
    encode_file(as_png(scene(20, 20)), picture, model)
    with pytest.raises(WrongMediaError, match="picture"):
        decode_file(again(picture), io.BytesIO(), model, duration_s=1.0)


def test_the_command_cuts_and_joins_and_says_what_it_moved(
    audio_model: VQVAE, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, head, tail, again = (str(tmp_path / f"{name}.vqc") for name in ("whole", "head", "tail", "again"))
    Path(whole).write_bytes(coded(5 * CHUNK + 9, audio_model).getvalue())
    assert main(["slice", whole, head, "--stop", "0.13"]) == 0
    assert "stop moved from 0.13 s to the border at 0.128 s" in capsys.readouterr().err
    assert main(["slice", whole, tail, "--start", "0.128"]) == 0
    assert main(["concat", head, tail, again]) == 0
    assert Path(again).read_bytes() == Path(whole).read_bytes()
    capsys.readouterr()
    for wrong in (
        ["concat", tail, head, again],
        ["slice", head, head],
        ["concat", head, again, again],
        ["concat", head],
    ):
        assert main(wrong) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    Path(head).write_bytes(b"RIFF....WAVE")
    assert main(["concat", head, tail, again]) == 2
    assert Path(again).read_bytes() == Path(whole).read_bytes()
