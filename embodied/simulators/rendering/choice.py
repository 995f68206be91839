"""Which program makes the pixels of a simulator that has several."""

from enum import StrEnum


class RendererChoice(StrEnum):
    """What makes pixels: OpenGL through EGL, PyBullet's TinyRenderer, or OpenGL where it starts and else Tiny.

    Members are named as people type them, since Hydra looks choices up by name.
    """

    auto = "auto"
    opengl = "opengl"
    tiny = "tiny"
