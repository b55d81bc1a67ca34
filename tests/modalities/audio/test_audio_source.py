"""Sounds opened from any form of data, decoded once."""

import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from nearfar import given
from nearfar.errors import DataError
from nearfar.modalities import registry
from nearfar.modalities.audio import MODALITY
from nearfar.modalities.audio.baselines import SegmentCepstra, cosines
from nearfar.modalities.opening import open_source
from nearfar.options import Facts
from tests.modalities.audio.sounds import RATE, encode, folder_of, open_sounds, tone

WAVES = [tone(300 + 50 * i, 0.1 + 0.02 * i) for i in range(6)]
FACTS = Facts(samples=6, device="cpu", threads=1)


def as_folder(place):
    return folder_of(place, WAVES)


def as_manifest(place):
    folder_of(place, WAVES)
    (place / "list.csv").write_text("\n".join(["audio,label", *(f"{i:02}.wav,{i % 2}" for i in range(6))]))
    return str(place / "list.csv")


def as_parquet(place):
    cells = [{"bytes": encode(wave), "path": f"{i}.wav"} for i, wave in enumerate(WAVES)]
    pq.write_table(pa.table({"audio": cells, "label": [0, 1] * 3}), place / "data.parquet")
    return str(place / "data.parquet")


def as_tar(place):
    folder_of(place, WAVES)
    with tarfile.open(place / "data.tar", "w") as archive:
        for i in range(6):
            archive.add(place / f"{i:02}.wav", f"{i:02}.wav")
    return str(place / "data.tar")


@pytest.mark.parametrize("form", [as_folder, as_manifest, as_parquet, as_tar])
def test_every_form_of_data_gives_the_same_sounds(form, tmp_path):
    data = form(tmp_path)
    assert registry.find(data) == "audio"
    source = open_sounds(data)
    sounds, kept = source.fetch(np.arange(6))
    assert kept.tolist() == list(range(6))
    assert sounds.lengths.tolist() == [len(wave) for wave in WAVES]
    for wave, row in zip(WAVES, sounds.waves.numpy(), strict=True):
        assert np.abs(row[: len(wave)] / 32768 - wave).max() < 1e-4
        assert not row[len(wave) :].any()


def test_what_cannot_be_heard_is_skipped_and_listed(tmp_path):
    folder_of(tmp_path, [*WAVES, np.zeros(100)])
    (tmp_path / "broken.wav").write_bytes(b"RIFF and nothing more")
    (tmp_path / "empty.wav").write_bytes(b"")
    source = open_sounds(str(tmp_path))
    assert len(source.fetch(np.arange(9))[1]) == 6
    said = {one.key: one.reason for one in source.skipped}
    assert said.keys() == {"06.wav", "broken.wav", "empty.wav"}
    assert (said["06.wav"], said["empty.wav"]) == ("silent throughout", "empty file")


