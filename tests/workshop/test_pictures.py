"""Pictures: their pixels come back, their rows are those that were given, their captions known."""
import numpy as np
import pytest
import torch
from PIL import Image

from minidalle.data import is_unseen
from minidalle.pairs import is_unseen_pair
from minidalle.train import seeded
from minidalle.workshop.pictures import read_picture, show_captions, tile, to_pixels, upper_rows
from minidalle.workshop.recipes import WORLDS

WORLD, PHOTOS = WORLDS["drawn"](), WORLDS["cifar10"]()


# ---- pixels ---------------------------------------------------------------------------------

def test_to_pixels_rounds_clamps_and_puts_channels_last_by_hand():
    image = torch.tensor([[[-1.0, 1.0]], [[-7.0, 7.0]], [[1 / 127.5 - 1 - 0.003, 0.0]]])
    pixels = to_pixels(image)                                  # (1, 2, 3)
    assert pixels.dtype == np.uint8 and pixels.tolist() == [[[0, 0, 1], [255, 255, 128]]]


def test_to_pixels_is_the_inverse_of_reading_a_picture():
    values = torch.arange(256, dtype=torch.float).view(1, 16, 16).expand(3, 16, 16)
    assert (to_pixels(values / 127.5 - 1)[..., 0].ravel() == np.arange(256)).all()


def test_tile_by_hand():
    """Three one-pixel pictures and a fourth, two a row, each pixel doubled, gaps of one pixel."""
    a, b, c, d = (torch.full((3, 1, 1), value) for value in (0.1, 0.2, 0.3, 0.4))
    w = 1.0
    expected = torch.tensor([
        [0.1, 0.1, w, w, 0.2, 0.2],
        [0.1, 0.1, w, w, 0.2, 0.2],
        [w, w, w, w, w, w],
        [w, w, w, w, w, w],
        [0.3, 0.3, w, w, 0.4, 0.4],
        [0.3, 0.3, w, w, 0.4, 0.4]])
    tiled = tile(torch.stack([a, b, c, d]), columns=2, scale=2)
    assert torch.equal(tiled, expected.expand(3, 6, 6))


def test_tile_of_one_picture_is_that_picture_enlarged():
    image = torch.rand(1, 3, 2, 2, generator=seeded(0))
    assert torch.equal(tile(image, 1, scale=3), torch.nn.functional.interpolate(
        image, scale_factor=3, mode="nearest")[0])


# ---- a picture to complete ------------------------------------------------------------------

PIXELS = torch.randint(256, (32, 32, 3), generator=seeded(0), dtype=torch.uint8).numpy()


@pytest.mark.parametrize("high, scale, rows", [
    (32, 1, 16), (32, 8, 16), (16, 8, 16), (16, 1, 16), (31, 1, 28), (7, 1, 4), (4, 3, 4)])
def test_the_rows_of_a_picture_of_known_pixels_are_those_pixels_at_any_scale(high, scale, rows):
    """Square: its upper half; flatter: all of it, down to a multiple of four."""
    image = Image.fromarray(PIXELS[:high]).resize((32 * scale, high * scale), Image.NEAREST)
    upper = upper_rows(image, 32, 4)
    assert upper.shape == (3, rows, 32) and np.array_equal(to_pixels(upper), PIXELS[:rows])


def test_a_pixel_of_the_rows_is_the_mean_of_those_it_stands_for():
    fine = torch.randint(256, (128, 256, 3), generator=seeded(1), dtype=torch.uint8)
    # Pillow rounds twice, along rows and along columns
    means = fine.double().unflatten(0, (16, 8)).unflatten(2, (32, 8)).mean(dim=(1, 3))
    assert np.abs(to_pixels(upper_rows(Image.fromarray(fine.numpy()), 32, 4)) - means.numpy()
                  ).max() <= 1


@pytest.mark.parametrize("size, rows", [((1, 1), 16), ((300, 1), 4), ((300, 299), 28),
                                        ((301, 301), 16), ((1000, 77), 4), ((33, 17), 16)])
def test_rows_are_a_multiple_of_the_step_at_least_one_and_never_the_whole_picture(size, rows):
    assert upper_rows(Image.new("RGB", size), 32, 4).shape == (3, rows, 32)


def test_a_picture_taller_than_wide_is_refused_with_its_size(tmp_path):
    Image.new("RGB", (20, 21)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="x.png is 20 x 21 pixels; .* as wide as high"):
        read_picture(tmp_path / "x.png")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I", "I;16"])
def test_a_white_picture_of_any_mode_is_read_as_white(tmp_path, mode):
    white = {"I": 65535, "I;16": 65535}.get(mode)
    image = Image.new("RGB", (3, 2), "white").convert(mode) if white is None else \
        Image.new(mode, (3, 2), white)
    path = tmp_path / {"CMYK": "x.jpg", "I": "x.tif"}.get(mode, "x.png")
    image.save(path)
    assert read_picture(path).mode == "RGB" and (np.asarray(read_picture(path)) == 255).all()


def test_what_is_transparent_lies_over_white_by_hand(tmp_path):
    Image.fromarray(np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [0, 0, 0, 51]]], np.uint8)).save(
        tmp_path / "x.png")
    pixels = np.asarray(read_picture(tmp_path / "x.png"))
    assert pixels.tolist() == [[[255, 255, 255], [255, 0, 0], [204, 204, 204]]]


def test_what_is_no_picture_is_told_by_name(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:1500])
    (tmp_path / "text.png").write_text("a red seven")
    (tmp_path / "folder.png").mkdir()
    for name in ("half", "text", "folder"):
        with pytest.raises(ValueError, match=f"{name}.png is not a picture that Pillow can read"):
            read_picture(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match="there is no file .*none.png"):
        read_picture(tmp_path / "none.png")


# ---- the captions of a figure ---------------------------------------------------------------

def test_show_captions_has_each_digit_once_and_marks_exactly_the_unseen_by_their_rule():
    captions, unseen = show_captions(WORLD)
    factors = torch.tensor([WORLD.grammar.parse(caption) for caption in captions])
    assert factors[:, 0].tolist() == list(range(10)) and (factors[:, 1] != factors[:, 2]).all()
    assert is_unseen(factors).tolist() == unseen and sum(unseen) == 5


def test_show_captions_of_pairs_has_each_left_digit_once_every_template_and_many_inks():
    world = WORLDS["pairs"]()
    captions, unseen = show_captions(world)
    rows = [world.grammar.parse(caption) for caption in captions]
    factors = torch.tensor(rows)
    assert factors[:, 0].tolist() == list(range(10))
    assert is_unseen_pair(factors).tolist() == unseen and sum(unseen) == 5
    said = [[world.grammar.caption(row, t) for t in range(5)].index(caption)
            for row, caption in zip(rows, captions, strict=True)]
    assert sorted(said) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert all(len(factors[:, i].unique()) >= 5 for i in range(5))


def test_show_captions_of_photographs_has_each_class_once_and_marks_none():
    captions, unseen = show_captions(PHOTOS)
    assert [PHOTOS.grammar.parse(caption) for caption in captions] \
        == [(label,) for label in range(10)] and not any(unseen)
