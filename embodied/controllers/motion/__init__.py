"""Motions of an arm: inverse kinematics, collision-checked planning and timing."""
