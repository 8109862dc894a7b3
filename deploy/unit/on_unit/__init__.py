"""What runs on the unit during a deployment: the unit's own Python, standard library only.

It travels as one file over the SSH connection (unit.tool), so that an old unit understands a new desk.
"""
