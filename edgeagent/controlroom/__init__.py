"""The control room's side: holding leases and receiving alerts."""
