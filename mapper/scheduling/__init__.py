"""One product or stream as tile instructions in loops, and which tiling is fastest."""
