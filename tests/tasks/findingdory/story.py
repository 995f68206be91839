"""A day written by hand: four interactions in a home of five rooms, for questions whose answers can be read off."""

from math import inf

from embodied.tasks.findingdory.facts import DayFacts, InteractionFact, ObjectFact, ReceptacleFact, RoomFact

OBJECTS = (
    ObjectFact("o1", "cup", "cylindrical", "red", "ceramic", "drinking", "stripes", distance_m=9.0),
    ObjectFact("o2", "teapot", "round", "blue", "metal", "brewing tea", "", distance_m=3.0),
    ObjectFact("o3", "teapot", "round", "white", "ceramic", "brewing tea", "logo", distance_m=6.0),
    ObjectFact("o4", "mouse_pad", "flat", "Blue and Black", "rubber", "computing", "text", distance_m=inf),
    ObjectFact("o5", "cup", "cylindrical", "green", "glass", "drinking", "", distance_m=12.0),
    ObjectFact("o6", "book", candidate=False, distance_m=1.0),
)
RECEPTACLES = (
    ReceptacleFact("counter", "counter", "kitchen", distance_m=2.0),
    ReceptacleFact("shelf_low", "shelves", "bedroom", "shelf", distance_m=7.0),
    ReceptacleFact("shelf_high", "shelves", "bedroom", "shelf", distance_m=5.0),
    ReceptacleFact("desk", "table", "bedroom", distance_m=6.0),
    ReceptacleFact("stool", "stool", "bathroom", distance_m=inf),
    ReceptacleFact("couch", "couch", "hall", distance_m=10.0),
    ReceptacleFact("bench", "bench", "hall", distance_m=1.0),
    ReceptacleFact("table", "table", "kitchen", distance_m=inf),
    ReceptacleFact("bed", "bed", "attic", distance_m=20.0, candidate=False),
)
ROOMS = (
    RoomFact("kitchen", steps=400),
    RoomFact("bedroom", steps=300),
    RoomFact("bathroom", steps=200),
    RoomFact("hall", steps=100),
    RoomFact("attic", steps=0),
)
INTERACTIONS = (
    InteractionFact("o1", "counter", "shelf_low", "kitchen", "bedroom", 370.0, 372.0, 380.0, 381.5),
    InteractionFact("o2", "shelf_high", "desk", "bedroom", "bedroom", 390.0, 392.0, 395.0, 396.0),
    InteractionFact("o3", "counter", "stool", "kitchen", "bathroom", 400.0, 403.0, 420.0, 424.0),
    InteractionFact("o4", "desk", "counter", "bedroom", "kitchen", 430.0, 431.0, 437.0, 438.0),
)


def story() -> DayFacts:
    """Returns the day: a cup, two teapots and a mouse pad are carried; another cup and a book are not."""
    return DayFacts(OBJECTS, RECEPTACLES, ROOMS, INTERACTIONS)
