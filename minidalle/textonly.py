r"""A text encoder that has never seen a picture: it learns by filling in words.

in -> out   ids (B, T) -> states of all tokens (B, T, D), each in the light of all others
idea        Hide some words of a sentence, and let a transformer say which ones they were. It sees
            what stands before and after a gap, so nothing is causal here. To fill gaps well it must
            know which words may stand where and what goes with what; its states hold that, and are
            taken for the meaning of the sentence. No picture is ever shown to it. Imagen found that
            such states, of a large enough model, are all that a text-to-image model needs.
equation    loss = -mean over hidden i of log p(word_i | all that is not hidden)
paper       BERT: Devlin et al. 2018, arXiv:1810.04805, section 3.1; T5, whose encoder Imagen takes:
            Raffel et al. 2019, arXiv:1910.10683; frozen states: Saharia et al. 2022 (Imagen),
            arXiv:2205.11487, section 2.1
left out    spans of several words behind one gap (T5), a decoder that writes them, and any text
            beyond the captions of this world
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from minidalle.parallel import mean_of_all
from minidalle.train import rand
from minidalle.transformer import Transformer, TransformerConfig

NOTHING = -100                 # the target where nothing is to be said: cross_entropy leaves it out


@dataclass(frozen=True)
class TextConfig:
    vocab: int                 # of the tokenizer
    context: int               # tokens of a caption, start, end and padding included
    pad: int = 0               # id that is heard by nobody
    first: int = 3             # ids below it are no words: pad, start, end
    width: int = 128           # D
    depth: int = 2             # captions are short
    heads: int = 4
    share: float = 0.5         # of the words that are hidden; BERT's 0.15 is for longer texts
    doubt: float = 0.1         # of those: so many are shown after all, and so many are wrong (BERT)


def hide(ids: Tensor, share: float, gap: int, first: int,
         generator: Generator | None = None) -> tuple[Tensor, Tensor]:
    """ids (B, T) -> what is seen (B, T), and targets (B, T). Each word, an id from `first` on, is
    replaced by `gap` with probability `share`; a target is the word that was there, and NOTHING
    wherever none is hidden."""
    chosen = rand(ids.numel(), ids.device, generator).view(ids.shape) < share
    hidden = chosen & (ids >= first)                                        # (B, T)
    return torch.where(hidden, gap, ids), torch.where(hidden, ids, NOTHING)


def doubt(seen: Tensor, targets: Tensor, share: float, words: range,
          generator: Generator | None = None) -> Tensor:
    """A share of the gaps in seen (B, T) shows its word after all, and as many show any id of
    `words`: section 3.1 of BERT. The targets stay, so what is seen may be wrong, and a state must
    say which word it stands on. Where gaps alone are asked for, the states forget it: to fill the
    gaps of "a red seven" nobody needs to know the seven, and no picture could be drawn of it.
    """
    coin, other = (rand(seen.numel(), seen.device, generator).view(seen.shape) for _ in range(2))
    other = (words.start + other * len(words)).long().clamp(max=words.stop - 1)     # (B, T)
    hidden = targets != NOTHING                                             # (B, T)
    seen = torch.where(hidden & (coin < share), targets, seen)
    return torch.where(hidden & (coin >= 1 - share), other, seen)           # (B, T)


class TextEncoder(nn.Module):
    """ids (B, T) -> which word belongs at each place (B, T, V); on the way there, the states."""

    whole_batch = "the loss of the text encoder is a mean over all the gaps of a batch"

    def __init__(self, config: TextConfig):
        super().__init__()
        self.config, self.gap = config, config.vocab           # one id more than the tokenizer has
        self.token = nn.Embedding(config.vocab + 1, config.width)
        self.position = nn.Parameter(0.01 * torch.randn(config.context, config.width))
        self.transformer = Transformer(TransformerConfig(config.width, config.depth, config.heads,
                                                         causal=False))
        self.guess = nn.Linear(config.width, config.vocab)
        nn.init.normal_(self.token.weight, std=0.02)

    def states(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, D): each token in the light of all others. Pads are seen by none."""
        x = self.token(ids) + self.position[:ids.shape[1]]                  # (B, T, D)
        return self.transformer(x, keep=ids != self.config.pad)             # (B, T, D)

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """What a picture model is told: states (B, T, D), and which are heard (B, T): no pads."""
        return self.states(ids), ids != self.config.pad

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, T, V) of the word at each place."""
        return self.guess(self.states(ids))

    def loss(self, ids: Tensor, generator: Generator | None = None) -> Tensor:
        """Cross entropy of the hidden words of ids (B, T), and of no others."""
        words = range(self.config.first, self.config.vocab)
        seen, targets = hide(ids, self.config.share, self.gap, words.start, generator)
        seen = doubt(seen, targets, self.config.doubt, words, generator)
        hidden = targets != NOTHING                                         # (B, T)
        logits = self.guess(self.states(seen)[hidden])                      # (n, V)
        # subtle: the mean over none, of a small batch in which no word is hidden, would be nan
        loss = F.cross_entropy(logits.float(), targets[hidden], reduction="sum")
        return loss / mean_of_all(hidden.sum()).clamp(min=1)
