r"""Recipes: which sizes and how many steps make each model of a road really work.

in -> out   a world, a seed and a budget -> trained models, loaded where they are already there
idea        A model file says what a model is; this file says how ours are made. Each stage is one
            method of `Workshop`: what is built, what a batch holds, which earlier stage it learns
            from. A checkpoint remembers all of that, so a stale one cannot slip in. `ROADS` lists
            the roads, and is the one place that does: a new one needs its file, its stages in
            `Workshop` and its entry there.
left out    any search for better numbers: these were found by hand, on two CPU cores
"""
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from minidalle import dalle, dit, gan, imagen, latent, unclip
from minidalle.ar_prior import ArPrior, ArPriorConfig
from minidalle.caption import TwoWay, TwoWayConfig
from minidalle.checkpoint import fingerprint, load, read_checkpoint
from minidalle.clip import Clip, ClipConfig, ConvTower
from minidalle.dalle import Dalle, DalleConfig, DalleRoad
from minidalle.data import cifar10, drawn, mnist
from minidalle.dit import FlowConfig, FlowModel, FlowRoad, Student
from minidalle.dvae import Dvae, DvaeConfig
from minidalle.gan import Gan, GanConfig, GanRoad, play
from minidalle.imagen import (
    Base,
    BaseConfig,
    ImagenRoad,
    SuperResolution,
    SuperResolutionConfig,
)
from minidalle.latent import Denoiser, LatentConfig, LatentRoad, listen
from minidalle.metrics import Judge, JudgeConfig
from minidalle.pairs import pairs
from minidalle.parallel import first, wait
from minidalle.prior import Prior, PriorConfig
from minidalle.textonly import TextConfig, TextEncoder
from minidalle.tokenizer import Tokenizer
from minidalle.train import FitConfig, choose_budget, choose_device, fit, seeded
from minidalle.unclip import Decoder, DecoderConfig, Unclip, Upsampler, UpsamplerConfig
from minidalle.vae import Vae, VaeConfig
from minidalle.workshop.making import (
    drawing_on,
    going_on,
    making_dalle,
    making_flow,
    making_gan,
    making_imagen,
    making_latent,
    making_unclip,
)

FITS = {                       # what two CPU cores need; the gpu budget takes longer strides
    "judge": FitConfig(steps=600, batch=128, lr=3e-3, decay=0.99),
    "clip": FitConfig(steps=400, batch=256, lr=2e-3, decay=0.99, muon=True),
    "prior": FitConfig(steps=300, batch=128, lr=6e-3, decay=0.99, muon=True),
    "arprior": FitConfig(steps=700, batch=64, lr=4e-3, decay=0.99, muon=True),
    "decoder": FitConfig(steps=1200, batch=64, lr=4e-3, decay=0.995, muon=True),
    "upsampler": FitConfig(steps=300, batch=32, lr=3e-3, decay=0.99),
    "dvae": FitConfig(steps=1500, batch=64, lr=3e-3, decay=0.99, muon=True),
    "dalle": FitConfig(steps=1000, batch=64, lr=4e-3, decay=0.99, muon=True),
    "captioner": FitConfig(steps=800, batch=64, lr=4e-3, decay=0.99, muon=True),
    "vae": FitConfig(steps=600, batch=64, lr=4e-3, decay=0.99, muon=True),
    "latent": FitConfig(steps=1000, batch=64, lr=4e-3, decay=0.995, muon=True),
    "gan": FitConfig(steps=1000, batch=64, lr=4e-3, decay=0.99, weight_decay=0.0),
    "textmodel": FitConfig(steps=300, batch=128, lr=2e-3, decay=0.99, muon=True),
    "imagen": FitConfig(steps=1400, batch=64, lr=4e-3, decay=0.995, muon=True),
    "superres": FitConfig(steps=800, batch=32, lr=3e-3, decay=0.99, muon=True),
    "flow": FitConfig(steps=2000, batch=32, lr=4e-3, decay=0.99, muon=True),
    "student": FitConfig(steps=200, batch=32, lr=2e-3, decay=0.99, muon=True)}
