import torch

from policies.heads.autoregressive import AutoregressiveHead


def head(*, jitter: int = 2) -> AutoregressiveHead:
    torch.manual_seed(0)
    return AutoregressiveHead(10, hidden=16, jitter=jitter)


def test_logits_have_a_bin_per_angle_and_two_choices_each():
    logits = head()(torch.randn(5, 10))
    assert logits.rotation.shape == (5, 3, 72)
    assert logits.gripper.shape == logits.collisions.shape == (5, 2)


def test_each_angle_sees_those_before_it_and_none_after():
    network, features = head().eval(), torch.randn(1, 10)

    def moved_by(angle: int) -> list[bool]:
        bins = torch.tensor([[1, 2, 3]])
        before = network(features, rotation=bins).rotation
        bins[0, angle] += 1
        after = network(features, rotation=bins).rotation
        return [not torch.equal(before[0, i], after[0, i]) for i in range(3)]

    assert moved_by(0) == [False, True, True]
    assert moved_by(1) == [False, False, True]
    assert moved_by(2) == [False, False, False]


def test_the_same_bin_of_x_and_of_y_say_different_things_about_z():
    network, features = head().eval(), torch.randn(1, 10)
    one, other = (network(features, rotation=torch.tensor([bins])).rotation for bins in ([4, 9, 0], [9, 4, 0]))
    assert not torch.allclose(one[0, 2], other[0, 2])


def test_without_a_teacher_each_angle_is_given_the_likeliest_before_it():
    network, features = head().eval(), torch.randn(4, 10)
    free = network(features)
    logged = network(features, rotation=free.rotation.argmax(-1))
    torch.testing.assert_close(free.rotation, logged.rotation)


def test_in_training_the_teacher_errs_by_up_to_two_bins_as_the_generator_draws():
    network, features = head(), torch.randn(1, 10)
    exact = head(jitter=0)
    exact.load_state_dict(network.state_dict())

    def given_y(bin_of_x: int) -> torch.Tensor:
        return exact(features, rotation=torch.tensor([[bin_of_x, 0, 0]])).rotation[0, 1]

    seen = set()
    for seed in range(40):
        generators = [torch.Generator().manual_seed(seed) for _ in range(2)]
        drawn, again = (network(features, rotation=torch.tensor([[71, 0, 0]]), generator=g) for g in generators)
        assert torch.equal(drawn.rotation, again.rotation)
        near = [offset for offset in range(-9, 10) if torch.allclose(given_y((71 + offset) % 72), drawn.rotation[0, 1])]
        seen |= set(near)
    assert seen == {-2, -1, 0, 1, 2}


def test_a_batch_equals_its_rows_one_by_one():
    network, features = head().eval(), torch.randn(6, 10)
    rows = [network(row) for row in features.split(1)]
    for whole, parts in zip(network(features), zip(*rows, strict=True), strict=True):
        torch.testing.assert_close(whole, torch.cat(parts))


def test_the_published_size_takes_768_features():
    logits = AutoregressiveHead(768)(torch.randn(2, 768))
    assert logits.rotation.shape == (2, 3, 72)
