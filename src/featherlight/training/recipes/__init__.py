"""Published recipes, and our own: functions that return the settings of a training run and say where they are from."""
