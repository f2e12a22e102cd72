"""Grading: the right points for right and wrong notebooks, and nothing for those that cheat.

Children cost seconds, so a notebook here holds as many cases as do not disturb each other.
"""
import csv
import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from minidalle.course import evening, grade, sandbox
from minidalle.course.checks import Exercise, check, exercises, judge, judged
from minidalle.course.checks.messages import LIMIT, MOST, Line, packed, plain, rebuilt, unpacked
from minidalle.course.checks.reading import read_cell, read_cells
from minidalle.course.checks.running import Failure, Outcome, ask
from minidalle.course.commands import main
from minidalle.course.grade import Grade, graded, lesson_of, read_notebook
from minidalle.course.reports import harmless, report
from minidalle.course.sandbox import Limits

SHORT = Limits(total=60, cell=1, function=0.5, grace=1)
HEAD = "import math, os, sys, time\nimport torch\nfrom minidalle.course.checks import check"
RIGHT = {
    "softmax": """def softmax(x):
    e = (x - x.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)""",
    "attention": """def attention(q, k, v):
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v""",
    "causal_mask": """def causal_mask(new, all):
    return torch.ones(new, all, dtype=torch.bool).tril(all - new)""",
    "masked_attention": """def masked_attention(q, k, v, mask):
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v""",
    "split_heads": """def split_heads(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)""",
    "cached_step": """def cached_step(q, k, v, keys, values):
    keys, values = torch.cat([keys, k], 2), torch.cat([values, v], 2)
    mask = causal_mask(q.shape[2], keys.shape[2])
    return masked_attention(q, keys, values, mask), keys, values""",
    "test_it": """def test_it(f):
    q, k, v = torch.randn(3, 2, 2, 5, 4)
    whole = masked_attention(q, k, v, causal_mask(5, 5))
    seen, keys, values = f(*(x[:, :, 3:] for x in (q, k, v)), *(x[:, :, :3] for x in (k, v)))
    for got, want in ((seen, whole[:, :, 3:]), (keys, k), (values, v)):
        assert got.shape == want.shape and torch.allclose(got.float(), want, atol=1e-5)"""}


def notebook(path: Path, *cells: str, metadata: dict | None = None) -> Path:
    """A notebook file of these code cells, with a line of text before them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = new_notebook(cells=[new_markdown_cell("text"), *map(new_code_cell, cells)],
                        metadata=metadata or {})
    nbformat.write(page, path)
    return path


def checked(name: str) -> str:
    return f"check('transformer.{name}', {name})"


def states(done: Grade) -> dict[str, str]:
    """The state of each exercise, without the name of the file that it comes from."""
    return {name.partition(".")[2]: one.mistake or one.state for name, one in done.verdicts.items()}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


# ---- what comes of a notebook ---------------------------------------------------------------

@pytest.fixture(scope="module")
def perfect(tmp_path_factory) -> Path:
    cells = [cell for name, source in RIGHT.items() for cell in (source, checked(name))]
    return notebook(tmp_path_factory.mktemp("perfect") / "03_transformer.ipynb", HEAD, *cells)


def test_a_perfect_notebook_gets_all_points_and_is_told_so_in_a_line_an_exercise(
        perfect, tmp_path, capsys):
    before = sorted(perfect.parent.rglob("*"))
    table = tmp_path / "new" / "grades.csv"
    assert main(["grade", str(perfect), "--csv", str(table)]) == 0
    out, err = capsys.readouterr()
    first, *rest = out.splitlines()
    assert first == f"{perfect}: 15 of 15 points" and re.match(r"isolation: \w+[^\n]*\n\Z", err)
    assert rest[0] == "  1 of 1  transformer.softmax           passed" and len(rest) == 7
    assert all(line.endswith(" passed") for line in rest)
    row, = csv.DictReader(table.open())
    assert (row["lesson"], row["points"], row["total"], row["note"]) == (
        "03_transformer", "15", "15", "")
    assert [row[f"transformer.{name}"] for name in RIGHT] == 7 * ["passed"]
    assert float(row["seconds"]) > 0
    assert sorted(perfect.parent.rglob("*")) == before         # and nothing is left lying about


def test_each_kind_of_failure_is_told_and_disturbs_no_other(tmp_path):
    """One notebook of many troubles; behind each of them a right answer still passes."""
    done = graded(notebook(
        tmp_path / "03_transformer_anna.ipynb", HEAD, "raise ValueError('before the exercises')",
        "def softmax(x):\n    return x.softmax(0)", checked("softmax"),
        "def attention(q, k, v):\n    q /= math.sqrt(q.shape[-1])\n"
        "    return (q @ k.mT).softmax(-1) @ v",
        "print('transformer.attention: passed')", "while True: pass", "exit()", "sys.exit(0)",
        "from minidalle.transformer import causal_mask", checked("causal_mask"),
        f"{RIGHT['masked_attention']}\n1 / 0", RIGHT["split_heads"],
        "def split_heads(x, heads):\n    while True: pass", "%matplotlib inline\n!true",
        "def cached_step(q, k, v, keys, values):\n    raise NotImplementedError"), limits=SHORT)
    assert states(done) == {
        "softmax": "sums to 1 over the columns", "attention": "mutates",
        "causal_mask": "undefined", "masked_attention": "broken", "split_heads": "timeout",
        "cached_step": "unwritten", "test_it": "undefined"}
    assert done.total == 0 and done.out_of == 15 and not done.note
    said = report(done, verbose=True)
    assert "0 of 1  transformer.softmax           sums to 1 over the columns\n" in said
    assert "Your columns sum to 1, and the rows should." in said
    assert "not defined: no cell defines causal_mask\n" in said
    assert "code cell 12 stopped with ZeroDivisionError: division by zero\n" in said
    assert "not written yet\n" in said and "line 2, in split_heads\n" in said
    assert "Your columns" not in report(done)


def test_a_helper_that_is_not_written_is_not_blamed_on_the_function_that_calls_it(tmp_path):
    done = graded(notebook(
        tmp_path / "03_transformer.ipynb", HEAD, RIGHT["masked_attention"],
        "def causal_mask(new, all):\n    raise NotImplementedError", RIGHT["cached_step"]))
    assert done.verdicts["transformer.causal_mask"].state == "unwritten"
    assert states(done)["cached_step"] == "calls causal_mask, which is not written yet"
    assert "  0 of 3  transformer.cached_step       calls causal_mask, which is" in report(done)


def test_right_numbers_through_which_nothing_can_be_learnt_are_worth_no_point(tmp_path):
    done = graded(notebook(
        tmp_path / "04_clip.ipynb", HEAD, "def unit(x):\n    return x / x.norm(dim=1)[:, None]",
        "def logits(images, texts, log_scale):\n"
        "    return math.exp(log_scale) * unit(images) @ unit(texts).T",
        "torch.set_grad_enabled(False)",
        "def loss_with_repeats(logits, same):\n    target = same / same.sum(1)\n"
        "    loss = torch.nn.functional.cross_entropy\n"
        "    return (loss(logits, target) + loss(logits.T, target)) / 2"))
    assert states(done) == {
        "unit": "passed", "logits": "detached", "contrastive_loss": "undefined",
        "repeats": "undefined", "loss_with_repeats": "passed", "zero_shot": "undefined",
        "test_it": "undefined"}
    said = report(done, verbose=True)
    assert "0 of 2  clip.logits             lets no gradient through\n" in said
    assert "but no gradient reaches log_scale." in said and done.total == 4


FORGED = """
import json
from minidalle.course import checks
from minidalle.course.checks import answers, messages, running
for module in (checks, running):
    for name in ("judge", "judged", "compared", "alike"):
        setattr(module, name, lambda *_: checks.Verdict("a", "passed", None, "a"))
