"""Whether the unit's memory grows while a deployment's worth of people walks past."""
