"""Full-text search: what a person types, as a query of the index."""


def match(text: str) -> str:
    """Every word must be there, or begin one that is; empty when there is no word."""
    words = ("".join(c if c.isalnum() else " " for c in text)).split()
    return " ".join(f'"{word}"*' for word in words)
