"""A policy's moments as events of the bank, and back."""

import numpy as np

from embodied.geometry import vector3
from embodied.memory import Event, MomentStored
from embodied.types import Moment


def stored(moment: Moment, episode: str, *, step: int) -> MomentStored:
    """Returns the payload of a `moment` that was stored at a `step` of `episode`."""
    tokens = None if moment.tokens is None else np.ascontiguousarray(moment.tokens, "<f4")
    return MomentStored(
        episode,
        moment.model_id,
        np.ascontiguousarray(moment.embedding, "<f4").tobytes(),
        vector3(moment.position_m),
        tokens=b"" if tokens is None else tokens.tobytes(),
        token_count=0 if tokens is None else len(tokens),
        entities=moment.entities,
        step=step,
    )


def recalled_moment(event: Event, payload: MomentStored) -> Moment:
    """Returns the moment stored by an event of the log; its time is on the site clock."""
    embedding = np.frombuffer(payload.embedding, "<f4")
    tokens = np.frombuffer(payload.tokens, "<f4").reshape(payload.token_count, -1) if payload.token_count else None
    return Moment(
        embedding,
        tokens,
        payload.model_id,
        event.valid_time_s,
        payload.position_m,
        event.robot,
        payload.episode,
        payload.entities,
        payload.step,
    )
