"""The loop over rollouts: checkpoints, resuming, saving."""
