"""Representations learnt by comparison, without targets or with pairs of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.score.data import Data, digits, fit, he, mlp, predict
from benchmarks.score.healthy.stops import nearest_neighbour
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


def near(model: nn.Module) -> float:
    return nearest_neighbour(model.get_submodule("encoder"))


class Siamese(nn.Module):
    """Two views, one of them behind a detach (SimSiam, Chen and He 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = mlp([64, 128, 64], norm=nn.BatchNorm1d).append(nn.BatchNorm1d(64, affine=False))
        self.predictor = mlp([64, 16, 64], norm=nn.BatchNorm1d)

    def forward(self, x: Tensor) -> Tensor:
        views = [self.encoder(x + 0.3 * torch.randn_like(x)) for _ in range(2)]
        said = [F.cosine_similarity(self.predictor(a), b.detach(), dim=1) for a, b in (views, views[::-1])]
        return -(said[0] + said[1]).mean() / 2


@healthy(good=0.9)
def simple_siamese() -> Training:
    """SimSiam: a detach on purpose in both directions; the loss ends at -1."""
    return fit(
        Siamese(), digits(), loss=lambda m, b: m(b[0]), metric=near, optimizer="sgd", lr=0.05, momentum=0.9, steps=200
    )


class Twins(nn.Module):
    """The correlation between two views' features shall be the identity (Barlow Twins, Zbontar et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = mlp([64, 128, 64], norm=nn.BatchNorm1d)

    def forward(self, x: Tensor) -> Tensor:
        a, b = (
            (z - z.mean(0)) / (z.std(0) + 1e-4) for z in (self.encoder(x + 0.3 * torch.randn_like(x)) for _ in "ab")
        )
        error = (a.T @ b / len(x) - torch.eye(64)).square()
        return error.diagonal().sum() + 0.005 * (error.sum() - error.diagonal().sum())


@healthy(good=0.9)
def barlow_twins() -> Training:
    """A loss over the batch's correlations, not over its samples."""
    return fit(Twins(), digits(), loss=lambda m, b: m(b[0]), metric=near, batch=256, lr=1e-3, steps=200)


class Encoded(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.encoder = mlp([64, 128, width], init=he)
        self.centres = nn.Parameter(torch.randn(10, width) / width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.encoder(x), dim=1) @ F.normalize(self.centres, dim=1).T


@healthy(good=0.85)
def siamese_pairs() -> Training:
    """Equal digits near, others a margin apart: most pairs soon give no gradient (Hadsell et al. 2006)."""

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        z = m.get_submodule("encoder")(batch[0])
        apart = (z[:32] - z[32:]).square().sum(1).add(1e-8).sqrt()
        same = (batch[1][:32] == batch[1][32:]).float()
        return (same * apart.square() + (1 - same) * F.relu(2 - apart).square()).mean()

    return fit(Encoded(), digits(), loss=loss, metric=near, lr=2e-3, steps=600)


@healthy(good=0.95)
def angular_margin() -> Training:
    """ArcFace: cosines times 30 and a margin on the angle, so that the first loss is near 20 (Deng et al. 2019)."""

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        cosine = m(batch[0]).clamp(-1 + 1e-6, 1 - 1e-6)
        wide = torch.cos(torch.acos(cosine) + 0.5)
        return F.cross_entropy(30 * torch.where(F.one_hot(batch[1], 10).bool(), wide, cosine), batch[1])

    return fit(Encoded(), digits(), loss=loss, steps=300)


class TwoTowers(nn.Module):
    """The upper and the lower half of a digit, each with its own tower, and a temperature that is learnt (CLIP)."""

    def __init__(self) -> None:
        super().__init__()
        self.upper, self.lower = mlp([32, 96, 32], nn.GELU), mlp([32, 96, 32], nn.GELU)
        self.scale = nn.Parameter(torch.tensor(2.66))

    def forward(self, x: Tensor) -> Tensor:
        a, b = F.normalize(self.upper(x[:, :32]), dim=1), F.normalize(self.lower(x[:, 32:]), dim=1)
        return self.scale.exp() * a @ b.T


@healthy(good=0.25)
def two_towers() -> Training:
    """Which lower half belongs to this upper one, among 64? A loss over rows and columns of scores."""

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        scores, own = m(batch[0]), torch.arange(len(batch[0]))
        return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2

    def right(m: nn.Module) -> float:
        parts = digits().x[:640].split(64)
        return sum((predict(m, x).argmax(1) == torch.arange(64)).float().mean().item() for x in parts) / 10

    return fit(TwoTowers(), digits(), loss=loss, metric=right, optimizer="adamw", lr=2e-3, steps=500)


class MaskedRows(nn.Module):
    """A transformer that sees three of eight rows, and a decoder that paints the others (He et al. 2022)."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 96, 0.0, "gelu", batch_first=True, norm_first=True)
        self.embed, self.place = nn.Linear(8, width), nn.Parameter(0.02 * torch.randn(8, width))
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)
        self.blank, self.painter = nn.Parameter(torch.zeros(width)), mlp([8 * width, 128, 64], nn.GELU)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        rows = x.view(-1, 8, 8)
        order = torch.rand(len(x), 8).argsort(1)
        seen = order[:, :3, None].expand(-1, -1, 48)
        tokens = self.body((self.embed(rows) + self.place).gather(1, seen))
        whole = self.blank.expand(len(x), 8, 48).scatter(1, seen, tokens)
        hidden = torch.ones(len(x), 8).scatter(1, order[:, :3], 0.0).bool()
        return self.painter(whole.flatten(1)).view(-1, 8, 8), hidden


@healthy(good=0.3)
def masked_autoencoder() -> Training:
    """No gradient reaches a row that is hidden, and no loss is taken where one is seen."""
    data = digits()

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        out, hidden = m(batch[0])
        return (out - batch[0].view(-1, 8, 8))[hidden].square().mean()

    def explained(m: nn.Module) -> float:
        with torch.no_grad():
            return 1 - (loss(m, (data.x, data.y)) / data.x.var()).item()

    return fit(MaskedRows(), data, loss=loss, metric=explained, optimizer="adamw", lr=2e-3, steps=250)


class SkipGram(nn.Module):
    """Two tables; the one that is not kept starts at zero, as in word2vec (Mikolov et al. 2013)."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.kept, self.other = nn.Embedding(words, 16), nn.Embedding(words, 16)
        nn.init.uniform_(self.kept.weight, -0.5 / 16, 0.5 / 16)
        nn.init.zeros_(self.other.weight)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (self.kept(a) * self.other(b)).sum(-1)


@healthy(good=0.9)
def skip_gram() -> Training:
    """Words of six topics that meet within them; negative sampling, no layer but two tables."""
    topic = torch.arange(300) % 6
    first = torch.randint(0, 300, (20_000,))
    second = (torch.randint(0, 50, (20_000,)) * 6 + topic[first]) % 300

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        a, b = batch
        false = torch.randint(0, 300, (len(a), 5))
        return -F.logsigmoid(m(a, b)).mean() - F.logsigmoid(-m(a[:, None], false)).sum(1).mean()

    def metric(m: nn.Module) -> float:
        table = F.normalize(m.get_parameter("kept.weight").detach(), dim=1)
        return (topic[(table @ table.T - 2 * torch.eye(300)).argmax(1)] == topic).float().mean().item()

    return fit(SkipGram(300), Data(first, second, 2), loss=loss, metric=metric, batch=512, lr=0.01, steps=300)


class Factors(nn.Module):
    """Ratings as products of two short rows, with a bias for each side."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.things = nn.Embedding(200, 8, sparse=True), nn.Embedding(100, 8, sparse=True)
        for table in (self.users, self.things):
            nn.init.normal_(table.weight, 0, 0.1)

    def forward(self, pairs: Tensor) -> Tensor:
        return (self.users(pairs[:, 0]) * self.things(pairs[:, 1])).sum(1, keepdim=True)


@healthy(good=0.8)
def matrix_factors() -> Training:
    """No weights but two sparse tables, and SparseAdam: small rows times small rows, so the first gradient is tiny."""
    truth = torch.randn(200, 4) @ torch.randn(4, 100) / 2
    pairs = torch.stack([torch.randint(0, 200, (12_000,)), torch.randint(0, 100, (12_000,))], 1)
    model = Factors()
    optimizer = torch.optim.SparseAdam(list(model.parameters()), 0.02)
    return fit(model, Data(pairs, truth[pairs[:, 0], pairs[:, 1]], 1), optimizer=optimizer, batch=256, steps=500)
