r"""Playground: captions, roads, seeds and scales to play with, in a notebook.

in -> out   a workshop -> controls, each of which draws
idea        What is drawn depends on a `Wish` alone: road, caption, seed, guidance and steps. So the
            same wish is the same picture, that which `python -m minidalle draw` draws too, and
            a control changes one part of the wish. Below the picture stands what the judge and CLIP
            read off it. Nothing is trained but by the button that says so.
left out    many pictures at once: `draw --samples 16`
"""
import copy
import inspect
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import matplotlib.pyplot as plt
import torch
from IPython.display import clear_output
from torch import Tensor

from minidalle.course.lesson import see, show
from minidalle.manipulate import edit
from minidalle.workshop.looking import lead, read
from minidalle.workshop.pictures import to_pixels
from minidalle.workshop.recipes import ROADS, SECONDS, Workshop

STRENGTHS = [round(0.1 * k, 1) for k in range(11)]     # of an edit: 0 is the picture as it is
SURE = 1000                    # how many times as likely; more is not told apart
EDITING = ("judge", *ROADS["unclip"].stages)


@dataclass(frozen=True)
class Wish:
    road: str                  # one of ROADS
    caption: str
    seed: int = 0
    guidance: float | None = None      # as the road has it, where it has any
    steps: int | None = None


@dataclass(frozen=True)
class Drawn:
    image: Tensor              # (3, H, W) in [-1, 1]
    making: str                # what the strip shows
    strip: list[tuple[Tensor, str]]    # moments of its making, each with a label


# ---- what can be asked ----------------------------------------------------------------------

def usual(model: str) -> dict[str, float]:
    """What a road takes for guidance and steps if left alone; it may have only one, or neither."""
    takes = inspect.signature(ROADS[model].paint).parameters
    return {name: takes[name].default for name in ("guidance", "steps") if name in takes}


def lacking(workshop: Workshop, stages: Iterable[str]) -> list[str]:
    """Stages that are neither at hand nor on the disk: to ask for one of them would train it."""
    return workshop.missing([stage for stage in stages if stage not in workshop.models])


def need(workshop: Workshop, stages: Iterable[str], what: str) -> None:
    if missing := lacking(workshop, stages):
        raise ValueError(f"{what} needs {', '.join(missing)}, and {workshop.folder.name} has none "
                         "trained; press the button that trains, or run the demo")


def loaded(workshop: Workshop, stages: Iterable[str]) -> None:
    """From the disk, without a word: where a file lies is no part of a figure."""
    quiet = copy.copy(workshop)                # with the same models
    quiet.say = lambda text: None
    quiet.make(stages)


def understood(workshop: Workshop, caption: str) -> str:
    """What is left of a caption without the words that this world does not know."""
    grammar = workshop.world.grammar
    known = grammar.known_words(caption)
    if not known.strip(" ,"):
        raise ValueError(f"{caption[:60]!r} has no word of this world; write one, for example "
                         f"{grammar.example()!r}")
    return known


# ---- what is drawn --------------------------------------------------------------------------

def draw(workshop: Workshop, wish: Wish) -> Drawn:
    """The picture of a wish, and how it came to be."""
    need(workshop, ROADS[wish.road].needs(1), f"the road {wish.road}")
    loaded(workshop, ROADS[wish.road].needs(1))
    here = copy.copy(workshop)                 # the same models, and the wish's own seed
    here.seed = wish.seed
    knobs = {name: getattr(wish, name) for name in usual(wish.road)
             if getattr(wish, name) is not None}
    paint = partial(here.painter(wish.road), **knobs)
    images, (making, strip) = ROADS[wish.road].making(
        here, paint, [understood(workshop, wish.caption)], 0)
    return Drawn(images[0], making, strip)


def moment(drawn: Drawn, share: float) -> tuple[Tensor, str]:
    """The picture at a share of its making, from 0 to 1, and the label that it has there."""
    if share >= 1:
        return drawn.image, "picture"
    image, label = drawn.strip[round(share * (len(drawn.strip) - 1))]
    return image, label or f"{share:.0%} of the way"


def verdict(workshop: Workshop, image: Tensor, caption: str) -> list[str]:
    """What the judge reads off a picture (3, H, W), and what CLIP does, each beside the caption."""
    grammar = workshop.world.grammar
    if missing := lacking(workshop, ("judge",)):
        return [f"nobody reads it: no {missing[0]} is trained"]
    loaded(workshop, ["judge"])
    seen = grammar.caption(workshop.judge().read(image[None])[0].tolist())
    try:
        asked = grammar.caption(grammar.parse(understood(workshop, caption)))
    except ValueError:                         # no sentence, so that nothing can be compared
        asked = ""
    lines = [f"the judge reads {seen!r}{beside(seen, asked)}"]
    if not lacking(workshop, ("clip",)):
        loaded(workshop, ["clip"])
        said = read(workshop, image, asked or seen)
        times = math.exp(min(lead(workshop, image[None], said)[0].item(), math.log(SURE)))
        sure = f"more than {SURE}" if times >= 0.99 * SURE else f"{max(times, 1):.3g}"
        lines.append(f"CLIP reads {said!r}{beside(said, asked)}; that is {sure} times as likely to "
                     "it as the next")
    return lines


