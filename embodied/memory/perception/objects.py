"""From the images of one instant to objects: name, category, upright box, colour, and how sure the pose is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from embodied.errors import ConfigError
from embodied.memory.perception.absence import visible_fraction
from embodied.memory.perception.boxes import UprightBox, fit_box, lowered, support_height, under
from embodied.memory.perception.clouds import Cloud, fuse, lift, require_instances
from embodied.memory.perception.colours import Colour, median_colour
from embodied.memory.schema.kinds import Covariance
from embodied.scenes.scene import Scene
from embodied.types import CameraImage

BACKGROUND = ("table",)
UPRIGHT_STD_RAD = 0.05  # Upright boxes assume no roll and pitch; this is how far the assumption is trusted.
LEAST_GAP_M = 0.02
HELD_FRACTION = 0.1  # Even in plain view, most of the room under a held thing is hidden by the thing itself.
TURNED_STD_RAD = 0.05
HIDDEN_SHARE = 0.1
SEEN_SHARE = 0.02


@dataclass(frozen=True)
class MaskLabel:
    """What a mask shows. An empty `entity` means that it is unknown which one of its category it is."""

    category: str
    entity: str = ""


class Labeller(Protocol):
    """Says what a mask shows: an instance table in simulation, a learned classifier of crops elsewhere."""

    def label(self, instance: int, images: Mapping[str, CameraImage]) -> MaskLabel | None:
        """Returns what the pixels of `instance` show in `images`, or None for what is no object (table, robot)."""
        ...


@dataclass(frozen=True)
class InstanceTable:
    """Labels by instance id, as a simulator knows them; an id that is not in the table is no object."""

    labels: Mapping[int, MaskLabel]

    @staticmethod
    def of_scene(scene: Scene, *, background: Iterable[str] = BACKGROUND) -> "InstanceTable":
        """Returns the table of a scene's bodies, without robots and without bodies of the `background` categories."""
        ids, ignored = scene.instance_ids(), set(background)
        return InstanceTable(
            {
                ids[body.name]: MaskLabel(body.category or body.name, body.name)
                for body in scene.bodies
                if body.category not in ignored
            }
        )

    def label(self, instance: int, images: Mapping[str, CameraImage]) -> MaskLabel | None:  # noqa: ARG002
        """Returns the entry of `instance`, or None."""
        return self.labels.get(instance)


@dataclass(kw_only=True)
class PerceptionConfig:
    """How pixels become objects, and what counts as moved or gone.

    A mask of fewer than `least_pixels` in every view is left alone. Clouds keep one point per `voxel_m`; a depth step
    of more than `jump_px` pixel widths between neighbours is an edge. A thing has moved where its centre is
    `moved_m` from where it was; it is gone where at least `gone_fraction` of its box is seen to be empty. As long as
    it stays, the `instants` that showed most of it are fused.
    """

    least_pixels: int = 10
    voxel_m: float = 0.002
    jump_px: float = 3.0
    moved_m: float = 0.02
    gone_fraction: float = 0.5
    instants: int = 5

    def check(self) -> None:
        """Raises `ConfigError` for values that mean nothing."""
        if min(self.least_pixels, self.instants, self.voxel_m, self.jump_px, self.moved_m) <= 0:
            raise ConfigError("Pixels, instants, lengths and steps of perception must be positive.", value=self)
        if not 0.5 <= self.gone_fraction <= 1.0:
            raise ConfigError("perception.gone_fraction must lie in [0.5, 1].", value=self.gone_fraction)


@dataclass(frozen=True, eq=False)
class SeenObject:
    """One thing as seen; `entity` is empty where it has no name yet. `covariance` is that of the box's pose."""

    entity: str
    category: str
    box: UprightBox
    colour: Colour
    covariance: Covariance
    cloud: Cloud

    @property
    def confidence(self) -> float:
        """How sure it is that there is something, in (0, 1): 0.5 at 10 pixels, 0.9 at 90."""
        return self.cloud.pixels / (self.cloud.pixels + 10.0)


def perceive(
    images: Mapping[str, CameraImage], labeller: Labeller, *, config: PerceptionConfig
) -> tuple[SeenObject, ...]:
    """Returns what `images` of one instant show, in the order of instance ids; ids mean the same in all of them.

    Raises `SceneError` for an image without instances and `MissingDependencyError` without Open3D.
    """
    labels: dict[int, MaskLabel] = {}
    for instance in _large_enough(images, config.least_pixels):
        label = labeller.label(instance, images)
        if label is not None:
            labels[instance] = label
    lifted = lift(images, labels, jump_px=config.jump_px)
    return tuple(
        seen_object(labels[instance], fuse(clouds, voxel_m=config.voxel_m), images)
        for instance, clouds in lifted.items()
        if clouds
    )


def seen_object(label: MaskLabel, cloud: Cloud, images: Mapping[str, CameraImage]) -> SeenObject:
    """Returns the object that a cloud is: its box, its colour, and the covariance of its pose.

    The box is let down to what the thing stands on, since cameras from above miss the lower half of a ball; `images`
    show whether it is held instead: then the room under it is seen to be empty.
    """
    box = fit_box(cloud.points_m)
    bottom_m = _stands_on(box, cloud, images)
    if bottom_m is not None:
        box = lowered(box, bottom_m)
    covariance = covariance_of(box, cloud, stands=bottom_m is not None)
    return SeenObject(label.entity, label.category, box, median_colour(cloud.rgb), covariance, cloud)


def covariance_of(box: UprightBox, cloud: Cloud, *, stands: bool) -> Covariance:
    """Returns the covariance of a box's pose, 6 x 6 row-major, m and rad, diagonal.

    A cautious rule, not a fit: an edge is known to half a pixel's width; of what is unseen (the far side where there
    was one view, the underside of what does not stand on anything) a tenth of the side may be hidden, elsewhere a
    fiftieth. The yaw of a round thing could be anything.
    """
    pixel_m = cloud.footprint_m / 2
    sideways = HIDDEN_SHARE if cloud.views == 1 else SEEN_SHARE
    unseen_m = np.array(box.size_m) * (sideways, sideways, SEEN_SHARE if stands else HIDDEN_SHARE)
    yaw_std_rad = TURNED_STD_RAD if box.turned else np.pi / np.sqrt(3)
    stds = [*np.hypot(pixel_m, unseen_m), UPRIGHT_STD_RAD, UPRIGHT_STD_RAD, yaw_std_rad]
    return tuple(float(value) for value in np.diag(np.square(stds)).ravel())


def _stands_on(box: UprightBox, cloud: Cloud, images: Mapping[str, CameraImage]) -> float | None:
    """Returns the height of what is under the box, or None where nothing is or where a wide gap is seen to be empty.

    A gap below 2 cm is taken for the rim that cameras from above miss: noise alone can make it look empty.
    """
    bottom_m = support_height(cloud.points_m, cloud.around_m)
    if bottom_m is None:
        return None
    gap = under(box, bottom_m)
    held = gap.size_m[2] >= LEAST_GAP_M and visible_fraction(gap, images) >= HELD_FRACTION
    return None if held else bottom_m


def _large_enough(images: Mapping[str, CameraImage], least_pixels: int) -> list[int]:
    found: set[int] = set()
    for name, image in images.items():
        ids, counts = np.unique(require_instances(name, image), return_counts=True)
        found.update(int(instance) for instance in ids[(counts >= least_pixels) & (ids > 0)])
    return sorted(found)
