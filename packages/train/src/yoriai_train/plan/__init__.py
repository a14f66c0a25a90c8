"""What a training costs in parameters, memory, traffic and time, by formula."""
