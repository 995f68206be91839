"""Tables of plain text for terminals."""

from collections.abc import Sequence


def text_table(columns: Sequence[tuple[str, Sequence[str]]], *, words: int) -> list[str]:
    """Returns the lines of a table of `columns`, each a title and its cells.

    The first `words` columns are aligned to the left, the others to the right; a cell of the first column that equals
    the one above is left empty.
    """
    widths = [max(map(len, (name, *cells))) for name, cells in columns]
    shown = [_aligned([name for name, _ in columns], widths, words), "  ".join("-" * width for width in widths)]
    previous = ""
    for row in zip(*(cells for _, cells in columns), strict=True):
        shown.append(_aligned((row[0] if row[0] != previous else "", *row[1:]), widths, words))
        previous = row[0]
    return shown


def _aligned(row: Sequence[str], widths: Sequence[int], words: int) -> str:
    """Returns a row of which the first `words` cells are aligned to the left, the others to the right."""
    cells = zip(row, widths, strict=True)
    return "  ".join(cell.ljust(width) if i < words else cell.rjust(width) for i, (cell, width) in enumerate(cells))
