"""The steps of ``yoriai-domain-adapt``, one verb each."""