def test_data_that_is_mostly_broken_is_refused(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.wav").write_bytes(b"RIFF and no more")
    with pytest.raises(DataError, match=r"5 of 5 samples .* cannot be read: .*cannot be decoded"):
        open_sounds(str(tmp_path))


@pytest.mark.parametrize(("rate", "chosen"), [(8000, 8000), (48000, 16000)])
def test_rate_and_lengths_follow_the_data(tmp_path, rate, chosen):
    folder_of(tmp_path, [tone(seconds=0.2, rate=rate)] * 9 + [tone(seconds=0.9, rate=rate)], rate)
    options, name, _ = MODALITY.settle(MODALITY.Options(), open_sounds(str(tmp_path)), None, FACTS)
    assert (options.sample_rate, options.clip_seconds, name) == (chosen, 0.9, "spectrogram_cnn")
    assert 0.2 <= options.view_seconds < 0.4


def test_sounds_come_at_the_rate_and_length_that_an_encoder_asks_for(tmp_path):
    source = open_sounds(folder_of(tmp_path, [tone(seconds=0.5)] * 2))
    some = source.suited({"sample_rate": 4000, "clip_seconds": 0.25})
    assert some.fetch(np.arange(2))[0].lengths.tolist() == [1000, 1000]
    assert source.fetch(np.arange(2))[0].lengths.tolist() == [4000, 4000]


def test_the_same_sounds_have_the_same_id(tmp_path):
    source = open_sounds(folder_of(tmp_path, [WAVES[0], WAVES[1], WAVES[0]]))
    source.fetch(np.arange(3))
    assert source.ids[0] == source.ids[2] != source.ids[1]


def test_long_sounds_are_decoded_once_and_found_again(tmp_path, monkeypatch):
    place = tmp_path / "sounds"
    place.mkdir()
    data = folder_of(place, [tone(seconds=5, hertz=300 + i) for i in range(3)])
    first = open_sounds(data, cache=str(tmp_path / "cache")).fetch(np.arange(3))[0]
    monkeypatch.setattr("nearfar.modalities.audio.source.decode", None)  # calling it would fail
    again = open_sounds(data, cache=str(tmp_path / "cache")).fetch(np.arange(3))[0]
    assert np.array_equal(first.waves, again.waves)
    assert np.array_equal(first.lengths, again.lengths)


def test_a_card_shows_a_spectrogram_and_plays(tmp_path):
    card = open_sounds(folder_of(tmp_path, [tone(seconds=0.5, rate=22050)], 22050)).cards(np.arange(1))[0]
    assert card.image[8:12] == b"WEBP"
    (tmp_path / "a.mp3").write_bytes(card.media)
    assert soundfile.info(tmp_path / "a.mp3").duration == pytest.approx(0.5, abs=0.2)


def test_baselines_are_vectors_of_the_usable_sounds(tmp_path):
    source = open_sounds(folder_of(tmp_path, [*WAVES, np.zeros(100)]))
    assert source.vectors().shape == (6, 128)
    cepstra = SegmentCepstra().vectors(source)
    assert cepstra.shape == (6, 160)
    assert bool(cepstra.isfinite().all())


def test_cosines_are_the_orthonormal_transform():
    from scipy.fft import dct

    wanted = dct(np.eye(32), type=2, norm="ortho", axis=0)[:20]
    assert np.allclose(cosines(20, 32).numpy(), wanted, atol=1e-6)


def test_the_pool_of_a_part_holds_its_own_sounds_alone(tmp_path):
    source = open_sounds(folder_of(tmp_path, WAVES))
    options, name, _ = MODALITY.settle(MODALITY.Options(bands=16), source, None, FACTS)
    encoder = MODALITY.encoder(name, source, options, width=4)
    part = source.suited(encoder.config).take(np.array([0, 3]))
    powers, frames = part.fetch(np.arange(2))[0].pool.powers(encoder)
    assert powers.shape[:2] == (2, 16)
    assert frames.tolist() == [1 + len(WAVES[i]) // (RATE // 100) for i in (0, 3)]


def opened(data, modality=None):
    with given.holding() as hold:
        name = hold("data", data)
        kind = modality or registry.find(name)
        source = open_source(registry.load(kind), name, least=1)
        return kind, source.fetch(np.arange(len(source)))[0]


def test_lists_of_arrays_mappings_and_paths_are_sounds(tmp_path):
    folder_of(tmp_path, WAVES)
    arrays = [(wave * 32768).round().astype(np.int16) for wave in WAVES]
    forms = {
        "arrays": arrays,
        "mappings": [{"array": wave, "sampling_rate": RATE} for wave in arrays],
        "paths": [tmp_path / f"{i:02}.wav" for i in range(6)],
    }
    for data in forms.values():
        kind, sounds = opened(data)
        assert kind == "audio"
        assert sounds.lengths.tolist() == [len(wave) for wave in WAVES]
        assert np.abs(sounds.waves.numpy()[0, : len(WAVES[0])] / 32768 - WAVES[0]).max() < 1e-3


def test_arrays_of_one_length_are_rows_unless_sounds_are_asked_for():
    data = [tone(300 + i) for i in range(12)]
    assert opened(data)[0] == "table"
    assert len(opened(data, "audio")[1]) == 12


def test_silent_and_clipped_sounds_are_defects_and_others_are_none(tmp_path):
    waves = [tone(), tone(200), np.full(2000, 0.2), tone(loud=0.0004), np.clip(tone(loud=4.0), -1, 1), tone(300)]
    source = open_source(MODALITY, folder_of(tmp_path, waves))
    found = {one.key: one.reason for one in source.defects(np.arange(len(source)))}
    assert list(found) == ["02.wav", "03.wav", "04.wav"]
    assert found["02.wav"] == "silent: all samples are equal"
    assert "-68 dB" in found["03.wav"]
    assert found["04.wav"].startswith("clipped: ")
