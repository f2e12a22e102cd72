"""Pictures: their pixels come back, their rows are those that were given, their captions known."""
import os

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from minidalle.data import COLOURS, is_unseen
from minidalle.pairs import is_unseen_pair
from minidalle.train import seeded
from minidalle.workshop.pictures import (
    CELL,
    GAP,
    RED,
    Labels,
    put_row,
    put_text,
    read_mask,
    read_picture,
    read_square,
    show_captions,
    tile,
    to_pixels,
    upper_rows,
    wrap,
)
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
    w = 0.5                                            # the grey of the gaps
    expected = torch.tensor([
        [0.1, 0.1, w, w, 0.2, 0.2],
        [0.1, 0.1, w, w, 0.2, 0.2],
        [w, w, w, w, w, w],
        [w, w, w, w, w, w],
        [0.3, 0.3, w, w, 0.4, 0.4],
        [0.3, 0.3, w, w, 0.4, 0.4]])
    tiled = tile(torch.stack([a, b, c, d]), columns=2, scale=2)
    assert torch.equal(tiled, expected.expand(3, 6, 6))


def test_between_pictures_on_any_paper_of_the_world_the_gap_is_seen():
    """White beside white, black beside black, and each other paper: grey differs from all."""
    for paper in torch.tensor(list(COLOURS.values())) / 127.5 - 1:
        page = tile(paper[:, None, None].expand(2, 3, 4, 4), 2, scale=1)
        assert (page[:, :, 4] - page[:, :, 3]).abs().amax() > 0.2


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


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_a_white_picture_of_any_mode_is_read_as_white(tmp_path, mode):
    white = {"I;16": 65535}.get(mode)
    image = Image.new("RGB", (3, 2), "white").convert(mode) if white is None else \
        Image.new(mode, (3, 2), white)
    path = tmp_path / {"CMYK": "x.jpg"}.get(mode, "x.png")
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
    os.mkfifo(tmp_path / "pipe.png")                           # for which nothing is waited
    (tmp_path / "eps.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name in ("half", "text", "folder", "pipe", "eps"):
        with pytest.raises(ValueError, match=f"{name}.png is not a picture that can be read: it is "
                                             "(no file|damaged, too large, or none of PNG, JPEG)"):
            read_picture(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match="there is no file .*none.png"):
        read_picture(tmp_path / "none.png")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_picture_of_32_bits_is_refused_as_nothing_says_how_bright_it_is(tmp_path, mode):
    Image.new(mode, (4, 4), 200).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match="x.tif has 32 bits a pixel, .* save it with 8 or 16"):
        read_picture(tmp_path / "x.tif")


def test_whatever_pillow_says_of_a_damaged_file_it_is_one_sentence_of_ours(tmp_path, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    for error in (TypeError("an int"), IndexError(), OSError("bare words"), KeyError(7)):
        def fail(*args, error=error, **options):
            raise error
        monkeypatch.setattr(Image, "open", fail)
        with pytest.raises(ValueError, match="x.png is not a picture that can be read") as told:
            read_picture(tmp_path / "x.png")
        assert "bare words" not in str(told.value)


# ---- a square picture, and a mask -----------------------------------------------------------

@pytest.mark.parametrize("scale", [1, 2, 8])
def test_a_square_picture_is_read_as_its_pixels_at_any_scale(tmp_path, scale):
    Image.fromarray(PIXELS).resize((32 * scale, 32 * scale), Image.NEAREST).save(tmp_path / "x.png")
    image = read_square(tmp_path / "x.png", 32)
    assert image.shape == (3, 32, 32) and image.dtype == torch.float32
    assert np.array_equal(to_pixels(image), PIXELS) and -1 <= image.min() < image.max() <= 1


def test_a_pixel_of_a_square_picture_is_the_mean_of_those_it_stands_for_by_hand(tmp_path):
    """Two by two become one: means of 0 and 200, of 40 and 60."""
    fine = np.array([[0, 200, 40, 60]] * 2 + [[10, 10, 255, 255]] * 2, np.uint8)
    Image.fromarray(fine).save(tmp_path / "x.png")
    assert to_pixels(read_square(tmp_path / "x.png", 2))[..., 0].tolist() == [[100, 50], [10, 255]]


@pytest.mark.parametrize("size", [(20, 21), (21, 20)])
def test_a_picture_that_is_not_square_is_refused_with_its_size(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=f"x.png is {size[0]} x {size[1]} pixels; .* as wide as h"):
        read_square(tmp_path / "x.png", 32)


@pytest.mark.parametrize("half, by_hand", [
    ("left", [[1, 1, 0, 0]] * 4), ("right", [[0, 0, 1, 1]] * 4),
    ("top", [[1] * 4] * 2 + [[0] * 4] * 2), ("bottom", [[0] * 4] * 2 + [[1] * 4] * 2)])
def test_a_named_mask_is_that_half_by_hand(half, by_hand):
    mask = read_mask(half, 4)
    assert mask.dtype == torch.bool and mask.int().tolist() == by_hand


def test_a_mask_of_a_file_is_where_it_is_lighter_than_the_middle_grey(tmp_path):
    grey = np.array([[0, 127], [128, 255]], np.uint8)
    Image.fromarray(grey).resize((8, 8), Image.NEAREST).save(tmp_path / "x.png")
    assert read_mask(str(tmp_path / "x.png"), 2).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("shade, where", [(0, "nowhere"), (255, "all")])
def test_a_mask_of_one_shade_is_refused(tmp_path, shade, where):
    Image.new("L", (4, 4), shade).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=f"x.png is {where} white; give one"):
        read_mask(str(tmp_path / "x.png"), 4)


