"""Exporters to ONNX, run by a Python of their own that has torch; nothing else imports them."""
