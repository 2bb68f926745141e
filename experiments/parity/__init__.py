"""Our layers beside other libraries' with the same weights: outputs, final states and every gradient."""
