"""``image-tools graph``: the tasks of a save and how far they are, as DOT or SVG.

``nodes`` draws the graph from what the cache knows, with the generators that a save uses; ``dot`` and ``svg`` make pictures of
it. Nothing is asked of a registry, and nothing but the picture is written.
"""
