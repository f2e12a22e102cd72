r"""Caption: DALL-E in both orders, so that it also says what it sees.

in -> out   images (B, 3, H, W) -> codes (B, N) -> ids (B, T) -> captions
idea        Caption and picture are one sentence, and nothing says which of them comes first. With
            the words first the transformer draws; with the codes first it captions, by the same
            tables, places, blocks and heads. It begins with the weights of a Dalle, which knows
            what belongs together, and is trained in both orders, a loss for each: every picture is
            told, and every fourth one drawn as well, lest it forget how. What tells it the order is
            one vector, added to all that it reads when the codes come first. At the end each order
            does what it is good at: several captions are proposed by the one, and the other says
            with which of them it would most probably have drawn this picture.
equation    p(y, x) = p(y) p(x | y) = p(x) p(y | x),  y caption, x codes: the first way is that of
            dalle.py, and here is the last factor of the second
papers      the order exchanged in what has learnt to draw: Ding et al. 2021, arXiv:2105.13290,
            section 3.3 (there the captions rank drawings, and not the other way round); both orders
            in one transformer: Zhang et al. 2021, arXiv:2112.15283
left out    p(x) with the codes first: dalle.py has it already, with the null caption; eyes that see
            the whole picture at once, where ours read the codes as they draw them, in rows
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from minidalle.dalle import Dalle, DalleConfig, DalleRoad, check_shape, draw
from minidalle.data import Grammar
from minidalle.tokenizer import Tokenizer

TELLING = 2                    # weight of the new loss: of sixteen words, one or two say the digit


@dataclass(frozen=True)
class TwoWayConfig(DalleConfig):
    every: int = 4             # of so many pictures that are told one is drawn: a fourth more work


class TwoWay(Dalle):
    """A Dalle that captions too. The patterns are for drawing: who captions sees all before."""

    def __init__(self, config: TwoWayConfig, *patterns):
        super().__init__(config, *patterns)
        self.telling = nn.Parameter(0.02 * torch.randn(config.width))
        self.told = 0.0

    def begin_with(self, dalle: Dalle) -> None:
        """Take over what a Dalle has learnt; it knows nothing of the new vector."""
        self.load_state_dict(dalle.state_dict() | {"telling": self.telling.detach()})

    def tell(self, codes: Tensor, ids: Tensor) -> Tensor:
        """Codes (B, N), ids (B, T) -> text logits (B, T, vocab + T). Each place says what comes
        next: the last code the first word, the last word nothing."""
        check_shape("codes", codes, len(ids), self.config.grid ** 2)
        image, text = self.embed_codes(codes), self.embed_text(ids)[:, :-1]
        x = torch.cat([image, text], dim=1) + self.telling                  # (B, N + T - 1, D)
        return self.text_head(self.transformer(x)[:, codes.shape[1] - 1:])

    def loss(self, batch: tuple[Tensor, Tensor], generator: Generator | None = None) -> Tensor:
        """batch = ids (B, T), codes (B, N): words after codes, and for some codes after words."""
        ids, codes = batch
        logits = self.tell(codes, ids).float()                              # (B, T, vocab + T)
        told = F.cross_entropy(logits.flatten(0, 1), self.words(ids).flatten())
        self.told = told.detach()
        some = slice(None, None, self.config.every)
        return TELLING * told + super().loss((ids[some], codes[some]), generator)

    def watch(self) -> dict[str, float]:
        """For the log: the loss of the words after codes alone."""
        return {"told": float(self.told)}

    @torch.no_grad()
    def caption(self, codes: Tensor, temperature: float = 0.0,
                generator: Generator | None = None) -> Tensor:
        """ids (B, T) for codes (B, N), word after word; temperature 0: always the likeliest."""
        check_shape("codes", codes, len(codes), self.config.grid ** 2)
        x, cache, words = self.embed_codes(codes), self.transformer.cache(), []
        for place in self.text_place:                                       # (D,)
            heard = self.transformer(x + self.telling, cache=cache)         # (B, N or 1, D)
            logits = self.text_head(heard[:, -1]).float()                   # (B, vocab + T)
            words.append(draw(logits, temperature, generator=generator))    # (B, 1)
            x = self.text(words[-1]) + place                                # (B, 1, D)
        words = torch.cat(words, dim=1)                                     # (B, T)
        return words.masked_fill(words >= self.config.vocab, self.config.pad)


@torch.no_grad()
def picture_to_caption(road: DalleRoad, images: Tensor,
                       generator: Generator | list[Generator] | None = None,
                       best_of: int = 8) -> list[str]:
    """images (B, 3, H, W) in [-1, 1] -> what road.dalle, a TwoWay, says of each. Of best_of = n
    captions that occur to it, the one with which it would most probably have drawn the picture;
    with n = 1 the likeliest words, one after another."""
    if best_of < 1:
        raise ValueError(f"best_of is {best_of}; let at least 1 caption be found for each picture")
    if not len(images):
        return []
    codes = road.dvae.encode(images).repeat_interleave(best_of, dim=0)      # (B n, N)
    ids = road.dalle.caption(codes, float(best_of > 1), generator)          # (B n, T)
    # Bayes' rule: the captions are equally frequent, so p(y | x) is the largest where p(x | y) is
    fit = road.dalle.log_likelihood(ids, codes).unflatten(0, (-1, best_of))     # (B, n)
    best = torch.arange(len(images), device=fit.device) * best_of + fit.argmax(dim=1)
    return [sentence(road.tokenizer, row) for row in ids[best].tolist()]


def sentence(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of ids up to the end; what is said after it does not count."""
    end = ids.index(tokenizer.end) if tokenizer.end in ids else len(ids)
    return tokenizer.decode(ids[:end])


def said_right(grammar: Grammar, captions: list[str], factors: Tensor) -> dict[str, float]:
    """The share of captions that say each factor right, factors (B, F), and "all" of them: what
    `attribute_accuracy` is of pictures. A caption that is no sentence says nothing right."""
    if len(captions) != len(factors) or not captions:
        raise ValueError(f"got {len(captions)} captions for {len(factors)} rows of factors; pass "
                         "one for each, and at least one")
    said = torch.tensor([parsed(grammar, caption) for caption in captions])   # (B, F)
    right = said == factors.cpu()                                           # (B, F)
    shares = dict(zip(grammar.names, right.double().mean(dim=0).tolist()))
    return {**shares, "all": right.all(dim=1).double().mean().item()}


def parsed(grammar: Grammar, caption: str) -> tuple[int, ...]:
    """The factors that a caption says; -1 each where it is no sentence of this world."""
    try:
        return grammar.parse(caption)
    except ValueError:
        return (-1,) * len(grammar.names)
