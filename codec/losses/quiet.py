"""How quiet a crop of a recording may be before nobody speaks in it."""

QUIETEST_SPEECH_DB = -55.0
"""Root mean square of the quietest speech, in dB under full scale."""


def quietest_power(window: int) -> float:
    """Power that a frame of the quietest speech has over all bins of a Hann-windowed, one-sided spectrum."""
    return 10 ** (QUIETEST_SPEECH_DB / 10) * window / 2 * 0.375 * window
