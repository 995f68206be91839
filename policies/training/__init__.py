"""Training of policies from demonstrations, alike in this process and as a Ray Train job."""
