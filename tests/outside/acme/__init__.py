"""A plugin of somebody else: one thing of every kind, written against ``yoriai`` alone."""
