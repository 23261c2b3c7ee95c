import torch

from undertow.demo.digits import TRAINING, digits, split


def test_shapes_and_standardisation():
    x, y = digits()
    assert x.shape == (1797, 64)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert x.mean(0).abs().max() < 1e-6
    lively = x.std(0) > 0
    assert lively.sum() == 61  # three corner pixels are blank in every image
    assert ((x.std(0, correction=0)[lively] - 1).abs() < 0.2).sum() >= 56  # the rest hardly vary: std near 10⁻³


def test_the_labels_are_the_published_counts():
    # Class counts of the test set in the UCI repository's description (optdigits.names).
    assert torch.bincount(digits()[1]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_split_is_decided_by_the_seed():
    one, again, other = split(1), split(1), split(2)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.y, other.y)
    assert len(one.x) == TRAINING
    assert len(one.held_out_x) == len(one.held_out_y) == 397
    both = torch.bincount(torch.cat([one.y, one.held_out_y]))
    assert torch.equal(both, torch.bincount(digits()[1]))


def test_the_digits_can_be_learnt():
    # A linear model in closed form: labels that did not belong to the images would stay at chance, 10 %.
    data = split()
    targets = torch.nn.functional.one_hot(data.y, 10).float()
    weights = torch.linalg.lstsq(data.x.double(), targets.double(), driver="gelsd").solution
    accuracy = ((data.held_out_x.double() @ weights).argmax(1) == data.held_out_y).double().mean()
    assert accuracy > 0.9
