"""Latents averaged with like moments of other recordings: against a slow oracle, and what it is for."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.core.errors import UserError
from codec.train.neighbours import GROUPS, NEAREST, OWN_WEIGHT, REACH, draw_moments, neighbour_means


def _slow_means(latents, moments):
    """The same by loops over moments, one number at a time."""
    size = len(moments.recordings) // moments.num_groups
    means = []
    for number, recording in enumerate(latents):
        rows = []
        for place in range(len(recording)):
            around = [min(max(place + off, 0), len(recording) - 1) for off in range(-REACH, REACH + 1)]
            window = torch.cat([recording[index] for index in around]) @ moments.directions
            best = []
            for group in range(moments.num_groups):
                members = range(group * size, (group + 1) * size)
                others = [m for m in members if int(moments.recordings[m]) != number]
                if others:
                    best.append(min((float((window - moments.keys[m]).square().sum()), m) for m in others))
            chosen = [moments.latents[m] for _, m in sorted(best)[:NEAREST]]
            total = sum(chosen, OWN_WEIGHT * recording[place])
            rows.append(total / (len(chosen) + OWN_WEIGHT))
        means.append(torch.stack(rows))
    return means


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any),
    st.integers(0, 2**16),
    st.sampled_from([50, 10**6]),
    st.sampled_from([1, 4, 20, GROUPS]),
)
def test_a_slow_search_finds_the_same(lengths, seed, most, groups):
    generator = torch.Generator().manual_seed(seed)
    latents = [torch.randn(length, 2, generator=generator).double() for length in lengths]
    moments = draw_moments(latents, most=most, groups=groups, seed=seed)
    assert len(moments.keys) % moments.num_groups == 0
    some = [recording[:5] for recording in latents if len(recording)]
    numbers = [number for number, recording in enumerate(latents) if len(recording)]
    there = replace(moments, recordings=torch.tensor([numbers.index(int(n)) for n in moments.recordings]))
    for mean, slow in zip(neighbour_means(some, there), _slow_means(some, there), strict=True):
        torch.testing.assert_close(mean, slow)


def test_moments_are_those_of_the_recordings():
    latents = [torch.arange(10.0 * (n + 1), dtype=torch.float64).view(-1, 2) + 100 * n for n in range(3)]
    moments = draw_moments(latents, groups=1)
    whole = torch.cat(latents)
    torch.testing.assert_close(moments.latents, whole)
    assert moments.recordings.tolist() == [0] * 5 + [1] * 10 + [2] * 15
    windows = torch.cat([torch.cat([r[[0, *range(len(r) - 1)]], r, r[[*range(1, len(r)), -1]]], 1) for r in latents])
    torch.testing.assert_close(
        torch.cdist(moments.keys, moments.keys), torch.cdist(windows, windows), atol=1e-2, rtol=1e-3
    )


def test_what_speakers_share_stays_and_what_they_do_not_goes():
    generator = torch.Generator().manual_seed(0)
    sounds = 4 * torch.randn(4, 8, generator=generator)
    said = [torch.randint(0, 4, (300,), generator=generator) for _ in range(40)]
    latents = [sounds[which] + torch.randn(300, 8, generator=generator) for which in said]
    means = list(neighbour_means(latents, draw_moments(latents)))
    before, after = (
        sum(float((each - sounds[which]).square().mean()) for each, which in zip(rows, said, strict=True)) / 40
        for rows in (latents, means)
    )
    assert after < 0.2 * before


def test_no_recording_is_its_own_neighbour():
    alone = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    (mean,) = neighbour_means([alone], draw_moments([alone]))
    torch.testing.assert_close(mean, alone)
    twin, far = alone.clone(), alone + 100
    first, second, third = neighbour_means([alone, twin, far], draw_moments([alone, twin, far]))
    assert not torch.allclose(first, alone, atol=1.0) and first.shape == second.shape == third.shape


def test_about_as_many_moments_are_drawn_as_are_asked_for_from_all_recordings_alike():
    latents = [torch.zeros(1000, 2)] * 20
    moments = draw_moments(latents, most=5000)
    assert len(moments.recordings) == 5000 // GROUPS * GROUPS
    assert torch.bincount(moments.recordings, minlength=20).min() > 150
    assert len(draw_moments(latents, most=10**6).recordings) > 20_000 - GROUPS


def test_no_speech_has_no_neighbours():
    with pytest.raises(UserError, match="no speech to find neighbours in"):
        draw_moments([])
