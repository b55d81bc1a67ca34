import pytest
import torch
from sklearn.metrics import roc_auc_score

from nearfar.evaluation.auc import auc_rows, placements


def test_the_mean_placement_of_either_class_is_the_area_that_scikit_learn_finds() -> None:
    labels, scores = (
        torch.arange(50) % 3 == 0,
        (torch.randn(50, generator=torch.Generator().manual_seed(0)) * 3).round(),
    )
    found, area = placements(scores, labels), roc_auc_score(labels, scores)
    assert found[labels].mean().item() == pytest.approx(area)
    assert found[~labels].mean().item() == pytest.approx(area)


def test_the_error_is_that_of_repeated_samples_and_pairs_are_compared_as_pairs() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = (torch.arange(200) % 2).long()
    areas, errors, leads = [], [], []
    for _ in range(60):
        common = torch.randn(200, generator=generator)
        one = labels + common + 0.1 * torch.randn(200, generator=generator)
        other = labels + common + 0.1 * torch.randn(200, generator=generator)
        first, _ = auc_rows("classify", {}, {"one": one, "other": other}, labels)
        areas.append(first.value.mean)
        errors.append(first.value.error)
        leads.append(first.lead)
    assert sum(errors) / 60 == pytest.approx(float(torch.tensor(areas).std()), rel=0.25)
    # What both have in common says nothing of their difference.
    assert sum(lead.error for lead in leads) / 60 < 0.3 * sum(errors) / 60
    assert sum(lead.outcome != "unclear" for lead in leads) <= 8


def test_a_class_of_one_test_sample_has_no_area() -> None:
    assert auc_rows("classify", {}, {"a": torch.randn(5)}, torch.tensor([0, 0, 0, 0, 1])) == []
