"""The model list, and how a model comes into the store: pulled, exported, quantised."""
