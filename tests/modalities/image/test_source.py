import io

import numpy as np
import pytest
import torch
from PIL import Image

from nearfar.errors import DataError
from nearfar.modalities.image import store
from tests.modalities.image.opening import open_images, suited


def noise(seed, width=12, height=12, mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def fill(root, count, *, broken=(), mode="RGB", width=12, height=12):
    """Pictures `00.png` onwards in the class folders a and b; the broken ones are no pictures."""
    for i in range(count):
        path = root / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i in broken:
            path.write_text("no picture")
        else:
            noise(i, width, height, mode).save(path)
    return str(root)


def cut(path):
    """Keep the header and lose the end: only decoding can tell."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def opened(root, count=6, size=12, **more):
    source = open_images(fill(root, count), **more)
    source = suited(source, {"stored_size": size})
    return source


def test_fetch_gives_the_pixels_of_each_row(tmp_path):
    source = opened(tmp_path)
    pictures, kept = source.fetch(np.array([4, 0]))
    assert kept.tolist() == [4, 0]
    for place, row in enumerate(kept):
        with Image.open(tmp_path / source.keys[row]) as image:
            assert np.array_equal(pictures.pixels[place].numpy(), np.asarray(image).transpose(2, 0, 1))


def test_fetch_is_the_same_in_memory_in_the_cache_and_on_demand(tmp_path):
    held = opened(tmp_path)
    rows = np.array([5, 1, 1, 3])
    a, kept_a = held.fetch(rows)
    for cache in ("off", str(tmp_path / "cache"), str(tmp_path / "cache")):
        other = opened(tmp_path, memory_limit=0, cache=cache)
        for _ in range(2):
            b, kept_b = other.fetch(rows)
            assert torch.equal(a.pixels, b.pixels)
            assert torch.equal(a.aspect, b.aspect)
            assert kept_a.tolist() == kept_b.tolist() == rows.tolist()
            assert other.ids[rows].tolist() == held.ids[rows].tolist()


def test_aspect_is_width_over_height(tmp_path):
    source = open_images(fill(tmp_path, 2, width=30, height=10))
    source = suited(source, {"stored_size": 8})
    assert source.fetch(np.arange(2))[0].aspect.tolist() == [3.0, 3.0]
    assert source.short_side == 10


def test_image_size_is_taken_where_no_stored_size_is_given(tmp_path):
    source = open_images(fill(tmp_path, 2))
    source = suited(source, {"image_size": 9, "stored_size": None})
    assert source.fetch(np.arange(2))[0].pixels.shape == (2, 3, 9, 9)


def test_suiting_twice_decodes_once(tmp_path, monkeypatch):
    source = opened(tmp_path)
    monkeypatch.setattr(store, "decode", lambda *_, **__: pytest.fail("decoded again"))
    source = suited(source, {"stored_size": 12})
    suited(source.take(np.array([1])), {"stored_size": 12})


def test_suiting_a_part_decodes_that_part_only(tmp_path, monkeypatch):
    source = open_images(fill(tmp_path, 6))
    seen = []
    real = store.decode
    monkeypatch.setattr(store, "decode", lambda data, **more: seen.append(data) or real(data, **more))
    source = suited(source.take(np.array([1, 4])), {"stored_size": 12})
    assert len(seen) == 2


def test_take_shares_the_data_and_renumbers_the_rows(tmp_path):
    source = opened(tmp_path)
    part = source.take(np.array([5, 2, 0])).take(np.array([1, 2]))
    assert part.keys == [source.keys[2], source.keys[0]]
    assert part.labels.tolist() == source.labels[[2, 0]].tolist()
    assert part.ids.tolist() == source.ids[[2, 0]].tolist()
    pictures, kept = part.fetch(np.array([1]))
    assert kept.tolist() == [1]
    assert torch.equal(pictures.pixels[0], source.fetch(np.array([0]))[0].pixels[0])


def test_equal_pictures_have_equal_ids(tmp_path):
    fill(tmp_path, 4)
    noise(0).save(tmp_path / "b" / "same.png")
    source = open_images(str(tmp_path))
    source = suited(source, {"stored_size": 12})
    ids = dict(zip(source.keys, source.ids.tolist(), strict=True))
    assert ids["a/00.png"] == ids["b/same.png"]
    assert len(set(ids.values())) == 4


# Facts


def test_channels_are_one_only_where_all_are_grey(tmp_path):
    assert open_images(fill(tmp_path / "grey", 3, mode="L")).channels == 1
    fill(tmp_path / "grey", 1)
    assert open_images(str(tmp_path / "grey")).channels == 3


def test_the_short_side_is_the_median(tmp_path):
    for i, side in enumerate((10, 20, 90)):
        noise(i, 100, side).save(tmp_path / f"{i}.png")
    assert open_images(str(tmp_path)).short_side == 20


def test_12_bit_data_has_its_white_level_and_uses_it(tmp_path):
    for i, largest in enumerate((3000, 100)):
        Image.fromarray(np.full((8, 8), largest, np.uint16)).save(tmp_path / f"{i}.png")
    source = open_images(str(tmp_path))
    source = suited(source, {"stored_size": 8})
    assert (source.white, source.channels) == (4095, 1)
    pixels = source.fetch(np.arange(2))[0].pixels
    assert pixels[:, 0, 0, 0].tolist() == [round(3000 / 4095 * 255), round(100 / 4095 * 255)]


# Unreadable pictures


def test_unreadable_pictures_are_left_out_and_listed_once(tmp_path):
    source = open_images(fill(tmp_path, 6, broken=[3]))
    cut(tmp_path / "a" / "04.png")
    source = suited(source, {"stored_size": 12})
    for _ in range(2):
        _, kept = source.fetch(np.arange(6))
    bad = {"b/03.png": "not an image", "a/04.png": "truncated"}
    assert {one.key: one.reason for one in source.skipped} == bad
    assert len(source.skipped) == 2
    assert [source.keys[row] for row in kept] == [key for key in source.keys if key not in bad]
    assert source.usable.tolist() == kept.tolist()


def test_mostly_unreadable_data_is_an_error_with_three_examples(tmp_path):
    with pytest.raises(DataError, match=r"4 of 6 samples .*: ('\S+' \(not an image\)(; )?){3}\."):
        open_images(fill(tmp_path, 6, broken=range(4)))


def test_data_that_proves_mostly_unreadable_while_decoding_is_an_error(tmp_path):
    source = open_images(fill(tmp_path, 30))
    for path in list(tmp_path.rglob("*.png"))[:16]:
        cut(path)
    with pytest.raises(DataError, match="16 of 30 samples"):
        source = suited(source, {"stored_size": 12})


def test_one_readable_image_is_too_few_to_train_on(tmp_path):
    with pytest.raises(DataError, match=r"one usable sample.*at least two"):
        open_images(fill(tmp_path / "one", 1))
    with pytest.raises(DataError, match=r"one usable sample.*at least two"):
        open_images(fill(tmp_path / "two", 2, broken=[1]))


def test_one_image_left_after_decoding_is_too_few(tmp_path):
    source = open_images(fill(tmp_path, 2))
    cut(tmp_path / "a" / "00.png")
    with pytest.raises(DataError, match="one usable sample"):
        suited(source, {"stored_size": 12}, least=2)


def test_no_readable_image_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        open_images(fill(tmp_path, 1, broken=[0]), least=1)


def test_too_many_pixels_are_skipped_with_the_option_named(tmp_path):
    fill(tmp_path, 3)
    noise(9, 40, 40).save(tmp_path / "a" / "big.png")
    source = open_images(str(tmp_path), max_pixels=1000)
    assert source.skipped[0].key == "a/big.png"
    assert "--max-pixels 1000" in source.skipped[0].reason


# The baseline and the report


def test_vectors_are_the_pixels_of_small_pictures(tmp_path):
    source = opened(tmp_path)
    expected = source.fetch(np.arange(6))[0].pixels.flatten(1).float() / 255
    assert torch.equal(source.vectors(), expected)


def test_vectors_of_large_pictures_are_averaged_to_32_pixels(tmp_path):
    source = open_images(fill(tmp_path, 2, width=64, height=64))
    source = suited(source, {"stored_size": 64})
    pixels = source.fetch(np.arange(2))[0].pixels.double() / 255
    expected = pixels.view(2, 3, 32, 2, 32, 2).mean((3, 5)).flatten(1)
    assert torch.allclose(source.vectors().double(), expected, atol=1e-6)


def test_vectors_have_a_row_for_each_usable_picture(tmp_path):
    source = open_images(fill(tmp_path, 6, broken=[2]))
    assert source.vectors().shape == (5, 3 * 12 * 12)
    assert len(source.usable) == 5


def test_cards_show_pictures_in_their_own_shape_and_a_few_in_their_own_size(tmp_path):
    source = suited(open_images(fill(tmp_path, 12, width=200, height=100)), {"stored_size": 40})
    for count, size in ((1, (100, 50)), (12, (40, 20))):
        card = source.cards(np.arange(12 - count, 12))[-1]
        assert (card.key, card.label) == ("b/11.png", "b")
        with Image.open(io.BytesIO(card.image)) as image:
            assert image.size == size


def test_the_card_of_an_unreadable_picture_has_no_image(tmp_path):
    source = open_images(fill(tmp_path, 4, broken=[2]))
    card = source.cards(np.array([source.keys.index("a/02.png")]))[0]
    assert card.image is None


# Digits


def test_digits_have_scikit_learns_pixels_and_labels():
    from sklearn.datasets import load_digits

    source = open_images("digits")
    source = suited(source, {"image_size": 8})
    expected = load_digits()
    pixels = source.fetch(np.arange(1797))[0].pixels[:, 0].numpy()
    assert np.array_equal(pixels, np.rint(expected.images * 255 / 16))
    assert source.labels.tolist() == expected.target.tolist()
    assert (source.channels, source.short_side, source.keys[3]) == (1, 8, "digits/0003")


def test_digits_splits_are_stratified_disjoint_and_whole():
    train, test = open_images("digits:train"), open_images("digits:test")
    assert not set(train.keys) & set(test.keys)
    assert len(train) + len(test) == 1797
    share = np.bincount(test.labels) / (np.bincount(train.labels) + np.bincount(test.labels))
    assert np.all(np.abs(share - 0.2) < 0.01)


def test_digits_have_no_other_split():
    with pytest.raises(DataError, match="no split 'val'; it has test, train"):
        open_images("digits:val")


def paired(root, *, extra="others/x.png", broken=False):
    """Four pictures: the positive of the first is another file, of the second the third; the others have none."""
    fill(root, 4)
    (root / "others").mkdir()
    noise(99).save(root / "others" / "x.png")
    if broken:
        (root / "others" / "x.png").write_text("no picture")
    rows = ["a/00.png," + extra, "b/01.png,./a/02.png", "a/02.png,", "b/03.png,"]
    (root / "m.csv").write_text("\n".join(["path,positive", *rows]))
    source = open_images(str(root / "m.csv"))
    source = suited(source, {"stored_size": 12})
    return source


def test_positives_are_the_pictures_that_the_column_names(tmp_path):
    source = paired(tmp_path)
    assert len(source) == 4
    assert source.keys == ["a/00.png", "b/01.png", "a/02.png", "b/03.png"]
    pictures, kept = source.positives.fetch(np.arange(4))
    assert kept.tolist() == [0, 1, 2, 3]
    for place, name in enumerate(("others/x.png", "a/02.png", "a/02.png", "b/03.png")):
        with Image.open(tmp_path / name) as image:
            assert np.array_equal(pictures.pixels[place].numpy(), np.asarray(image).transpose(2, 0, 1))


def test_a_positive_that_is_a_sample_is_not_held_twice(tmp_path):
    assert len(paired(tmp_path).store.samples) == 5


def test_taken_samples_keep_their_positives(tmp_path):
    source = paired(tmp_path)
    some = source.take(np.array([3, 1])).positives
    assert torch.equal(some.fetch(np.array([1]))[0].pixels, source.fetch(np.array([2]))[0].pixels)


def test_a_sample_is_its_own_positive_where_that_cannot_be_read(tmp_path):
    source = paired(tmp_path, broken=True)
    assert torch.equal(source.positives.fetch(np.array([0]))[0].pixels, source.fetch(np.array([0]))[0].pixels)
    assert [one.key for one in source.skipped] == [str(tmp_path / "others/x.png")]
    assert source.usable.tolist() == [0, 1, 2, 3]


def test_positives_and_negatives_are_the_pictures_that_their_columns_name(tmp_path):
    fill(tmp_path, 4)
    (tmp_path / "others").mkdir()
    for name in ("p", "n"):
        noise(90 + ord(name)).save(tmp_path / "others" / f"{name}.png")
    rows = [
        "a/00.png,others/p.png,others/n.png",
        "b/01.png,,others/n.png",
        "a/02.png,others/n.png,",
        "b/03.png,,a/00.png",
    ]
    (tmp_path / "m.csv").write_text("\n".join(["path,positive,negative", *rows]))
    source = open_images(str(tmp_path / "m.csv"))
    source = suited(source, {"stored_size": 12})
    assert len(source.store.samples) == 6  # each once, whatever it is to whom
    for others, names in (
        (source.positives, ("others/p.png", "b/01.png", "others/n.png", "b/03.png")),
        (source.negatives, ("others/n.png", "others/n.png", "a/02.png", "a/00.png")),
    ):
        pictures, kept = others.fetch(np.arange(4))
        assert kept.tolist() == [0, 1, 2, 3]
        for place, name in enumerate(names):
            with Image.open(tmp_path / name) as image:
                assert np.array_equal(pictures.pixels[place].numpy(), np.asarray(image).transpose(2, 0, 1))
    taken = source.take(np.array([3, 1])).negatives
    assert torch.equal(taken.fetch(np.array([0]))[0].pixels, source.fetch(np.array([0]))[0].pixels)


def test_pictures_of_one_colour_are_defects(tmp_path):
    fill(tmp_path, 6)
    Image.new("RGB", (12, 12), (200, 30, 30)).save(tmp_path / "a" / "red.png")
    Image.new("RGB", (12, 12), (0, 0, 0)).save(tmp_path / "b" / "black.jpg")
    source = suited(open_images(str(tmp_path)), {"stored_size": 12})
    found = source.defects(np.arange(len(source)))
    assert {one.key: one.reason for one in found} == dict.fromkeys(("a/red.png", "b/black.jpg"), "all of one colour")
