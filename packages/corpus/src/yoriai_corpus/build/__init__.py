"""The steps corpus/build and corpus/union."""
