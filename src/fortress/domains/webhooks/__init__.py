"""Telling other systems what happened: signed, tried for days, and never sent to where nothing should go."""
