"""Training: a loop that knows no model, tasks that know one objective, runs that resume bit for bit."""

from codec.train.config import LoopConfig, OptimizerConfig
from codec.train.loop import train
from codec.train.recipe import ReconstructionConfig
from codec.train.run import RunFolder
from codec.train.task import ReconstructionTask

__all__ = ["LoopConfig", "OptimizerConfig", "ReconstructionConfig", "ReconstructionTask", "RunFolder", "train"]
