r"""The course: what a notebook needs around its text. One line of import brings all of it:

    from minidalle.course import BLUE, GOLD, GREY, RED, Lesson, check, see, show

Files here may import from the reading room, `minidalle/*.py`, and from `minidalle/workshop/`.
"""
__all__ = ["BLUE", "GOLD", "GREY", "RED", "Lesson", "check", "see", "show"]


def __getattr__(name: str):
    """Brought in when first asked for: a grader and the command line draw no figures, and start
    half a second sooner without what does."""
    if name not in __all__:
        raise AttributeError(f"minidalle.course has no {name}; it has {', '.join(__all__)}")
    from minidalle.course import lesson
    from minidalle.course.checks import check
    return check if name == "check" else getattr(lesson, name)
