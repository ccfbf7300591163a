"""The report of a save, for whoever is handed the bundle: one HTML page, or the same as JSON.

``shape`` says what is in it, ``collect`` brings it together after a run, ``writing`` writes it, ``page`` and ``pictures`` are
the HTML. Promises: the page needs no network and no other file; every text in it is escaped, whoever chose it; no secret and
no folder of this machine is in it.
"""
