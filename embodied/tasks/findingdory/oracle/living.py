"""`live_day`: an oracle agent lives a day in a home, and all that it saw is recorded."""

from collections.abc import Callable

import numpy as np

from embodied.errors import SceneError
from embodied.geometry import Pose
from embodied.scenes.house import House
from embodied.seeding import stream
from embodied.tasks.findingdory.day import CodedImages, Day, lived_poses
from embodied.tasks.findingdory.home_map import HomeMap
from embodied.tasks.findingdory.image_coding import coded_depth, coded_rgb
from embodied.tasks.findingdory.oracle.agenda import closed_room, drawn_agenda
from embodied.tasks.findingdory.oracle.agent import OracleAgent
from embodied.tasks.findingdory.oracle.config import DayConfig
from embodied.tasks.findingdory.oracle.draft import Abandoned, DayDraft, Draft
from embodied.tasks.findingdory.oracle.follower import HEADINGS
from embodied.tasks.findingdory.sightings import Sightings, sightings_of
from embodied.tasks.findingdory.steps import even_frames
from embodied.tasks.findingdory.viewing import HomeView, PlacingSimulator
from embodied.types import CameraImage

OnStep = Callable[[int, np.ndarray, CameraImage], None]
_DEFAULT = DayConfig()


def live_day(
    house: House,
    seed: int,
    simulator: PlacingSimulator,
    *,
    config: DayConfig = _DEFAULT,
    on_step: OnStep | None = None,
) -> Day:
    """Returns the day of `seed` in `house`: the same in every process that renders the same pixels.

    `simulator` is reset to the home and renders it; no physics is run. `on_step` is called with every step, its pose
    (x, y, yaw) and its image, in order. Raises `SceneError` where no draft of `config.attempts` makes a valid day.
    """
    view = HomeView(house, simulator, config.image_px)
    return _Recorder(house, _lived(house, seed, view, config), config).day(seed, view, on_step)


def _lived(house: House, seed: int, view: HomeView, config: DayConfig) -> Draft:
    judged = HomeMap(house)
    closed = closed_room(stream(seed, "closed room"), house, judged)
    walked = HomeMap(house, closed=[closed] if closed else [])
    reasons = []
    for attempt in range(config.attempts):
        rng = stream(seed, "lived day", attempt)
        agenda = drawn_agenda(rng, house, closed, config.interactions)
        agent = OracleAgent(walked, view, int(rng.integers(HEADINGS)))
        try:
            return DayDraft(agent, agenda, judged, config, rng).live()
        except Abandoned as reason:
            reasons.append(str(reason))
    raise SceneError(
        f"A day must be valid after {config.attempts} drafts.",
        value=(house.seed, seed),
        remedy=f"The drafts failed: {'; '.join(sorted(set(reasons)))}. Take another seed or home.",
    )


class _Recorder:
    """Renders the steps of a draft and makes a day of them."""

    def __init__(self, house: House, draft: Draft, config: DayConfig) -> None:
        self._house = house
        self._draft = draft
        self._config = config
        self._poses = np.array(draft.agent.poses)
        self._held = np.array(draft.agent.held, dtype=np.int16)
        loose = {one.name for one in house.objects}
        self._initial = {body.name: body.pose for body in house.scene.bodies if body.name in loose}

    def day(self, seed: int, view: HomeView, on_step: OnStep | None) -> Day:
        """Returns the day; `on_step` sees every image."""
        config, agent = self._config, self._draft.agent
        seen, rgb, depth = [], [], []
        for step, pose in enumerate(self._poses):
            image = view.image(pose, self._objects(step))
            seen.append(view.counted(image))
            if config.images:
                rgb.append(coded_rgb(image.rgb))
                depth.append(coded_depth(image.depth_m))
            if on_step is not None:
                on_step(step, pose, image)
        frames = even_frames(len(self._poses))
        frame_seen, frame_rgb = self._frames(view.resized(config.frame_px), frames)
        return Day(
            house=self._house,
            seed=seed,
            poses=self._poses,
            modes=np.array(agent.modes, dtype=np.uint8),
            actions=np.array(agent.actions, dtype=np.uint8),
            rooms=np.array([agent.home_map.room_at(pose) for pose in self._poses], dtype=np.int16),
            held=self._held,
            interactions=self._draft.interactions,
            seen=sightings_of(seen, view.things, config.image_px),
            frames=frames,
            frame_seen=frame_seen,
            rgb=CodedImages(*config.image_px, tuple(rgb)) if config.images else None,
            depth=CodedImages(*config.image_px, tuple(depth)) if config.images else None,
            frame_rgb=frame_rgb,
            renderer=view.renderer,
        )

    def _objects(self, step: int) -> dict[str, Pose]:
        lived = (self._poses, self._held)
        return lived_poses(self._house, self._initial, self._draft.interactions, lived, step)

    def _frames(self, view: HomeView, frames: np.ndarray) -> tuple[Sightings, CodedImages | None]:
        """Renders the frames at full size: as they were lived, and from the same poses at the end of the day."""
        config = self._config
        seen, coded = [], []
        for step in frames.tolist():
            seen.append(view.pixels(self._poses[step], self._draft.agent.object_poses))
            if config.frame_images:
                coded.append(coded_rgb(view.image(self._poses[step], self._objects(step)).rgb))
        images = CodedImages(*config.frame_px, tuple(coded)) if config.frame_images else None
        return sightings_of(seen, view.things, config.frame_px), images
