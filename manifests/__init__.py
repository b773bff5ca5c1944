"""What runs on the cluster beside Kubeflow Pipelines, as kustomize files, and the programs that look after it."""
