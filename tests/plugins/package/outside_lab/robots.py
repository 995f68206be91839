"""A robot of one's own: the path of its model file."""

from pathlib import Path

UR5E = Path(__file__).with_name("ur5e_robotiq_2f_85.json")