def beside(seen: str, asked: str) -> str:
    return "" if not asked else ", as asked" if seen == asked else f", and asked was {asked!r}"


def side_by_side(workshop: Workshop, caption: str, seed: int) -> dict[str, tuple[Tensor, float]]:
    """The same caption and seed on every road that is trained: its picture, and its seconds."""
    found = {}
    for model in ROADS:
        if not lacking(workshop, ROADS[model].needs(1)):
            loaded(workshop, ROADS[model].needs(1))            # before the clock runs
            began = time.perf_counter()
            image = draw(workshop, Wish(model, caption, seed)).image
            found[model] = image, time.perf_counter() - began
    if not found:
        need(workshop, ROADS[next(iter(ROADS))].needs(1), "the first road")
    return found


def edits(workshop: Workshop, image: Tensor, before: str, after: str) -> Tensor:
    """A picture (3, H, W) changed as `after` differs from `before`, at each of STRENGTHS."""
    need(workshop, EDITING, "an edit")
    loaded(workshop, EDITING)
    many = image.expand(len(STRENGTHS), -1, -1, -1)
    if before == after:
        return many
    strength = torch.tensor(STRENGTHS, device=image.device)[:, None]
    return edit(workshop.unclip(), many, [before] * len(many), [after] * len(many), strength)


# ---- figures --------------------------------------------------------------------------------

