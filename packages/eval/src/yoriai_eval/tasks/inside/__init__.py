"""What runs in the two confined processes of :mod:`yoriai_eval.tasks.execution`.

Imported there as a package of its own, under ``python -I -S``: only Python's own modules may be
used here.
"""