PURPOSE = {
    "judge": "reads digit and colours off a picture, to measure with",
    "clip": "captions and pictures as vectors in one space",
    "prior": "text vector -> image vector",
    "arprior": "text vector -> image vector, code by code",
    "decoder": "image vector -> small picture",
    "upsampler": "small picture -> large picture",
    "dvae": "picture <-> a grid of codes",
    "dalle": "caption -> codes, one after another",
    "captioner": "codes -> caption, and still caption -> codes",
    "vae": "picture <-> a latent of a twelfth of its numbers",
    "latent": "words of a caption -> latent",
    "gan": "noise and text vector -> picture, against a critic",
    "textmodel": "captions with gaps -> the words that were there; no picture is seen",
    "imagen": "states of a caption's words -> small picture",
    "superres": "small picture and words -> large picture",
    "flow": "words of a caption -> picture, along a flow",
    "student": "the ends of the flow's paths -> a picture in few steps, or in one"}
# on two CPU cores that know no bf16; those that do take a third to two thirds
SECONDS = {"judge": 20, "clip": 70, "prior": 35, "arprior": 60, "decoder": 150,
           "upsampler": 30, "dvae": 160, "dalle": 330, "captioner": 360, "vae": 100, "latent": 300,
           "gan": 120, "textmodel": 25, "imagen": 280, "superres": 110, "flow": 420, "student": 140}
STAGES = tuple(FITS)
# settings of a training that came later: checkpoints from before have none, and were made so
LATER = {"micro": 1, "recompute": False}
WORLDS = {"drawn": drawn, "mnist": mnist, "cifar10": cifar10, "pairs": pairs}
# handwriting and photos vary more than fonts; in pairs there is twice as much to see and to say
STRETCH = {"drawn": 1, "mnist": 2, "cifar10": 2, "pairs": 2}
# and longer still: the judge, which must read what others may draw badly, in real pictures; and
# DALL-E for "a red 3 left of a blue 7": one word turns everything round, decides only the first few
# codes of a digit, and is heard after some 1600 steps, all at once
LONGER = {("judge", "mnist"): 5, ("judge", "cifar10"): 5, ("dalle", "pairs"): 2}
# many a hand writes what could be two digits; the prior keeps away from there
CLEARLY = {"mnist": 5.0}


def stretch(stage: str, data: str) -> int:
    """How many times as many steps a stage takes in this world as with drawn digits."""
    return STRETCH[data] * LONGER.get((stage, data), 1)


def fit_config(stage: str, budget: str, data: str = "drawn") -> FitConfig:
    """How a stage is trained: `cpu` as in the table, `gpu` longer, `smoke` only to see it run."""
    config = replace(FITS[stage], steps=FITS[stage].steps * stretch(stage, data))
    if budget == "smoke":
        return replace(config, steps=4, batch=8)
    if budget == "gpu":
        return replace(config, steps=2 * config.steps, batch=2 * config.batch)
    return config


