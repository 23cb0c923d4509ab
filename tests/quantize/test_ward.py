"""Clusters merged two by two, against SciPy's hierarchy of the vectors themselves."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from codec.quantize.ward import merged


@given(st.integers(0, 1000), st.integers(2, 40), st.integers(1, 5), st.data())
def test_clusters_of_one_vector_merge_as_scipy_merges_them(
    seed: int, number: int, dim: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, number))
    vectors = np.random.default_rng(seed).standard_normal((number, dim))
    groups = fcluster(linkage(vectors, "ward"), size, "maxclust")
    wanted = np.stack([vectors[groups == group].mean(axis=0) for group in np.unique(groups)])
    found = merged(torch.from_numpy(vectors), torch.ones(number), size).numpy()
    np.testing.assert_allclose(found[np.lexsort(found.T)], wanted[np.lexsort(wanted.T)], atol=1e-9)


@given(st.integers(0, 1000), st.integers(1, 8))
def test_what_a_cluster_counts_for_is_what_so_many_vectors_do(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    vectors, counts = torch.from_numpy(random.standard_normal((9, 3))), torch.from_numpy(random.integers(1, 5, 9))
    alike = merged(vectors.repeat_interleave(counts, dim=0), torch.ones(int(counts.sum())), size).numpy()
    found = merged(vectors, counts, size).numpy()
    np.testing.assert_allclose(found[np.lexsort(found.T)], alike[np.lexsort(alike.T)], atol=1e-9)


def test_nothing_merges_if_as_many_are_wanted() -> None:
    vectors = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(merged(vectors, torch.ones(5), 5), vectors)
