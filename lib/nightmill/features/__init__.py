"""Silver -> gold: what a model sees of each row, known at that row's time; stateless."""
