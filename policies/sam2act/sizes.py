"""How large the parts of a SAM2Act policy are."""

from dataclasses import dataclass, field

from embodied.errors import ConfigError


@dataclass(kw_only=True)
class TransformerConfig:
    """`alone` layers within each view, then `joint` ones over all; `width` inside, `feedforward` times that between."""

    width: int = 96
    heads: int = 4
    alone: int = 1
    joint: int = 2
    feedforward: int = 2
    dropout: float = 0.0

    def check(self) -> None:
        """Raises `ConfigError` for sizes that make no transformer."""
        if self.width < 1 or self.heads < 1 or self.width % self.heads:
            raise ConfigError("`heads` must divide `width`.", value=(self.heads, self.width))
        if self.alone < 0 or self.joint < 1 or self.feedforward < 1:
            raise ConfigError("A transformer needs a joint layer.", value=(self.alone, self.joint, self.feedforward))
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError("`dropout` must lie in [0, 1).", value=self.dropout)


@dataclass(kw_only=True)
class BranchConfig:
    """`grid` x `grid` tokens per view; each is `features` of the encoder, `patch` of the pixels and `body` numbers.

    `patch` 0 leaves the raw pixels to the encoder. `size` is the side of visualisations and heat maps in pixels;
    `up_hidden` is the width inside each of the three upsamplings.
    """

    size: int = 64
    grid: int = 8
    features: int = 80
    patch: int = 0
    body: int = 16
    up_hidden: list[int] = field(default_factory=lambda: [48, 32, 16])
    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    @property
    def dim(self) -> int:
        """The width of a token."""
        return self.features + self.patch + self.body

    def check(self) -> None:
        """Raises `ConfigError` for sizes that do not fit each other."""
        if self.grid < 1 or self.size % self.grid:
            raise ConfigError("`grid` must divide `size`.", value=(self.grid, self.size))
        if min(self.features, self.body) < 1 or self.patch < 0 or self.dim % 4:
            raise ConfigError("The width of a token must be a multiple of 4.", value=self.dim)
        self.transformer.check()


@dataclass(kw_only=True)
class GlimpseConfig:
    """The hand also sees a window of `window` pixels around the waypoint, read by convolutions of `widths` into `dim`.

    `window` 0 leaves tokens alone to tell how the hand is held, as published.
    """

    window: int = 0
    widths: list[int] = field(default_factory=lambda: [24, 48, 64])
    dim: int = 128

    def check(self, size: int) -> None:
        """Raises `ConfigError` for sizes that do not fit visualisations of `size` pixels."""
        halved = 2 ** len(self.widths)
        if not 0 <= self.window <= size or self.window % halved:
            raise ConfigError(
                "A glimpse must fit into the picture, and be halved by each width.",
                value=(self.window, self.widths),
                remedy=f"Use a multiple of {halved} up to {size}, or 0 for none.",
            )
        if self.window and (not self.widths or min(*self.widths, self.dim) < 1):
            raise ConfigError(
                "The widths of a glimpse must be positive.", value=(self.widths, self.dim), remedy="Or use window 0."
            )
