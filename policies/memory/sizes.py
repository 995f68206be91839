"""Sizes that a policy and its memory share: plain values, which load without PyTorch."""

from dataclasses import dataclass

from embodied.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TokenGrid:
    """The layout of a policy's tokens: `views` images of `rows` x `cols` tokens, view by view and row by row.

    Queries are `dim` wide, written tokens `slot_dim`. The policy determines them, and its memory is built to fit. The
    published SAM2Act+ has three views of 16 x 16, 128 and 64 wide. Raises `ConfigError` for counts below 1, and for
    widths that are not multiples of 4.
    """

    views: int
    rows: int
    cols: int
    dim: int
    slot_dim: int

    def __post_init__(self) -> None:
        check_counts(self)
        if self.dim % 4 or self.slot_dim % 4:
            raise ConfigError(
                "Widths of tokens must be multiples of 4, for sines and cosines by row and column.",
                value=(self.dim, self.slot_dim),
            )

    @property
    def cells(self) -> int:
        """Tokens of one view."""
        return self.rows * self.cols

    @property
    def tokens(self) -> int:
        """Tokens of one moment."""
        return self.views * self.cells


@dataclass(frozen=True, kw_only=True)
class AttentionSize:
    """The size of memory attention: `layers`, `heads` per layer, and the width `hidden` of the feed-forward parts."""

    layers: int
    heads: int
    hidden: int


def check_counts(config: object) -> None:
    """Raises `ConfigError` where a field of the dataclass `config` is less than 1."""
    for name, value in vars(config).items():
        if value < 1:
            raise ConfigError(f"`{name}` of {type(config).__name__} must be at least 1.", value=value)
