"""Words for people."""


def counted(number: int, noun: str) -> str:
    """`number` of `noun`: "1 codebook", "2 codebooks"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def printable(text: str) -> str:
    r"""`text` as UTF-8 can hold it: bytes of file names that are not text become \udcff and the like."""
    return text.encode(errors="backslashreplace").decode()
