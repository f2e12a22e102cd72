r"""Priors: the same captions through each prior, and through none.

in -> out   a Workshop -> a table
idea        CLIP, decoder and upsampler stay as they are, only the prior changes, so what is left
            of a difference belongs to it. Without one the decoder gets the text vector itself,
            though no picture has such a vector.
paper       Ramesh et al. 2022 (DALL-E 2), arXiv:2204.06125, section 5.1 and figure 8
left out    the caption alone, without any vector: our decoder reads no caption
"""
from functools import partial

from torch import Generator, Tensor

from minidalle.unclip import caption_to_picture
from minidalle.workshop.demo import SAMPLES, aligned, machine, measure, notes
from minidalle.workshop.recipes import Workshop


class NoPrior:
    """In the place of a prior: the text vector as it is."""

    def sample(self, ids: Tensor, text_vectors: Tensor, guidance: float = 1.0,
               generator: Generator | None = None) -> Tensor:
        return text_vectors


def compare_priors(workshop: Workshop, n: int | None = None, prior_guidance: float = 1.0) -> dict:
    """Train or load what is needed, and measure n pictures a split for each prior."""
    n = n or SAMPLES[workshop.budget]
    priors = {"no prior": NoPrior, "autoregressive": workshop.arprior,
              "diffusion": workshop.prior}
    result = {"samples": n, "seed": workshop.seed, "budget": workshop.budget,
              "machine": machine(workshop.device)}
    result["priors"] = {
        name: measure(workshop, partial(caption_to_picture, workshop.unclip(prior),
                                        prior_guidance=prior_guidance), n)
        for name, prior in priors.items()}
    return result


def table(result: dict) -> str:
    """The priors as a text that fits a terminal."""
    first = next(iter(result["priors"].values()))
    splits = [split for split in ("test", "unseen") if split in first]
    lines = [aligned("", [*splits, "FID", "recall", "CLIP", "diverse"], 24)]
    real = [first["judge"]["all"], *[None] * (len(splits) - 1), first["fid_floor"],
            first["recall_floor"], None, first.get("diversity_floor")]
    lines.append(aligned("real pictures", map(cell, real), 24))
    for name, row in result["priors"].items():
        numbers = [row[split]["all"] for split in splits]
        numbers += [row.get(key) for key in ("fid", "recall", "clip_score", "diversity")]
        lines.append(aligned(name, map(cell, numbers), 24))
    lines.append(f"test, unseen: share of pictures with every factor right; "
                 f"{result['samples']} pictures for each, seed {result['seed']}")
    lines.append(result["machine"])
    return "\n".join(lines + notes(result))


def cell(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"
