"""`python -m launch.train` with the tiny learner among its families: `python tiny_train.py policy=tiny_schema ...`."""

from launch import train
from policies.registry import FAMILIES
from tests.policies.training.learners import TinyConfig

FAMILIES.own["tiny"] = TinyConfig

if __name__ == "__main__":
    train.main()
