"""Evaluations: records of episodes become rates, intervals and reports.

Scripts start with `evaluate_policies`; command lines with `evaluator.evaluate`.
"""

from embodied.evaluation.from_script import FunctionPolicy, evaluate_policies

__all__ = ["FunctionPolicy", "evaluate_policies"]
