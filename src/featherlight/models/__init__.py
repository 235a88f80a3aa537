"""Networks: one file a family (unit, stage, network, builder), and a registry that knows them all by name."""
