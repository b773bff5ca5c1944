"""The tests mirror components/silhouette and pipelines; benchmarks stand beside them."""