answers.difference = checks.difference = lambda *_: None
torch.allclose = torch.isclose = torch.equal = lambda *_, **__: torch.tensor(True)
torch.Tensor.__eq__ = lambda *_: True
check = lambda *_: print("passed")
print("03_transformer.ipynb: 15 of 15 points\\n  1 of 1  transformer.softmax  passed")
forged = {"id": "ready", "error": None, "reply": ["", "", [], 5 * [[True, {"tuple": []}, None]]]}
for number in range(3, 64):
    try:
        os.write(number, b"passed\\n\\xff\\x00[[[\\n" + json.dumps(forged).encode() + b"\\n{")
    except OSError:
        pass
"""


def test_forged_reports_patched_checks_and_garbage_in_every_socket_change_no_verdict(tmp_path):
    path = notebook(tmp_path / "03_transformer.ipynb", HEAD, FORGED, RIGHT["softmax"],
                    "def attention(q, k, v):\n    return v", "check('transformer.attention', 0)",
                    "class Equal:\n    def __eq__(self, other):\n        return True",
                    "def causal_mask(new, all):\n    return Equal()",
                    "def split_heads(x, heads):\n    print('passed')\n    return x",
                    "steps = 0\nos.fork()", *8 * ["steps += 1"],
                    "if os.fork() == 0:\n    time.sleep(600)",
                    "import pathlib\nfor file in pathlib.Path().iterdir():\n    file.unlink()",
                    "print(10 ** 7 * 'a')",
                    "from minidalle.transformer import attention, split_heads",
                    f"{RIGHT['masked_attention']}\nassert steps == 8")
    done = graded(path, limits=Limits(cell=10, function=0.5, grace=1))
    assert path.exists() and not done.note             # it worked, and deleted, in a copy
    assert states(done) == {
        "softmax": "passed", "attention": "wrong", "causal_mask": "type",
        "masked_attention": "passed", "split_heads": "shape", "cached_step": "undefined",
        "test_it": "undefined"}
    assert done.total == 3


def alive(mark: str) -> bool:
    """Whether a process still runs that has this word on its command line."""
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    return any(mark in line and "sleep" in line for line in found.splitlines())


ROOM, FENCE = (pytest.param(way, marks=pytest.mark.skipif(
    not sandbox.works(way), reason="this system has none")) for way in ("unshare", "landlock"))
OUTSIDE = """
import signal, subprocess
for name in {names!r}:
    try:
        open(name, "w").write("harm")
    except OSError:
        pass
subprocess.Popen(["sleep", "98765.6789"], start_new_session=True)
for number in {pids}:
    try:
        os.kill(number, signal.SIGSTOP)
    except OSError:
        pass
