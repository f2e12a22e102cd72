r"""Metrics: how good is a generated picture, in numbers instead of admiration.

in -> out   images (B, 3, H, W) in [-1, 1], or their features (B, F) -> numbers
idea        A small network, the judge, learns to read digit, ink and paper from real pictures.
            What it reads in a generated picture is compared with what the caption says:
            attribute accuracy. Its last hidden layer is a space in which like pictures are near,
            and there the generated crowd is compared with the real crowd: FID and KID ask how far
            apart the two are, precision how many fakes look real, recall how much of the real
            variety is covered. None of them is 0 or 1 between two sets of real pictures, so
            always print that floor beside them, from the same number of samples.
equation    FID = |mu_x - mu_y|^2 + Tr(C_x + C_y - 2 (C_x C_y)^(1/2))
papers      FID: Heusel et al. 2017, arXiv:1706.08500, equation 6
            KID: Binkowski et al. 2018, arXiv:1801.01401, section 4
            precision and recall: Kynkaanniemi et al. 2019, arXiv:1904.06991, section 2
            CLIP score: Hessel et al. 2021, arXiv:2104.08718, section 3
left out    the Inception network behind published numbers (ours compare only with each other);
            KID over random subsets, here one estimate over all pairs
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK = 1024  # rows at a time: 1024 x 10,000 distances in float64 are 80 MB


@dataclass(frozen=True)
class JudgeConfig:
    factors: tuple[int, ...] = (10, 8, 8)               # values that each factor can take
    names: tuple[str, ...] = ("digit", "ink", "paper")  # one for each factor, for the reports
    width: int = 24    # 4 x 24 features: few enough that 1000 pictures give a sound covariance
    size: int = 32     # pictures of another size must be resized first; a multiple of 8


def conv_block(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU())


class Judge(nn.Module):
    """Reads every factor of a picture: images (B, 3, H, W) -> one tensor of logits a factor."""

    whole_batch = "the judge's batch norm needs a whole batch"

    def __init__(self, config: JudgeConfig):
        super().__init__()
        if len(config.factors) != len(config.names) or config.size % 8:
            raise ValueError(f"got {config}, expected one name for each factor and a size that "
                             "is a multiple of 8; change JudgeConfig")
        self.config = config
        w = config.width
        # Half the height and width at once: most of the time would go into the full size.
        self.body = nn.Sequential(
            conv_block(3, w, stride=2),                             # (B, w, H/2, W/2)
            conv_block(w, 2 * w, stride=2),                         # (B, 2w, H/4, W/4)
            conv_block(2 * w, 2 * w, stride=1),
            conv_block(2 * w, 4 * w, stride=2),                     # (B, 4w, H/8, W/8)
            nn.Flatten(),  # and no mean over places, so that place itself can be a factor
            nn.Linear(4 * w * (config.size // 8) ** 2, 4 * w, bias=False),  # (B, F), F = 4w
            nn.BatchNorm1d(4 * w),  # features near unit size, else KID's cubes run to thousands
            nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(4 * w, n) for n in config.factors)
        self.to(memory_format=torch.channels_last)  # the faster layout for small convolutions

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self._hidden(images)                                    # (B, F)
        return [head(x) for head in self.heads]                     # each (B, n)

    def loss(self, batch: tuple[Tensor, Tensor], generator=None) -> Tensor:
        """batch: images and their factors (B, n_factors). The sum of one cross entropy each."""
        images, factors = batch
        self._check_factors(images, factors)
        logits = self(blur_half(images, generator))
        return sum(F.cross_entropy(x, factors[:, i]) for i, x in enumerate(logits))

    def features(self, images: Tensor) -> Tensor:
        """The last hidden layer (B, F), the space of FID; in eval mode, without gradients."""
        return self._measure(self._hidden, images)

    def read(self, images: Tensor) -> Tensor:
        """The most likely value of every factor (B, n_factors); in eval mode."""
        logits = self._measure(lambda part: torch.cat(self(part), dim=1), images)
        parts = logits.split(list(self.config.factors), dim=1)      # each (B, n)
        return torch.stack([part.argmax(dim=1) for part in parts], dim=1)

    def _hidden(self, images: Tensor) -> Tensor:
        expected = (3, self.config.size, self.config.size)
        if images.dim() != 4 or images.shape[1:] != expected:
            raise ValueError(f"got images {tuple(images.shape)}, expected (B, {expected[0]}, "
                             f"{expected[1]}, {expected[2]}); resize them with F.interpolate")
        return self.body(images.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def _measure(self, function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """In eval mode, else a picture's features would depend on the others in its batch."""
        if not torch.isfinite(images).all():
            raise ValueError("got images with NaN or infinity, expected values in [-1, 1]; "
                             "look at the model that made them")
        was_training = self.training
        self.eval()
        try:
            measured = torch.cat([function(part) for part in images.split(CHUNK)])
        finally:
            self.train(was_training)
        if not torch.isfinite(measured).all():
            raise ValueError("the judge answers with NaN or infinity; train it anew, its weights "
                             "are spoilt")
        return measured

    def _check_factors(self, images: Tensor, factors: Tensor) -> None:
        expected = (len(images), len(self.config.factors))
        if tuple(factors.shape) != expected or len(images) == 0:
            raise ValueError(f"got factors {tuple(factors.shape)} for {len(images)} images, "
                             f"expected {expected} and at least one; pass one row for an image")


