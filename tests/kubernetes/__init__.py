"""The same workers as pods of a real Kubernetes control plane: ``make test-kubernetes``."""