class Workshop:
    """Makes the models of one world, one seed and one budget, or loads those it made before.

    `say` is called with one line for each stage; `seconds` holds what each took to train. A
    `share` below 1 trains only that share of the steps, in a folder of its own: for a first look.
    """

    def __init__(self, data: str = "drawn", seed: int = 0, budget: str | None = None,
                 folder: str | Path = "runs", device: str | None = None, fresh: bool = False,
                 say: Callable[[str], None] = print, share: float = 1):
        if data not in WORLDS:
            raise ValueError(f"data is {data!r}; choose one of {', '.join(WORLDS)}")
        self.data, self.seed, self.fresh, self.say = data, seed, fresh, say
        self.device = choose_device(device)
        self.budget = choose_budget(budget, self.device)
        self.share, name = share, f"{data}-{self.budget}-{seed}"
        self.folder = Path(folder) / (name if share == 1 else f"{name}-share-{share:g}")
        self.world = WORLDS[data](self.device)
        self.tokenizer = Tokenizer.train(self.world.grammar.texts(), plain=True)
        self.models: dict[str, nn.Module] = {}
        self.seconds: dict[str, float] = {}
        self.trainings: dict[str, tuple] = {}      # of a stage: its batches, its loop, its config

    def path(self, stage: str) -> Path:
        """Where the checkpoint of a stage lies."""
        return self.folder / f"{stage}.pt"

    def missing(self, stages: Iterable[str]) -> list[str]:
        """Those of the stages that have not been trained to the end."""
        return [stage for stage in stages if not self.path(stage).exists()
                or not read_checkpoint(self.path(stage))["finished"]]

    def make(self, stages: Iterable[str]) -> None:
        """Train these stages, or load them."""
        for stage in stages:
            getattr(self, stage)()

    # ---- the stages, in the order in which they learn from each other ----

    def judge(self) -> Judge:
        grammar = self.world.grammar
        width = 28 if ("judge", self.data) in LONGER else JudgeConfig.width
        config = JudgeConfig(tuple(map(len, grammar.values)), grammar.names, width, self.world.size)

        def batch(n, generator):           # every combination: it must read whatever is drawn
            b = self.world.batch(n, "every", generator)
            return b.images, b.factors
        return self._stage("judge", config, lambda: Judge(config), batch)

    def clip(self) -> Clip:
        config = ClipConfig(self.tokenizer.vocab_size, self.tokenizer.context, self.tokenizer.end)

        def batch(n, generator):
            b = self.world.batch(n, "train", generator)
            return b.images, self._ids(b.captions)
        return self._stage("clip", config,
                           lambda: Clip(config, ConvTower(self.world.size, config.embed)), batch)

    def prior(self) -> Prior:
        clip = self.clip()
        config = PriorConfig(clip.config.vocab, clip.config.context, clip.config.embed)
        many, g = 16 * self._fits("prior").batch, seeded(self.seed, self.device)

        @torch.no_grad()
        def measure(prior):    # how pictures of one caption differ
            factors = self.world.factors(many, "train", g)
            prior.fit_cloud(*(clip.encode_image(self.world.render(factors, "train", g))
                              for _ in range(2)))
        return self._stage("prior", config, lambda: Prior(config), self._pairs, ("clip",), measure)

    def arprior(self) -> ArPrior:
        """The other prior of DALL-E 2; `unclip(workshop.arprior)` is the road with it."""
        clip, many = self.clip(), 16 * self._fits("arprior").batch
        config = ArPriorConfig(clip.config.vocab, clip.config.context, clip.config.embed)

        def measure(prior):    # its axes and buckets
            _, text, image = self._pairs(many, seeded(self.seed, self.device))
            prior.fit_codes(image, text)
        return self._stage("arprior", config, lambda: ArPrior(config), self._pairs, ("clip",),
                           measure)

    def decoder(self) -> Decoder:
        clip = self.clip()
        config = DecoderConfig(clip.config.embed, size=self.world.size // 2)

        @torch.no_grad()
        def batch(n, generator):
            images = self.world.batch(n, "train", generator).images
            return images, clip.encode_image(images)
        return self._stage("decoder", config, lambda: Decoder(config), batch, ("clip",))

    def upsampler(self) -> Upsampler:
        config = UpsamplerConfig(self.world.size, self.world.size // 2)
        return self._stage("upsampler", config, lambda: Upsampler(config), self._images)

    def dvae(self) -> Dvae:
        steps = self._fits("dvae").steps
        config = DvaeConfig(self.world.size, steps=steps)      # its schedules end with the training
        return self._stage("dvae", config, lambda: Dvae(config), self._images)

    def dalle(self) -> Dalle:
        dvae, words = self.dvae(), self.tokenizer
        config = DalleConfig(words.vocab_size, words.context, dvae.config.codes, dvae.config.grid,
                             words.pad, width=128, depth=4, heads=4)    # minutes on two cores
        return self._stage("dalle", config, lambda: Dalle(config), self._written, ("dvae",))

    def captioner(self) -> TwoWay:
        """DALL-E once more, which begins where that has ended and learns the other order too. It is
        a stage of its own, for it draws less well after that: a code costs it 0.63 nats, not 0.58.
        """
        dalle = self.dalle()
        config = TwoWayConfig(**asdict(dalle.config))
        return self._stage("captioner", config, lambda: TwoWay(config), self._written,
                           ("dvae", "dalle"), lambda model: model.begin_with(dalle))

    def vae(self) -> Vae:
        config = VaeConfig(self.world.size)
        return self._stage("vae", config, lambda: Vae(config), self._images)

    def latent(self) -> Denoiser:
        clip, vae = self.clip(), self.vae()
        channels, grid, _ = vae.shape
        config = LatentConfig(clip.config.width, channels, grid)

        @torch.no_grad()
        def batch(n, generator):
            b = self.world.batch(n, "train", generator)
            return vae.encode(b.images, generator), *listen(clip, self._ids(b.captions))
        return self._stage("latent", config, lambda: Denoiser(config), batch, ("clip", "vae"))

    def gan(self) -> Gan:
        clip = self.clip()
        config = GanConfig(clip.config.embed, self.world.size)

        @torch.no_grad()
        def batch(n, generator):
            b = self.world.batch(n, "train", generator)
            return b.images, clip.encode_text(self._ids(b.captions))
        return self._stage("gan", config, lambda: Gan(config), batch, ("clip",), train=play)

    def textmodel(self) -> TextEncoder:
        """It learns from captions alone: its batch has no picture."""
        words, grammar = self.tokenizer, self.world.grammar
        config = TextConfig(words.vocab_size, words.context, words.pad, words.first_byte)

        def batch(n, generator):
            return self._ids(grammar.captions(self.world.factors(n, "train", generator), generator))
        return self._stage("textmodel", config, lambda: TextEncoder(config), batch)

    def imagen(self) -> Base:
        config = BaseConfig(self.textmodel().config.width, self.world.size // 2)
        return self._stage("imagen", config, lambda: Base(config), self._told, ("textmodel",))

    def superres(self) -> SuperResolution:
        size = self.world.size
        config = SuperResolutionConfig(self.textmodel().config.width, size, size // 2)
        return self._stage("superres", config, lambda: SuperResolution(config), self._told,
                           ("textmodel",))

    def flow(self) -> FlowModel:
        clip = self.clip()
        config = FlowConfig(clip.config.width, size=self.world.size)
        return self._stage("flow", config, lambda: FlowModel(config), self._heard, ("clip",))

    def student(self) -> Student:
        """It begins as the flow that teaches it, and learns where its paths end."""
        flow = self.flow()

        @torch.no_grad()
        def batch(n, generator):
            _, *words = self._heard(n, generator)
            return *flow.pairs(tuple(words), generator), *words
        return self._stage("student", flow.config, lambda: Student(flow.config), batch, ("flow",),
                           lambda student: student.load_state_dict(flow.state_dict()))

    # ---- the roads ----

    def unclip(self, prior: Callable[[], nn.Module] | None = None) -> Unclip:
        """The road of DALL-E 2, ready for `caption_to_picture` in unclip.py; with another prior
        than the diffusion one if its stage is passed, as in `unclip(workshop.arprior)`."""
        chosen = (prior or self.prior)()
        guidance = CLEARLY.get(self.data, 1.0) if prior is None else 1.0
        return Unclip(self.tokenizer, self.clip(), chosen, self.decoder(), self.upsampler(),
                      guidance)

    def dalle_road(self, ranked: bool = True) -> DalleRoad:
        """The road of DALL-E, for dalle.py; without CLIP it draws as well, but ranks nothing."""
        clip = self.clip() if ranked else None
        return DalleRoad(self.tokenizer, clip, self.dvae(), self.dalle())

    def caption_road(self) -> DalleRoad:
        """The road back, from picture to caption, for caption.py."""
        return DalleRoad(self.tokenizer, None, self.dvae(), self.captioner())

    def latent_road(self) -> LatentRoad:
        """The road of Stable Diffusion, for latent.py."""
        return LatentRoad(self.tokenizer, self.clip(), self.vae(), self.latent())

    def gan_road(self) -> GanRoad:
        """The road of the GAN, for gan.py."""
        return GanRoad(self.tokenizer, self.clip(), self.gan())

    def imagen_road(self) -> ImagenRoad:
        """The road of Imagen, for imagen.py."""
        return ImagenRoad(self.tokenizer, self.textmodel(), self.imagen(), self.superres())

    def flow_road(self) -> FlowRoad:
        """The road of flow and diffusion transformer, for dit.py."""
        return FlowRoad(self.tokenizer, self.clip(), self.flow(), self.student())

    def painter(self, model: str) -> Callable[..., Tensor]:
        """The `caption_to_picture` of a road with its models in place: (captions, generator, and
        by name the knobs of that road) -> images (B, 3, H, W)."""
        if model not in ROADS:
            raise ValueError(f"there is no road {model!r}; choose one of {', '.join(ROADS)}")
        return partial(ROADS[model].paint, ROADS[model].build(self))

    # ---- what every stage shares ----

    def _images(self, n: int, generator: torch.Generator) -> Tensor:
        """A batch of those that learn from pictures alone: (n, 3, H, W)."""
        return self.world.batch(n, "train", generator).images

    @torch.no_grad()
    def _pairs(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A batch of either prior: ids (B, T), text vectors (B, E), image vectors (B, E)."""
        b, clip = self.world.batch(n, "train", generator), self.clip()
        ids = self._ids(b.captions)
        return ids, clip.encode_text(ids), clip.encode_image(b.images)

    @torch.no_grad()
    def _written(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch of those that read and write codes: ids (B, T), codes (B, N)."""
        b = self.world.batch(n, "train", generator)
        return self._ids(b.captions), self.dvae().encode(b.images)

    @torch.no_grad()
    def _told(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A batch of those that hear the text encoder: images, states (B, T, D), heard (B, T)."""
        b = self.world.batch(n, "train", generator)
        return b.images, *self.textmodel().encode(self._ids(b.captions))

    @torch.no_grad()
    def _heard(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A batch of those that hear CLIP's text tower: images, states (B, T, D), heard (B, T)."""
        b, clip = self.world.batch(n, "train", generator), self.clip()
        return b.images, *listen(clip, self._ids(b.captions))

    def _ids(self, captions: list[str]) -> torch.Tensor:
        return self.tokenizer.batch(captions).to(self.device)

    def _fits(self, stage: str) -> FitConfig:
        fits = fit_config(stage, self.budget, self.data)
        return replace(fits, steps=max(1, round(self.share * fits.steps)))

    def _stage(self, stage: str, config, build: Callable[[], nn.Module], batch: Callable,
               taught_by: tuple[str, ...] = (),
               measure: Callable[[nn.Module], object] = lambda model: None,
               train: Callable | None = None) -> nn.Module:
        """Load the stage, or train it, once. What it learns was made by the stages `taught_by`;
        `measure` gives it what is known before anything is learnt; `train` is a loop of its own."""
        if stage in self.models:
            return self.models[stage]
        fits, path = self._fits(stage), self.path(stage)
        words = hashlib.sha256(json.dumps(self.tokenizer.state()).encode()).hexdigest()[:12]
        settings = {"stage": stage, "data": self.data, "seed": self.seed, "tokenizer": words,
                    **{f"taught_by_{name}": fingerprint(self.models[name]) for name in taught_by},
                    **asdict(config),
                    **{f"fit_{name}": value for name, value in asdict(fits).items()
                       if value != LATER.get(name)}}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)           # the first weights come from the seed too
            model = build().to(self.device)
        if not self.fresh and load(model, path, settings):
            self.say(f"{stage}: loaded from {path}")
        else:
            seconds = round(SECONDS[stage] * stretch(stage, self.data) * self.share)
            about = f", up to about {seconds} s on two CPU cores" if self.budget == "cpu" else ""
            self.say(f"{stage}: {PURPOSE[stage]}; training {fits.steps} steps{about}")
            measure(model)
            anew = self.fresh or waiting(path).exists()        # or one that was stopped
            with in_place_of(path, settings) if anew else nullcontext(path) as place:
                (train or fit)(model, batch, fits, self.seed, place, settings)
        self.trainings[stage] = batch, train or fit, fits
        self.seconds[stage] = read_checkpoint(path)["seconds"]
        self.models[stage] = model.requires_grad_(False)
        return model


def waiting(path: Path) -> Path:
    """Where a model is trained that shall take the place of this one."""
    return path.parent / "new" / path.name


@contextmanager
def in_place_of(path: Path, settings: dict):
    """Where to train a model anew: only when it is finished it takes the place of the old one. One
    that was stopped waits beside it, and the next training anew with these settings goes on."""
    new = waiting(path)
    try:
        read_checkpoint(new, settings)
    except (ValueError, FileNotFoundError):
        with suppress(FileNotFoundError):
            new.unlink()
    wait()                                     # or another process takes up what goes here
    try:
        yield new
        for file in new.parent.glob(f"{path.stem}.*") if first() else ():
            os.replace(file, path.with_suffix(file.suffix))
        wait()
    finally:
        with suppress(OSError):                # it stays where something waits in it
            new.parent.rmdir()


# ---- the roads, and all that is told of them elsewhere --------------------------------------

@dataclass(frozen=True)
class Knob:
    """What a painter takes by name, and `draw` as an option; left alone, as the road has it."""
    name: str                  # "top_k", on the command line --top-k
    letter: str                # that stands for its value in the help
    help: str
    least: float = 0
    most: float = 100
    whole: bool = False        # only whole numbers
    words: bool = False        # no number at all, but words
    usual: float | None = None     # what the road takes, where not all take the same


@dataclass(frozen=True)
class Road:
    """One way from caption to picture."""
    idea: str                  # whose: the help says "unclip, that of DALL-E 2"
    who: str                   # draws, in the title of a figure
    stages: tuple[str, ...]    # methods of Workshop, in the order in which they learn
    build: Callable[[Workshop], object]            # the models in their places
    paint: Callable[..., Tensor]                   # (those, captions, generator, knobs) -> images
    making: Callable           # pictures, and a strip of how one came to be: see making.py
    seconds: float             # to draw one picture, on two CPU cores
    knobs: tuple[Knob, ...] = ()
    ranking: tuple[str, ...] = ()                  # stages that draw nothing: they only rank
    best_of: int = 1           # so many pictures a caption, of which CLIP picks one, in `compare`
    complete: Callable | None = None               # (workshop, a picture) -> what goes on below it
    redraw: Callable | None = None                 # (workshop, a picture) -> what starts from it

    @property
    def options(self) -> tuple[str, ...]:
        """Names of what can be asked of this road, and perhaps not of others."""
        return (*(knob.name for knob in self.knobs), *["complete"] * (self.complete is not None),
                *["from", "strength"] * (self.redraw is not None))

    def needs(self, best_of: int) -> list[str]:
        """The stages without which it cannot draw; to rank, also CLIP."""
        drawing = [stage for stage in self.stages if stage not in self.ranking]
        return drawing if best_of == 1 else list(dict.fromkeys(["clip", *drawing]))


def guidance(usual: float) -> Knob:
    """The knob of all roads with guidance; each has its own idea of how far is good."""
    return Knob("guidance", "G", "how far to exaggerate the caption: 0 forgets it, 1 is as learnt",
                usual=usual)


ROADS = {                      # the first one is meant where none is named
    "unclip": Road(
        "DALL-E 2", "minidalle", ("clip", "prior", "decoder", "upsampler"), Workshop.unclip,
        unclip.caption_to_picture, making_unclip, seconds=0.03, knobs=(guidance(1),)),
    "dalle": Road(
        "DALL-E", "minidalle's DALL-E", ("clip", "dvae", "dalle"),
        partial(Workshop.dalle_road, ranked=False), dalle.caption_to_picture, making_dalle,
        seconds=0.01, ranking=("clip",), best_of=8, complete=going_on, knobs=(
            guidance(dalle.GUIDANCE),
            Knob("temperature", "T", "of the choice of codes: 0 takes the likeliest, 1 is as "
                                     "learnt (default 1)"),
            Knob("top_k", "K", "choose among the K likeliest codes", 1, 10 ** 6, whole=True),
            Knob("top_p", "P", "choose among the likeliest codes that together reach the share P "
                               "(default 0.9; 1 takes all)", 0.001, 1))),
    "latent": Road(
        "Stable Diffusion", "minidalle's Stable Diffusion", ("clip", "vae", "latent"),
        Workshop.latent_road, latent.caption_to_picture, making_latent, seconds=0.02,
        redraw=drawing_on, knobs=(
            guidance(latent.GUIDANCE),
            Knob("negative", "TEXT", "what guidance shall push away from, in place of a picture "
                                     "without caption", words=True))),
    "gan": Road(
        "GANs", "minidalle's GAN", ("clip", "gan"), Workshop.gan_road, gan.caption_to_picture,
        making_gan, seconds=0.001, knobs=(
            Knob("truncation", "T", "how far from 0 the noise may lie: a small one draws what is "
                                    "usual, and little else", 0.01),)),
    "imagen": Road(
        "Imagen", "minidalle's Imagen", ("textmodel", "imagen", "superres"), Workshop.imagen_road,
        imagen.caption_to_picture, making_imagen, seconds=0.02, knobs=(
            guidance(imagen.GUIDANCE),
            Knob("level", "L", "noise on the small picture, whose faults are forgiven with it: 0 "
                               "takes it as it is, 1 does not look at it (default "
                               f"{imagen.LEVEL:g})", 0, 1))),
    "flow": Road(
        "flows and transformers", "minidalle's flow", ("clip", "flow", "student"),
        Workshop.flow_road, dit.caption_to_picture, making_flow, seconds=0.05, knobs=(
            guidance(dit.GUIDANCE),
            Knob("steps", "N", f"from noise to picture; up to {dit.FEW}, with the usual guidance, "
                               f"are a student's of the flow (default {dit.STEPS})", 1, 100,
                 whole=True)))}
