"""A few steps of a run on a copy of its method, to see what a setting is worth."""

import copy
import time
from dataclasses import replace

import torch

from nearfar import randomness
from nearfar.contract import Encoder
from nearfar.training import schedule
from nearfar.training.batches import Batches
from nearfar.training.loader import Loader
from nearfar.training.plan import MakeOptimizer, Plan
from nearfar.training.positives import views_of
from nearfar.training.ranks import ALONE
from nearfar.training.step import training_step


def train(plan: Plan, steps: int, optimizer: MakeOptimizer) -> tuple[Encoder, float]:
    """Train a copy of the plan's method, alone, for so many steps; returns its encoder and the seconds of a step.

    `optimizer` makes the optimiser of the copy. The plan's own method stays as it is, and so do the generators of
    torch. The first step does not count in the seconds.
    """
    method = copy.deepcopy(plan.method)
    plan = replace(plan, method=method, optimizer=optimizer(method), ranks=ALONE)
    batches = Batches(plan.source, plan.labels, method.requires, ALONE, plan.device)
    learning = [parameter for parameter in method.parameters() if parameter.requires_grad]
    method.train()
    began = time.perf_counter()
    with Loader(plan.source, plan.order, plan.positives) as loader, torch.random.fork_rng():
        for step in range(steps):
            raw, rows, draws = loader.get(step)
            if len(rows) < 2:
                continue
            progress, shares = step / steps, ALONE.shares(len(rows))
            schedule.set_lr(plan.optimizer, schedule.learning_rate(progress, plan.lr, plan.warmup), progress)
            batch = batches.of(raw, rows, shares, progress)
            plan.optimizer.zero_grad(set_to_none=True)

            def seed(piece: int, step: int = step) -> None:
                torch.manual_seed(randomness.seed_of(plan.seed, "pilot", step, piece))

            _, latents = training_step(
                method, views_of(plan.make_views, raw, draws, method.requires), batch, shares=shares,
                micro_batch=plan.micro_batch, autocast=plan.autocast, seed=seed,
            )  # fmt: skip
            if plan.clip is not None:
                torch.nn.utils.clip_grad_norm_(learning, plan.clip)
            plan.optimizer.step()
            method.after_step(latents, batch)
            if step == 0:
                began = time.perf_counter()
    return method.encoder, (time.perf_counter() - began) / max(1, steps - 1)
