"""Embodiments: descriptions, assets and kinematics."""
