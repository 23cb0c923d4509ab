"""A bounded memory of decoded files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np


class DecodedCache:
    """The most recently used arrays, at most `limit_bytes` of them together. Threads may share it."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of `key`, decoded now if it is not held. Callers must not write to it."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        array = decode()
        with self._lock:
            if key not in self._arrays and array.nbytes <= self.limit_bytes:
                self._arrays[key] = array
                self.held_bytes += array.nbytes
                while self.held_bytes > self.limit_bytes:
                    _, dropped = self._arrays.popitem(last=False)
                    self.held_bytes -= dropped.nbytes
        return array
