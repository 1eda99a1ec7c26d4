"""Controllers: rules that set an objective's parameters anew before every rollout, from what the rollouts before it did."""
