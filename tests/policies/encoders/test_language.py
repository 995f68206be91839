import json
import string

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from embodied.errors import ConfigError, PathError
from policies.encoders.clip import ClipText
from policies.encoders.config import ClipTextConfig, HashedWordsConfig
from policies.encoders.language import HashedWords

PRINTED = "Move the block to the centre, press the button."
PINNED = [3147, 634, 2399, 0]  # Python's own `hash` would differ from process to process.


def hashed(**settings) -> HashedWords:
    torch.manual_seed(0)
    return HashedWordsConfig(**{"dim": 8, "words": 12, **settings}).build()


def batch(encoder, *texts: str) -> torch.Tensor:
    return torch.as_tensor(np.stack([encoder.tokenise(text) for text in texts]))


def test_each_word_has_its_id_whatever_its_case_and_punctuation():
    ids = hashed().tokenise(PRINTED)
    assert ids.dtype == np.int64
    assert ids.shape == (12,)
    assert (ids > 0).tolist() == [True] * 9 + [False] * 3
    assert ids[1] == ids[4] == ids[7]
    assert len(set(ids[:9].tolist())) == 7
    assert (hashed().tokenise("move THE block to the centre press the button") == ids).all()


def test_ids_are_the_same_in_any_process():
    assert hashed().tokenise("move the block")[:4].tolist() == PINNED


def test_tokens_distinguish_words_and_places_and_end_with_the_instruction():
    encoder = hashed()
    tokens, printed = encoder(batch(encoder, "press the block", "block the press", "press"))
    assert tokens.shape == (3, 12, 8)
    assert printed.sum(1).tolist() == [3, 3, 1]
    assert (tokens[~printed] == 0).all()
    assert not torch.allclose(tokens[0, 0], tokens[1, 0])
    assert not torch.allclose(tokens[0, 0], tokens[1, 2])
    assert torch.equal(tokens[0, 0], tokens[2, 0])


@pytest.mark.parametrize("text", ["", " ... ", "one two three"])
def test_an_instruction_without_words_or_with_too_many_is_refused(text):
    with pytest.raises(ConfigError, match="1 to 2 words"):
        hashed(words=2).tokenise(text)


@pytest.mark.parametrize("wrong", [{"dim": 0}, {"words": 0}, {"buckets": 1}])
def test_sizes_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="Hashed words"):
        hashed(**wrong)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """CLIP in small, as transformers writes it."""
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = tmp_path_factory.mktemp("clip")
    letters = list(string.ascii_lowercase)
    pieces = [*letters, *(letter + "</w>" for letter in letters), "pu", "pus", "push</w>"]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\np u\npu s\npus h</w>\n")
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPTextConfig(vocab_size=len(vocabulary), max_position_embeddings=10, **sizes)
    CLIPTextModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def clip(clip_folder) -> ClipText:
    return ClipTextConfig(folder=str(clip_folder)).build()


def copy_of(folder, to):
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_clip_splits_words_by_its_merges_between_its_marks(clip):
    assert (clip.words, clip.dim) == (10, 16)
    vocabulary = {piece: clip._tokenizer.convert_tokens_to_ids(piece) for piece in ("push</w>", "i", "t</w>")}
    begin, end = 55, 56
    expected = [begin, vocabulary["push</w>"], vocabulary["i"], vocabulary["t</w>"], end]
    assert clip.tokenise("Push it").tolist() == [*expected, 0, 0, 0, 0, 0]


def test_clip_reads_as_the_saved_tower_does_and_masks_what_follows_the_end(clip, clip_folder):
    from transformers import CLIPTextModel

    tower = CLIPTextModel.from_pretrained(clip_folder, local_files_only=True).eval()
    words = batch(clip, "push it", "push")
    tokens, printed = clip(words)
    assert printed.sum(1).tolist() == [5, 3]
    assert (tokens[~printed] == 0).all()
    with torch.no_grad():
        expected = tower(input_ids=words[:1, :5]).last_hidden_state[0]
    torch.testing.assert_close(tokens[0, :5], expected)


def test_a_batch_equals_its_instructions_one_by_one_and_is_read_once(clip, monkeypatch):
    words = batch(clip, "push it", "push", "push it")
    tokens, _ = clip(words)
    alone = torch.cat([clip(row)[0] for row in words.split(1)])
    assert torch.equal(tokens, alone)
    monkeypatch.setattr(clip._tower, "forward", lambda **_: pytest.fail("read again"))
    assert torch.equal(clip(words)[0], tokens)


def test_other_weights_are_not_answered_from_what_was_kept(clip):
    words = batch(clip, "push it")
    before, _ = clip(words)
    clip.load_state_dict({name: value + 1.0 for name, value in clip.state_dict().items()})
    assert not torch.allclose(clip(words)[0], before)


def test_clip_never_learns(clip):
    tokens, _ = clip(batch(clip, "push"))
    assert not tokens.requires_grad
    assert not any(weight.requires_grad for weight in clip.parameters())


def test_weights_of_all_of_clip_serve_too(clip, clip_folder, tmp_path):
    folder = copy_of(clip_folder, tmp_path)
    weights = load_file(folder / "model.safetensors")
    whole = {f"text_model.{name}": value for name, value in weights.items()} | {"logit_scale": torch.ones(())}
    save_file(whole, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "text_config": config}))
    other = ClipTextConfig(folder=str(folder)).build()
    assert torch.equal(other(batch(other, "push it"))[0], clip(batch(clip, "push it"))[0])


@pytest.mark.parametrize("missing", ["config.json", "vocab.json", "merges.txt", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused(clip_folder, tmp_path, missing):
    folder = copy_of(clip_folder, tmp_path)
    (folder / missing).unlink()
    with pytest.raises(PathError, match="must"):
        ClipTextConfig(folder=str(folder)).build()


def test_an_instruction_too_long_for_clip_is_refused(clip):
    with pytest.raises(ConfigError, match="1 to 10"):
        clip.tokenise("abcdefghijk")


def test_clip_without_a_folder_has_the_published_size_and_reads_nothing():
    encoder = ClipTextConfig().build()
    assert (encoder.words, encoder.dim) == (77, 512)
    assert sum(weight.numel() for weight in encoder.parameters()) == 63_165_952
    with pytest.raises(ConfigError, match="Set `folder`"):
        encoder.tokenise("push")
