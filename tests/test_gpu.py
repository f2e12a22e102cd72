"""`make gpu` on machines that have none: the order, the limit, what is left when it is cut off; and
what the package does where there is a GPU, with one pretended."""
import importlib.util
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from minidalle import data, train
from minidalle.download import CIFAR10, MNIST
from minidalle.workshop import options
from minidalle.workshop.recipes import ROADS, STAGES

ROOT = Path(__file__).resolve().parent.parent


def tool(folder: str, name: str):
    spec = importlib.util.spec_from_file_location(f"{name}_tool", ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module                # dataclasses ask for it
    spec.loader.exec_module(module)
    return module


gpu = tool("bench", "gpu")


@pytest.fixture(autouse=True)
def files(monkeypatch, tmp_path) -> Path:
    """A data folder with the names of all files, and nothing in them."""
    folder = tmp_path / "data"
    monkeypatch.setenv("MINIDALLE_DATA", str(folder))
    for home, table in (("mnist", MNIST), ("cifar10", CIFAR10)):
        (folder / home).mkdir(parents=True)
        for file in (file for files in table.values() for file in files):
            (folder / home / file.name).touch()
    return folder


# ---- which parts, in which order ------------------------------------------------------------

def test_what_is_worth_most_comes_first():
    found = gpu.parts("gpu", "cuda", Path("models"))
    demos = [*(f"demo-mnist-{model}" for model in ROADS), f"demo-cifar10-{next(iter(ROADS))}"]
    found, first = found[len(demos):], found[:len(demos)]
    assert [part.name for part in first] == demos
    lessons = sorted(path.stem for path in (ROOT / "lessons").glob("[0-9]*.ipynb"))
    assert [part.name for part in found] == [*lessons, "bench", "profile"]
    assert [part.kind for part in found] == ["lesson"] * len(lessons) + ["bench", "profile"]


def test_the_command_of_every_part_is_one_that_its_program_understands(monkeypatch, tmp_path):
    """Read by the programs' own readers: budget and device arrive."""
    bench, lessons = tool("bench", "bench"), tool("tools", "lessons")
    asked = []
    monkeypatch.setattr(lessons, "run", lambda name, budget, seed: asked.append((name, budget))
                        or (None, {"metrics": {}}))
    for part in gpu.parts("smoke", "cpu", tmp_path):
        words = part.command[part.command.index("demo" if part.kind == "demo" else str(
            ROOT / {"lesson": "tools/lessons.py", "bench": "bench/bench.py",
                    "profile": "bench/gpu.py"}[part.kind])):]
        if part.kind == "demo":
            args = options.parser().parse_args(words)
            assert (args.data, args.budget, args.device) == (part.data, "smoke", "cpu")
            assert part.name == f"demo-{args.data}-{args.model}" and args.out in \
                part.picture.parents
        elif part.kind == "lesson":
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
            monkeypatch.setattr(sys, "argv", words)
            lessons.main()
            assert asked[-1] == (part.name, "smoke") and lessons.os.environ[
                "CUDA_VISIBLE_DEVICES"] == ""
        elif part.kind == "bench":
            assert bench.parse(words[1:]).device == "cpu" and bench.parse(words[1:]).repeats == 1
        else:
            args = gpu.parse(words[1:])
            assert args.inside and (args.budget, args.device) == ("smoke", "cpu")


def test_no_two_demos_write_the_same_picture_and_the_roads_of_a_world_share_their_models():
    """Or a demo that died would be taken for the one before it."""
    demos = [part for part in gpu.parts("gpu", "cuda", Path("models")) if part.kind == "demo"]
    assert len({part.picture for part in demos}) == len(demos)
    assert {(part.data, part.picture.parent) for part in demos} \
        == {("mnist", Path("models/mnist")), ("cifar10", Path("models/cifar10"))}


def test_only_takes_kinds_and_names_and_tells_what_is_neither():
    found = gpu.parts("smoke", "cpu", Path("."))
    assert [part.name for part in gpu.chosen(found, "bench,demo-mnist-dalle")] \
        == ["demo-mnist-dalle", "bench"]
    assert gpu.chosen(found, None) == found
    with pytest.raises(ValueError, match="there is no part 'demos'; see --list"):
        gpu.chosen(found, "demos")


# ---- what becomes of a part -----------------------------------------------------------------

def part(code: str, name: str = "p", kind: str = "lesson", **more):
    """A part that runs these lines of Python."""
    return gpu.Part(kind, name, [sys.executable, "-c", code], **more)


@pytest.mark.parametrize("code, expected", [
    ("print('noise'); print('{\"x\": 1}')", [{"x": 1}]),
    ("print('{\"x\": 1}'); raise SystemExit('out of memory')",
     [{"x": 1}, {"error": "out of memory", "code": 1}]),
    ("import os; os.kill(os.getpid(), 9)", [{"error": "it said nothing", "code": -9}]),
    ("pass", [{"error": "it ended well, and told nothing"}])])
def test_a_part_is_its_json_lines_and_one_that_dies_a_line_with_its_error(code, expected, tmp_path):
    lines = gpu.run(part(code), 60, tmp_path)
    assert [{name: value for name, value in line.items() if name != "wall_seconds"}
            for line in lines] == [{"part": "lesson", "name": "p", **one} for one in expected]
    assert all(line["wall_seconds"] >= 0 for line in lines)


def test_a_part_that_takes_too_long_ends_with_all_that_it_started_and_leaves_what_it_said(tmp_path):
    """Its own child would write a file after two seconds more."""
    child = f"import time; time.sleep(2); open({str(tmp_path / 'late')!r}, 'w')"
    code = (f"import subprocess, sys, time; print('{{\"x\": 1}}', flush=True); subprocess.Popen("
            f"[sys.executable, '-c', {child!r}]); time.sleep(60)")
    began = time.perf_counter()
    lines = gpu.run(part(code), 1.5, tmp_path)
    assert time.perf_counter() - began < 20
    assert lines[0]["x"] == 1 and lines[1]["error"] == "cut off after 2 s"
    time.sleep(2.5)
    assert not (tmp_path / "late").exists()


def test_a_demo_is_the_json_file_beside_its_picture(tmp_path):
    picture = tmp_path / "demo" / "demo.png"
    code = (f"from pathlib import Path; p = Path({str(picture)!r}); p.parent.mkdir(); "
            "p.with_suffix('.json').write_text('{\"fid\": 2.5, \"part\": \"x\"}')")
    line, = gpu.run(part(code, "demo-mnist-unclip", "demo", picture=picture), 60, tmp_path)
    assert line["fid"] == 2.5 and line["part"] == "demo"


@pytest.mark.parametrize("world", ["mnist", "cifar10"])
def test_a_world_that_is_not_there_is_skipped_in_a_line_and_nothing_is_started(
        world, files, tmp_path):
    started = tmp_path / "started"
    one = part(f"open({str(started)!r}, 'w')", data=world)
    assert gpu.at_hand(world)
    some = sorted((files / world).iterdir())[0]
    some.unlink()
    line, = gpu.run(one, 60, tmp_path)
    assert f"the files of {world} are not in {files}" in line["skipped"] and not started.exists()
    if world == "cifar10":                         # packed batches and the archive do as well
        some.with_name(f"{some.name}.xz").touch()
        assert gpu.at_hand(world)
        some.with_name(f"{some.name}.xz").unlink()
        (files / "cifar-10-binary.tar.gz").touch()
        assert gpu.at_hand(world)
    assert gpu.at_hand("drawn")


# ---- all parts ------------------------------------------------------------------------------

def test_each_line_is_in_the_file_before_the_next_part_begins_and_the_limit_holds_for_all(
        tmp_path, monkeypatch):
    """The second part reads the file itself; the third has no time to end, the fourth none."""
    out = tmp_path / "out"
    reads = (f"from pathlib import Path; import json; text = next(Path({str(out)!r}).glob("
             "'*.jsonl')).read_text(); print(json.dumps({'seen': text.splitlines()}))")
    four = [part("print('{\"x\": 1}')", "first"), part(reads, "second"),
            part("import time; time.sleep(60)", "third"), part("pass", "fourth")]
    monkeypatch.setattr(gpu, "parts", lambda *args: four)
    began = time.perf_counter()
    file = gpu.measure(gpu.parse(["--out", str(out), "--seconds", "6", "--device", "cpu",
                                  "--budget", "smoke"]), lambda text: None)
    assert time.perf_counter() - began < 40
    lines = [json.loads(text) for text in file.read_text().splitlines()]
    names = [None, "first", "second", "third", "fourth", None]
    assert [line.get("name") for line in lines] == names
    assert lines[0]["part"] == "start" and lines[0]["budget"] == "smoke" and lines[0]["machine"]
    assert [json.loads(text) for text in lines[2]["seen"]] == lines[:2]
    assert lines[3]["error"].startswith("cut off after") and lines[4]["skipped"]
    assert lines[5]["part"] == "end" and file.parent == out


def test_a_picture_is_kept_beside_the_lines(tmp_path, monkeypatch):
    def parts(budget, device, folder):
        code = f"open({str(folder / 'demo.png')!r}, 'w').write('a picture')"
        return [part(code, "demo-mnist-unclip", "demo", picture=folder / "demo.png")]
    monkeypatch.setattr(gpu, "parts", parts)
    file = gpu.measure(gpu.parse(["--out", str(tmp_path), "--device", "cpu"]), lambda text: None)
    assert (tmp_path / f"{file.stem}-demo-mnist-unclip.png").read_text() == "a picture"
    assert "told nothing" in file.read_text()


def test_what_is_wrong_on_the_command_line_is_one_sentence(capsys):
    for words in (["--only", "demos"], ["--device", "tpu"]):
        assert gpu.main(words) == 2
        error = capsys.readouterr().err
        assert error.startswith("gpu: ") and error.count("\n") == 1


# ---- the profile ----------------------------------------------------------------------------

def test_a_profile_names_the_operations_of_one_real_step(monkeypatch, quick):
    """Of the judge's: a convolution is there, nothing counted twice, the largest come first."""
    bench = tool("bench", "bench")
    monkeypatch.setattr(bench, "drawn_masks", data.drawn_masks)
    monkeypatch.setitem(sys.modules, "bench", bench)
    line = gpu.profile("judge", torch.device("cpu"), "smoke")
    assert line["part"] == "judge" and line["batch"] == 8 and len(line["largest"]) == gpu.TOP
    times = [ms for _, _, ms in line["largest"]]
    assert times == sorted(times, reverse=True) and sum(times) <= line["own_ms"] + 0.01
    assert line["own_ms"] <= 1.5 * line["step_ms"]
    assert any("conv" in name for name, _, _ in line["largest"])


def test_on_a_gpu_operations_are_ranked_by_their_time_there_in_any_torch():
    def event(key, cpu, **device):
        return SimpleNamespace(key=key, count=2, self_cpu_time_total=cpu, **device)
    for name in ("self_device_time_total", "self_cuda_time_total"):
        found = gpu.operations([event("a", 9000, **{name: 1000}), event("b", 1, **{name: 3000})],
                               on_gpu=True)
        assert found == {"calls": 4, "cpu_ms": 9.001, "own_ms": 4.0,
                         "largest": [["b", 2, 3.0], ["a", 2, 1.0]]}
    assert gpu.operations([event("a", 9000), event("b", 1)], on_gpu=False)["largest"][0][0] == "a"


# ---- from the file into the tables ----------------------------------------------------------

def test_cards_in_such_a_file_fill_the_gpu_column_and_leave_all_else_as_it_was(
        tmp_path, monkeypatch):
    lessons, tables = tool("tools", "lessons"), tool("tools", "tables")
    known = json.loads((ROOT / "lessons" / "expected.json").read_text())
    (tmp_path / "expected.json").write_text(json.dumps(known))
    monkeypatch.setattr(lessons, "LESSONS", tmp_path)
    card = {"part": "lesson", "name": "03_transformer", "lesson": "03_transformer", "seed": 0,
            "budget": "gpu", "seconds": 130, "machine": "a GPU", "metrics": {"loss": 0.5},
            "reference": {"chance": {}, "broken": {}}}
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in (
        {"part": "start"}, {**card, "seed": 1, "metrics": {"loss": 0.7}}, card,
        {**card, "lesson": "04_clip", "budget": "smoke"},
        {"part": "lesson", "name": "05_metrics", "error": "cut off"})))
    monkeypatch.setattr(sys, "argv", ["lessons.py", "results", "--from", str(file)])
    lessons.main()
    after = json.loads((tmp_path / "expected.json").read_text())
    entry = after["03_transformer"].pop("gpu")
    before = {name: {budget: one for budget, one in budgets.items()
                     if (name, budget) != ("03_transformer", "gpu")}
              for name, budgets in known.items()}
    assert after == before
    assert entry["metrics"] == {"loss": {"value": 0.5, "band": lessons.band([0.5, 0.7])}}
    assert (entry["seed"], entry["seeds"], entry["machine"]) == (0, [0, 1], "a GPU")
    assert tables.Known("03_transformer", "", {"gpu": entry}, []).running("gpu") == "2 min"


