"""What is learnt and what is forgotten: methods of continual learning on identical data, seed by seed."""
