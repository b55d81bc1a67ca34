"""Training on pairs with scores: what is settled for it, and what it refuses."""

import numpy as np
import pytest

import nearfar as nf
from nearfar.errors import ConfigError


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(30)]
    lines = ["sentence1,sentence2,score"]
    for _ in range(80):
        one = list(rng.choice(words, 6, replace=False))
        kept = int(rng.integers(0, 7))
        other = one[:kept] + list(rng.choice(words, 6 - kept))
        lines.append(f"{' '.join(one)},{' '.join(other)},{kept}")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(lines))
    return path


def test_scores_are_learnt_from_whole_texts_and_judged_by_the_pairs_held_out(pairs, tmp_path):
    run = nf.train(pairs, method="pearson", steps=3, width=16, buckets=512, threads=1, out=tmp_path / "run")
    config = (tmp_path / "run" / "config.toml").read_text()
    assert "word_deletion = 0.0" in config
    assert "whiten = false" in config
    row = run.evaluation.find("Spearman")
    assert 10 <= row.value.count <= 30
    assert set(run.evaluation.systems) >= {"TF-IDF of words", "TF-IDF of words + characters", "untrained encoder"}


def test_methods_of_scores_refuse_data_without(pairs, tmp_path):
    lines = [line.rsplit(",", 1)[0] for line in pairs.read_text().splitlines()]
    pairs.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="learns from pairs with scores, which"):
        nf.train(pairs, method="cosent", steps=2, out=tmp_path / "run")