try:
    import socket
    socket.create_connection(("127.0.0.1", {port}), 2).sendall(b"harm")
except OSError:
    pass
"""


@pytest.mark.parametrize("isolate", ["none", ROOM])
def test_a_process_that_hides_in_a_session_of_its_own_is_ended_with_the_notebook(
        tmp_path, isolate):
    done = graded(notebook(tmp_path / "03_transformer.ipynb", HEAD, RIGHT["softmax"],
                           "import subprocess\nfor i in range(3):\n    subprocess.Popen("
                           "['sleep', '98765.1234'], start_new_session=True)"), isolate=isolate)
    assert done.total == 1 and not alive("98765.1234")


@pytest.mark.parametrize("isolate", [ROOM, FENCE])
def test_in_a_room_or_behind_a_fence_nothing_outside_is_written_stopped_or_called(
        tmp_path, isolate):
    """Files, the grader's own process, and a server that listens."""
    victim = tmp_path / "other.ipynb"
    victim.write_text("honest")
    with socket.create_server(("127.0.0.1", 0)) as server:
        harm = OUTSIDE.format(names=[str(victim), grade.__file__ + ".new"],
                              pids=[os.getpid()], port=server.getsockname()[1])
        done = graded(notebook(tmp_path / "03_transformer.ipynb", HEAD, harm, RIGHT["softmax"]),
                      isolate=isolate)
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert done.total == 1 and victim.read_text() == "honest" and not alive("98765.6789")
    assert not Path(grade.__file__ + ".new").exists()


@pytest.mark.parametrize("isolate", [ROOM, FENCE])
def test_neither_the_user_s_home_nor_the_other_submissions_nor_the_solutions_can_be_read(
        tmp_path, isolate):
    """Behind a fence one may know that they are there, and no more. In a room the solutions are
    hidden where the repository lies in the user's home."""
    other = notebook(tmp_path / "b" / "03_transformer.ipynb", HEAD, RIGHT["softmax"])
    assert other.is_file()
    private = [str(other), str(Path.home() / ".bashrc")]
    private += [str(sandbox.ROOT / "lessons/03_transformer.ipynb")] if isolate == "landlock" else []
    peek = (f"for name in {private!r}:\n    try:\n        open(name).read(1)\n    except OSError:"
            "\n        continue\n    raise ValueError(name)\n")
    done = graded(notebook(tmp_path / "a" / "03_transformer.ipynb", HEAD, peek + RIGHT["softmax"]),
                  isolate=isolate)
    assert states(done)["softmax"] == "passed", report(done)


@pytest.mark.parametrize("isolate", [ROOM])
def test_what_has_been_given_away_in_a_room_is_not_had_again(tmp_path, isolate):
    """The rights of this process, and those of a room within the room, by the system's own word."""
    victim = tmp_path / "other"
    again = "mount -o remount,rw /; mount -o remount,bind,rw /"
    ways = [[], ["unshare", "-U", "-r", "-m"], ["unshare", "-m"]]
    cell = "\n".join([HEAD, "import subprocess", *(
        f"subprocess.run({[*way, 'sh', '-c', f'{again}; echo harm > {victim}']})"
        for way in ways)])
    done = graded(notebook(tmp_path / "03_transformer.ipynb", cell, RIGHT["softmax"]),
                  isolate=isolate)
    assert done.total == 1 and not victim.exists()


def test_submissions_in_the_repository_itself_are_hidden_and_the_package_is_not():
    kept = sandbox.room("/scratch")["kept"]
    assert sandbox.fit_to_hide(sandbox.ROOT / "lessons", set(kept))        # any folder of it
    assert not sandbox.fit_to_hide(sandbox.PACKAGE / "course", set(kept))
    assert str(sandbox.ROOT) not in kept and str(sandbox.PACKAGE) in kept


def test_the_first_line_names_each_layer_that_is_used_and_each_that_is_not():
    for way in sandbox.ALL:
        have, _, lack = sandbox.described(way).partition("; not had: ")
        assert have.startswith(f"{way}: its own process group, limits on memory")
        for name, ways in sandbox.LAYERS.items():
            assert (name in have, name in lack) == (way in ways, way not in ways)


def test_where_no_room_can_be_built_auto_goes_without_and_a_named_one_is_refused(monkeypatch):
    monkeypatch.setattr(sandbox, "works", lambda isolate: False)
    sandbox.isolation.cache_clear()
    assert sandbox.isolation("auto") == sandbox.isolation("none") == "none"
    with pytest.raises(OSError, match="--isolate is unshare, and unshare cannot be used here"):
        sandbox.isolation("unshare")
    sandbox.isolation.cache_clear()


def test_the_grader_can_be_imported_where_no_process_can_be_limited():
    """As on Windows, where copies for students are made all the same."""
    code = "import sys; sys.modules['resource'] = None; import minidalle.course.grade"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_package_that_was_rewritten_stops_the_grading(tmp_path, monkeypatch):
    """The files of a package that is not ours, so that nothing is harmed."""
    (tmp_path / "checks.py").write_text("judge = 1")
    monkeypatch.setattr(grade, "PACKAGE", tmp_path)
    monkeypatch.setattr(grade, "AT_START", grade.package_digest())
    grade.check_package()
    harm = f"open({str(tmp_path / 'checks.py')!r}, 'w').write('judge = 2')"
    work = notebook(tmp_path / "03_transformer.ipynb", harm, RIGHT["softmax"])
    with pytest.raises(OSError, match="have changed since the grading began"):
        graded(work)


