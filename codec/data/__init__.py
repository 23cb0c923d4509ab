"""Signals in and out of files: manifests, audio, pictures, and the batches that training reads."""
