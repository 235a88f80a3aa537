"""What a network costs: parameters, multiply-adds and bytes counted from a trace, and latency measured here."""
