"""Forms of the graph of many steps that were tried beside the one that ships."""