# ---- on a page ------------------------------------------------------------------------------

def test_text_stands_at_its_place_in_inches_by_hand():
    """A quarter from the left and half way up a page of 8 by 4."""
    page = Figure(figsize=(8, 4))
    put_text(page, 2.0, 2.0, "here", fontsize=9)
    [text] = page.texts
    assert text.get_position() == (0.25, 0.5) and text.get_text() == "here"
    assert text.get_va() == "center" and text.get_fontsize() == 9


@pytest.mark.parametrize("unseen", [True, False])
def test_a_row_holds_its_pictures_from_left_to_right_framed_in_red_where_unseen(unseen):
    """Three pictures of known pixels, each a cell to the right of the one before."""
    page, images = Figure(figsize=(8, 4)), torch.rand(3, 3, 5, 5, generator=seeded(0)) * 2 - 1
    put_row(page, 1.0, 0.5, images, unseen)
    assert len(page.axes) == 3
    for i, axes in enumerate(page.axes):
        left, bottom, wide, high = axes.get_position().bounds
        assert (8 * left, 4 * bottom) == pytest.approx((1.0 + i * CELL, 0.5))
        assert (8 * wide, 4 * high) == pytest.approx((CELL - GAP, CELL - GAP))
        assert np.array_equal(axes.images[0].get_array(), to_pixels(images[i]))
        assert axes.images[0].get_interpolation() == "nearest" and not len(axes.get_xticks())
        assert to_hex(axes.spines["left"].get_edgecolor()) == to_hex(RED if unseen else "0.6")


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


# ---- captions beside rows -------------------------------------------------------------------

@pytest.mark.parametrize("high", [32, 64, 256, 2048])
def test_labels_of_any_length_stay_in_their_rows_and_end_in_dots_where_cut(high):
    """A long caption, a word of a thousand letters and a short one, in rows with a gap of one: no
    ink in the gaps, some in every row, and the page itself as it was."""
    texts = ["red " * 100, "W" * 1000, "a red seven"]
    labels, page = Labels(texts, high, 1), Image.new("RGB", (5, 3 * high + 2), "red")
    picture = np.asarray(labels.beside(page))
    assert picture.shape[:2] == (3 * high + 2, labels.wide + 5)
    assert (picture[:, labels.wide:] == (255, 0, 0)).all()
    ink = (picture[:, :labels.wide] < 128).all(axis=-1)
    rows = [ink[i * (high + 1):i * (high + 1) + high] for i in range(3)]
    assert all(row.any() and not row[[0, -1]].any() for row in rows)
    assert not ink[high::high + 1].any() and not ink[:, [0, -1]].any()
    assert [text.endswith("...") for text in labels.texts] == [True, True, False]


@pytest.mark.parametrize("caption", ["3", "a", "on", "red", ""])
@pytest.mark.parametrize("lines", [None, 1, 2])
def test_a_caption_of_a_few_letters_stands_as_it_is(caption, lines):
    assert wrap(caption, lines=lines) == caption
