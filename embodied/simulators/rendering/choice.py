"""The renderers among which a simulator can choose."""

from enum import StrEnum


class RendererChoice(StrEnum):
    """The renderer: OpenGL through EGL, PyBullet's TinyRenderer, or OpenGL where it starts and Tiny otherwise.

    Member names are lower case, since Hydra looks choices up by name.
    """

    auto = "auto"
    opengl = "opengl"
    tiny = "tiny"
