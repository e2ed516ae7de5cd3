"""Alembic's migrations of the catalog; run them with ``enrich db upgrade``."""
