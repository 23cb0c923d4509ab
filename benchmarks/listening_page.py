"""One self-contained page to hear a model of speech at several rates beside Opus, Codec2 and Lyra v2 where present.

CODEC_LYRA=../shared/peers/lyra python benchmarks/listening_page.py MODEL MANIFEST OUT.html [--split dev]
    [--clips 6] [--seconds 6] [--kbps 0.75 1.5 3 6] [--prior auto]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from codec.checkpoint import load_model
from codec.core.errors import UserError
from codec.eval import select
from codec.report.listening import write_listening_page


def main() -> int:
    parser = argparse.ArgumentParser(description="A page to hear and see a model of speech beside other codecs.")
    parser.add_argument("model", help="bundled name or folder")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path, help="the page, .html")
    parser.add_argument("--split", default=None)
    parser.add_argument("--clips", type=int, default=6, help="recordings, spread over the manifest")
    parser.add_argument("--seconds", type=float, default=6.0, help="the first of every recording")
    parser.add_argument(
        "--kbps", type=float, nargs="+", default=[0.75, 1.5, 3, 6], help="rates that ours should come near"
    )
    parser.add_argument("--prior", default="auto", help="auto, none, a bundled name or a folder")
    options = parser.parse_args()
    try:
        model = load_model(options.model)
        with Console(stderr=True).status("listening") as status:
            write_listening_page(
                options.out,
                model,
                select(options.manifest, model, split=options.split),
                rates_bps=[1000 * rate for rate in options.kbps],
                seconds=options.seconds,
                clips=options.clips,
                prior=options.prior,
                progress=lambda done, total: status.update(f"{done} of {total} recordings"),
            )
    except UserError as error:
        print(f"listening_page: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
