import re

import pytest

from codec.core.errors import UserError
from codec.eval import RivalResult, select, speech_codecs
from codec.models.tiny import tiny_model
from codec.report.listening import nearest_numbers, write_listening_page
from tests.eval.corpus import write_pictures, write_recordings
from tests.report.test_page import Tags

MODEL = tiny_model("audio")


def echo(signal, sample_rate, folder, channel_bps):
    """A codec that loses nothing, at the rate it was asked for."""
    path = folder / "echo"
    path.write_bytes(bytes(round(signal.shape[1] / sample_rate * channel_bps / 8)))
    return RivalResult("Lyra v2", f"{channel_bps} bit/s", path, path.stat().st_size, signal, 0.0, 0.0)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder, seen = tmp_path_factory.mktemp("listen"), []
    manifest = write_recordings(folder)
    with pytest.MonkeyPatch.context() as patch:
        lyra = speech_codecs.SpeechCodec("Lyra v2", (3200,), (3200,), echo)
        patch.setattr(speech_codecs, "speech_codecs", lambda sample_rate: [lyra])
        write_listening_page(
            folder / "page.html",
            MODEL,
            manifest,
            rates_bps=(5000, 12000),
            seconds=0.6,
            clips=2,
            progress=lambda *at: seen.append(at),
        )
    return (folder / "page.html").read_text(), seen


def test_every_clip_has_the_original_ours_at_every_rate_and_the_rivals(shown):
    text, seen = shown
    tags = Tags(text)
    assert seen == [(1, 2), (2, 2)]
    assert len(tags.of("audio")) == len(tags.of("img")) == 2 * (1 + 2 + 3)  # Lyra v2 has three rates
    assert text.count('class="track mine"') == 2 * 2 and text.count("<h3>About") == 2 * 2
    assert "About 5 kbit/s" in text and "speech-0.wav, the first 0.5 s" in text


def test_the_page_asks_the_network_for_nothing_and_plays_small_sounds(shown):
    text, _ = shown
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?\s*(?:https?:)?//""", text)
    tags = Tags(text)
    assert all((each["src"] or "").startswith("data:audio/mpeg;base64,") for each in tags.of("audio"))
    assert all((each["src"] or "").startswith("data:image/webp;base64,") for each in tags.of("img"))
    assert all(len(each["src"] or "") < 12000 for each in tags.of("audio"))  # 0.6 s of 64 kbit/s, in base64


def test_a_rival_stands_in_the_row_whose_rate_is_nearest_and_its_mean_is_over_all_clips(shown):
    text, _ = shown
    low, high = text.split("<h3>About")[1:3]
    assert [rate in low for rate in ("3200 bit/s", "6000 bit/s", "9200 bit/s")] == [True, True, False]
    assert "9200 bit/s" in high
    (row,) = re.findall(r"<small>6000 bit/s</small></th>(.*?)</tr>", text)
    assert row.startswith("<td>6.00</td>")


def test_numbers_of_codebooks_are_those_whose_files_come_nearest(tmp_path):
    sources = [entry.path for entry in select(write_recordings(tmp_path), MODEL)]
    wanted = [1.0, 1e9]
    assert nearest_numbers(MODEL, sources, wanted, tmp_path, prior="none") == [1, 2]


def test_what_cannot_be_heard_is_refused(tmp_path):
    with pytest.raises(UserError, match="codes pictures"):
        write_listening_page(tmp_path / "page.html", tiny_model("image"), write_pictures(tmp_path))
    assert not (tmp_path / "page.html").exists()