def blur_half(images: Tensor, generator=None) -> Tensor:
    """Every second picture, drawn at random, as if it came enlarged from a stage of half size."""
    B, _, H, W = images.shape
    small = F.interpolate(images, size=(H // 2, W // 2), mode="area")
    blurred = F.interpolate(small, size=(H, W), mode="bilinear", align_corners=False)
    order = torch.randperm(B, device=images.device, generator=generator)
    return torch.where((order < B // 2).view(B, 1, 1, 1), blurred, images)


def attribute_accuracy(judge: Judge, images: Tensor, factors: Tensor) -> dict[str, float]:
    """The share of pictures in which the judge reads what the caption says.

    factors (B, n_factors) are those of the captions. One share for each name, and "all": the
    share of pictures with every factor right, which is not the product of the others.
    """
    judge._check_factors(images, factors)
    right = (judge.read(images) == factors).cpu()                   # (B, n_factors)
    shares = dict(zip(judge.config.names, right.double().mean(dim=0).tolist()))
    return {**shares, "all": right.all(dim=1).double().mean().item()}


def distances(real: Tensor, fake: Tensor) -> dict[str, float]:
    """All four distances between features (N, F) and (M, F).

    The floor is the same call with two sets of real pictures, of the same N and M: fewer
    samples alone make FID larger.
    """
    precision, recall = precision_recall(real, fake)
    return {"fid": frechet_distance(real, fake), "kid": kernel_distance(real, fake),
            "precision": precision, "recall": recall}


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """FID between features (N, F) and (M, F): two Gaussians fitted, and their distance."""
    x, y = _samples(x, y)
    centred_x, centred_y = x - x.mean(dim=0), y - y.mean(dim=0)
    cov_x = centred_x.T @ centred_x / (len(x) - 1)                  # (F, F)
    cov_y = centred_y.T @ centred_y / (len(y) - 1)
    # C_x C_y is not symmetric, but sqrt(C_x) C_y sqrt(C_x) is and has the same eigenvalues.
    values, vectors = torch.linalg.eigh(cov_x)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T         # root @ root = cov_x
    values = torch.linalg.eigvalsh(root @ cov_y @ root)             # (F,), rounding may dip < 0
    trace = cov_x.trace() + cov_y.trace() - 2 * values.clamp(min=0).sqrt().sum()
    return max(0.0, ((x.mean(dim=0) - y.mean(dim=0)).square().sum() + trace).item())


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """KID between features (N, F) and (M, F): squared MMD with k(a, b) = (a.b / F + 1)^3.

    Unbiased, unlike FID: its mean is 0 between two real sets of any size, so it is often
    slightly negative there. A picture is not compared with itself, hence the n (n - 1).
    """
    x, y = _samples(x, y)

    def kernel_sum(a, b):
        return sum((part @ b.T / b.shape[1] + 1).pow(3).sum() for part in a.split(CHUNK))

    def mean_within(a):
        diagonal = (a.square().mean(dim=1) + 1).pow(3).sum()
        return (kernel_sum(a, a) - diagonal) / (len(a) * (len(a) - 1))

    mean_between = kernel_sum(x, y) / (len(x) * len(y))
    return (mean_within(x) + mean_within(y) - 2 * mean_between).item()


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall of features (N, F) and (M, F).

    Round each sample lies a ball that reaches to its k-th nearest neighbour in its own set.
    Precision: the share of fakes inside the ball of some real one; recall: the other way round.
    """
    real, fake = _samples(real, fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(f"got k = {k} for {len(real)} real and {len(fake)} fake samples, "
                         "expected 1 <= k < both; use more samples")
    return _share_inside(fake, real, k), _share_inside(real, fake, k)


def _share_inside(points: Tensor, centres: Tensor, k: int) -> float:
    # Each centre is its own nearest at distance 0, so the k-th neighbour is number k + 1.
    # subtle: by matrix products a copy would lie 1e-7 beside itself, and outside a ball of radius 0
    def apart(part):
        return torch.cdist(part, centres, compute_mode="donot_use_mm_for_euclid_dist")
    radii = torch.cat([apart(part).topk(k + 1, largest=False).values[:, -1]
                       for part in centres.split(CHUNK)])           # (M,)
    inside = torch.cat([(apart(part) <= radii).any(dim=1)
                        for part in points.split(CHUNK)])           # (N,)
    return inside.double().mean().item()


def clip_score(image_vectors: Tensor, text_vectors: Tensor) -> float:
    """The mean cosine between images (N, E) and their own captions (N, E), in [-1, 1].

    CLIPScore (arXiv:2104.08718) is 2.5 max(cosine, 0) with one published CLIP; the factor only
    spreads its values over [0, 1]. Ours uses the CLIP trained here, so leave the cosine plain.
    """
    if image_vectors.dim() != 2 or image_vectors.shape != text_vectors.shape:
        raise ValueError(f"got images {tuple(image_vectors.shape)} and texts "
                         f"{tuple(text_vectors.shape)}, expected both (N, E), pair by pair")
    score = F.cosine_similarity(image_vectors.detach().float(), text_vectors.detach().float())
    if not torch.isfinite(score).all() or len(score) == 0:
        raise ValueError("got no vectors, or NaN or infinity in them, expected N >= 1 finite "
                         "pairs; look at the CLIP model")
    return score.mean().item()


def diversity(features: Tensor, groups: Sequence[int] | Tensor) -> float:
    """The mean distance between two pictures of one caption; 0 where they are all alike.

    groups (N,) says which caption each of the features (N, F) belongs to. Every caption counts
    the same, those with a single picture not at all.
    """
    features, groups = _samples(features)[0], torch.as_tensor(groups).cpu()
    if groups.shape != features.shape[:1]:
        raise ValueError(f"got groups {tuple(groups.shape)} for features "
                         f"{tuple(features.shape)}, expected one caption index for each row")
    parts = [features[groups == group] for group in groups.unique()]
    means = [F.pdist(part).mean() for part in parts if len(part) > 1]
    if not means:
        raise ValueError("got one picture for each caption, expected two or more of some "
                         "caption; sample each caption several times")
    return torch.stack(means).mean().item()


def binding(read: Tensor, said: Tensor) -> dict[str, float]:
    """Whether each ink is at its own digit: what the judge read and the captions said, both (B, 5)
    with the columns digit, ink of the left thing, digit, ink of the right one, paper (pairs.py).

    "left", "right": the shares of pictures with the said digit in the said ink there; "both" of
    them; "product": of the shares of the four factors, which "both" would be if each were right or
    wrong independently of the others (an exchange spoils two at once, so it makes this lower).
    Of the captions with two digits and two inks, where an exchange can be seen, "swapped": the
    share of pictures with both digits right and the inks exchanged; "swap_chance": what that would
    be if a coin dealt these inks, half the share with both digits right and the said two inks in
    either order. An ideal painter has 0 beside 0.5, one that binds nothing 0.5 beside 0.5.
    """
    if read.shape != said.shape or said.dim() != 2 or said.shape[1] != 5 or len(said) == 0:
        raise ValueError(f"got {tuple(read.shape)} read and {tuple(said.shape)} said, expected "
                         "both (B, 5) and at least one row: digit, ink, digit, ink, paper")
    right = (read == said)[:, :4].cpu()                             # (B, 4)
    left_thing, right_thing = right.unflatten(1, (2, 2)).all(dim=2).unbind(1)
    digits, inks = right[:, [0, 2]].all(dim=1), right[:, [1, 3]].all(dim=1)
    exchanged = (read[:, [1, 3]] == said[:, [3, 1]]).all(dim=1).cpu()
    visible = ((said[:, 0] != said[:, 2]) & (said[:, 1] != said[:, 3])).cpu()

    def share(of: Tensor, among: Tensor) -> float:
        return (of & among).sum().item() / max(1, among.sum().item())   # of none: 0
    every = torch.ones_like(visible)
    return {"left": share(left_thing, every), "right": share(right_thing, every),
            "both": share(left_thing & right_thing, every),
            "product": right.double().mean(dim=0).prod().item(),
            "swapped": share(digits & exchanged, visible),
            "swap_chance": share(digits & (inks | exchanged), visible) / 2}


def _samples(*sets: Tensor) -> list[Tensor]:
    """Checks features (N, F). In float64, which not every device has, so on the CPU."""
    for x in sets:
        if x.dim() != 2 or len(x) < 2 or x.shape[1] != sets[0].shape[1]:
            raise ValueError(f"got features {[tuple(x.shape) for x in sets]}, expected (N, F) "
                             "with the same F and N >= 2; pass judge.features(images)")
        if not torch.isfinite(x).all():
            raise ValueError("got features with NaN or infinity, expected finite numbers; look "
                             "at the model that made the pictures")
    return [x.detach().cpu().double() for x in sets]
