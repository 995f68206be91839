"""Tasks sample and judge episodes; they never hold a simulator."""
