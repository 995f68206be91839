"""Heads: from features to the position, the rotation and the gripper of a keyframe."""
