"""The canary: a tiny run without models that shows whether a server is as the farm takes it to be.

`report` has what it found and what follows; `flight` sends it through a server.
"""
