"""How fast this machine trains a network, and in which of PyTorch's ways it does so fastest."""

from featherlight.training.speed.choose import Trial, choose_plan
from featherlight.training.speed.plan import PLAIN, SpeedPlan
from featherlight.training.speed.step import TrainingStep, plan_threads

__all__ = ["PLAIN", "SpeedPlan", "TrainingStep", "Trial", "choose_plan", "plan_threads"]
