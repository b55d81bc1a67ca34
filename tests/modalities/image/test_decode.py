import io
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from nearfar.modalities.image.decode import Header, Unreadable, brightest, decode, header, white_level


def encoded(image, kind="PNG", **more):
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def picture(width, height, seed=0):
    """A smooth picture, so that JPEG keeps it nearly as it is."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def quarters(width=40, height=20):
    """Red, green / blue, white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2, 0] = 255
    pixels[: height // 2, width // 2 :, 1] = 255
    pixels[height // 2 :, : width // 2, 2] = 255
    pixels[height // 2 :, width // 2 :] = 255
    return Image.fromarray(pixels)


def reason(data, **more):
    with pytest.raises(Unreadable) as caught:
        decode(data, size=8, channels=3, **more)
    return str(caught.value)


def png_header(width, height):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


# What comes out


def test_a_png_of_the_wanted_size_keeps_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    square, aspect = decode(encoded(Image.fromarray(pixels)), size=16, channels=3)
    assert np.array_equal(square, pixels.transpose(2, 0, 1))
    assert aspect == 1.0


def test_the_square_holds_the_whole_picture_scaled_apart():
    square, aspect = decode(encoded(quarters(40, 20)), size=16, channels=3)
    assert square.shape == (3, 16, 16)
    assert aspect == 2.0
    assert [square[:, y, x].tolist() for y, x in ((0, 0), (0, 15), (15, 0), (15, 15))] == [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [255, 255, 255],
    ]


def test_scaling_down_is_antialiased():
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    square, _ = decode(encoded(Image.fromarray(stripes)), size=16, channels=1)
    assert np.abs(square.astype(int) - 128).max() <= 2


def test_arrays_are_writable_with_their_channels_innermost():
    for channels in (1, 3):
        square, _ = decode(encoded(picture(8, 8)), size=8, channels=channels)
        assert square.flags.writeable
        assert square.transpose(1, 2, 0).flags.c_contiguous


def test_a_path_and_an_opened_picture_decode_like_bytes(tmp_path):
    data = encoded(picture(20, 10))
    (tmp_path / "a.png").write_bytes(data)
    expected, _ = decode(data, size=8, channels=3)
    for same in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.open(io.BytesIO(data))):
        assert np.array_equal(decode(same, size=8, channels=3)[0], expected)


def test_colour_becomes_luma_and_grey_three_equal_channels():
    grey = np.asarray(Image.new("L", (8, 8), 76))
    assert np.array_equal(decode(encoded(Image.fromarray(grey)), size=8, channels=3)[0], np.stack([grey] * 3))
    square, _ = decode(encoded(Image.new("RGB", (8, 8), (255, 0, 0))), size=8, channels=1)
    assert square.shape == (1, 8, 8)
    assert np.all(square == 76)  # ITU-R 601: 0.299 * 255


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied(turn):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = quarters(40, 20)
    stored = upright.transpose(undo[turn]) if turn in undo else upright
    exif = Image.Exif()
    exif[0x0112] = turn
    for kind in ("PNG", "TIFF"):
        data = encoded(stored, kind, exif=exif)
        square, aspect = decode(data, size=16, channels=3)
        assert aspect == 2.0
        assert np.array_equal(square, decode(encoded(upright), size=16, channels=3)[0])
        assert (header(data).width, header(data).height) == (40, 20)


def test_jpeg_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(quarters(200, 100).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    square, aspect = decode(data, size=16, channels=3)
    assert aspect == 2.0
    assert square[0, 2, 2] > 200
    assert square[1, 2, 13] > 200


def test_damaged_exif_data_does_not_lose_the_picture():
    data = encoded(picture(16, 16), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert decode(data, size=16, channels=3)[0].shape == (3, 16, 16)


def test_cmyk_becomes_rgb():
    square, _ = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), size=8, channels=3)
    assert np.abs(square[:, 4, 4].astype(int) - [255, 0, 0]).max() < 30


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_white(mode):
    image = Image.new(mode, (8, 8), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    for channels in (1, 3):
        assert np.all(decode(encoded(image), size=8, channels=channels)[0] == 255)


def test_a_transparent_palette_colour_is_white():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 1)
    square, _ = decode(encoded(image, transparency=0), size=8, channels=3)
    assert square[:, 5, 5].tolist() == [255, 255, 255]
    assert square[:, 0, 0].tolist() == [200, 100, 50]


def test_a_transparent_colour_of_an_rgb_png_is_white():
    data = encoded(Image.new("RGB", (8, 8), (1, 2, 3)), transparency=(1, 2, 3))
    assert np.all(decode(data, size=8, channels=3)[0] == 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_its_own_range(kind):
    levels = np.array([[0, 257, 32896, 65535]] * 4, np.uint16)
    square, _ = decode(encoded(Image.fromarray(levels), kind), size=4, channels=1)
    assert square[0, 0].tolist() == [0, 1, 128, 255]


def test_big_endian_16_bit_grey_is_read():
    raw = np.array([[0, 65535]] * 2, ">u2")
    head = struct.pack(">2sHIH", b"MM", 42, 8, 8)
    entries = [
        (256, 3, 2),
        (257, 3, 2),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 110),
        (278, 3, 2),
        (279, 4, 8),
    ]
    for tag, kind, value in entries:
        head += struct.pack(">HHI", tag, kind, 1) + (
            struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)
        )
    data = (head + b"\0" * 4).ljust(110, b"\0") + raw.tobytes()
    assert decode(data, size=2, channels=1)[0][0].tolist() == [[0, 255]] * 2


def test_the_white_level_of_the_data_set_is_used():
    levels = np.array([[0, 2048, 4095, 60000]] * 4, np.uint16)
    square, _ = decode(encoded(Image.fromarray(levels)), size=4, channels=1, white=4095)
    assert square[0, 0].tolist() == [0, 128, 255, 255]


def test_32_bit_integers_are_scaled():
    levels = np.array([[0, 1 << 19, (1 << 20) - 1]] * 3, np.int32)
    assert decode(encoded(Image.fromarray(levels), "TIFF"), size=3, channels=1)[0][0, 0].tolist() == [0, 128, 255]


def test_floats_are_scaled_from_least_to_greatest():
    levels = np.array([[-1.0, 0.0, 1.0, np.nan]] * 4, np.float32)
    square, _ = decode(encoded(Image.fromarray(levels), "TIFF"), size=4, channels=1)
    assert square[0, 0].tolist() == [0, 128, 255, 0]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_frames_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    more = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **more)
    assert decode(data, size=8, channels=3)[0][:, 4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["BMP", "PPM", "WEBP", "JPEG2000", "AVIF"])
