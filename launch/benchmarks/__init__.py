"""What `launch.bench` measures, one module per question."""
