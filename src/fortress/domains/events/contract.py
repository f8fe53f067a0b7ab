"""The door. Other domains hear facts by `@on`; nobody but readers of the log needs more."""