def test_all_files_are_read_before_the_first_runs_so_none_can_change_another(tmp_path, capsys):
    other = notebook(tmp_path / "b" / "03_transformer.ipynb", HEAD, RIGHT["softmax"])
    thief = notebook(tmp_path / "a" / "03_transformer.ipynb", HEAD,
                     f"open({str(other)!r}, 'w').write('')", "def softmax(x): pass")
    assert main(["grade", "--isolate", "none", str(thief), str(other)]) == 0
    assert not other.read_text() and f"{other}: 1 of 15 points" in capsys.readouterr().out


ORACLE = """
import gc
from minidalle.course.checks import running
right = {"softmax": lambda x: x.softmax(-1)}
def behind(old):
    return lambda f, *rest: old(right.get(getattr(f, "__name__", ""), f), *rest)
for frame in [one for one in gc.get_objects() if isinstance(one, dict) and "gradients_of" in one]:
    for name in ("ask", "gradients_of"):
        if name in frame and callable(frame[name]):
            frame[name] = behind(frame[name])
"""


def test_a_wrong_function_with_the_right_one_put_behind_it_passes_in_no_second_process(tmp_path):
    done = graded(notebook(tmp_path / "03_transformer.ipynb", HEAD, ORACLE,
                           "def softmax(x):\n    return x", "scale = 2 * torch.ones(1).item()",
                           "def attention(q, k, v):\n    scores = q @ k.mT / q.shape[-1] ** "
                           "(scale - 1.5)\n    return scores.softmax(-1) @ v",
                           "from minidalle.transformer import attention"))
    assert states(done)["softmax"] == "alone" and states(done)["attention"] == "passed"
    assert "passes only with the rest of the notebook" in report(done)
    assert "read this by eye: code cell 2 has gc, minidalle.course.checks" in report(done)


def test_the_child_has_limits_and_learns_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    ask = ("import resource as r\nassert 'SECRET_TOKEN' not in os.environ\n"
           "assert r.getrlimit(r.RLIMIT_FSIZE)[0] == 2 ** 28\nassert r.getrlimit(r.RLIMIT_CORE)[0] "
           "== 0\nassert os.environ['HOME'] != os.path.expanduser('~root')\n"
           "assert sorted(os.listdir()) == ['03_transformer.ipynb']\n")
    done = graded(notebook(tmp_path / "03_transformer.ipynb", HEAD, ask + RIGHT["softmax"]))
    assert states(done)["softmax"] == "passed", report(done)


DEAF = """while True:
    try:
        while True: time.sleep(0.01)
    except BaseException:
        pass"""


@pytest.mark.parametrize("killer, why, isolate", [
    ("os._exit(0)", "its process ended", "none"),
    pytest.param("os._exit(0)", "its process ended", *ROOM.values, marks=ROOM.marks),
    ("os.fork() or time.sleep(60)\nos._exit(0)", "its process ended", "none"),
    (f"import subprocess\nsubprocess.Popen(['sleep', '98765.4321'])\n{DEAF}",
     "it could not be interrupted", "none")], ids=["exit", "room", "fork", "loop"])
def test_what_was_judged_before_the_notebook_was_stopped_stands_and_the_rest_is_not_reached(
        tmp_path, killer, why, isolate):
    start = time.monotonic()
    done = graded(notebook(tmp_path / "03_transformer.ipynb", HEAD, RIGHT["softmax"], killer,
                           RIGHT["attention"]), limits=SHORT, isolate=isolate)
    assert {name: states(done)[name] for name in ("softmax", "attention", "causal_mask")} == {
        "softmax": "passed", "attention": "unreached", "causal_mask": "undefined"}
    assert done.note == f"the notebook was stopped in code cell 3: {why}"
    assert "not reached: the notebook was stopped in code cell 3\n" in report(done)
    assert time.monotonic() - start < 40 and not alive("98765.4321")


@pytest.mark.parametrize("body, state, total", [
    ("os.kill(os.getpid(), 9)", "crashed", 60), (DEAF, "timeout", 0.3)], ids=["kill", "loop"])
def test_a_function_that_ends_the_notebook_is_the_one_that_is_told(tmp_path, body, state, total):
    body = "\n".join(f"    {line}" for line in body.splitlines())
    done = graded(notebook(tmp_path / "03_transformer.ipynb", "import os, time",
                           f"def softmax(x):\n{body}", RIGHT["attention"]),
                  limits=Limits(total, cell=1, function=0.5, grace=1))
    assert (states(done)["softmax"], states(done)["attention"]) == (state, "unreached")
    assert "stopped in code cell 2" in done.note


