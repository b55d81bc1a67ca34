"""Conformance checks for modalities, methods and losses of one's own: they raise AssertionError with a sentence.

from nearfar.testing import check_loss, check_method, check_modality

def test_my_modality(tmp_path):
    check_modality(MyModality(), str(tmp_path / "twelve-samples.csv"))
"""

from nearfar.testing.loss import check_loss as check_loss
from nearfar.testing.method import check_method as check_method
from nearfar.testing.modality import check_modality as check_modality

__all__ = ["check_loss", "check_method", "check_modality"]
