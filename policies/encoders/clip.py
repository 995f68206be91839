"""The frozen text tower of CLIP, from a folder that the user has."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embodied.errors import ConfigError, PathError
from policies.encoders.dependencies import training_extra
from policies.encoders.language import LanguageEncoder, check_length
from policies.encoders.weights import load_weights

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
PUBLISHED_END = 49407
CACHED_INSTRUCTIONS = 256
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "hidden_act",
    "layer_norm_eps",
)


class ClipText(LanguageEncoder):
    """Reads with CLIP's text tower, which is never trained: the tokens of each instruction are computed once and kept.

    Tokens are those after the last normalisation, before the projection, as published for SAM2Act: 77 of width 512.
    Without a folder the tower is random and has no words: fit for counting parameters alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        with training_extra():
            from transformers import CLIPTextConfig, CLIPTextModel
        self._tower = CLIPTextModel(CLIPTextConfig(**(_sizes(folder / "config.json") if folder else {})))
        self.dim = self._tower.config.hidden_size
        self.words = self._tower.config.max_position_embeddings
        self._tokenizer = _tokenizer(folder) if folder else None
        self._end = self._tokenizer.convert_tokens_to_ids(END) if self._tokenizer else PUBLISHED_END
        if folder:
            load_weights(self._tower, folder / "model.safetensors", prefixes=("text_model.", ""))
        self._tower.requires_grad_(False)
        self._known: dict[bytes, Tensor] = {}
        self.register_load_state_dict_post_hook(lambda module, _: module._known.clear())

    def tokenise(self, text: str) -> np.ndarray:
        """Returns the ids between their begin and end marks, then zeros. Raises `ConfigError` without a folder."""
        if self._tokenizer is None:
            raise ConfigError("CLIP reads instructions only with its vocabulary.", remedy="Set `folder`.")
        found = self._tokenizer(text)["input_ids"]
        check_length(len(found), self.words, text)
        ids = np.zeros(self.words, dtype=np.int64)
        ids[: len(found)] = found
        return ids

    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Returns tokens and mask; see `LanguageEncoder`. The mask ends with the end mark."""
        used = (words == self._end).cumsum(-1) - (words == self._end).long() == 0
        tokens = torch.stack([self._read(row).to(words.device) for row in words])
        return tokens * used[..., None], used

    @torch.no_grad()
    def _read(self, row: Tensor) -> Tensor:
        key = row.cpu().numpy().tobytes()
        if key not in self._known:
            while len(self._known) >= CACHED_INSTRUCTIONS:
                del self._known[next(iter(self._known))]
            with torch.autocast(row.device.type, enabled=False):
                self._known[key] = self._tower(input_ids=row[None]).last_hidden_state[0]
        return self._known[key]


def _sizes(path: Path) -> dict[str, Any]:
    """The sizes of the text tower, from a configuration of it alone or of CLIP as a whole."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        stored = stored.get("text_config") or stored
        return {name: stored[name] for name in SIZES if name in stored}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise PathError(
            "A folder of CLIP must hold config.json, model.safetensors, vocab.json and merges.txt.",
            value=str(path),
            remedy=f"The configuration cannot be read: {error}.",
        ) from error


def _tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    try:
        vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
        merges = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
        absent = {BEGIN, END} - vocabulary.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise PathError(
            "A folder of CLIP must hold vocab.json and merges.txt.",
            value=str(folder),
            remedy=f"They cannot be read: {error}.",
        ) from error
    if absent:
        raise ConfigError("The vocabulary of CLIP must hold its begin and end marks.", value=sorted(absent))
    return CLIPTokenizer(vocab=vocabulary, merges=merges)  # pyright: ignore[reportArgumentType]  # Pairs, as in files.