def test_other_formats_are_read(kind):
    try:
        data = encoded(picture(32, 32), kind)
    except (KeyError, OSError):
        pytest.skip(f"this PIL writes no {kind}")
    expected = np.asarray(picture(32, 32)).transpose(2, 0, 1).astype(int)
    assert np.abs(decode(data, size=32, channels=3)[0] - expected).mean() < 8


def test_jpegs_are_decoded_at_reduced_scale_and_look_the_same():
    data = encoded(picture(800, 600), "JPEG", quality=95)
    square, aspect = decode(data, size=64, channels=3)
    whole = np.asarray(picture(800, 600).resize((64, 64), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert aspect == 800 / 600
    assert np.abs(square.astype(int) - whole).mean() < 2


# What cannot be read


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty file"),
        (b"hello, I am no picture", "not an image"),
        (None, "no such file"),
        ("folder", "a folder, not a file"),
    ],
)
def test_a_file_that_is_no_picture(tmp_path, content, why):
    path = tmp_path / "a.jpg"
    if isinstance(content, bytes):
        path.write_bytes(content)
        assert reason(content) == why
    elif content:
        path.mkdir()
    assert reason(path) == why


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_a_truncated_file(kind, share):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    assert reason(data[: int(len(data) * share)]) in ("truncated", "truncated or damaged", "not an image")


