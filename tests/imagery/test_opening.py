import io
import random
import re
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from addressvlm.errors import AddressVLMError
from addressvlm.imagery.opening import jpeg, open_image, save_jpeg, upright_size

ORIENTATION = 0x0112


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.effect_noise(size, 60).convert(mode)


def reason(path: Path, **options: int) -> str:
    """What `open_image` says is wrong with the file, without its name."""
    with pytest.raises(AddressVLMError) as caught:
        open_image(path, **options)
    assert str(caught.value).startswith(f"{path} ")
    return str(caught.value).removeprefix(f"{path} ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_the_content_tells_the_format_and_not_the_name(path: Path, format: str):
    path.write_bytes(encoded(Image.new("RGB", (8, 6), (200, 0, 0)), format))
    image = open_image(path)
    assert (image.mode, image.size) == ("RGB", (8, 6))
    assert image.getpixel((4, 3))[0] > 190


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "ICO"])
def test_other_formats_are_refused(path: Path, format: str):
    path.write_bytes(encoded(Image.new("RGB", (16, 16)), format))
    assert reason(path) == "is not a JPEG, PNG or WebP image"


def test_a_text_an_empty_file_a_folder_and_nothing_have_their_reasons(tmp_path: Path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    assert reason(tmp_path / "text.jpg") == "is not a JPEG, PNG or WebP image"
    assert reason(tmp_path / "empty.jpg") == "is empty (0 bytes)"
    assert reason(tmp_path) == "cannot be opened: Is a directory"
    assert reason(tmp_path / "gone.jpg") == "cannot be opened: No such file or directory"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file_is_an_error(path: Path, format: str):
    path.write_bytes(encoded(noise(size=(200, 200)), format)[:2000])
    assert "is truncated or damaged" in reason(path)


def test_more_pixels_than_allowed_are_refused_before_decoding(path: Path):
    path.write_bytes(encoded(Image.new("1", (3000, 2000)), "PNG"))
    assert reason(path, max_pixels=5_999_999) == "has more than 6 million pixels; scale it down"
    assert open_image(path, max_pixels=6_000_000).size == (3000, 2000)


@pytest.mark.parametrize("side", [9_000, 13_000, 30_000])
def test_a_bomb_costs_no_memory(path: Path, side: int):
    """81 to 900 million pixels in a few bytes: below, above and far above Pillow's own limits."""
    header = side.to_bytes(4) * 2 + b"\x01\x00\x00\x00\x00"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0"))
    )
    assert reason(path) == "has more than 50 million pixels; scale it down"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_animations_are_refused(path: Path, format: str):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("black", "red")]
    path.write_bytes(encoded(frames[0], format, save_all=True, append_images=frames[1:]))
    assert reason(path) == "is an animation; a photo is a single picture"


def test_of_a_multi_picture_jpeg_the_first_is_taken(path: Path):
    pictures = [Image.new("RGB", (20, 10), "blue"), Image.new("RGB", (20, 10), "red")]
    path.write_bytes(encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:]))
    assert open_image(path).getpixel((5, 5)) == (0, 0, 254)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(path: Path, orientation: int):
    upright = Image.new("RGB", (64, 32), "white")
    upright.paste("black", (0, 0, 16, 16))  # a dark upper left corner
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(back[orientation]) if orientation in back else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path.write_bytes(encoded(stored, "JPEG", exif=exif))
    opened = open_image(path)
    assert opened.size == (64, 32)
    assert max(opened.getpixel((8, 8))) < 30
    assert min(opened.getpixel((40, 24))) > 225


def test_cmyk_becomes_rgb(path: Path):
    path.write_bytes(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = open_image(path).getpixel((8, 8))
    assert red > 240
    assert max(green, blue) < 15


def test_sixteen_bit_grey_is_scaled_and_not_clipped(path: Path):
    levels = np.array([[0, 0x4000, 0x8000, 0xFFFF]], np.uint16)
    path.write_bytes(encoded(Image.fromarray(levels), "PNG"))
    assert np.asarray(open_image(path))[0, :, 0].tolist() == [0, 64, 128, 255]


def test_palettes_and_grey_become_rgb(path: Path):
    path.write_bytes(encoded(Image.new("RGB", (4, 4), (10, 200, 30)).quantize(4), "PNG"))
    assert open_image(path).getpixel((1, 1)) == (10, 200, 30)
    path.write_bytes(encoded(Image.new("L", (4, 4), 77), "PNG"))
    assert open_image(path).getpixel((1, 1)) == (77, 77, 77)


def test_transparent_parts_become_white(path: Path):
    for image in (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), Image.new("LA", (4, 4), (0, 0))):
        path.write_bytes(encoded(image, "PNG"))
        assert open_image(path).getpixel((1, 1)) == (255, 255, 255)
    path.write_bytes(encoded(Image.new("P", (4, 4), 0), "PNG", transparency=0))
    assert open_image(path).getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("rights", ["© OpenStreetMap contributors", "ö" * 40_000])