def test_a_file_without_cards_is_told(tmp_path, monkeypatch):
    lessons = tool("tools", "lessons")
    (tmp_path / "x.jsonl").write_text('{"part": "start"}\n')
    with pytest.raises(SystemExit, match="has no card of a lesson"):
        lessons.learn_from(tmp_path / "x.jsonl")


# ---- what only a GPU would show, pretended --------------------------------------------------

@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_with_two_gpus_each_can_be_named_the_first_is_the_default_and_a_third_is_told(two_gpus):
    assert train.choose_device("cuda:1") == torch.device("cuda:1")
    assert train.choose_device("cuda:0") == torch.device("cuda:0")
    assert train.choose_device() == train.choose_device("cuda") == torch.device("cuda")
    assert train.choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="'cuda:2' is not there; count from cuda:0 to cuda:1"):
        train.choose_device("cuda:2")


def test_where_there_is_a_gpu_its_budget_is_the_default_and_elsewhere_that_of_the_cpu(monkeypatch):
    monkeypatch.delenv("MINIDALLE_BUDGET", raising=False)
    assert train.choose_budget(None, torch.device("cuda:1")) == "gpu"
    assert train.choose_budget(None, torch.device("cpu")) == train.choose_budget() == "cpu"
    assert train.choose_budget("smoke", torch.device("cuda")) == "smoke"
    monkeypatch.setenv("MINIDALLE_BUDGET", "cpu")
    assert train.choose_budget(None, torch.device("cuda")) == "cpu"


@pytest.mark.parametrize("flags, halved", [
    (set(), False), ({"avx2", "avx512f", "avx512_fp16"}, False), ({"avx512_bf16"}, True),
    ({"avx2", "amx_bf16"}, True)])
def test_a_cpu_that_only_emulates_bf16_computes_in_float32(monkeypatch, flags, halved):
    """By the type of a product of matrices inside."""
    monkeypatch.setattr(train, "_cpu_flags", lambda: flags)
    with train.autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype \
            == (torch.bfloat16 if halved else torch.float32)


def test_a_gpu_without_bf16_gets_none(monkeypatch, two_gpus):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *args: (7, 5))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args, **options: False)
    assert isinstance(train.autocast(torch.device("cuda")), nullcontext)


def test_every_stage_has_a_profile_in_the_order_of_learning(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "profile", lambda stage, device, budget: {"part": stage})
    assert gpu.main(["--inside", "--device", "cpu", "--budget", "smoke"]) == 0
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [line["part"] for line in lines] == list(STAGES)
