"""The most pairs in a graph, by augmenting paths: slow, and knowing nothing of lines or times."""

from __future__ import annotations


def most_pairs(partners: list[list[int]]) -> int:
    """Size of a maximum matching; `partners[i]` are those on the right that `i` on the left may take (Kuhn 1955)."""
    taken_by: dict[int, int] = {}

    def place(left: int, tried: set[int]) -> bool:
        for right in partners[left]:
            if right not in tried:
                tried.add(right)
                if right not in taken_by or place(taken_by[right], tried):
                    taken_by[right] = left
                    return True
        return False

    return sum(place(left, set()) for left in range(len(partners)))
