"""The codes of a corpus as tokens for language models, with all that it takes to hear them again (docs/tokens.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from pydantic import NonNegativeInt, PositiveInt

from codec.checkpoint import load_model
from codec.core.config import read_index
from codec.core.errors import UserError
from codec.files.compress import new_header, write_file
from codec.files.decompress import decode_file, model_of
from codec.files.errors import WrongModelError
from codec.files.header import AudioHeader, Header, LevelHeader
from codec.files.payload import ChunkCoder
from codec.files.report import FileReport
from codec.files.shards import SHARDS, Layout, ShardFormat, TokenRow
from codec.files.streams import Place, Spool
from codec.models.base import CodecModel
from codec.priors.coding import Codes

INDEX_FILE = "tokens.json"
FORMAT = 1


class TokenIndex(Layout):
    """What `tokens.json` says of all shards, besides their layout.

    Attributes:
        source: the manifest or folder that was tokenized; `split` of it.
        entries: a digest of the recordings' paths and columns, in order.
        model, fingerprint: whose codes these are.
        sample_rate: that the model works at, in Hz; `frame_rate` its codes of the coarsest level a second.
        num_active: codebooks in use, of the level that uses the most.
        shard_size: recordings in a shard, one that could not be tokenized included; the last may have fewer.
    """

    made_by: Literal["codec tokenize"]
    format: PositiveInt
    source: str
    split: str | None
    entries: str
    model: str
    fingerprint: str
    sample_rate: PositiveInt
    frame_rate: float
    num_active: PositiveInt
    shard_format: ShardFormat
    shard_size: PositiveInt
    num_recordings: NonNegativeInt

    @property
    def num_shards(self) -> int:
        """Of a run that is done."""
        return -(-self.num_recordings // self.shard_size)

    def part(self, shard: int) -> range:
        """Numbers of the recordings in a shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.num_recordings))

    def shard(self, number: int) -> str:
        """Name of shard `number`, from 0."""
        return f"shard-{number:05d}.{self.shard_format}"


@dataclass(frozen=True)
class TokenStore:
    """The tokens of a corpus: iterate over its rows, which are in the order of the manifest.

    A shard that is damaged is a UserError once it is read.
    """

    folder: Path
    index: TokenIndex

    def __iter__(self) -> Iterator[TokenRow]:
        for number in range(self.index.num_shards):
            yield from self._rows(number)

    def __len__(self) -> int:
        return sum(self._count(number) for number in range(self.index.num_shards))

    def row(self, key: int | str) -> TokenRow:
        """A row by its number, from 0, or by its path.

        Raises:
            UserError: there is none.
        """
        if isinstance(key, str):
            for row in self:
                if row.path == key:
                    return row
            raise UserError(f"{self.folder} has no row of {key!r}")
        before = 0
        for shard in range(self.index.num_shards):
            count = self._count(shard)
            if before <= key < before + count:
                return self._rows(shard)[key - before]
            before += count
        raise UserError(f"{self.folder} has {before} rows, from 0 on: there is none of number {key}")

    def _rows(self, shard: int) -> list[TokenRow]:
        return SHARDS[self.index.shard_format].read(self.folder / self.index.shard(shard), self.index)

    def _count(self, shard: int) -> int:
        return SHARDS[self.index.shard_format].count(self.folder / self.index.shard(shard))


def read_tokens(folder: str | os.PathLike[str]) -> TokenStore:
    """The tokens in `folder`, as `codec tokenize` wrote them; a shard is read when its rows are asked for.

    Raises:
        UserError: there are none, not all of them, or they are of a newer version.
    """
    folder = Path(folder)
    missing, damaged = "tokens: make them with codec tokenize", "tokenize again"
    index = read_index(TokenIndex, folder / INDEX_FILE, newest=FORMAT, missing=missing, damaged=damaged)
    there = sum((folder / index.shard(number)).exists() for number in range(index.num_shards))
    if there < index.num_shards:
        raise UserError(f"{folder} has {there} of {index.num_shards} shards: run codec tokenize again, it goes on")
    return TokenStore(folder, index)


def decode_tokens(
    store: TokenStore,
    row: TokenRow,
    target: Place,
    model: CodecModel | str | os.PathLike[str] | None = None,
    *,
    suffix: str | None = None,
    device: str = "auto",
) -> FileReport:
    """Turn a row back into a recording: what decoding the recording's .vqc file gives, sample for sample.

    Args:
        target, suffix, device: as for `decode_file`.
        model: whose codes these are, or what `codec.load` takes; None finds a bundled one by name.

    Raises:
        UserError: another model, or codes that are not as long as the row says.
    """
    index = store.index
    if model is None or isinstance(model, (str, os.PathLike)):
        name = os.fspath(model) if model else model_of(index, str(store.folder))
        model = load_model(name, device=device)
    with Spool(row.path) as spool:
        write_tokens(store, row, cast(BinaryIO, spool), model)
        spool.seek(0)
        return decode_file(cast(BinaryIO, spool), target, model, prior="none", suffix=suffix)


def write_tokens(store: TokenStore, row: TokenRow, out: BinaryIO, model: CodecModel) -> None:
    """Write a row as the .vqc file that `encode_file` makes of its recording without a prior.

    Raises:
        UserError: as for `decode_tokens`.
    """
    index = store.index
    if model.fingerprint != index.fingerprint:
        raise WrongModelError(
            f"{store.folder} holds codes of model {index.model!r} (fingerprint {index.fingerprint}), not of "
            f"{model.name!r} ({model.fingerprint}): give that model with --model"
        )
    levels = tuple(LevelHeader(each.downsample_factor, each.codebook_size, each.num_codebooks) for each in index.levels)
    media = AudioHeader(row.sample_rate, row.num_samples, row.channels, index.sample_rate)
    header = new_header(model, levels, media, rows=1)
    lengths = tuple(header.codes_size[0] * ratio for ratio in index.ratios)
    if tuple(codes.shape[1] for codes in row.codes) != lengths:
        found = ", ".join(str(codes.shape[1]) for codes in row.codes)
        raise UserError(f"{row.path} has {found} frames; {row.num_samples} samples take {', '.join(map(str, lengths))}")
    write_file(out, header, _chunks(header, row.codes, index.ratios), ChunkCoder.of(model, header.num_active, None))


def _chunks(header: Header, codes: Codes, ratios: tuple[int, ...]) -> Iterator[Codes]:
    for chunk in range(header.num_chunks):
        (cell,) = header.cell(chunk)
        yield tuple(
            level[None, :, cell.start * ratio : cell.stop * ratio] for level, ratio in zip(codes, ratios, strict=True)
        )
