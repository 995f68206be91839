"""Perception for the bank: depth images with poses and instance masks become objects, and evidence that one is gone."""
