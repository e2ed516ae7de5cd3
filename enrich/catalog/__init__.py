"""The SQL catalog: engine, tables, queue and the questions people ask of it."""
