"""Run as one of two processes by `test_gather.py`: losses of this process's samples, and their gradients."""

import sys

import torch
import torch.distributed as dist

from nearfar import losses as L
from nearfar.losses.decoupled import mises_fisher_weights
from tests.losses.table import embeddings

COUNTS = (3, 5)
IDS = torch.tensor([0, 1, 2, 3, 1, 5, 6, 0])
# Each is given four embeddings of the samples [B, 8] and their ids.
LOSSES = {
    "NTXentLoss": lambda z, ids, **o: L.NTXentLoss(**o)(*z[:3]),
    "NTXentLoss ids": lambda z, ids, **o: L.NTXentLoss(**o)(*z[:2], ids=ids),
    "NTXentLoss sum": lambda z, ids, **o: L.NTXentLoss(reduction="sum", **o)(*z[:2]),
    "DirectCLRLoss": lambda z, ids, **o: L.DirectCLRLoss(4, **o)(*z[:2]),
    "DCLLoss": lambda z, ids, **o: L.DCLLoss(**o)(*z[:2]),
    "DCLLoss weights": lambda z, ids, **o: L.DCLLoss(0.2, mises_fisher_weights, **o)(*z[:2], ids=ids),
    "DCLWLoss": lambda z, ids, **o: L.DCLWLoss(**o)(*z[:2]),
    "BarlowTwinsLoss": lambda z, ids, **o: L.BarlowTwinsLoss(**o)(*z[:2]),
    "VICRegLoss": lambda z, ids, **o: L.VICRegLoss(**o)(*z[:2]),
    "TiCoLoss": lambda z, ids, **o: L.TiCoLoss(**o)(*z[:2]),
    "SIGReg": lambda z, ids, **o: seeded(L.SIGReg(num_vectors=9, **o), torch.stack(z)),
    "LeJEPALoss": lambda z, ids, **o: seeded(
        L.LeJEPALoss(sigreg_num_vectors=9, **o), local_proj=torch.stack(z[:2]), global_proj=torch.stack(z[2:])
    ),
}
# These are means over samples whose targets are made of the samples of all processes.
OF_CODES = {
    "SwaVLoss": lambda z, **o: L.SwaVLoss(**{f"sinkhorn_{k}": v for k, v in o.items()})(z[:2], z[2:]),
    "SwaVLoss queue": lambda z, **o: L.SwaVLoss(**{f"sinkhorn_{k}": v for k, v in o.items()})(z[:2], z[2:], z[2:]),
    "MSNLoss": lambda z, **o: L.MSNLoss(regularization_weight=0, **o)(torch.cat(z[:2]), z[2], torch.eye(8).double()),
}


def seeded(loss, *args, **kwargs):
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 0)
    return loss(*args, **kwargs)


def results(run, z, *more, **options):
    z = [x.detach().requires_grad_() for x in z]
    value = run(z, *more, **options)
    return [value.detach(), *torch.autograd.grad(value.sum(), z, allow_unused=True, materialize_grads=True)]


def main(folder, rank):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(COUNTS))
    start = sum(COUNTS[:rank])
    own = slice(start, start + COUNTS[rank])
    z = [x.detach()[own] for x in embeddings(sum(COUNTS), 8)]
    found = {name: results(run, z, IDS[own], gather_distributed=True) for name, run in LOSSES.items()}
    found |= {name: results(run, z, gather_distributed=True) for name, run in OF_CODES.items()}
    centred = L.DINOLoss(8).double()
    centred(z[:2], z)
    found["centre"] = [centred.center]
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
