"""Tasks that do what their file is called. A job imports them, so this file imports little."""
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from minidalle.course.evening import Task
from minidalle.course.grade import Grade

MARK = "98765.2468"


@dataclass(frozen=True)
class Staged(Task):
    def graded(self) -> Grade:
        name = self.file.stem
        if name.endswith("kill"):
            subprocess.Popen(["sleep", MARK], start_new_session=True)
            os.kill(os.getpid(), 9)
        if name.endswith("hang"):
            time.sleep(600)
        if name.endswith("stop"):
            raise OSError("the files have changed")
        return Grade(self.file, "04_clip", note=os.environ["OMP_NUM_THREADS"])


def staged(*names: str) -> list[Staged]:
    return [Staged(Path(f"04_{name}.ipynb"), b"") for name in names]
