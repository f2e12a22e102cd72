"""The bench: it builds what the flags ask for, and counts as the textbook does."""
import importlib.util
from pathlib import Path

import pytest
import torch

from minidalle import data
from minidalle.dalle import Dalle, DalleConfig
from minidalle.transformer import Transformer, TransformerConfig

spec = importlib.util.spec_from_file_location(
    "bench", Path(__file__).parent.parent / "bench" / "bench.py")
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)


@pytest.fixture(autouse=True)
def glyphs_drawn_once(quick, monkeypatch):
    monkeypatch.setattr(bench, "drawn_masks", data.drawn_masks)


def line(part: str, *words: str) -> dict:
    """The line of one part, measured in this process, on as many threads as it has."""
    words = [*words, "--threads", str(torch.get_num_threads()), "--device", "cpu"]
    return bench.measure(bench.parse([*words, "--repeats", "1", "--inside", part]))


def test_dalle_is_built_as_the_flags_say_beside_its_textbook_count_and_a_ratio():
    got = line("dalle", *"--width 32 --depth 2 --heads 2 --codes 20 --grid 2 --samples 3".split(),
               "--batch", "5")
    asked = {"width": 32, "depth": 2, "heads": 2, "codes": 20, "grid": 2}
    assert {name: got["config"][name] for name in asked} == asked
    assert got["batch"] == 5 and got["samples"] == 3
    speed = 1024 ** 3 / got["matmul_seconds"]                  # multiply-adds a second
    assert got["textbook_seconds"] == pytest.approx(got["textbook_multiply_adds"] / speed)
    assert got["train_step_over_textbook"] == pytest.approx(
        got["train_step_seconds"] / got["textbook_seconds"])
    assert got["guided_over_plain"] == pytest.approx(
        got["guided_sample_seconds"] / got["sample_seconds"])


def test_the_textbook_count_by_hand():
    """T = 2, N = 4, D = 8, one block, 5 words and 3 codes, one picture: 3 x 6 places x what each
    takes: q, k, v, out and an MLP four times as wide; 6 scores and 6 messages; 10 logits."""
    config = DalleConfig(5, 2, 3, 2, width=8, depth=1, heads=1)
    place = (4 * 8 * 8 + 2 * 8 * 32) + (6 * 8 + 6 * 8) + 10 * 8
    assert bench.textbook(config, 1) == 3 * 6 * place
    assert bench.textbook(config, 7) == 7 * bench.textbook(config, 1)


def test_the_weights_in_the_textbook_count_are_those_of_the_model():
    """Each weight matrix of the blocks and heads is used once a place."""
    config = DalleConfig(50, 6, 30, 3, width=16, depth=3, heads=2)
    model, places = Dalle(config), 6 + 9
    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    assert bench.textbook(config, 1) == 3 * places * (weights + 3 * 2 * places * 16)


@pytest.mark.parametrize("part, uses", [("prior", ["sample"]), ("vae", ["encode", "decode"]),
                                        ("captioner", ["caption"]),
                                        ("latent", ["sample"]), ("road-latent", []),
                                        ("gan", ["sample"]), ("road-gan", []),
                                        ("textmodel", []), ("imagen", ["sample"]),
                                        ("superres", ["sample"]), ("road-imagen", []),
                                        ("flow", ["sample"]), ("student", ["sample"]),
                                        ("road-flow", [])])
def test_a_stage_is_measured_in_training_and_in_what_it_is_for_and_a_road_in_its_pictures(
        part, uses):
    got = line(part, *"--width 32 --depth 1 --heads 1 --samples 2 --batch 2".split())
    measured = ["sample"] if part.startswith("road") else ["batch", "train_step", *uses]
    assert [name for name in got if name.endswith("_seconds")] == \
        [*(f"{name}_seconds" for name in measured), "matmul_seconds"]


def test_the_discrete_vae_and_the_second_road_are_measured():
    dvae = line("dvae", *"--width 16 --depth 1 --codes 8 --samples 2 --batch 2".split())
    assert dvae["config"]["codes"] == 8
    assert min(dvae[f"{name}_seconds"] for name in ("train_step", "encode", "decode")) > 0
    road = line("road-dalle", *"--width 16 --depth 1 --heads 1 --codes 8 --samples 2".split())
    assert set(road["config"]) >= {"dvae", "dalle"} and road["sample_seconds"] > 0


def test_a_part_that_does_not_exist_is_told_with_those_that_do(capsys):
    with pytest.raises(SystemExit):
        bench.parse(["--only", "nothing"])
    assert "no part 'nothing'; choose from tokenizer" in capsys.readouterr().err


def test_the_count_of_a_step_is_that_of_a_linear_layer_by_hand():
    """(5, 3) @ (3, 7): 105 forward, and as many back for the weights; the batch has no gradient."""
    class Lone(torch.nn.Linear):
        def loss(self, batch, generator):
            return self(batch).sum()
    assert bench.counted(Lone(3, 7), torch.ones(5, 3), None) == 2 * 5 * 3 * 7


def test_the_count_of_a_transformer_is_the_textbook_s_attention_included():
    """There and twice back: 12 D^2 a place for the weights, T D for scores and as many for messages
    between all places."""
    class Lone(Transformer):
        def loss(self, batch, generator):
            return self(batch).sum()
    T, D, depth = 7, 16, 2
    model = Lone(TransformerConfig(width=D, depth=depth, heads=2))
    x = torch.randn(3, T, D, requires_grad=True)
    assert bench.counted(model, x, None) == 3 * 3 * T * depth * (12 * D * D + 2 * T * D)


def test_a_ladder_times_each_rung_on_top_of_those_before_it(monkeypatch):
    """Without the compiler, which takes half a minute."""
    monkeypatch.setattr(bench, "RUNGS", ("float32", "channels_last", "bf16", "fused", "graphs"))
    got = line("ladder-dalle", *"--width 32 --depth 1 --heads 1 --batch 2".split())
    assert [rung["name"] for rung in got["rungs"]] == ["float32", "channels_last", "bf16", "fused"]
    one, two = got["rungs"][:2]
    assert one["gain"] == 1 and two["gain"] == pytest.approx(one["seconds"] / two["seconds"])
    assert 0 < got["multiply_adds"] < 1e9 and all(0 < rung["mfu"] < 1 for rung in got["rungs"])
