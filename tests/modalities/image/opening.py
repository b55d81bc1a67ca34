"""Pictures opened for a test."""

from nearfar.data.samples import with_others
from nearfar.modalities.image import MODALITY
from nearfar.modalities.image.source import image_source
from nearfar.modalities.opening import check_enough, found, suited

__all__ = ["open_images", "suited"]


def open_images(data, *, least=2, max_pixels=None, **more):
    """The pictures of DATA, as `open_source` opens them, with all settings of `image_source`."""
    samples = found(MODALITY, data)
    check_enough(samples.name, len(samples), least)
    count, whole, positives, negatives = len(samples), *with_others(samples)
    source = image_source(whole, max_pixels=max_pixels, **more).with_partners(count, positives, negatives)
    check_enough(source.name, len(source.usable), least)
    return source
