"""Recipe, schedule, optimiser, the loop, and checkpoints from which it goes on to the same bits."""
