"""The figure of what can be done with a picture: every row full, what was given framed and kept."""
import importlib.util
import shutil
from pathlib import Path

import torch
from PIL import Image

from minidalle.workshop.demo import draw_many
from minidalle.workshop.recipes import Workshop

SPEC = importlib.util.spec_from_file_location(
    "changes_tool", Path(__file__).resolve().parent.parent / "tools" / "changes.py")
changes = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(changes)


def workshop(smoke, folder: Path) -> Workshop:
    shutil.copytree(smoke.folder, folder)
    return Workshop("drawn", 0, "smoke", folder, "cpu", say=lambda line: None)


def test_each_row_has_seven_pictures_and_holds_what_was_given(smoke, tmp_path, quick):
    shop = workshop(smoke, tmp_path / "runs")
    varied, blended, edited, filled = changes.rows(shop)
    three, seven, nine = draw_many(shop, shop.painter("unclip"), [
        "a green three on white", "a red seven on yellow", "a blue nine on white"], 0)
    for label, images, given in (varied, blended, edited, filled):
        assert images.shape == (changes.COLUMNS, 3, 32, 32) and label and 0 in given
    assert varied[1][0].equal(three) and edited[1][0].equal(three) and filled[1][0].equal(nine)
    assert blended[1][0].equal(three) and blended[1][-1].equal(seven)
    above = torch.arange(32) < 16                      # the upper half is kept, to the pixel
    assert (filled[1][:, :, above] == nine[:, above]).all()


def test_the_figure_is_a_picture(smoke, tmp_path, quick):
    path = tmp_path / "changes.png"
    changes.figure(workshop(smoke, tmp_path / "runs"), path)
    with Image.open(path) as image:
        assert image.width > image.height > 300
