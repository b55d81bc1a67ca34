"""Files of any kind to mono at one rate."""

import numpy as np
import pytest
import soundfile

from nearfar.contract import Unreadable
from nearfar.modalities.audio.decode import decode, header
from tests.modalities.audio.sounds import encode, tone


def test_sixteen_bits_at_their_own_rate_come_through_as_they_are():
    wave = np.random.default_rng(0).integers(-30000, 30000, 500).astype(np.int16)
    assert decode(encode(wave), rate=8000, most=10_000).tolist() == wave.tolist()


@pytest.mark.parametrize(
    "how",
    [
        {"format": "WAV", "subtype": "PCM_U8"},
        {"format": "WAV", "subtype": "PCM_24"},
        {"format": "WAV", "subtype": "FLOAT"},
        {"format": "FLAC"},
        {"format": "OGG"},
        {"format": "MP3"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2)])
def test_any_format_rate_and_number_of_channels(how, rate, channels):
    wave = np.repeat(tone(440, 0.5, rate)[:, None], channels, axis=1)
    found = decode(encode(wave, rate, **how), rate=8000, most=10_000)
    assert abs(len(found) - 4000) < 1200  # MP3 has silence around it
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum.argmax() * 8000 / len(found) == pytest.approx(440, abs=8)
    assert np.abs(found[1000:3000]).max() == pytest.approx(0.3 * 32768, rel=0.1)


def test_of_a_long_sound_the_middle_is_kept():
    wave = np.concatenate([tone(200, 1), tone(1000, 0.5), tone(200, 1)])
    found = decode(encode(wave), rate=8000, most=2000)
    assert len(found) == 2000
    assert np.abs(np.fft.rfft(found)).argmax() * 4 == 1000


def test_arrays_have_the_rate_that_they_say():
    wave = tone(440, 0.5, 16000).astype(np.float32)
    assert len(decode({"array": wave, "sampling_rate": 16000}, rate=8000, most=99_999)) == 4000
    assert len(decode(wave, rate=8000, most=99_999)) == 8000
    assert decode((wave * 32768).astype(np.int16), rate=8000, most=99_999).max() == pytest.approx(0.3 * 32768, rel=0.01)


def test_floats_beyond_one_are_made_quieter():
    assert np.abs(decode(encode(10 * tone(), subtype="FLOAT"), rate=8000, most=9999)).max() >= 32760


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"RIFF", "cannot be decoded"),
        (b"no sound at all" * 100, "no sound that is known"),
        (encode(np.zeros(0)), "no samples"),
        (encode(np.zeros(900)), "silent throughout"),
        (encode(np.full(900, np.nan), subtype="FLOAT"), "not finite"),
    ],
    ids=["empty", "short", "text", "no samples", "silent", "nan"],
)
def test_what_cannot_be_heard_says_why(content, reason):
    with pytest.raises(Unreadable, match=reason):
        decode(content, rate=8000, most=1000)


def test_decoders_write_nothing_of_their_own(capfd):
    rng = np.random.default_rng(0)
    found = decode(encode(0.3 * rng.normal(size=80_000), 16000, format="MP3"), rate=16000, most=16_000)
    assert len(found) == 16_000
    with pytest.raises(Unreadable):
        decode(b"hello" * 500, rate=8000, most=99)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_cut_short_gives_what_there_is(tmp_path):
    path = tmp_path / "cut.wav"
    path.write_bytes(encode(tone(seconds=1))[:9000])
    assert 4000 < len(decode(str(path), rate=8000, most=99_999)) < 4500


def test_a_header_says_rate_and_length(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(seconds=0.5, rate=22050), 22050)
    assert header(str(tmp_path / "a.flac")) == (22050, 0.5)
