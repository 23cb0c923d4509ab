"""Many tables, and symbols that each choose one: coded table by table, so that each table is called once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from codec.entropy.range_coder import SymbolDecoder, SymbolEncoder, Symbols
from codec.entropy.table import FrequencyTable


class TableFamily:
    """Tables given by their frequencies, `[K]` each."""

    def __init__(self, frequencies: Sequence[npt.NDArray[np.integer]]):
        self._tables = [FrequencyTable(row.astype(np.int64)) for row in frequencies]

    def put(self, encoder: SymbolEncoder, symbols: Symbols, chosen: Symbols) -> None:
        """Code `symbols` `[n]`, each under its `chosen` `[n]` table: lower tables first, of one table in order."""
        for table, places in self._by_table(chosen):
            encoder.put(symbols[places], table)

    def take(self, decoder: SymbolDecoder, chosen: Symbols) -> npt.NDArray[np.int64]:
        """Decode the symbols `[n]` of the `chosen` `[n]` tables; errors as `SymbolDecoder`."""
        symbols = np.empty(len(chosen), dtype=np.int64)
        for table, places in self._by_table(chosen):
            symbols[places] = decoder.take(len(places), table)
        return symbols

    def _by_table(self, chosen: Symbols) -> Iterator[tuple[FrequencyTable, npt.NDArray[np.intp]]]:
        order = np.argsort(chosen, kind="stable")
        counts = np.bincount(chosen, minlength=len(self._tables))
        used = np.flatnonzero(counts)
        for index, places in zip(used, np.split(order, np.cumsum(counts[used]))[:-1], strict=True):
            yield self._tables[index], places
