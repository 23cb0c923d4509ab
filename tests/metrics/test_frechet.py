import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.metrics import FeatureGaussian, frechet_distance


def gathered(features: torch.Tensor, batch: int = 1000) -> FeatureGaussian:
    gaussian = FeatureGaussian()
    for part in features.split(batch):
        gaussian.add(part)
    return gaussian


def cloud(count: int, width: int, seed: int) -> torch.Tensor:
    """Correlated features around a mean far from zero, `[count, width]`."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(count, width, generator=generator, dtype=torch.float64) @ mixing + 5


def exactly(mean: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
    """Features whose mean and (diagonal) covariance are exactly these: every corner of a box."""
    width = len(mean)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * width).reshape(-1, width)
    return mean + deviations * corners * ((len(corners) - 1) / len(corners)) ** 0.5


@given(
    st.lists(
        st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=5
    ).map(lambda rows: torch.tensor(rows, dtype=torch.float64).T)
)
def test_independent_features_have_the_distance_of_their_means_and_deviations(parameters):
    mean, other_mean, deviation, other_deviation = parameters
    found = frechet_distance(gathered(exactly(mean, deviation)), gathered(exactly(other_mean, other_deviation)))
    expected = (mean - other_mean).square().sum() + (deviation - other_deviation).square().sum()
    assert found == pytest.approx(float(expected), rel=1e-9, abs=1e-6)  # roots of eigenvalues that are 1e-14 for 0


@pytest.mark.parametrize(("count", "width"), [(400, 6), (5, 12)])
def test_the_distance_is_that_of_the_matrix_root(count, width):
    linalg = pytest.importorskip("scipy.linalg")
    a, b = cloud(count, width, 0).numpy(), cloud(count + 3, width, 1).numpy()
    one, two = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(one @ two).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + two - 2 * root)
    found = frechet_distance(gathered(torch.from_numpy(a)), gathered(torch.from_numpy(b)))
    assert found == pytest.approx(expected, rel=1e-5 if count < width else 1e-9)  # sqrtm of a singular product is rough


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batches_give_the_moments_of_the_whole(batch):
    features = (cloud(64, 5, 2) + 1e6).float()
    found, whole = gathered(features, batch), features.double().numpy()
    assert found.count == 64
    np.testing.assert_allclose(found.mean, whole.mean(0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(whole.T), rtol=1e-9)


def test_the_distance_is_symmetric_and_none_to_itself():
    a, b = gathered(cloud(50, 8, 0)), gathered(cloud(60, 8, 1))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_what_has_no_covariance_is_refused():
    one = gathered(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="2 features or more; got 1"):
        frechet_distance(one, one)
    with pytest.raises(ValueError, match=r"shape \(2, 4\); wanted \[b, 3\]"):
        one.add(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"wanted \[b, d\]"):
        FeatureGaussian().add(torch.zeros(3))
