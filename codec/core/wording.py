"""Words for people."""


def counted(number: int, noun: str) -> str:
    """`number` of `noun`: "1 codebook", "2 codebooks"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
