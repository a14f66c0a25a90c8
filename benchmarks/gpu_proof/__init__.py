"""Parts of ``nox -s gpu``: processes, trainings, and a recipe that is killed."""
