"""The fit by several processes: `torchrun --standalone --nproc-per-node 2 -m lib.training.distributed RUN`.

Between tuning and training of a run: it fits what stage 03_training would, with its parameters,
and leaves the run's checkpoint complete, from which that stage goes on at once. Every process
draws the same batch and computes its share of it, so N processes take the steps that one would,
but for rounding (and, with two or more layers, the dropout inside the encoder, which each draws
for itself). Validation is computed by each. The first process writes the checkpoints; after a
restart (`--max-restarts`, or the same command again) all go on from the last.

Synchronous data parallelism with gradients averaged as in Li et al. 2020 (PyTorch DDP).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lib import tuning
from lib.data import to_panel
from lib.log import configure_logging
from lib.models import LSTMForecaster, ModelConfig
from lib.settings import get_settings
from lib.training import loop
from lib.training.config import TrainingConfig, TrainingError
from lib.training.data import prepare

log = structlog.get_logger()


class Processes(loop.SingleProcess):
    """The processes that torchrun started, as one fit sees them."""

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.leads = self.rank == 0

    def by_member(self, model: LSTMForecaster) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
        """`model.by_member`, its gradients averaged over the processes."""
        for module in list(model.modules()):
            for name, child in module.named_children():
                if type(child) is nn.Dropout:
                    setattr(module, name, _SharedDropout(child.p, self.rank, self.count))
        return DistributedDataParallel(_ByMember(model))

    def share(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """The rows of a batch that this process computes."""
        if len(batch[0]) % self.count:
            raise TrainingError(
                f"batch: {len(batch[0])} windows cannot be shared by {self.count} processes "
                "equally; choose a batch that is a multiple of them"
            )
        return tuple(tensor[self.rank :: self.count] for tensor in batch)

    def mean(self, number: Tensor) -> Tensor:
        """The mean over the processes of a number, without gradient."""
        total = number.detach().double().clone()
        dist.all_reduce(total)
        return total / self.count


class _ByMember(nn.Module):
    """DDP averages the gradients of what goes through `forward`."""

    def __init__(self, model: LSTMForecaster) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, future: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.model.by_member(features, future)


class _SharedDropout(nn.Dropout):
    """Draws for the whole batch, as one process would, and applies the share of this one."""

    def __init__(self, p: float, rank: int, count: int) -> None:
        super().__init__(p)
        self.rank, self.count = rank, count

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return input
        shape = (len(input) * self.count, *input.shape[1:])
        # Draws go in the order of memory, in which the output of an LSTM is not batch by batch.
        order = sorted(range(input.dim()), key=lambda axis: -input.stride(axis))
        whole = torch.ones([shape[axis] for axis in order], dtype=input.dtype)
        whole = whole.permute([order.index(axis) for axis in range(input.dim())])
        return input * nn.functional.dropout(whole, self.p)[self.rank :: self.count]


def _join() -> None:
    """Meet the other processes of this start; torchrun says by its own variables where."""
    store, rank, count = next(dist.rendezvous("env://"))
    # torchrun keeps one store over its restarts, where processes would find the dead ones' places.
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"start-{start}", store)
    # The fit is on processors: nccl takes tensors of graphics cards only.
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line, run by torchrun in each process. → 0 fitted, 1 could not."""
    parser = argparse.ArgumentParser(
        prog="torchrun … -m lib.training.distributed", description=__doc__
    )
    parser.add_argument("run_dir", type=Path, help="a run whose tuning is done")
    defaults = TrainingConfig()
    for name in ("seed", "steps", "evaluate_every", "patience"):
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, default=getattr(defaults, name), help="as in 03")
    parser.add_argument("--members", type=int, default=1, help="as in 03 (default %(default)s)")
    asked = parser.parse_args(arguments)
    configure_logging(get_settings().log_level)
    _join()
    try:
        tuned = tuning.read_result(asked.run_dir)
        config = ModelConfig.from_dict(tuned["model"] | {"members": asked.members})
        chosen = {n: getattr(asked, n) for n in ("seed", "steps", "evaluate_every", "patience")}
        settings = TrainingConfig.from_dict(tuned["training"] | chosen)
        data = prepare(to_panel(tuning.read_table(asked.run_dir)), tuned["split"], config)
        team = Processes()

        def told(step: int, train_loss: float, validation_loss: float) -> None:
            if team.leads:
                log.info("evaluated", step=step, train=train_loss, validation=validation_loss)

        fit = loop.fit(
            data,
            config,
            settings,
            checkpoint=asked.run_dir / "checkpoint",
            on_evaluation=told,
            team=team,
        )
        if team.leads:
            log.info("fitted", processes=team.count, best_step=fit.best_step)
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    finally:
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