def test_the_last_definition_counts_and_a_failed_one_does_not_fall_back(tmp_path, monkeypatch):
    """With a process that only says what it is asked: which cells lead to a question, and when."""
    asked = []

    class Talk:
        def run(self, source):
            asked.append("run")
            return "NameError: x" if "broken" in source else None

        def judge(self, exercise):
            asked.append(exercise.name)
            return judge(exercise.name, exercise.function)

    tasks = {one.name.partition(".")[2]: one for one in exercises() if "transf" in one.name}
    cells = [RIGHT["softmax"], "pass", f"broken\n{RIGHT['softmax']}", RIGHT["split_heads"]]
    verdicts = grade.nothing("03_transformer")
    assert grade.run_cells(Talk(), cells, [*map(read_cell, cells)], tasks, verdicts) == ""
    assert asked == ["run", "transformer.softmax", "run", "run", "run", "transformer.split_heads"]
    assert verdicts["transformer.softmax"].state == "broken"
    assert verdicts["transformer.split_heads"].passed


def test_without_an_exercise_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.setattr(grade, "Apart", None)
    done = graded(notebook(tmp_path / "04_clip.ipynb", "os._exit(1)"))
    assert set(states(done).values()) == {"undefined"} and done.total == 0 < done.out_of


@pytest.mark.parametrize("source, made, bound", [
    ("def f(x):\n    def g(): pass", {"f"}, ()), ("f = lambda x: x", (), {"f"}),
    ("from a import f", (), ()), ("class A:\n    def f(self): pass", {"A"}, ()),
    ("%matplotlib inline\n!ls\ndef f(x): pass", {"f"}, ()),
    ("%%time\ndef f(x): pass", {"f"}, ()), ("%%writefile a.py\ndef f(x): pass", (), ()),
    ("def f(x):\n  return (", {"f"}, ()), ("'def f(x)'", (), ()),
    ("text = '''\ndef f(x): pass\n'''", (), {"text"}), ("f?", (), ()),
    ("(" * 5000, (), ()), ("\0", (), ()), ("@cache\ndef f(x): pass\nawait f()", {"f"}, ()),
    ("if a:\n    def f(x): pass\nelse:\n    f, g = a", {"f"}, {"g"}),
    ("try:\n    def f(x): pass\nexcept E:\n    pass\nwith a as b:\n    f: C = 1", {"f"}, {"b"}),
    ("[f for f in a]\n(g := 3)", (), {"g"})])
def test_what_a_cell_binds_at_its_top_level_counts_unless_it_is_imported(source, made, bound):
    found = read_cell(source)
    assert (set(found["made"]), set(found["bound"])) == (set(made), set(bound))


FORMS = {
    "if": "if True:\n    def softmax(x):\n        return x.softmax(-1)",
    "try": "try:\n    def softmax(x):\n        return x.softmax(-1)\nexcept ValueError:\n    pass",
    "with": "with torch.enable_grad():\n    def softmax(x):\n        return x.softmax(-1)",
    "lambda": "softmax = lambda x: x.softmax(-1)",
    "partial": "from functools import partial\nsoftmax = partial(torch.softmax, dim=-1)",
    "alias": "def mine(x):\n    return x.softmax(-1)\nsoftmax = mine",
    "object": "class Mine:\n    def __call__(self, x):\n        return x.softmax(-1)\n"
              "softmax = Mine()",
    "class": "class softmax:\n    def __new__(cls, x):\n        return x.softmax(-1)",
    "result": "def softmax(x):\n    return x.softmax(-1)\nprint('cell')",
    "package's": "import minidalle.transformer as t\nsoftmax = t.MultiHeadAttention"}


@pytest.mark.parametrize("form", FORMS)
def test_grade_and_check_give_the_same_verdict_on_every_form_of_a_function(tmp_path, capsys, form):
    """The oracle of the one is the other: check in this process, the grader in its own."""
    space = {"torch": torch, "__name__": "__main__"}
    exec(FORMS[form], space)
    check("transformer.softmax", space["softmax"])
    passed = ": passed" in capsys.readouterr().out
    later = "softmax = softmax(torch.ones(2, 2))" if form == "result" else "pass"
    done = graded(notebook(tmp_path / "03_transformer.ipynb", HEAD, FORMS[form], later))
    assert done.verdicts["transformer.softmax"].passed is passed is (form != "package's")
    assert passed or states(done)["softmax"] == "imported"


def test_a_name_that_is_nearly_right_is_told_and_a_cell_of_wrong_syntax_is_named(tmp_path):
    done = graded(notebook(tmp_path / "03_transformer.ipynb", "def causl_mask(new, all): pass",
                           "def softmax(x):\n    return (", "import gc\nattention = None"))
    said = report(done)
    assert "not defined: no cell defines causal_mask; is causl_mask meant for it?\n" in said
    assert "code cell 2 stopped with SyntaxError" in said
    assert said.endswith("read this by eye: code cell 3 has gc")


@pytest.mark.parametrize("source, words", [
    ("import sys\nsys._getframe().f_back.f_globals", {"_getframe", "f_back", "f_globals"}),
    ("import gc, inspect as i", {"gc", "inspect"}), ("open('/proc/1/mem')", {"/proc"}),
    ("from ctypes import CDLL", {"ctypes"}), ("f.__closure__[0].cell_contents",
                                              {"__closure__", "cell_contents"}),
    ("from minidalle.course.checks import find", {"minidalle.course.checks"}),
    ("from minidalle.course.checks import check\nfrom minidalle.course import Lesson", set()),
    ("import importlib.util, math, torch\nmodel.eval()\nmodel.modules()", set()),
    ("sys.modules['a']", {"modules"}), ("eval('1')", {"eval"})])
