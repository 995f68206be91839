"""The categories of objects: what their models may look like, and where one looks for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from embodied.scenes.objects import household, kitchen, playthings
from embodied.scenes.objects.design import PRINTS, Design
from embodied.scenes.scene import Part

BRIGHT = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "white", "black")
_GLAZES = ("white", "cream", "blue", "green", "turquoise", "red", "yellow", "gray")
_WOODS = ("brown", "cream")
_METALS = ("silver", "black", "gray", "red", "blue")
_GLASSES = ("green", "blue", "brown", "turquoise", "purple")
_FABRICS = ("red", "blue", "green", "gray", "pink", "yellow", "brown", "white", "purple", "turquoise")
_PAPERS = ("white", "blue", "red", "green", "orange", "purple", "yellow", "pink")
_ROUND_PRINTS = PRINTS
_FLAT_PRINTS = ("stripes", "polka dots", "checks", "text", "label", "logo", "floral pattern")


@dataclass(frozen=True)
class Category:
    """What all models of one category share; `materials` lists the colours that each material may have.

    `rooms` are the categories of rooms where one looks for it; `prints` may be empty. `two_tone` says that the second
    colour is a visible part of every model, and not only that of its print.
    """

    build: Callable[[Design], list[Part]]
    shape: str
    function: str
    materials: Mapping[str, tuple[str, ...]]
    prints: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    mass_kg: float = 0.3
    two_tone: bool = True


_KITCHEN = ("kitchen", "dining room")
_BATH = ("bathroom", "laundry room")
_STUDY = ("study", "living room")
_LIVING = ("living room", "bedroom", "hallway")
_CHILD = ("bedroom", "living room")

CATEGORIES: Mapping[str, Category] = {
    "apple": Category(
        kitchen.apple, "spherical", "eating", {"organic": ("red", "green", "yellow")}, (), _KITCHEN, 0.2, False
    ),
    "banana": Category(kitchen.banana, "curved", "eating", {"organic": ("yellow", "green")}, (), _KITCHEN, 0.2, False),
    "carrot": Category(
        kitchen.carrot, "conical", "eating", {"organic": ("orange", "purple")}, (), _KITCHEN, 0.2, False
    ),
    "mug": Category(
        kitchen.mug,
        "cylindrical",
        "drinking",
        {"ceramic": _GLAZES, "metal": _METALS},
        _ROUND_PRINTS,
        _KITCHEN,
        0.3,
        False,
    ),
    "bowl": Category(
        kitchen.bowl,
        "concave",
        "serving",
        {"ceramic": _GLAZES, "wood": _WOODS, "metal": _METALS},
        ("stripes", "polka dots"),
        _KITCHEN,
        0.4,
        False,
    ),
    "plate": Category(kitchen.plate, "circular", "serving", {"ceramic": _GLAZES, "plastic": BRIGHT}, (), _KITCHEN, 0.4),
    "teapot": Category(
        kitchen.teapot, "spherical", "brewing tea", {"ceramic": _GLAZES, "metal": _METALS}, (), _KITCHEN, 0.6
    ),
    "kettle": Category(
        kitchen.kettle,
        "conical",
        "heating liquid",
        {"metal": _METALS, "plastic": BRIGHT},
        ("logo", "label"),
        _KITCHEN,
        0.8,
        False,
    ),
    "pan": Category(kitchen.pan, "concave", "cooking", {"metal": _METALS}, (), _KITCHEN, 0.8),
    "casserole": Category(
        kitchen.casserole,
        "cylindrical",
        "cooking",
        {"metal": _METALS, "ceramic": _GLAZES},
        ("floral pattern", "checks"),
        _KITCHEN,
        1.0,
    ),
    "ladle": Category(kitchen.ladle, "concave", "ladling", {"metal": _METALS, "wood": _WOODS}, (), _KITCHEN, 0.2),
    "cutting board": Category(
        kitchen.cutting_board, "rectangular", "cutting", {"wood": _WOODS, "plastic": BRIGHT}, (), _KITCHEN, 0.6, False
    ),
    "bottle": Category(
        kitchen.bottle,
        "cylindrical",
        "storing liquid",
        {"glass": _GLASSES, "plastic": BRIGHT},
        _ROUND_PRINTS,
        _KITCHEN,
        0.6,
    ),
    "can": Category(kitchen.can, "cylindrical", "storing food", {"metal": BRIGHT}, _ROUND_PRINTS, _KITCHEN, 0.4, False),
    "jar": Category(
        kitchen.jar,
        "cylindrical",
        "storing food",
        {"glass": _GLASSES, "ceramic": _GLAZES},
        ("label", "checks", "text"),
        _KITCHEN,
        0.5,
    ),
    "spicemill": Category(
        kitchen.spicemill,
        "cylindrical",
        "seasoning",
        {"wood": _WOODS, "metal": _METALS, "plastic": BRIGHT},
        (),
        _KITCHEN,
    ),
    "tray": Category(
        kitchen.tray,
        "rectangular",
        "carrying",
        {"wood": _WOODS, "plastic": BRIGHT},
        ("stripes", "floral pattern"),
        _KITCHEN,
        0.6,
    ),
    "basket": Category(kitchen.basket, "concave", "storage", {"wood": _WOODS, "fabric": _FABRICS}, (), _BATH, 0.5),
    "soap dispenser": Category(
        household.soap_dispenser,
        "cylindrical",
        "washing hands",
        {"plastic": BRIGHT, "glass": _GLASSES},
        ("label", "stripes", "polka dots"),
        _BATH,
    ),
    "tissue box": Category(
        household.tissue_box,
        "cuboidal",
        "wiping",
        {"paper": _PAPERS},
        ("floral pattern", "stripes", "polka dots"),
        _BATH,
        0.2,
        False,
    ),
    "sponge": Category(household.sponge, "cuboidal", "cleaning", {"sponge": BRIGHT}, (), _BATH, 0.1),
    "spray bottle": Category(
        household.spray_bottle, "cylindrical", "spraying", {"plastic": BRIGHT}, ("label", "text", "logo"), _BATH
    ),
    "towel": Category(
        household.towel, "cuboidal", "drying", {"fabric": _FABRICS}, ("stripes", "checks"), _BATH, 0.4, False
    ),
    "book": Category(
        household.book, "rectangular", "reading", {"paper": _PAPERS}, ("text", "logo", "stripes"), _STUDY, 0.5, False
    ),
    "candle": Category(
        household.candle, "cylindrical", "lighting", {"wax": BRIGHT}, ("stripes", "polka dots"), _LIVING
    ),
    "vase": Category(
        household.vase,
        "curved",
        "decoration",
        {"ceramic": _GLAZES, "glass": _GLASSES},
        ("stripes", "polka dots", "floral pattern"),
        _LIVING,
        0.6,
    ),
    "clock": Category(
        household.clock, "circular", "showing the time", {"metal": _METALS, "wood": _WOODS}, (), _LIVING, 0.4
    ),
    "picture frame": Category(
        household.picture_frame,
        "rectangular",
        "decoration",
        {"wood": _WOODS, "metal": _METALS},
        (),
        _LIVING,
        0.4,
        False,
    ),
    "lamp": Category(household.lamp, "conical", "lighting", {"fabric": _FABRICS, "metal": _METALS}, (), _LIVING, 0.8),
    "plant container": Category(
        household.plant_container,
        "conical",
        "gardening",
        {"ceramic": _GLAZES, "stone": ("gray", "brown", "cream")},
        ("stripes", "polka dots"),
        _LIVING,
        0.9,
        False,
    ),
    "remote control": Category(
        household.remote_control,
        "rectangular",
        "controlling",
        {"plastic": ("black", "white", "gray", "blue")},
        (),
        _STUDY,
        0.2,
        False,
    ),
    "laptop": Category(
        household.laptop,
        "rectangular",
        "computing",
        {"metal": ("silver", "black", "gray"), "plastic": BRIGHT},
        (),
        _STUDY,
        1.0,
        False,
    ),
    "phone stand": Category(
        household.phone_stand, "rectangular", "holding a phone", {"wood": _WOODS, "metal": _METALS}, (), _STUDY
    ),
    "calculator": Category(household.calculator, "rectangular", "calculating", {"plastic": BRIGHT}, (), _STUDY, 0.2),
    "mouse pad": Category(
        household.mouse_pad,
        "rectangular",
        "pointing",
        {"rubber": BRIGHT},
        ("stripes", "checks", "logo", "text"),
        _STUDY,
        0.2,
        False,
    ),
    "tape": Category(household.tape, "circular", "adhesion", {"plastic": BRIGHT, "paper": _PAPERS}, (), _STUDY, 0.2),
    "stuffed toy": Category(playthings.stuffed_toy, "animal", "playing", {"fabric": _FABRICS}, (), _CHILD),
    "toy vehicle": Category(
        playthings.toy_vehicle,
        "cuboidal",
        "playing",
        {"plastic": BRIGHT, "metal": _METALS},
        ("stripes", "logo"),
        _CHILD,
    ),
    "toy animal": Category(playthings.toy_animal, "animal", "playing", {"wood": _WOODS, "plastic": BRIGHT}, (), _CHILD),
    "toy construction set": Category(
        playthings.toy_construction_set, "cuboidal", "building", {"plastic": BRIGHT}, (), _CHILD
    ),
    "toy bee": Category(
        playthings.toy_bee, "animal", "playing", {"plastic": ("yellow", "orange", "white", "pink")}, (), _CHILD
    ),
    "ball": Category(
        playthings.soccer_ball,
        "spherical",
        "playing",
        {"rubber": BRIGHT, "leather": ("brown", "white", "red", "orange")},
        ("stripes", "polka dots"),
        _CHILD,
        0.4,
        False,
    ),
    "drum": Category(
        playthings.drum,
        "cylindrical",
        "making music",
        {"wood": _WOODS, "metal": _METALS},
        ("checks", "stripes"),
        _CHILD,
    ),
    "shoe": Category(
        playthings.shoe,
        "oval",
        "running",
        {"fabric": _FABRICS, "leather": ("brown", "black", "white", "red")},
        (),
        _LIVING,
    ),
    "hat": Category(
        playthings.hat, "oval", "wearing", {"fabric": _FABRICS, "leather": ("brown", "black")}, (), _LIVING
    ),
    "handbag": Category(
        playthings.handbag,
        "cuboidal",
        "carrying",
        {"leather": ("brown", "black", "red", "cream"), "fabric": _FABRICS},
        ("stripes", "polka dots", "logo"),
        _LIVING,
        0.5,
        False,
    ),
    "dumbbell": Category(
        playthings.dumbbell, "cylindrical", "exercising", {"metal": _METALS, "rubber": BRIGHT}, (), _CHILD, 1.0
    ),
    "watering can": Category(
        playthings.watering_can,
        "cylindrical",
        "gardening",
        {"metal": _METALS, "plastic": BRIGHT},
        ("stripes", "floral pattern"),
        _LIVING,
        0.5,
        False,
    ),
    "gift box": Category(playthings.gift_box, "cuboidal", "giving", {"paper": _PAPERS}, (), _LIVING),
    "umbrella": Category(playthings.umbrella, "conical", "keeping dry", {"fabric": _FABRICS}, (), _LIVING),
}