def test_a_saved_jpeg_says_whom_to_name(tmp_path: Path, rights: str):
    picture = noise()
    save_jpeg(picture, tmp_path / "a.jpg", rights)
    with Image.open(tmp_path / "a.jpg") as image:
        comment = image.info["comment"].decode()
        assert rights.startswith(comment)
        assert len(comment.encode()) == min(len(rights.encode()), 65_532)
        assert image.tobytes() == Image.open(io.BytesIO(jpeg(picture))).tobytes()
    assert open_image(tmp_path / "a.jpg").info == {}


def test_a_saved_jpeg_has_no_metadata(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    original = encoded(noise(), "JPEG", exif=exif, comment=b"SECRET-COMMENT", dpi=(300, 300))
    (tmp_path / "a.jpg").write_bytes(original)
    assert b"SECRET-CAMERA" in original
    for name, image in (("b.jpg", open_image(tmp_path / "a.jpg")), ("c.jpg", Image.open(tmp_path / "a.jpg"))):
        with image:
            save_jpeg(image, tmp_path / name)
        assert b"SECRET" not in (tmp_path / name).read_bytes()


def test_equal_pixels_give_equal_jpeg_bytes_with_full_colour(tmp_path: Path):
    stripes = Image.new("RGB", (64, 64), "red")
    for x in range(0, 64, 2):
        stripes.paste("blue", (x, 0, x + 1, 64))
    save_jpeg(stripes, tmp_path / "a.jpg")
    save_jpeg(stripes.copy(), tmp_path / "b.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    difference = np.abs(np.asarray(open_image(tmp_path / "a.jpg"), int) - np.asarray(stripes, int))
    assert difference.mean() < 10  # halved colour would mix the stripes to purple, 85 off


def test_nothing_is_left_behind_when_saving_fails(tmp_path: Path):
    with pytest.raises(AddressVLMError, match="cannot write"):
        save_jpeg(noise(), tmp_path / "no folder" / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_threads_may_open_at_once(tmp_path: Path):
    files = [tmp_path / f"{number}.png" for number in range(8)]
    for number, file in enumerate(files):
        noise(size=(40 + number, 30)).save(file)
    sizes: dict[Path, tuple[int, int]] = {}
    threads = [
        threading.Thread(target=lambda f=file: sizes.update({f: open_image(f).size})) for file in files
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sizes[file] for file in files] == [(40 + number, 30) for number in range(8)]


def test_damaged_bytes_give_a_picture_or_an_error_that_names_the_file_only(path: Path):
    """Four hundred files with a few wrong bytes or a lost end."""
    chance = random.Random(7)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    sound = [
        encoded(noise(), "JPEG", exif=exif),
        encoded(noise("CMYK"), "JPEG", progressive=True),
        encoded(noise("RGBA"), "PNG", exif=exif),
        encoded(noise("P"), "PNG"),
        encoded(noise(), "WEBP", exif=exif),
        encoded(noise("RGBA"), "WEBP", lossless=True),
    ]
    opened = 0
    errors = []
    for _ in range(400):
        data = bytearray(chance.choice(sound))
        for _ in range(chance.choice([1, 3, 10])):
            data[chance.randrange(min(len(data), 600))] = chance.choice([0, 255, chance.randrange(256)])
        path.write_bytes(data[: chance.choice([len(data), len(data), chance.randrange(len(data))])])
        try:
            opened += open_image(path).mode == "RGB"
        except AddressVLMError as error:
            errors.append(str(error).removeprefix(f"{path} "))
    assert opened > 50
    assert opened + len(errors) == 400
    assert len(set(errors)) > 2
    assert all(re.fullmatch(r"(is|has) [^<>]*", error) and "0x" not in error for error in errors)


def test_real_specimens_open(shared: Path):
    specimens = [file for file in (shared / "exif_samples").iterdir() if file.suffix.lower() == ".jpg"]
    sizes = {file.name: open_image(file).size for file in specimens}
    assert sizes["DSC00001.JPG"] == (3840, 2160)
    assert len(sizes) == 7


def test_opening_needs_no_geography():
    """A server that opens photos need not load maps."""
    code = "import sys, addressvlm.imagery.opening; sys.exit(bool({'pyproj', 'mapnik'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("turned", [1, 6])
def test_a_photo_that_is_needed_small_is_decoded_small(tmp_path: Path, turned: int) -> None:
    picture = Image.linear_gradient("L").convert("RGB").resize((801, 600))
    exif = Image.Exif()
    exif[0x0112] = turned
    picture.save(tmp_path / "a.jpg", exif=exif)
    whole, small = open_image(tmp_path / "a.jpg"), open_image(tmp_path / "a.jpg", needed_px=168)
    assert upright_size(tmp_path / "a.jpg") == whole.size == ((801, 600) if turned == 1 else (600, 801))
    assert sorted(small.size) == [150, 201]  # a quarter, rounded up; an eighth would be too small
    difference = np.abs(np.asarray(small, int) - np.asarray(whole.resize(small.size), int))
    assert difference.max() <= 4


def test_what_is_no_jpeg_is_decoded_whole(tmp_path: Path) -> None:
    Image.new("RGB", (801, 600)).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png", needed_px=100).size == (801, 600)
