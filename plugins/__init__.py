"""The bundled plugins; each loads through its entry point, as a stranger's does."""
