"""What the project draws by itself: faces, scenes, posters, sample assets, and models that know them.

The same seed gives the same pictures. The models lie in ``models/``, each with its manifest and card.
"""
