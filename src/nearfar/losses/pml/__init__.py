"""Losses, miners, distances and reducers with the calls of pytorch-metric-learning: swap the import, keep the rest.

`from nearfar.losses.pml import distances, losses, miners, reducers` stands for the same names of
pytorch_metric_learning (compared with 2.9.0): same arguments, defaults and values, its known bugs apart.
"""

from nearfar.losses.pml import distances, losses, miners, reducers

__all__ = ["distances", "losses", "miners", "reducers"]
