"""The same models over HTTP, in the dialects people already speak: one module each over one service."""
