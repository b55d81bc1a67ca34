"""The k largest of long rows, without sorting them."""

import torch
from torch import Tensor


def groups_of(count: int, k: int) -> int:
    """Choose into how many groups of columns `top` splits a row of `count`; 0: not worth it.

    Cost is groups + k * (count / groups), the least at sqrt(count * k), and what is left of the row beside whole ones.
    """
    groups = 32 * -(-int((count * k) ** 0.5) // 32)
    if groups * 4 > count:
        return 0
    return min(range(groups, groups + groups // 4 + 1, 32), key=lambda some: some + count % some)


def top(scores: Tensor, k: int, groups: int) -> tuple[Tensor, Tensor]:
    """Take the k largest of each row `[q, n]`: values and columns `[q, k]`, the largest first.

    The k largest values lie in the k groups with the largest maxima, so one pass of maxima, and two small
    selections, replace a selection over the whole row. Group g holds the columns g, g + groups, ...; the last columns,
    which fill no row of groups, are candidates as they are.
    """
    if not groups:
        return torch.topk(scores, k, dim=1)
    whole = scores.shape[1] // groups * groups
    folded = scores[:, :whole].view(len(scores), whole // groups, groups)  # [q, members, groups]
    best = folded.amax(dim=1).topk(k, dim=1, sorted=False).indices  # [q, k]
    members = torch.arange(0, whole, groups, device=scores.device)
    rest = torch.arange(whole, scores.shape[1], device=scores.device).expand(len(scores), -1)
    candidates = torch.cat([(best[:, :, None] + members).flatten(1), rest], dim=1)
    values, place = scores.gather(1, candidates).topk(k, dim=1)
    return values, candidates.gather(1, place)
