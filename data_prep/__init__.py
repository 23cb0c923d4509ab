"""One file per corpus; each writes the manifest that `codec.data.manifest` reads.

Every corpus file has `prepare(source, out, *, download=False, workers=4, progress=None, ...) -> PrepReport`.
"""
