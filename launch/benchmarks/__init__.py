"""The benchmarks of `launch.bench`, one module or package each; `launch.benchmark` describes how to add one."""
