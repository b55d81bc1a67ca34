"""Temperature scaling and the expected calibration error."""

import pytest
import torch

from nearfar.downstream.calibration import calibration_error, temperature


def test_the_temperature_of_scores_that_were_scaled_is_found():
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(20_000, 4, generator=generator)
    labels = torch.multinomial(scores.softmax(1), 1, generator=generator)[:, 0]
    assert temperature(3 * scores, labels) == pytest.approx(3, rel=0.05)
    assert temperature(scores / 2, labels) == pytest.approx(0.5, rel=0.05)


def test_the_error_is_the_distance_of_confidence_and_accuracy_over_bins():
    confidence = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = torch.tensor([True, True, True, False, True, False])
    assert calibration_error(confidence, right) == pytest.approx((4 * 0.20 + 2 * 0.05) / 6)


def test_certain_and_right_is_no_error_and_certain_and_wrong_is_all_of_it():
    sure = torch.ones(5)
    assert calibration_error(sure, torch.ones(5, dtype=torch.bool)) == 0
    assert calibration_error(sure, torch.zeros(5, dtype=torch.bool)) == 1
    assert calibration_error(sure[:0], torch.ones(0, dtype=torch.bool)) == 0
