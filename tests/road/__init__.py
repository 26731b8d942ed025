"""The whole road: a simulated Dify, read end to end into a real store."""
