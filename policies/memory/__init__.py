"""Neural memories: modules with explicit state, all behind one contract."""