def test_what_touches_frames_collectors_or_the_checks_is_marked_for_reading(source, words):
    assert set(read_cell(source)["marks"]) == words


def test_a_function_that_uses_the_package_s_own_is_marked_and_a_constant_is_not():
    found = read_cells(["from minidalle.transformer import attention as a\nimport minidalle.clip",
                        "from minidalle.data import COLOURS\ndef f(x):\n    return a(COLOURS)",
                        "g = lambda x: minidalle.clip.unit(x)\ndef h(x): return x"], [*"fgh"])
    assert found["borrowed"] == {"f": ["minidalle.transformer.attention"], "g": ["minidalle.clip"]}


def test_reading_is_done_in_the_child_and_ends_in_time(tmp_path):
    """IPython's own way with magics takes minutes for these lines."""
    magics = "\n".join(["!ls"] * 300 + ["x = 1"] * 2000)
    start = time.monotonic()
    done = graded(notebook(tmp_path / "03_transformer.ipynb", magics, "def softmax(x): pass"),
                  limits=SHORT)
    assert done.note == ("the notebook was stopped before its first cell: its code could not be "
                         "read in 1 seconds")
    assert done.total == 0 and time.monotonic() - start < 20


# ---- what is no notebook, and which lesson it is --------------------------------------------

@pytest.mark.parametrize("text, words", [
    (None, "there is no such file"), (b"", "is empty"), (b"{", "is no JSON"),
    (11 * 2 ** 20 * b" ", "it has 11 MB, and 10 are the most: clear its outputs"),
    (b"\xff\xfe\x00", "is not in UTF-8: open it in Jupyter and save it"),
    (b"[" * 10 ** 6, "is no JSON"), (b"[]", "JSON, but not"),
    (b"3", "JSON, but not"), (b'{"nbformat": 4}', "JSON, but not"),
    (b'{"nbformat": 3, "worksheets": []}', "format 3, and 4 is needed"),
    (b'{"nbformat": 4, "cells": [3]}', "JSON, but not"),
    (b'{"nbformat": 4, "cells": [{"source": [3]}]}', "JSON, but not"),
    (b'{"nbformat": 4, "cells": {}}', "JSON, but not"),
    (b'{"nbformat": 4, "cells": [], "metadata": 3}', "which lesson it is cannot be told")])
def test_what_is_no_notebook_gets_no_points_and_a_reason(tmp_path, text, words):
    path = tmp_path / "work.ipynb"
    if text is not None:
        path.write_bytes(text)
    done = graded(path)
    assert words in done.note and done.lesson == "" and (done.total, done.out_of) == (0, 0)
    assert re.fullmatch(rf"{path}: 0 points, [^\n]+", report(done))


def test_a_notebook_of_another_course_is_told_as_what_it_seems_to_be(tmp_path):
    done = graded(notebook(tmp_path / "03_transformer.ipynb", "import numpy"))
    assert done.note == ("it has none of the functions of 03_transformer: is it that lesson's "
                         "notebook?") and done.total == 0
    assert not graded(notebook(tmp_path / "03_transformer.ipynb", "def softmax(x): pass")).note


def test_a_broken_file_of_a_known_lesson_is_worth_0_of_its_points(tmp_path):
    path = tmp_path / "03_transformer.ipynb"
    path.write_bytes(b"{")
    done = graded(path)
    assert (done.ran, done.lesson, done.total, done.out_of) == (False, "03_transformer", 0, 15)
    assert report(done) == (f"{path}: 0 of 15 points, it is not a notebook: the file is no JSON")


def test_a_byte_order_mark_in_front_does_no_harm(tmp_path):
    path = notebook(tmp_path / "04_clip.ipynb")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert graded(path).ran


