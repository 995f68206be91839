"""Training: demonstrations into weights, the same in this process and as a Ray Train job."""