def test_a_truncated_jpeg_is_never_half_grey_even_where_pil_is_told_to_accept_it(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(picture(64, 64), "JPEG")
    assert reason(data[: len(data) * 2 // 3]) == "truncated"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_bomb_is_refused_by_its_header_alone():
    assert reason(png_header(30_000, 30_000), max_pixels=100_000_000) == (
        "900 megapixels, more than --max-pixels 100000000"
    )
    with pytest.raises(Unreadable, match="900 megapixels"):
        header(png_header(30_000, 30_000), max_pixels=100_000_000)


def test_a_webp_bomb_is_refused_before_its_canvas_is_made(monkeypatch):
    data = bytearray(encoded(picture(16, 16), "WEBP"))
    size = struct.pack("<I", 16_000 - 1)[:3]
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + size + size
    bomb = b"RIFF" + struct.pack("<I", len(data) + 10) + b"WEBP" + canvas + bytes(data[12:])
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("the decoder saw it"))
    assert reason(bomb, max_pixels=100_000_000).startswith("256 megapixels")


@pytest.mark.parametrize("more", [{"lossless": True}, {"lossless": False}])
def test_plain_webp_headers_are_measured(more):
    data = encoded(picture(40, 30), "WEBP", **more)
    assert reason(data, max_pixels=1199).endswith("--max-pixels 1199")
    assert decode(data, size=8, channels=3, max_pixels=1200)[1] == 40 / 30


def test_more_pixels_than_pil_allows_are_read_where_asked(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(encoded(picture(16, 16)), size=8, channels=3, max_pixels=1000)[0].shape == (3, 8, 8)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_pils_own_limits_come_back_after_many_threads(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 77)
    data = encoded(picture(16, 16))
    workers = [threading.Thread(target=lambda: [decode(data, size=8, channels=3) for _ in range(30)]) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert Image.MAX_IMAGE_PIXELS == 77


def test_a_file_without_permission(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"x")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert reason(tmp_path / "a.jpg") == "permission denied"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert reason(tmp_path / "a.jpg") == "not a plain file"


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), SystemError("odd"), MemoryError()])
def test_whatever_a_decoder_raises_is_a_reason(monkeypatch, error):
    def fail(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert reason(encoded(picture(8, 8))).startswith(("cannot be decoded", "too large for the memory"))


def test_random_damage_never_raises_anything_else():
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"):
        data = encoded(picture(24, 24), kind)
        for _ in range(40):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 6):
                damaged[place] = rng.integers(0, 256)
            try:
                square, aspect = decode(bytes(damaged), size=8, channels=3, max_pixels=10**6)
            except Unreadable as error:
                assert 0 < len(str(error)) <= 160  # noqa: PT017
            else:
                assert square.shape == (3, 8, 8)
                assert aspect > 0


# What a header says


@pytest.mark.parametrize(
    ("mode", "channels", "deep"),
    [("RGB", 3, False), ("L", 1, False), ("LA", 1, False), ("1", 1, False), ("P", 3, False)],
)
def test_header_tells_size_and_channels(mode, channels, deep):
    assert header(encoded(Image.new(mode, (30, 20)))) == Header(30, 20, channels, deep)


def test_header_tells_16_bit_grey():
    assert header(encoded(Image.fromarray(np.zeros((20, 30), np.uint16)))) == Header(30, 20, 1, True)


def test_header_decodes_nothing(monkeypatch):
    data = encoded(picture(30, 20))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    assert header(data) == Header(30, 20, 3)


@pytest.mark.parametrize("place", ["before", "after", "profile", "checksum"])
def test_a_png_is_read_whatever_stands_beside_its_pixels(place, tmp_path):
    from PIL import PngImagePlugin

    text, wanted = PngImagePlugin.PngInfo(), np.asarray(picture(12, 12)).transpose(2, 0, 1)
    text.add_text("workflow", "{}" * 1_000_000, zip=True)
    more = {"icc_profile": np.random.default_rng(0).bytes(1_500_000)} if place == "profile" else {"pnginfo": text}
    data = encoded(picture(12, 12), **more)
    at = data.find(b"zTXt")
    if place == "after":
        begin, end = at - 4, at + 8 + int.from_bytes(data[at - 4 : at], "big")
        data = data[:begin] + data[end:-12] + data[begin:end] + data[-12:]
    if place == "checksum":
        data = data[: at + 30] + bytes([data[at + 30] ^ 1]) + data[at + 31 :]
    (tmp_path / "a.png").write_bytes(data)
    for given in (data, tmp_path / "a.png"):
        assert header(given) == Header(12, 12, 3)
        assert np.array_equal(decode(given, size=None, channels=3)[0], wanted)
    with pytest.raises(Unreadable):  # but not without all of its pixels
        decode(data[: data.index(b"IDAT") + 20], size=None, channels=3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_odd_pixel_of_floats_harms_no_other(value):
    levels = (1000 + np.linspace(0, 100, 64)).reshape(8, 8).astype(np.float32)
    spoilt = levels.copy()
    spoilt[3, 3] = value
    one, other = (decode(encoded(Image.fromarray(x), "TIFF"), size=None, channels=1)[0][0] for x in (levels, spoilt))
    assert other[3, 3] == (255 if value == np.inf else 0)
    other = other.copy()
    other[3, 3] = one[3, 3]
    assert np.array_equal(one, other)
    with pytest.raises(Unreadable, match="no pixel is a finite number"):
        decode(encoded(Image.fromarray(np.full((8, 8), value, np.float32)), "TIFF"), size=None, channels=1)


def test_brightest_looks_at_deep_pictures_only():
    assert brightest(encoded(Image.fromarray(np.array([[5, 3000]], np.uint16)))) == 3000
    assert brightest(encoded(picture(8, 8))) == 0


@pytest.mark.parametrize(
    ("largest", "white"), [(1, 255), (255, 255), (256, 511), (3000, 4095), (4095, 4095), (65535, 65535)]
)
def test_white_level_is_the_range_of_the_fewest_bits(largest, white):
    assert white_level(largest) == white
