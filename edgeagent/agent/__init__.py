"""The daemon: wires capture, vision, the gate and the outbox together, and decides nothing itself."""
