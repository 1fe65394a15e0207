import torch

from raymark.methods.base import locally_standardised, slow_part


def test_brightness_and_contrast_of_a_part_do_not_matter():
    torch.manual_seed(0)
    texture = torch.randn(1, 1, 256, 128)
    dark_above = texture.clone()
    dark_above[:, :, :128] = 0.3 * texture[:, :, :128] - 5
    plain, seen = locally_standardised(texture), locally_standardised(dark_above)
    for rows in (slice(0, 80), slice(176, 256)):  # away from the step
        torch.testing.assert_close(seen[:, :, rows], plain[:, :, rows], atol=1e-3, rtol=0)
        assert 0.8 < seen[:, :, rows].std() < 1.2


def test_what_is_flat_stays_flat():
    image = torch.zeros(1, 1, 128, 64)
    image[:, :, 100:, :] = torch.randn(28, 64)
    assert locally_standardised(image)[:, :, :60].abs().max() < 1e-3


def test_the_slow_part_of_a_plane_is_the_plane():
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(120.0), indexing="ij")
    plane = (0.3 * y - 0.2 * x + 4)[None, None]
    inner = (slice(None), slice(None), slice(30, -30), slice(30, -30))
    torch.testing.assert_close(slow_part(plane)[inner], plane[inner], atol=0.3, rtol=0)
