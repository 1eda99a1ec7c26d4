"""What ledgers inside other people's training loops share: looking at a model, splitting its steps, keeping the books."""
