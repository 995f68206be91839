"""All kinds of furniture by name: the front is along y, the frame lies on the floor in the middle."""

from collections.abc import Callable, Mapping

from embodied.scenes.house import fittings, seating, storage
from embodied.scenes.house.pieces import Piece, Style

BUILDERS: Mapping[str, Callable[[Style], Piece]] = {
    "bed": seating.bed,
    "bench": seating.bench,
    "cabinet": storage.cabinet,
    "chair": seating.chair,
    "chest of drawers": storage.chest_of_drawers,
    "couch": seating.couch,
    "counter": storage.counter,
    "filing cabinet": storage.filing_cabinet,
    "serving cart": storage.serving_cart,
    "shelves": storage.shelves,
    "stand": storage.stand,
    "stool": seating.stool,
    "table": seating.table,
    "toilet": fittings.toilet,
    "trunk": storage.trunk,
    "washer dryer": fittings.washer_dryer,
    # Other forms of the same categories, and furniture that carries nothing.
    "low table": seating.low_table,
    "night stand": storage.night_stand,
    "fridge": fittings.fridge,
    "wardrobe": fittings.wardrobe,
    "bathtub": fittings.bathtub,
    "washbasin": fittings.basin,
}
RECEPTACLES = tuple(BUILDERS)[:16]


def furniture(kind: str, style: Style) -> Piece:
    """Returns a piece of the `kind`, a key of `BUILDERS`, with sizes and colours drawn from `style`."""
    return BUILDERS[kind](style)