def test_the_name_of_the_file_wins_over_the_metadata_and_the_mismatch_is_said(tmp_path, capsys):
    path = notebook(tmp_path / "03_anna.ipynb", metadata={"minidalle": {"lesson": "04_clip"}})
    assert main(["grade", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"{path}: 0 of 15 points\n" in said
    assert "graded as 03_transformer, and the notebook says that it is 04_clip\n" in said
    assert main(["grade", str(path), "--lesson", "04"]) == 0
    assert f"of {worth('04_clip')} points" in capsys.readouterr().out
    assert main(["grade", str(path), "--lesson", "99"]) == 2
    assert "--lesson is 99; choose from 00_map, 01_data" in capsys.readouterr().err


def test_files_that_are_none_do_not_stop_the_others_and_the_exit_code_says_so(tmp_path, capsys):
    empty = notebook(tmp_path / "05_metrics.ipynb")
    table = tmp_path / "grades.csv"
    table.write_text("old")
    (tmp_path / "none").mkdir()
    assert main(["grade", str(tmp_path / "none"), str(empty), str(tmp_path / "=1+1.ipynb"),
                 str(notebook(tmp_path / "04_clip.ipynb")), "--csv", str(table)]) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("  ")]
    assert sorted(lines) == sorted([
                     f"{tmp_path}/none: 0 points, it is a folder, or another thing that is no file",
                     f"{empty}: 0 of {worth('05_metrics')} points",
                     f"{tmp_path}/=1+1.ipynb: 0 points, there is no such file",
                     f"{tmp_path}/04_clip.ipynb: 0 of {worth('04_clip')} points"])
    header, *rows = csv.reader(table.open())
    lessons = ("04_clip", "05_metrics")
    names = [one.name for one in exercises() if one.lesson in lessons]
    assert header == ["student", "lesson", "points", "total", *names,
                      *(f"{name} points" for name in names), "messages", "seconds", "by eye",
                      "note", "file"]
    assert [row[1] for row in rows] == ["", "05_metrics", "", "04_clip"]
    for row in rows:
        assert row[4:4 + len(names)] == ["undefined" if one.lesson == row[1] else ""
                                         for one in exercises() if one.lesson in lessons]
    assert rows[0][-2].startswith("it is a folder") and len(rows) == 4


def worth(lesson: str) -> int:
    return sum(one.points for one in exercises() if one.lesson == lesson)


@pytest.mark.parametrize("cell, harmed", [
    ("=1+1", True), ("+1", True), ("-1", True), ("@A1", True), ("\t=1", True), ("\r\n=1", True),
    ("anna", False), ("a=1", False), (12, False)])
def test_no_cell_of_the_table_is_a_formula(cell, harmed):
    assert harmless(cell).startswith("'") is harmed
    assert re.match(r"[\s=+@-]", harmless(cell)) is None


def test_nothing_that_a_student_chose_can_start_a_line_or_speak_to_the_terminal():
    found = Grade(Path("a\nforged: 15 of 15 points\033[2J"), note="x\ny", ran=False)
    assert report(found) == "a forged: 15 of 15 points [2J: 0 points, x y"


@pytest.mark.parametrize("name, lesson, source, found", [
    ("03_transformer.ipynb", None, "", "03_transformer"),
    ("03_transformer (2).ipynb", None, "check('clip.unit', unit)", "03_transformer"),
    ("anna.ipynb", None, "check('clip.unit', unit)", "04_clip"),
    ("anna.ipynb", None, 'check( "clip.unit", u)\ncheck("clip.unit", u)\ncheck("data.parse", p)',
     "04_clip"),
    ("03_transformer.ipynb", "04_clip", "", "03_transformer"), ("03.ipynb", None, "",
     "03_transformer"), ("anna.ipynb", "00_map", "", "00_map"),
    ("03_transformer.ipynb", 3, "", "03_transformer"),
    ("04_clip.ipynb", "nonsense", "", "04_clip")])
def test_the_lesson_is_told_by_name_then_metadata_then_checks(
        tmp_path, name, lesson, source, found):
    metadata = {} if lesson is None else {"minidalle": {"lesson": lesson}}
    path = notebook(tmp_path / name, source, metadata=metadata)
    assert lesson_of(read_notebook(path), path) == found


@pytest.mark.parametrize("name", ["grades.ipynb", "grades", "grades.txt"])
def test_the_table_is_written_over_nothing_that_is_no_table(tmp_path, capsys, name):
    work = notebook(tmp_path / "04_clip.ipynb")
    assert main(["grade", str(work), "--csv", str(tmp_path / name)]) == 2
    assert re.fullmatch(r"minidalle: --csv is [^\n]+\n", capsys.readouterr().err)
    assert main(["grade", str(work), "--csv", str(tmp_path / "a.csv" / "b.csv")]) == 0
    assert main(["grade", str(work), "--csv", str(tmp_path / "a.csv")]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_ctrl_c_ends_the_grading_and_keeps_what_was_graded(tmp_path, capsys, monkeypatch):
    files = [notebook(tmp_path / name) for name in ("04_clip.ipynb", "05_metrics.ipynb")]

    def stopping(tasks, jobs):
        yield tasks[0], tasks[0].graded()
        raise KeyboardInterrupt
    table = tmp_path / "grades.csv"
    with monkeypatch.context() as patch:
        patch.setattr(evening, "grade_all", stopping)
        assert main(["grade", *map(str, files), "--csv", str(table)]) == 130
    assert "1 of 2 files were graded" in capsys.readouterr().err
    assert len(list(csv.reader(table.open()))) == 2
    assert main(["grade", *map(str, files), "--csv", str(table)]) == 0
    out, err = capsys.readouterr()
    assert "1 of 2 files were graded before" in err and len(list(csv.reader(table.open()))) == 3
    assert [line.split(":")[0] for line in out.splitlines() if line[0] != " "] == [*map(str, files)]


def test_the_help_warns_that_strangers_code_is_run(capsys):
    with pytest.raises(SystemExit):
        main(["grade", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "with your rights" in said and "in a container" in said
    assert "a function that calls the package's own answer passes" in said


# ---- the same as tests ----------------------------------------------------------------------

def test_pytest_gives_one_test_an_exercise_and_fails_with_its_message(perfect, tmp_path):
    none = tmp_path / "none.ipynb"
    words = ["-m", "pytest", "-p", "no:cacheprovider", Path(__file__).parents[1] / "student",
             "--notebook", perfect, "--notebook", none.name]
    done = subprocess.run([sys.executable, *words], text=True, capture_output=True, cwd=tmp_path,
                          timeout=120)
    assert "1 failed, 7 passed" in done.stdout, done.stdout + done.stderr
    assert "none.ipynb: there is no such file" in done.stdout and done.returncode == 1


# ---- messages -------------------------------------------------------------------------------

VALUES = [
    None, True, 3, 2 ** 70, -0.5, math.inf, "caf\u00e9 \ud800", b"\x00\xff", [1, [2.0]], (1, (2,)),
    {(1, 2): [3], "a": None}, torch.randn(2, 3), torch.tensor(3), torch.zeros(0, 2),
    torch.ones(2, dtype=torch.bool), torch.randn(3, dtype=torch.bfloat16),
    torch.randn(2, 2, dtype=torch.cfloat).mH, torch.arange(6).view(2, 3).T, numpy.ones((2, 2)),
    numpy.float32(1.5), numpy.bool_(True), numpy.array(2)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back_as_they_went(value):
    back = rebuilt(json.loads(json.dumps(plain(value))))
    assert type(back) is type(value)
    if isinstance(value, torch.Tensor):
        assert back.dtype == value.dtype and torch.equal(back, value)
    elif isinstance(value, numpy.ndarray):
        assert back.dtype == value.dtype and numpy.array_equal(back, value)
    else:
        assert back == value


def unwritten(*given):
    raise NotImplementedError


@pytest.mark.parametrize("answer", [
    unwritten, lambda x: unwritten(x),
    lambda x: x, lambda x: x.tolist(), lambda x: x.numpy(), lambda x: judge, lambda x: None,
    lambda x: x.to_sparse(), lambda x: torch.zeros(MOST + 1), lambda x: x.double().softmax(-1),
    lambda x: x.zero_(), lambda x: {}[3], lambda x: [[x]], lambda x: Path("a"), lambda x: x.half(),
    lambda x: x.to("meta"), lambda x: numpy.float64(1), lambda x, y: x, lambda x: 1j])
def test_a_verdict_is_the_same_through_the_pipe_as_in_the_notebook(answer):
    softmax = next(one for one in exercises() if one.name == "transformer.softmax")
    calls = softmax.calls(torch.Generator().manual_seed(0))
    reply = ask(answer, calls, 10)
    sent = unpacked(json.loads(json.dumps(packed(reply))))
    assert judged(softmax, calls, sent, 10) == judged(softmax, calls, reply, 10)


def test_every_right_answer_is_small_enough_to_be_sent_whole():
    def largest(value):
        parts = value.values() if isinstance(value, dict) else value
        return value.numel() if isinstance(value, torch.Tensor) else max(
            map(largest, parts), default=0) if isinstance(value, (list, tuple, dict)) else 1

    for exercise in (one for one in exercises() if isinstance(one, Exercise)):
        for args in exercise.calls(torch.Generator().manual_seed(0)):
            assert largest([exercise.function(*args), args]) < MOST / 5


@pytest.mark.parametrize("data", [
    None, 3, [], ["passed", "", [], []], ["", "", [], [3]], ["", "", [], [[1, 2]]],
    ["", "", [], [[{"tensor": "float32", "shape": [10 ** 30]}, [], None]]],
    ["", "", [], [[{"tensor": "nn", "shape": [], "data": ""}, [], None]]],
    ["", "", [], [[{"tensor": "float32", "shape": [2], "data": "AAAA"}, [], None]]],
    ["", "", [], [[{"evil": 1}, [], None]]], ["", "", [], [[{"dict": [[[1], 2]]}, [], None]]],
    ["", "", [], [[{"object": 3, "text": ""}, [], None]]], ["", "", [], [[1, [], [1, 2]]]]])
def test_nonsense_is_refused_with_an_ordinary_error(data):
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        unpacked(data)


def test_a_forged_tensor_of_any_size_takes_no_memory():
    huge = {"tensor": "float32", "shape": [10 ** 6, 10 ** 6], "data": None}
    reply = unpacked(["", "", [], 5 * [[huge, [], None]]])
    softmax = next(one for one in exercises() if one.name == "transformer.softmax")
    calls = softmax.calls(torch.Generator().manual_seed(0))
    assert judged(softmax, calls, reply, 10).state == "shape"


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield Line(one), other


def test_a_line_that_is_no_message_is_passed_over(ends):
    line, other = ends
    other.sendall(b"passed\n\xff\n[1]\n" + b"[" * 10 ** 4 + b'\n{"a": 1}\n')
    Line(other).send({"b": 2})
    assert [line.receive(1), line.receive(1)] == [{"a": 1}, {"b": 2}]


def test_silence_and_a_flood_of_nonsense_end_in_time(ends):
    line, other = ends
    with pytest.raises(TimeoutError):
        line.receive(0.05)
    line.waiting.extend([b"x"] * 10 ** 6)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        line.receive(0.05)
    assert time.monotonic() - start < 1


def test_a_line_without_an_end_is_given_up_on(ends):
    line, other = ends
    line.begun = bytearray(LIMIT)
    other.sendall(b"x")
    with pytest.raises(ConnectionError):
        line.receive(1)


def test_a_failure_of_the_same_words_is_the_same_wherever_it_happened():
    assert Failure("KeyError", "'a'", ("line 1",), False) == Failure("KeyError", "'a'")
    assert Outcome(error=Failure("KeyError", "'a'")) != Outcome(error=Failure("ValueError", "'a'"))