def show_moment(drawn: Drawn, share: float, wish: Wish, lines: list[str]) -> None:
    """One moment, large, and beside it all of them."""
    image, label = moment(drawn, share)
    figure = plt.figure(figsize=(8.6, 2.7))
    grid = figure.add_gridspec(2, 9)
    large = figure.add_subplot(grid[:, :3])
    put(large, image, f"{wish.caption}\n{label}", 10)
    columns = math.ceil(len(drawn.strip) / 2)
    small = grid[:, 3:].subgridspec(2, columns)
    for k, (picture, words) in enumerate(drawn.strip):
        put(figure.add_subplot(small[k // columns, k % columns]), picture, words, 9)
    see(f"On the road {wish.road}, {wish.caption!r} with seed {wish.seed}, {label}: "
        f"{'; '.join(lines)}. Beside it: {drawn.making}.")


def put(axes, image: Tensor, title: str, size: int) -> None:
    axes.imshow(to_pixels(image))
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=size)


# ---- controls -------------------------------------------------------------------------------

class Playground:
    """The controls. A slider keeps the arrow keys, which JupyterLab takes from a menu."""

    def __init__(self, workshop: Workshop):
        from ipywidgets import FloatSlider, IntSlider, IntText, SelectionSlider, Text

        self.workshop, self.kept, self.moving = workshop, {}, False
        grammar, lazy = workshop.world.grammar, {"continuous_update": False}
        self.caption = Text(grammar.example(), description="caption", **lazy)
        self.factors = [SelectionSlider(options=values, description=name, **lazy)
                        for name, values in zip(grammar.names, grammar.values)]
        self.road = SelectionSlider(options=[*ROADS], description="road", **lazy)
        self.seed = IntSlider(0, 0, 99, description="seed", **lazy)
        self.guidance = FloatSlider(1, min=0, max=5, step=0.25, description="guidance", **lazy)
        self.steps = IntSlider(12, 1, 30, description="steps", **lazy)
        self.share = IntSlider(100, 0, 100, 10, description="made, in %", **lazy)
        self.trained = IntText(0)              # counts trainings; it is never seen
        self.follow_words()
        self.follow_road()
        self.caption.observe(lambda change: self.follow_words(), "value")
        for factor in self.factors:
            factor.observe(lambda change: self.follow_factors(), "value")
        self.road.observe(lambda change: self.follow_road(), "value")

    # ---- controls that move each other ----

    def follow_words(self) -> None:
        """The sliders stand where the caption says, if it is a sentence."""
        try:
            values = self.workshop.world.grammar.parse(self.caption.value)
        except ValueError:
            return
        self.moving = True
        for factor, value in zip(self.factors, values):
            factor.index = value
        self.moving = False

    def follow_factors(self) -> None:
        """The caption says what the sliders do."""
        if not self.moving:
            grammar = self.workshop.world.grammar
            self.caption.value = grammar.caption([factor.index for factor in self.factors])

    def follow_road(self) -> None:
        """Guidance and steps as the road has them; what it does not have cannot be moved."""
        takes, self.moving = usual(self.road.value), True
        for control in (self.guidance, self.steps):
            control.disabled = control.description not in takes
            control.value = takes.get(control.description, control.value)
        self.moving = False

    # ---- what is shown ----

    def wish(self) -> Wish:
        takes = usual(self.road.value)
        return Wish(self.road.value, self.caption.value, self.seed.value,
                    self.guidance.value if "guidance" in takes else None,
                    self.steps.value if "steps" in takes else None)

    def drawn(self, wish: Wish) -> Drawn:
        """Each wish is drawn once."""
        if wish not in self.kept:
            self.kept = {wish: draw(self.workshop, wish)}
        return self.kept[wish]

    def look(self, share: int, **moved) -> None:
        """The picture of the wish as it stands; `moved` only says that something has."""
        if self.moving:                        # the road's own guidance and steps come first
            return
        wish = self.wish()
        try:
            drawn = self.drawn(wish)
        except ValueError as error:            # a sentence for the reader, and no traceback
            print(error)
            return
        if unknown := self.workshop.world.grammar.unknown_words(wish.caption):
            print(f"unknown here, and left out: {', '.join(unknown)}")
        lines = verdict(self.workshop, drawn.image, wish.caption)
        show_moment(drawn, share / 100, wish, lines)
        print("\n".join(lines))

    def draw(self):
        """Words or sliders for the caption, a road, numbers, and what comes of them."""
        from ipywidgets import HBox, VBox, interactive_output

        asked = [self.road, self.seed, self.guidance, self.steps]
        output = interactive_output(self.look, {"share": self.share, **{
            f"moved_{control.description}": control
            for control in (self.caption, *asked, self.trained)}})
        return VBox([HBox([VBox([self.caption, *self.factors]), VBox([*asked, self.share])]),
                     self.training(), output])

    def training(self):
        """A button that trains what the road lacks; it is there only where it lacks something."""
        from ipywidgets import Button, Output, VBox

        button, output = Button(layout={"width": "auto"}), Output()

        def offer(change=None) -> None:
            missing = lacking(self.workshop, self.stages())
            button.layout.display = "" if missing else "none"
            seconds = sum(SECONDS[stage] for stage in missing)
            button.description = f"train {', '.join(missing)}: up to {seconds} s on two cores"

        def train(pressed) -> None:
            button.disabled = True
            with output:
                self.workshop.make(self.stages())
                clear_output()
            button.disabled = False
            offer()
            self.trained.value += 1            # draw anew
        button.on_click(train)
        self.road.observe(offer, "value")
        offer()
        return VBox([button, output])

    def stages(self) -> list[str]:
        """All that the road chosen needs, and those who judge it."""
        return list(dict.fromkeys(["judge", "clip", *ROADS[self.road.value].needs(1)]))

    def roads(self):
        """A button: the caption and the seed of the sliders above on every road that is trained."""
        from ipywidgets import Button, Output, VBox

        button = Button(description="draw on all roads", icon="picture-o", layout={"width": "auto"})
        output = Output()

        def compare(pressed=None) -> None:
            with output:
                clear_output(wait=True)
                caption, seed = self.caption.value, self.seed.value
                try:
                    found = side_by_side(self.workshop, caption, seed)
                except ValueError as error:
                    print(error)
                    return
                titles = [f"{model}\n{seconds:.2f} s" for model, (_, seconds) in found.items()]
                show(torch.stack([image for image, _ in found.values()]), titles,
                     columns=len(found), side=1.4, title=f"{caption}, seed {seed}")
                for model, (image, _) in found.items():
                    print(f"{model}: {verdict(self.workshop, image, caption)[0]}")
        button.on_click(compare)
        return VBox([button, output])

    def edit(self):
        """The picture above, changed into what a second caption says: a strength to drag."""
        from ipywidgets import SelectionSlider, Text, VBox, interactive_output

        after = Text(self.changed(), description="change to", continuous_update=False)
        strength = SelectionSlider(options=STRENGTHS, value=0.5, description="strength")
        kept = {}

        def look(after: str, strength: float, **moved) -> None:
            wish = replace(self.wish(), road="unclip", guidance=None, steps=None)
            try:
                words = understood(self.workshop, after)
                key = wish, words
                if key not in kept:            # all strengths at once, so that dragging is quick
                    image, before = draw(self.workshop, wish).image, understood(
                        self.workshop, wish.caption)
                    kept.clear()
                    kept[key] = image, edits(self.workshop, image, before, words)
            except ValueError as error:
                print(error)
                return
            image, changed = kept[key]
            number = STRENGTHS.index(strength)
            show(torch.stack([image, changed[number]]), [wish.caption, f"{words}\n{strength}"],
                 columns=2, side=2.0)
            print("\n".join(verdict(self.workshop, changed[number], words)))
        output = interactive_output(look, {"after": after, "strength": strength,
                                           "moved_caption": self.caption, "moved_seed": self.seed})
        return VBox([after, strength, output])

    def changed(self) -> str:
        """The caption with another last factor: something to begin with."""
        grammar = self.workshop.world.grammar
        *first, last = grammar.parse(grammar.example())
        return grammar.caption((*first, (last + 3) % len(grammar.values[-1])))
